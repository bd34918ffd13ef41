"""Configurations x seeds on the cluster, each trained once through all milestones. Alone in reading the test split."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray.tune import Callback

from catdog_ray import cluster, trial
from catdog_ray.data import Images, Splits
from catdog_ray.ledger import StudyDirectory, replace_file, to_json
from catdog_ray.records import (
    EpochRow,
    PredictionRow,
    Progress,
    RetrainEpochRow,
    RetrainFailure,
    RetrainRow,
    TrialRow,
    best_trial,
    finite_or_none,
)
from catdog_ray.searchers import Planned, StudySearcher
from catdog_ray.settings import Config, ConfigError
from catdog_ray.space import HyperParameters

OnProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class Candidate:
    """A configuration to retrain: `trial-0007` of the search, or the brief's `baseline`."""

    configuration: str
    hyperparameters: HyperParameters
    trial: int | None
    selection_objective: float | None


@dataclass(frozen=True)
class _ModelFile:
    """`model.keras`: the best configuration of the search, first seed, last milestone; `model.json` says which."""

    folder: Path
    configuration: str
    seed: int
    epochs: int

    @classmethod
    def wanted(cls, folder: Path, config: Config, chosen: Sequence[Candidate]) -> _ModelFile | None:
        """None where no trial of a search is retrained."""
        if not chosen or chosen[0].trial is None:
            return None
        return cls(folder, chosen[0].configuration, config.seed, config.retrain.milestones[-1])

    def is_there(self) -> bool:
        """Whether the file is this model, or the same trained for longer."""
        try:
            known = json.loads((self.folder / "model.json").read_text(encoding="utf-8"))
            same = (known["configuration"], known["seed"]) == (self.configuration, self.seed)
            return same and known["epochs"] >= self.epochs and (self.folder / "model.keras").is_file()
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def take(self, source: Path) -> None:
        """Put `source` in place, unless what is there is as good."""
        if self.is_there() or not source.is_file():
            return
        replace_file(self.folder / "model.keras", source.read_bytes())
        facts = {"configuration": self.configuration, "seed": self.seed, "epochs": self.epochs}
        replace_file(self.folder / "model.json", to_json(facts) + "\n")


def candidates(config: Config, trials: Sequence[TrialRow], *, top: int = 1) -> list[Candidate]:
    """What `retrain.configurations` names, the best first; one candidate where the best is the baseline."""
    baseline = HyperParameters.of({name: config.baseline[name] for name in config.space})
    rest = list(trials)
    found: list[Candidate] = []
    for _ in range(top if "best" in config.retrain.configurations else 0):
        row = best_trial(rest)
        if row is None:
            break
        rest.remove(row)
        point = HyperParameters.of({name: row.hyperparameters[name] for name in config.space})
        if point not in [candidate.hyperparameters for candidate in found]:
            name = "baseline" if point == baseline else f"trial-{row.trial:04d}"
            found.append(Candidate(name, point, row.trial, row.objective))
    if "baseline" in config.retrain.configurations and all(item.configuration != "baseline" for item in found):
        found.append(Candidate("baseline", baseline, None, None))
    return found


def run(
    study: StudyDirectory,
    config: Config,
    splits: Splits,
    chosen: Sequence[Candidate],
    *,
    running_on: cluster.Cluster,
    on_progress: OnProgress | None = None,
) -> list[RetrainRow]:
    """Train what is not on record yet; returns all rows. Raises KeyboardInterrupt if interrupted.

    Trains on training and selection images together and reports on the test split. Raises ConfigError where the
    learning rate falls to zero at another epoch than in runs on record.
    """
    require_same_length(study, config)
    _drop_uncommitted_predictions(study)
    keeper = _ModelFile.wanted(study.path, config, chosen)
    storage_path = cluster.storage(config.cluster, study.path)
    planned = _planned(study, config, chosen, storage_path, keeper)
    recorder = _Recorder(study, config, splits.test, chosen, len(planned), on_progress, keeper)
    if planned:
        share = running_on.share(runs=len(chosen) * config.retrain.seeds)
        cluster.run_trials(
            trial.run_retraining,
            arguments={
                "train": splits.train.joined(splits.selection),
                "test": splits.test,
                "model_settings": config.model,
                "augment_settings": config.augment,
                "train_settings": config.train,
                "milestones": config.retrain.milestones,
                "threads": share.threads,
            },
            searcher=StudySearcher(None, planned=planned, max_epochs=config.retrain.milestones[-1]),
            count=len(planned),
            scheduler=None,
            callback=recorder,
            settings=config.cluster,
            share=share,
            storage_path=storage_path,
            name_of=run_name,
        )
    return study.retrain.read()


