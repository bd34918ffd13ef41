"""Fitting: rows, resuming from a checkpoint, divergence."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from small import POINT, images, quick_config

from catdog_ray import evaluation, model, train
from catdog_ray.records import EpochRow
from catdog_ray.space import HyperParameters

CONFIG = quick_config()
SETTINGS = train.FitSettings(CONFIG.model, CONFIG.augment, CONFIG.train)
PLAIN = dataclasses.replace(SETTINGS, augment=None)


def rows_of(epochs: int, **options) -> list[EpochRow]:
    rows: list[EpochRow] = []
    train.fit(
        POINT,
        images(),
        images(24, seed=1),
        settings=SETTINGS,
        epochs=epochs,
        seed=5,
        on_epoch=lambda row, _: rows.append(row),
        **options,
    )
    return rows


def scores(rows: list[EpochRow]) -> np.ndarray:
    return np.array([(r.epoch, r.train_loss, r.train_accuracy, r.selection_loss, r.selection_accuracy) for r in rows])


def test_one_row_an_epoch_and_it_learns():
    rows: list[EpochRow] = []
    point = HyperParameters.of({**POINT, "dropout_rate": 0.0, "learning_rate": 3e-3})
    network = train.fit(
        point,
        images(96),
        images(48, seed=1),
        settings=PLAIN,
        epochs=15,
        seed=0,
        on_epoch=lambda row, _: rows.append(row),
    )
    assert [row.epoch for row in rows] == list(range(1, 16))
    assert rows[0].train_loss == pytest.approx(math.log(2), abs=0.2)
    assert rows[-1].selection_accuracy > 0.9
    assert all(row.seconds > 0 for row in rows)
    loss, accuracy = evaluation.evaluate(network, images(48, seed=1))
    assert accuracy == pytest.approx(rows[-1].selection_accuracy, abs=1e-6)
    assert loss == pytest.approx(rows[-1].selection_loss, abs=1e-5)


def test_a_trials_batch_size_stands_in_for_the_setting(tmp_path: Path):
    """In steps, rows and the end of the learning rate's course; and where a run goes on from a checkpoint."""
    settings = dataclasses.replace(SETTINGS.train, learning_rate_schedule="cosine")
    fixed = dataclasses.replace(SETTINGS, train=dataclasses.replace(settings, batch_size=12))
    other = dataclasses.replace(SETTINGS, train=dataclasses.replace(settings, batch_size=32))
    found: dict[str, list[EpochRow]] = {"setting": [], "trial": [], "resumed": []}

    def course(name: str, settings: train.FitSettings, **point: int) -> keras.Model:
        def keep(row: EpochRow, network: keras.Model) -> None:
            found[name].append(row)
            if row.epoch == 1 and name == "trial":
                train.save_checkpoint(tmp_path / "checkpoint.npz", network, epoch=1)

        return train.fit(
            HyperParameters.of({**POINT, **point}),
            images(),
            images(24, seed=1),
            settings=settings,
            epochs=2,
            seed=5,
            on_epoch=keep,
            resume_from=tmp_path / "checkpoint.npz" if name == "resumed" else None,
        )

    course("setting", fixed)
    network = course("trial", other, batch_size=12)
    assert int(network.optimizer.iterations) == 2 * 4
    assert float(network.optimizer.learning_rate) == pytest.approx(0, abs=1e-9)
    network = course("resumed", other, batch_size=12)
    assert int(network.optimizer.iterations) == 2 * 4
    np.testing.assert_allclose(scores(found["trial"]), scores(found["setting"]), atol=1e-5)
    np.testing.assert_allclose(scores(found["resumed"]), scores(found["setting"][1:]), atol=1e-5)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_rows_and_another_seed_others():
    first, again = rows_of(2), rows_of(2)
    np.testing.assert_allclose(scores(first), scores(again), atol=1e-5)
    other: list[EpochRow] = []
    train.fit(
        POINT,
        images(),
        images(24, seed=1),
        settings=SETTINGS,
        epochs=2,
        seed=6,
        on_epoch=lambda row, _: other.append(row),
    )
    assert abs(other[0].train_loss - first[0].train_loss) > 1e-4


