"""Is the LoRA recipe worth its time? Accuracy of `lora` and `head` at 64 labels a class, paired by seed.

    python recipes/benchmarks/lora_vs_head.py --data FOLDER [--recipes lora] [--calibration auto]

The same draws for each recipe; test rows are seen by neither training nor calibration.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import numpy as np
from _bench import Split, arguments, bundled, draw, public, write

from textlabel.engine.adapt import adapt
from textlabel.engine.predict import predict
from textlabel.engine.run import Task
from textlabel.labeler import DEFAULT_BACKBONE
from textlabel.models.backbone import Backbone, load_backbone
from textlabel.recipe import Recipe
from textlabel.trust.metrics import ece
from textlabel.types import LabelSchema

SETS = ["movie_snippets", "product_sentences", "subjectivity", "developer_sentiment"]


def score(
    backbone: Backbone, split: Split, recipe: str, calibration: str, per_class: int, seed: int
) -> dict[str, float]:
    index = draw(split.pool_labels, per_class, seed)
    texts = [split.pool[i] for i in index]
    task = Task(texts, split.pool_labels[index], LabelSchema("single", split.classes))
    start = time.perf_counter()
    bundle = adapt(backbone, task, Recipe.load(recipe), seed, calibration=calibration)
    seconds = time.perf_counter() - start
    logits, _ = predict(bundle.classifier, split.test)
    assert bundle.calibrator is not None
    probabilities = bundle.calibrator.apply(logits.astype(np.float64))
    right = probabilities.argmax(axis=1) == split.test_labels
    return {
        "accuracy": round(float(right.mean()), 4),
        "ece": round(ece(probabilities.max(axis=1), right), 4),
        "seconds": round(seconds, 2),
    }


def one_set(split: Split, chosen: argparse.Namespace) -> list[dict[str, object]]:
    """Return the scores of every seed and recipe on one set, in a process with one thread."""
    import torch

    torch.set_num_threads(1)
    backbone = load_backbone(chosen.backbone)
    rows: list[dict[str, object]] = []
    for seed in range(chosen.seeds):
        for recipe in ["head", *chosen.recipes]:
            found = score(backbone, split, recipe, chosen.calibration, chosen.per_class, seed)
            rows.append({"set": split.name, "seed": seed, "recipe": recipe, **found})
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--backbone", default=DEFAULT_BACKBONE)
    parser.add_argument("--recipes", nargs="+", default=["lora"])
    parser.add_argument("--calibration", default="auto")
    parser.add_argument("--per-class", type=int, default=64)
    parser.add_argument("--sets", nargs="*", default=SETS)
    parser.add_argument("--test", type=int, default=400)
    parser.add_argument("--jobs", type=int, default=2, help="sets measured at a time, one thread each")
    chosen = parser.parse_args()
    splits = [bundled("movie", (1500, chosen.test)), bundled("product", (1500, chosen.test))]
    if chosen.data:
        splits += [s for name in chosen.sets if (s := public(name, chosen.data, (1500, chosen.test)))]
    with ProcessPoolExecutor(chosen.jobs, get_context("spawn")) as pool:
        parts = pool.map(partial(one_set, chosen=chosen), splits)
    rows = [row for part in parts for row in part]
    for recipe in chosen.recipes:
        report(rows, recipe)
    facts = {"backbone": chosen.backbone, "per_class": chosen.per_class, "calibration": chosen.calibration}
    write(chosen.out, "lora_vs_head", {**facts, "rows": rows})


def report(rows: list[dict[str, object]], recipe: str) -> None:
    table = {(r["set"], r["seed"], r["recipe"]): float(str(r["accuracy"])) for r in rows}
    gains = {}
    for name in dict.fromkeys(r["set"] for r in rows):
        seeds = sorted({int(str(r["seed"])) for r in rows if r["set"] == name})
        gains[name] = [table[name, s, recipe] - table[name, s, "head"] for s in seeds]
    means = np.array([np.mean(g) for g in gains.values()])
    error = means.std(ddof=1) / np.sqrt(len(means)) if len(means) > 1 else float("nan")
    print(
        f"{recipe} - head: {100 * means.mean():+.2f} points over {len(means)} sets (s.e. {100 * error:.2f})"
    )
    for name, gain in gains.items():
        print(f"  {name:24} {100 * np.mean(gain):+.2f} (s.d. over seeds {100 * np.std(gain):.2f})")


if __name__ == "__main__":
    main()
