"""What a study would cost: epochs by arithmetic that a person can repeat, hours and node hours from them."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
from make_rows import trial_epoch_row
from small import quick_config

from catdog_ray import estimate
from catdog_ray.errors import ConfigError
from catdog_ray.ledger import StudyDirectory, portable


@pytest.mark.parametrize(
    ("trials", "longest", "grace", "factor", "epochs"),
    [
        # 9 to epoch 3, 3 of them to 9, 1 of them to 27.
        (9, 27, 3, 3, (9 * 3 + 3 * 6 + 1 * 18, 9 * 27)),
        (64, 27, 1, 3, (192, 64 * 27)),
        # Grace is the whole budget: nothing can be stopped.
        (5, 10, 10, 2, (50, 50)),
        # The last stretch is shorter than a rung; at least one trial goes to the end.
        (2, 10, 4, 2, (2 * 4 + 1 * 4 + 1 * 2, 20)),
        (1, 27, 3, 3, (27, 27)),
    ],
)
def test_epochs_of_a_search(trials: int, longest: int, grace: int, factor: int, epochs: tuple[int, int]) -> None:
    settings = dataclasses.replace(
        quick_config().search, num_samples=trials, max_epochs=longest, grace_epochs=grace, reduction_factor=factor
    )
    assert estimate.search_epochs(settings) == epochs


CLUSTER = {
    "cluster.address": "auto",
    "cluster.max_concurrent": 8,
    "cluster.gpus_per_trial": 0.5,
    "search.num_samples": 64,
    "search.max_epochs": 27,
    "search.reduction_factor": 3,
    "retrain.milestones": [125, 200],
    "retrain.seeds": 5,
}


def test_hours_and_node_hours() -> None:
    found = estimate.stages(quick_config(**CLUSTER), 36.0, trials_per_node=None)
    search, retraining = found["search"], found["retraining"]
    assert search.epochs == (192, 1728)
    assert search.hours == pytest.approx((192 * 36 / 8 / 3600, 1728 * 36 / 8 / 3600))
    assert search.nodes == 4  # two half GPUs a node
    assert search.node_hours[1] == pytest.approx(4 * search.hours[1])
    # Best and baseline with five seeds each: ten runs, in two turns of eight, on a fifth more images.
    assert retraining.epochs == (2000, 2000)
    assert retraining.hours[0] == pytest.approx(2 * 200 * 36 / 0.8 / 3600)
    assert estimate.stages(quick_config(**CLUSTER), 36.0, trials_per_node=8)["search"].nodes == 1
    few = quick_config(**{**CLUSTER, "search.num_samples": 3})
    assert estimate.stages(few, 36.0, trials_per_node=None)["search"].nodes == 2


def test_more_retraining_runs_than_trials_use_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    config = quick_config(**{"search.num_samples": 1, "retrain.seeds": 10, "retrain.configurations": ["best"]})
    found = estimate.stages(config, 36.0, trials_per_node=None)["retraining"]
    assert found.hours[0] == pytest.approx(10 / 2 * 3 * 36 / 0.8 / 3600)


def test_a_time_budget_bounds_the_search_and_not_the_retraining() -> None:
    free = estimate.stages(quick_config(**CLUSTER), 36.0, trials_per_node=None)
    bound = estimate.stages(quick_config(**CLUSTER, **{"search.time_budget_s": 1800}), 36.0, trials_per_node=None)
    assert bound["search"].epochs == (192, 50 * 8)
    assert bound["search"].hours == pytest.approx((free["search"].hours[0], 0.5))
    assert bound["retraining"] == free["retraining"]
    short = estimate.stages(quick_config(**CLUSTER, **{"search.time_budget_s": 1e-9}), 36.0, trials_per_node=None)
    assert short["search"].epochs == (0, 0)
    long = estimate.stages(quick_config(**CLUSTER, **{"search.time_budget_s": 1e300}), 1e-300, trials_per_node=None)
    assert long["search"].epochs == free["search"].epochs


def test_a_cluster_of_unknown_size_is_asked_for() -> None:
    with pytest.raises(ConfigError, match=r"--set cluster\.max_concurrent=N"):
        estimate.share(quick_config(**{"cluster.address": "auto"}), 1)


def _study(folder: Path, config: object, seconds: list[float], **facts: object) -> None:
    folder.mkdir(parents=True)
    study = StudyDirectory(folder)
    study.write_study({"schema_version": 1, "config": portable(config.as_dict()), **facts})  # type: ignore[attr-defined]
    study.epochs.append(*(trial_epoch_row(0, number, seconds=value) for number, value in enumerate(seconds, start=1)))


def test_the_time_of_an_epoch_is_that_of_studies_alike(tmp_path: Path) -> None:
    config = quick_config()
    _study(tmp_path / "first", config, [9.0, 2.0, 3.0])
    _study(tmp_path / "second", quick_config(search__num_samples=50), [4.0, 5.0])
    _study(tmp_path / "larger", quick_config(**{"data.image_size": 32}), [100.0])
    _study(tmp_path / "whole-gpu", quick_config(**{"cluster.gpus_per_trial": 1}), [100.0])
    # The only trial of a study has all cores; of more, each has one.
    config = dataclasses.replace(config, cluster=dataclasses.replace(config.cluster, max_concurrent=2))
    share = estimate.share(config, config.search.num_samples).__dict__
    _study(tmp_path / "alike", config, [4.0], share=share)
    _study(tmp_path / "alone", config, [100.0], share={**share, "cpus": share["cpus"] + 1})
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "study.json").write_text("{")
    found = estimate.measured(tmp_path, config)
    assert found == estimate.EpochTime(4.0, "median of 6 epochs of alike, first, second")
    assert estimate.measured(tmp_path / "first", config) is None


def test_a_batch_size_in_the_space_takes_the_settings_place(tmp_path: Path) -> None:
    own = {"space.batch_size": {"choices": [16, 32]}, "baseline.batch_size": 32}
    _study(tmp_path / "alike", quick_config(**own, **{"train.batch_size": 64}), [4.0])
    _study(tmp_path / "without", quick_config(), [100.0])
    found = estimate.measured(tmp_path, quick_config(**own))
    assert found == estimate.EpochTime(4.0, "median of 1 epochs of alike")
    assert estimate.measured(tmp_path, quick_config(**{"train.batch_size": 64})) is None


def test_the_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    estimate.show(quick_config(**CLUSTER), tmp_path, epoch_s=36, trials_per_node=None)
    assert capsys.readouterr().out.splitlines()[:5] == [
        "quickstart: 64 trials, 8 at once on 4 node(s)",
        "one epoch: 36 s (given)",
        "search: 192 to 1,728 epochs, 0.24 to 2.16 h, 0.96 to 8.64 node hours",
        "retraining: 2,000 epochs, 5 h, 20 node hours",
        "in all: 5.24 to 7.16 h, 21 to 29 node hours",
    ]
    estimate.show(quick_config(**CLUSTER), tmp_path, epoch_s=0.9, trials_per_node=None)
    assert capsys.readouterr().out.splitlines()[2:5] == [
        "search: 192 to 1,728 epochs, less than 0.01 to 0.05 h, 0.02 to 0.22 node hours",
        "retraining: 2,000 epochs, 0.12 h, 0.5 node hours",
        "in all: 0.13 to 0.18 h, 0.52 to 0.72 node hours",
    ]
    with pytest.raises(ConfigError, match=r"say it with --epoch-seconds"):
        estimate.show(quick_config(), tmp_path, epoch_s=None, trials_per_node=None)
    for epoch_s, trials_per_node in ((0.0, None), (math.nan, None), (math.inf, None), (1.0, -1)):
        with pytest.raises(ConfigError, match="must be a finite number above 0"):
            estimate.show(quick_config(), tmp_path, epoch_s=epoch_s, trials_per_node=trials_per_node)


def test_an_estimate_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from catdog_ray import tune

    tune.main(["--estimate", "--epoch-seconds", "1", "--output", str(tmp_path / "results"), "--time-budget", "1.5h"])
    assert "search:" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
