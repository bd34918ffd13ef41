"""The errors that end a command, each with the line that it prints."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class UserError(Exception):
    """Something the user must change; its text is the one line that the command prints (exit code 2).

    Whatever a file or a flag put into the text, it is one line that no terminal obeys.
    """

    def __init__(self, text: str) -> None:
        super().__init__(printable(text))


class RunFailed(Exception):
    """The command ran and did not reach its end; its text is the one line that is printed (exit code 1)."""


class ConfigError(UserError):
    """A setting is missing, unknown, of the wrong type or out of its range."""


class DataError(UserError):
    """The data set is missing, unreadable or of the wrong layout."""


def printable(text: str) -> str:
    r"""The text with everything a terminal would obey, and bytes that are no UTF-8, as escapes such as `\x1b`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def first_line(error: BaseException) -> str:
    """What an error of a library says first, for those that go over several lines; its kind where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def nearest(name: str, known: Iterable[Any]) -> str:
    """A hint for an error text: the known name most like `name`, or nothing."""
    close = difflib.get_close_matches(str(name), [str(key) for key in known], n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
