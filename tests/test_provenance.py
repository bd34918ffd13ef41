"""What is said of code and libraries."""

from __future__ import annotations

import re

from catdog_ray import provenance


def test_versions_are_those_installed():
    import ray

    found = provenance.versions()
    assert found["ray"] == ray.__version__
    assert re.fullmatch(r"3\.\d+\.\d+", found["python"])


def test_the_commit_is_of_this_checkout():
    found = provenance.commit()
    assert found is None or re.fullmatch(r"[0-9a-f]{40}(\+changes)?", found)
