"""Carry out the published study: `python scripts/study.py --data cats_and_dogs_filtered.zip`.

Runs what results/README.md lists, one command after the other, each of which can also be typed by hand. What is
finished is left alone, what was cut goes on: stop it and start it again as you like. `--list` shows where it stands,
`--part recipes` carries out what the protocol keeps apart: changes of the training itself, single runs of which
`--at-once` shares the cores out among several; `--part tuned` trains the tuned configuration by the best of them.
`--pixels 150` is the guide's own scale, for a machine or a cluster with a GPU; its part `tuned` runs on a CPU, and
so do `deep`, which searches the count of blocks too, and `five-blocks`, which gives five of them time.
"""

from __future__ import annotations

import functools
import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from catdog_ray import command
from catdog_ray.errors import RunFailed
from catdog_ray.ledger import StudyDirectory


@dataclass(frozen=True)
class Scale:
    """The study at one image size: its settings, what its folders are called, how many seeds, where they go."""

    config: str
    prefix: str
    pixels: int
    seeds: range
    folder: str

    @property
    def retrained(self) -> str:
        """The search whose best configuration is retrained."""
        return f"{self.prefix}-tpe-seed{self.seeds[0]}"


SCALES = {
    scale.pixels: scale
    for scale in (
        Scale("configs/study-cpu.yaml", "cpu48", 48, range(3), "results"),
        Scale("configs/study-gpu.yaml", "gpu150", 150, range(5), "results/pixels150"),
    )
}
ON_CPU = SCALES[48]
OTHER_SPACES = {
    "deep": Scale("configs/study-cpu150-deep.yaml", "deep150", 150, range(1), "results/deep150"),
    "five-blocks": Scale("configs/study-cpu150-five-blocks.yaml", "five150", 150, range(1), "results/five150"),
}
"""What the parts that search another space search and retrain."""
METHODS = (("tune", "tpe"), ("tune", "keras-tuner"), ("tune", "random"), ("baseline", "keras-tuner-stock"))
STOCK_TRIALS = 20
MILESTONES, RETRAIN_SEEDS = (125, 200), 5
RECIPE_EPOCHS = 200
POLL_S = 0.5
RECIPES: Mapping[str, Mapping[str, str]] = {
    "plain": {},
    "longer": {"search.max_epochs": str(2 * RECIPE_EPOCHS), "search.grace_epochs": str(2 * RECIPE_EPOCHS)},
    "cosine": {"train.learning_rate_schedule": "cosine"},
    "average": {"train.ema_momentum": "0.999"},
    "flip": {"train.test_time_flip": "true"},
    "batch-64": {"train.batch_size": "64"},
    "all": {
        "train.learning_rate_schedule": "cosine",
        "train.ema_momentum": "0.999",
        "train.test_time_flip": "true",
    },
}
"""One change of the training each, the last three together in `all`."""
BEST_RECIPE = "average"
"""The one that the selection split chose, at 48 pixels."""
TUNED: Mapping[int, tuple[str, int]] = {
    48: ("configs/study-cpu-tuned.yaml", RECIPE_EPOCHS),
    150: ("configs/study-cpu150-tuned.yaml", 3),
}
"""By image size the configuration that the search found, and the epochs of the run on the selection split with which
its study begins; it decides nothing, and at 150 pixels it is as short as the average of an objective allows."""


@dataclass(frozen=True)
class Run:
    """One command of the study and the folder that it fills."""

    name: str
    module: str
    flags: tuple[str, ...]
    is_search: bool = True
    place: tuple[str, ...] = ()
    """Flags of where it runs, given when it is gone on with, too."""


def runs(scale: Scale = ON_CPU) -> list[Run]:
    """All runs, the first seed of every method first, and what is retrained right after its search."""
    found = []
    for seed in scale.seeds:
        for module, method in METHODS:
            found.append(search(scale, module, method, seed))
            if found[-1].name == scale.retrained:
                found.append(retraining(scale.retrained))
    return found


