"""Signals and child processes around a Ray of our own: it starts whole or not at all, and nothing of it outlives us."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

import psutil

_INTERRUPTIONS = (signal.SIGINT, signal.SIGTERM)
_PR_SET_CHILD_SUBREAPER = 36
_PATIENCE_S = 3.0

Result = TypeVar("Result")


def uninterrupted(start: Callable[[], Result], *, on: Executor) -> Result:
    """Call `start` on another thread; a SIGINT or SIGTERM meanwhile raises KeyboardInterrupt at its end.

    An exception in the middle of starting Ray leaves processes that nobody knows of, or is lost in a destructor; and
    Ray replaces the handler of SIGTERM, from Python only in the main thread, from C++ in any.
    The thread has to live as long as what it starts: on Linux Ray's processes are killed when it ends.
    """
    interrupted = threading.Event()
    with handling(_INTERRUPTIONS, lambda *_: interrupted.set()) as claim:
        outcome = on.submit(start)
        while not outcome.done():
            time.sleep(0.02)
            claim()
    if interrupted.is_set():
        # Ray's C++ handler, if the signal met it between two claims, passes it on and sets an alarm that aborts.
        signal.alarm(0)
        # Also where the start failed: nobody waits for what it says any more.
        raise KeyboardInterrupt from outcome.exception()
    return outcome.result()


@contextmanager
def told(tell: Callable[[], None]) -> Iterator[None]:
    """Call `tell` on a thread of its own as soon as a SIGINT or SIGTERM arrives inside that Python handles.

    The handler itself has to wait for the main thread, which Ray may keep in C++ for a second, and must not print, for
    it may have come into the middle of a print. Only the main thread may: elsewhere this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    listener = threading.Thread(target=_listen, args=(reading, tell), name="interruptions", daemon=True)
    listener.start()
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(writing)
        listener.join()
        os.close(reading)


def _listen(reading: int, tell: Callable[[], None]) -> None:
    while numbers := os.read(reading, 1):
        if numbers[0] in _INTERRUPTIONS:
            # What cannot be told, as on a full disk, must not end the thread with a traceback.
            with contextlib.suppress(OSError):
                tell()


@contextmanager
def handling(numbers: tuple[signal.Signals, ...], handler: Any) -> Iterator[Callable[[], None]]:
    """Handle signals so inside, as before outside; yields a function that claims them again from another library.

    Only the main thread may: elsewhere this does nothing.
    """
    is_main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in numbers} if is_main else {}

    def claim() -> None:
        for number in before:
            signal.signal(number, handler)

    claim()
    try:
        yield claim
    finally:
        for number, earlier in before.items():
            signal.signal(number, signal.SIG_DFL if earlier is None else earlier)


@contextmanager
def none_left() -> Iterator[None]:
    """End what was started inside and has not ended by itself a few seconds after; a second Ctrl-C does not cut that.

    On Linux this process becomes the parent of orphans meanwhile, so that none is lost whose own parent ended first.
    """
    earlier = set(psutil.Process().children(recursive=True))
    _adopt_orphans(True)
    try:
        yield
    finally:
        with handling(_INTERRUPTIONS, signal.SIG_IGN):
            _end(earlier)
        _adopt_orphans(False)


def _end(spared: set[psutil.Process]) -> None:
    known: set[psutil.Process] = set()
    begun = time.monotonic()
    while time.monotonic() - begun < 2 * _PATIENCE_S:
        known |= set(psutil.Process().children(recursive=True)) - spared
        _, alive = psutil.wait_procs(known, timeout=0.1)
        if not alive:
            return
        if time.monotonic() - begun > _PATIENCE_S:
            for process in alive:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()


def _adopt_orphans(wanted: bool) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, int(wanted), 0, 0, 0)


class Lost(Exception):
    """A process ended before the function that it was handed returned: killed, or out of memory."""


def call_apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns in a process of its own: what it imports is not loaded here, what it says is not seen.

    Raises Lost where that process ends early.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=_be_silent) as pool:
        try:
            return pool.submit(function, *arguments).result()
        except BrokenProcessPool as error:
            raise Lost(type(error).__name__) from error


def _be_silent() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
