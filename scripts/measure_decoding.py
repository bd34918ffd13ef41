"""How much memory and time a large data set takes: `python scripts/measure_decoding.py`.

Writes as many photographs as asked for (generated JPEGs) into a temporary folder, loads them twice in processes of
their own, and prints the peak of each and how it scales with threads. Written to results/decoding.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from catdog_ray import command

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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--images", type=int, default=25_000, help="photographs in all (default: 25000)")
    add("--size", type=int, default=150, help="pixels per side after decoding (default: 150)")
    add("--output", type=Path, default=Path("results/decoding.json"))
    flags = parser.parse_args(arguments)

    from catdog_ray import cluster, ledger, study

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
    facts = {
        "command": f"python scripts/measure_decoding.py --images {flags.images} --size {flags.size}",
        "date_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": study.commit(),
        "versions": study.versions(),
        "machine": cluster.node_facts(0, 0),
        "photographs": "generated JPEGs of 500 x 375 pixels, quality 85",
        "runs": runs,
    }
    ledger.replace_file(flags.output, ledger.to_json(facts, indent=2) + "\n")


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
        raise command.CommandFailed(done.stderr.strip().splitlines()[-1])
    found: dict[str, float] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    command.run(main)
