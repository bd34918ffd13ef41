"""The time to a good answer: TPE with early stopping, against stock Keras Tuner on the same machine.

Both are the shipped commands, from the command line on, with as many configurations and all cores; they share the first
configuration, the guide's. The question: when did ours hold an objective as good as the stock tuner's final one? An
objective is the best value so far, so a search holds it from the epoch on that reports it.

Of the stock tuner there are two times to compare with: the moment at which it first held it, which nobody knows before
the end, and its whole search, which is when its user has that objective and knows it for final. Each is a row.

What early stopping saves is left, or spent on its survivors, which then train for longer than a stock trial does: rows
of their own, for that is not the sampler's doing, and longer training lifts the first configuration too. How soon that
one alone holds the objective is measured beside it.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

from benchmarks.measure import Measurement, Row, spread
from benchmarks.startup import arrival
from catdog_ray import provenance
from catdog_ray.errors import UserError
from catdog_ray.ledger import RowFile

PHOTOGRAPHS = Path(__file__).resolve().parents[3] / "shared" / "data" / "cats_and_dogs_filtered.zip"
"""Beside the checkout, as for the tests; elsewhere the row says that it is missing."""

OURS, STOCK = "tune", "baseline"


@dataclass(frozen=True)
class Searched:
    """One search, and a line of the file that keeps them: seconds count from the command on."""

    module: str
    seed: int
    flags: list[str]
    commit: str | None
    date_utc: str
    start_up_s: float
    """Until the search's own clock began."""
    total_s: float
    """Until the last trial ended."""
    rises: list[list[float]]
    """[second, objective]: when the best objective rose, and to what."""
    multiply_adds: float
    """Of one image's forward pass, summed over all epochs."""
    epochs: int
    suggestion_s: float

    @property
    def best(self) -> float:
        """The best objective of all."""
        return self.rises[-1][1]

    def holds_at(self, target: float) -> float:
        """Seconds until an epoch reported the target; infinite where none did."""
        return min((second for second, value in self.rises if value >= target), default=float("inf"))


Pair = tuple[Searched, Searched]
"""Ours and the stock tuner's, of one seed."""

Over = Literal["held", "whole"]
"""What of the stock tuner's search a row compares with: until it first held its final objective, or all of it."""


@dataclass(frozen=True)
class Problem:
    """What both search."""

    config: str
    configurations: int
    settings: Mapping[str, str]
    data: str | None = None
    """The file's name; where it lies is no part of a result."""
    survivors_epochs: int | None = None
    """How long ours trains what early stopping leaves; None: as long as a stock trial."""

    def flags(self, module: str) -> list[str]:
        """As one types them."""
        data = [] if self.data is None else ["--data", self.data]
        own = module == OURS and self.survivors_epochs is not None
        settings = {**self.settings, **({"search.max_epochs": str(self.survivors_epochs)} if own else {})}
        sets = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
        return ["--config", self.config, *data, "--num-samples", str(self.configurations), *sets]

    def quick(self) -> Problem:
        """Enough to see that it runs."""
        survivors = None if self.survivors_epochs is None else 4
        settings = {**self.settings, "search.max_epochs": "3"}
        return replace(self, configurations=3, settings=settings, survivors_epochs=survivors)

    def first_alone(self) -> Problem:
        """The first configuration and no other."""
        return replace(self, configurations=1)


def answer(problem: Problem, *, over: Over, seeds: int, quick: bool, kept: Path | None = None) -> Measurement:
    """Seconds until ours holds the stock tuner's final objective, over the stock tuner's own, seed by seed."""
    problem, seeds = (problem.quick(), 1) if quick else (problem, seeds)
    found: dict[str, Searched] = {}
    pairs: list[Pair] = []
    alone: list[Searched] = []
    for seed in range(seeds):
        # Both in turn, every other seed the stock tuner's first.
        for module in (OURS, STOCK)[:: 1 if seed % 2 == 0 else -1]:
            found[module] = searched(module, problem.flags(module), seed=seed, kept=kept)
        pairs.append((found[OURS], found[STOCK]))
        if problem.survivors_epochs is not None:
            alone.append(searched(OURS, problem.first_alone().flags(OURS), seed=seed, kept=kept))
    ours = [mine.holds_at(stock.best) for mine, stock in pairs]
    whole = [stock.total_s for _, stock in pairs]
    held = [stock.holds_at(stock.best) for _, stock in pairs]
    details = {
        "flags": {name: problem.flags(module) for name, module in (("ours", OURS), ("stock", STOCK))},
        "targets": [stock.best for _, stock in pairs],
        "over_stock_holding_it": spread([a / b for a, b in zip(ours, held, strict=True)]),
        "over_whole_stock_search": spread([a / b for a, b in zip(ours, whole, strict=True)]),
        "censored_median_s": {
            "ours": censored_median(ours, [mine.total_s for mine, _ in pairs]),
            "stock_holding_it": censored_median(held, whole),
            "stock_whole_search": statistics.median(whole),
        },
        "searches": None if kept is None else kept.name,
    }
    if alone:
        first = [one.holds_at(stock.best) for one, (_, stock) in zip(alone, pairs, strict=True)]
        details["first_configuration_alone"] = {
            "held_s": spread(first),
            "over_stock_holding_it": spread([a / b for a, b in zip(first, held, strict=True)]),
            "over_whole_stock_search": spread([a / b for a, b in zip(first, whole, strict=True)]),
        }
    return Measurement(ours, whole if over == "whole" else held, {**details, **shares(pairs)})