def recipes(scale: Scale = ON_CPU, *, cores: int | None = None) -> list[Run]:
    """One run of the guide's own configuration by each recipe and seed, on the selection split alone.

    With `cores` each computes on so many instead of on all there are.
    """
    found = []
    place = () if cores is None else ("--set", f"cluster.cpus_per_trial={cores}")
    for seed in scale.seeds:
        for name in RECIPES:
            flags = recipe_flags(scale.config, name, seed)
            found.append(Run(f"recipe{scale.pixels}-{name}-seed{seed}", "tune", flags, place=place))
    return found


def tuned(scale: Scale = ON_CPU) -> list[Run]:
    """The tuned configuration by the best recipe: once on the selection split, then retrained."""
    name = f"tuned{scale.pixels}-{BEST_RECIPE}-seed0"
    config, epochs = TUNED[scale.pixels]
    return [Run(name, "tune", recipe_flags(config, BEST_RECIPE, 0, epochs=epochs)), retraining(name)]


def other_space(scale: Scale) -> list[Run]:
    """One search of another space, and the retraining of its best configuration."""
    return [search(scale, "tune", "tpe", scale.seeds[0]), retraining(scale.retrained)]


def recipe_flags(config: str, recipe: str, seed: int, *, epochs: int = RECIPE_EPOCHS) -> tuple[str, ...]:
    """One run of a config's own configuration by a recipe."""
    length = {name: str(epochs) for name in ("search.max_epochs", "search.grace_epochs")}
    settings = {"search.num_samples": "1", **length, **RECIPES[recipe]}
    sets = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    return ("--config", config, "--seed", str(seed), "--no-retrain", *sets)


def retraining(name: str) -> Run:
    """Of what the study's own `retrain.configurations` names, over seeds and milestones."""
    milestones = tuple(str(epoch) for epoch in MILESTONES)
    return Run(name, "retrain", ("--epochs", *milestones, "--seeds", str(RETRAIN_SEEDS)), is_search=False)


def search(scale: Scale, module: str, method: str, seed: int) -> Run:
    """A search by one method with one seed."""
    own = ("--num-samples", str(STOCK_TRIALS)) if module == "baseline" else ("--search", method)
    flags = ("--config", scale.config, "--seed", str(seed), "--no-retrain", *own)
    return Run(f"{scale.prefix}-{method}-seed{seed}", module, flags)