def require_same_length(study: StudyDirectory, config: Config, begun_for: int | None = None) -> None:
    """ConfigError where a run whose learning rate follows a schedule would be taken for the beginning of a longer one.

    `begun_for`: how many epochs runs that may have been cut were to have, from study.json.
    """
    schedule, last = config.train.learning_rate_schedule, max(config.retrain.milestones, default=0)
    if schedule == "constant" or not config.retrain.enabled:
        return
    begun = {row.milestone for row in study.retrain.read()}
    if begun_for is not None and study.retrain_epochs.read():
        begun.add(begun_for)
    others = begun - {last}
    if others:
        raise ConfigError(
            f"retrain.milestones: {study.path} has runs of {min(others)} epochs, and train.learning_rate_schedule "
            f"{schedule} makes one of {last} epochs another run from its first epoch on; retrain it in another study"
        )


def run_name(parameters: Mapping[str, Any]) -> str:
    """`trial-0007-seed-0`: in Ray's dashboard, on the disk and in messages."""
    return f"{parameters['configuration']}-seed-{parameters['seed']}"


def _seeds(config: Config) -> range:
    return range(config.seed, config.seed + config.retrain.seeds)


def _planned(
    study: StudyDirectory,
    config: Config,
    chosen: Sequence[Candidate],
    storage_path: str,
    keeper: _ModelFile | None,
) -> list[Planned]:
    recorded = {(row.configuration, row.seed, row.milestone) for row in study.retrain.read()}
    recorded_epochs = Counter((row.configuration, row.seed) for row in study.retrain_epochs.read())
    planned: list[Planned] = []
    for seed in _seeds(config):
        for candidate in chosen:
            missing = [m for m in config.retrain.milestones if (candidate.configuration, seed, m) not in recorded]
            keeps_model = keeper is not None and (keeper.configuration, keeper.seed) == (candidate.configuration, seed)
            if keeper is not None and keeps_model and not missing and not keeper.is_there():
                # Killed after the last row and before the model was copied: the last stretch is trained again.
                missing = [config.retrain.milestones[-1]]
            if not missing:
                continue
            extra = {
                "configuration": candidate.configuration,
                "seed": seed,
                "trial": candidate.trial,
                "selection_objective": candidate.selection_objective,
                "keep_model": keeps_model,
            }
            left = tuple(cluster.checkpoints(storage_path, run_name(extra)))
            before = min(missing[0], recorded_epochs[candidate.configuration, seed] + 1)
            planned.append(Planned(len(planned), candidate.hyperparameters, left, before, extra=extra))
    return planned


def _drop_uncommitted_predictions(study: StudyDirectory) -> None:
    """A milestone counts from its own row on, which is written last; predictions without it are of a crash."""
    committed = {(row.configuration, row.seed, row.milestone) for row in study.retrain.read()}
    rows = study.predictions.read()
    kept = [row for row in rows if (row.configuration, row.seed, row.milestone) in committed]
    if len(kept) < len(rows):
        replace_file(study.predictions.path, "".join(to_json(row.__dict__) + "\n" for row in kept))