def test_whatever_keras_is_fed_is_not_autotuned(monkeypatch: pytest.MonkeyPatch):
    """See `backend.feed`: the worker of a trial that ended would idle."""
    fed: list[tuple[str, Any]] = []
    for method in ("fit", "evaluate", "predict"):
        original = getattr(keras.Model, method)

        def noting(self: keras.Model, x: Any, *rest: Any, _of=original, _name=method, **options: Any) -> Any:
            fed.append((_name, x))
            return _of(self, x, *rest, **options)

        monkeypatch.setattr(keras.Model, method, noting)
    network = train.fit(POINT, images(), images(24, seed=1), settings=SETTINGS, epochs=1, seed=5)
    evaluation.evaluate(network, images(24, seed=1), flip=True)
    assert [name for name, _ in fed] == ["fit", "evaluate", "predict", "predict"]
    assert [data.options().autotune.enabled for _, data in fed] == [False] * 4


def test_a_resumed_run_gives_the_rows_of_an_uninterrupted_one(tmp_path: Path):
    """On CPU, to 1e-5 in losses: the order of sums in a threaded kernel may differ in the last bits."""
    whole: list[EpochRow] = []

    def save(row: EpochRow, network) -> None:
        whole.append(row)
        if row.epoch == 3:
            train.save_checkpoint(tmp_path / "checkpoint.npz", network, epoch=row.epoch)

    train.fit(POINT, images(), images(24, seed=1), settings=SETTINGS, epochs=6, seed=5, on_epoch=save)
    resumed = rows_of(6, resume_from=tmp_path / "checkpoint.npz")
    assert [row.epoch for row in resumed] == [4, 5, 6]
    np.testing.assert_allclose(scores(resumed), scores(whole[3:]), atol=1e-5)


def test_a_checkpoint_at_the_end_trains_nothing_more(tmp_path: Path):
    path = tmp_path / "checkpoint.npz"
    train.fit(
        POINT,
        images(),
        images(24, seed=1),
        settings=SETTINGS,
        epochs=2,
        seed=5,
        on_epoch=lambda row, network: train.save_checkpoint(path, network, epoch=row.epoch),
    )
    assert train.checkpoint_epoch(path) == 2
    assert rows_of(2, resume_from=path) == []


@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "one bit", "not an archive"])
def test_a_damaged_checkpoint_is_an_error_of_its_own(tmp_path: Path, damage: str):
    path = tmp_path / "checkpoint.npz"
    network = model.build(POINT, CONFIG.model, image_size=16, classes=2)
    train.save_checkpoint(path, network, epoch=1)
    content = path.read_bytes()
    middle = len(content) // 2
    damaged = {
        "empty": b"",
        "truncated": content[:middle],
        "one bit": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        "not an archive": b"x" * 500,
    }
    path.unlink()
    if damage != "missing":
        path.write_bytes(damaged[damage])
    with pytest.raises(train.CheckpointError, match=r"checkpoint\.npz"):
        train.checkpoint_epoch(path)


@pytest.mark.parametrize("changes", [{"conv_filters": 8}, {"conv_layers": 3, "dense_layers": 0}])
def test_a_checkpoint_of_another_network_is_refused(changes: dict[str, int], tmp_path: Path):
    path = tmp_path / "checkpoint.npz"
    other = HyperParameters.of({**POINT, **changes})
    train.save_checkpoint(path, model.build(other, CONFIG.model, image_size=16, classes=2), epoch=1)
    with pytest.raises(train.CheckpointError, match="is of another model"):
        rows_of(2, resume_from=path)


def noisy(hyperparameters, input_shape, classes) -> keras.Model:
    """Layers that draw, one in a network inside and one inside another layer."""
    inputs = keras.Input(input_shape)
    inner = keras.Sequential([keras.Input(input_shape), keras.layers.GaussianNoise(0.3), keras.layers.RandomFlip()])
    rows = keras.layers.Reshape((16, 48))(inner(inputs))
    seen = keras.layers.MultiHeadAttention(1, 4, dropout=0.4)(rows, rows)
    return keras.Model(inputs, keras.layers.Dense(classes, activation="softmax")(keras.layers.Flatten()(seen)))


