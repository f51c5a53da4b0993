"""Whether choosing a calibrator beats one temperature, whether prediction sets cover, and how fast both are.

    python recipes/benchmarks/trust_calibration.py --data FOLDER [--backbone NAME]

Labels are drawn at random, so with the class frequencies of the pool. Heads are those of the head
recipe; calibrators see their out-of-fold logits only, and every number is of test rows.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import numpy as np
from _bench import Split, arguments, every_set, write

from textlabel import registry
from textlabel.corpus.dedup import groups
from textlabel.engine.head import fit_head
from textlabel.engine.predict import predict
from textlabel.models.backbone import load_backbone
from textlabel.models.classifier import Classifier
from textlabel.recipe import Recipe
from textlabel.trust import metrics
from textlabel.trust.calibration import softmax
from textlabel.trust.choice import LEAST_ROWS, Chosen, choose
from textlabel.trust.sets import lac_quantile, lac_sets
from textlabel.types import LabelSchema

SIZES = (100, 400, 1500)
ALPHA = 0.1
LEAST_OF_A_CLASS = 5


def judge(found: Chosen, labels: np.ndarray, test: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    p = found.calibrator.apply(test)
    sure, right = p.max(axis=1), p.argmax(axis=1) == truth
    sets = lac_sets(p, lac_quantile(found.probabilities, labels, ALPHA))
    return {
        "nll": metrics.nll(truth, p),
        "ece": metrics.ece(sure, right),
        "ece_if_perfect": metrics.ece_if_perfect(sure, repeats=50),
        "accuracy": float(np.mean(right)),
        "set_coverage": float(sets[np.arange(len(truth)), truth].mean()),
        "set_size": float(sets.sum(axis=1).mean()),
    }


def run(split: Split, pool: np.ndarray, test: np.ndarray, n: int, seed: int) -> dict[str, Any] | None:
    index = np.random.default_rng(seed).permutation(len(pool))[:n]
    labels = split.pool_labels[index]
    if len(index) < n or np.bincount(labels, minlength=len(split.classes)).min() < LEAST_OF_A_CLASS:
        return None
    same = groups([split.pool[i] for i in index])
    stage = Recipe.load("head").stages[0]
    fitted = fit_head(pool[index], labels, same, len(split.classes), stage, seed)
    logits = fitted.head(test)
    one = {
        name: choose(fitted.out_of_fold, labels, same, seed, candidates)
        for name, candidates in (("none", ["none"]), ("temperature", ["temperature"]), ("auto", None))
    }
    result: dict[str, Any] = {
        name: judge(found, labels, logits, split.test_labels) for name, found in one.items()
    }
    result["chosen"] = next(c.name for c in one["auto"].table if c.chosen)
    return result


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return means over sets and seeds, and auto minus temperature with its standard error."""
    names = ("none", "temperature", "auto")
    means = {
        name: {key: round(float(np.mean([r[name][key] for r in runs])), 4) for key in runs[0][name]}
        for name in names
    }
    gap = {
        key: np.array([r["auto"][key] - r["temperature"][key] for r in runs])
        for key in ("nll", "ece", "accuracy")
    }
    paired = {
        key: {
            "mean": round(float(g.mean()), 5),
            "standard_error": round(float(g.std(ddof=1) / np.sqrt(len(g))), 5),
        }
        for key, g in gap.items()
    }
    chosen = dict(Counter(r["chosen"] for r in runs).most_common())
    return {"runs": len(runs), **means, "auto_minus_temperature": paired, "chosen": chosen}


def speed(n: int = 1_000_000, k: int = 10) -> dict[str, dict[str, float]]:
    """Return seconds to fit and apply each calibrator to a million rows, and to choose among all."""
    rng = np.random.default_rng(0)
    logits = (3 * rng.normal(size=(n, k))).astype(np.float32)
    labels = (softmax(logits / 1.7).cumsum(axis=1) > rng.random(n)[:, None]).argmax(axis=1)
    seconds: dict[str, dict[str, float]] = {}
    for name in LEAST_ROWS:
        plugin = registry.load("calibrator", name)
        plugin.fit(logits[:2000], labels[:2000])  # imports
        start = time.perf_counter()
        fitted = plugin.fit(logits, labels)
        middle = time.perf_counter()
        fitted.apply(logits)
        seconds[name] = {"fit": round(middle - start, 2), "apply": round(time.perf_counter() - middle, 2)}
    start = time.perf_counter()
    choose(logits, labels)
    return {**seconds, "choose": {"fit": round(time.perf_counter() - start, 2)}}


def main() -> None:
    parser = arguments(__doc__ or "", seeds=10)
    parser.add_argument("--backbone", default="potion-base-8M")
    chosen = parser.parse_args()
    classifier = Classifier(load_backbone(chosen.backbone), LabelSchema("single", ("a", "b")))
    runs: dict[int, list[dict[str, Any]]] = {n: [] for n in SIZES}
    by_set: dict[str, dict[str, Any]] = {}
    for split in every_set(chosen.data):
        features = predict(classifier, split.pool + split.test)[1].astype(np.float64)
        pool, test = features[: len(split.pool)], features[len(split.pool) :]
        for n in SIZES:
            found = [r for seed in range(chosen.seeds) if (r := run(split, pool, test, n, seed)) is not None]
            runs[n] += found
            if found:
                by_set.setdefault(split.name, {})[str(n)] = summary(found)
                print(split.name, n, by_set[split.name][str(n)]["auto_minus_temperature"]["nll"])
    means = {str(n): summary(found) for n, found in runs.items() if found}
    for n, row in means.items():
        print(n, row)
    write(
        chosen.out,
        "trust_calibration",
        {
            "seeds": chosen.seeds,
            "backbone": chosen.backbone,
            "set_alpha": ALPHA,
            "labels": means,
            "sets": by_set,
            "seconds_for_1000000_rows_of_10_classes": speed(),
        },
    )


if __name__ == "__main__":
    main()
