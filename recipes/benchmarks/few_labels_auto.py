"""How good labels are that come of few: `auto` and the head recipe, on the draws of `few_labels_peers.py`.

    python recipes/benchmarks/few_labels_auto.py --data FOLDER [--per-class 8 64] [--sets NAME ...]

The contenders: `auto` that knows the labeled rows alone; `auto+corpus` that also reads the texts which are to
be labeled, without their labels; the same without the names of the classes; the same where somebody states
the class shares (of the pool; `annotate --class-shares`); and what never changes: `head` on the last layer or
(`layers`) on the upper half of them, prototypes, LDA, and TF-IDF. Labels of test rows
are seen by neither training, choice nor calibration. Features are looked up in a cache, so seconds here would
say nothing: `few_labels_speed.py` measures them.

`ece_if_perfect` is the calibration error that the same confidences would show if each of them were exact:
what chance alone makes of so few test rows.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

os.environ["TEXTLABEL_CACHE_GB"] = "8"  # features of a text are the same for every draw

import numpy as np
from _bench import MORE_SETS, SETS, Split, arguments, draw, public, write

from textlabel.engine.adapt import adapt
from textlabel.engine.auto import FLOOR
from textlabel.engine.predict import predict
from textlabel.engine.run import Task
from textlabel.models.backbone import Backbone, load_backbone
from textlabel.models.ngrams import without_ngrams
from textlabel.recipe import Recipe
from textlabel.trust.label_shift import LabelShift, corrected
from textlabel.trust.metrics import ece, ece_if_perfect, macro_f1
from textlabel.trust.stated_shares import to_shares
from textlabel.types import LabelSchema

POOL, TEST = 4000, 2000
#: what tells one row of the result from another
KEY = ("set", "per_class", "seed", "backbone", "contender")


class Contender(NamedTuple):
    """A recipe, whether it reads the corpus, the upper half of the layers and names, and is told shares."""

    recipe: str
    reads: bool = False
    upper_half: bool = False
    names: bool = True
    shares: bool = False


CONTENDERS = {
    "auto": Contender("auto"),
    "auto+corpus": Contender("auto", reads=True),
    "auto+corpus, no names": Contender("auto", reads=True, names=False),
    "auto+corpus, shares": Contender("auto", reads=True, shares=True),
    "head": Contender("head"),
    "layers": Contender("head", upper_half=True),
    "prototype": Contender("prototype"),
    "lda": Contender("lda"),
    "tfidf": Contender("tfidf"),
}


def recipe_of(contender: Contender) -> Recipe:
    made = Recipe.load(contender.recipe).to_dict()
    if not contender.names:
        for stage in made["stage"]:
            stage["tune"]["name_weights"] = [0]
    return Recipe.from_dict(made)


def score(
    backbone: Backbone, split: Split, contender: str, per_class: int, seed: int, budget: float, cache: Path
) -> dict[str, Any]:
    index = draw(split.pool_labels, per_class, seed)
    asked = CONTENDERS[contender]
    if asked.recipe == "tfidf":
        backbone = without_ngrams()
    elif asked.upper_half:
        backbone = replace(backbone, info=replace(backbone.info, layers=backbone.depth // 2 + 1))
    task = Task(
        [split.pool[i] for i in index],
        split.pool_labels[index],
        LabelSchema("single", split.classes),
        split.test if asked.reads else (),
    )
    bundle = adapt(backbone, task, recipe_of(asked), seed, budget=budget, cache=cache)
    logits, _ = predict(bundle.classifier, split.test, cache=cache)
    assert bundle.calibrator is not None
    probabilities = bundle.calibrator.apply(logits.astype(np.float64))
    if asked.shares:
        shares = np.bincount(split.pool_labels, minlength=len(split.classes)) / len(split.pool_labels)
        found = to_shares(probabilities, shares)
        if isinstance(found, LabelShift):
            probabilities = corrected(probabilities, found.weights)
    labels, sure = probabilities.argmax(axis=1), probabilities.max(axis=1)
    right = labels == split.test_labels
    tried = bundle.record.get("tried", [])
    return {
        "contender": contender,
        "set": split.name,
        "per_class": per_class,
        "seed": seed,
        "accuracy": round(float(right.mean()), 4),
        "macro_f1": round(macro_f1(split.test_labels, labels, len(split.classes)), 4),
        "ece": round(ece(sure, right), 4),
        "ece_if_perfect": round(ece_if_perfect(sure), 4),
        "chosen": [f"{t['name']}, {t['layers']} layers" for t in tried if t["verdict"] == "chosen"],
        "floor": next((t["accuracy"] for t in tried if t["name"] == FLOOR), None),
    }


def one_set(split: Split, chosen: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the scores of every draw of one set, in a process with one thread."""
    import torch

    torch.set_num_threads(1)
    backbone = load_backbone(chosen.backbone)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for per_class in sizes(split, chosen.per_class):
            for seed in range(chosen.seeds):
                for contender in chosen.contenders:
                    found = score(backbone, split, contender, per_class, seed, chosen.budget, Path(folder))
                    rows.append({"backbone": chosen.backbone, **found})
                    print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = arguments(__doc__ or "", seeds=10)
    parser.add_argument("--backbone", default="all-MiniLM-L6-v2")
    parser.add_argument("--sets", nargs="+", default=[*SETS, *MORE_SETS])
    parser.add_argument("--per-class", type=int, nargs="+", default=[8, 64])
    parser.add_argument("--contenders", nargs="+", default=list(CONTENDERS))
    parser.add_argument("--budget", type=float, default=0.0)
    parser.add_argument("--jobs", type=int, default=2, help="sets measured at a time, one thread each")
    parser.add_argument("--keep", action="store_true", help="keep what the result file has of other draws")
    chosen = parser.parse_args()
    if not chosen.data:
        raise SystemExit("no --data: nothing to measure")
    splits = [s for name in chosen.sets if (s := public(name, chosen.data, (POOL, TEST))) is not None]
    rows: list[dict[str, Any]] = []
    path = chosen.out / "few_labels_auto.json"
    known = earlier(path) if chosen.keep and path.exists() else []
    with ProcessPoolExecutor(chosen.jobs, get_context("spawn")) as pool:
        for part in pool.map(partial(one_set, chosen=chosen), splits):
            rows += part
            write(chosen.out, "few_labels_auto", {"budget": chosen.budget, "rows": merged(known, rows)})
    for size in ("few", "many"):
        for contender in chosen.contenders:
            report(rows, contender, many=size == "many")


def earlier(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a result file, each with the day on which it was measured."""
    found = json.loads(path.read_text(encoding="utf-8"))
    return [{"measured": found["date"], **row} for row in found["rows"]]


def merged(known: list[dict[str, Any]], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows, behind those known of other draws, contenders or backbones."""
    fresh = {tuple(row[key] for key in KEY) for row in rows}
    return [row for row in known if tuple(row[key] for key in KEY) not in fresh] + rows


def sizes(split: Split, asked: list[int]) -> list[int]:
    """Return the labels a class that are drawn: 5 where there are more than 20 classes."""
    return asked if len(split.classes) <= 20 else [5]


def report(rows: list[dict[str, Any]], contender: str, many: bool) -> None:
    """Print means over sets of the means over draws."""
    picked = [r for r in rows if r["contender"] == contender and (r["per_class"] > 16) == many]
    names = dict.fromkeys(r["set"] for r in picked)
    for key in ("accuracy", "macro_f1", "ece", "ece_if_perfect"):
        means = [np.mean([r[key] for r in picked if r["set"] == name]) for name in names]
        print(f"{'many' if many else 'few'} {contender} {key}: {np.mean(means):.4f} over {len(means)} sets")


if __name__ == "__main__":
    main()
