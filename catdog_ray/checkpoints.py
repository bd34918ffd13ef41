"""Where the checkpoints of a study lie, which there are, and their end."""

from __future__ import annotations

import logging
from pathlib import Path

from catdog_ray.errors import UserError, first_line
from catdog_ray.ledger import StudyDirectory
from catdog_ray.settings import ClusterSettings

TRIALS = "trials"
"""What Ray calls the folder of a study's trials."""

_log = logging.getLogger(__name__)


def place(settings: ClusterSettings, study: StudyDirectory) -> str:
    """Where Ray keeps checkpoints: `cluster.storage_path`/<study>-<its id>, or inside the study.

    A shared place may hold studies of the same name, of other people or of another day.
    """
    if settings.storage_path is None:
        return str((study.path / "ray").resolve())
    if "://" not in settings.storage_path:
        return str((Path(settings.storage_path).expanduser() / study.shared_name).resolve())
    return f"{settings.storage_path.rstrip('/')}/{study.shared_name}"


def of_trial(storage_path: str, trial_name: str) -> list[str]:
    """The checkpoints of one trial that earlier sessions left. Their numbers do not tell which is the newest.

    Ray counts from zero in each session; how far one had come stands inside.
    """
    import pyarrow.fs

    uri = f"{storage_path}/{TRIALS}/{trial_name}"
    try:
        filesystem, path = pyarrow.fs.FileSystem.from_uri(uri)
        selector = pyarrow.fs.FileSelector(path, allow_not_found=True)
        found = [info.base_name for info in filesystem.get_file_info(selector)]
    except (OSError, ValueError) as error:
        raise UserError(f"cluster.storage_path: {uri} cannot be listed ({first_line(error)})") from error
    return [f"{uri}/{name}" for name in sorted(found, reverse=True) if name.startswith("checkpoint_")]


def remove(storage_path: str) -> None:
    """Delete what `run_trials` left at a study's place. What cannot be deleted stays, with a warning."""
    import pyarrow.fs

    try:
        filesystem, path = pyarrow.fs.FileSystem.from_uri(f"{storage_path}/{TRIALS}")
        filesystem.delete_dir(path)
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        _log.warning("the checkpoints at %s are not needed any more and cannot be deleted (%s)", storage_path, error)
