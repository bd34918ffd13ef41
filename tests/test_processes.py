"""Signals and child processes: deferred interruptions, orphans, processes that do not want to end."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from catdog_ray import processes

ORPHAN = """
import subprocess, sys
stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
child = subprocess.Popen([sys.executable, "-c", stubborn], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(child.pid)
"""


def test_a_process_that_ends_before_its_function_returns_is_told():
    with pytest.raises(processes.Lost, match=r"^BrokenProcessPool$"):
        processes.call_apart(os._exit, 3)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_for_the_end_of_what_it_met(number):
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    ended = threading.Event()

    def start() -> None:
        os.kill(os.getpid(), number)
        time.sleep(0.3)
        ended.set()

    with ThreadPoolExecutor(1) as thread, pytest.raises(KeyboardInterrupt):
        processes.uninterrupted(start, on=thread)
    assert ended.is_set()
    assert {each: signal.getsignal(each) for each in before} == before


def test_handlers_are_claimed_again_from_another_library():
    seen = []
    with processes.handling((signal.SIGTERM,), lambda *_: seen.append("ours")) as claim:
        signal.signal(signal.SIGTERM, lambda *_: seen.append("theirs"))
        claim()
        os.kill(os.getpid(), signal.SIGTERM)
    assert seen == ["ours"]


def test_what_fails_while_it_starts_fails_here():
    with ThreadPoolExecutor(1) as thread, pytest.raises(ValueError, match="no port"):
        processes.uninterrupted(lambda: (_ for _ in ()).throw(ValueError("no port")), on=thread)


def test_an_interruption_counts_where_what_it_met_failed_too():
    """Nobody waits for what a start says that was to end anyway."""

    def start() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)
        raise ValueError("no port")

    with ThreadPoolExecutor(1) as thread, pytest.raises(KeyboardInterrupt) as caught:
        processes.uninterrupted(start, on=thread)
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_signal_is_told_while_the_main_thread_cannot_handle_it():
    """As while Ray waits in C++: here while C waits for a command and goes on waiting after a signal."""
    handled, told = [], []
    with (
        processes.handling((signal.SIGTERM, signal.SIGUSR1), lambda *_: handled.append(time.monotonic())),
        processes.told(lambda: told.append(time.monotonic())),
    ):
        ctypes.CDLL(None).system(b"sleep 0.2; kill -TERM $PPID; sleep 0.5")
        os.kill(os.getpid(), signal.SIGUSR1)  # no interruption
    assert len(told) == 1
    assert len(handled) == 2
    assert told[0] + 0.2 < handled[0]
    assert signal.set_wakeup_fd(-1) == -1
    assert "interruptions" not in [thread.name for thread in threading.enumerate()]


def test_outside_the_main_thread_signals_are_left_alone():
    with ThreadPoolExecutor(1) as outer, ThreadPoolExecutor(1) as inner:
        assert outer.submit(processes.uninterrupted, lambda: 3, on=inner).result() == 3


@pytest.mark.slow
def test_an_orphan_that_ignores_its_end_is_ended():
    with processes.none_left():
        parent = subprocess.run([sys.executable, "-c", ORPHAN], capture_output=True, text=True, check=True)
        orphan = psutil.Process(int(parent.stdout))
        assert orphan.is_running()
    assert not psutil.pid_exists(orphan.pid)


def test_a_child_from_before_is_spared():
    earlier = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        with processes.none_left():
            pass
        assert earlier.poll() is None
    finally:
        earlier.kill()
        earlier.wait()
