"""The settings of an experiment as frozen dataclasses, and every rule that they must keep.

Nothing heavy is imported here, so that every mistake is reported before Ray or Keras is loaded.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Value = int | float | str
"""What a hyperparameter may be."""


def printable(text: str) -> str:
    r"""The text with everything a terminal would obey, and bytes that are no UTF-8, as escapes such as `\x1b`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class UserError(Exception):
    """Something the user must change; its text is the one line that the command prints (exit code 2).

    Whatever a file or a flag put into the text, it is one line that no terminal obeys.
    """

    def __init__(self, text: str) -> None:
        super().__init__(printable(text))


class RunFailed(Exception):
    """The command ran and did not reach its end; its text is the one line that is printed (exit code 1)."""


class ConfigError(UserError):
    """A setting is missing, unknown, of the wrong type or out of its range."""


class DataError(UserError):
    """The data set is missing, unreadable or of the wrong layout."""


LARGEST_IMAGE_SIZE = 4096
"""Pixels per side after decoding."""

_LARGEST_DRAWN_BYTES = 8 * 2**30
"""Drawn pictures are drawn in memory, all at once."""


@dataclass(frozen=True)
class FloatRange:
    """A continuous hyperparameter in [low, high], searched on a linear or a logarithmic scale."""

    low: float
    high: float
    scale: str


@dataclass(frozen=True)
class Choice:
    """A hyperparameter that takes one of several values."""

    choices: tuple[Value, ...]


Range = FloatRange | Choice


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
    """How one model is fitted."""

    batch_size: int
    checkpoint_epochs: int
    precision: str
    jit_compile: str
    learning_rate_schedule: str
    ema_momentum: float
    test_time_flip: bool


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
    """One experiment. `space` maps each hyperparameter to its range, `baseline` to the brief's value."""

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

    def as_dict(self) -> dict[str, Any]:
        """The config as plain JSON values; `config.from_dict` reads it back."""
        return typing.cast("dict[str, Any]", _plain(self))


HYPERPARAMETERS = ("learning_rate", "dropout_rate", "conv_filters", "conv_kernel", "dense_units")
"""The brief's five, in the brief's order; every space has them."""


OPTIONAL_HYPERPARAMETERS = ("conv_layers", "dense_layers")
"""Settings of the model that a space may search too."""


BUILDER = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
"""What `model.builder` looks like: `package.module:function`."""


METHODS = ("tpe", "random", "keras-tuner")
"""Methods of search that propose for trials on Ray: Optuna's TPE, random search, Keras Tuner's Bayesian oracle."""

STOCK = "keras-tuner-stock"
"""The peer outside Ray: `keras_tuner.BayesianOptimization`, one trial after the other, all to full length."""


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


def smallest_side(image_size: int, *, padding: str, kernel: int, layers: int) -> int:
    """Pixels per side after `layers` blocks of a convolution and a 2 x 2 pool (0 or less: none left)."""
    side = image_size
    for _ in range(layers):
        side = (side - kernel + 1 if padding == "valid" else side) // 2
    return side


