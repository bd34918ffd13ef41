"""The published results: figures in the prose stand in a comparison, and the committed rows give that comparison."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import compare_results
import pytest

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"<!-- figures of (\S+) -->\n(.*?)<!-- end of figures -->", re.DOTALL)
FIGURE = re.compile(r"[+-]?\d[\d.,]*(?: to [+-]?\d[\d.]*)? (?:%|points)")


def blocks() -> list[tuple[str, str, str]]:
    """(page, comparison, text) of everything that is said of the published studies."""
    pages = ("README.md", "results/README.md")
    return [(page, *found) for page in pages for found in BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))]


def test_both_pages_tell_the_results() -> None:
    assert {page for page, _, _ in blocks()} == {"README.md", "results/README.md"}


@pytest.mark.parametrize(("page", "comparison", "text"), blocks())
def test_every_figure_stands_in_the_comparison(page: str, comparison: str, text: str) -> None:
    table = (ROOT / comparison).read_text(encoding="utf-8")
    figures = FIGURE.findall(text)
    assert len(figures) >= 3
    assert [figure for figure in figures if figure not in table] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("comparison", "studies"),
    [
        ("comparison48", "results/cpu48-*"),
        ("comparison150", "results/pixels150/*"),
        ("comparison-deep150", "results/deep150/*"),
    ],
)
def test_the_rows_give_the_comparison(comparison: str, studies: str, tmp_path: Path) -> None:
    """The tables to the letter; figures and page too, with the same releases of the libraries that draw them."""
    folder = ROOT / "results" / comparison
    done = subprocess.run(
        [sys.executable, "scripts/compare_results.py", studies, "--output", str(tmp_path / "out")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "comparison.md").read_bytes() == (folder / "comparison.md").read_bytes()
    kept = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    assert {str(file.relative_to(tmp_path / "out")) for file in (tmp_path / "out").rglob("*") if file.is_file()} == kept


@pytest.mark.parametrize(
    ("published", "pattern", "number", "plain", "against"),
    [
        ("recipes48", "recipe48-*", 21, "cpu48-tpe-seed0", ("--tuned", "results/recipes/tuned48-average-seed0")),
        (
            "recipes150",
            "recipe150-*",
            0,
            "pixels150/gpu150-tpe-seed0",
            ("--tuned", "results/recipes/tuned150-average-seed0"),
        ),
        (
            "recipes-deep150",
            "recipe150-*",
            0,
            "pixels150/gpu150-tpe-seed0",
            ("--other", "results/deep150/deep150-tpe-seed0"),
        ),
    ],
)
def test_the_rows_give_the_recipes(
    published: str, pattern: str, number: int, plain: str, against: tuple[str, str], tmp_path: Path
) -> None:
    studies = sorted(str(path) for path in (ROOT / "results" / "recipes").glob(pattern))
    assert len(studies) == number
    command = [sys.executable, "scripts/compare_recipes.py", *studies, "--plain", f"results/{plain}"]
    command += [*against, "--output", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=300)
    for name in ("recipes.md", "recipes.json"):
        assert (tmp_path / name).read_bytes() == (ROOT / "results" / published / name).read_bytes()


def test_a_glob_over_the_results_names_studies_alone() -> None:
    names = {folder.name for folder in compare_results._folders([str(ROOT / "results" / "*")])}
    assert "cpu48-tpe-seed0" in names
    assert (
        not {
            "benchmarks",
            "comparison48",
            "comparison150",
            "recipes",
            "recipes48",
            "recipes150",
            "pixels150",
            "deep150",
            "five150",
            "comparison-deep150",
            "recipes-deep150",
        }
        & names
    )


def test_a_folder_of_other_rows_is_no_study_and_a_damaged_study_is_one(tmp_path: Path) -> None:
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "day-answer-drawn.jsonl").touch()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "epochs.jsonl").touch()
    assert [folder.name for folder in compare_results._folders([str(tmp_path / "*")])] == ["damaged"]


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "docs",
        "results/README.md",
        "results/benchmarks",
        "configs/cluster",
    ],
)
def test_links_lead_somewhere(page: str) -> None:
    """To files that are there, and to headings of pages."""
    for file in sorted((ROOT / page).glob("*.md")) if (ROOT / page).is_dir() else [ROOT / page]:
        for target in re.findall(r"\]\(([^)\s]+)\)", file.read_text(encoding="utf-8")):
            if "://" in target:
                continue
            path, _, heading = target.partition("#")
            found = file.parent / path if path else file
            assert found.exists(), (page, target)
            if heading:
                titles = re.findall(r"^#+ (.+)$", found.read_text(encoding="utf-8"), re.MULTILINE)
                slugs = {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in titles}
                assert heading in slugs, (page, target)
