"""What a machine says about itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from catdog_ray import inspection


def test_the_machine_is_described_without_its_name():
    found = inspection.machine()
    assert found["cores"] == os.cpu_count()
    assert found["memory_bytes"] > 2**28
    assert found["cpu_model"]
    assert os.uname().nodename not in str(found)


def test_gpus_are_listed_by_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\nprintf 'NVIDIA X1\\nNVIDIA X1\\n'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert inspection.gpus() == ["NVIDIA X1", "NVIDIA X1"]
    tool.write_text("#!/bin/sh\necho no driver\nexit 9\n")
    assert inspection.gpus() == []
