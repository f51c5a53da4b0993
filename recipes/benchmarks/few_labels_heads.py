"""Which head on frozen features is best where labels are few, and whether a choice between two pays.

    python recipes/benchmarks/few_labels_heads.py --data FOLDER [--per-class 8 64] [--sets NAME ...]

All heads read the upper half of the layers, as `auto` does. `cross_entropy`, `ridge`, `lda` and `prototype`
are objectives of this package, solved by `fit_head`. `knn` (labels of the nearest rows, weighted by cosine)
and `mlp` (one hidden layer) are written out here: the package's objectives of these names came later, and
try other settings.
Every head's settings are chosen by five folds, which also calibrate it. `+corpus` adds what `auto` adds:
names of the classes and the texts that are to be labeled, without their labels.

`gain` and `error` compare `lda+corpus` with `cross_entropy+corpus` on rows that neither trained on: the mean
of the paired differences of their losses and its standard error, by which one would choose between them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from _bench import MORE_SETS, SETS, Split, arguments, draw, hierarchical_interval, public, write

from textlabel.corpus.dedup import groups as duplicates
from textlabel.corpus.split import folds as make_folds
from textlabel.corpus.split import splittable
from textlabel.engine.comparison import tempered_losses
from textlabel.engine.fitter import Aside
from textlabel.engine.head import fit_head
from textlabel.engine.predict import predict
from textlabel.models.backbone import load_backbone
from textlabel.models.class_names import by_template, sentences
from textlabel.models.classifier import Classifier
from textlabel.recipe import Stage
from textlabel.trust.choice import choose
from textlabel.trust.metrics import ece, ece_if_perfect, nll
from textlabel.types import LabelSchema

POOL, TEST, LAYERS = 1500, 600, 4
SOLVED = ("cross_entropy", "ridge", "lda", "prototype")
#: options of `recipes/auto.toml`
CORPUS = {"name_weights": [0, 1, 3, 8], "spread": [0.5, 0.0, 0.8]}
#: of more classes the hundreds of heads that names and corpus are chosen by take minutes a draw
CORPUS_CLASSES = 3
#: neighbors and temperature; hidden units and weight decay
NEIGHBORS = [(k, t) for k in (1, 3, 5, 10, 20) for t in (0.05, 0.2)]
HIDDEN = [(64, 0.01), (64, 0.3)]


class Features(NamedTuple):
    """Of rows to draw from (n, d), of test rows (m, d), and of the names of the classes (t, k, d)."""

    pool: np.ndarray
    test: np.ndarray
    names: np.ndarray


class Rows(NamedTuple):
    """A draw: features (n, d), classes (n,), duplicates (n,), and features (m, d) of test rows."""

    x: np.ndarray
    y: np.ndarray
    group: np.ndarray
    test: np.ndarray
    names: np.ndarray
    seed: int

    @property
    def classes(self) -> int:
        return self.names.shape[1]


#: out-of-fold logits (n, k) and logits of test rows (m, k)
Logits = tuple[np.ndarray, np.ndarray]


def features(split: Split, folder: Path | None) -> Features:
    """Return features, which are kept in ``folder`` from one run to the next."""
    path = None if folder is None else folder / f"{split.name}.npz"
    if path is not None and path.is_file():
        return Features(**np.load(path))
    schema = LabelSchema("single", split.classes)
    classifier = Classifier(load_backbone("all-MiniLM-L6-v2", layers=LAYERS), schema).eval()
    texts = (split.pool, split.test, sentences(schema.in_words()))
    pool, test, named = (predict(classifier, some)[1] for some in texts)
    found = Features(pool, test, by_template(named))
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **found._asdict())
    return found


def solved(rows: Rows, objective: str, corpus: bool = False) -> Logits:
    options = CORPUS if corpus else {}
    stage = Stage.of(
        tune={"name": "head", **options}, objective=objective, rows="both" if corpus else "labeled"
    )
    aside = Aside(names=rows.names, unlabeled=rows.test) if corpus else Aside()
    found = fit_head(rows.x, rows.y, rows.group, rows.classes, stage, rows.seed, aside=aside)
    return found.out_of_fold, found.head(rows.test)


def chosen_by_folds(rows: Rows, grid: Sequence[Any], head: Callable[..., np.ndarray]) -> Logits:
    """Return logits of the setting of least out-of-fold loss."""
    judged = splittable(rows.y, rows.group)
    fold = np.full(len(rows.y), -1)
    fold[judged] = make_folds(rows.y[judged], rows.group[judged], 5, rows.seed)
    tried = []
    for setting in grid:
        logits = np.zeros((len(rows.y), rows.classes))
        for held in (fold == f for f in np.unique(fold[judged])):
            logits[held] = head(rows.x[~held], rows.y[~held], rows.x[held], rows.classes, *setting)
        tried.append((float(tempered_losses(logits[judged], rows.y[judged]).mean()), setting, logits))
    _, setting, logits = min(tried, key=lambda found: found[0])
    return logits, head(rows.x, rows.y, rows.test, rows.classes, *setting)


def knn(
    x: np.ndarray, y: np.ndarray, asked: np.ndarray, classes: int, neighbors: int, temperature: float
) -> np.ndarray:
    def centered(some: np.ndarray) -> np.ndarray:
        apart = some - x.mean(axis=0)
        return apart / np.maximum(np.linalg.norm(apart, axis=1, keepdims=True), 1e-12)

    cosines = centered(asked) @ centered(x).T
    count = min(neighbors, len(x))
    near = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
    weight = np.exp((np.take_along_axis(cosines, near, axis=1) - 1) / temperature)
    shares = (weight[:, :, None] * np.eye(classes)[y[near]]).sum(axis=1) / weight.sum(axis=1, keepdims=True)
    return np.log((shares + 1e-3) / (1 + 1e-3 * classes))


def mlp(
    x: np.ndarray, y: np.ndarray, asked: np.ndarray, classes: int, hidden: int, decay: float
) -> np.ndarray:
    import torch

    torch.manual_seed(0)
    mean, scale = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-9)
    # the rows span few directions: what else the weights could see, no row does
    _, values, axes = np.linalg.svd((x - mean) / scale, full_matrices=False)
    axes = axes[values > 1e-6 * values[0]].T / np.sqrt(x.shape[1])
    inputs, others = (torch.tensor((some - mean) / scale @ axes, dtype=torch.float32) for some in (x, asked))
    net = torch.nn.Sequential(
        torch.nn.Linear(inputs.shape[1], hidden),
        torch.nn.ReLU(),
        torch.nn.Dropout(0.2),
        torch.nn.Linear(hidden, classes),
    )
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2, weight_decay=decay)
    for _ in range(150):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(inputs), torch.tensor(y)).backward()
        optimizer.step()
    with torch.no_grad():
        return net.eval()(others).double().numpy()


def every_head(rows: Rows, only: Sequence[str]) -> dict[str, Logits]:
    heads: dict[str, Callable[[], Logits]] = {name: lambda n=name: solved(rows, n) for name in SOLVED}
    heads["knn"] = lambda: chosen_by_folds(rows, NEIGHBORS, knn)
    heads["mlp"] = lambda: chosen_by_folds(rows, HIDDEN, mlp)
    for name in ("cross_entropy", "lda") if rows.classes <= CORPUS_CLASSES else ():
        heads[f"{name}+corpus"] = lambda n=name: solved(rows, n, corpus=True)
    return {name: head() for name, head in heads.items() if not only or name in only}


def score(
    split: Split, known: Features, per_class: int, seed: int, only: Sequence[str]
) -> list[dict[str, Any]]:
    index = draw(split.pool_labels, per_class, seed)
    y, group = split.pool_labels[index].astype(np.int64), duplicates([split.pool[i] for i in index])
    rows = Rows(known.pool[index], y, group, known.test, known.names, seed)
    found = every_head(rows, only)
    told = {"set": split.name, "per_class": per_class, "seed": seed}
    scores = []
    for name, (out_of_fold, logits) in found.items():
        p = choose(out_of_fold, y, group, seed).calibrator.apply(logits)
        sure, right = p.max(axis=1), p.argmax(axis=1) == split.test_labels
        figures = {
            "accuracy": right.mean(),
            "nll": nll(split.test_labels, p),
            "ece": ece(sure, right),
            "ece_if_perfect": ece_if_perfect(sure),
        }
        scores.append({**told, "head": name, **{k: round(float(v), 4) for k, v in figures.items()}})
    if {"lda+corpus", "cross_entropy+corpus"} <= found.keys():
        usual, other = (tempered_losses(found[f"{n}+corpus"][0], y) for n in ("cross_entropy", "lda"))
        gain = usual - other
        error = gain.std(ddof=1) / np.sqrt(len(gain))
        scores[-1] |= {"gain": round(float(gain.mean()), 5), "error": round(float(error), 5)}
    return scores


def sizes(split: Split, asked: Sequence[int]) -> list[int]:
    """Return the labels a class that are drawn: 5 where there are more than 20 classes, 64 up to 7."""
    few = [size if len(split.classes) <= 20 else 5 for size in asked if size <= 16]
    return few + [size for size in asked if size > 16 and len(split.classes) <= 7]


def main() -> None:
    parser = arguments(__doc__ or "", seeds=5)
    parser.add_argument("--sets", nargs="+", default=[*SETS, *MORE_SETS])
    parser.add_argument("--per-class", type=int, nargs="+", default=[8, 64])
    parser.add_argument("--heads", nargs="+", default=[], help="only these")
    parser.add_argument("--features", type=Path, help="folder where features are kept between runs")
    chosen = parser.parse_args()
    if not chosen.data:
        raise SystemExit("no --data: nothing to measure")
    splits = [s for name in chosen.sets if (s := public(name, chosen.data, (POOL, TEST))) is not None]
    known = {split.name: features(split, chosen.features) for split in splits}
    rows: list[dict[str, Any]] = []
    for size in chosen.per_class:
        for seed in range(chosen.seeds):
            for split in splits:
                for per_class in sizes(split, [size]):
                    rows += score(split, known[split.name], per_class, seed, chosen.heads)
                    print(split.name, per_class, seed, flush=True)
            write(chosen.out, "few_labels_heads", {"backbone": "all-MiniLM-L6-v2", "rows": rows})
    for many in (False, True):
        report([row for row in rows if (row["per_class"] > 16) == many], "many" if many else "few")


def report(rows: list[dict[str, Any]], size: str) -> None:
    """Print how each head differs from `cross_entropy`, or from it with the corpus, on the same draws."""
    score_of = {(r["head"], r["set"], r["seed"]): r for r in rows}
    for head in dict.fromkeys(row["head"] for row in rows):
        base = "cross_entropy+corpus" if head.endswith("+corpus") else "cross_entropy"
        gains: dict[str, list[float]] = {}
        for row in (row for row in rows if row["head"] == head):
            other = score_of[base, row["set"], row["seed"]]
            gains.setdefault(row["set"], []).append(100 * (row["accuracy"] - other["accuracy"]))
        mean, low, high = hierarchical_interval(gains)
        means = {
            k: float(np.mean([r[k] for r in rows if r["head"] == head])) for k in ("accuracy", "nll", "ece")
        }
        told = ", ".join(f"{name} {value:.4f}" for name, value in means.items())
        print(f"{size} {head}: {mean:+.2f} points ({low:+.2f} to {high:+.2f}) on {len(gains)} sets; {told}")


if __name__ == "__main__":
    main()
