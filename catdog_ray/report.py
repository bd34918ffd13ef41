"""One HTML page that holds everything of a comparison: no script, nothing loaded, light and dark, wide and narrow."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from html import escape
from urllib.parse import quote

from catdog_ray.comparison import Comparison
from catdog_ray.drawings import Drawing
from catdog_ray.summary import sentences
from catdog_ray.table import DRAWN, MODELS, SECTIONS, Table
from catdog_ray.tables import tables
from catdog_ray.words import percent

_NUMBER = re.compile(r"-|[+-]?\d[\d.,]*( (%|points|s|min|h|[MGTP]))?")
"""A cell that is a number and no more, or a hyphen."""

# What the page may load: pictures and styles that stand in it. A browser enforces it.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

_SVG_SIGNS = ' !"()*+,-./:;=>?@[]_{|}~'
"""That stand for themselves in the address of an SVG: neither a quote of its attribute, nor a tag, nor a fragment."""

_STYLE = """
:root { color-scheme: light dark; --ink: #1c1d21; --soft: #5b5f69; --surface: #fdfdfc; --line: #dcdde1;
  --raised: #f3f4f6; --warn: #7a4b00; --warn-surface: #fff4dc; --link: #1b5faa; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e5e9; --soft: #a3a7b2; --surface: #15171c; --line: #33363f;
  --raised: #1e2128; --warn: #ffd591; --warn-surface: #33280f; --link: #7db4f0; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0 auto; max-width: 78rem; padding: 1.2rem clamp(0.8rem, 3vw, 2.5rem) 4rem; color: var(--ink);
  background: var(--surface); font: 16px/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: clamp(1.3rem, 4vw, 1.9rem); line-height: 1.25; margin: 0.4rem 0; }
h2 { margin: 2.6rem 0 0.6rem; padding-top: 0.6rem; border-top: 1px solid var(--line); font-size: 1.35rem; }
h3 { margin: 1.6rem 0 0.4rem; font-size: 1.05rem; }
nav { display: flex; flex-wrap: wrap; gap: 0.3rem 1rem; margin: 0.8rem 0; }
a { color: var(--link); }
.note, figcaption { color: var(--soft); font-size: 0.875rem; max-width: 60rem; }
.warnings { background: var(--warn-surface); color: var(--warn); border-radius: 0.5rem; padding: 0.6rem 1rem;
  margin: 0.8rem 0; }
.warnings ul { margin: 0; padding-left: 1.1rem; }
.wide { overflow-x: auto; border: 1px solid var(--line); border-radius: 0.5rem; }
table { border-collapse: collapse; width: 100%; font-size: 0.9rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 0.4rem 0.7rem; border-bottom: 1px solid var(--line); vertical-align: top; }
th { background: var(--raised); font-weight: 600; }
th:first-child { position: sticky; left: 0; }
.number { text-align: right; }
td.number { white-space: nowrap; }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
@media (max-width: 40rem) { th:first-child { max-width: 9rem; } td:last-child { min-width: 10rem; } }
tbody tr:last-child > * { border-bottom: 0; }
td { min-width: 4.5rem; }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 33rem), 1fr)); gap: 1.6rem 2rem;
  margin: 1.2rem 0; align-items: start; }
figure { margin: 0; min-width: 0; }
figure img { width: 100%; height: auto; display: block; }
.figures .wide { border: 0; border-radius: 0; }
.figures .wide img { min-width: 33rem; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); gap: 1rem; margin: 1rem 0; }
.pictures img { image-rendering: pixelated; border-radius: 0.4rem; }
@media print { body { max-width: none; padding: 0; font-size: 11px; } nav { display: none; }
  .wide { overflow: visible; } .note, figcaption { font-size: 8pt; line-height: 1.35; }
  table { font-size: 8pt; } th, td { min-width: 0; padding: 0.15rem 0.25rem; } th:first-child { position: static; }
  td.number { white-space: normal; } tr, figure { break-inside: avoid; } h2, h3 { break-after: avoid; }
  .figures { grid-template-columns: 1fr 1fr; } .figures .wide img { min-width: 0; } }
