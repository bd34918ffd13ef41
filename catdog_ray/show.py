"""A study run in front of a person: the live view, the figures, the final table, and how to go on."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from catdog_ray import environment, evenness, processes
from catdog_ray.command import Interrupted
from catdog_ray.errors import RunFailed
from catdog_ray.ledger import StudyDirectory
from catdog_ray.records import best_trial
from catdog_ray.settings import STOCK, Config, without_secrets

if TYPE_CHECKING:
    from catdog_ray.cluster import Cluster
    from catdog_ray.data import Splits


def run_study(folder: Path, config: Config, *, with_search: bool = True, top: int = 1) -> None:
    """Run `study.run` with its progress shown, then print and draw what came out.

    Raises RunFailed where no trial has a score, Interrupted on Ctrl-C.
    """
    environment.prepare(config.cluster)
    from catdog_ray import compare, live, plots, study

    def kept() -> str:
        """What an interruption leaves, and how to go on."""
        if not (folder / "study.json").exists():
            return "nothing was written yet; run the same command again"
        return f"the rows are in {folder}; to go on: {_again(folder, config, with_search)}"

    console = live.make_console()
    source = without_secrets(config.data.source) if "://" in config.data.source else config.data.source
    console.print(f"study {folder}: data {source}, {config.label}", highlight=False, markup=False)
    try:
        with live.LiveView(console, config.name) as view, processes.told(lambda: view.interrupt(kept())):
            splits = study.run(
                folder,
                config,
                with_search=with_search,
                top=top,
                on_download=view.show_downloading,
                on_data=view.show_decoding,
                on_splits=lambda splits: _print_uneven(console, splits),
                on_cluster=lambda running_on: _print_cluster(console, running_on),
                on_stage=view.begin,
                on_progress=view.show,
            )
    except KeyboardInterrupt:
        raise Interrupted(kept()) from None
    if splits.skipped:
        console.print(f"{len(splits.skipped)} unreadable files skipped: {', '.join(splits.skipped[:5])}", markup=False)
    found = compare.read(folder)
    curves = StudyDirectory(folder).retrain_epochs.read()
    if curves:
        plots.save_curves(
            folder / "curves.png", curves, title=f"retraining, {found.title}", milestones=config.retrain.milestones
        )
    live.print_results(console, [found])
    written = sorted(file.name for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))
    live.say(console, f"written to {folder}: {', '.join(written)}")
    if not found.trials and not with_search:
        raise RunFailed(f"no trial has ended yet; go on with the search first: {_again(folder, config, True)}")
    if not found.trials and config.search.time_budget_s is not None:
        raise RunFailed(
            f"the time budget of {config.search.time_budget_s:g} s ended the search before an epoch was done; "
            f"to go on: {_again(folder, config, True)} --time-budget LONGER"
        )
    if best_trial(found.trials) is None:
        raise RunFailed(f"no trial has a score; the reasons are in {folder / 'trials.jsonl'}")
    lost = study.lost(folder, config, top=top)
    if lost:
        names = ", ".join(f"{configuration} seed {seed}" for configuration, seed in sorted(lost))
        reasons = folder / "retrain-failures.jsonl"
        raise RunFailed(
            f"retraining failed for {names}; the reasons are in {reasons}; "
            f"to try again: {_again(folder, config, with_search)}"
        )


def _again(folder: Path, config: Config, with_search: bool) -> str:
    """The command that goes on with a study."""
    if not with_search:
        return f"python -m catdog_ray.retrain {shlex.quote(str(folder))} with the same flags"
    place = f"--name {shlex.quote(folder.name)} --output {shlex.quote(str(folder.parent))}"
    program = "baseline" if config.search.method == STOCK else "tune"
    return f"python -m catdog_ray.{program} --resume {place}"


def _print_uneven(console: Console, splits: Splits) -> None:
    """Before a search that may take hours."""
    train = [sum(counts) for counts in zip(splits.train.counts, splits.selection.counts, strict=True)]
    text = evenness.told(train, splits.test.counts, splits.train.class_names)
    if text is not None:
        console.print(text, style="yellow", soft_wrap=True, highlight=False, markup=False)


def _print_cluster(console: Console, running_on: Cluster) -> None:
    """How many trials fit, and where the dashboard is; its token is for the person at this terminal only."""
    room = running_on.share(runs=sys.maxsize).at_once
    console.print(f"Ray with {len(running_on.nodes)} node(s), {room} trial(s) at once", highlight=False)
    if running_on.dashboard_url:
        token = os.environ.get("RAY_AUTH_TOKEN")
        # A token that is not in the environment is the user's own file, which Ray's command reads.
        hidden = "its token is shown on a terminal only" if token else "token: ray get-auth-token"
        words = f"token {token}" if token and console.is_terminal else hidden
        console.print(
            f"Ray dashboard: http://{running_on.dashboard_url} ({words})",
            soft_wrap=not console.is_terminal,
            highlight=False,
        )
