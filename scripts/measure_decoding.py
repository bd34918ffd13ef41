"""How much memory and time a large data set takes: `python scripts/measure_decoding.py`.

Writes as many photographs as asked for (generated JPEGs) into a temporary folder and loads them in processes of their
own: on all cores, from the cache, on one core. Then a whole small study on them (one trial of one epoch, one epoch of
retraining, the smallest network), whose processes' memory is added up every second. Written to results/decoding.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from catdog_ray import command
from catdog_ray.errors import RunFailed
from catdog_ray.rules import at_least

_CHILD = """
import json, os, resource, sys, threading, time
if sys.argv[4] != "0":
    os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:int(sys.argv[4])])
from catdog_ray import config, data
settings = config.load(overrides={"data.source": sys.argv[1], "data.cache_dir": sys.argv[2],
                                  "data.image_size": int(sys.argv[3])}).data
peak = []
def anonymous():
    text = open("/proc/self/status").read()
    return int(text.split("RssAnon:")[1].split()[0]) * 1024
def watch():
    while not done.wait(0.05):
        peak.append(anonymous())
done = threading.Event()
thread = threading.Thread(target=watch)
thread.start()
started = time.monotonic()
splits = data.load(settings)
seconds = time.monotonic() - started
done.set()
thread.join()
print(json.dumps({"seconds": seconds, "peak_anonymous_bytes": max(peak + [anonymous()]),
                  "peak_resident_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                  "images": len(splits.train.labels) + len(splits.selection.labels) + len(splits.test.labels)}))
"""


def main(arguments: Sequence[str]) -> None:
    """Generate, load, print, write."""
    parser = command.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--images", type=int, default=25_000, help="photographs in all (default: 25000)")
    add("--size", type=int, default=150, help="pixels per side after decoding (default: 150)")
    add("--study", action=argparse.BooleanOptionalAction, default=True, help="also run a whole study (10 minutes)")
    add("--output", type=Path, default=Path("results/decoding.json"), help="where to write (default: %(default)s)")
    flags = parser.parse_args(arguments)
    for name, least in (("images", 40), ("size", 8)):
        at_least(f"--{name}", getattr(flags, name), least)

    from catdog_ray import files, inspection, provenance

    files.require_writable(flags.output)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_photographs(root / "photographs", flags.images)
        runs = {}
        for name, cache, cores in (
            ("decoding, all cores", "cache", 0),
            ("from the cache", "cache", 0),
            ("decoding, one core", "other cache", 1),
        ):
            runs[name] = load(root / "photographs", root / cache, flags.size, cores)
            print(f"{name}: {json.dumps(runs[name])}", flush=True)
        if flags.study:
            runs["a whole study"] = run_study(root, flags.size)
            print(f"a whole study: {json.dumps(runs['a whole study'])}", flush=True)
    facts = {
        "command": f"python scripts/measure_decoding.py --images {flags.images} --size {flags.size}",
        "date_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": provenance.commit(),
        "versions": provenance.versions(),
        "machine": inspection.machine(),
        "photographs": "generated JPEGs of 500 x 375 pixels, quality 85",
        "runs": runs,
    }
    files.replace_file(flags.output, files.to_json(facts, indent=2) + "\n")


def write_photographs(root: Path, count: int) -> None:
    """`count` JPEGs in two classes, four fifths of them in train/; 200 different ones, for encoding is not measured."""
    import io

    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    contents = []
    for _ in range(200):
        coarse = Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)).resize((500, 375))
        noisy = np.asarray(coarse, np.int16) + rng.integers(-12, 13, (375, 500, 3))
        content = io.BytesIO()
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(content, "JPEG", quality=85)
        contents.append(content.getvalue())
    for index in range(count):
        split = "validation" if index % 5 == 4 else "train"
        folder = root / split / ("cats", "dogs")[index // 5 % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{index:06d}.jpg").write_bytes(contents[index % len(contents)])


def load(source: Path, cache: Path, size: int, cores: int) -> dict[str, float]:
    """One `data.load` in a process of its own."""
    arguments = [str(source), str(cache), str(size), str(cores)]
    done = subprocess.run([sys.executable, "-c", _CHILD, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RunFailed(done.stderr.strip().splitlines()[-1])
    found: dict[str, float] = json.loads(done.stdout)
    return found


_SMALLEST = {
    "space.conv_filters": "{choices: [1, 2]}",
    "space.dense_units": "{choices: [1, 2]}",
    "baseline.conv_filters": 1,
    "baseline.dense_units": 1,
    "search.num_samples": 1,
    "search.max_epochs": 1,
    "search.grace_epochs": 1,
    "retrain.milestones": "[1]",
    "cluster.dashboard": "false",
}


def run_study(root: Path, size: int) -> dict[str, float]:
    """`tune` on the cached data; its peak is the sum over all its processes of memory in proportion (PSS)."""
    import psutil

    settings = {**_SMALLEST, "data.image_size": size, "data.cache_dir": root / "cache"}
    arguments = [sys.executable, "-m", "catdog_ray.tune", "--data", str(root / "photographs"), "--output", str(root)]
    for key, value in settings.items():
        arguments += ["--set", f"{key}={value}"]
    started, peak = time.monotonic(), 0
    with (root / "log").open("w") as log:
        driver = psutil.Popen(arguments, stdout=log, stderr=subprocess.STDOUT)
        while driver.poll() is None:
            peak = max(peak, sum(_proportional_bytes(process) for process in [driver, *driver.children(True)]))
            time.sleep(1)
    if driver.returncode:
        raise RunFailed((root / "log").read_text().strip().splitlines()[-1])
    return {"seconds": time.monotonic() - started, "peak_proportional_bytes": peak}


def _proportional_bytes(process: Any) -> int:
    import psutil

    try:
        return int(process.memory_full_info().pss)
    except (psutil.Error, OSError):
        return 0  # it has just ended


if __name__ == "__main__":
    command.run(main)
