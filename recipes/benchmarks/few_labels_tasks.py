"""Several tasks on one backbone against a labeler for each: the same labels, in one pass of the body for two.

    python recipes/benchmarks/few_labels_tasks.py --data FOLDER [--seeds 3]

"reviews" are of books and of films, and praise or find fault: tasks sentiment and product, 16 rows a class of
each (8 of each pair). "requests" to an assistant have a domain (6) and an intent (90): 5 rows an intent. Here
every row bears both labels. "apart" is the reviews once more, but no row bears both: each task has 16 rows a
class of its own, in one file.

"alone" is `Labeler` on the rows of one task, without a feature cache, "together" `MultiLabeler` without one.
They take turns, and each is timed from rows to models and from texts to labels. No row of the test is drawn
from, and 128 tokens of a text are read.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

os.environ["TEXTLABEL_CACHE_GB"] = "0"  # what is timed must be computed

import numpy as np
from _bench import _rows, arguments, write

from textlabel import Labeler, MultiLabeler
from textlabel.corpus.dedup import text_key
from textlabel.task_columns import of_task

BACKBONE = "all-MiniLM-L6-v2"
TOKENS = 128
Rows = list[dict[str, str]]


def split(rows: Rows, most: int) -> tuple[Rows, Rows]:
    """Return rows to draw from, and at most ``most`` for the test, in random order (seed 0)."""
    order = np.random.default_rng(0).permutation(len(rows))
    test = [rows[i] for i in order if rows[i]["split"] == "test"][:most]
    seen = {text_key(row["text"]) for row in test}
    pool = [rows[i] for i in order if rows[i]["split"] == "train" and text_key(rows[i]["text"]) not in seen]
    return pool, test


def reviews(data: Path) -> tuple[Rows, Rows]:
    files = [data / "blitzer_amazon" / f"{name}.jsonl.gz" for name in ("books", "dvd")]
    rows = [row for file in files for row in _rows(file)]
    names = ("text", "split")
    found = [
        {**{name: r[name] for name in names}, "sentiment": r["label"], "product": r["domain"]} for r in rows
    ]
    return split(found, 300)


def requests(data: Path) -> tuple[Rows, Rows]:
    files = [data / "clinc150" / f"{name}.jsonl.gz" for name in ("train", "test")]
    rows = [row for file in files for row in _rows(file)]
    names = ("text", "split", "domain")
    return split([{**{name: r[name] for name in names}, "intent": r["label"]} for r in rows], 1000)


def drawn(pool: Rows, by: tuple[str, ...], count: int, seed: int) -> Rows:
    """Return ``count`` rows of each combination of labels, in random order."""
    rng = np.random.default_rng(seed)
    keys = np.array(["/".join(row[name] for name in by) for row in pool])
    parts = [rng.permutation(np.flatnonzero(keys == key))[:count] for key in np.unique(keys)]
    return [pool[i] for i in rng.permutation(np.concatenate(parts))]


def apart(pool: Rows, seed: int) -> Rows:
    """Return reviews that each bear one label, 16 rows a class of either task."""
    rows = drawn(pool, ("sentiment", "product"), 16, seed)
    taken: dict[tuple[str, str], int] = {}
    found = []
    for row in rows:
        pair = (row["sentiment"], row["product"])
        taken[pair] = taken.get(pair, 0) + 1
        found.append({**row, "product" if taken[pair] % 2 else "sentiment": ""})
    return found


def timed(work: Any) -> tuple[Any, float]:
    start = time.monotonic()
    return work(), time.monotonic() - start


def measured(evaluation: Any) -> dict[str, float]:
    return {name: round(evaluation.metrics[name], 4) for name in ("accuracy", "macro_f1", "ece")}


def one_draw(train: Rows, test: Rows, tasks: tuple[str, ...], seed: int) -> dict[str, Any]:
    """Return what both ways give on one draw."""
    texts = [{"id": str(i), "text": row["text"]} for i, row in enumerate(test)]
    gold = [{"id": str(i), "text": row["text"], **{t: row[t] for t in tasks}} for i, row in enumerate(test)]
    told: dict[str, Any] = {"labeled_rows": len(train), "seconds": {}}

    def together() -> tuple[Any, Any]:
        labeler = MultiLabeler({t: t for t in tasks}, BACKBONE, cache=False, seed=seed, max_length=TOKENS)
        _, fit = timed(lambda: labeler.fit(train))
        made, annotate = timed(lambda: labeler.annotate(texts))
        told["seconds"]["together"] = {"fit": round(fit, 2), "annotate": round(annotate, 2)}
        return labeler, made

    def alone() -> dict[str, Any]:
        labelers, made, fit, annotate = {}, {}, 0.0, 0.0
        for task in tasks:
            labelers[task] = Labeler(BACKBONE, cache=False, seed=seed, max_length=TOKENS)
            own = [row for row in train if row[task]]
            fit += timed(lambda task=task, own=own: labelers[task].fit(own, label_column=task))[1]
            made[task], seconds = timed(lambda task=task: labelers[task].annotate(texts))
            annotate += seconds
        told["seconds"]["alone"] = {"fit": round(fit, 2), "annotate": round(annotate, 2)}
        return made

    first = [together, alone] if seed % 2 else [alone, together]
    results = {way.__name__: way() for way in first}
    labeler, joined = results["together"]
    for task in tasks:
        mine, other = of_task(joined, task), results["alone"][task]
        judge = labeler.labelers[task]
        near = np.abs(np.array(mine["probabilities"][:]) - np.array(other["probabilities"][:])).max()
        told[task] = {
            "together": measured(judge.evaluate(mine, gold, label_column=task)),
            "alone": measured(judge.evaluate(other, gold, label_column=task)),
            "same_labels": mine["label"][:] == other["label"][:],
            "largest_difference_of_a_probability": float(near),
        }
    return told


def mean(draws: list[dict[str, Any]], tasks: tuple[str, ...]) -> dict[str, Any]:
    ways = ("alone", "together")
    seconds = {
        way: {
            part: round(float(np.median([d["seconds"][way][part] for d in draws])), 2)
            for part in ("fit", "annotate")
        }
        for way in ways
    }
    found: dict[str, Any] = {"median_seconds": seconds}
    for task in tasks:
        found[task] = {
            way: {
                name: round(float(np.mean([d[task][way][name] for d in draws])), 4)
                for name in ("accuracy", "macro_f1", "ece")
            }
            for way in ways
        }
        found[task]["draws_with_the_same_labels"] = sum(d[task]["same_labels"] for d in draws)
    return found


def main() -> None:
    options = arguments(__doc__.splitlines()[0], seeds=3).parse_args()
    if options.data is None:
        raise SystemExit("this benchmark needs --data FOLDER with blitzer_amazon and clinc150")
    pools = {"reviews": reviews(options.data), "requests": requests(options.data)}
    plans = {
        "reviews": (
            "reviews",
            ("sentiment", "product"),
            lambda p, s: drawn(p, ("sentiment", "product"), 8, s),
        ),
        "apart": ("reviews", ("sentiment", "product"), apart),
        "requests": ("requests", ("domain", "intent"), lambda p, s: drawn(p, ("intent",), 5, s)),
    }
    result: dict[str, Any] = {
        "backbone": BACKBONE,
        "tokens": TOKENS,
        "recipe": "head",
        "seeds": options.seeds,
        "sets": {},
    }
    for name, (source, tasks, take) in plans.items():
        pool, test = pools[source]
        draws = [one_draw(take(pool, seed), test, tasks, seed) for seed in range(options.seeds)]
        result["sets"][name] = {"test_rows": len(test), **mean(draws, tasks), "draws": draws}
        print(name, mean(draws, tasks), flush=True)
    write(options.out, "few_labels_tasks", result)


if __name__ == "__main__":
    main()
