"""Environment variables that Ray, Tune and TensorFlow read once, when they are first imported.

Call `prepare` before anything imports Ray: its C++ core reads the authentication mode at that moment.
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

from catdog_ray.settings import ClusterSettings

DRIVER = {
    # Ctrl-C must reach us as KeyboardInterrupt: Tune's own handler returns as if the search had finished.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # The rows are the record; Tune's CSV, JSON and TensorBoard copies are not needed.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Tune's snapshot is not what a study is resumed from, so it need not be written often.
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "TUNE_WARN_SLOW_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "600",
}

JOINING = {
    # Seconds that a refused token is tried again before Ray says so. To a Ray of our own it would be the most that its
    # server may take to start, which is more on a busy machine.
    "RAY_gcs_server_port_wait_time_s": "3",
}

WORKER = {
    # A re-used worker must wait for the last trial's thread; Ray's 2 seconds can lose a trial for good.
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "60",
    # A trial that asks for no GPU sees none.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}


def prepare(settings: ClusterSettings) -> None:
    """Set what is not set yet; a local Ray gets token authentication, with a private token if there is none.

    Raises RuntimeError if Ray is already imported without it.
    """
    local = settings.address == "local"
    for name, value in {**DRIVER, **WORKER, **({} if local else JOINING)}.items():
        os.environ.setdefault(name, value)
    has_token = bool({"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & set(os.environ)) or _has_token_file()
    # A driver with a token also joins a Ray without one, but not the other way round.
    if os.environ.get("RAY_AUTH_MODE") == "token" or not (local or has_token):
        return
    if "ray" in sys.modules:
        raise RuntimeError("environment.prepare must run before Ray is imported, or Ray starts without its token")
    os.environ["RAY_AUTH_MODE"] = "token"
    if not has_token:
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def _has_token_file() -> bool:
    try:
        return (Path.home() / ".ray" / "auth_token").is_file()
    except (OSError, RuntimeError):
        return False
