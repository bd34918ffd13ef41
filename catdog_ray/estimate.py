"""What a study would cost, before it starts: epochs, hours and node hours, from the time that one epoch takes."""

from __future__ import annotations

import dataclasses
import math
import os
import statistics
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catdog_ray import capacity
from catdog_ray.config import completed
from catdog_ray.errors import ConfigError
from catdog_ray.ledger import StudyDirectory, portable
from catdog_ray.records import RecordError
from catdog_ray.settings import BATCH_SIZE, Config, SearchSettings


@dataclass(frozen=True)
class EpochTime:
    """Seconds that one epoch of a search takes, and where the figure is from."""

    seconds: float
    source: str


@dataclass(frozen=True)
class Stage:
    """One part of a study at its cheapest and at its dearest; hours by the clock."""

    epochs: tuple[int, int]
    hours: tuple[float, float]
    nodes: int

    @property
    def node_hours(self) -> tuple[float, float]:
        """Hours by the clock times nodes."""
        return self.hours[0] * self.nodes, self.hours[1] * self.nodes


def measured(output: Path, config: Config) -> EpochTime | None:
    """The median epoch of earlier studies under `output` with the same data, network and share of a machine."""
    wanted, expected = _cost_facts(portable(config.as_dict())), share(config, config.search.num_samples)
    seconds: list[float] = []
    names: list[str] = []
    for file in sorted(output.glob("*/study.json")):
        study = StudyDirectory(file.parent)
        try:
            facts = study.read_study()
            if _cost_facts(completed(facts["config"])) != wanted or not _is_share(facts, config, expected):
                continue
            found = [row.seconds for row in study.epochs.read()]
        except (RecordError, KeyError, TypeError):
            # Damaged or of another schema; it can do without.
            continue
        seconds += found
        names += [file.parent.name] if found else []
    if not seconds:
        return None
    return EpochTime(statistics.median(seconds), f"median of {len(seconds):,} epochs of {', '.join(names)}")


def _cost_facts(config: Mapping[str, Mapping[str, object]]) -> object:
    """What the time of an epoch depends on, the share of a machine left out."""
    size = [config["data"][name] for name in ("source", "image_size", "selection_share", "drawn_train")]
    train = [config["train"][name] for name in ("precision", "jit_compile", "ema_momentum")]
    # In the space it is each trial's own, and the setting unused.
    train += [] if BATCH_SIZE in config["space"] else [config["train"][BATCH_SIZE]]
    return size, train, config["train"]["test_time_flip"], config["model"], config["augment"], config["space"]


def _is_share(facts: Mapping[str, Any], config: Config, expected: capacity.Share) -> bool:
    """Whether its trials had as much of a machine; the setting tells where a study has no share on record."""
    recorded = facts.get("share")
    if recorded is not None:
        return bool((recorded["cpus"], recorded["gpus"]) == (expected.cpus, expected.gpus))
    given = facts["config"]["cluster"]
    return bool(
        (given["cpus_per_trial"], given["gpus_per_trial"])
        == (config.cluster.cpus_per_trial, config.cluster.gpus_per_trial)
    )


def search_epochs(settings: SearchSettings) -> tuple[int, int]:
    """The fewest epochs of a search, with halving that never waits wrongly, and the most: no trial stopped early.

    Successive halving: of n trials all reach the first rung, and one in `reduction_factor` goes on from each.
    """
    lowest, trials, done, rung = 0.0, float(settings.num_samples), 0, settings.grace_epochs
    while True:
        reach = min(rung, settings.max_epochs)
        lowest += max(1.0, trials) * (reach - done)
        if reach == settings.max_epochs:
            break
        done, rung, trials = reach, rung * settings.reduction_factor, trials / settings.reduction_factor
    return math.ceil(lowest), settings.num_samples * settings.max_epochs


def share(config: Config, runs: int) -> capacity.Share:
    """What each of `runs` trials would get. Raises ConfigError for a cluster whose size the settings do not tell."""
    cluster = config.cluster
    if cluster.address != "local" and cluster.max_concurrent is None:
        raise ConfigError("--estimate: how many trials run at once on the full cluster? --set cluster.max_concurrent=N")
    # A machine like this one; with one GPU, as in the shipped cluster files, where trials want any.
    node = {"CPU": float(os.cpu_count() or 1), "GPU": float(math.ceil(cluster.gpus_per_trial))}
    found = capacity.share(cluster, [node], runs=runs)
    return dataclasses.replace(found, at_once=max(1, found.at_once))


