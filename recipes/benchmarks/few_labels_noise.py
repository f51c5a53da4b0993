"""What wrong labels cost the head recipe, how many are found, and what pruning or softening them gives back.

    python recipes/benchmarks/few_labels_noise.py --data FOLDER

Labels are drawn, 100 a class, and a fifth of them is made wrong: "symmetric", to any other class at the same
rate, or "class_conditional", those of every second class to the class after it. Test labels are clean.
"without" trains on the right labels only, which nobody could do.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from _bench import Split, arguments, draw, public, write

from textlabel.corpus.dedup import groups
from textlabel.engine.fitter import Clean
from textlabel.engine.head import fit_head
from textlabel.engine.noise import Cleaner
from textlabel.engine.predict import predict
from textlabel.models.backbone import load_backbone
from textlabel.models.classifier import Classifier
from textlabel.recipe import Recipe
from textlabel.types import LabelSchema

BACKBONE = "all-MiniLM-L6-v2"
CHOSEN = ("movie_snippets", "developer_sentiment", "voice_intents")
PER_CLASS = 100
RATE = 0.2
NOISES = ("none", "symmetric", "class_conditional")
STAGE = Recipe.load("head").stages[0]


def noisy(labels: np.ndarray, classes: int, kind: str, rng: np.random.Generator) -> np.ndarray:
    """Return labels of which some were made wrong."""
    wrong = labels.copy()
    if kind == "symmetric":
        rows = rng.permutation(len(labels))[: round(RATE * len(labels))]
        wrong[rows] = (labels[rows] + rng.integers(1, classes, len(rows))) % classes
    if kind == "class_conditional":
        chosen = range(0, classes, 2)
        for c in chosen:
            rows = rng.permutation(np.flatnonzero(labels == c))
            wrong[rows[: round(RATE * classes / len(chosen) * len(rows))]] = (c + 1) % classes
    return wrong


class One:
    """One draw of labels with noise: what each way of training on them gives."""

    def __init__(self, split: Split, pool: np.ndarray, test: np.ndarray, kind: str, seed: int) -> None:
        index = draw(split.pool_labels, PER_CLASS, seed)
        self.split, self.test, self.seed = split, test, seed
        self.features, self.right = pool[index], split.pool_labels[index]
        self.groups = groups([split.pool[i] for i in index])
        self.given = noisy(self.right, len(split.classes), kind, np.random.default_rng([seed, 1]))

    def accuracy(self, labels: np.ndarray, clean: Clean | None = None) -> float:
        classes = len(self.split.classes)
        head = fit_head(self.features, labels, self.groups, classes, STAGE, self.seed, clean).head
        return float(np.mean(head(self.test).argmax(axis=1) == self.split.test_labels))

    def cleaner(self, mode: str) -> Cleaner:
        return Cleaner(self.features, self.given, self.groups, len(self.split.classes), mode, self.seed)

    def measured(self) -> dict[str, float]:
        wrong = self.given != self.right
        errors, _ = self.cleaner("prune").errors(np.arange(len(wrong)))
        hit = int((errors.found & wrong).sum())
        rows = np.flatnonzero(~wrong)

        def without(some: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            kept = np.intersect1d(some, rows)
            return kept, self.right[kept]

        return {
            "keep": self.accuracy(self.given),
            "prune": self.accuracy(self.given, self.cleaner("prune")),
            "soft": self.accuracy(self.given, self.cleaner("soft")),
            "without": self.accuracy(self.given, without),
            "found": float(errors.found.mean()),
            "precision": hit / max(int(errors.found.sum()), 1),
            "recall": hit / max(int(wrong.sum()), 1),
            "suggested_right": float(
                np.mean(errors.likely[errors.found & wrong] == self.right[errors.found & wrong])
            )
            if hit
            else 0.0,
            "wrong_share": float(wrong.mean()),
            "estimated_wrong_share": errors.wrong_share,
        }


def measure(split: Split, classifier: Classifier, seeds: int) -> dict[str, Any]:
    features = predict(classifier, split.pool + split.test)[1].astype(np.float64)
    pool, test = features[: len(split.pool)], features[len(split.pool) :]
    found: dict[str, Any] = {"classes": len(split.classes)}
    for kind in NOISES:
        runs = [One(split, pool, test, kind, seed).measured() for seed in range(seeds)]
        found[kind] = {name: [round(run[name], 4) for run in runs] for name in runs[0]}
        print(
            split.name,
            kind,
            {name: round(float(np.mean(v)), 3) for name, v in found[kind].items()},
            flush=True,
        )
    return found


def main() -> None:
    chosen = arguments(__doc__ or "", seeds=5).parse_args()
    if chosen.data is None:
        raise SystemExit("give --data: the bundled reviews are one kind of text")
    classifier = Classifier(load_backbone(BACKBONE), LabelSchema("single", ("a", "b"))).eval()
    splits = [split for name in CHOSEN if (split := public(name, chosen.data)) is not None]
    sets = {split.name: measure(split, classifier, chosen.seeds) for split in splits}
    settings = {"backbone": BACKBONE, "labels_per_class": PER_CLASS, "rate": RATE, "seeds": chosen.seeds}
    write(chosen.out, "few_labels_noise", {**settings, "sets": sets})


if __name__ == "__main__":
    main()