def test_a_resumed_run_draws_what_an_uninterrupted_one_does_in_every_layer(tmp_path: Path):
    path = tmp_path / "checkpoint.npz"
    own = dataclasses.replace(CONFIG.model, builder="test_train:noisy")
    settings = dataclasses.replace(PLAIN, model=own)
    found: list[list[float]] = [[], []]

    def fit(place: int, epochs: int, **options: Any) -> None:
        def on_epoch(row: EpochRow, network: keras.Model) -> None:
            found[place].append(row.train_loss)
            if row.epoch == 2:
                train.save_checkpoint(path, network, epoch=2)

        train.fit(POINT, images(), images(24), settings=settings, epochs=epochs, seed=3, on_epoch=on_epoch, **options)

    fit(0, 4)
    fit(1, 4, resume_from=path)
    assert found[1] == pytest.approx(found[0][2:], abs=1e-5)
    assert abs(found[0][2] - found[0][3]) > 1e-4


def test_divergence_ends_the_fit_at_once():
    rows: list[EpochRow] = []
    wild = HyperParameters.of({**POINT, "learning_rate": 1e18})
    with pytest.raises(train.Diverged, match=r"the loss became (nan|inf) in epoch [1-5]") as caught:
        train.fit(
            wild,
            images(),
            images(24, seed=1),
            settings=PLAIN,
            epochs=50,
            seed=0,
            on_epoch=lambda row, _: rows.append(row),
        )
    assert caught.value.epochs == len(rows) < 5


def test_a_loss_that_is_no_number_ends_training_within_the_epoch_and_is_null_where_nothing_learns():
    """A selection loss may overflow while the training loss does not; the rows are JSON, which has no NaN."""
    rows: list[EpochRow] = []
    reporter = train._Reporter(0, lambda row, _: rows.append(row), None, flip=False)
    reporter.set_model(model.build(POINT, CONFIG.model, image_size=16, classes=2))
    reporter.on_epoch_begin(2)
    reporter.on_train_batch_end(0, {"loss": 0.5})
    reporter.on_epoch_end(2, {"loss": 0.5, "accuracy": 0.75, "val_loss": math.nan, "val_accuracy": 0.625})
    [row] = rows
    assert (row.epoch, row.train_loss, row.train_accuracy) == (3, 0.5, 0.75)
    assert (row.selection_loss, row.selection_accuracy) == (None, 0.625)
    with pytest.raises(train.Diverged, match="the loss became inf in epoch 3") as caught:
        reporter.on_train_batch_end(1, {"loss": math.inf})
    assert caught.value.epochs == 2


def test_what_on_epoch_raises_ends_the_fit():
    class Stop(BaseException):
        pass

    def stop(row: EpochRow, network) -> None:
        raise Stop

    with pytest.raises(Stop):
        train.fit(POINT, images(), images(24), settings=SETTINGS, epochs=9, seed=0, on_epoch=stop)


def test_a_saved_model_predicts_the_same(tmp_path: Path):
    import keras

    network = train.fit(POINT, images(), images(24), settings=SETTINGS, epochs=1, seed=0)
    network.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(evaluation.predict(loaded, images(9)), evaluation.predict(network, images(9)), atol=1e-6)


@pytest.mark.slow
def test_precision_and_compilation_are_as_set():
    """Mixed precision computes in bfloat16 and keeps weights and probabilities in float32; the next fit is its own."""
    mixed = dataclasses.replace(PLAIN, train=dataclasses.replace(CONFIG.train, precision="mixed_bfloat16"))
    network = train.fit(POINT, images(), images(24), settings=mixed, epochs=1, seed=0)
    assert network.layers[0].compute_dtype == "bfloat16"
    assert network.layers[0].kernel.dtype == "float32"
    assert evaluation.predict(network, images(5)).dtype == np.float32
    compiled = dataclasses.replace(PLAIN, train=dataclasses.replace(CONFIG.train, jit_compile="always"))
    network = train.fit(POINT, images(), images(24), settings=compiled, epochs=1, seed=0)
    assert network.layers[0].compute_dtype == "float32"
    assert network.jit_compile is True
