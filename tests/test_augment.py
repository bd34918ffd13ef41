"""Augmentation: ImageDataGenerator's own pixels, deterministic from (seed, epoch)."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from small import images, quick_config

from catdog_ray import augment

SETTINGS = quick_config().augment


def batches(count: int, *, seed: int = 3, first_epoch: int = 0, settings=SETTINGS) -> list[np.ndarray]:
    stream = augment.training_batches(images(40), settings, batch_size=16, seed=seed, first_epoch=first_epoch)
    return [x for x, _ in itertools.islice(stream, count)]


def test_policy_is_the_guides():
    generator = augment.image_data_generator(SETTINGS)
    assert generator.horizontal_flip is True
    assert generator.vertical_flip is False
    assert generator.rotation_range == 45
    assert list(generator.zoom_range) == [0.5, 1.5]
    assert generator.rescale == 1 / 255
    assert generator.fill_mode == "nearest"


def test_pixels_are_those_of_image_data_generator_itself():
    data = images(40)
    generator = augment.image_data_generator(SETTINGS)
    transforms = augment.Drawing(generator, data, seed=3, epoch=5).whole()
    ours = augment.apply(generator, data.pixels[:4], transforms[:4])
    for index in range(4):
        theirs = generator.apply_transform(data.pixels[index].astype("float32"), transforms[index]) / 255
        np.testing.assert_allclose(ours[index], theirs, atol=1e-6)


def test_both_kernels_give_the_same_training_batches():
    """Three epochs of the same seed: shuffling, transforms, labels and the smaller last batch."""
    data = images(40, size=24)
    streams = [
        augment.training_batches(
            data, dataclasses.replace(SETTINGS, kernel=kernel), batch_size=16, seed=11, first_epoch=0
        )
        for kernel in ("fused", "imagedatagenerator")
    ]
    for (fused, labels), (reference, same_labels) in itertools.islice(zip(*streams, strict=True), 9):
        assert fused.shape == reference.shape
        assert fused.dtype == reference.dtype == np.float32
        np.testing.assert_allclose(fused * 255, reference * 255, atol=0.05)
        np.testing.assert_array_equal(labels, same_labels)


def test_the_shipped_experiments_use_the_fused_kernel():
    assert SETTINGS.kernel == "fused"


def test_drawn_parameters_fill_the_policys_ranges():
    generator = augment.image_data_generator(SETTINGS)
    drawn = augment.Drawing(generator, images(2000, size=8), seed=0, epoch=0).whole()
    theta = np.array([t["theta"] for t in drawn])
    zoom = np.array([[t["zx"], t["zy"]] for t in drawn])
    assert -45 <= theta.min() < -43 < 43 < theta.max() <= 45
    assert 0.5 <= zoom.min() < 0.52 < 1.48 < zoom.max() <= 1.5
    assert abs(np.corrcoef(zoom.T)[0, 1]) < 0.1  # the axes are drawn apart
    assert 0.45 < np.mean([t["flip_horizontal"] for t in drawn]) < 0.55
    assert not any(t["flip_vertical"] for t in drawn)


def test_parameters_drawn_in_parts_are_those_of_one_go():
    """Whoever draws between the parts."""
    generator, data = augment.image_data_generator(SETTINGS), images(40)
    in_parts = augment.Drawing(generator, data, seed=3, epoch=5)
    for count in (16, 0, 16, 16):  # the last part is larger than what is left
        in_parts.go_on(count)
        augment.Drawing(generator, data, seed=4, epoch=5).go_on(7)
        np.random.random_sample()
    np.random.seed(int(np.random.SeedSequence([3, 5]).generate_state(1)[0]))
    expected = [generator.get_random_transform(data.pixels.shape[1:]) for _ in range(40)]
    assert in_parts.whole() == expected


def test_the_next_epochs_parameters_are_drawn_while_this_one_trains(monkeypatch: pytest.MonkeyPatch):
    """So that its first batch need not wait for them."""
    drawn = []
    go_on = augment.Drawing.go_on

    def counted(self, count):
        before = len(self._drawn)
        go_on(self, count)
        drawn.append(len(self._drawn) - before)

    monkeypatch.setattr(augment.Drawing, "go_on", counted)
    stream = augment.training_batches(images(40), SETTINGS, batch_size=16, seed=0, first_epoch=0)
    for expected in ([40], [16], [16], [8, 0], [16]):
        next(stream)
        assert drawn == expected
        drawn.clear()


def test_an_epoch_depends_on_seed_and_epoch_alone():
    # 40 images in batches of 16: three batches an epoch.
    through = batches(6)
    np.testing.assert_array_equal(np.concatenate(batches(3, first_epoch=1)), np.concatenate(through[3:]))
    assert not np.array_equal(through[0], through[3])
    assert not np.array_equal(through[0], batches(1, seed=4)[0])


def test_every_image_comes_once_an_epoch_and_the_last_batch_is_smaller():
    data = images(40)
    stream = augment.training_batches(data, None, batch_size=16, seed=0, first_epoch=2)
    epoch = list(itertools.islice(stream, 3))
    assert [len(y) for _, y in epoch] == [16, 16, 8]
    seen = np.concatenate([x for x, _ in epoch])
    assert sorted(x.sum() for x in seen) == pytest.approx(sorted(augment.rescale(data.pixels).sum(axis=(1, 2, 3))))


def test_labels_stay_with_their_images():
    data = images(40)
    means = {round(float(image.mean()), 4): int(label) for image, label in zip(data.pixels, data.labels, strict=True)}
    x, y = next(augment.training_batches(data, None, batch_size=40, seed=1, first_epoch=0))
    for image, label in zip(x, y, strict=True):
        assert means[min(means, key=lambda mean: abs(mean - image.mean() * 255))] == label


def test_numpys_global_generator_is_left_as_it_was():
    np.random.seed(7)
    expected = np.random.RandomState(7).random_sample(3)
    batches(4)
    np.testing.assert_array_equal(np.random.random_sample(3), expected)


def test_rescaling_is_exact_at_both_ends():
    assert augment.rescale(np.array([0, 51, 255], np.uint8)).tolist() == pytest.approx([0.0, 0.2, 1.0], abs=1e-7)
    assert augment.rescale(np.array([255], np.uint8)).dtype == np.float32
