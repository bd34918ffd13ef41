"""What Ray must find in the environment when it is first imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import dataclasses, json, os, sys
from catdog_ray import config, environment
cluster = config.load("configs/quickstart.yaml", overrides={"cluster.address": sys.argv[1]}).cluster
if "ray first" in sys.argv:
    import ray
environment.prepare(cluster)
print(json.dumps({k: v for k, v in os.environ.items() if k.startswith(("RAY", "TUNE", "TF_"))}))
"""


def prepared(address: str, home: Path, *flags: str, **variables: str) -> dict[str, str]:
    done = run(address, home, *flags, **variables)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def run(address: str, home: Path, *flags: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, address, *flags],
        capture_output=True,
        text=True,
        env={"HOME": str(home), "PATH": "/usr/bin:/bin", **variables},
        cwd=Path(__file__).parents[1],
        timeout=60,
    )


def test_a_local_ray_gets_a_private_token(tmp_path: Path):
    first, second = prepared("local", tmp_path), prepared("local", tmp_path)
    assert first["RAY_AUTH_MODE"] == "token"
    assert len(first["RAY_AUTH_TOKEN"]) == 64
    assert first["RAY_AUTH_TOKEN"] != second["RAY_AUTH_TOKEN"]
    assert list(tmp_path.iterdir()) == []


def test_a_token_that_is_there_is_used(tmp_path: Path):
    assert prepared("local", tmp_path, RAY_AUTH_TOKEN="mine")["RAY_AUTH_TOKEN"] == "mine"
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("from the file")
    found = prepared("local", tmp_path)
    assert found["RAY_AUTH_MODE"] == "token"
    assert "RAY_AUTH_TOKEN" not in found


def test_joining_uses_a_token_only_where_there_is_one(tmp_path: Path):
    assert "RAY_AUTH_MODE" not in prepared("10.0.0.1:6379", tmp_path)
    assert prepared("10.0.0.1:6379", tmp_path, RAY_AUTH_TOKEN="mine")["RAY_AUTH_MODE"] == "token"


def test_a_ray_of_our_own_has_its_time_to_start(tmp_path: Path):
    """What ends the tries with a refused token would also end the wait for the server of a Ray that is started."""
    assert "RAY_gcs_server_port_wait_time_s" not in prepared("local", tmp_path)
    assert prepared("10.0.0.1:6379", tmp_path)["RAY_gcs_server_port_wait_time_s"] == "3"


def test_ray_imported_before_is_an_error_and_not_a_ray_without_token(tmp_path: Path):
    done = run("local", tmp_path, "ray first")
    assert done.returncode == 1
    assert "RuntimeError: environment.prepare must run before Ray is imported" in done.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [("TUNE_DISABLE_SIGINT_HANDLER", "1"), ("TUNE_FUNCTION_THREAD_TIMEOUT_S", "60")],
)
def test_tunes_switches_are_set_unless_the_user_did(tmp_path: Path, name: str, value: str):
    assert prepared("local", tmp_path)[name] == value
    assert prepared("local", tmp_path, **{name: "7"})[name] == "7"