class _Recorder(Callback):
    """Writes the rows as results arrive, and tells the view on the terminal."""

    def __init__(
        self,
        study: StudyDirectory,
        config: Config,
        test: Images,
        chosen: Sequence[Candidate],
        planned: int,
        on_progress: OnProgress | None,
        keeper: _ModelFile | None,
    ) -> None:
        self._keeper = keeper
        self._study, self._config, self._test, self._on_progress = study, config, test, on_progress
        rows = study.retrain_epochs.read()
        self._epochs = {(row.configuration, row.seed, row.epoch): row for row in rows}
        self._milestones = {(row.configuration, row.seed, row.milestone): row for row in study.retrain.read()}
        self._before_s = max([row.elapsed_s for row in rows], default=0.0)
        self._started, self._new_epochs = time.monotonic(), 0
        self._runs = [(candidate.configuration, seed) for seed in _seeds(config) for candidate in chosen]
        self._running: set[str] = set()
        self._done, self._failed = len(self._runs) - planned, 0

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles what it is given for a restore of its own, which is never used."""
        return {}

    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self._running.add(run_name(trial.config))
        self._show(f"{run_name(trial.config)} started")

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
        if result.get("failure"):
            return
        # The probabilities of every test image are not kept in Ray's memory of the last result.
        probabilities = result.pop("probabilities", None)
        parameters = trial.config
        key = (parameters["configuration"], parameters["seed"], result["epoch"])
        if probabilities is not None and key not in self._milestones:
            self._study.predictions.append(*self._predictions(key, probabilities))
            row = self._milestone_row(parameters, result)
            self._study.retrain.append(row)
            self._milestones[key] = row
        if key in self._epochs:
            return
        epoch = self._epoch_row(parameters, result)
        self._study.retrain_epochs.append(epoch)
        self._epochs[key] = epoch
        self._new_epochs += 1
        self._show(
            f"{run_name(parameters)} epoch {epoch.epoch}: test accuracy {epoch.test_accuracy:.3f}", is_event=False
        )

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        failure = trial.last_result.get("failure")
        if failure:
            self._fail(trial.config, failure)
            return
        if self._keeper is not None and trial.config["keep_model"] and trial.checkpoint is not None:
            with trial.checkpoint.as_directory() as folder:
                self._keeper.take(Path(folder) / "model.keras")
        self._done += 1
        self._running.discard(run_name(trial.config))
        self._show(f"{run_name(trial.config)} finished")

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self._fail(trial.config, cluster.failure_reason(trial))

    def _fail(self, parameters: Mapping[str, Any], reason: str) -> None:
        configuration, seed = parameters["configuration"], parameters["seed"]
        epochs = sum(key[:2] == (configuration, seed) for key in self._epochs)
        self._study.retrain_failures.append(
            RetrainFailure(configuration, seed, epochs, reason, elapsed_s=self._elapsed_s())
        )
        self._failed += 1
        self._running.discard(run_name(parameters))
        self._show(f"{run_name(parameters)} failed: {reason}")

    def _predictions(self, key: tuple[str, int, int], probabilities: Sequence[Sequence[float]]) -> list[PredictionRow]:
        names = self._test.class_names
        return [
            PredictionRow(*key, file=file, true_class=names[label], probabilities=[round(p, 6) for p in row])
            for file, label, row in zip(self._test.files, self._test.labels, probabilities, strict=True)
        ]

    def _milestone_row(self, parameters: Mapping[str, Any], result: Mapping[str, Any]) -> RetrainRow:
        configuration, seed = parameters["configuration"], parameters["seed"]
        mine = [(key[2], row.seconds) for key, row in self._epochs.items() if key[:2] == (configuration, seed)]
        before = [seconds for epoch, seconds in mine if epoch < result["epoch"]]
        return RetrainRow(
            configuration=configuration,
            seed=seed,
            milestone=result["epoch"],
            hyperparameters=dict(parameters["hyperparameters"]),
            trial=parameters["trial"],
            selection_objective=parameters["selection_objective"],
            train_loss=result["train_loss"],
            train_accuracy=result["train_accuracy"],
            clean_train_loss=finite_or_none(result["clean_train_loss"]),
            clean_train_accuracy=result["clean_train_accuracy"],
            test_loss=result["selection_loss"],
            test_accuracy=result["selection_accuracy"],
            test_images=len(self._test.labels),
            training_seconds=sum(before) + result["seconds"],
            elapsed_s=self._elapsed_s(),
        )

    def _epoch_row(self, parameters: Mapping[str, Any], result: Mapping[str, Any]) -> RetrainEpochRow:
        row = EpochRow(**{name: result[name] for name in EpochRow.__dataclass_fields__})
        return RetrainEpochRow(
            configuration=parameters["configuration"],
            seed=parameters["seed"],
            epoch=row.epoch,
            train_loss=row.train_loss,
            train_accuracy=row.train_accuracy,
            test_loss=row.selection_loss,
            test_accuracy=row.selection_accuracy,
            seconds=row.seconds,
            elapsed_s=self._elapsed_s(),
        )

    def _elapsed_s(self) -> float:
        return self._before_s + time.monotonic() - self._started

    def _show(self, latest: str, *, is_event: bool = True) -> None:
        if self._on_progress is None:
            return
        last = self._config.retrain.milestones[-1]
        left_epochs = len(self._runs) * last - len(self._epochs)
        rate = self._new_epochs / (time.monotonic() - self._started)
        newest = [max((k[2] for k in self._epochs if k[:2] == run), default=0) for run in self._runs]
        self._on_progress(
            Progress(
                stage="retraining",
                asked=len(self._runs),
                running=len(self._running),
                completed=self._done,
                stopped=0,
                failed=self._failed,
                epochs=sum(newest),
                elapsed_s=self._elapsed_s(),
                left_s=left_epochs / rate if rate else None,
                best="-",
                latest=latest,
                is_event=is_event,
            )
        )
