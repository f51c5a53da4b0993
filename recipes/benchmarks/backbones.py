"""Which backbone is the default: accuracy of the head recipe at 8 and 64 labels a class, size.

    python recipes/benchmarks/backbones.py --data FOLDER [--backbones NAME ...]

Test rows are never seen in training or in the choice of the ridge strength.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from _bench import Split, arguments, draw, every_set, write

from textlabel.corpus.dedup import groups
from textlabel.engine.head import fit_head
from textlabel.engine.predict import predict
from textlabel.models.backbone import load_backbone
from textlabel.models.catalog import entries
from textlabel.models.classifier import Classifier
from textlabel.recipe import Recipe
from textlabel.types import LabelSchema


def accuracy(split: Split, pool: np.ndarray, test: np.ndarray, per_class: int, seed: int) -> float:
    index = draw(split.pool_labels, per_class, seed)
    texts = [split.pool[i] for i in index]
    stage = Recipe.load("head").stages[0]
    fitted = fit_head(pool[index], split.pool_labels[index], groups(texts), len(split.classes), stage, seed)
    return float(np.mean(fitted.head(test).argmax(axis=1) == split.test_labels))


def measure(name: str, splits: list[Split], seeds: int) -> dict[str, Any]:
    entry = entries()[name]
    classifier = Classifier(load_backbone(name), LabelSchema("single", ("a", "b")))
    result: dict[str, Any] = {"megabytes": entry.megabytes, "parameters": entry.parameters, "sets": {}}
    for split in splits:
        features = predict(classifier, split.pool + split.test)[1].astype(np.float64)
        pool, test = features[: len(split.pool)], features[len(split.pool) :]
        result["sets"][split.name] = {
            str(n): [round(accuracy(split, pool, test, n, seed), 4) for seed in range(seeds)] for n in (8, 64)
        }
        print(
            name, split.name, {n: round(float(np.mean(a)), 3) for n, a in result["sets"][split.name].items()}
        )
    return result


def table(found: dict[str, Any]) -> str:
    """Return README's table: means over sets and seeds, with the spread over seeds of the mean over sets."""
    lines = [
        "| name | parameters | MB | license | 8 a class | 64 a class |",
        "|---|---|---|---|---|---|",
    ]
    for name, result in found.items():
        cells = []
        for n in ("8", "64"):
            over_sets = np.mean([scores[n] for scores in result["sets"].values()], axis=0)
            cells.append(f"{100 * over_sets.mean():.1f} ± {100 * over_sets.std():.1f}")
        facts = f"{result['parameters'] / 1e6:.1f} M | {result['megabytes']:.0f} | {entries()[name].license}"
        lines.append(f"| {name} | {facts} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = arguments(__doc__ or "", seeds=10)
    parser.add_argument("--backbones", nargs="+", default=list(entries()))
    chosen = parser.parse_args()
    splits = every_set(chosen.data, cap=(500, 300))
    found = {name: measure(name, splits, chosen.seeds) for name in chosen.backbones}
    print(table(found))
    write(chosen.out, "backbones", {"seeds": chosen.seeds, "backbones": found})


if __name__ == "__main__":
    main()
