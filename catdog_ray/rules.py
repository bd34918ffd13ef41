"""Every rule that the settings of an experiment must keep."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from catdog_ray.errors import ConfigError, nearest
from catdog_ray.ranges import Choice, FloatRange, Range, contains, describe, ends, is_number
from catdog_ray.settings import (
    AUTO,
    BATCH_SIZE,
    BUILDER,
    BY_KERAS_TUNER,
    HYPERPARAMETERS,
    JIT_COMPILE,
    KERNELS,
    LARGEST_IMAGE_SIZE,
    METHODS,
    OPTIONAL_HYPERPARAMETERS,
    PRECISIONS,
    SCHEDULES,
    STOCK,
    Archive,
    Config,
)

_RAYS_UNIT = 0.0001
"""Ray keeps shares of a CPU or GPU in these."""

_LONGEST_NAME_BYTES = 200
"""Folders may have 255, and a number or an id is set behind it."""

_LARGEST: Mapping[str, int] = {BATCH_SIZE: 2**16, "conv_layers": 100, "dense_layers": 100}
"""What a space may reach to: a batch lies in memory as floats, and a network must be built."""

_LARGEST_DRAWN_BYTES = 8 * 2**30
"""Drawn pictures are drawn in memory, all at once."""


def check(config: Config) -> None:
    """Raise ConfigError for the first rule that `config` breaks (types are checked where it is read)."""
    _check_names(config)
    data, search, retrain = config.data, config.search, config.retrain
    cluster, augment = config.cluster, config.augment
    at_least("seed", config.seed, 0)
    at_least("data.image_size", data.image_size, 8)
    at_least("data.split_seed", data.split_seed, 0)
    at_least("data.drawn_seed", data.drawn_seed, 0)
    at_least("data.drawn_train", data.drawn_train, 20)
    at_least("data.drawn_test", data.drawn_test, 10)
    _at_most("data.image_size", data.image_size, LARGEST_IMAGE_SIZE)
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
    at_least("model.conv_layers", config.model.conv_layers, 1)
    at_least("model.dense_layers", config.model.dense_layers, 0)
    at_least("train.batch_size", config.train.batch_size, 1)
    at_least("train.checkpoint_epochs", config.train.checkpoint_epochs, 1)
    _one_of("train.precision", config.train.precision, PRECISIONS)
    _one_of("train.jit_compile", config.train.jit_compile, tuple(JIT_COMPILE))
    _one_of("train.learning_rate_schedule", config.train.learning_rate_schedule, SCHEDULES)
    _between("train.ema_momentum", config.train.ema_momentum, 0.0, 0.99999)
    _one_of("search.method", search.method, (*METHODS, STOCK))
    for name in ("num_samples", "max_epochs", "grace_epochs", "scoring_window", "startup_trials"):
        at_least(f"search.{name}", getattr(search, name), 1)
    at_least("search.reduction_factor", search.reduction_factor, 2)
    if search.time_budget_s is not None and search.time_budget_s <= 0:
        raise ConfigError(f"search.time_budget_s must be above 0 or null, got {search.time_budget_s!r}")
    for name in search.start_from:
        _one_of("search.start_from", name, ("baseline",))
    at_least("retrain.seeds", retrain.seeds, 1)
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
    if cpus != AUTO and (isinstance(cpus, str) or cpus < _RAYS_UNIT):
        raise ConfigError(
            f"cluster.cpus_per_trial must be at least {_RAYS_UNIT} or {AUTO}, got {cluster.cpus_per_trial!r}"
        )
    gpus = cluster.gpus_per_trial
    if (gpus and gpus < _RAYS_UNIT) or (gpus > 1 and gpus % 1):
        raise ConfigError(
            f"cluster.gpus_per_trial must be 0, a fraction of one GPU from {_RAYS_UNIT} on, or a whole number, "
            f"got {cluster.gpus_per_trial!r}"
        )
    if cluster.max_concurrent is not None:
        at_least("cluster.max_concurrent", cluster.max_concurrent, 1)
    at_least("cluster.max_failures", cluster.max_failures, 0)
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
    if len(config.name.encode()) > _LONGEST_NAME_BYTES:
        raise ConfigError(f"name must be at most {_LONGEST_NAME_BYTES} bytes long, got {len(config.name.encode())}")
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
            at_least(f"{where}.bytes", archive.bytes, 1)
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
        if config.model.builder is None or name in (*HYPERPARAMETERS, BATCH_SIZE):
            _check_hyperparameter(name, found)
        if config.search.method in BY_KERAS_TUNER:
            _check_kinds(name, found, config.search.method)
        value = config.baseline[name]
        if not contains(found, value):
            raise ConfigError(f"baseline.{name} must lie in space.{name} ({describe(found)}), got {value!r}")


def _check_kinds(name: str, found: Range, method: str) -> None:
    """Keras Tuner refuses a choice of mixed kinds; whole numbers beside floats are told to it as floats."""
    kinds = {type(value) for value in ends(found)}
    if len(kinds) > 1 and kinds != {int, float}:
        raise ConfigError(
            f"space.{name}.choices must be of one kind for search.method {method} (tpe and random take any), "
            f"got {describe(found)}"
        )


def _check_own_names(config: Config) -> None:
    """The space of the built-in network: the five, and what else it can be searched in."""
    allowed = (*HYPERPARAMETERS, *OPTIONAL_HYPERPARAMETERS, BATCH_SIZE)
    for name in config.space:
        if name not in allowed:
            hint = nearest(name, allowed) or "; a network of your own is named by model.builder or --model"
            raise ConfigError(f"space.{name}: unknown hyperparameter{hint}")
    for name in HYPERPARAMETERS:
        if name not in config.space:
            raise ConfigError(f"space.{name}: missing; to fix it, give one choice: {{choices: [VALUE]}}")


def smallest_side(image_size: int, *, padding: str, kernel: int, layers: int) -> int:
    """Pixels per side after `layers` blocks of a convolution and a 2 x 2 pool (0 or less: none left)."""
    side = image_size
    for _ in range(layers):
        side = (side - kernel + 1 if padding == "valid" else side) // 2
    return side


def _check_hyperparameter(name: str, found: Range) -> None:
    if name in ("learning_rate", "dropout_rate"):
        for value in ends(found):
            if not is_number(value):
                raise ConfigError(f"space.{name} must be numbers, got {value!r}")
            if name == "learning_rate" and value <= 0:
                raise ConfigError(f"space.{name} must be above 0, got {value!r}")
            if name == "dropout_rate" and not 0 <= value <= 0.95:
                raise ConfigError(f"space.{name} must lie between 0 and 0.95, got {value!r}")
        return
    smallest = 0 if name == "dense_layers" else 1
    if isinstance(found, FloatRange):
        raise ConfigError(
            f"space.{name} must be whole numbers, {{low, high, step, scale}} or {{choices}}, got {describe(found)}"
        )
    where = f"space.{name}.choices" if isinstance(found, Choice) else f"space.{name}"
    for value in ends(found):
        if type(value) is not int or value < smallest:
            raise ConfigError(f"{where} must be whole numbers from {smallest} on, got {value!r}")
        _at_most(where, value, _LARGEST.get(name, math.inf))


def _check_geometry(config: Config) -> None:
    kernels: Sequence[Any] = ends(config.space["conv_kernel"])
    searched = config.space.get("conv_layers")
    counts: Sequence[Any] = (config.model.conv_layers,) if searched is None else ends(searched)
    # Both ends of a range are enough: more layers and a larger kernel leave less.
    for layers in counts:
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


def at_least(where: str, value: float, lowest: float) -> None:
    """ConfigError naming the setting, or the flag, that is too small."""
    if value < lowest:
        raise ConfigError(f"{where} must be at least {lowest}, got {value!r}")


def _at_most(where: str, value: float, highest: float) -> None:
    if value > highest:
        raise ConfigError(f"{where} must be at most {highest}, got {value!r}")


def _between(where: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ConfigError(f"{where} must lie between {low:g} and {high:g}, got {value!r}")


def _one_of(where: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ConfigError(f"{where} must be one of {', '.join(allowed)}, got {value!r}{nearest(value, allowed)}")
