"""The view on the terminal: progress of long work as a live table (or as lines where there is no terminal), tables."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from typing import Self

from rich.console import Console, Group
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
    """Shows `Progress` until the block ends. `show` is what a search is handed as its callback."""

    def __init__(self, console: Console, title: str) -> None:
        self._console, self._title = console, title
        self._live = Live(console=console, refresh_per_second=4, transient=False) if console.is_terminal else None
        self._stage, self._last_line = "", 0.0
        self._last: Progress | None = None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show_downloading(self, done: int, total: int) -> None:
        """Bytes arriving; `total` is 0 where the server does not say."""
        if self._live is None:
            if done == total:
                self._console.print(f"downloaded {total:,} bytes")
            return
        bar = ProgressBar(total=total or None, completed=done, width=40)
        words = Text(f"downloading: {decimal(done)}" + (f" of {decimal(total)}" if total else ""))
        self._live.update(Group(words, bar))

    def show_decoding(self, done: int, total: int) -> None:
        """Pictures being read."""
        text = f"reading pictures: {done:,} of {total:,}"
        if self._live is not None:
            self._live.update(Text(text))
        elif done == total:
            self._console.print(text)

    def show(self, progress: Progress) -> None:
        """The newest state of the search or the retraining."""
        if self._live is not None:
            self._live.update(progress_table(self._title, progress))
            if self._last is not None and self._last.stage != progress.stage:
                # The finished stage stays on the screen above the next.
                self._console.print(progress_table(self._title, self._last))
            self._last = progress
            return
        now = time.monotonic()
        if progress.is_event or now - self._last_line >= _LINE_EVERY_S:
            self._last_line = now
            self._console.print(progress_line(progress), soft_wrap=True, highlight=False, markup=False)


def progress_table(title: str, progress: Progress) -> Table:
    """One row of counts under the study's title."""
    table = Table(title=f"{title}: {progress.stage}", title_justify="left", caption=Text(progress.latest))
    table.caption_justify = "left"
    cells = {
        "asked": str(progress.asked),
        "running": str(progress.running),
        "completed": str(progress.completed),
        "stopped": str(progress.stopped),
        "failed": str(progress.failed),
        "epochs": f"{progress.epochs:,}",
        "best so far": progress.best,
        "time": clock(progress.elapsed_s),
        "left, about": "-" if progress.left_s is None else clock(progress.left_s),
    }
    if progress.stage != "search":
        del cells["stopped"], cells["best so far"]
    for name in cells:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_row(*cells.values())
    return table


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
