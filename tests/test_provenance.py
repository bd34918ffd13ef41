"""What is said of code, libraries and machine."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from catdog_ray import provenance


def test_versions_are_those_installed():
    import ray

    found = provenance.versions()
    assert found["ray"] == ray.__version__
    assert re.fullmatch(r"3\.\d+\.\d+", found["python"])


def test_the_commit_is_of_this_checkout():
    found = provenance.commit()
    assert found is None or re.fullmatch(r"[0-9a-f]{40}(\+changes)?", found)


def test_the_machine_is_described_without_its_name():
    found = provenance.machine()
    assert found["cores"] == os.cpu_count()
    assert found["memory_bytes"] > 2**28
    assert found["cpu_model"]
    assert os.uname().nodename not in str(found)


def test_gpus_are_listed_by_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\nprintf 'NVIDIA X1\\nNVIDIA X1\\n'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert provenance.gpus() == ["NVIDIA X1", "NVIDIA X1"]
    tool.write_text("#!/bin/sh\necho no driver\nexit 9\n")
    assert provenance.gpus() == []
