"""The plan of the house: who imports whom, which heavy library lives where, and that importing does nothing."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "catdog_ray"

HEAVY = {
    "PIL",
    "jax",
    "keras",
    "keras_tuner",
    "matplotlib",
    "numpy",
    "optuna",
    "pandas",
    "pyarrow",
    "ray",
    "requests",
    "rich",
    "scipy",
    "sklearn",
    "tensorflow",
    "torch",
    "urllib3",
    "yaml",
}


@dataclass(frozen=True)
class Room:
    """A module's floor, the heavy libraries it may import, and what it may import only in functions or for types."""

    floor: int
    heavy: str = ""
    inside_functions: str = ""


HOUSE = {
    "__init__": Room(0),
    "errors": Room(0),
    "ranges": Room(0),
    "settings": Room(1),
    "decoding": Room(0, "numpy PIL"),
    "rules": Room(2),
    "conversion": Room(2),
    "config": Room(3, "yaml"),
    "space": Room(2),
    "animals": Room(0, "numpy PIL"),
    "drawn": Room(2, "numpy PIL"),
    "builder": Room(2),
    "sources": Room(2),
    "layout": Room(2, "numpy"),
    "download": Room(2, "requests urllib3"),
    "cache": Room(2, "numpy"),
    "duplicates": Room(2, "numpy scipy"),
    "scores": Room(2, "scipy"),
    "pictures": Room(3),
    "environment": Room(2),
    "cluster_file": Room(2, "yaml"),
    "cloud_keys": Room(3),
    "cluster_commands": Room(3, inside_functions="ray"),
    "cluster_rules": Room(4, inside_functions="ray"),
    "processes": Room(2),
    "provenance": Room(2),
    "records": Room(2),
    "files": Room(3),
    "schema": Room(3),
    "ledger": Room(4),
    "recorder": Room(5),
    "warp": Room(3, "numpy keras", inside_functions="tensorflow jax"),
    "origins": Room(3, "numpy"),
    "data": Room(4, "numpy"),
    "command": Room(5),
    "choice": Room(6),
    "backend": Room(4, inside_functions="keras tensorflow torch"),
    "augment": Room(5, "numpy keras tensorflow"),
    "model": Room(4, "keras"),
    "model_file": Room(5, "keras"),
    "export": Room(4, "keras numpy", inside_functions="tensorflow"),
    "evaluation": Room(6, "numpy keras"),
    "train": Room(7, "numpy keras"),
    "contents": Room(4, "numpy"),
    "prediction": Room(7, "numpy keras"),
    "capacity": Room(3, "yaml"),
    "inspection": Room(0, inside_functions="pyarrow"),
    "cluster": Room(5, inside_functions="ray"),
    "checkpoints": Room(5, inside_functions="pyarrow"),
    "running": Room(6, inside_functions="ray"),
    "metrics": Room(0, inside_functions="ray"),
    "spot": Room(0, "ray"),
    "preflight": Room(6, inside_functions="ray pyarrow"),
    "mirror": Room(6, inside_functions="pyarrow"),
    "trial": Room(8, "ray", inside_functions="keras backend evaluation model train"),
    "rehearsal": Room(7, "numpy", inside_functions="keras backend evaluation model model_file"),
    "distributions": Room(3, "optuna"),
    "searchers": Room(7, "numpy ray optuna"),
    "past": Room(7, "ray"),
    "oracle": Room(7, "numpy ray", inside_functions="keras_tuner"),
    "budget": Room(7, "ray"),
    "search": Room(9, "ray"),
    "stock": Room(8, inside_functions="keras keras_tuner backend model train"),
    "retraining_recorder": Room(7, "ray"),
    "retraining": Room(9),
    "study": Room(10),
    "simulate": Room(8, "numpy"),
    "statistics": Room(6, "numpy scipy"),
    "curves": Room(7, "numpy scipy"),
    "audit_retraining": Room(6, "numpy"),
    "audit": Room(7, "numpy"),
    "groups": Room(8),
    "importance": Room(8, "numpy optuna"),
    "retrained": Room(9, "numpy"),
    "differences": Room(10, "numpy"),
    "early_stopping": Room(9, "numpy"),
    "last_epochs": Room(11, "numpy"),
    "compare": Room(9),
    "searched": Room(11, "numpy"),
    "caveats": Room(12),
    "comparison": Room(13),
    "words": Room(0),
    "evenness": Room(2),
    "cells": Room(14),
    "table": Room(0),
    "search_tables": Room(15),
    "retraining_tables": Room(15),
    "tables": Room(16),
    "markdown": Room(17),
    "recipes": Room(12),
    "sides": Room(13),
    "recipe_tables": Room(16),
    "recipe_figure": Room(17, "numpy matplotlib"),
    "descriptions": Room(16, "numpy"),
    "plots": Room(12, "numpy matplotlib"),
    "drawings": Room(16, "matplotlib"),
    "figures": Room(17, "numpy matplotlib"),
    "space_figures": Room(17, "numpy matplotlib"),
    "trial_figures": Room(17, "numpy matplotlib"),
    "summary": Room(15),
    "report": Room(17),
    "publish": Room(18),
    "gallery": Room(12, "matplotlib numpy", inside_functions="augment"),
    "live": Room(12, "rich"),
    "answers": Room(13, "rich", inside_functions="keras numpy backend export model_file prediction"),
    "exploration": Room(13, "rich", inside_functions="backend"),
    "show": Room(13, "rich", inside_functions="cluster data study compare plots live"),
    "estimate": Room(13),
    "tune": Room(14, inside_functions="show estimate"),
    "baseline": Room(14, inside_functions="show"),
    "retrain": Room(14, inside_functions="show"),
    "predict": Room(14, inside_functions="answers"),
    "explore": Room(14, inside_functions="exploration"),
}
"""The plan. Imports only go down the floors; rooms on one floor do not know each other."""

