"""The view on the terminal: progress of long work as a live table (or as lines where there is no terminal), tables."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Self

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.filesize import decimal
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from catdog_ray import evenness
from catdog_ray.compare import Study, guides_figures, milestones, search_line
from catdog_ray.records import Progress
from catdog_ray.words import percent

_LINE_EVERY_S = 10.0
_FIRST = " (builds its network first)"
_MOST_NAMED = 6
"""Of what runs at once: about two lines of 80 columns."""


def make_console() -> Console:
    """The terminal; where there is none (a file, a pipe), lines wide enough for the tables."""
    console = _Terminal()
    return console if console.is_terminal else _Terminal(width=150)


class _Terminal(Console):
    """Where the reader of the output goes away (`... | head`), the work goes on in silence: it is in the files."""

    def on_broken_pipe(self) -> None:
        """Rich would end the process."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say(console: Console, text: str, *, style: str = "") -> None:
    """Text that nobody's markup changes, in whole lines where no terminal breaks them."""
    console.print(text, style=style, soft_wrap=not console.is_terminal, highlight=False, markup=False)


class LiveView:
    """Shows what begins, and `Progress`, until the block ends. On a terminal its clock runs on between two news.

    `begin` and `show` are what a study is handed as its callbacks.
    """

    def __init__(self, console: Console, title: str) -> None:
        self._console, self._title = console, title
        self._draw: Callable[[], RenderableType] = Text
        self._live: Live | None = None
        if console.is_terminal:
            self._live = Live(console=console, refresh_per_second=4, get_renderable=lambda: self._draw())
        self._last_line = 0.0
        self._last: Progress | None = None
        self._is_interrupted = False

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def begin(self, stage: str) -> None:
        """Something begins that has no numbers yet, such as `starting Ray`."""
        if self._live is None:
            self._print(stage)
            return
        began = time.monotonic()
        self._replace(lambda: Text(f"{stage} ({clock(time.monotonic() - began)})"), None)

    def show_downloading(self, done: int, total: int) -> None:
        """Bytes arriving; `total` is 0 where the server does not say."""
        if self._live is None:
            if done == total:
                self._console.print(f"downloaded {total:,} bytes")
            return
        bar = ProgressBar(total=total or None, completed=done, width=40)
        words = Text(f"downloading: {decimal(done)}" + (f" of {decimal(total)}" if total else ""))
        self._replace(lambda: Group(words, bar), None)

    def show_decoding(self, done: int, total: int) -> None:
        """Pictures being read."""
        text = f"reading pictures: {done:,} of {total:,}"
        if self._live is not None:
            self._replace(lambda: Text(text), None)
        elif done == total:
            self._console.print(text)

    def show(self, progress: Progress) -> None:
        """The newest state of the search or the retraining."""
        now = time.monotonic()
        if self._live is not None:
            self._replace(lambda: progress_view(self._title, _later(progress, time.monotonic() - now)), progress)
        elif progress.is_event or now - self._last_line >= _LINE_EVERY_S:
            self._last_line = now
            self._print(progress_line(progress))

    def interrupt(self, kept: str) -> None:
        """The work is interrupted and takes some seconds to end; `kept` says what stays and how to go on."""
        if self._is_interrupted:
            self._print("still finishing up; it ends by itself, and nothing that was written is lost")
            return
        self._is_interrupted = True
        self._print(f"interrupted: finishing up, which takes some seconds; {kept}")

    def _replace(self, draw: Callable[[], RenderableType], progress: Progress | None) -> None:
        """Draw something else from now on; a finished stage stays on the screen above the next."""
        self._draw = draw
        finished, self._last = self._last, progress
        if self._live is not None and finished is not None and (progress is None or progress.stage != finished.stage):
            self._live.refresh()
            self._console.print(progress_view(self._title, finished))

    def _print(self, line: str) -> None:
        self._console.print(line, soft_wrap=True, highlight=False, markup=False)


