"""Which study is meant: a new one under a free name, or one that goes on."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
from make_rows import quickstart, write_study

from catdog_ray import choice, command, retrain, tune
from catdog_ray import config as configuration
from catdog_ray.errors import ConfigError, UserError
from catdog_ray.ledger import MACHINE_SETTINGS, StudyDirectory
from catdog_ray.records import RecordError
from catdog_ray.settings import STOCK


def parsed(*arguments: str) -> argparse.Namespace:
    return command.study_parser("tune", "Search.").parse_args(arguments)


def begun(output: Path, name: str = "quickstart", **facts: Any) -> Path:
    """A study that was cut off."""
    return write_study(output / name, quickstart(name=name), **{"state": "interrupted", **facts})


def test_new_studies_are_numbered(tmp_path: Path) -> None:
    for expected in ("quickstart", "quickstart-2", "quickstart-3"):
        config, folder = choice.choose_study(parsed("--output", str(tmp_path)))
        assert folder == tmp_path / expected
        shipped = configuration.load(overrides={"name": expected, "output": str(tmp_path)})
        assert config == shipped
        assert not folder.exists()
        folder.mkdir()
    (tmp_path / "quickstart-2").rmdir()
    assert choice.choose_study(parsed("--output", str(tmp_path)))[1] == tmp_path / "quickstart-2"


def test_the_number_stands_behind_the_name_of_the_config(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    config, folder = choice.choose_study(parsed("--config", "cpu.yaml", "--output", str(tmp_path)))
    assert (folder, config.name, config.data.image_size) == (tmp_path / "cpu-2", "cpu-2", 64)


def test_a_name_of_ones_own_is_not_numbered(tmp_path: Path) -> None:
    arguments = ["--output", str(tmp_path), "--name", "mine", "--num-samples", "3"]
    config, folder = choice.choose_study(parsed(*arguments))
    assert (folder, config.name, config.search.num_samples) == (tmp_path / "mine", "mine", 3)
    folder.mkdir()  # a folder without study.json is no study
    assert choice.choose_study(parsed(*arguments))[1] == folder


def test_resume_takes_the_newest_unfinished_study(tmp_path: Path) -> None:
    begun(tmp_path, "quickstart", started_utc="2026-11-01T12:00:00+00:00")
    shipped = configuration.load(overrides={"name": "quickstart-2"})
    write_study(tmp_path / "quickstart-2", shipped, state="running", started_utc="2026-11-03T12:00:00+00:00")
    begun(tmp_path, "quickstart-3", started_utc="2026-11-02T12:00:00+00:00", state="failed")
    begun(tmp_path, "quickstart-4", started_utc="2026-11-06T12:00:00+00:00", state="finished")
    begun(tmp_path, "other", started_utc="2026-11-05T12:00:00+00:00")
    begun(tmp_path, "quickstart-more", started_utc="2026-11-04T12:00:00+00:00")
    resume = ["--output", str(tmp_path), "--resume"]
    config, folder = choice.choose_study(parsed(*resume))
    assert (folder, config.name) == (tmp_path / "other", "other")
    config, folder = choice.choose_study(parsed(*resume, "--name", "quickstart-3"))
    assert (folder, config.name) == (tmp_path / "quickstart-3", "quickstart-3")
    # With a config: of those that are named like it.
    config, folder = choice.choose_study(parsed(*resume, "--config", "quickstart.yaml"))
    assert (folder, config.name) == (tmp_path / "quickstart-2", "quickstart-2")
    with pytest.raises(
        ConfigError, match=r"^--resume: no unfinished study cpu\* under .*say which with --name, or whe"
    ):
        choice.choose_study(parsed(*resume, "--config", "cpu.yaml"))


def test_resume_passes_over_damaged_studies_and_such_that_run(tmp_path: Path) -> None:
    begun(tmp_path, "whole", started_utc="2026-11-01T12:00:00+00:00")
    running = begun(tmp_path, "running", started_utc="2026-11-02T12:00:00+00:00")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "study.json").write_text('{"schema_version": 0}')
    resume = parsed("--output", str(tmp_path), "--resume")
    with StudyDirectory(running):
        assert choice.choose_study(resume)[1] == tmp_path / "whole"
    assert choice.choose_study(resume)[1] == running
    for folder in ("whole", "running"):
        (tmp_path / folder / "study.json").unlink()
    with pytest.raises(ConfigError, match=r"no unfinished study under .* \(not read: .*damaged/study.json: schema_ver"):
        choice.choose_study(resume)


def test_the_newest_study_that_does_not_fit_is_refused_by_its_folder(tmp_path: Path) -> None:
    """And no older one is taken in its place."""
    begun(tmp_path, "fits", started_utc="2026-11-01T12:00:00+00:00")
    folder = write_study(
        tmp_path / "odd", quickstart(name="odd", seed=3), state="running", started_utc="2026-11-02T12:00:00+00:00"
    )
    with pytest.raises(ConfigError) as caught:
        choice.choose_study(parsed("--output", str(tmp_path), "--resume", "--seed", "0"))
    assert str(caught.value) == (
        f"--resume: seed was 3 when {folder} began and is 0 now; leave it as it was, or start another study"
    )


def test_the_baseline_runs_its_one_method_and_tune_does_not(tmp_path: Path) -> None:
    parser = command.study_parser("baseline", "Search.", method=STOCK)
    config, folder = choice.choose_study(parser.parse_args(["--output", str(tmp_path)]))
    assert config.search.method == STOCK
    with pytest.raises(ConfigError, match="--search"):
        parser.parse_args(["--search", "tpe"])
    with pytest.raises(ConfigError, match=r"search.method: keras-tuner-stock is what .*catdog_ray.baseline runs"):
        choice.choose_study(parsed("--output", str(tmp_path), "--set", f"search.method={STOCK}"))
    write_study(folder, config, state="interrupted")
    with pytest.raises(ConfigError) as caught:
        choice.choose_study(parsed("--output", str(tmp_path), "--resume"))
    assert str(caught.value) == (
        f"--resume: {folder}, the newest unfinished study, is one of python -m catdog_ray.baseline; "
        "go on with it by that command, or say which is meant with --name"
    )
    with pytest.raises(ConfigError, match=r"keras-tuner-stock is what .*catdog_ray.baseline runs"):
        choice.choose_study(parsed("--output", str(tmp_path), "--resume", "--name", "quickstart"))
    assert choice.choose_study(parser.parse_args(["--output", str(tmp_path), "--resume"]))[1] == folder
    newer = begun(tmp_path, "mine", started_utc="2999-01-01T00:00:00+00:00")
    with pytest.raises(ConfigError, match=rf"^--resume: {newer}, the newest .* is one of python -m catdog_ray\.tune; "):
        choice.choose_study(parser.parse_args(["--output", str(tmp_path), "--resume"]))


def test_resume_goes_on_with_the_studys_own_settings(tmp_path: Path) -> None:
    own = quickstart(name="mine", search__max_epochs=5, seed=3)
    folder = write_study(tmp_path / "mine", own, state="interrupted")
    machine = {
        "output": str(tmp_path),
        "data.source": "/somewhere/pets.zip",
        "data.cache_dir": "/somewhere/cache",
        "cluster.address": "auto",
        "cluster.storage_path": "/shared",
    }
    assert set(machine) == set(MACHINE_SETTINGS)
    StudyDirectory(folder).write_machine_settings(machine)
    config, found = choice.choose_study(parsed("--output", str(tmp_path), "--resume", "--name", "mine"))
    assert found == folder
    assert configuration.differences(own, config) == {
        name: (configuration.setting(own, name), value) for name, value in machine.items()
    }
    assert choice.saved_config(folder) == config


def test_what_may_change_when_a_study_goes_on(tmp_path: Path) -> None:
    begun(tmp_path)
    config, _ = choice.choose_study(
        parsed(
            *("--output", str(tmp_path), "--resume", "--num-samples", "20", "--data", "pets.zip", "--address", "auto"),
            *("--no-retrain", "--set", "retrain.milestones=[5]", "--set", "cluster.max_failures=3"),
        )
    )
    assert (config.search.num_samples, config.data.source, config.cluster.address) == (20, "pets.zip", "auto")
    assert (config.retrain.enabled, config.retrain.milestones, config.cluster.max_failures) == (False, (5,), 3)


@pytest.mark.parametrize(
    ("assignment", "setting"),
    [
        ("seed=1", "seed"),
        ("label=other", "label"),
        ("data.image_size=16", "data.image_size"),
        ("data.split_seed=1", "data.split_seed"),
        ("data.drawn_train=100", "data.drawn_train"),
        ("augment.zoom_range=0.4", "augment.zoom_range"),
        ("train.batch_size=16", "train.batch_size"),
        ("search.method=random", "search.method"),
        ("search.scoring_window=2", "search.scoring_window"),
        ("space.dropout_rate.high=0.55", "space.dropout_rate.high"),
        ("baseline.conv_filters=16", "baseline.conv_filters"),
    ],
)
def test_what_may_not_change_when_a_study_goes_on(assignment: str, setting: str, tmp_path: Path) -> None:
    begun(tmp_path)
    with pytest.raises(ConfigError) as caught:
        choice.choose_study(parsed("--output", str(tmp_path), "--resume", "--set", assignment))
    assert str(caught.value).startswith(f"--resume: {setting} was ")


def test_commands_refuse_before_they_load_anything(tmp_path: Path) -> None:
    """The same in this process: `main` raises what `run` turns into a line."""
    with pytest.raises(ConfigError, match=r"^--resume: no unfinished study under "):
        tune.main(["--output", str(tmp_path), "--resume"])
    with pytest.raises(RecordError, match=r"no study here \(study\.json is missing\)$"):
        retrain.main([str(tmp_path / "none")])


def test_a_study_of_an_own_network_named_by_a_flag_is_looked_for_with_it(tmp_path: Path) -> None:
    """Its space is not the built-in network's."""
    own = tmp_path / "own.yaml"
    own.write_text("extends: quickstart.yaml\nspace: {width: {choices: [8, 16]}}\nbaseline: {width: 8}\n")
    flags = parsed("--config", str(own), "--model", "net:build", "--output", str(tmp_path), "--resume")
    with pytest.raises(UserError, match="no unfinished study"):
        choice.choose_study(flags)