""".strip()


def page(found: Comparison, drawings: Sequence[Drawing], *, pictures: Mapping[str, bytes]) -> str:
    """The page. `pictures` are PNG files of test images by name, as many as are at hand."""
    made = tables(found)
    parts = [part for name in SECTIONS for part in _section(name, found, made, drawings, pictures)]
    filled = {item.section for item in made} | {item.section for item in drawings}
    used = [name for name in SECTIONS if name in filled]
    links = "".join(f'<a href="#{_anchor(name)}">{escape(name)}</a>' for name in used)
    title = escape(found.title)
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            # Without one, a browser asks the server for an icon.
            '<link rel="icon" href="data:,">',
            f"<title>{title}</title>",
            f"<style>{_STYLE}</style>",
            "</head>",
            "<body>",
            "<header>",
            f"<h1>{title}</h1>",
            '<section aria-labelledby="in-short"><h2 id="in-short">In short</h2><ul>',
            *(f"<li>{escape(text)}</li>" for text in sentences(found)),
            "</ul></section>",
            *_warnings(found),
            f'<nav aria-label="Sections">{links}</nav>',
            "</header>",
            "<main>",
            *parts,
            "</main>",
            "</body>",
            "</html>",
            "",
        ]
    )


def _warnings(found: Comparison) -> list[str]:
    texts = [*([DRAWN] if found.is_drawn else []), *found.warnings]
    if not texts:
        return []
    return ['<div class="warnings" role="note"><ul>', *(f"<li>{escape(text)}</li>" for text in texts), "</ul></div>"]


def _section(
    name: str,
    found: Comparison,
    made: Sequence[Table],
    drawings: Sequence[Drawing],
    pictures: Mapping[str, bytes],
) -> list[str]:
    its_tables = [item for item in made if item.section == name]
    its_drawings = [item for item in drawings if item.section == name]
    if not its_tables and not its_drawings:
        return []
    parts = [f'<section id="{_anchor(name)}">', f"<h2>{escape(name)}</h2>"]
    for table in its_tables:
        parts += _table(table)
    if its_drawings:
        parts += ['<div class="figures">', *map(_figure, its_drawings), "</div>"]
    if name == MODELS:
        parts += _pictures(found, pictures)
    return [*parts, "</section>"]


def _table(table: Table) -> list[str]:
    columns = zip(*table.rows, strict=True)
    kinds = [' class="number"' if all(map(_NUMBER.fullmatch, cells)) else "" for cells in columns]
    kinds[0] = ""
    head = "".join(
        f'<th scope="col"{kind}>{escape(name)}</th>' for name, kind in zip(table.columns, kinds, strict=True)
    )
    rows = [
        "<tr>"
        + f'<th scope="row">{escape(row[0])}</th>'
        + "".join(f"<td{kind}>{_kept_together(cell)}</td>" for cell, kind in zip(row[1:], kinds[1:], strict=True))
        + "</tr>"
        for row in table.rows
    ]
    return [
        f"<h3>{escape(table.title)}</h3>",
        # Focusable, so that a keyboard can scroll it.
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(table.title)}"><table>',
        f"<thead><tr>{head}</tr></thead>",
        "<tbody>",
        *rows,
        "</tbody></table></div>",
        *([f'<p class="note">{escape(table.note)}</p>'] if table.note else []),
    ]


def _kept_together(text: str) -> str:
    """A cell whose units stay with their numbers when the line breaks."""
    shown = escape(text)
    for unit in (" %", " points", " s", " min", " h"):
        shown = shown.replace(f"{unit}", f"\N{NO-BREAK SPACE}{unit[1:]}") if shown.endswith(unit) else shown
    return shown.replace(" to ", "\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}") if shown[:1] in "+-0123456789" else shown


def _figure(item: Drawing) -> str:
    alternative = escape(f"{item.title}. {item.seen}")
    return (
        # As wide as its letters need, and focusable, so that a keyboard can scroll it too.
        f'<figure><div class="wide" tabindex="0" role="group" aria-label="{escape(item.title)}">'
        f"<img alt=\"{alternative}\" src='{_svg_url(item.svg)}'></div>"
        f"<figcaption>{escape(item.caption)}</figcaption></figure>"
    )


def _pictures(found: Comparison, pictures: Mapping[str, bytes]) -> list[str]:
    shown = [item for item in found.mistakes if item.file in pictures]
    if not shown:
        return []
    return [
        "<h3>Most confident mistakes, the pictures</h3>",
        '<div class="pictures">',
        *(
            f'<figure><img alt="{escape(item.file)}" src="{_data_url("image/png", pictures[item.file])}"><figcaption>'
            f"{escape(item.name)}: {escape(item.true_class)} taken for {escape(item.predicted_class)} "
            f"({percent(item.probability)})</figcaption></figure>"
            for item in shown
        ),
        "</div>",
    ]


def _svg_url(svg: str) -> str:
    """In an attribute between single quotes; as text, which is shorter than base64 by a quarter."""
    return f"data:image/svg+xml,{quote(svg, safe=_SVG_SIGNS)}"


def _data_url(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _anchor(name: str) -> str:
    return name.lower().replace(" ", "-")