def main(arguments: Sequence[str]) -> None:
    """List the runs or carry them out."""
    parser = command.Parser(description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add("--data", metavar="PATH", help="the archive of photographs")
    add("--output", type=Path, metavar="DIR", help="where studies are written (default: by part and size, in results)")
    add(
        "--part",
        choices=("study", "recipes", "tuned", *OTHER_SPACES),
        default="study",
        help="study (default), recipes of training, the best recipe with the tuned configuration, a search of depth, "
        "or one of five blocks",
    )
    add("--pixels", type=int, choices=SCALES, default=ON_CPU.pixels, help="48 (default), or 150")
    add("--at-once", type=int, default=1, metavar="N", help="run N recipes at a time, each on its part of the cores")
    add("--list", action="store_true", help="show every command and where it stands; run nothing")
    flags = parser.parse_args(arguments)
    if flags.data is None and not flags.list:
        parser.error("--data: the archive of photographs is missing")
    scale = OTHER_SPACES.get(flags.part, SCALES[flags.pixels])
    if flags.pixels != scale.pixels:
        parser.error(f"--part {flags.part}: only with --pixels {scale.pixels}")
    available = len(os.sched_getaffinity(0))
    if flags.at_once != 1 and (flags.part != "recipes" or scale is not ON_CPU):
        parser.error("--at-once: only with --part recipes at 48 pixels; a search uses all cores and GPUs itself")
    if not 1 <= flags.at_once <= available:
        parser.error(f"--at-once: must be 1 to {available}, the cores there are, got {flags.at_once}")
    # Apart, so that `results/*` names studies that can be compared.
    output = flags.output or Path("results/recipes" if flags.part in ("recipes", "tuned") else scale.folder)
    cores = available // flags.at_once if flags.at_once > 1 else None
    parts: Mapping[str, Callable[[Scale], list[Run]]] = {
        "study": runs,
        "recipes": functools.partial(recipes, cores=cores),
        "tuned": tuned,
        **dict.fromkeys(OTHER_SPACES, other_space),
    }
    carry_out(
        _begun(parts[flags.part](scale), data=flags.data, output=output, only_list=flags.list), at_once=flags.at_once
    )


def _begun(
    chosen: Sequence[Run], *, data: str | None, output: Path, only_list: bool
) -> Iterable[tuple[str, list[str]]]:
    """Shows every run, and yields name and command of those that are not finished; none with `only_list`."""
    for run in chosen:
        state = state_of(run, output)
        words = words_of(run, data or "cats_and_dogs_filtered.zip", output, resume=state != "not begun")
        print(f"{state:12}  {shlex.join(['python', *words])}", flush=True)
        if state != "finished" and not only_list:
            yield run.name, [sys.executable, *words]


def carry_out(commands: Iterable[tuple[str, Sequence[str]]], *, at_once: int) -> None:
    """Run commands in their order, `at_once` at a time, each begun when there is room; an interruption is passed on.

    Raises RunFailed where one fails, after those that run beside it have ended.
    """
    waiting = iter(commands)
    running: dict[str, subprocess.Popen[str]] = {}
    failed: list[str] = []
    try:
        while True:
            while not failed and len(running) < at_once and (following := next(waiting, None)):
                name, words = following
                running[name] = _start(name, words, alone=at_once == 1)
            if not running:
                break
            ended = {name: code for name, process in running.items() if (code := process.poll()) is not None}
            for name, code in ended.items():
                del running[name]
                if code == command.INTERRUPTED:
                    raise KeyboardInterrupt
                failed += [f"{name} ended with exit code {code}"] if code else []
            if not ended:
                time.sleep(POLL_S)
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.wait()
    if failed:
        raise RunFailed(f"{'; '.join(failed)}; the same command goes on after it is mended")


def _start(name: str, words: Sequence[str], *, alone: bool) -> subprocess.Popen[str]:
    """Start a command; several at once write line by line, each under its name, for their live views would mix."""
    if alone:
        return subprocess.Popen(words, text=True)
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    lines = process.stdout
    if lines is None:
        raise AssertionError("a pipe was asked for")

    def pass_on() -> None:
        with lines:
            for line in lines:
                print(f"{name}: {line}", end="", flush=True)

    threading.Thread(target=pass_on).start()  # no daemon: the last lines are said before Python ends
    return process


def state_of(run: Run, output: Path) -> str:
    """`not begun`, `begun` or `finished`. RecordError names what is damaged."""
    study = StudyDirectory(output / run.name)
    if not run.is_search:
        done = {(row.configuration, row.seed, row.milestone) for row in study.retrain.read()}
        whole = {seed for configuration, seed, milestone in done if milestone == MILESTONES[-1]}
        configurations = {configuration for configuration, _, _ in done}
        is_whole = len(whole) >= RETRAIN_SEEDS and len(done) == len(configurations) * RETRAIN_SEEDS * len(MILESTONES)
        return "finished" if is_whole else "begun" if done else "not begun"
    if not (study.path / "study.json").exists():
        return "not begun"
    # Retraining begins after the search, and sets the state back.
    is_over = study.read_study().get("state") == "finished" or study.retrain_epochs.path.exists()
    return "finished" if is_over else "begun"


def words_of(run: Run, data: str, output: Path, *, resume: bool) -> list[str]:
    """The command, for a shell."""
    if not run.is_search:
        return ["-m", f"catdog_ray.{run.module}", str(output / run.name), "--data", data, *run.flags]
    place = ["--name", run.name, "--output", str(output)]
    if resume:
        return ["-m", f"catdog_ray.{run.module}", "--resume", *run.place, *place, "--data", data]
    return ["-m", f"catdog_ray.{run.module}", *run.flags, *run.place, *place, "--data", data]


if __name__ == "__main__":
    command.run(main)
