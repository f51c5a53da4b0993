"""Several labels a row against one label of their power set, from the same few rows, on the same features.

    python recipes/benchmarks/few_labels_multilabel.py --data FOLDER

"opinions" are sentences of product reviews that praise, find fault, or both; sentences in which nobody tagged
an opinion are left out, as nobody said that there is none. Few hold both: the test rows have their natural
shares, the drawn ones as many of each. "reviews" are of books or films, and positive or negative: classes are
film and positive, so a row may carry either, both or none, and there are as many of each.

"multilabel" is the recipe with a threshold of one half, "multilabel_f1" with thresholds for F1, "power_set"
the recipe head on one class for each set of labels that occurs; a label's probability is then the sum over
the sets that hold it. Rows are drawn for each set of labels, and half of all rows are for the test.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["TEXTLABEL_CACHE_GB"] = "1"  # nothing is timed here, and 60 models read the same texts

import numpy as np
from _bench import _rows, arguments, draw, write

from textlabel import Labeler
from textlabel.corpus.dedup import text_key
from textlabel.report.evaluation import evaluate_labels

BACKBONE = "all-MiniLM-L6-v2"
PER_SET = (16, 64)
MOST = 2000
METRICS = ("subset_accuracy", "hamming_loss", "micro_f1", "macro_f1", "ece", "macro_ece")

#: of a label of the opinions, the classes that a row carries
OPINIONS = {"positive": ("positive",), "negative": ("negative",), "mixed": ("negative", "positive")}


@dataclass(frozen=True)
class Texts:
    """Texts, the classes that each carries, and which are for the test."""

    name: str
    texts: list[str]
    carried: list[tuple[str, ...]]
    test: np.ndarray

    @property
    def names(self) -> list[str]:
        return sorted({name for classes in self.carried for name in classes})

    @property
    def sets(self) -> list[str]:
        """The set of classes of each row, as one name."""
        return ["+".join(classes) or "none" for classes in self.carried]


def texts_of(name: str, rows: list[tuple[str, tuple[str, ...]]]) -> Texts:
    """Return distinct texts in random order (seed 0), half of each set of classes for the test."""
    known = {text_key(text): (text, tuple(sorted(classes))) for text, classes in rows}
    order = np.random.default_rng(0).permutation(len(known))
    found = [list(known.values())[i] for i in order]
    sets = np.array(["+".join(classes) for _, classes in found])
    test = np.zeros(len(found), bool)
    for one in np.unique(sets):
        test[np.flatnonzero(sets == one)[::2]] = True
    return Texts(name, [text for text, _ in found], [classes for _, classes in found], test)


def opinions(data: Path) -> Texts:
    files = sorted((data / "product_reviews_cr").glob("*.jsonl.gz"))
    rows = [row for file in files for row in _rows(file) if row.get("label")]
    return texts_of("opinions", [(row["text"], OPINIONS[row["label"]]) for row in rows])


def reviews(data: Path) -> Texts:
    rows = [
        (
            row["text"],
            (*(("film",) if name == "dvd" else ()), *(("positive",) * (row["label"] == "positive"))),
        )
        for name in ("books", "dvd")
        for row in _rows(data / "blitzer_amazon" / f"{name}.jsonl.gz")
    ]
    return texts_of("reviews", rows)


def several(given: Texts, train: np.ndarray, corpus: Any, seed: int, cache: Path, **options: Any) -> Any:
    rows = [{"text": given.texts[i], "label": list(given.carried[i])} for i in train]
    labeler = Labeler(BACKBONE, "multilabel", seed=seed, cache=cache, **options).fit(rows)
    return labeler.annotate(corpus)


def power_set(given: Texts, train: np.ndarray, corpus: Any, seed: int, cache: Path) -> Any:
    """Return annotated rows as `several` gives them, by one class for each set of classes."""
    sets = given.sets
    rows = [{"text": given.texts[i], "label": sets[i]} for i in train]
    labeler = Labeler(BACKBONE, seed=seed, cache=cache).fit(rows)
    found = labeler.annotate(corpus)
    held = [[] if name == "none" else name.split("+") for name in labeler.schema.names]
    member = np.array([[name in classes for name in given.names] for classes in held], float)
    return {
        "id": found["id"][:],
        "label": [held[c] for c in found["label"]],
        "confidence": found["confidence"][:],
        "probabilities": np.minimum(np.array(found["probabilities"]) @ member, 1),
    }


def measure(given: Texts, per_set: int, seed: int, cache: Path) -> dict[str, dict[str, float]]:
    pool, test = np.flatnonzero(~given.test), np.flatnonzero(given.test)[:MOST]
    train = pool[draw(np.array(given.sets)[pool], per_set, seed)]
    corpus = [{"id": str(i), "text": given.texts[i]} for i in test]
    gold = {str(i): list(given.carried[i]) for i in test}
    ways = {
        "multilabel": several(given, train, corpus, seed, cache),
        "multilabel_f1": several(given, train, corpus, seed, cache, threshold="f1"),
        "power_set": power_set(given, train, corpus, seed, cache),
    }
    numbers = {way: evaluate_labels(rows, gold, names=given.names).metrics for way, rows in ways.items()}
    return {way: {name: found[name] for name in METRICS} for way, found in numbers.items()}


def table(given: Texts, seeds: int, cache: Path) -> dict[str, Any]:
    found: dict[str, Any] = {"rows_by_set": {}, "test_rows": int(min(given.test.sum(), MOST))}
    for one in sorted(set(given.sets)):
        found["rows_by_set"][one] = given.sets.count(one)
    for per_set in PER_SET:
        runs = [measure(given, per_set, seed, cache) for seed in range(seeds)]
        found[str(per_set)] = {
            way: {name: [round(run[way][name], 4) for run in runs] for name in METRICS} for way in runs[0]
        }
        for way, numbers in found[str(per_set)].items():
            means = {name: round(float(np.mean(values)), 3) for name, values in numbers.items()}
            print(given.name, per_set, way, means, flush=True)
    return found


def main() -> None:
    chosen = arguments(__doc__ or "", seeds=5).parse_args()
    if chosen.data is None:
        raise SystemExit("give --data: the bundled reviews have one label a row")
    with tempfile.TemporaryDirectory() as cache:
        sets = {
            given.name: table(given, chosen.seeds, Path(cache))
            for given in (opinions(chosen.data), reviews(chosen.data))
        }
    settings = {"backbone": BACKBONE, "rows_per_set_of_labels": list(PER_SET), "seeds": chosen.seeds}
    write(chosen.out, "few_labels_multilabel", {**settings, "sets": sets})


if __name__ == "__main__":
    main()