def searched(module: str, flags: Sequence[str], *, seed: int, kept: Path | None) -> Searched:
    """One search: the one that `kept` has, or run and kept there."""
    if kept is None:
        return _run(module, flags, seed=seed)
    file = RowFile(kept, Searched)
    same = [row for row in _of_this_code(file) if (row.module, row.seed, row.flags) == (module, seed, list(flags))]
    if same:
        return same[0]
    file.append(found := _run(module, flags, seed=seed))
    return found


def _run(module: str, flags: Sequence[str], *, seed: int) -> Searched:
    with tempfile.TemporaryDirectory() as folder:
        return search(module, flags, Path(folder), seed=seed)


def _of_this_code(file: RowFile[Searched]) -> list[Searched]:
    """What was kept; UserError where it is of other code, for a row is of one state of the package."""
    file.repair()
    rows = file.read()
    for row in rows:
        if not _is_code_of(row.commit):
            raise UserError(
                f"{file.path.name}: was begun with the code of {row.commit}; remove the file, or check that code out"
            )
    return rows


def _is_code_of(commit: str | None) -> bool:
    """Whether the package and its configs are now as they were at a commit; not for none, or one with changes."""
    git = ["git", "-C", str(Path(__file__).parents[2]), "diff", "--quiet", commit or "", "--", "catdog_ray", "configs"]
    return commit is not None and subprocess.run(git, stderr=subprocess.DEVNULL).returncode == 0


def censored_median(held: Sequence[float], ends: Sequence[float]) -> float | None:
    """Seconds by which half of the searches held their target (Kaplan-Meier); None where fewer did."""
    from catdog_ray.curves import kaplan_meier

    return kaplan_meier([second if second < float("inf") else None for second in held], ends).median


def search(module: str, flags: Sequence[str], folder: Path, *, seed: int) -> Searched:
    """Run one command to its end."""
    from catdog_ray.ledger import StudyDirectory

    chosen = [str(PHOTOGRAPHS) if flag == PHOTOGRAPHS.name else flag for flag in flags]
    command = [sys.executable, "-m", f"catdog_ray.{module}", *chosen, "--seed", str(seed), "--no-retrain"]
    command += ["--output", str(folder), "--name", "study", "--set", "cluster.dashboard=false"]
    study = StudyDirectory(folder / "study")
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            first = arrival(folder / "study" / "epochs.jsonl", 1, process) - started
        finally:
            said, _ = process.communicate()
            if process.returncode:
                sys.stderr.write(said)
    if process.returncode:
        raise RuntimeError(f"catdog_ray.{module}, seed {seed}: {said.strip().splitlines()[-1]}")
    epochs, trials = list(study.epochs.read()), list(study.trials.read())
    window = study.read_study()["config"]["search"]["scoring_window"]
    start_up_s = first - epochs[0].elapsed_s
    return Searched(
        module=module,
        seed=seed,
        flags=list(flags),
        commit=provenance.commit(),
        date_utc=datetime.now(UTC).isoformat(timespec="seconds"),
        start_up_s=round(start_up_s, 3),
        total_s=round(start_up_s + max(row.elapsed_s for row in trials), 3),
        # Before the first whole window an objective is one that the rule discards.
        rises=rises([(start_up_s + row.elapsed_s, row.objective) for row in epochs if row.epoch >= window]),
        multiply_adds=float(sum(row.multiply_adds for row in epochs)),
        epochs=len(epochs),
        suggestion_s=round(sum(row.suggestion_seconds or 0.0 for row in trials), 3),
    )


def rises(reports: Sequence[tuple[float, float]]) -> list[list[float]]:
    """Those of the reports (second, objective) that are better than all before them."""
    found: list[list[float]] = []
    for second, value in sorted((round(second, 3), round(value, 6)) for second, value in reports):
        if not found or value > found[-1][1]:
            found.append([second, value])
    return found


