"""How good labels are before the first label: class names alone, and class names with a corpus.

    python recipes/benchmarks/few_labels_zero.py --data FOLDER [--sets NAME ...]

Beside them stand the class that is most frequent in the test rows, which nobody knows beforehand, and the
head recipe on 8 labels a class (5 where there are more than 20 classes). Classes are called what the set
calls them, but for the fields of arXiv, whose codes say nothing and which are described. Labels are
drawn from a pool, some of whose texts are the corpus; test rows are seen by no contender. Of a text the first
64 tokens are read. Frozen features, computed once a set.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

os.environ["TEXTLABEL_CACHE_GB"] = "8"  # features of a text are the same for every draw

import numpy as np
from _bench import MORE_SETS, SETS, Split, arguments, draw, public, write

from textlabel.engine.adapt import adapt
from textlabel.engine.label_names import adapt_to_names
from textlabel.engine.predict import predict
from textlabel.engine.run import Task
from textlabel.engine.task import described
from textlabel.models.backbone import Backbone, load_backbone
from textlabel.models.bundle import Bundle
from textlabel.recipe import Recipe
from textlabel.trust.metrics import ece, macro_f1
from textlabel.types import LabelSchema

POOL, CORPUS, TEST = 4000, 1000, 500
#: sets whose classes have names in words, in a language that the backbone may know
NAMED = [name for name in [*SETS, *MORE_SETS] if name not in ("titles_chinese", "shopping_chinese")]
ARXIV = {
    "cs.CR": "cryptography and security",
    "cs.DB": "databases",
    "cs.DC": "distributed, parallel and cluster computing",
    "cs.HC": "human-computer interaction",
    "cs.IR": "information retrieval",
    "cs.LO": "logic in computer science",
    "cs.NE": "neural and evolutionary computing",
    "cs.NI": "networking and internet architecture",
    "cs.RO": "robotics",
    "cs.SE": "software engineering",
    "eess.IV": "image and video processing",
    "eess.SP": "signal processing",
    "math.CA": "classical analysis and differential equations",
    "math.GR": "group theory",
    "math.QA": "quantum algebra",
}


def score(bundle: Bundle, split: Split, cache: Path) -> dict[str, float]:
    logits, _ = predict(bundle.classifier, split.test, cache=cache)
    assert bundle.calibrator is not None
    probabilities = bundle.calibrator.apply(logits.astype(np.float64))
    labels = probabilities.argmax(axis=1)
    right = labels == split.test_labels
    return {
        "accuracy": float(right.mean()),
        "macro_f1": macro_f1(split.test_labels, labels, len(split.classes)),
        "ece": ece(probabilities.max(axis=1), right),
    }


def one_set(split: Split, backbone: Backbone, seeds: int) -> dict[str, Any]:
    schema = LabelSchema("single", split.classes)
    schema = described(schema, ARXIV if split.name == "arxiv_fields" else {})
    per_class = 8 if len(split.classes) <= 20 else 5
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder)
        found: dict[str, Any] = {"set": split.name, "classes": len(split.classes), "per_class": per_class}
        found["majority"] = {"accuracy": float(np.bincount(split.test_labels).max() / len(split.test_labels))}
        for name, corpus in (("names", []), ("names+corpus", split.pool[:CORPUS])):
            found[name] = score(adapt_to_names(backbone, schema, corpus, 0, cache=cache), split, cache)
        draws = []
        for seed in range(seeds):
            index = draw(split.pool_labels, per_class, seed)
            task = Task([split.pool[i] for i in index], split.pool_labels[index], schema)
            draws.append(score(adapt(backbone, task, Recipe.load("head"), seed, cache=cache), split, cache))
        found["head"] = {key: float(np.mean([drawn[key] for drawn in draws])) for key in draws[0]}
    return found


def main() -> None:
    parser = arguments(__doc__ or "", seeds=2)
    parser.add_argument("--backbone", default="all-MiniLM-L6-v2")
    parser.add_argument("--sets", nargs="+", default=NAMED)
    chosen = parser.parse_args()
    if not chosen.data:
        raise SystemExit("no --data: nothing to measure")
    import torch

    torch.set_num_threads(1)
    backbone = load_backbone(chosen.backbone, max_length=64)
    rows: list[dict[str, Any]] = []
    for name in chosen.sets:
        split = public(name, chosen.data, (POOL, TEST))
        if split is None:
            continue
        rows.append(one_set(split, backbone, chosen.seeds))
        told = {k: round(v["accuracy"], 3) for k, v in rows[-1].items() if isinstance(v, dict)}
        print(split.name, told, flush=True)
        report(rows, chosen.out, chosen.backbone)


def report(rows: list[dict[str, Any]], out: Path, backbone: str) -> None:
    contenders = ["majority", "names", "names+corpus", "head"]
    means = {c: round(float(np.mean([row[c]["accuracy"] for row in rows])), 4) for c in contenders}
    print(f"mean accuracy over {len(rows)} sets:", means)
    write(out, "few_labels_zero", {"backbone": backbone, "means": means, "rows": _rounded(rows)})


def _rounded(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    def short(value: Any) -> Any:
        return {k: round(v, 4) for k, v in value.items()} if isinstance(value, dict) else value

    return [{key: short(value) for key, value in row.items()} for row in rows]


if __name__ == "__main__":
    main()
