"""The search as a job of a running Ray: submitted as the README says, measured, and seen in the dashboard.

The screenshots are kept where CATDOG_ARTEFACTS says, or in the test's temporary folder.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import namespaces
import pytest

from catdog_ray.ledger import StudyDirectory

pytestmark = [pytest.mark.slow, pytest.mark.world, namespaces.skip_without()]

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (Debian: apt-get install chromium)")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dashboard")


@pytest.fixture(scope="module")
def report(work: Path) -> dict[str, Any]:
    done = namespaces.run_in_world(
        [sys.executable, str(ROOT / "tests" / "dashboard_world.py"), str(work), str(ROOT), CHROMIUM or "-"],
        kept=[work],
        timeout=360,
        environment={"HOME": "/root", "PYTHONPATH": str(ROOT)},
    )
    if artefacts := os.environ.get("CATDOG_ARTEFACTS"):
        Path(artefacts).mkdir(parents=True, exist_ok=True)
        for picture in work.glob("*.png"):
            shutil.copy(picture, Path(artefacts) / f"dashboard-{picture.name}")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    found: dict[str, Any] = json.loads((work / "report.json").read_text())
    return found


def test_the_job_ends_well_and_its_log_is_the_search(report: dict[str, Any], work: Path) -> None:
    assert "succeeded" in report["status"].lower()
    assert "search: 2 of 2 ended" in report["log"]
    study = StudyDirectory(work / "results" / "job")
    assert study.read_study()["state"] == "finished"
    assert [row.status for row in study.trials.read()] == ["completed", "completed"]


def test_the_dashboard_is_closed_without_the_token(report: dict[str, Any]) -> None:
    assert report["without_token"] == 401


def test_metrics_of_each_trial_on_rays_endpoint(report: dict[str, Any]) -> None:
    found: dict[tuple[str, str], float] = {}
    for line in report["metrics"]:
        name, labels, value = re.fullmatch(r"ray_catdog_(\w+)\{(.*)\} (\S+)", line).groups()  # type: ignore[union-attr]
        trial = re.search(r'trial="([^"]+)"', labels)
        found[name, trial[1] if trial else ""] = float(value)
    assert set(found) == {
        (name, trial) for name in ("epoch", "objective", "images_per_second") for trial in ("trial-0000", "trial-0001")
    }
    assert all(found["epoch", trial] >= 1 for trial in ("trial-0000", "trial-0001"))
    assert all(0 <= found["objective", trial] <= 1 for trial in ("trial-0000", "trial-0001"))
    assert all(found["images_per_second", trial] > 1 for trial in ("trial-0000", "trial-0001"))


@needs_chromium
def test_the_running_search_is_seen_in_a_browser(report: dict[str, Any], work: Path) -> None:
    pages = report["pages"]
    assert pages["asked_for_token"] == 1
    assert "catdog_ray.tune" in pages["jobs"]
    assert "RUNNING" in pages["jobs"]
    assert "RUNNING" in pages["job"]
    assert "search: 0 of 2 ended, 0 epochs; trial-0001 started" in pages["job"]  # its log
    assert "Trial" in pages["actors"]
    assert "ImplicitFunc" not in pages["actors"]
    assert all((work / f"{name}.png").stat().st_size > 10_000 for name in ("jobs", "job", "actors"))