def progress_view(title: str, progress: Progress) -> Group:
    """The counts, and under them what is best, what runs and what happened last."""
    lines = []
    if progress.best != "-":
        lines.append(f"best so far: {progress.best}")
    if progress.underway:
        named = [f"{name} epoch {done + 1}{'' if done else _FIRST}" for name, done in progress.underway]
        more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
        lines.append(f"running: {', '.join(named[:_MOST_NAMED])}{more}")
    return Group(progress_table(title, progress), *map(Text, [*lines, f"last: {progress.latest}"]))


def progress_table(title: str, progress: Progress) -> Table:
    """One row of counts under the study's title: whole on 80 columns, of a thousand trials and a hundred hours too."""
    table = Table(
        title=f"{title}: {progress.stage}", title_justify="left", box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0)
    )
    cells = {
        "asked": f"{progress.asked:,}",
        "running": f"{progress.running:,}",
        "completed": f"{progress.completed:,}",
        "stopped": f"{progress.stopped:,}",
        "failed": f"{progress.failed:,}",
        "epochs": f"{progress.epochs:,}",
        "time": clock(progress.elapsed_s),
        "left, about": "-" if progress.left_s is None else clock(progress.left_s),
    }
    if progress.stage != "search":
        del cells["stopped"]
    for name in cells:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_row(*cells.values())
    return table


def _later(progress: Progress, seconds: float) -> Progress:
    """The same some seconds on, with nothing new; the time of a stage stands when all has ended."""
    ended = progress.completed + progress.stopped + progress.failed
    if ended >= progress.asked and not progress.running:
        return progress
    left_s = None if progress.left_s is None else max(0.0, progress.left_s - seconds)
    return replace(progress, elapsed_s=progress.elapsed_s + seconds, left_s=left_s)


def progress_line(progress: Progress) -> str:
    """The same in one line."""
    ended = progress.completed + progress.stopped + progress.failed
    left = "" if progress.left_s is None else f", about {clock(progress.left_s)} left"
    best = "" if progress.best == "-" else f", best {progress.best}"
    return (
        f"[{clock(progress.elapsed_s)}] {progress.stage}: {ended} of {progress.asked} ended, "
        f"{progress.epochs} epochs{best}{left}; {progress.latest}"
    )


def clock(seconds: float) -> str:
    """`4:05` or `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def print_results(console: Console, studies: Sequence[Study]) -> None:
    """Every study's search in a line, then what was retrained, if anything was."""
    for study in studies:
        say(console, f"{study.title}: {search_line(study)}")
    if any(study.retrain for study in studies):
        _print_retrained(console, studies)
    if any(study.is_drawn for study in studies):
        console.print(
            "Drawn data: these figures show that the pipeline works; they say nothing about photographs.",
            style="yellow",
        )


def _print_retrained(console: Console, studies: Sequence[Study]) -> None:
    table = Table(title="accuracy after retraining", title_justify="left")
    several = len(studies) > 1
    for name in (["study"] if several else []) + [
        "configuration",
        "epochs",
        "training",
        "test (n seeds, 95 % interval)",
    ]:
        table.add_column(name, justify="right" if name == "epochs" else "left")
    for study in studies:
        for result in milestones(study):
            cells = [result.title, str(result.milestone), percent(result.train.mean), result.test.text()]
            table.add_row(*map(Text, [study.name] if several else []), *map(Text, cells))
    table.add_section()
    constant = evenness.recorded(studies[0].facts)
    if constant is not None:
        cells = [constant.title, "-", "-", f"{percent(constant.accuracy)} (a constant answer)"]
        table.add_row(*([""] if several else []), *map(Text, cells), style="dim")
    for what, train, validation in guides_figures(studies[0].facts):
        name, epochs = what.rsplit(", ", 1)
        cells = [name, epochs.split()[0], percent(train), f"{percent(validation)} (reported on other data)"]
        table.add_row(*([""] if several else []), *cells, style="dim")
    console.print(table)
    for study in studies:
        for result in {found.configuration: found for found in milestones(study)}.values():
            say(console, f"{study.name}, {result.title}: {result.hyperparameters.text()}")
