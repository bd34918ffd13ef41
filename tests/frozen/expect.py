"""The frozen studies counted again with pandas and SciPy, without a line of the package: prints expected.json.

python tests/frozen/expect.py > tests/frozen/expected.json
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pandas as pd
import scipy.stats

HERE = Path(__file__).parent
LABELS = {
    "tpe": "TPE",
    "random": "random search",
    "keras-tuner": "Keras Tuner oracle",
    "keras-tuner-stock": "Keras Tuner, stock",
}
BASELINE = "baseline"


def table(studies: list[Path], file: str) -> pd.DataFrame:
    """One file of rows of all studies."""
    parts = []
    for study in studies:
        rows = pd.read_json(study / file, lines=True, precise_float=True)
        facts = json.loads((study / "study.json").read_text())
        parts.append(rows.assign(method=LABELS[facts["method"]], study=study.name, search_seed=facts["config"]["seed"]))
    return pd.concat(parts, ignore_index=True)


def estimate(values: pd.Series) -> dict[str, Any]:
    """Mean, sd and SciPy's own t interval, none where all values are alike; uncut."""
    mean, sd = float(values.mean()), float(values.std())
    low, high = None, None
    if sd > 0:
        low, high = map(float, scipy.stats.t.interval(0.95, len(values) - 1, loc=mean, scale=values.sem()))
    return {"n": len(values), "mean": mean, "sd": sd, "low": low, "high": high}


def cut(found: dict[str, Any]) -> dict[str, Any]:
    """An accuracy's interval stays within 0 and 1."""
    if found["low"] is None:
        return found
    return {**found, "low": max(0.0, found["low"]), "high": min(1.0, found["high"])}


def difference(first: pd.Series, second: pd.Series) -> dict[str, Any]:
    """Paired, by SciPy's paired t-test; no interval where all pairs differ alike."""
    apart = first - second
    found: dict[str, Any] = {"n": len(apart), "mean": float(apart.mean())}
    if apart.std() > 1e-12:
        interval = scipy.stats.ttest_rel(first, second).confidence_interval(0.95)
        return {**found, "sd": float(apart.std()), "low": float(interval.low), "high": float(interval.high)}
    return {**found, "sd": 0.0, "low": None, "high": None}


def best_trials(trials: pd.DataFrame) -> pd.DataFrame:
    """The highest objective of each study, failed trials left out, ties to the earlier."""
    scored = trials[trials.status != "failed"].dropna(subset=["objective"])
    return scored.sort_values(["study", "objective", "trial"], ascending=[True, False, True]).groupby("study").head(1)


def first_reached(trials: pd.DataFrame, epochs: pd.DataFrame, target: float) -> tuple[int, float | None]:
    """(searches that reach the target, Kaplan-Meier median of the epochs spent by then)."""
    spent, reached = [], []
    for study, rows in trials.groupby("study"):
        hits = rows[(rows.status != "failed") & (rows.objective >= target)]
        arrivals = epochs[epochs.study == study].elapsed_s
        reached.append(bool(len(hits)))
        spent.append(int((arrivals <= hits.elapsed_s.min()).sum()) if len(hits) else len(arrivals))
    left = 1.0
    for moment in sorted({s for s, hit in zip(spent, reached, strict=True) if hit}):
        at_risk = sum(s >= moment for s in spent)
        left *= 1 - sum(s == moment and hit for s, hit in zip(spent, reached, strict=True)) / at_risk
        if left <= 0.5 + 1e-12:
            return sum(reached), float(moment)
    return sum(reached), None


def methods(studies: list[Path], trials: pd.DataFrame, epochs: pd.DataFrame) -> list[dict[str, Any]]:
    """Counts and estimates of each method's searches."""
    images = json.loads((studies[0] / "study.json").read_text())["data"]
    factor = 3 * images["train_images"] + images["selection_images"]
    found = []
    for method, rows in trials.groupby("method"):
        best = best_trials(rows)
        suggested = rows.suggestion_seconds.dropna()
        cost = (rows.epochs * rows.multiply_adds.fillna(0) * factor).groupby(rows.study).sum()
        found.append(
            {
                "name": method,
                "trials": len(rows),
                **{status: int((rows.status == status).sum()) for status in ("completed", "stopped", "failed")},
                "epochs": estimate(rows.groupby("study").epochs.sum()),
                "multiply_adds": estimate(cost),
                "seconds": estimate(rows.groupby("study").elapsed_s.max()),
                "best": cut(estimate(best.objective)),
                "suggestions": len(suggested),
                "suggestion_seconds": float(suggested.mean()) if len(suggested) else None,
            }
        )
    return found


