"""Whole invented studies on the disk, consistent in every row: as many and as long as a test needs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from make_rows import quickstart

from catdog_ray.ledger import portable
from catdog_ray.ranges import IntRange, Range, Value
from catdog_ray.records import OBJECTIVE, objective
from catdog_ray.schema import SCHEMA_VERSION
from catdog_ray.settings import HYPERPARAMETERS

CLASSES = ["cats", "dogs"]


def write_invented(
    folder: Path,
    *,
    method: str = "tpe",
    seed: int = 0,
    trials: int = 12,
    max_epochs: int = 9,
    stopping: bool = True,
    milestones: tuple[int, ...] = (4, 6),
    retrain_seeds: int = 2,
    test_images: int = 40,
    skill: float = 0.0,
    last_instead_of_best: bool = False,
    facts: dict[str, Any] | None = None,
    overrides: dict[str, Any] | None = None,
) -> Path:
    """One study. `skill` lifts every accuracy; `last_instead_of_best` scores trials by their last epoch, wrongly."""
    rng = np.random.default_rng([seed, *method.encode()])
    config = quickstart(
        seed=seed,
        name=folder.name,
        search__num_samples=trials,
        search__max_epochs=max_epochs,
        retrain__milestones=list(milestones) or [1],
        **(overrides or {}),
    )
    window = config.search.scoring_window
    folder.mkdir(parents=True)
    study = {
        "schema_version": SCHEMA_VERSION,
        "name": folder.name,
        "label": "invented",
        "method": method,
        "objective": OBJECTIVE.format(window=window),
        "state": "finished",
        "started_utc": "2026-11-01T12:00:00+00:00",
        "wall_s": 100.0,
        "commit": "0" * 40,
        "nodes": [{"cpu_model": "invented", "cores": 2, "memory_bytes": 1, "ray_cpus": 2.0, "ray_gpus": 0.0}],
        "data": {
            "name": "drawn",
            "drawn": True,
            "fingerprint": "f" * 64,
            "class_names": CLASSES,
            "train_images": 640,
            "selection_images": 160,
            "test_images": test_images,
            "skipped_files": [],
        },
        "config": portable(config.as_dict()),
        **(facts or {}),
    }
    (folder / "study.json").write_text(json.dumps(study))
    epochs, ended, clock = [], [], 0.0
    for number in range(trials):
        point = dict(config.baseline) if number == 0 else {
            "learning_rate": float(10 ** rng.uniform(-4, -2)),
            "dropout_rate": float(rng.uniform(0, 0.6)),
            "conv_filters": int(rng.choice([16, 24, 32])),
            "conv_kernel": int(rng.choice([3, 5])),
            "dense_units": int(rng.choice([128, 256, 512])),
            **{name: _drawn(found, rng) for name, found in config.space.items() if name not in HYPERPARAMETERS},
        }  # fmt: skip
        ceiling = 0.85 - 0.12 * abs(np.log10(point["learning_rate"]) + 3) - 0.1 * point["dropout_rate"] + skill
        length = max_epochs if not stopping or rng.random() < 0.4 else int(rng.choice([1, 3]))
        failed = stopping and number == 5
        done: list[float] = []
        for epoch in range(1, length + 1):
            clock += float(rng.uniform(0.5, 1.5))
            accuracy = 0.5 + (ceiling - 0.5) * (1 - np.exp(-epoch / 4)) + rng.normal(0, 0.02)
            done.append(round(float(np.clip(accuracy, 0, 1)) * 160) / 160)
            score = done[-1] if last_instead_of_best else objective(done, window=window)
            epochs.append(
                {
                    "trial": number,
                    "epoch": epoch,
                    "train_loss": 0.6,
                    "train_accuracy": done[-1],
                    "selection_loss": 0.6,
                    "selection_accuracy": done[-1],
                    "objective": score,
                    "seconds": 1.0,
                    "elapsed_s": clock,
                    "hyperparameters": point,
                    "parameters": 1000,
                    "multiply_adds": 1_000_000,
                    "suggestion_seconds": None if number == 0 else 0.004,
                }
            )
        status = "failed" if failed else "completed" if length == max_epochs else "stopped"
        ended.append(
            {
                "trial": number,
                "status": status,
                "reason": "the loss is not finite" if failed else None,
                "hyperparameters": point,
                "epochs": length,
                "objective": score,
                "parameters": 1000,
                "multiply_adds": 1_000_000,
                "suggestion_seconds": None if number == 0 else 0.004,
                "training_seconds": float(length),
                "elapsed_s": clock + 0.1,
            }
        )
    _write(folder / "epochs.jsonl", epochs)
    _write(folder / "trials.jsonl", ended)
    best = min((row for row in ended if row["status"] != "failed"), key=lambda row: (-row["objective"], row["trial"]))
    if milestones:
        _retrain(folder, best, dict(config.baseline), rng=rng, seeds=range(seed, seed + retrain_seeds),
                 milestones=milestones, test_images=test_images, skill=skill)  # fmt: skip
    return folder


def _drawn(found: Range, rng: np.random.Generator) -> Value:
    values = range(found.low, found.high + 1, found.step) if isinstance(found, IntRange) else found.choices
    return values[int(rng.integers(len(values)))]


def _retrain(
    folder: Path,
    best: dict[str, Any],
    baseline: dict[str, Any],
    *,
    rng: np.random.Generator,
    seeds: range,
    milestones: tuple[int, ...],
    test_images: int,
    skill: float,
) -> None:
    epochs, rows, predictions = [], [], []
    candidates = [(f"trial-{best['trial']:04d}", best)] if best["trial"] else [("baseline", best)]
    if best["trial"]:
        candidates.append(("baseline", None))
    for configuration, trial in candidates:
        for seed in seeds:
            # The guide's configuration is the same model in every study with this seed.
            local = np.random.default_rng([seed, 99]) if configuration == "baseline" else rng
            for epoch in range(1, milestones[-1] + 1):
                true = np.arange(test_images) % 2
                right = local.random(test_images) < min(0.98, 0.7 + skill + 0.1 * epoch / milestones[-1])
                accuracy = float(np.mean(right))
                epochs.append(
                    {
                        "configuration": configuration,
                        "seed": seed,
                        "epoch": epoch,
                        "train_loss": 0.7 / epoch,
                        "train_accuracy": min(1.0, accuracy + 0.02),
                        "test_loss": 0.7 / epoch,
                        "test_accuracy": accuracy,
                        "seconds": 1.0,
                        "elapsed_s": float(epoch),
                    }
                )
                if epoch not in milestones:
                    continue
                rows.append(
                    {
                        "configuration": configuration,
                        "seed": seed,
                        "milestone": epoch,
                        "hyperparameters": baseline if trial is None else trial["hyperparameters"],
                        "trial": None if trial is None else trial["trial"],
                        "selection_objective": None if trial is None else trial["objective"],
                        "train_loss": 0.1,
                        "train_accuracy": min(1.0, accuracy + 0.02),
                        "clean_train_loss": 0.1,
                        "clean_train_accuracy": min(1.0, accuracy + 0.04),
                        "test_loss": 0.3,
                        "test_accuracy": accuracy,
                        "test_images": test_images,
                        "training_seconds": float(epoch),
                        "elapsed_s": float(epoch),
                    }
                )
                sure = local.uniform(0.5, 1.0, test_images)
                for i in range(test_images):
                    guess = true[i] if right[i] else 1 - true[i]
                    values = [float(sure[i]), float(1 - sure[i])]
                    predictions.append(
                        {
                            "configuration": configuration,
                            "seed": seed,
                            "milestone": epoch,
                            "file": f"validation/{CLASSES[true[i]]}/{i:06d}",
                            "true_class": CLASSES[true[i]],
                            "probabilities": values if guess == 0 else values[::-1],
                        }
                    )
    _write(folder / "retrain-epochs.jsonl", epochs)
    _write(folder / "retrain.jsonl", rows)
    _write(folder / "predictions.jsonl", predictions)


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