def shares(pairs: Sequence[Pair]) -> Mapping[str, Any]:
    """Where the time of whole searches goes: medians over seeds of factors whose product is stock's time over ours.

    Early stopping: multiply-adds that need not be done. Parallel trials: multiply-adds a second once the study's clock
    runs, the stock tuner's suggestions left out. Start-up and suggestions: what including them changes. The three of a
    seed multiply to the whole; their medians need not.
    """
    parts: dict[str, list[float]] = {"early stopping": [], "parallel trials": [], "start-up and suggestions": []}
    whole = []
    for ours, stock in pairs:
        # Suggestions of the stock tuner hold everything up; ours are made while other trials train.
        busy_ours = ours.total_s - ours.start_up_s
        busy_stock = stock.total_s - stock.start_up_s - stock.suggestion_s
        whole.append(stock.total_s / ours.total_s)
        parts["early stopping"].append(stock.multiply_adds / ours.multiply_adds)
        parts["parallel trials"].append((ours.multiply_adds / busy_ours) / (stock.multiply_adds / busy_stock))
        parts["start-up and suggestions"].append(whole[-1] / (busy_stock / busy_ours))
    sides = {"ours": [ours for ours, _ in pairs], "stock": [stock for _, stock in pairs]}
    return {
        "whole_search_times_faster": statistics.median(whole),
        "factors": {name: round(statistics.median(values), 3) for name, values in parts.items()},
        "factors_by_seed": {name: [round(value, 3) for value in values] for name, values in parts.items()},
        "reached_by_ours": sum(ours.holds_at(stock.best) < float("inf") for ours, stock in pairs),
        "medians": {
            name: {
                "total_s": statistics.median(one.total_s for one in found),
                "start_up_s": statistics.median(one.start_up_s for one in found),
                "suggestion_s": statistics.median(one.suggestion_s for one in found),
                "epochs": statistics.median(one.epochs for one in found),
                "best_objective": statistics.median(one.best for one in found),
            }
            for name, found in sides.items()
        },
    }


def _rungs(first: int) -> dict[str, str]:
    """About half of the trials stop at `first` epochs, half of the rest at twice as many: none before curves rise."""
    return {"search.grace_epochs": str(first), "search.reduction_factor": "2"}


DRAWN = Problem("quickstart.yaml", 16, {**_rungs(8), "data.drawn_train": "3000", "data.selection_share": "0.5"})
"""1,500 images to train on and 1,500 to select on, so that differences between configurations exceed their noise."""

LONGER = replace(DRAWN, survivors_epochs=64)
"""In all about as many epochs as the stock tuner's 16 times 27."""

SHORTENED = {"data.image_size": "48", "search.max_epochs": "18", "search.startup_trials": "3"}
PHOTOGRAPHED = Problem("cpu.yaml", 12, {**_rungs(9), **SHORTENED}, data=PHOTOGRAPHS.name)
PHOTOGRAPHED_LONGER = replace(PHOTOGRAPHED, survivors_epochs=36)
"""As many epochs as the stock tuner's 12 times 18, if halving were perfect."""


def on_photographs(problem: Problem, *, over: Over, quick: bool, kept: Path | None = None) -> Measurement:
    """One seed, at a shortened budget."""
    if not PHOTOGRAPHS.exists():
        raise RuntimeError(f"needs the photographs at {PHOTOGRAPHS.relative_to(PHOTOGRAPHS.parents[2])}")
    return answer(problem, over=over, seeds=1, quick=quick, kept=kept)


AIM = "time until ours holds the stock Keras Tuner's final objective"
WORDS: Mapping[Over, str] = {
    "held": f"{AIM}, over the time until the stock tuner first held it",
    "whole": f"{AIM}, over the stock tuner's whole search",
}


def _row(data: str, over: Over, *, words: str, measure: Callable[..., Measurement]) -> Row:
    return Row(
        name=f"answer-{data}{'-whole' if over == 'whole' else ''}",
        item=5,
        words=f"{WORDS[over]}; {words}",
        unit="s",
        bound=None if data.startswith("photographs") else 0.5,
        at_least=False,
        needs="ray",
        measure=partial(measure, over=over),
        kept=f"answer-{data}",
    )


ROWS = [
    *(_row("drawn", over, words="drawn data", measure=partial(answer, DRAWN, seeds=12)) for over in WORDS),
    *(
        _row("longer", over, words="drawn data, survivors up to 64 epochs", measure=partial(answer, LONGER, seeds=6))
        for over in WORDS
    ),
    *(
        _row(
            data,
            over,
            words=f"photographs, shortened, one seed{longer}",
            measure=partial(on_photographs, problem),
        )
        for data, problem, longer in (
            ("photographs", PHOTOGRAPHED, ""),
            ("photographs-longer", PHOTOGRAPHED_LONGER, ", survivors up to 36 epochs"),
        )
        for over in WORDS
    ),
]
