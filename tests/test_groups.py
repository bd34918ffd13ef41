"""What may stand side by side, what is one method, and the words for what may not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from make_studies import write_invented

from catdog_ray import audit, groups
from catdog_ray.groups import ComparisonError


def invented(folder: Path, **changes: Any) -> audit.Evidence:
    return audit.read(write_invented(folder, milestones=(), trials=3, max_epochs=3, **changes))


def test_seeds_of_one_method_are_one_group(tmp_path: Path) -> None:
    studies = [
        invented(tmp_path / f"{method}-{seed}", method=method, seed=seed)
        for seed in (2, 0, 10)
        for method in ("keras-tuner-stock", "random", "tpe", "something-new")
    ]
    found = groups.group(studies)
    assert [item.name for item in found] == ["TPE", "random search", "Keras Tuner, stock", "something-new"]
    assert all(item.seeds == (0, 2, 10) for item in found)


def test_one_method_with_two_configurations_is_two_groups_named_by_what_differs(tmp_path: Path) -> None:
    studies = [
        invented(tmp_path / f"grace-{grace}", seed=4 - grace, overrides={"search__grace_epochs": grace})
        for grace in (1, 3)
    ]
    assert [item.name for item in groups.group(studies)] == ["TPE, grace_epochs 1", "TPE, grace_epochs 3"]
    other = invented(tmp_path / "other", seed=1, overrides={"search__grace_epochs": 3, "search__reduction_factor": 2})
    assert [item.name for item in groups.group([*studies, other])] == [
        "TPE, grace_epochs 1, reduction_factor 3",
        "TPE, grace_epochs 3, reduction_factor 2",
        "TPE, grace_epochs 3, reduction_factor 3",
    ]


@pytest.mark.parametrize(
    ("overrides", "facts", "field"),
    [
        ({"data__split_seed": 3}, {}, r"data\.split_seed is 0 and 3"),
        ({"space__conv_filters": {"choices": [16, 24, 32, 48]}}, {}, r"space\.conv_filters is .* and .*48"),
        ({"search__start_from": []}, {}, r"search\.start_from is \['baseline'\] and \[\]"),
        ({"augment__zoom_range": 0.2}, {}, r"augment\.zoom_range is 0\.5 and 0\.2"),
        ({"train__batch_size": 16}, {}, r"train\.batch_size is 32 and 16"),
        ({"data__drawn_seed": 9}, {}, r"data\.drawn_seed is 0 and 9"),
        ({"search__time_budget_s": 60.0}, {}, r"search\.time_budget_s is None and 60\.0"),
    ],
)  # fmt: skip
def test_what_differs_is_never_pooled(overrides: Any, facts: Any, field: str, tmp_path: Path) -> None:
    first = invented(tmp_path / "first")
    second = invented(tmp_path / "second", seed=1, overrides=overrides, facts=facts)
    with pytest.raises(ComparisonError, match=rf"first and .*second cannot be compared: .*{field}"):
        groups.group([first, second])


def test_four_fields_that_differ_are_named_and_the_others_counted(tmp_path: Path) -> None:
    changed = {
        "data__split_seed": 3,
        "augment__zoom_range": 0.2,
        "augment__rotation_range": 10,
        "train__batch_size": 16,
    }
    for more, end in (({}, "train.batch_size is 32 and 16"), ({"data__drawn_seed": 9, "train__ema_momentum": 0.9},
                      "data.split_seed is 0 and 3; and 2 more")):  # fmt: skip
        pair = [invented(tmp_path / f"{len(more)}-0"), invented(tmp_path / f"{len(more)}-1", seed=1,
                overrides={**changed, **more})]  # fmt: skip
        with pytest.raises(ComparisonError, match=rf"{end.replace('.', '[.]')}$"):
            groups.group(pair)


def test_addresses_of_published_sets_do_not_tell_data_apart(tmp_path: Path) -> None:
    """The fingerprint does; the list of addresses is longer from release to release."""
    archive = {"url": "https://mirror/x.zip", "bytes": None, "sha256": None}
    studies = [
        invented(tmp_path / "first"),
        invented(tmp_path / "second", seed=1, overrides={"data__published": {"pets": archive}}),
    ]
    assert [item.seeds for item in groups.group(studies)] == [(0, 1)]


def test_another_budget_is_refused(tmp_path: Path) -> None:
    first = invented(tmp_path / "first")
    second = audit.read(write_invented(tmp_path / "second", milestones=(), trials=4, max_epochs=4, seed=1))
    with pytest.raises(ComparisonError, match=r"search\.max_epochs is 3 and 4; search\.num_samples is 3 and 4"):
        groups.group([first, second])


def test_methods_may_differ_in_their_number_of_trials_and_one_method_may_not(tmp_path: Path) -> None:
    """Without early stopping there are fewer trials at equal epochs."""
    first = invented(tmp_path / "first")
    other = audit.read(write_invented(tmp_path / "other", method="random", milestones=(), trials=4, max_epochs=3))
    assert [item.name for item in groups.group([first, other])] == ["TPE", "random search"]
    again = audit.read(write_invented(tmp_path / "again", milestones=(), trials=4, max_epochs=3, seed=1))
    with pytest.raises(ComparisonError, match=r"search\.num_samples is 3 and 4"):
        groups.group([first, other, again])


def test_other_data_is_refused_across_methods_too(tmp_path: Path) -> None:
    first = invented(tmp_path / "first")
    data = {**first.facts["data"], "fingerprint": "e" * 64}
    second = invented(tmp_path / "second", method="random", facts={"data": data})
    with pytest.raises(ComparisonError, match=r"data\.fingerprint is 'e+' and 'f+'"):
        groups.group([first, second])
    named = replace(second, facts={**second.facts, "data": {**first.facts["data"], "name": "pets.zip"}})
    with pytest.raises(ComparisonError, match=r"data\.name is 'pets\.zip' and 'drawn'$"):
        groups.group([first, named])


def test_other_classes_are_refused(tmp_path: Path) -> None:
    first, second = invented(tmp_path / "first"), invented(tmp_path / "second", seed=1)
    data = {**second.facts["data"], "class_names": ["cats", "wolves"]}
    with pytest.raises(ComparisonError, match=r"data\.class_names is \['cats', 'dogs'\] and \['cats', 'wolves'\]"):
        groups.group([first, replace(second, facts={**second.facts, "data": data})])


def test_how_the_built_in_data_is_drawn_does_not_tell_photographs_apart(tmp_path: Path) -> None:
    def of_photographs(name: str, seed: int, **overrides: object) -> audit.Evidence:
        found = invented(tmp_path / name, seed=seed, overrides=overrides)
        return replace(found, facts={**found.facts, "data": {**found.facts["data"], "drawn": False}})

    assert len(groups.group([of_photographs("a", 0), of_photographs("b", 1, data__drawn_seed=9)])) == 1


def test_what_is_true_of_one_machine_or_of_retraining_may_differ(tmp_path: Path) -> None:
    other = {"retrain__seeds": 5, "cluster__dashboard": True, "train__checkpoint_epochs": 2, "data__max_bad_share": 0.5}
    other |= {"cluster__max_failures": 9, "label": "elsewhere", "data__source": "elsewhere/pets.zip"}
    studies = [invented(tmp_path / "a"), invented(tmp_path / "b", seed=1, overrides=other)]
    assert [item.name for item in groups.group(studies)] == ["TPE"]


def test_one_seed_twice_is_not_two_searches(tmp_path: Path) -> None:
    with pytest.raises(ComparisonError, match="are tpe with seed 0 both: they would count as two independent searches"):
        groups.group([invented(tmp_path / "a"), invented(tmp_path / "b")])


def test_a_method_that_is_called_like_another_is_not_taken_for_it(tmp_path: Path) -> None:
    studies = [
        invented(tmp_path / str(number), facts={"method": method})
        for number, method in enumerate(["tpe", "TPE", "baseline", "hyperband"])
    ]
    assert {item.name for item in groups.group(studies)} == {
        "TPE", "method TPE", "method baseline", "hyperband"
    }  # fmt: skip


def test_no_study_is_no_comparison() -> None:
    with pytest.raises(ComparisonError, match="no study to compare"):
        groups.group([])
