"""The settings of an experiment as frozen dataclasses.

Nothing heavy is imported here, so that every mistake is reported before Ray or Keras is loaded.
"""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from catdog_ray.ranges import Range, Value


def without_secrets(url: str) -> str:
    """The address without user, password, query and fragment, fit for a message and for a file that is passed on."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return url.partition("://")[0] + "://..."
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"


LARGEST_IMAGE_SIZE = 4096
"""Pixels per side after decoding."""


@dataclass(frozen=True)
class Archive:
    """A published zip archive; null where its size or sha256 is not known and so not checked."""

    url: str
    bytes: int | None
    sha256: str | None


@dataclass(frozen=True)
class DataSettings:
    """Where the images come from and how they are split. `published` are archives that `source` may name."""

    source: str
    published: Mapping[str, Archive]
    image_size: int
    test_share: float
    selection_share: float
    split_seed: int
    max_bad_share: float
    cache_dir: str
    drawn_train: int
    drawn_test: int
    drawn_seed: int


@dataclass(frozen=True)
class AugmentSettings:
    """The policy of `ImageDataGenerator`, applied to training images only."""

    horizontal_flip: bool
    rotation_range: float
    zoom_range: float
    kernel: str


@dataclass(frozen=True)
class ModelSettings:
    """What is fixed about the network; a count that is also in `space` is taken from the trial.

    With a `builder` (`package.module:function`) the network is the user's own, and so is the space.
    """

    padding: str
    conv_layers: int
    dense_layers: int
    builder: str | None = None


@dataclass(frozen=True)
class TrainSettings:
    """How one model is fitted; a `batch_size` that is also in `space` is taken from the trial."""

    batch_size: int
    checkpoint_epochs: int
    precision: str
    jit_compile: str
    learning_rate_schedule: str
    ema_momentum: float
    test_time_flip: bool


@dataclass(frozen=True)
class FitSettings:
    """What training one model needs of a config. `augment` None trains on the images as they are."""

    model: ModelSettings
    augment: AugmentSettings | None
    train: TrainSettings


@dataclass(frozen=True)
class SearchSettings:
    """How configurations are proposed, stopped early and scored."""

    method: str
    num_samples: int
    max_epochs: int
    grace_epochs: int
    reduction_factor: int
    scoring_window: int
    startup_trials: int
    start_from: tuple[str, ...]
    time_budget_s: float | None


@dataclass(frozen=True)
class RetrainSettings:
    """Which configurations are trained again on the whole training split, and for how long."""

    enabled: bool
    configurations: tuple[str, ...]
    milestones: tuple[int, ...]
    seeds: int


@dataclass(frozen=True)
class ClusterSettings:
    """Where trials run and what each of them gets."""

    address: str
    cpus_per_trial: float | str
    gpus_per_trial: float
    max_concurrent: int | None
    max_failures: int
    storage_path: str | None
    dashboard: bool


@dataclass(frozen=True)
class Config:
    """One experiment. `space` maps each hyperparameter to its range, `baseline` to the guide's value."""

    name: str
    label: str
    seed: int
    output: str
    data: DataSettings
    augment: AugmentSettings
    model: ModelSettings
    space: Mapping[str, Range]
    baseline: Mapping[str, Value]
    train: TrainSettings
    search: SearchSettings
    retrain: RetrainSettings
    cluster: ClusterSettings

    @property
    def fit(self) -> FitSettings:
        """What training one model needs of it."""
        return FitSettings(self.model, self.augment, self.train)

    def as_dict(self) -> dict[str, Any]:
        """The config as plain JSON values; `config.from_dict` reads it back."""
        return typing.cast("dict[str, Any]", _plain(self))


HYPERPARAMETERS = ("learning_rate", "dropout_rate", "conv_filters", "conv_kernel", "dense_units")
"""The guide's five, in the guide's order; every space has them."""


OPTIONAL_HYPERPARAMETERS = ("conv_layers", "dense_layers")
"""Settings of the model that a space may search too."""


BATCH_SIZE = "batch_size"
"""The setting of training that the space of any network may search too."""


BUILDER = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
"""What `model.builder` looks like: `package.module:function`."""


METHODS = ("tpe", "random", "keras-tuner")
"""Methods of search that propose for trials on Ray: Optuna's TPE, random search, Keras Tuner's Bayesian oracle."""

STOCK = "keras-tuner-stock"
"""The peer outside Ray: `keras_tuner.BayesianOptimization`, one trial after the other, all to full length."""

BY_KERAS_TUNER = ("keras-tuner", STOCK)
"""Methods that propose by Keras Tuner, whose choices must be of one kind."""


AUTO = "auto"
"""`cluster.cpus_per_trial`: as many cores as let all trials run at once, one at least (`capacity.share`)."""

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
"""Keras' dtype policies: weights are float32 in each of them."""


JIT_COMPILE: Mapping[str, bool | str] = {"auto": "auto", "always": True, "never": False}
"""`train.jit_compile` in Keras' words; its `auto` means XLA with JAX, and with TensorFlow on a GPU only."""


SCHEDULES = ("constant", "cosine")
"""How the learning rate goes on: as it is, or to zero by half a cosine over the run."""


KERNELS = ("fused", "imagedatagenerator")
"""What may move the pixels: one resampling of the whole batch, or Keras' own of every image (the reference)."""


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value
