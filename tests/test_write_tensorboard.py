"""What TensorBoard reads is what the rows say."""

from __future__ import annotations

import importlib.util
import struct
from pathlib import Path

import pytest
from make_rows import quickstart, retrain_epoch_row, trial_epoch_row, write_study
from tensorboardX.proto.event_pb2 import Event

from catdog_ray.errors import UserError
from catdog_ray.ledger import StudyDirectory
from catdog_ray.records import RecordError

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "write_tensorboard.py"


def run(*arguments: str) -> None:
    spec = importlib.util.spec_from_file_location("write_tensorboard", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(list(arguments))


def scalars(folder: Path) -> dict[tuple[str, int], float]:
    """(name, step) to value of all event files of a run; the frame of a record is 12 bytes before and 4 behind."""
    found = {}
    for file in folder.glob("events.*"):
        content = file.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            event = Event.FromString(content[12 : 12 + length])
            content = content[16 + length :]
            for value in event.summary.value:
                if value.WhichOneof("value") == "simple_value":
                    found[value.tag, event.step] = value.simple_value
    return found


def test_curves_of_trials_and_retraining(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study", quickstart())
    study = StudyDirectory(folder)
    study.epochs.append(*(trial_epoch_row(n, epoch, objective=0.1 * epoch) for n in (0, 3) for epoch in (1, 2)))
    study.retrain_epochs.append(*(retrain_epoch_row("baseline", 1, epoch) for epoch in (1, 2, 3)))
    run(str(folder))
    run(str(folder))  # a second time replaces the first
    rows = study.epochs.read()
    assert rows
    for row in rows:
        curves = scalars(folder / "tensorboard" / f"trial-{row.trial:04d}")
        assert curves["objective", row.epoch] == pytest.approx(row.objective)
        assert curves["selection_accuracy", row.epoch] == pytest.approx(row.selection_accuracy)
        assert not any(name in ("trial", "epoch", "parameters") for name, _ in curves)
    for retrained in study.retrain_epochs.read():
        name = f"{retrained.configuration}-seed-{retrained.seed}"
        curves = scalars(folder / "tensorboard" / "retraining" / name)
        assert curves["test_accuracy", retrained.epoch] == pytest.approx(retrained.test_accuracy)


def test_what_is_not_ours_stays(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study", quickstart())
    (tmp_path / "elsewhere").mkdir()
    (folder / "tensorboard").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"tensorboard: cannot be replaced \(.+\); move it away"):
        run(str(folder))
    assert list((tmp_path / "elsewhere").iterdir()) == []
    (folder / "tensorboard").unlink()
    (folder / "tensorboard").write_text("mine")
    with pytest.raises(UserError, match="cannot be replaced"):
        run(str(folder))
    assert (folder / "tensorboard").read_text() == "mine"


def test_no_study_is_said(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no study here"):
        run(str(tmp_path))
