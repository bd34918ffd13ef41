"""Results become statistics and tables: a pure function of the rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catdog_ray.ledger import StudyDirectory
from catdog_ray.records import STATUSES, RetrainRow, TrialRow, best_trial
from catdog_ray.schema import require_facts
from catdog_ray.space import HyperParameters
from catdog_ray.statistics import Estimate, estimate


@dataclass(frozen=True)
class MilestoneResult:
    """One configuration of one study at one milestone, over its seeds."""

    configuration: str
    is_best: bool
    hyperparameters: HyperParameters
    milestone: int
    train: Estimate
    test: Estimate

    @property
    def title(self) -> str:
        """The configuration as tables name it."""
        return f"{self.configuration} (best)" if self.is_best else self.configuration


@dataclass(frozen=True)
class Study:
    """What is read of one study's folder."""

    path: Path
    facts: Mapping[str, Any]
    trials: tuple[TrialRow, ...]
    retrain: tuple[RetrainRow, ...]

    @property
    def name(self) -> str:
        """The study's name."""
        return str(self.facts["name"])

    @property
    def is_drawn(self) -> bool:
        """Whether it is on the drawn data, which every table and figure must say."""
        return bool(self.facts["data"]["drawn"])

    @property
    def title(self) -> str:
        """The name with what must stand beside its figures: the data and the config's label."""
        data = "drawn data" if self.is_drawn else self.facts["data"]["name"]
        return f"{self.name} ({data}, {self.facts['label']})"


GUIDE = (
    ("the guide: baseline, 200 epochs", 0.9040, 0.9178),
    ("the guide: tuned, 125 epochs", 0.8238, 0.8272),
)
"""(what, training accuracy, validation accuracy) as the guide reports them, on its own data and one run each."""


def guides_figures(facts: Mapping[str, Any]) -> tuple[tuple[str, float, float], ...]:
    """`GUIDE` where a study asks the guide's question, cats or dogs by the built-in network; () where it does not."""
    names = sorted(str(name).lower().removesuffix("s") for name in facts["data"].get("class_names", ()))
    model = facts["config"].get("model")
    is_own = isinstance(model, Mapping) and model.get("builder") is not None
    return GUIDE if names == ["cat", "dog"] and not is_own else ()


def read(folder: Path) -> Study:
    """One study; RecordError where its files are missing or damaged."""
    study = StudyDirectory(folder)
    facts = study.read_study()
    require_facts(folder / "study.json", facts)
    trials = sorted(study.trials.read(), key=lambda row: row.trial)
    return Study(folder, facts, tuple(trials), tuple(study.retrain.read()))


def milestones(study: Study) -> list[MilestoneResult]:
    """One result per configuration and milestone: tuned ones first, the baseline last, epochs rising."""
    groups: dict[tuple[str, int], list[RetrainRow]] = {}
    for row in study.retrain:
        groups.setdefault((row.configuration, row.milestone), []).append(row)
    best = best_trial(study.trials)
    order = sorted(groups, key=lambda key: (key[0] == "baseline", key[0], key[1]))
    return [
        MilestoneResult(
            configuration=configuration,
            is_best=best is not None and groups[configuration, milestone][0].hyperparameters == best.hyperparameters,
            hyperparameters=HyperParameters.of(groups[configuration, milestone][0].hyperparameters),
            milestone=milestone,
            train=estimate([row.train_accuracy for row in groups[configuration, milestone]]),
            test=estimate([row.test_accuracy for row in groups[configuration, milestone]]),
        )
        for configuration, milestone in order
    ]


def search_line(study: Study) -> str:
    """The search in a sentence."""
    counts = {status: sum(row.status == status for row in study.trials) for status in STATUSES}
    epochs = sum(row.epochs for row in study.trials)
    best = best_trial(study.trials)
    settings = study.facts["config"]["search"]
    all_random = study.facts["method"] == "tpe" and settings["num_samples"] <= settings["startup_trials"]
    start_up = ", all random start-up" if all_random else ""
    how = "early" if settings.get("time_budget_s") is None else "early or by the time budget"
    line = (
        f"{study.facts['method']}{start_up}: {len(study.trials)} trials ({counts['completed']} completed, "
        f"{counts['stopped']} stopped {how}, {counts['failed']} failed), {epochs} epochs"
    )
    if best is None or best.objective is None:
        return f"{line}; none has a score"
    words = HyperParameters.of(best.hyperparameters).text()
    return f"{line}; best: trial {best.trial}, selection accuracy {100 * best.objective:.1f} % with {words}"