def check(config: Config) -> None:
    """Raise ConfigError for the first rule that `config` breaks (types are checked where it is read)."""
    _check_names(config)
    data, search, retrain = config.data, config.search, config.retrain
    cluster, augment = config.cluster, config.augment
    _at_least("seed", config.seed, 0)
    _at_least("data.image_size", data.image_size, 8)
    _at_least("data.split_seed", data.split_seed, 0)
    _at_least("data.drawn_seed", data.drawn_seed, 0)
    _at_least("data.drawn_train", data.drawn_train, 20)
    _at_least("data.drawn_test", data.drawn_test, 10)
    if data.image_size > LARGEST_IMAGE_SIZE:
        raise ConfigError(f"data.image_size must be at most {LARGEST_IMAGE_SIZE}, got {data.image_size!r}")
    drawn_bytes = 3 * (data.drawn_train + data.drawn_test) * data.image_size**2
    if drawn_bytes > _LARGEST_DRAWN_BYTES:
        raise ConfigError(
            f"data.drawn_train and data.drawn_test of {data.image_size} pixels would take {drawn_bytes:,} bytes, "
            f"more than {_LARGEST_DRAWN_BYTES:,}; draw fewer or smaller ones"
        )
    _between("data.selection_share", data.selection_share, 0.01, 0.9)
    _between("data.test_share", data.test_share, 0.01, 0.9)
    _check_published(data.published)
    _between("data.max_bad_share", data.max_bad_share, 0.0, 1.0)
    _between("augment.rotation_range", augment.rotation_range, 0.0, 180.0)
    _between("augment.zoom_range", augment.zoom_range, 0.0, 0.99)
    _one_of("augment.kernel", augment.kernel, KERNELS)
    _one_of("model.padding", config.model.padding, ("same", "valid"))
    _at_least("model.conv_layers", config.model.conv_layers, 1)
    _at_least("model.dense_layers", config.model.dense_layers, 0)
    _at_least("train.batch_size", config.train.batch_size, 1)
    _at_least("train.checkpoint_epochs", config.train.checkpoint_epochs, 1)
    _one_of("train.precision", config.train.precision, PRECISIONS)
    _one_of("train.jit_compile", config.train.jit_compile, tuple(JIT_COMPILE))
    _one_of("train.learning_rate_schedule", config.train.learning_rate_schedule, SCHEDULES)
    _between("train.ema_momentum", config.train.ema_momentum, 0.0, 0.99999)
    _one_of("search.method", search.method, (*METHODS, STOCK))
    for name in ("num_samples", "max_epochs", "grace_epochs", "scoring_window", "startup_trials"):
        _at_least(f"search.{name}", getattr(search, name), 1)
    _at_least("search.reduction_factor", search.reduction_factor, 2)
    if search.time_budget_s is not None and search.time_budget_s <= 0:
        raise ConfigError(f"search.time_budget_s must be above 0 or null, got {search.time_budget_s!r}")
    for name in search.start_from:
        _one_of("search.start_from", name, ("baseline",))
    _at_least("retrain.seeds", retrain.seeds, 1)
    if config.seed + retrain.seeds > 2**32:
        raise ConfigError(
            f"seed plus retrain.seeds must be at most {2**32} (NumPy's seeds end there), got {config.seed}"
        )
    for name in retrain.configurations:
        _one_of("retrain.configurations", name, ("best", "baseline"))
    if retrain.enabled and not (retrain.milestones and retrain.configurations):
        raise ConfigError("retrain.milestones and retrain.configurations must not be empty (or: --no-retrain)")
    if list(retrain.milestones) != sorted(set(retrain.milestones)) or min(retrain.milestones, default=1) < 1:
        raise ConfigError(f"retrain.milestones must be rising epochs from 1 on, got {list(retrain.milestones)!r}")
    if retrain.enabled and config.train.learning_rate_schedule != "constant" and len(retrain.milestones) > 1:
        raise ConfigError(
            f"retrain.milestones must be one epoch with train.learning_rate_schedule "
            f"{config.train.learning_rate_schedule} (a run that ends later is another run from its first epoch on), "
            f"got {list(retrain.milestones)!r}"
        )
    cpus = cluster.cpus_per_trial
    if cpus != AUTO and (isinstance(cpus, str) or cpus <= 0):
        raise ConfigError(f"cluster.cpus_per_trial must be above 0 or {AUTO}, got {cluster.cpus_per_trial!r}")
    if cluster.gpus_per_trial < 0 or (cluster.gpus_per_trial > 1 and cluster.gpus_per_trial % 1):
        raise ConfigError(
            "cluster.gpus_per_trial must be 0, a fraction of one GPU, or a whole number, "
            f"got {cluster.gpus_per_trial!r}"
        )
    if cluster.max_concurrent is not None:
        _at_least("cluster.max_concurrent", cluster.max_concurrent, 1)
    _at_least("cluster.max_failures", cluster.max_failures, 0)
    _check_space(config)
    if config.model.builder is None:
        _check_geometry(config)
    elif not BUILDER.fullmatch(config.model.builder):
        raise ConfigError(f"model.builder must be package.module:function, got {config.model.builder!r}")


def _check_names(config: Config) -> None:
    if not config.name or not all(c.isalnum() or c in "-_." for c in config.name) or config.name[0] in ".-":
        raise ConfigError(
            f"name must be letters, digits, '-', '_' and '.', not starting with '.' or '-', got {config.name!r}"
        )
    for where, text in (
        ("label", config.label),
        ("output", config.output),
        ("data.source", config.data.source),
        ("data.cache_dir", config.data.cache_dir),
        ("cluster.address", config.cluster.address),
    ):
        if not text:
            raise ConfigError(f"{where} must not be empty, got {text!r}")
        if not text.isprintable():
            raise ConfigError(f"{where} must hold nothing that cannot be printed, got {text!r}")


def _check_published(published: Mapping[str, Archive]) -> None:
    for name, archive in published.items():
        where = f"data.published.{name}"
        if not archive.url.startswith(("https://", "http://")) or not archive.url.isprintable():
            raise ConfigError(f"{where}.url must begin with https:// or http://, got {archive.url!r}")
        if archive.bytes is not None:
            _at_least(f"{where}.bytes", archive.bytes, 1)
        digest = archive.sha256
        if digest is not None and (len(digest) != 64 or not set(digest) <= set("0123456789abcdef")):
            raise ConfigError(f"{where}.sha256 must be 64 digits 0-9 and a-f, got {digest!r}")


