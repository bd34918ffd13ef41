"""The tables as Markdown: comparison.md."""

from __future__ import annotations

from collections.abc import Sequence

from catdog_ray.comparison import Comparison
from catdog_ray.table import DRAWN, Table
from catdog_ray.tables import tables


def page(found: Comparison, sentences: Sequence[str] = ()) -> str:
    """comparison.md, with `sentences` first."""
    lines = [f"# {_cell(found.title)}", ""]
    if found.is_drawn:
        lines += [f"**{DRAWN}**", ""]
    lines += ["## In short", "", *(f"- {_cell(text)}" for text in sentences)] if sentences else []
    lines += [f"- Warning: {_cell(text)}" for text in found.warnings]
    return "\n".join(lines) + "\n" + "".join(map(as_markdown, tables(found)))


def as_markdown(table: Table) -> str:
    """One table with its title and note, after an empty line."""
    lines = ["", f"## {_cell(table.title)}", ""]
    lines.append("| " + " | ".join(_cell(name) for name in table.columns) + " |")
    lines.append("|" + "---|" * len(table.columns))
    lines += ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in table.rows]
    lines += ["", _cell(table.note)] if table.note else []
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """Text that Markdown shows as it is, in one line."""
    shown = " ".join(text.split())
    for sign in ("\\", "|", "<", ">", "*", "_", "`", "[", "]"):
        shown = shown.replace(sign, f"\\{sign}")
    return shown
