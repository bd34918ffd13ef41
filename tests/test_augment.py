"""Augmentation: ImageDataGenerator's own pixels, deterministic from (seed, epoch)."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.strategies import booleans, floats, integers
from small import images, quick_config

from catdog_ray import augment, warp

SETTINGS = quick_config().augment


def batches(count: int, *, seed: int = 3, first_epoch: int = 0, settings=SETTINGS) -> list[np.ndarray]:
    stream = augment.training_batches(images(40), settings, batch_size=16, seed=seed, first_epoch=first_epoch)
    return [x for x, _ in itertools.islice(stream, count)]


def asked(generator, count: int, *, seed: int, epoch: int) -> list[dict]:
    """What the generator draws itself, image by image."""
    state = np.random.get_state()
    np.random.seed(int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0]))
    found = [generator.get_random_transform((16, 16, 3)) for _ in range(count)]
    np.random.set_state(state)
    return found


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
    ours = augment.apply(generator, data.pixels[:4], augment.draw(generator, 4, seed=3, epoch=5))
    for image, transform, found in zip(data.pixels, asked(generator, 4, seed=3, epoch=5), ours, strict=False):
        theirs = generator.apply_transform(image.astype("float32"), transform) / 255
        np.testing.assert_allclose(found, theirs, atol=1e-6)


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
    drawn = augment.draw(augment.image_data_generator(SETTINGS), 2000, seed=0, epoch=0)
    zoom = np.array([drawn["zx"], drawn["zy"]])
    assert -45 <= drawn["theta"].min() < -43 < 43 < drawn["theta"].max() <= 45
    assert 0.5 <= zoom.min() < 0.52 < 1.48 < zoom.max() <= 1.5
    assert abs(np.corrcoef(zoom)[0, 1]) < 0.1  # the axes are drawn apart
    assert 0.45 < np.mean(drawn["flip_horizontal"]) < 0.55
    assert not drawn["flip_vertical"].any()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    flip=booleans(),
    rotation=floats(0, 180),
    zoom=floats(0, 0.99),
    seed=integers(0, 2**32 - 1),
    epoch=integers(0, 999),
)
def test_all_images_parameters_at_once_are_those_that_the_generator_draws_one_by_one(flip, rotation, zoom, seed, epoch):
    """To the last bit, for every policy that settings can say."""
    policy = dataclasses.replace(SETTINGS, horizontal_flip=flip, rotation_range=rotation, zoom_range=zoom)
    generator = augment.image_data_generator(policy)
    drawn = augment.draw(generator, 50, seed=seed, epoch=epoch)
    for index, expected in enumerate(asked(generator, 50, seed=seed, epoch=epoch)):
        found = {**warp.NO_CHANGE, **{name: values[index] for name, values in drawn.items()}}
        assert {**found, "channel_shift_intensity": None, "brightness": None} == expected


@pytest.mark.parametrize("more", ["shear_range", "width_shift_range", "height_shift_range", "channel_shift_range"])
def test_a_policy_with_more_than_is_drawn_is_refused(more: str):
    generator = augment.ImageDataGenerator(rotation_range=45, **{more: 0.2})
    with pytest.raises(ValueError, match=f"flips, rotation and zoom are drawn, not {more}"):
        augment.draw(generator, 4, seed=0, epoch=0)
    with pytest.raises(ValueError, match="not brightness_range"):
        augment.draw(augment.ImageDataGenerator(brightness_range=(0.5, 1.5)), 4, seed=0, epoch=0)


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


def test_numpys_global_generator_is_left_as_it_was_and_decides_nothing():
    np.random.seed(7)
    expected = np.random.RandomState(7).random_sample(3)
    first = batches(4)
    np.testing.assert_array_equal(np.random.random_sample(3), expected)
    np.testing.assert_array_equal(batches(4)[3], first[3])


def test_rescaling_is_exact_at_both_ends():
    assert augment.rescale(np.array([0, 51, 255], np.uint8)).tolist() == pytest.approx([0.0, 0.2, 1.0], abs=1e-7)
    assert augment.rescale(np.array([255], np.uint8)).dtype == np.float32
