"""Configurations x seeds on the cluster, each trained once through all milestones. Alone in reading the test split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from catdog_ray import checkpoints, cluster, running, trial
from catdog_ray.data import Splits
from catdog_ray.errors import ConfigError
from catdog_ray.files import replace_file, to_json
from catdog_ray.ledger import StudyDirectory
from catdog_ray.recorder import OnProgress
from catdog_ray.records import RetrainRow, TrialRow, best_trial, trial_name
from catdog_ray.retraining_recorder import ModelFile, RetrainingRecorder, run_name
from catdog_ray.searchers import Planned, StudySearcher
from catdog_ray.settings import Config
from catdog_ray.space import HyperParameters


@dataclass(frozen=True)
class Candidate:
    """A configuration to retrain: `trial-0007` of the search, or the guide's `baseline`."""

    configuration: str
    hyperparameters: HyperParameters
    trial: int | None
    selection_objective: float | None


def candidates(config: Config, trials: Sequence[TrialRow], *, top: int = 1) -> list[Candidate]:
    """What `retrain.configurations` names, the `top` best first, each once; no second one for the baseline among them.

    Trials of one configuration are one candidate, the best of them.
    """
    baseline = HyperParameters.in_space(config.baseline, config.space)
    rest = list(trials)
    found: list[Candidate] = []
    while len(found) < (top if "best" in config.retrain.configurations else 0):
        row = best_trial(rest)
        if row is None:
            break
        rest.remove(row)
        point = HyperParameters.in_space(row.hyperparameters, config.space)
        if point not in [candidate.hyperparameters for candidate in found]:
            name = "baseline" if point == baseline else trial_name(row.trial)
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

    Trains on training and selection images together and reports on the test split. Raises ConfigError for a milestone
    that runs on record have passed, and where their learning rate falls to zero at another epoch.
    """
    require_same_length(study, config)
    _drop_uncommitted_predictions(study)
    keeper = _wanted_model(study.path, config, chosen)
    storage_path = checkpoints.place(config.cluster, study)
    planned = _planned(study, config, chosen, storage_path, keeper)
    recorder = RetrainingRecorder(
        study,
        config.retrain,
        splits.test,
        runs=[(candidate.configuration, seed) for seed in _seeds(config) for candidate in chosen],
        planned=len(planned),
        keeper=keeper,
        on_progress=on_progress,
    )
    if planned:
        share = running_on.share(runs=len(chosen) * config.retrain.seeds)
        running.run_trials(
            trial.run_retraining,
            arguments={
                "train": splits.train.joined(splits.selection),
                "test": splits.test,
                "settings": config.fit,
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


def is_due(study: StudyDirectory, config: Config, chosen: Sequence[Candidate]) -> bool:
    """Whether `run` would train anything."""
    keeper = _wanted_model(study.path, config, chosen)
    return bool(_planned(study, config, chosen, checkpoints.place(config.cluster, study), keeper))


def missing(study: StudyDirectory, config: Config, chosen: Sequence[Candidate]) -> list[tuple[str, int]]:
    """The runs, (configuration, seed), that have no row at the last milestone."""
    last = config.retrain.milestones[-1]
    done = {(row.configuration, row.seed) for row in study.retrain.read() if row.milestone == last}
    asked = [(candidate.configuration, seed) for seed in _seeds(config) for candidate in chosen]
    return [run for run in asked if run not in done]


def unfinished(study: StudyDirectory) -> set[tuple[str, int]]:
    """The runs, (configuration, seed), on record that did not end at a milestone, asked for now or earlier."""
    length: dict[tuple[str, int], int] = {}
    for row in study.retrain_epochs.read():
        run = row.configuration, row.seed
        length[run] = max(row.epoch, length.get(run, 0))
    lost = {(row.configuration, row.seed) for row in study.retrain_failures.read()}
    done = {(row.configuration, row.seed, row.milestone) for row in study.retrain.read()}
    return {run for run in length.keys() | lost if (*run, length.get(run, 0)) not in done}


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


def _seeds(config: Config) -> range:
    return range(config.seed, config.seed + config.retrain.seeds)


def _planned(
    study: StudyDirectory,
    config: Config,
    chosen: Sequence[Candidate],
    storage_path: str,
    keeper: ModelFile | None,
) -> list[Planned]:
    recorded = {(row.configuration, row.seed, row.milestone) for row in study.retrain.read()}
    recorded_epochs = Counter((row.configuration, row.seed) for row in study.retrain_epochs.read())
    planned: list[Planned] = []
    for seed in _seeds(config):
        for candidate in chosen:
            missing = [m for m in config.retrain.milestones if (candidate.configuration, seed, m) not in recorded]
            done = [m for configuration, s, m in recorded if (configuration, s) == (candidate.configuration, seed)]
            _require_later(study, (candidate.configuration, seed), missing, done)
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
            left = tuple(checkpoints.of_trial(storage_path, run_name(extra)))
            before = min(missing[0], recorded_epochs[candidate.configuration, seed] + 1)
            planned.append(Planned(len(planned), candidate.hyperparameters, left, before, extra=extra))
    return planned


def _require_later(study: StudyDirectory, run: tuple[str, int], missing: Sequence[int], done: Sequence[int]) -> None:
    """ConfigError for a milestone before one of the same run: trained again, it need not pass it as its epochs say."""
    early = [milestone for milestone in missing if milestone < max(done, default=0)]
    if early:
        raise ConfigError(
            f"retrain.milestones: {study.path} has {run[0]}, seed {run[1]}, at {max(done)} epochs, so a milestone at "
            f"{early[0]} comes too late; retrain it in another study"
        )


def _wanted_model(folder: Path, config: Config, chosen: Sequence[Candidate]) -> ModelFile | None:
    """The best one's; the guide's own, retrained alone, does not take the place of what the search found."""
    if not chosen:
        return None
    wanted = ModelFile(folder, chosen[0].configuration, config.seed, config.retrain.milestones[-1])
    return None if chosen[0].trial is None and wanted.is_taken() else wanted


def _drop_uncommitted_predictions(study: StudyDirectory) -> None:
    """A milestone counts from its own row on, which is written last; predictions without it are of a crash."""
    committed = {(row.configuration, row.seed, row.milestone) for row in study.retrain.read()}
    rows = study.predictions.read()
    kept = [row for row in rows if (row.configuration, row.seed, row.milestone) in committed]
    if len(kept) < len(rows):
        replace_file(study.predictions.path, "".join(to_json(row.__dict__) + "\n" for row in kept))
