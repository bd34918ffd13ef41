"""`python -m catdog_ray.predict` on a small trained study: tables, JSON, bad pictures, export, and no Ray."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from make_models import CLASSES, trained_study
from make_pictures import write_folder
from make_rows import quickstart, retrain_row, write_study
from PIL import Image
from small import POINT, images

from catdog_ray import answers, data, drawn, evaluation, export, model_file, prediction, train
from catdog_ray.decoding import encode
from catdog_ray.errors import UserError
from catdog_ray.pictures import find
from catdog_ray.records import RecordError
from catdog_ray.space import HyperParameters

ROOT = Path(__file__).parents[1]
UNSEEN = images(60, seed=7)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_study(tmp_path_factory.mktemp("results") / "pets")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unseen pictures in class folders, and three files that are none."""
    root = tmp_path_factory.mktemp("photos")
    for index, (pixels, label) in enumerate(zip(UNSEEN.pixels, UNSEEN.labels, strict=True)):
        folder = root / CLASSES[label]
        folder.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{index:03d}.png")
    (root / "cats" / "text.jpg").write_text("hello")
    (root / "dogs" / "empty.png").write_bytes(b"")
    (root / "notes.txt").write_text("no picture")
    return root


def run(*arguments: object, before: str = "") -> subprocess.CompletedProcess[str]:
    program = f"import sys; {before}\nfrom catdog_ray import command, predict\ncommand.run(predict.main, sys.argv[1:])"
    return subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=200,
        cwd=ROOT,
    )


