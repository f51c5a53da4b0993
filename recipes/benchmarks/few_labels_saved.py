"""How many labels transfer saves: rows until 90 % of what all rows give, with textlabel and with TF-IDF.

    python recipes/benchmarks/few_labels_saved.py --data FOLDER [--sets NAME ...] [--seeds 5]

The target of a set is .9 times the better test accuracy on the whole pool, at most 4,000 rows, of `head` on
four layers and of TF-IDF. The two contenders are `auto` that knows the labeled rows alone, and TF-IDF and
logistic regression (`_peers_few_labels.py`). The draws of one seed are nested: each size adds rows to the
one before. A contender's mean curve over draws is followed until it is a point above the target, and where
it crosses is read off between sizes, in the logarithm of the rows. Where the smallest draw is above the
target, its rows are an upper bound, and where the pool ends first, the rows of the pool are a lower one.
The intervals resample draws, and that of the median sets as well.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["TEXTLABEL_CACHE_GB"] = "8"  # features of a text are the same for every draw

import numpy as np
from _bench import MORE_SETS, SETS, Split, arguments, draw, public, write
from _peers_few_labels import tfidf

from textlabel.engine.adapt import adapt
from textlabel.engine.predict import predict
from textlabel.engine.run import Task
from textlabel.models.backbone import Backbone, load_backbone
from textlabel.recipe import Recipe
from textlabel.types import LabelSchema

POOL, TEST = 4000, 2000
SHARE, ABOVE = 0.9, 0.01
SIZES = [2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048, 4096]
#: seconds that a person takes for a row
PACE = 10
#: of a bootstrap
DRAWS = 2000

#: (row numbers of the pool, seed) -> accuracy on the test rows
Contender = Callable[[np.ndarray, int], float]


def ours(backbone: Backbone, split: Split, cache: Path, recipe: str = "auto") -> Contender:
    schema = LabelSchema("single", split.classes)

    def run(index: np.ndarray, seed: int) -> float:
        task = Task([split.pool[i] for i in index], split.pool_labels[index], schema)
        bundle = adapt(backbone, task, Recipe.load(recipe), seed, budget=0.0, cache=cache)
        logits, _ = predict(bundle.classifier, split.test, cache=cache)
        return float((logits.argmax(axis=1) == split.test_labels).mean())

    return run


def theirs(split: Split) -> Contender:
    def run(index: np.ndarray, seed: int) -> float:
        texts, labels = [split.pool[i] for i in index], split.pool_labels[index].tolist()
        found, _ = tfidf({"texts": texts, "labels": labels, "test": split.test})
        return float((np.array(found) == split.test_labels).mean())

    return run


def curve(contender: Contender, split: Split, seeds: int, target: float) -> dict[int, list[float]]:
    """Return {rows: accuracy of each draw}, until the mean is well above the target or the pool ends."""
    found: dict[int, list[float]] = {}
    for per_class in SIZES:
        draws = [draw(split.pool_labels, per_class, seed) for seed in range(seeds)]
        if len(draws[0]) in found:
            break
        found[len(draws[0])] = [contender(index, seed) for seed, index in enumerate(draws)]
        print(split.name, len(draws[0]), np.mean(found[len(draws[0])]).round(4), flush=True)
        if np.mean(found[len(draws[0])]) >= target + ABOVE:
            break
    return found


def crossing(rows: np.ndarray, accuracy: np.ndarray, target: float) -> float:
    """Return rows (a real number) at which a curve first reaches the target; its last ones if it never does.

    Examples
    --------
    >>> round(crossing(np.array([10, 40]), np.array([0.5, 0.7]), 0.6), 6)
    20.0
    """
    above = np.flatnonzero(accuracy >= target)
    if not len(above):
        return float(rows[-1])
    at = above[0]
    if at == 0:
        return float(rows[0])
    share = (target - accuracy[at - 1]) / (accuracy[at] - accuracy[at - 1])
    low, high = np.log(rows[at - 1]), np.log(rows[at])
    return float(np.exp(low + share * (high - low)))


def resampled(found: dict[int, list[float]], target: float, picks: np.ndarray) -> np.ndarray:
    """Return crossings (draws,) of mean curves over resampled draws (draws, seeds)."""
    rows, values = np.array(list(found)), np.array(list(found.values()))
    return np.array([crossing(rows, values[:, pick].mean(axis=1), target) for pick in picks])


def one_set(backbone: Backbone, deep: Backbone, split: Split, seeds: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        contenders = {"textlabel": ours(backbone, split, Path(folder)), "tfidf": theirs(split)}
        everything = np.arange(len(split.pool))
        full = {
            "textlabel": ours(deep, split, Path(folder), "head")(everything, 0),
            "tfidf": contenders["tfidf"](everything, 0),
        }
        target = SHARE * max(full.values())
        curves = {name: curve(run, split, seeds, target) for name, run in contenders.items()}
    picks = np.random.default_rng(0).integers(0, seeds, (DRAWS, seeds))
    rows = {name: resampled(found, target, np.arange(seeds)[None])[0] for name, found in curves.items()}
    ratios = resampled(curves["tfidf"], target, picks) / resampled(curves["textlabel"], target, picks)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return {
        "set": split.name,
        "classes": len(split.classes),
        "pool": len(split.pool),
        "all_rows": {name: round(value, 4) for name, value in full.items()},
        "target": round(target, 4),
        "rows": {name: round(value, 1) for name, value in rows.items()},
        "reached": {name: bool(np.mean(list(c.values())[-1]) >= target) for name, c in curves.items()},
        "hours": {name: round(value * PACE / 3600, 2) for name, value in rows.items()},
        "times_fewer": [round(float(v), 2) for v in (rows["tfidf"] / rows["textlabel"], low, high)],
        "curves": {
            name: {str(n): np.round(v, 4).tolist() for n, v in c.items()} for name, c in curves.items()
        },
    }


def median_interval(results: list[dict[str, Any]], seeds: int) -> list[float]:
    """Return the median ratio over sets and its 95 % interval, sets and draws resampled."""
    rng = np.random.default_rng(0)
    picks = rng.integers(0, seeds, (DRAWS, seeds))
    ratios = []
    for r in results:
        found = {name: {int(n): v for n, v in c.items()} for name, c in r["curves"].items()}
        rows = {name: resampled(c, r["target"], picks) for name, c in found.items()}
        ratios.append(rows["tfidf"] / rows["textlabel"])
    sets = rng.integers(0, len(results), (DRAWS, len(results)))
    medians = np.median(np.stack(ratios)[sets.T, np.arange(DRAWS)], axis=0)
    low, high = np.quantile(medians, [0.025, 0.975])
    middle = np.median([r["times_fewer"][0] for r in results])
    return [round(float(v), 2) for v in (middle, low, high)]


def earlier(chosen: argparse.Namespace) -> list[dict[str, Any]]:
    """Return what the result file has of sets that are not measured now."""
    path = chosen.out / "few_labels_saved.json"
    if not path.exists():
        return []
    found = json.loads(path.read_text(encoding="utf-8"))
    if (found["seeds"], found["backbone"]) != (chosen.seeds, chosen.backbone):
        raise SystemExit(f"{path} has {found['seeds']} draws of {found['backbone']}: leave --keep out")
    return [one for one in found["sets"] if one["set"] not in chosen.sets]


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--backbone", default="all-MiniLM-L6-v2")
    parser.add_argument("--sets", nargs="+", default=[*SETS, *MORE_SETS])
    parser.add_argument("--keep", action="store_true", help="keep what the result file has of other sets")
    chosen: argparse.Namespace = parser.parse_args()
    if not chosen.data:
        raise SystemExit("no --data: nothing to measure")
    backbone, deep = load_backbone(chosen.backbone), load_backbone(chosen.backbone, layers=4)
    results = earlier(chosen) if chosen.keep else []
    for name in chosen.sets:
        if (split := public(name, chosen.data, (POOL, TEST))) is None:
            continue
        results.append(one_set(backbone, deep, split, chosen.seeds))
        print({k: v for k, v in results[-1].items() if k != "curves"}, flush=True)
        write(
            chosen.out,
            "few_labels_saved",
            {
                "backbone": chosen.backbone,
                "seeds": chosen.seeds,
                "seconds_a_row": PACE,
                "median_times_fewer": median_interval(results, chosen.seeds),
                "sets": results,
            },
        )


if __name__ == "__main__":
    main()
