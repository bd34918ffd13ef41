"""A network of the user's own, named `package.module:function`: found without importing it, imported on a worker.

Ray puts the driver's working folder on the path of workers on the same machine.
"""

from __future__ import annotations

import importlib.machinery
import pkgutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from catdog_ray.errors import ConfigError, printable
from catdog_ray.ranges import Value


class BuilderError(Exception):
    """The user's function raised, or what it returned cannot be trained here; one line.

    It lives here so that whoever unpickles it loads no Keras.
    """

    def __init__(self, text: str) -> None:
        # Messages of Keras go over several lines.
        super().__init__(printable(" ".join(text.split())))


class Handed(dict[str, Value]):
    """Hyperparameters as the function gets them: a dict that knows which of them were `read`.

    Whatever goes through all of them, such as `**` and `items`, reads all; asking whether a name is there reads none.
    """

    def __init__(self, values: Mapping[str, Value]) -> None:
        super().__init__(values)
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> Value:
        self.read.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.read.add(name)
        return super().get(name, default)

    def pop(self, name: str, *default: Any) -> Any:
        self.read.add(name)
        return super().pop(name, *default)

    def setdefault(self, name: str, default: Any = None) -> Any:
        self.read.add(name)
        return super().setdefault(name, default)

    # Python copies a dict whose `__iter__` is not dict's own by `keys` and `[]`: for `**`, `dict(...)`, `|`, `copy`.
    def __iter__(self) -> Iterator[str]:
        self._read_all()
        return super().__iter__()

    def keys(self) -> Any:
        self._read_all()
        return super().keys()

    def values(self) -> Any:
        self._read_all()
        return super().values()

    def items(self) -> Any:
        self._read_all()
        return super().items()

    def _read_all(self) -> None:
        self.read.update(super().keys())


def require_findable(builder: str) -> None:
    """ConfigError unless the module's file is on Python's path. Nothing of it is imported, not even its package."""
    module = builder.partition(":")[0]
    locations: Sequence[str] | None = [*sys.path, str(Path.cwd())]
    parts = module.split(".")
    for depth in range(len(parts)):
        name = ".".join(parts[: depth + 1])
        found = importlib.machinery.PathFinder.find_spec(name, locations) if locations else None
        if found is None:
            raise ConfigError(
                f"--model {builder}: there is no module {name!r} in the working folder or on Python's path"
            )
        locations = list(found.submodule_search_locations or [])


def resolve(builder: str) -> Callable[..., Any]:
    """The function itself. Raises ConfigError in one line."""
    try:
        function = pkgutil.resolve_name(builder)
    except (Exception, SystemExit) as error:  # the user's module may raise anything
        raise ConfigError(f"--model {builder}: cannot be imported ({type(error).__name__}: {error})") from error
    if not callable(function):
        raise ConfigError(f"--model {builder}: is no function but a {type(function).__name__}")
    return function
