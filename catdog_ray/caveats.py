"""What must be known to read a comparison: few seeds, lost runs, other machines."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from catdog_ray import audit
from catdog_ray.audit import Evidence
from catdog_ray.groups import Group
from catdog_ray.retrained import Runs
from catdog_ray.searched import best_objective
from catdog_ray.statistics import ENOUGH_SEEDS


def caveats(found: Sequence[Group], runs: Runs, *, left_out: int) -> list[str]:
    """Each in a sentence; `left_out` studies were damaged."""
    texts = []
    for count in sorted({len(item.studies) for item in found if len(item.studies) < ENOUGH_SEEDS}):
        names = [item.name for item in found if len(item.studies) == count]
        texts.append(
            f"{'; '.join(names)}: {count} of the {ENOUGH_SEEDS} seeds that a claim about searches needs; what is "
            f"said of {'them' if len(names) > 1 else 'it'} here is an impression"
        )
    for item in found:
        silent = [study.name for study in item.studies if best_objective(study) is None]
        if silent:
            texts.append(f"{item.name}: no trial has a score in {', '.join(silent)}; left out of all estimates")
        cut = [study.name for study in item.studies if audit.retraining_was_interrupted(study.folder, study.facts)]
        if cut:
            texts.append(
                f"{item.name}: the retraining of {', '.join(cut)} is not finished; n says how many runs there are"
            )
        lost = {
            (study.name, row.configuration, row.seed) for study in item.studies for row in study.retrain_failures
        } - {(study.name, row.configuration, row.seed) for study in item.studies for row in study.retrain}
        if lost:
            texts.append(f"{item.name}: {len(lost)} retraining runs were lost and are in no estimate")
        if any(run.predictions is None for each in runs.get(item.name, {}).values() for run in each):
            texts.append(f"{item.name}: predictions are missing; nothing is said of single test images")
    apart = [
        f"{first.name} and {second.name}"
        for first, second in itertools.combinations(found, 2)
        if not set(first.seeds) & set(second.seeds)
    ]
    if apart:
        texts.append(f"no seed in common, so nothing is paired by it: {'; '.join(apart)}")
    machines = {_machine(study) for item in found for study in item.studies}
    if len(machines) > 1:
        texts.append(f"wall-clock and hours are of {len(machines)} kinds of machine: {'; '.join(sorted(machines))}")
    backends = {str(study.facts["backend"]) for item in found for study in item.studies if study.facts.get("backend")}
    if len(backends) > 1:
        texts.append(f"Keras ran on {len(backends)} backends, whose seeds are no pairs: {', '.join(sorted(backends))}")
    commits = {str(study.facts.get("commit")) for item in found for study in item.studies}
    if len(commits) > 1:
        texts.append(f"the studies were made by {len(commits)} states of the code")
    if left_out:
        texts.append(f"{left_out} studies were left out as damaged or half-written (named below)")
    return texts


def _machine(study: Evidence) -> str:
    def count(value: float | None) -> str:
        # Ray counts in floats, the stock tuner's one process in integers.
        return "?" if value is None else f"{value:g}"

    nodes = [
        f"{count(node.get('ray_cpus'))} CPUs, {count(node.get('ray_gpus'))} GPUs of {node.get('cpu_model', '?')}"
        for node in study.facts["nodes"]
    ]
    return " + ".join(sorted(nodes)) or "unknown"
