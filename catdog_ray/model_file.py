"""`model.keras` is checked part by part before Keras reads it: no code of a model file runs, and no file makes Keras
allocate more than it holds.

Keras' safe mode refuses pickled lambdas, but it builds any layer of its own, of any size, and layers that read files.
Here a model is what stands on a list: built-in layers without code, in a file of three stored entries.
"""

from __future__ import annotations

import json
import math
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from catdog_ray.errors import UserError, first_line
from catdog_ray.model import layers_of

_ENTRIES = {"metadata.json", "config.json", "model.weights.h5"}
_LARGEST_CONFIG_BYTES = 4 * 2**20
_LARGEST_ACTIVATION, _MOST_PER_PIXEL = 2**24, 64
"""Numbers that one layer may put out for one picture, 64 MiB in float32; of a large picture so many for each pixel,
which is what a first layer of 64 filters does."""

_LAYERS = """
    Activation ActivityRegularization Add AlphaDropout Average AveragePooling2D BatchNormalization CenterCrop
    Concatenate Conv2D Conv2DTranspose Cropping2D Dense DepthwiseConv2D Dot Dropout ELU Flatten GaussianDropout
    GaussianNoise GlobalAveragePooling2D GlobalMaxPooling2D GroupNormalization Identity InputLayer LayerNormalization
    LeakyReLU MaxPooling2D Maximum Minimum Multiply PReLU Permute RandomBrightness RandomContrast RandomFlip
    RandomRotation RandomTranslation RandomZoom ReLU Rescaling Reshape Resizing SeparableConv2D Softmax SpatialDropout2D
    Subtract UnitNormalization UpSampling2D ZeroPadding2D
"""
_INITIALIZERS = """
    Constant GlorotNormal GlorotUniform HeNormal HeUniform LecunNormal LecunUniform Ones Orthogonal RandomNormal
    RandomUniform TruncatedNormal VarianceScaling Zeros
"""
_OPERATIONS = {"keras.src.ops.nn": ["Relu"], "keras.src.ops.numpy": ["Add", "Maximum", "Multiply", "Subtract"]}
_ALLOWED = {
    ("keras", "Sequential"),
    ("keras", "DTypePolicy"),
    ("keras.src.models.functional", "Functional"),
    *(("keras.layers", name) for name in _LAYERS.split()),
    *(("keras.initializers", name) for name in _INITIALIZERS.split()),
    *(("keras.regularizers", name) for name in ("L1", "L2", "L1L2", "OrthogonalRegularizer")),
    *(("keras.constraints", name) for name in ("MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm")),
    *((module, name) for module, names in _OPERATIONS.items() for name in names),
}


class ModelFileError(UserError):
    """A model file is missing, damaged, not one of ours, or refused because it could run code."""


def load(path: Path, *, image_size: int, classes: int) -> keras.Model:
    """The network, ready to predict (not compiled). Raises ModelFileError in one line.

    Input (n, image_size, image_size, 3), output (n, classes).
    """
    config, weights_bytes = _read(path)
    for where, found in _objects(config, "config"):
        _require_allowed(path, where, found)
    try:
        # Shapes alone: without this, a few bytes of config could ask for any amount of memory.
        with keras.StatelessScope(initialize_variables=False):
            outline = keras.saving.deserialize_keras_object({**config, "compile_config": None}, safe_mode=True)
            _require_fitting(path, outline, weights_bytes, image_size=image_size, classes=classes)
        keras.utils.clear_session(free_memory=False)
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except ModelFileError:
        raise
    except Exception as error:  # Keras and HDF5 raise nearly everything on damaged configs and weights
        raise ModelFileError(
            f"{path}: Keras cannot load it ({first_line(error)[:200]}); retrain the study again"
        ) from None


def strangers(network: keras.Model) -> list[str]:
    """What `load` would refuse in this network's file, such as `keras.layers.Lambda`, each once.

    Raises whatever its own layers raise where the network cannot be saved.
    """
    refused: dict[str, str] = {}
    for where, found in _objects(json.loads(network.to_json()), "config"):
        is_inside = any(where.startswith(f"{outer}.") for outer in refused)
        if not is_inside and not _is_allowed(found):
            refused[where] = _name(found)
    if refused:
        return sorted(set(refused.values()))
    return [f"a layer that puts out {shape} for one picture" for _, shape in _too_large(network)]


