"""What is said of code and libraries."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from catdog_ray import provenance

ROOT = Path(__file__).parent.parent


def test_versions_are_those_installed():
    import ray

    found = provenance.versions()
    assert found["ray"] == ray.__version__
    assert re.fullmatch(r"3\.\d+\.\d+", found["python"])


def test_the_commit_is_of_this_checkout():
    found = provenance.commit()
    assert found is None or re.fullmatch(r"[0-9a-f]{40}(\+changes)?", found)


def test_what_git_archive_made_knows_its_commit(tmp_path: Path):
    if not (ROOT / ".git").exists():
        pytest.skip("no checkout")

    def git(*arguments: str) -> bytes:
        return subprocess.run(["git", "-C", str(ROOT), *arguments], check=True, capture_output=True).stdout

    with tarfile.open(fileobj=io.BytesIO(git("archive", "HEAD", "catdog_ray", ".gitattributes"))) as archive:
        archive.extractall(tmp_path, filter="data")
    program = "from catdog_ray import provenance; print(provenance.commit(), provenance.__file__)"
    said = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert said.stdout.split() == [git("rev-parse", "HEAD").decode().strip(), f"{tmp_path}/catdog_ray/provenance.py"]
    # What is no archive of git's, such as a wheel, does not know.
    (tmp_path / "catdog_ray" / "archived_commit.txt").write_text("$Format:%H$\n")
    said = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert said.stdout.split()[0] == "None"


@pytest.mark.parametrize(
    ("variable", "file", "expected"),
    [
        (None, None, "tensorflow"),
        (None, '{"backend": "jax"}', "jax"),
        ("torch", '{"backend": "jax"}', "torch"),
        (None, "damaged", "tensorflow"),
    ],
)
def test_the_backend_is_found_as_keras_finds_it(
    variable: str | None, file: str | None, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    if variable is not None:
        monkeypatch.setenv("KERAS_BACKEND", variable)
    if file is not None:
        (tmp_path / "keras.json").write_text(file)
    assert provenance.keras_backend() == expected
