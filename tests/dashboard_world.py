"""Runs inside a world (`namespaces`): the search as a job of a Ray with a token, looked at in a browser while it runs.

    python dashboard_world.py WORK_FOLDER CHECKOUT CHROMIUM

Writes report.json and the screenshots jobs.png and actors.png into WORK_FOLDER. CHROMIUM is `-` where there is none.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

DASHBOARD = "http://127.0.0.1:8265"
SETTINGS = {
    "data.image_size": 16,
    "data.drawn_train": 60,
    "data.drawn_test": 20,
    "space.conv_filters": "{choices: [2, 4]}",
    "space.dense_units": "{choices: [8, 16]}",
    "baseline.conv_filters": 4,
    "baseline.dense_units": 16,
    "search.max_epochs": 600,
    "search.grace_epochs": 600,
    "train.checkpoint_epochs": 1000,
}


def ray(*arguments: str, check: bool = True, timeout: float = 120) -> str:
    """What one of Ray's commands prints."""
    done = subprocess.run(
        [str(Path(sys.prefix) / "bin" / "ray"), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
    )
    if check and done.returncode != 0:
        raise RuntimeError(f"ray {' '.join(arguments)}: {done.stdout}")
    return done.stdout


def fetch(url: str, token: str | None) -> tuple[int, str]:
    """Status and text of a page."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, ""


def await_metrics(token: str, seconds: float) -> tuple[str, list[str]]:
    """The metrics page of the node once trials are on it, and its lines about them."""
    discovery = Path("/tmp/ray/prom_metrics_service_discovery.json")
    deadline = time.monotonic() + seconds
    while True:
        # The dashboard's own metrics have targets too, and the file is written anew as they come up.
        services = json.loads(discovery.read_text()) if discovery.exists() else []
        targets = [target for service in services for target in service["targets"]]
        for target in targets:
            _, text = fetch(f"http://{target}/metrics", token)
            lines = [line for line in text.splitlines() if "catdog_" in line and not line.startswith("#")]
            if sum("catdog_epoch" in line for line in lines) >= 2:
                return target, lines
        if time.monotonic() > deadline:
            return ", ".join(targets), []
        time.sleep(1)


def look(work: Path, chromium: str, token: str, job: str) -> dict[str, Any]:
    """The pages of jobs, of the job and of actors in a browser, after the token has been typed in as a person does."""
    from playwright.sync_api import Error as PlaywrightError
    from playwright.sync_api import sync_playwright

    found: dict[str, Any] = {}
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        page.goto(f"{DASHBOARD}/#/jobs", wait_until="networkidle")
        with contextlib.suppress(PlaywrightError):
            page.locator("input[type=password]").wait_for(timeout=20_000)
        found["asked_for_token"] = page.locator("input[type=password]").count()
        page.screenshot(path=work / "token.png")
        if found["asked_for_token"]:
            page.locator("input[type=password]").fill(token)
            page.locator("input[type=password]").press("Enter")
            page.wait_for_timeout(3000)
        for name, place in {"jobs": "#/jobs", "job": f"#/jobs/{job}", "actors": "#/actors"}.items():
            page.goto(f"{DASHBOARD}/{place}", wait_until="domcontentloaded")
            page.wait_for_timeout(5000)
            found[name] = page.locator("body").inner_text()
            page.screenshot(path=work / f"{name}.png")
        browser.close()
    return found


def main(work: Path, checkout: Path, chromium: str) -> None:
    """Start Ray, submit the job as the README says it, look, and wait for its end."""
    report: dict[str, Any] = {}
    os.chdir(checkout)
    os.environ["RAY_AUTH_MODE"] = "token"
    ray("get-auth-token", "--generate")
    token = (Path.home() / ".ray" / "auth_token").read_text().strip()
    os.environ["RAY_ADDRESS"] = DASHBOARD
    try:
        # Outside the checkout: the job must bring the package with it.
        start = ["start", "--head", "--num-cpus=2", "--dashboard-host=127.0.0.1", "--object-store-memory=200000000"]
        environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "RAY_ADDRESS")}
        subprocess.run(
            [str(Path(sys.prefix) / "bin" / "ray"), *start], cwd="/", env=environment, check=True, timeout=120
        )
        sets = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
        flags = ["--address", "auto", "--num-samples", "2", "--no-retrain", "--output", str(work / "results")]
        command = ["python", "-m", "catdog_ray.tune", *flags, "--name", "job", *sets]
        submitted = ray("job", "submit", "--no-wait", "--submission-id", "search", "--working-dir", ".", "--", *command)
        report["submitted"] = submitted
        report["without_token"] = fetch(f"{DASHBOARD}/api/jobs/", None)[0]
        target, report["metrics"] = await_metrics(token, 120)
        report["metrics_target"] = target
        if chromium != "-":
            report["pages"] = look(work, chromium, token, "search")
        deadline = time.monotonic() + 180
        while "RUNNING" in (status := ray("job", "status", "search")) and time.monotonic() < deadline:
            time.sleep(2)
        report["status"] = status
        report["log"] = ray("job", "logs", "search")
    finally:
        (work / "report.json").write_text(json.dumps(report, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