def stages(config: Config, epoch_s: float, *, trials_per_node: int | None) -> dict[str, Stage]:
    """Search and retraining, at `epoch_s` seconds an epoch of the search."""
    search, retrain = config.search, config.retrain
    started = share(config, search.num_samples).at_once
    low, high = search_epochs(search)
    if search.time_budget_s is not None:
        # An epoch that would not be done in time is not begun.
        in_time = int(min(high, search.time_budget_s / epoch_s)) * started
        low, high = min(low, in_time), min(high, in_time)

    def hours(epochs: int) -> float:
        return epochs * epoch_s / started / 3600

    found = {"search": Stage((low, high), (hours(low), hours(high)), _nodes(config, started, trials_per_node))}
    if retrain.enabled:
        runs = len(retrain.configurations) * retrain.seeds
        last = retrain.milestones[-1]
        # Retraining has the selection images too.
        turn_s = last * epoch_s / (1 - config.data.selection_share)
        at_once = share(config, runs).at_once
        turns = math.ceil(runs / at_once) * turn_s / 3600
        used = _nodes(config, at_once, trials_per_node)
        found["retraining"] = Stage((runs * last, runs * last), (turns, turns), used)
    return found


def _nodes(config: Config, at_once: int, trials_per_node: int | None) -> int:
    if config.cluster.address == "local" and trials_per_node is None:
        return 1
    # Nodes with one GPU, as in the shipped cluster files.
    gpus = config.cluster.gpus_per_trial
    each = trials_per_node or (max(1, int(1 / gpus)) if gpus else at_once)
    return math.ceil(at_once / each)


def lines(config: Config, epoch: EpochTime, *, trials_per_node: int | None = None) -> Iterator[str]:
    """The estimate in words."""
    found = stages(config, epoch.seconds, trials_per_node=trials_per_node)
    trials = config.search.num_samples
    at_once = share(config, trials).at_once
    yield f"{config.name}: {trials} trials, {at_once} at once on {found['search'].nodes} node(s)"
    yield f"one epoch: {epoch.seconds:.3g} s ({epoch.source})"
    for name, stage in found.items():
        yield f"{name}: {_range(stage.epochs)} epochs, {_range(stage.hours)} h, {_range(stage.node_hours)} node hours"
    whole = [sum(stage.hours[end] for stage in found.values()) for end in (0, 1)]
    nodes = [sum(stage.node_hours[end] for stage in found.values()) for end in (0, 1)]
    yield f"in all: {_range((whole[0], whole[1]))} h, {_range((nodes[0], nodes[1]))} node hours"
    yield (
        "The lower figure is perfect halving, the higher a search that stops no trial early. Not in it: starting nodes "
        "and workers, evaluating, and the head, which runs all the time."
    )


def show(config: Config, output: Path, *, epoch_s: float | None, trials_per_node: int | None) -> None:
    """Print the estimate. Raises ConfigError where nobody knows how long an epoch takes."""
    for name, value in (("--epoch-seconds", epoch_s), ("--trials-per-node", trials_per_node)):
        if value is not None and not 0 < value < math.inf:
            raise ConfigError(f"{name} must be a finite number above 0, got {value!r}")
    epoch = measured(output, config) if epoch_s is None else EpochTime(epoch_s, "given")
    if epoch is None:
        raise ConfigError(
            f"--estimate: no earlier study under {output}/ with the same data, network and share of a machine tells "
            "how long an epoch takes; say it with --epoch-seconds, or measure it: "
            f"--num-samples {share(config, sys.maxsize).at_once} --no-retrain"
        )
    for line in lines(config, epoch, trials_per_node=trials_per_node):
        print(line)


def _range(pair: tuple[float, float]) -> str:
    texts = [_figure(value) for value in pair]
    return texts[0] if texts[0] == texts[1] else " to ".join(texts)


def _figure(value: float) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    # Half a minute of an hour is as close as an estimate comes.
    return "less than 0.01" if value < 0.01 else f"{round(value, 2):g}" if value < 10 else f"{value:,.0f}"