def as_json(study: Path, *places: Path | str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    answers.classify(study, [str(place) for place in places], as_json=True, export_to=None)
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.slow
def test_the_command_without_ray(study: Path, photos: Path, tmp_path: Path) -> None:
    """With Ray made impossible to import; only the table is on stdout, and nothing of TensorFlow on stderr."""
    done = run(study, photos, "--export", tmp_path / "saved", before="sys.modules['ray'] = None")
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith(f"exported to {tmp_path / 'saved'}: agrees with Keras on 16 inputs")
    assert len(done.stderr.strip().splitlines()) == 1
    assert "63 pictures, 3 unreadable, " in done.stdout
    assert "images/s, reading and decoding included" in done.stdout
    assert "unreadable: no picture, or of no known format" in done.stdout
    assert "60 labelled pictures, 95 % interval" in done.stdout
    assert "recorded for this model (trial-0001, seed 0, 20 epochs): 95.0 % of 48" in done.stdout
    assert "confusion matrix" in done.stdout
    assert "drawn data" not in done.stdout


def test_every_picture_is_answered_in_order(study: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = as_json(study, photos, capsys=capsys)
    names = [picture["file"].removeprefix(f"{photos}/") for picture in found["pictures"]]
    assert names == sorted(names)
    network = model_file.load(study / "model.keras", image_size=16, classes=2)
    expected = evaluation.predict(network, UNSEEN)
    for picture in found["pictures"]:
        name = picture["file"].rpartition("/")[2]
        if picture["error"] is not None:
            assert name in ("text.jpg", "empty.png", "notes.txt")
            assert picture["class"] is picture["probability"] is picture["probabilities"] is None
            continue
        row = expected[int(name[:3])]
        assert list(picture["probabilities"].values()) == pytest.approx(row.tolist(), abs=1e-5)
        assert picture["class"] == CLASSES[int(np.argmax(row))]
        assert picture["probability"] == pytest.approx(float(row.max()), abs=1e-5)
    right = np.mean(np.argmax(expected, axis=1) == UNSEEN.labels)
    score = found["summary"]["score"]
    assert score["accuracy"] == pytest.approx(right)
    assert score["accuracy"] >= 0.9
    assert score["low"] < score["accuracy"] <= score["high"]
    assert sum(map(sum, score["confusion"])) == score["n"] == 60
    assert (found["summary"]["pictures"], found["summary"]["unreadable"]) == (63, 3)
    assert found["model"]["recorded_test_accuracy"] == 0.95


def test_many_more_pictures_than_fit_in_a_chunk(study: Path, photos: Path) -> None:
    network = model_file.load(study / "model.keras", image_size=16, classes=2)
    places = [str(photos / "cats" / "000.png"), str(photos / "notes.txt")] * 320
    found = list(prediction.classify(network, find(places, CLASSES), CLASSES, image_size=16))
    assert len(found) == 640
    assert [item.error is None for item in found] == [True, False] * 320
    assert len({item.probabilities for item in found[:480:2]}) == 1


def test_a_study_that_scored_mirrored_views_classifies_so_too(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else the accuracy beside the answers would be another's."""
    copy = shutil.copytree(study, tmp_path / "study")
    facts = json.loads((copy / "study.json").read_text())
    facts["config"]["train"]["test_time_flip"] = True
    (copy / "study.json").write_text(json.dumps(facts))
    network = model_file.load(study / "model.keras", image_size=16, classes=2)
    # Half a cat, half a dog: of either alone the network is as sure as it can be, mirrored or not.
    pixels = np.concatenate([UNSEEN.pixels[label == UNSEEN.labels][0][:, :8] for label in (0, 1)], axis=1)
    Image.fromarray(pixels).save(tmp_path / "half.png")
    view = pixels[np.newaxis].astype(np.float32) / 255
    plain, mirrored = (network.predict(each, verbose=0)[0] for each in (view, view[:, :, ::-1]))
    assert np.abs(plain - mirrored).max() > 1e-3
    for folder, expected in ((study, plain), (copy, (plain + mirrored) / 2)):
        [picture] = as_json(folder, tmp_path / "half.png", capsys=capsys)["pictures"]
        assert list(picture["probabilities"].values()) == pytest.approx(expected.tolist(), abs=1e-4)


def test_unlabelled_pictures_have_no_score(
    study: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(photos / "cats" / "000.png", tmp_path / "mine.png")
    found = as_json(study, tmp_path, capsys=capsys)
    assert found["summary"]["score"] is None
    assert [picture["true_class"] for picture in found["pictures"]] == [None]


def test_nothing_readable_is_an_error_of_the_user(
    study: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError) as caught:
        answers.classify(study, [str(photos / "notes.txt"), "nowhere.jpg"], as_json=False, export_to=None)
    assert str(caught.value) == (
        f"none of 2 picture(s) could be read: {photos / 'notes.txt'}: no picture, or of no known format"
    )
    assert "nowhere.jpg" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["results/none", "a.jpg"], "error: results/none: no study here (study.json is missing)"),
        (["results"], "error: name at least one picture, folder or archive (or --export DIR)"),
        ([], "error: the following arguments are required: STUDY, PICTURES (--help lists the flags)"),
    ],
)
def test_bad_flags_are_one_line(arguments: list[str], message: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stderr == f"{message}\n"


def test_a_study_without_a_model(study: Path, photos: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(study, tmp_path / "study")
    (copy / "model.keras").unlink()
    done = run(copy, photos)
    assert done.returncode == 2
    assert done.stderr == f"error: {copy / 'model.keras'}: there is no model; retrain the study first\n"


@pytest.mark.parametrize(
    "data", [None, {}, {"class_names": ["cats"], "drawn": False}, {"class_names": "cats", "drawn": False}]
)
def test_a_study_that_does_not_tell_its_classes(study: Path, tmp_path: Path, data: object) -> None:
    copy = shutil.copytree(study, tmp_path / "study")
    facts = json.loads((copy / "study.json").read_text())
    (copy / "study.json").write_text(json.dumps({**facts, "data": data}))
    with pytest.raises(RecordError, match=r"study\.json: "):
        answers.read_trained(copy)


# ---- export -------------------------------------------------------------------------------------------------------


def test_the_saved_model_agrees_with_keras(study: Path, tmp_path: Path) -> None:
    import tensorflow as tf

    network = model_file.load(study / "model.keras", image_size=16, classes=2)
    sample = UNSEEN.pixels[:20].astype(np.float32) / 255
    assert export.save(network, tmp_path / "new" / "saved", sample) <= export.TOLERANCE
    served = tf.saved_model.load(str(tmp_path / "new" / "saved"))
    np.testing.assert_allclose(served.serve(tf.constant(sample)).numpy(), network.predict(sample, verbose=0), atol=1e-4)
    # Any number of pictures at once.
    assert served.serve(tf.constant(sample[:1])).shape == (1, 2)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["saved"]


def test_a_saved_model_that_disagrees_is_not_kept(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = model_file.load(study / "model.keras", image_size=16, classes=2)
    for difference in (0.1, float("nan")):
        monkeypatch.setattr(export, "_difference", lambda *_, found=difference: found)
        with pytest.raises(export.ExportError, match="the SavedModel differs from Keras by"):
            export.save(network, tmp_path / "saved", np.zeros((2, 16, 16, 3), np.float32))
        assert list(tmp_path.iterdir()) == []


def test_an_export_overwrites_nothing(study: Path, tmp_path: Path) -> None:
    done = run(study, "--export", tmp_path)
    assert done.returncode == 2
    assert done.stderr == f"error: --export: {tmp_path} is there already; name a new folder\n"
    (tmp_path / "file").write_text("mine")
    network = model_file.load(study / "model.keras", image_size=16, classes=2)
    with pytest.raises(export.ExportError, match=r"^--export: .*file cannot be written \("):
        export.save(network, tmp_path / "file" / "saved", np.zeros((2, 16, 16, 3), np.float32))
    with pytest.raises(export.ExportError, match=r"is there already; name a new folder$"):
        export.save(network, tmp_path, np.zeros((2, 16, 16, 3), np.float32))


@pytest.mark.slow
def test_pictures_never_seen_are_classified_as_well_as_the_record_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Drawn with another seed, written as files, read back: the difference is within 99 % of what chance gives."""
    settings = quickstart()
    splits = data.load(replace(settings.data, cache_dir=str(tmp_path / "cache")))
    point = HyperParameters.of({**POINT, "learning_rate": 1.5e-3, "dropout_rate": 0.2, "conv_filters": 8})
    fit = train.FitSettings(settings.model, None, settings.train)
    network = train.fit(point, splits.train.joined(splits.selection), splits.test, settings=fit, epochs=15, seed=0)
    _, recorded = evaluation.evaluate(network, splits.test)
    count = len(splits.test.labels)
    row = retrain_row("baseline", 0, 15, test_accuracy=recorded, test_images=count)
    study = write_study(tmp_path / "results", settings, data=splits.facts(), retrain=[row])
    network.save(study / "model.keras")
    (study / "model.json").write_text(json.dumps({"configuration": "baseline", "seed": 0, "epochs": 15}))
    pixels, labels = drawn.draw(400, size=settings.data.image_size, seed=settings.data.drawn_seed + 1)
    fresh = {f"{drawn.CLASS_NAMES[label]}/{i}.png": encode(pixels[i]) for i, label in enumerate(labels)}
    found = as_json(study, write_folder(tmp_path / "fresh", fresh), capsys=capsys)
    score = found["summary"]["score"]
    assert score["n"] == 400
    assert found["model"]["recorded_test_accuracy"] == recorded > 0.65
    error = (recorded * (1 - recorded) * (1 / count + 1 / 400)) ** 0.5
    assert abs(score["accuracy"] - recorded) < 2.6 * error


def test_what_is_no_number_is_null_in_json() -> None:
    """Weights that hold NaN give it."""
    trained = answers.Trained(Path("study"), ("cats", "dogs"), 32, False, "baseline", None, None, True)
    odd = prediction.Prediction("a.png", None, "cats", (float("nan"), float("nan")), None)
    lost = prediction.Prediction("b.png", None, None, None, "is no picture")
    first, second = json.loads(answers.to_json(trained, [odd, lost], None, 1.0))["pictures"]
    assert (first["probability"], first["probabilities"]) == (None, {"cats": None, "dogs": None})
    assert (second["probability"], second["probabilities"], second["error"]) == (None, None, "is no picture")
