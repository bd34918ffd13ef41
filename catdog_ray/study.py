"""One study from data to rows: its facts, the search, the retraining; what the commands call."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from catdog_ray import (
    builder,
    checkpoints,
    choice,
    cluster,
    data,
    inspection,
    mirror,
    origins,
    preflight,
    processes,
    rehearsal,
    retraining,
    running,
    search,
    stock,
)
from catdog_ray import config as configuration
from catdog_ray.errors import ConfigError, UserError
from catdog_ray.ledger import MACHINE_SETTINGS, StudyDirectory, portable
from catdog_ray.provenance import commit, keras_backend, versions
from catdog_ray.ranges import Range
from catdog_ray.recorder import OnProgress
from catdog_ray.records import OBJECTIVE, RecordError, best_trial
from catdog_ray.schema import SCHEMA_VERSION
from catdog_ray.settings import STOCK, Config

_log = logging.getLogger(__name__)


def run(
    folder: Path,
    config: Config,
    *,
    with_search: bool = True,
    top: int = 1,
    on_download: origins.Progress | None = None,
    on_data: origins.Progress | None = None,
    on_splits: Callable[[data.Splits], None] | None = None,
    on_cluster: Callable[[cluster.Cluster], None] | None = None,
    on_stage: Callable[[str], None] = lambda _: None,
    on_progress: OnProgress | None = None,
) -> data.Splits:
    """Search (unless `with_search` is False), then retrain as `config.retrain` says; all rows land in `folder`.

    `on_stage` is told what begins and has no progress yet. Returns the data it used. Raises KeyboardInterrupt if
    interrupted; `run` with the same folder goes on. Raises UserError for what must be changed first; what was there is
    then as it was, unless a row was written.
    """
    if config.model.builder is not None:
        builder.require_findable(config.model.builder)
    on_stage("loading pictures")
    splits = data.load(config.data, on_progress=on_data, on_download=on_download)
    if on_splits is not None:
        on_splits(splits)
    with StudyDirectory(folder) as study:
        before = study.snapshot()
        copier = mirror.Copier(study)
        try:
            searches = with_search and _has_trials_left(study, config)
            # Asked now too: what cannot be retrained is not to be told after hours of search.
            retrains = retraining.is_due(study, config, _chosen(study, config, top=top))
            with _described(study, config, splits, with_search=with_search, searches=searches) as describe:
                place = checkpoints.place(config.cluster, study)
                shared = place if config.cluster.storage_path else None
                # Once trials have begun, a network that fails at an end of its space fails those trials alone.
                space = config.space if searches and not study.epochs.read() and not study.trials.read() else {}
                require_network = partial(_require_network, config, splits, space=space, on_stage=on_stage)
                is_tried = False
                if searches and config.search.method == STOCK:
                    describe(nodes=[inspection.node_facts(os.cpu_count() or 1, 0)])
                    require_network(call=processes.call_apart)
                    with copier.copying(shared):
                        on_stage("search: Keras Tuner starts, and the first trial builds its network")
                        stock.run(study, config, splits.train, splits.selection, on_progress=on_progress)
                    describe(searched=True)
                    searches, is_tried, chosen = False, True, _chosen(study, config, top=top)
                    retrains = retraining.is_due(study, config, chosen)
                if searches or retrains:
                    address = config.cluster.address
                    on_stage("starting Ray" if address == "local" else f"joining Ray ({address})")
                    with cluster.connect(config.cluster) as running_on:
                        describe(nodes=list(running_on.nodes))
                        preflight.check(config.cluster, place)
                        if on_cluster is not None:
                            on_cluster(running_on)
                        if not is_tried:
                            require_network(call=partial(running.call, settings=config.cluster))
                        watched: dict[str, Any] = {"running_on": running_on, "on_progress": on_progress}
                        with copier.copying(shared):
                            if searches:
                                on_stage("search: workers start, and the first trial builds its network")
                                describe(share=running_on.share(runs=config.search.num_samples).__dict__)
                                search.run(study, config, splits.train, splits.selection, **watched)
                                describe(searched=True)
                                describe(nodes=list(running_on.grown()))
                            if chosen := _chosen(study, config, top=top):
                                on_stage("retraining: workers start, and the first run builds its network")
                                describe(retrain_epochs=config.retrain.milestones[-1])
                                retraining.run(study, config, splits, chosen, **watched)
                else:
                    # What a killed session did not come to copy.
                    with copier.copying(shared):
                        pass
                if study.read_study()["searched"] and not retraining.unfinished(study):
                    # Checkpoints served to resume; nothing is left to resume.
                    checkpoints.remove(place)
                    shutil.rmtree(study.path / "ray", ignore_errors=True)
        except UserError:
            study.put_back(before)
            raise
        finally:
            # With how it ended.
            copier.copy()
    return splits


def lost(folder: Path, config: Config, *, top: int = 1) -> list[tuple[str, int]]:
    """The retraining runs, (configuration, seed), that were asked for and have not reached their last milestone."""
    study = StudyDirectory(folder)
    return retraining.missing(study, config, _chosen(study, config, top=top))


def _chosen(study: StudyDirectory, config: Config, *, top: int) -> list[retraining.Candidate]:
    """What is to be retrained. Without a best trial the command fails; the baseline alone would only make it late."""
    trials = study.trials.read()
    wants_best = "best" in config.retrain.configurations
    if not config.retrain.enabled or (wants_best and best_trial(trials) is None):
        return []
    return retraining.candidates(config, trials, top=top)


def _require_network(
    config: Config,
    splits: data.Splits,
    *,
    space: Mapping[str, Range],
    on_stage: Callable[[str], None],
    call: Callable[..., Any],
) -> None:
    """ConfigError where a network of the user's own cannot be trained; every trial would tell so, one by one.

    It is built at the baseline, and at the ends of `space`.
    """
    if config.model.builder is None:
        return
    on_stage("building the network of your own, before the first trial")
    size, classes = splits.train.pixels.shape[1], len(splits.train.class_names)
    try:
        found = call(rehearsal.rehearse, config.model, config.train, dict(config.baseline), dict(space), size, classes)
    except processes.Lost as error:
        raise ConfigError(
            f"--model {config.model.builder}: the process that built it before the search was lost ({error}); where "
            "memory is short, make the largest network of the space smaller"
        ) from error
    if found.fault is not None:
        raise ConfigError(found.fault)
    for warning in found.warnings:
        _log.warning("warning: %s", warning)


@contextmanager
def _described(
    study: StudyDirectory, config: Config, splits: data.Splits, *, with_search: bool, searches: bool
) -> Iterator[Callable[..., None]]:
    """Keep study.json true: written at the start, and at the end with how it ended and how long it took.

    `with_search`: whether the command is one that searches; `searches`: whether anything is left to search.
    """
    earlier = study.read_study() if (study.path / "study.json").exists() else {}
    if earlier and earlier["data"]["fingerprint"] != splits.fingerprint:
        raise RecordError(f"{study.path}: was begun with other data ({earlier['data']['name']}); start another study")
    backend = keras_backend()
    if earlier.get("backend", backend) != backend:
        raise RecordError(
            f"{study.path}: was begun with Keras on {earlier['backend']}, this is {backend}; "
            f"set KERAS_BACKEND={earlier['backend']}, or start another study"
        )
    if earlier:
        # Again, now that the study is ours: another command may have begun it since its name was found free.
        saved = configuration.from_saved(earlier["config"])
        choice.require_resumable(saved, config, study.path, "")
    retraining.require_same_length(study, config, earlier.get("retrain_epochs"))
    started = time.monotonic()
    searches = searches or not earlier
    facts: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "name": study.path.name,
        # A study that was begun without one has its checkpoints under its name alone.
        **({} if earlier and "id" not in earlier else {"id": earlier.get("id") or secrets.token_hex(4)}),
        "label": config.label,
        "method": config.search.method,
        "objective": OBJECTIVE.format(window=config.search.scoring_window),
        "state": "running",
        "started_utc": earlier.get("started_utc", datetime.now(UTC).isoformat(timespec="seconds")),
        # A killed session left no end; its last row tells how far it came.
        "wall_s": max(earlier.get("wall_s", 0.0), _elapsed_s(study)),
        "sessions": earlier.get("sessions", 0) + 1,
        # A later retraining does not change what searched, on what, and with what settings: that stands beside it.
        **(
            {"commit": commit(), "versions": versions()}
            if searches
            else {"commit": earlier.get("commit"), "versions": earlier.get("versions", {})}
        ),
        "backend": backend,
        "nodes": earlier.get("nodes", []),
        "data": splits.facts(),
        "config": portable(config.as_dict()) if with_search or not earlier else earlier["config"],
        # Whether the search came to its end, whatever becomes of a retraining.
        "searched": not searches if with_search else _is_searched(study, earlier),
        **{name: earlier[name] for name in ("share", "retrain_epochs", "retraining") if name in earlier},
    }

    def describe(*, nodes: list[Any] | None = None, **changed: Any) -> None:
        if nodes is not None and searches:
            facts["nodes"] = nodes
        elif nodes is not None:
            facts["retraining"] = {"commit": commit(), "versions": versions(), "nodes": nodes}
        facts.update(changed)
        study.write_study(facts)

    describe()
    study.write_machine_settings(_places(config))
    state = "failed"
    try:
        yield describe
        state = "finished" if facts["searched"] else "interrupted"
    except KeyboardInterrupt:
        state = "interrupted"
        raise
    finally:
        try:
            describe(state=state, wall_s=facts["wall_s"] + time.monotonic() - started)
        except OSError as error:
            # A full disk, say, that ended the session too: that error is the one to tell.
            _log.warning("%s cannot be brought up to date (%s)", study.path / "study.json", error.strerror)


def _is_searched(study: StudyDirectory, earlier: Mapping[str, Any]) -> bool:
    """Whether the search of a study came to its end; of one that does not say so, from its state and rows."""
    if "searched" in earlier or earlier.get("state") == "finished":
        return bool(earlier.get("searched", True))
    ended = {row.trial for row in study.trials.read()}
    settings = earlier.get("config", {}).get("search", {})
    if settings.get("time_budget_s") is not None and study.retrain.read():
        return bool(ended) and {row.trial for row in study.epochs.read()} <= ended
    return len(ended) == settings.get("num_samples")


def _has_trials_left(study: StudyDirectory, config: Config) -> bool:
    """Whether anything is left to search: a trial that was begun, or one that there is to be, and time for it.

    A search that its time ended goes on where it gets more of it, or more trials. ConfigError for fewer trials than
    there are: a study is whole with as many as it says.
    """
    ended = {row.trial for row in study.trials.read()}
    begun = ended | {row.trial for row in study.epochs.read()}
    asked, most = config.search, max(begun, default=-1) + 1
    if asked.num_samples < most:
        raise ConfigError(
            f"search.num_samples: {study.path} has begun {most} trials, so it must be at least that many, "
            f"got {asked.num_samples}"
        )
    if not ended or begun != ended:
        return True
    if len(ended) == asked.num_samples:
        return False
    earlier = study.read_study()
    before = earlier.get("config", {}).get("search", {})
    is_same = (before.get("time_budget_s"), before.get("num_samples")) == (asked.time_budget_s, asked.num_samples)
    return not (is_same and asked.time_budget_s is not None and _is_searched(study, earlier))


def _elapsed_s(study: StudyDirectory) -> float:
    """The study's time as far as its rows tell: of the search, then of the retraining."""
    search_s = max((row.elapsed_s for row in study.epochs.read()), default=0.0)
    return search_s + max((row.elapsed_s for row in study.retrain_epochs.read()), default=0.0)


def _places(config: Config) -> dict[str, Any]:
    """`MACHINE_SETTINGS` with absolute paths, so that a study goes on from any working directory."""
    found = {name: configuration.setting(config, name) for name in MACHINE_SETTINGS}
    found["data.source"] = origins.with_key(config.data)
    for name, value in found.items():
        is_name = name == "cluster.address" or (name == "data.source" and not origins.is_place(config.data))
        if value is not None and not is_name and "://" not in value:
            found[name] = str(Path(value).expanduser().resolve())
    return found