def tuned_and_baseline(studies: list[Path], trials: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Retraining rows of each study's best configuration, and of the guide's (each seed once)."""
    rows = table(studies, "retrain.jsonl")
    rows["point"] = rows.hyperparameters.map(lambda point: json.dumps(point, sort_keys=True))
    best = best_trials(trials).set_index("study").hyperparameters.map(lambda point: json.dumps(point, sort_keys=True))
    given = json.dumps(json.loads((studies[0] / "study.json").read_text())["config"]["baseline"], sort_keys=True)
    tuned = rows[rows.point == rows.study.map(best)]
    return tuned, rows[rows.point == given].drop_duplicates(["seed", "milestone"])


def retrained(tuned: pd.DataFrame, baseline: pd.DataFrame) -> list[dict[str, Any]]:
    """Test accuracy per method and milestone over searches, and of the guide's configuration over seeds."""
    found = []
    for (method, milestone), rows in tuned.groupby(["method", "milestone"]):
        by_study = rows.groupby("study")
        gaps = by_study.selection_objective.first() - by_study.test_accuracy.mean()
        found.append(
            {
                "name": method,
                "milestone": int(milestone),
                "unit": "searches",
                "runs": len(rows),
                "test": cut(estimate(by_study.test_accuracy.mean())),
                "train": cut(estimate(by_study.train_accuracy.mean())),
                "optimism": estimate(gaps),
            }
        )
    for milestone, rows in baseline.groupby("milestone"):
        test = cut(estimate(rows.test_accuracy))
        found.append({"name": BASELINE, "milestone": int(milestone), "unit": "retraining seeds", "test": test})
    return found


def differences(trials: pd.DataFrame, tuned: pd.DataFrame, baseline: pd.DataFrame) -> list[dict[str, Any]]:
    """Of every two methods, paired by the seed of the search; against the guide's configuration too."""
    order = [name for name in LABELS.values() if name in set(trials.method)]
    best = best_trials(trials).set_index(["method", "search_seed"]).objective
    means = tuned.groupby(["milestone", "method", "search_seed"]).test_accuracy.mean()
    found = []
    for first, second in itertools.combinations(order, 2):
        both = pd.concat([best[first], best[second]], axis=1, join="inner")
        pair = {"milestone": None, "first": first, "second": second, "unit": "searches"}
        found.append({"quantity": "best objective", **pair, "difference": difference(both.iloc[:, 0], both.iloc[:, 1])})
        for milestone in sorted(set(tuned.milestone)):
            both = pd.concat([means[milestone, first], means[milestone, second]], axis=1, join="inner")
            apart = difference(both.iloc[:, 0], both.iloc[:, 1])
            found.append({"quantity": "test accuracy", **pair, "milestone": int(milestone), "difference": apart})
    *_, earlier, last = sorted(set(tuned.milestone))
    for name in order:
        apart = difference(means[last, name], means[earlier, name])
        sides = {"first": f"{name}, {last} epochs", "second": f"{name}, {earlier} epochs"}
        found.append({"quantity": "test accuracy", "milestone": None, **sides, "unit": "searches", "difference": apart})
    for first, milestone in itertools.product(order, sorted(set(tuned.milestone))):
        own = tuned[(tuned.method == first) & (tuned.milestone == milestone)]
        given = baseline[baseline.milestone == milestone].set_index("seed").test_accuracy
        both = own.assign(given=own.seed.map(given)).groupby("search_seed")[["test_accuracy", "given"]].mean()
        apart = difference(both.test_accuracy, both.given)
        found.append(
            {"quantity": "test accuracy", "milestone": int(milestone), "first": first, "second": BASELINE,
             "unit": "searches", "difference": apart}
        )  # fmt: skip
    return found


def place(study: Path) -> tuple[int, int]:
    """The method's place in `LABELS`, and the seed."""
    facts = json.loads((study / "study.json").read_text())
    return list(LABELS).index(facts["method"]), facts["config"]["seed"]


def main() -> None:
    """Print the numbers."""
    # In the order in which the same baseline run of two studies counts once: by method, then by seed.
    studies = sorted((path.parent for path in HERE.glob("*/study.json")), key=place)
    trials, epochs = table(studies, "trials.jsonl"), table(studies, "epochs.jsonl")
    tuned, baseline = tuned_and_baseline(studies, trials)
    target = float(best_trials(trials).objective.median())
    times = {}
    for method in set(trials.method):
        reached, median = first_reached(trials[trials.method == method], epochs[epochs.method == method], target)
        times[method] = {"epochs": {"reached": reached, "median": median}}
    found = {
        "how": "tests/frozen/expect.py: pandas and SciPy on the rows, nothing of the package",
        "studies": [study.name for study in studies],
        "methods": methods(studies, trials, epochs),
        "best_known_objective": float(best_trials(trials).objective.max()),
        "target": target,
        "time_to_target": dict(sorted(times.items())),
        "retrained": retrained(tuned, baseline),
        "differences": differences(trials, tuned, baseline),
    }
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
