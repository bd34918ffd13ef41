"""The frame of every command: flags that several share, exit codes, signals.

Nothing heavy is imported, so that `--help` and every error in the flags answer at once.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

from catdog_ray import config as configuration
from catdog_ray.errors import ConfigError, RunFailed, UserError, printable
from catdog_ray.settings import METHODS

_LONGEST_LINE = 1500

DONE, FAILED, USER_ERROR, INTERRUPTED = 0, 1, 2, 130
EPILOG = "exit codes: 0 done, 1 failed, 2 something to change (one line on stderr), 130 interrupted"

_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.EACCES, errno.EROFS, errno.ENAMETOOLONG)
"""Errors of files that are the machine's answer to what was asked, not a slip of ours: a full disk, a refusal."""


class Interrupted(Exception):
    """Ctrl-C or SIGTERM; its text says how to go on (exit code 130)."""


class Parser(argparse.ArgumentParser):
    """argparse whose errors are one line like all others."""

    def error(self, message: str) -> NoReturn:
        """A flag that cannot be used."""
        raise ConfigError(f"{message} (--help lists the flags)")


def run(main: Callable[[Sequence[str]], None], arguments: Sequence[str] | None = None) -> NoReturn:
    """Call `main` with the command line and exit with the project's codes."""
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as of what a script starts with `&`
        signal.signal(signal.SIGINT, _interrupt)
    try:
        try:
            main(sys.argv[1:] if arguments is None else arguments)
        finally:
            if sys.stdout is not None:  # as with `>&-`
                sys.stdout.flush()
        code = DONE
    except UserError as error:
        code = _say(f"error: {error}", USER_ERROR)
    except RunFailed as error:
        code = _say(f"failed: {error}", FAILED)
    except Interrupted as error:
        code = _say(f"interrupted: {error}", INTERRUPTED)
    except MemoryError:
        code = _say("failed: there is not enough memory; take fewer or smaller pictures, or a smaller network", FAILED)
    except KeyboardInterrupt:
        code = _say("interrupted", INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output went away (`... | head`).
        _drop_output()
        code = DONE
    except Exception as error:
        if (found := _of_a_file(error)) is None:
            traceback.print_exc()
        code = FAILED if found is None else found
    if code == INTERRUPTED:
        # One more, while Python ends, would be told as a traceback.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(code)


def _of_a_file(error: BaseException) -> int | None:
    """Says in one line what file the machine refused, and why; None where the error is no such one."""
    if isinstance(error, OSError) and error.errno in _REFUSED and error.filename:
        where = printable(str(error.filename))
        return _say(f"error: {where}: cannot be used ({error.strerror}); name another", USER_ERROR)
    for each in _causes(error):
        if isinstance(each, OSError) and each.errno in _FULL:
            where = f"{printable(str(each.filename))}: " if each.filename else ""
            _drop_output()
            return _say(f"failed: {where}the disk is full; make room, and go on with a study by --resume", FAILED)
    return None


def _drop_output() -> None:
    """Where output cannot be written, Python would fail on it once more at its end."""
    if sys.stdout is not None:
        with contextlib.suppress(io.UnsupportedOperation):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it came of; Ray wraps what is raised while it runs."""
    seen: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in seen:
        seen.append(following)
        yield following
        following = following.__cause__ or following.__context__


def parser_of(program: str, description: str, *, epilog: str = EPILOG) -> argparse.ArgumentParser:
    """A parser for `python -m catdog_ray.<program>`, without flags yet."""
    return Parser(prog=f"python -m catdog_ray.{program}", description=description, epilog=epilog, allow_abbrev=False)


def study_parser(program: str, description: str, *, method: str | None = None) -> argparse.ArgumentParser:
    """The flags of the commands that search; one that knows a single `method` has no --search."""
    parser = parser_of(program, description)
    add = parser.add_argument
    add("--config", metavar="FILE", help="YAML file of the experiment (default: configs/quickstart.yaml)")
    add("--num-samples", type=int, metavar="N", help="number of trials in all (search.num_samples)")
    add("--data", metavar="DATA", help="zip archive, folder, URL, published name, or 'drawn' (data.source)")
    add(
        "--model",
        metavar="PACKAGE.MODULE:FUNCTION",
        help="a network of your own; its space in --config (model.builder)",
    )
    add("--name", metavar="NAME", help="name of the study, a folder under the output (default: the config's, numbered)")
    add("--output", metavar="DIR", help="where studies are written (output)")
    add("--seed", type=int, metavar="N", help="seed of search and training (seed)")
    if method is None:
        add("--search", choices=METHODS, help="how configurations are proposed (search.method)")
    else:
        parser.set_defaults(search=method)
    add(
        "--resume",
        action="store_true",
        help="go on with the study --name, or with the newest unfinished one under the output, whatever its name; "
        "with --config: with the newest that is named like it",
    )
    add(
        "--retrain",
        action=argparse.BooleanOptionalAction,
        help="retrain what was found, or with --no-retrain search only (retrain.enabled)",
    )
    add(
        "--time-budget", metavar="TIME", help="end the search after 90s, 45m or 8h; then retrain (search.time_budget_s)"
    )
    add("--address", metavar="ADDRESS", help="'local', 'auto' to join a running Ray, or host:port (cluster.address)")
    add("--set", metavar="KEY=VALUE", action="append", default=[], help="any setting, dotted; may be repeated")
    return parser


def study_overrides(flags: argparse.Namespace) -> dict[str, Any]:
    """What the flags set, by dotted name. A named flag and a --set of the same setting is an error."""
    named: dict[str, Any] = {
        "search.num_samples": flags.num_samples,
        "data.source": flags.data,
        "model.builder": flags.model,
        "name": flags.name,
        "output": flags.output,
        "seed": flags.seed,
        "search.method": flags.search,
        "cluster.address": flags.address,
        "retrain.enabled": flags.retrain,
        "search.time_budget_s": None if flags.time_budget is None else seconds_of(flags.time_budget),
    }
    overrides = {key: value for key, value in named.items() if value is not None}
    return {**overrides, **assignments(flags.set, overrides)}


def seconds_of(text: str) -> float:
    """A time such as `90s`, `45m`, `1.5h` in seconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text.strip(), re.ASCII)
    if match is None:
        raise ConfigError(f"--time-budget must be a number with s, m or h, such as 90s, 45m or 8h, got {text!r}")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]


def assignments(texts: Sequence[str], taken: Mapping[str, Any]) -> dict[str, Any]:
    """`--set` texts by dotted name; ConfigError where a setting is given twice."""
    found: dict[str, Any] = {}
    for text in texts:
        key, value = configuration.parse_assignment(text)
        if key in found or key in taken:
            raise ConfigError(f"--set {key}: given twice")
        found[key] = value
    return found


def shortened(text: str) -> str:
    """A text that a flag or a file made long, with its middle left out."""
    half = _LONGEST_LINE // 2
    return text if len(text) <= _LONGEST_LINE else f"{text[:half]} ... {text[-half:]}"


def _say(text: str, code: int) -> int:
    print(shortened(text), file=sys.stderr)
    return code


def _interrupt(*_: object) -> None:
    """Raises KeyboardInterrupt, but not into what an earlier one is finishing up."""
    handled = sys.exc_info()[1]
    if handled is None or not any(isinstance(each, KeyboardInterrupt) for each in _causes(handled)):
        raise KeyboardInterrupt
