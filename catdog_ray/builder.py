"""A network of the user's own, named `package.module:function`: found without importing it, imported on a worker.

Ray puts the driver's working folder on the path of workers on the same machine.
"""

from __future__ import annotations

import importlib.machinery
import pkgutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from catdog_ray.settings import ConfigError


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
