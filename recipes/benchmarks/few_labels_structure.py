"""What a tree over the classes, and an order of them, give a head on frozen features.

    python recipes/benchmarks/few_labels_structure.py --data FOLDER [--features FOLDER]

Trees of two levels: "flat" knows of no tree, "tree" shrinks classes toward their parent, as
`fit --label-tree` does, and "nested" is a softmax of its own at each inner node,
p(leaf) = p(parent) p(leaf | parent). All have the same rows and grid of penalties, and a temperature from
out-of-fold logits. Back-off is at 0.8. Of the intents of clinc150 five of each of its six domains are taken.

Orders: strengths of reviews, cut into classes. "ordered" is what `fit --ordered` does, "free" knows of no
order, and "mse" is regression on the number of the class, rounded. Labels are drawn evenly, test rows are as
they come, and product sentences of strength 0, which are mixed, are left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from _bench import Split, _rows, _split, arguments, draw, write

from textlabel.corpus.dedup import groups
from textlabel.engine.fitter import FREE
from textlabel.engine.head import fit_head
from textlabel.engine.predict import predict
from textlabel.label_tree import LabelTree
from textlabel.models.backbone import load_backbone
from textlabel.models.classifier import Classifier
from textlabel.models.structure import mixings
from textlabel.recipe import Recipe
from textlabel.trust import metrics
from textlabel.trust.back_off import deepest_nodes
from textlabel.trust.calibration import softmax
from textlabel.trust.calibrators.temperature import fit as fit_temperature
from textlabel.types import LabelSchema

BACKBONE = "all-MiniLM-L6-v2"
HEAD = Recipe.load("head").stages[0]
REGRESSION = Recipe.load("regression").stages[0]
BACK_OFF = 0.8

#: set -> files, column of the parent, rows to draw from and test rows
TREES = {
    "clinc150": ("clinc150/t*", "domain", (2000, 900)),
    "arxiv": ("arxiv_cs_math/labelled", "domain", (1000, 457)),
    "news20": ("news20/t*", "parent", (1000, 600)),
}
TREE_LABELS = (2, 5, 16)
#: classes below a parent that are taken
MOST_BELOW = 5
#: set -> files, where the score is cut
SCALES = {
    "product_strength": ("product_reviews_cr/*", (-2.5, -1.5, 0.0, 1.5, 2.5)),
    "film_snippets": ("vader_reviews/movie", (-1.5, -0.5, 0.5, 1.5)),
}
SCALE_LABELS = (8, 16, 64)

Encode = Callable[[list[str]], np.ndarray]


class Rows(NamedTuple):
    """A draw of labels: features, classes and groups."""

    x: np.ndarray
    y: np.ndarray
    groups: np.ndarray
    seed: int


class Scored(NamedTuple):
    """Logits of test rows and of the drawn rows, these by heads that did not train on them."""

    test: np.ndarray
    out_of_fold: np.ndarray
    share: float = 0.0


def read(data: Path, pattern: str) -> list[dict[str, Any]]:
    files = sorted(data.glob(f"{pattern}.jsonl.gz"))
    return [row for file in files for row in _rows(file)]


def parted(name: str, rows: list[dict[str, Any]], cap: tuple[int, int]) -> Split:
    return _split(name, rows, [row.get("split") == "test" for row in rows], cap)


def tree_of(split: Split, rows: list[dict[str, Any]], column: str) -> LabelTree:
    """Return the tree; a parent may bear the name of a class, so it gets another."""
    above = {row["label"]: f"{column}: {row[column]}" for row in rows}
    return LabelTree(split.classes, tuple((name, above[name]) for name in split.classes))


def fewer(rows: list[dict[str, Any]], column: str) -> list[dict[str, Any]]:
    """Return the rows of the first classes of each parent, by name."""
    below: dict[str, set[str]] = {}
    for row in rows:
        below.setdefault(row[column], set()).add(row["label"])
    kept = {name for names in below.values() for name in sorted(names)[:MOST_BELOW]}
    return [row for row in rows if row["label"] in kept]


def solved(rows: Rows, test: np.ndarray, schema: LabelSchema | None, k: int) -> Scored:
    tried = FREE if schema is None else mixings(schema)
    fitted = fit_head(rows.x, rows.y, rows.groups, k, HEAD, rows.seed, mixings=tried)
    return Scored(fitted.head(test), fitted.out_of_fold, fitted.share)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(softmax(logits), 1e-12))


def nested(rows: Rows, test: np.ndarray, tree: LabelTree) -> Scored:
    """Return log p(parent) + log p(leaf | parent), each by a head of its own."""
    above = tree.at_depth(1)
    top = solved(rows._replace(y=above[rows.y]), test, None, len(tree.inner))
    found = Scored(log_softmax(top.test)[:, above], log_softmax(top.out_of_fold)[:, above])
    for node in range(len(tree.inner)):
        below = np.flatnonzero(above == node)
        inside = np.isin(rows.y, below)
        if len(below) == 1:
            continue
        part = Rows(rows.x[inside], np.searchsorted(below, rows.y[inside]), rows.groups[inside], rows.seed)
        fitted = fit_head(part.x, part.y, part.groups, len(below), HEAD, rows.seed)
        own = fitted.head(rows.x)
        own[inside] = fitted.out_of_fold
        found.test[:, below] += log_softmax(fitted.head(test))
        found.out_of_fold[:, below] += log_softmax(own)
    return found


def judged(scored: Scored, rows: Rows, y: np.ndarray, tree: LabelTree) -> dict[str, float]:
    probabilities = fit_temperature(scored.out_of_fold, rows.y).apply(scored.test)
    said, above = probabilities.argmax(axis=1), tree.at_depth(1)
    node, _ = deepest_nodes(probabilities, tree, BACK_OFF)
    told = node >= 0
    return {
        "accuracy": metrics.accuracy(y, said),
        "parent_accuracy": metrics.accuracy(above[y], above[said]),
        "nll": metrics.nll(y, probabilities),
        "with_node": float(told.mean()),
        "node_accuracy": float(tree.members[node[told], y[told]].mean()) if told.any() else np.nan,
        "leaf_sure": float((probabilities.max(axis=1) >= BACK_OFF).mean()),
        "share": scored.share,
    }


def of_tree(split: Split, tree: LabelTree, encode: Encode, seeds: int) -> dict[str, Any]:
    features = encode(split.pool + split.test)
    pool, test, k = features[: len(split.pool)], features[len(split.pool) :], len(split.classes)
    schema = LabelSchema("single", split.classes, parents=tree.parents)
    found: dict[str, Any] = {"classes": k, "parents": len(tree.inner), "test_rows": len(test)}
    for per_class in TREE_LABELS:
        runs: dict[str, list[dict[str, float]]] = {"flat": [], "tree": [], "nested": []}
        for seed in range(seeds):
            index = draw(split.pool_labels, per_class, seed)
            texts = [split.pool[i] for i in index]
            rows = Rows(pool[index], split.pool_labels[index], groups(texts), seed)
            scored = {
                "flat": solved(rows, test, None, k),
                "tree": solved(rows, test, schema, k),
                "nested": nested(rows, test, tree),
            }
            for name, one in scored.items():
                runs[name].append(judged(one, rows, split.test_labels, tree))
        found[str(per_class)] = compared(runs, "flat")
        show(split.name, per_class, found[str(per_class)])
    return found


def ordered(rows: Rows, test: np.ndarray, k: int) -> dict[str, tuple[np.ndarray, float]]:
    """Return the class of each test row by each way, and the share that was chosen."""
    schema = LabelSchema("single", tuple(map(str, range(k))), ordered=True)
    ours, free = solved(rows, test, schema, k), solved(rows, test, None, k)
    fitted = fit_head(rows.x, rows.y.astype(float), rows.groups, 1, REGRESSION, rows.seed)
    rounded = np.clip(np.rint(fitted.head(test)[:, 0]), 0, k - 1).astype(int)
    return {
        "free": (free.test.argmax(axis=1), 0.0),
        "ordered": (ours.test.argmax(axis=1), ours.share),
        "mse": (rounded, 0.0),
    }


def of_scale(split: Split, encode: Encode, seeds: int) -> dict[str, Any]:
    features = encode(split.pool + split.test)
    pool, test, k = features[: len(split.pool)], features[len(split.pool) :], len(split.classes)
    y = split.test_labels
    counts = np.bincount(y, minlength=k).tolist()
    found: dict[str, Any] = {"classes": k, "test_rows": len(test), "test_rows_by_class": counts}
    for per_class in SCALE_LABELS:
        runs: dict[str, list[dict[str, float]]] = {"free": [], "ordered": [], "mse": []}
        for seed in range(seeds):
            index = draw(split.pool_labels, per_class, seed)
            texts = [split.pool[i] for i in index]
            rows = Rows(pool[index], split.pool_labels[index], groups(texts), seed)
            for name, (said, share) in ordered(rows, test, k).items():
                told = {"accuracy": metrics.accuracy(y, said), "steps_off": metrics.mae(y, said)}
                told |= {"macro_f1": metrics.macro_f1(y, said, k)}
                told |= {"quadratic_kappa": metrics.quadratic_kappa(y, said, k), "share": share}
                runs[name].append(told)
        found[str(per_class)] = compared(runs, "free")
        show(split.name, per_class, found[str(per_class)])
    return found


def compared(runs: dict[str, list[dict[str, float]]], base: str) -> dict[str, Any]:
    """Return means, and differences to ``base`` with the standard error of their mean over seeds.

    Draws in which no row has a node say nothing of the accuracy of nodes.
    """
    found: dict[str, Any] = {"seeds": len(runs[base])}
    for name, several in runs.items():
        values = {key: np.array([one[key] for one in several]) for key in several[0]}
        found[name] = {key: mean(of[np.isfinite(of)]) for key, of in values.items()}
        if name == base:
            continue
        for key, of in values.items():
            less = of - np.array([one[key] for one in runs[base]])
            less = less[np.isfinite(less)]
            error = less.std(ddof=1) / np.sqrt(len(less)) if len(less) > 1 else 0.0
            found[name][f"{key}_minus_{base}"] = [mean(less), round(float(error), 4)]
    return found


def mean(values: np.ndarray) -> float | None:
    return round(float(values.mean()), 4) if len(values) else None


def show(name: str, per_class: int, found: dict[str, Any]) -> None:
    for way, told in found.items():
        if isinstance(told, dict):
            print(name, per_class, way, {k: v for k, v in told.items() if "_minus_" not in k}, flush=True)


def main() -> None:
    parser = arguments(__doc__ or "", seeds=5)
    parser.add_argument("--features", type=Path, help="folder that keeps features for the next run")
    chosen = parser.parse_args()
    if chosen.data is None:
        raise SystemExit("give --data: no bundled set has a tree or an order of classes")
    start = time.monotonic()
    classifier = Classifier(load_backbone(BACKBONE), LabelSchema("single", ("a", "b"))).eval()

    def encode(texts: list[str]) -> np.ndarray:
        return predict(classifier, texts, cache=chosen.features)[1].astype(np.float64)

    trees, scales = {}, {}
    for name, (pattern, column, cap) in TREES.items():
        rows = [row for row in read(chosen.data, pattern) if row.get("label") is not None]
        rows = fewer(rows, column) if name == "clinc150" else rows
        split = parted(name, rows, cap)
        trees[name] = of_tree(split, tree_of(split, rows, column), encode, chosen.seeds)
    for name, (pattern, cuts) in SCALES.items():
        rows = [row for row in read(chosen.data, pattern) if row.get("score") is not None]
        rows = [row for row in rows if row["score"] or 0.0 not in cuts]
        rows = [{**row, "label": int(np.digitize(row["score"], cuts))} for row in rows]
        scales[name] = of_scale(parted(name, rows, (2000, 700)), encode, chosen.seeds)
    settings = {"backbone": BACKBONE, "back_off": BACK_OFF, "seconds": round(time.monotonic() - start)}
    write(chosen.out, "few_labels_structure", {**settings, "trees": trees, "orders": scales})


if __name__ == "__main__":
    main()