def _read(path: Path) -> tuple[dict[str, Any], int]:
    """(config, bytes of the weights), after a check of the archive itself."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if sorted(entry.filename for entry in entries) != sorted(_ENTRIES):
                names = ", ".join(sorted({repr(entry.filename) for entry in entries})[:5])
                raise ModelFileError(
                    f"{path}: refused, a model of ours holds {', '.join(sorted(_ENTRIES))}, not {names}"
                )
            for entry in entries:
                if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
                    raise ModelFileError(f"{path}: refused, its {entry.filename} is packed or encrypted")
                if entry.compress_size != entry.file_size:
                    # Unpacked entries are read by the one and measured by the other.
                    raise ModelFileError(
                        f"{path}: refused, its {entry.filename} says it holds {entry.file_size:,} bytes "
                        f"and takes {entry.compress_size:,}"
                    )
            if archive.getinfo("config.json").file_size > _LARGEST_CONFIG_BYTES:
                raise ModelFileError(f"{path}: refused, its config.json is larger than {_LARGEST_CONFIG_BYTES} bytes")
            damaged = archive.testzip()
            if damaged is not None:
                raise ModelFileError(f"{path}: damaged, its {damaged} has a wrong checksum; retrain the study again")
            config = json.loads(archive.read("config.json"))
            weights_bytes = archive.getinfo("model.weights.h5").file_size
    except FileNotFoundError:
        raise ModelFileError(f"{path}: there is no model; retrain the study first") from None
    except (OSError, ValueError, RecursionError, EOFError, NotImplementedError, zipfile.BadZipFile) as error:
        raise ModelFileError(f"{path}: is no model file ({first_line(error)[:200]}); retrain the study again") from None
    if not isinstance(config, dict):
        raise ModelFileError(f"{path}: is no model file (its config.json is no object)")
    return config, weights_bytes


def _objects(value: Any, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every serialized object below `value`, but for the optimizer and loss, which are not read."""
    if isinstance(value, dict):
        if "class_name" in value or "registered_name" in value:
            yield where, value
        for key, item in value.items():
            if not (where == "config" and key == "compile_config"):
                yield from _objects(item, f"{where}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _objects(item, f"{where}[{index}]")


def _require_allowed(path: Path, where: str, found: dict[str, Any]) -> None:
    if not _is_allowed(found):
        raise ModelFileError(
            f"{path}: refused, {where} asks for {_name(found)!r} "
            f"(registered as {found.get('registered_name')!r}), which is none of the built-in layers that predict loads"
        )


def _is_allowed(found: dict[str, Any]) -> bool:
    module, name, registered = found.get("module"), found.get("class_name"), found.get("registered_name")
    if name == "__keras_tensor__" and module is None and registered is None:
        return True
    known = isinstance(module, str) and isinstance(name, str) and (module, name) in _ALLOWED
    return known and registered in (None, name)


def _name(found: dict[str, Any]) -> str:
    return f"{found.get('module')}.{found.get('class_name')}"


def _require_fitting(path: Path, outline: Any, weights_bytes: int, *, image_size: int, classes: int) -> None:
    if not isinstance(outline, keras.Model):
        raise ModelFileError(f"{path}: is no model but a {type(outline).__name__}")
    expected = (None, image_size, image_size, 3), (None, classes)
    if (outline.input_shape, outline.output_shape) != expected:
        raise ModelFileError(
            f"{path}: is of another study, it takes {outline.input_shape} and gives {outline.output_shape}, "
            f"expected {expected[0]} and {expected[1]}"
        )
    needed = sum(math.prod(weight.shape) * _bytes_each(weight.dtype) for weight in outline.weights)
    if needed > weights_bytes:
        raise ModelFileError(
            f"{path}: refused, its layers need {needed:,} bytes of weights and it holds {weights_bytes:,}"
        )
    for name, shape in _too_large(outline):
        raise ModelFileError(f"{path}: refused, its layer {name!r} puts out {shape} for one picture")


def _too_large(network: keras.Model) -> Iterator[tuple[str, tuple[int | None, ...]]]:
    """The layers, by name, that put out more numbers than they may, and the shapes of that."""
    most = max(_LARGEST_ACTIVATION, _MOST_PER_PIXEL * network.input_shape[1] ** 2)
    for layer in layers_of(network):
        for output in keras.tree.flatten(layer.output):
            if math.prod(side or 1 for side in output.shape) > most:
                yield layer.name, output.shape


def _bytes_each(dtype: str) -> int:
    digits = re.search(r"[0-9]+", dtype)
    return int(digits.group()) // 8 if digits else 1