COMMANDS = ("tune", "baseline", "retrain", "predict", "explore")
DRIVER = ("search", "retraining", "cluster", "trial", "rehearsal", "searchers", "past", "study", "show")
ON_WORKERS_ONLY = {"tensorflow", "keras", "torch", "jax", "keras_tuner"}


@dataclass(frozen=True)
class Import:
    """A room of the package or a heavy library that a module imports."""

    name: str
    line: int
    is_at_import: bool


@cache
def parsed(module: str) -> ast.Module:
    return ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8"))


@cache
def imports(module: str) -> list[Import]:
    """All imports of a module that concern the plan, those in functions and under TYPE_CHECKING too."""
    return [
        Import(name, node.lineno, is_at_import)
        for node, is_at_import in _import_nodes(parsed(module), is_at_import=True)
        for name in _targets(node)
        if name in HEAVY or name in HOUSE or (PACKAGE / f"{name}.py").exists()
    ]


def _import_nodes(node: ast.AST, *, is_at_import: bool) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, is_at_import
        runs_later = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for_types = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)
        yield from _import_nodes(child, is_at_import=is_at_import and not runs_later and not for_types)


def _targets(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    """The rooms (`settings`) and libraries (`numpy`) that one statement names."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif node.level:
        names = [f"catdog_ray.{node.module}" if node.module else f"catdog_ray.{alias.name}" for alias in node.names]
    elif node.module == "catdog_ray":
        names = [f"catdog_ray.{alias.name}" for alias in node.names]
    else:
        names = [str(node.module)]
    for name in names:
        top, _, rest = name.partition(".")
        room = rest.partition(".")[0]
        if top != "catdog_ray":
            yield top
        else:
            yield room if (PACKAGE / f"{room}.py").exists() else "__init__"


@cache
def reached(module: str) -> set[str]:
    """Heavy libraries that come with importing a module, its rooms below included."""
    found: set[str] = set()
    for item in imports(module):
        if item.is_at_import:
            found |= reached(item.name) if item.name in HOUSE else {item.name}
    return found


def run_python(code: str, **environment: str) -> str:
    """What a fresh interpreter prints."""
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_plan_names_every_module_and_no_other() -> None:
    assert set(HOUSE) == {file.stem for file in PACKAGE.glob("*.py")}
    assert [folder.name for folder in PACKAGE.iterdir() if folder.is_dir() and folder.name != "__pycache__"] == []


@pytest.mark.parametrize("module", HOUSE)
def test_imports_go_to_lower_floors_only(module: str) -> None:
    floor = HOUSE[module].floor
    wrong = [
        f"line {item.line}: {item.name} is on floor {HOUSE[item.name].floor}, {module} on {floor}"
        for item in imports(module)
        if item.name in HOUSE and HOUSE[item.name].floor >= floor
    ]
    assert wrong == []


@pytest.mark.parametrize("module", HOUSE)
def test_heavy_libraries_stand_where_the_plan_says(module: str) -> None:
    allowed = set(HOUSE[module].heavy.split())
    inside = allowed | set(HOUSE[module].inside_functions.split())
    used = [item for item in imports(module) if item.name in HEAVY]
    assert [item for item in used if item.name not in (allowed if item.is_at_import else inside)] == []
    # A permission that nobody uses is a wrong plan.
    assert {item.name for item in used} == inside & HEAVY


@pytest.mark.parametrize("module", HOUSE)
def test_rooms_are_imported_late_only_where_the_plan_says(module: str) -> None:
    late = {item.name for item in imports(module) if item.name in HOUSE and not item.is_at_import}
    assert late == set(HOUSE[module].inside_functions.split()) & set(HOUSE)


@pytest.mark.parametrize("module", HOUSE)
def test_nothing_is_imported_by_a_computed_name(module: str) -> None:
    names = {node.id for node in ast.walk(parsed(module)) if isinstance(node, ast.Name)}
    attributes = {node.attr for node in ast.walk(parsed(module)) if isinstance(node, ast.Attribute)}
    assert not (names | attributes) & {"import_module", "__import__", "exec", "eval"}


@pytest.mark.parametrize("module", HOUSE)
def test_every_module_says_what_it_is_first(module: str) -> None:
    assert ast.get_docstring(parsed(module))


@pytest.mark.parametrize("module", COMMANDS)
def test_a_command_defines_nothing_but_main(module: str) -> None:
    """What is defined in `__main__` is pickled by value; nothing that goes to a worker may be."""
    defined = [n.name for n in parsed(module).body if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    assert defined == ["main"]


def test_the_search_cannot_be_handed_the_test_split() -> None:
    named = {
        alias.name for node in ast.walk(parsed("search")) if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert "Images" in named
    assert "Splits" not in named
    run = next(n for n in parsed("search").body if isinstance(n, ast.FunctionDef) and n.name == "run")
    arguments = [a.arg for a in (*run.args.args, *run.args.kwonlyargs)]
    assert arguments == ["study", "config", "train", "selection", "running_on", "on_progress"]
    assert run.args.vararg is None
    assert run.args.kwarg is None


def test_one_module_imports_the_generator() -> None:
    users = [
        module
        for module in HOUSE
        for node in ast.walk(parsed(module))
        if isinstance(node, ast.ImportFrom) and any(alias.name == "ImageDataGenerator" for alias in node.names)
    ]
    assert set(users) == {"augment"}


def test_errors_and_help_need_no_heavy_library() -> None:
    assert {module: reached(module) for module in ("settings", "config", "ledger", "command", *COMMANDS)} == {
        "settings": set(),
        "config": {"yaml"},
        "ledger": set(),
        "command": {"yaml"},
        "tune": {"yaml"},
        "baseline": {"yaml"},
        "retrain": {"yaml"},
        "predict": {"yaml"},
        "explore": {"yaml"},
    }


def test_importing_a_light_module_does_nothing() -> None:
    """No environment variable, log handler, signal handler, working folder or print."""
    light = [module for module in HOUSE if not reached(module) & (ON_WORKERS_ONLY | {"ray", "optuna"})]
    assert {"settings", "config", "space", "data", "command", "cluster", "running", "compare", "plots", "live"} <= set(
        light
    )
    code = f"""
import importlib, json, logging, os, signal
def state():
    return {{
        "environment": dict(os.environ),
        "log handlers": [repr(logging.root.handlers), logging.root.level],
        "signals": [str(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)],
        "folder": os.getcwd(),
    }}
before, changed = state(), []
for module in {light!r}:
    importlib.import_module("catdog_ray." + module)
    after = state()
    changed += [[module, what] for what in after if after[what] != before[what]]
    before = after
print(json.dumps(changed))
"""
    assert json.loads(run_python(code)) == []


def test_the_driver_loads_no_keras_and_no_tensorflow() -> None:
    code = f"""
import importlib, json, sys
for module in {DRIVER!r}:
    importlib.import_module("catdog_ray." + module)
print(json.dumps(sorted({ON_WORKERS_ONLY!r} & set(sys.modules))))
"""
    assert json.loads(run_python(code)) == []
