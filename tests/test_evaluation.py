"""Scores and probabilities: of the weights, of their running average, and over mirrored images."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import keras
import numpy as np
import pytest
from small import POINT, images, quick_config

from catdog_ray import evaluation, model, model_file, train
from catdog_ray.records import EpochRow

CONFIG = quick_config()


def settings(**changed: object) -> train.FitSettings:
    return train.FitSettings(CONFIG.model, None, dataclasses.replace(CONFIG.train, **changed))


def network_of(seed: int = 0) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return model.build(POINT, CONFIG.model, image_size=16, classes=2)


def plain(network: keras.Model, pixels: np.ndarray) -> np.ndarray:
    return np.asarray(network(pixels.astype("float32") / 255))


def test_predictions_are_probabilities_in_the_order_of_the_images() -> None:
    data = images(evaluation.EVALUATION_BATCH + 3)
    network = network_of()
    found = evaluation.predict(network, data)
    assert found.shape == (evaluation.EVALUATION_BATCH + 3, 2)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(found, plain(network, data.pixels), atol=1e-5)


def test_with_flip_they_are_means_over_an_image_and_its_mirror_image() -> None:
    network, data = network_of(), images(40)
    expected = (plain(network, data.pixels) + plain(network, data.pixels[:, :, ::-1])) / 2
    assert np.abs(expected - plain(network, data.pixels)).max() > 1e-3
    np.testing.assert_allclose(evaluation.predict(network, data, flip=True), expected, atol=1e-5)
    loss, accuracy = evaluation.evaluate(network, data, flip=True)
    assert accuracy == np.mean(expected.argmax(axis=1) == data.labels)
    assert loss == pytest.approx(-np.log(expected[np.arange(40), data.labels]).mean(), abs=1e-5)


def test_a_sure_and_wrong_answer_costs_with_flip_what_keras_makes_it_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not infinitely much: one such image would be the loss of all."""
    data = images(4)
    certain = np.array([[1, 0], [1, 0], [1, 0], [0, 1]], np.float32)
    monkeypatch.setattr(evaluation, "predict", lambda *_, flip: certain)
    loss, accuracy = evaluation.evaluate(network_of(), data, flip=True)
    expected = keras.losses.SparseCategoricalCrossentropy()(data.labels, certain)
    assert loss == pytest.approx(float(expected), rel=1e-4)
    assert accuracy == 0.75


def test_the_average_is_found_under_the_loss_scaling_of_float16_and_the_weights_come_back_after_an_error() -> None:
    keras.config.set_dtype_policy("mixed_float16")
    try:
        network = model.build(POINT, CONFIG.model, image_size=16, classes=2, recipe=model.Recipe(ema_momentum=0.9))
    finally:
        keras.config.set_dtype_policy("float32")
    assert type(network.optimizer).__name__ == "LossScaleOptimizer"
    before = network.get_weights()
    for average in network.optimizer.inner_optimizer._model_variables_moving_average:
        average.assign(np.full(average.shape, 0.25))
    with pytest.raises(KeyboardInterrupt), evaluation.averaged(network):
        assert all((weights == 0.25).all() for weights in network.get_weights())
        raise KeyboardInterrupt
    for weights, kept in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weights, kept)


def test_the_average_of_the_weights_is_scored_and_the_weights_come_back() -> None:
    """Against the average worked out from the weights after every step: 48 images are two steps, six in all."""
    after: list[list[np.ndarray]] = []
    found: list[tuple[EpochRow, tuple[float, float], list[np.ndarray]]] = []
    selection = images(24, seed=1)

    class Watch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: object = None) -> None:
            after.append([np.array(weight) for weight in self.model.get_weights()])

    def on_epoch(row: EpochRow, network: keras.Model) -> None:
        found.append((row, evaluation.evaluate(network, selection), network.get_weights()))

    fit = settings(ema_momentum=0.8)
    trained = train.fit(
        POINT, images(), selection, settings=fit, epochs=3, seed=0, on_epoch=on_epoch, callbacks=[Watch()]
    )
    average = after[0]
    for weights in after[1:]:
        average = [0.8 * old + 0.2 * new for old, new in zip(average, weights, strict=True)]
    assert len(after) == 6
    assert max(np.abs(a - b).max() for a, b in zip(average, after[-1], strict=True)) > 1e-4
    other = network_of(seed=9)
    other.set_weights(average)
    row, scored, weights = found[-1]
    assert (row.selection_loss, row.selection_accuracy) == pytest.approx(
        evaluation.evaluate(other, selection), abs=1e-4
    )
    assert scored == (row.selection_loss, row.selection_accuracy)
    for ours, raw in zip(weights, after[-1], strict=True):
        np.testing.assert_array_equal(ours, raw)
    # What `fit` returns is the average, as the file of a model is.
    np.testing.assert_allclose(evaluation.predict(trained, selection), plain(other, selection.pixels), atol=1e-4)


@pytest.mark.parametrize(
    "changed", [{"learning_rate_schedule": "cosine"}, {"ema_momentum": 0.9}, {"test_time_flip": True}]
)
def test_a_resumed_run_gives_the_rows_of_an_uninterrupted_one(changed: dict[str, object], tmp_path: Path) -> None:
    def rows(**options: object) -> list[tuple[float, ...]]:
        kept: list[tuple[float, ...]] = []

        def on_epoch(row: EpochRow, network: keras.Model) -> None:
            kept.append((row.epoch, row.train_loss, row.selection_loss or 0.0, row.selection_accuracy))
            if row.epoch == 2:
                train.save_checkpoint(tmp_path / "two.npz", network, epoch=2)

        fit = settings(**changed)
        train.fit(POINT, images(), images(24, seed=1), settings=fit, epochs=4, seed=0, on_epoch=on_epoch, **options)
        return kept

    whole = rows()
    np.testing.assert_allclose(rows(resume_from=tmp_path / "two.npz"), whole[2:], atol=1e-5)


def test_a_cosine_takes_the_learning_rate_to_zero_over_the_run() -> None:
    rates: list[float] = []
    train.fit(
        POINT,
        images(),
        images(24, seed=1),
        settings=settings(learning_rate_schedule="cosine"),
        epochs=4,
        seed=0,
        on_epoch=lambda row, network: rates.append(float(network.optimizer.learning_rate)),
    )
    expected = [POINT["learning_rate"] * (1 + np.cos(np.pi * epoch / 4)) / 2 for epoch in (1, 2, 3, 4)]
    np.testing.assert_allclose(rates, expected, rtol=1e-3, atol=1e-9)


def test_a_model_with_all_of_it_is_saved_and_loaded(tmp_path: Path) -> None:
    fit = settings(learning_rate_schedule="cosine", ema_momentum=0.9)
    network = train.fit(POINT, images(), images(24, seed=1), settings=fit, epochs=2, seed=0)
    with evaluation.averaged(network):
        network.save(tmp_path / "model.keras")
    loaded = model_file.load(tmp_path / "model.keras", image_size=16, classes=2)
    np.testing.assert_allclose(evaluation.predict(loaded, images(9)), evaluation.predict(network, images(9)), atol=1e-6)
