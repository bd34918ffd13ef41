"""What preflight asks, and says of a node on which a trial would fail; on real nodes in test_scale, test_ray_up."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from pathlib import Path
from typing import Any

import fake_gpus
import pytest
from conftest import LOCAL

from catdog_ray import cluster, inspection, preflight

NODE = {"NodeManagerAddress": "10.0.0.3", "Resources": {"CPU": 4.0, "GPU": 1.0}}


def healthy(**changed: Any) -> dict[str, Any]:
    return {
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "ray": inspection.version("ray"),
        "keras": inspection.version("keras"),
        "package": inspection.package_digest(),
        "gpus": 1,
        "storage": None,
        **changed,
    }


def test_a_healthy_node_has_no_fault() -> None:
    assert preflight._fault(NODE, healthy(), "s3://bucket/study") is None
    assert preflight._fault({**NODE, "Resources": {"CPU": 4.0}}, healthy(gpus=0), "s3://bucket/study") is None


@pytest.mark.parametrize(
    ("changed", "fault", "cure"),
    [
        ({"python": "3.9"}, "has python 3.9, the driver 3.", "run it with Python 3."),
        ({"ray": "2.9.0"}, "has ray 2.9.0, the driver", "pip install ray=="),
        ({"keras": None}, "has keras not at all, the driver", "pip install keras=="),
        ({"package": None}, "has no catdog_ray", "ray job submit --working-dir ."),
        ({"package": "0123456789ab"}, "has another state of catdog_ray than the driver", "pip install -e ."),
        ({"gpus": 0}, "has 0 GPU(s) by nvidia-smi, and Ray believes in 1", "install NVIDIA's driver"),
        ({"storage": "Access Denied"}, "cannot use cluster.storage_path s3://bucket/study (Access Denied)", "s3://"),
    ],
)
def test_a_fault_comes_with_its_cure(changed: dict[str, Any], fault: str, cure: str) -> None:
    said = preflight._fault(NODE, healthy(**changed), "s3://bucket/study")
    assert said is not None
    assert fault in said
    assert cure in said
    assert "\n" not in said


def test_a_ray_of_our_own_is_not_asked() -> None:
    preflight.check(LOCAL, "/nowhere")


def test_storage_as_a_node_sees_it(tmp_path: Path) -> None:
    assert inspection.storage_fault(str(tmp_path), "node") == "what the driver wrote there is not to be seen"
    (tmp_path / "driver").write_text("written")
    assert inspection.storage_fault(str(tmp_path), "node") is None
    assert (tmp_path / "node").read_bytes() == b"written"
    assert inspection.storage_fault("s4://bucket/study", "node") is not None


def test_storage_that_the_driver_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = r"cluster\.storage_path: .*/file/study cannot be written from here"
    with pytest.raises(cluster.ClusterError, match=said), preflight._probe(str(tmp_path / "file" / "study")):
        pass


def test_storage_from_which_nothing_can_be_deleted(tmp_path: Path) -> None:
    """The folder is gone by then, which a file system answers as it answers a refusal: with OSError."""
    said = rf"cluster\.storage_path: nothing can be deleted from {tmp_path} \(.*old checkpoints must be"
    with pytest.raises(cluster.ClusterError, match=said), preflight._probe(str(tmp_path)) as folder:
        shutil.rmtree(folder)
    with pytest.raises(cluster.ClusterError, match="node 1: its own fault"), preflight._probe(str(tmp_path)) as folder:
        shutil.rmtree(folder)
        raise cluster.ClusterError("node 1: its own fault")


def test_gpus_are_those_that_nvidia_smi_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", fake_gpus.install(tmp_path / "bin", 3))
    assert inspection.gpus() == ["GPU 0: fake", "GPU 1: fake", "GPU 2: fake"]
    (tmp_path / "bin" / "nvidia-smi").write_text("#!/bin/sh\necho 'GPU 0: lost'\nexit 9\n")
    assert inspection.gpus() == []
    monkeypatch.setenv("PATH", str(tmp_path))
    assert inspection.gpus() == []


def test_the_digest_is_of_every_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert inspection.package_digest() == inspection.package_digest()
    package = tmp_path / "catdog_ray"
    package.mkdir()
    (package / "__init__.py").write_text("")
    seen = set()
    monkeypatch.setattr(
        inspection.importlib.util,
        "find_spec",
        lambda name: dataclasses.make_dataclass("Spec", ["origin"])(str(package / "__init__.py")),
    )
    for content in ("a = 1\n", "a = 2\n"):
        (package / "trial.py").write_text(content)
        seen.add(inspection.package_digest())
    (package / "trial.py").rename(package / "other.py")
    seen.add(inspection.package_digest())
    assert len(seen) == 3
    monkeypatch.setattr(inspection.importlib.util, "find_spec", lambda name: None)
    assert inspection.package_digest() is None


@pytest.mark.slow
def test_every_node_answers_or_is_named(ray_cluster) -> None:
    said = cluster.ask_nodes(inspection.version, name="ask", timeout_s=60, arguments=lambda node: ("ray",))
    assert [answer for _, answer in said] == [inspection.version("ray")]
    ((node, error),) = cluster.ask_nodes(
        inspection.storage_fault, name="ask", timeout_s=60, arguments=lambda node: (None, None)
    )
    with pytest.raises(cluster.ClusterError, match=r"node 127\.0\.0\.1|node [\d.]+: cannot run a task \("):
        cluster.require_answer(node, error)
