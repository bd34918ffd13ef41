"""Which study a command means: a new one, or one that is there and may go on with these settings."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from catdog_ray import command
from catdog_ray import config as configuration
from catdog_ray.errors import ConfigError, UserError
from catdog_ray.ledger import MACHINE_SETTINGS, StudyDirectory
from catdog_ray.records import RecordError
from catdog_ray.settings import METHODS, STOCK, Config

_MAY_CHANGE = (
    "search.num_samples",
    "search.time_budget_s",
    "retrain.",
    "cluster.",
    "name",
    "data.published",
    *MACHINE_SETTINGS,
)
"""Settings that may differ when a study is resumed. The data itself is held by its fingerprint."""


def choose_study(flags: argparse.Namespace) -> tuple[Config, Path]:
    """The checked config and the study's folder: a new one, or with --resume one that is there.

    Without --name that is the newest unfinished one under the output; with --config, of those that bear its name.
    """
    overrides = command.study_overrides(flags)
    if not flags.resume:
        config = configuration.load(flags.config, overrides=overrides)
        _require_own_method(config, flags)
        folder = _output(config) / config.name
        if "name" not in overrides:
            folder = _unused(folder)
            config = configuration.load(base=config, overrides={"name": folder.name})
        elif (folder / "study.json").exists():
            raise ConfigError(f"--name: {folder} already holds a study; add --resume to go on with it, or name another")
        return config, folder
    # With the network, to which the space belongs; all else is the saved study's.
    known = ("name", "output", "model.builder")
    base = configuration.load(flags.config, overrides={key: overrides[key] for key in known if key in overrides})
    if "name" in overrides:
        folder = _output(base) / base.name
    else:
        folder = _newest_unfinished(_output(base), name=None if flags.config is None else base.name)
        _require_own_command(folder, flags)
    saved = saved_config(folder)
    if flags.config is None:
        wanted = configuration.load(base=saved, overrides={**overrides, "name": folder.name})
    else:
        wanted = configuration.load(flags.config, overrides={**overrides, "name": folder.name})
    require_resumable(saved, wanted, folder)
    _require_own_method(wanted, flags)
    return wanted, folder


def saved_config(folder: Path) -> Config:
    """The config that a study was begun with."""
    directory = StudyDirectory(folder)
    study, machine = directory.read_study(), directory.read_machine_settings()
    try:
        return configuration.load(base=configuration.from_saved(study["config"]), overrides=machine)
    except (KeyError, UserError) as error:
        raise RecordError(f"{folder / 'study.json'}: its config cannot be used ({error})") from None


def require_resumable(saved: Config, wanted: Config, folder: Path, prefix: str = "--resume: ") -> None:
    """ConfigError where a setting that rows depend on has changed since the study began."""
    for key, (before, now) in configuration.differences(saved, wanted).items():
        if not key.startswith(_MAY_CHANGE):
            raise ConfigError(
                f"{prefix}{key} was {before!r} when {folder} began and is {now!r} now; "
                "leave it as it was, or start another study"
            )


def _output(config: Config) -> Path:
    try:
        return Path(config.output).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"output: {config.output!r}: {error}") from None


def _require_own_method(config: Config, flags: argparse.Namespace) -> None:
    if config.search.method == STOCK and flags.search != STOCK:
        raise ConfigError(f"search.method: {STOCK} is what python -m catdog_ray.baseline runs; tune knows {METHODS}")


def _require_own_command(folder: Path, flags: argparse.Namespace) -> None:
    """ConfigError where the other command that searches began the study."""
    is_stock = StudyDirectory(folder).read_study().get("method") == STOCK
    if is_stock != (flags.search == STOCK):
        program = "baseline" if is_stock else "tune"
        raise ConfigError(
            f"--resume: {folder}, the newest unfinished study, is one of python -m catdog_ray.{program}; "
            "go on with it by that command, or say which is meant with --name"
        )


def _newest_unfinished(output: Path, *, name: str | None) -> Path:
    """Of all under `output`, or of those that are called `name` or numbered behind it; none that a process works on."""
    found, unread = [], []
    if output.is_dir():
        next(output.iterdir(), None)  # `glob` finds nothing where it may not look
    for file in sorted(output.glob("*/study.json")):
        if name is not None and not re.fullmatch(rf"{re.escape(name)}(-\d+)?", file.parent.name):
            continue
        directory = StudyDirectory(file.parent)
        try:
            study = directory.read_study()
        except RecordError as error:
            unread.append(str(error))
            continue
        if study.get("state") != "finished" and not directory.is_held():
            found.append((str(study.get("started_utc")), file.parent))
    if not found:
        wanted = "" if name is None else f" {name}*"
        odd = f" (not read: {unread[0]})" if unread else ""
        raise ConfigError(
            f"--resume: no unfinished study{wanted} under {output}/{odd}; say which with --name, or where with --output"
        )
    return max(found)[1]


def _unused(folder: Path) -> Path:
    candidate, number = folder, 1
    while candidate.exists():
        number += 1
        candidate = folder.with_name(f"{folder.name}-{number}")
    return candidate