def _check_space(config: Config) -> None:
    if config.model.builder is None:
        _check_own_names(config)
    elif not config.space:
        raise ConfigError("space must name at least one hyperparameter of model.builder")
    if set(config.baseline) != set(config.space):
        odd = sorted(set(config.baseline) ^ set(config.space))
        raise ConfigError(f"baseline must give a value to exactly what is in space; differing: {', '.join(odd)}")
    for name, found in config.space.items():
        if config.model.builder is None or name in HYPERPARAMETERS:
            _check_hyperparameter(name, found)
        value = config.baseline[name]
        if not contains(found, value):
            raise ConfigError(f"baseline.{name} must lie in space.{name} ({describe(found)}), got {value!r}")


def _check_own_names(config: Config) -> None:
    """The space of the built-in network: the five, and what else it can be searched in."""
    allowed = (*HYPERPARAMETERS, *OPTIONAL_HYPERPARAMETERS)
    for name in config.space:
        if name not in allowed:
            raise ConfigError(f"space.{name}: unknown hyperparameter{nearest(name, allowed)}")
    for name in HYPERPARAMETERS:
        if name not in config.space:
            raise ConfigError(f"space.{name}: missing; to fix it, give one choice: {{choices: [VALUE]}}")


def contains(found: Range, value: Value) -> bool:
    """Whether `value` lies in the range (as a choice: is one of them, of the same type)."""
    if isinstance(found, Choice):
        return any(value == choice and type(value) is type(choice) for choice in found.choices)
    return isinstance(value, (int, float)) and found.low <= value <= found.high


def describe(found: Range) -> str:
    """The range in words, for messages and tables."""
    if isinstance(found, Choice):
        return ", ".join(str(choice) for choice in found.choices)
    return f"{found.low:g} to {found.high:g}, {found.scale}"


def _check_hyperparameter(name: str, found: Range) -> None:
    if name in ("learning_rate", "dropout_rate"):
        values = list(found.choices) if isinstance(found, Choice) else [found.low, found.high]
        for value in values:
            if not isinstance(value, (int, float)) or (name == "learning_rate" and value <= 0):
                raise ConfigError(f"space.{name} must be above 0, got {value!r}")
            if name == "dropout_rate" and not 0 <= value <= 0.95:
                raise ConfigError(f"space.{name} must lie between 0 and 0.95, got {value!r}")
        return
    smallest = 0 if name == "dense_layers" else 1
    if not isinstance(found, Choice):
        raise ConfigError(f"space.{name} must be {{choices: [whole numbers]}}, got {describe(found)}")
    for value in found.choices:
        if type(value) is not int or value < smallest:
            raise ConfigError(f"space.{name}.choices must be whole numbers from {smallest} on, got {value!r}")


def _check_geometry(config: Config) -> None:
    kernels = _choices(config, "conv_kernel", ())
    for layers in _choices(config, "conv_layers", (config.model.conv_layers,)):
        for kernel in kernels:
            size, padding = config.data.image_size, config.model.padding
            if smallest_side(size, padding=padding, kernel=int(kernel), layers=int(layers)) >= 1:
                continue
            enough = 1
            for _ in range(int(layers)):
                enough = 2 * enough + (int(kernel) - 1 if padding == "valid" else 0)
            cure = "" if padding == "same" else " or model.padding: same"
            raise ConfigError(
                f"data.image_size {size} with model.padding {padding!r} and space.conv_kernel {kernel} leaves no "
                f"pixels after {layers} pools; use data.image_size {enough} or more, a smaller kernel{cure}"
            )


def _choices(config: Config, name: str, otherwise: Sequence[Value]) -> list[Any]:
    found = config.space.get(name)
    return list(found.choices) if isinstance(found, Choice) else list(otherwise)


def _at_least(where: str, value: float, lowest: float) -> None:
    if value < lowest:
        raise ConfigError(f"{where} must be at least {lowest}, got {value!r}")


def _between(where: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ConfigError(f"{where} must lie between {low:g} and {high:g}, got {value!r}")


def _one_of(where: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ConfigError(f"{where} must be one of {', '.join(allowed)}, got {value!r}{nearest(value, allowed)}")


def nearest(name: str, known: typing.Iterable[Any]) -> str:
    """A hint for an error text: the known name most like `name`, or nothing."""
    close = difflib.get_close_matches(str(name), [str(key) for key in known], n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value
