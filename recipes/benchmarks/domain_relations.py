"""What several labeled sources, or a model of another label set, are worth beside a few labels of the target.

    python recipes/benchmarks/domain_relations.py --data FOLDER [--few 32] [--cache FOLDER]

Sources: for each of four sentiment corpora, 300 labeled rows of every other and 32 of its own; heads on
the frozen backbone are those of `textlabel fit-sources`: target rows alone, the best source, all rows, the
pool, and what the command takes; all of it also with the half of each source's rows that is nearest to the
target. Label maps: a head of one label set, and 8 labeled rows for each class of another; each kind of map of
`textlabel map-labels`, and a head on these rows alone. Test rows are seen by the score only.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

os.environ["TEXTLABEL_CACHE_GB"] = "8"  # features of a text are the same for every draw

import numpy as np
from _bench import arguments, draw, hierarchical_interval, public, write
from domain_pairs import read

from textlabel.corpus.dedup import groups
from textlabel.engine.comparison import tempered_losses
from textlabel.engine.head import fit_head
from textlabel.engine.predict import predict
from textlabel.engine.source_pool import TARGET, candidates, taken
from textlabel.models.backbone import load_backbone
from textlabel.models.classifier import Classifier
from textlabel.recipe import Recipe
from textlabel.trust.calibration import softmax
from textlabel.trust.label_map import MODES, learn_map
from textlabel.trust.source_pool import nearest_rows
from textlabel.types import LabelSchema

TARGETS = ("product_sentences", "film_snippets", "phones", "imdb")
SOURCES = (*TARGETS, "pros_cons", "developers")
#: label sets of which one is a coarser or finer view of the other, or of something near it
MAPS = (
    ("emotions", "developer_sentiment"),
    ("emotions", "movie_snippets"),
    ("newsgroups", "news_topics"),
)
#: rows of each source, labels a class of a target set, and rows that a map's source model learns from
ROWS, PER_CLASS, MAPPED = 300, 8, 2000


class Reader:
    """Features of texts by one frozen backbone."""

    def __init__(self, chosen: argparse.Namespace, cache: Path) -> None:
        self.classifier = Classifier(load_backbone(chosen.backbone), LabelSchema("single", ("a", "b")))
        self.cache = cache

    def __call__(self, texts: list[str]) -> np.ndarray:
        return predict(self.classifier, texts, cache=self.cache)[1].astype(np.float64)


def pools(chosen: argparse.Namespace, reader: Reader) -> list[dict[str, Any]]:
    """Return accuracy on the target of every candidate, for each target and draw."""
    known = {name: found for name in SOURCES if (found := read(name, chosen.data, 0)) is not None}
    features = {name: (reader(one.texts), reader(one.test)) for name, one in known.items()}
    rows = []
    for target in (name for name in TARGETS if name in known):
        for seed in range(chosen.seeds):
            accuracy = {}
            for share in (1.0, 0.5):
                suffix = "" if share == 1 else f", nearest {share:.0%}"
                found = one_pool(known, features, target, seed, share, chosen.few)
                accuracy |= {name + suffix: value for name, value in found.items()}
            rows.append({"target": target, "seed": seed, "accuracy": accuracy})
            print(rows[-1], flush=True)
    return rows


def one_pool(
    known: dict[str, Any], features: dict[str, Any], target: str, seed: int, share: float, few: int
) -> dict[str, float]:
    rng = np.random.default_rng(seed)
    x, y, of, texts = [], [], [], []
    for number, name in enumerate([target, *(name for name in known if name != target)]):
        index = rng.permutation(len(known[name].labels))[: ROWS if number else few]
        part = features[name][0][index]
        if number:
            kept = nearest_rows(part, features[target][0], share)
            index, part = index[kept], part[kept]
        x.append(part)
        y.append(known[name].labels[index])
        of.append(np.full(len(index), number))
        texts += [known[name].texts[i] for i in index]
    labels, source = np.concatenate(y), np.concatenate(of)
    made, _ = candidates(np.concatenate(x), labels, groups(texts), source, 2, seed)
    losses = {name: tempered_losses(one.out_of_fold, labels[source == 0]) for name, one in made.items()}
    test, truth = features[target][1], known[target].test_labels
    right = {name: float(np.mean(one.head(test).argmax(axis=1) == truth)) for name, one in made.items()}
    return {name: round(value, 4) for name, value in (right | {"taken": right[taken(losses)]}).items()}


def maps(chosen: argparse.Namespace, reader: Reader) -> list[dict[str, Any]]:
    """Return accuracy on the target label set of every kind of map, and of a head on the same rows."""
    stage, rows = Recipe.load("head").stages[0], []
    for source_name, target_name in MAPS:
        source, target = public(source_name, chosen.data), public(target_name, chosen.data)
        if source is None or target is None:
            continue
        x, y, k = reader(source.pool[:MAPPED]), source.pool_labels[:MAPPED], len(source.classes)
        head = fit_head(x, y, groups(source.pool[:MAPPED]), k, stage, 0).head
        pool, test = reader(target.pool), reader(target.test)
        for seed in range(chosen.seeds):
            some = draw(target.pool_labels, PER_CLASS, seed)
            few, labels = pool[some], target.pool_labels[some]
            same = groups([target.pool[i] for i in some])
            alone = fit_head(few, labels, same, len(target.classes), stage, seed).head
            said = {"head alone": alone(test)}
            for mode in MODES:
                learned = learn_map(softmax(head(few)), labels, len(target.classes), mode)
                said[mode] = learned.apply(softmax(head(test)))
            right = {
                name: round(float(np.mean(one.argmax(axis=1) == target.test_labels)), 4)
                for name, one in said.items()
            }
            rows.append({"source": source_name, "target": target_name, "seed": seed, "accuracy": right})
            print(rows[-1], flush=True)
    return rows


def report(rows: list[dict[str, Any]], base: str) -> list[dict[str, Any]]:
    """Return how far everything is above ``base``, in points, with an interval over targets and draws."""
    found = []
    for name in rows[0]["accuracy"] if rows else ():
        above: dict[str, list[float]] = defaultdict(list)
        for row in rows:
            gain = row["accuracy"][name] - row["accuracy"][base]
            above[f"{row.get('source', '')} -> {row['target']}"].append(100 * gain)
        mean, low, high = hierarchical_interval(above)
        accuracy = float(np.mean([row["accuracy"][name] for row in rows]))
        one = {"what": name, "accuracy": round(accuracy, 4), "gain": round(mean, 2)}
        found.append(one | {"low": round(low, 2), "high": round(high, 2)})
        print(found[-1], flush=True)
    return found


def main() -> None:
    parser = arguments(__doc__ or "", seeds=5)
    parser.add_argument("--backbone", default="all-MiniLM-L6-v2")
    parser.add_argument("--few", type=int, default=32, help="labeled rows of a target that has sources")
    parser.add_argument("--cache", type=Path, help="folder that keeps features for the next run")
    chosen = parser.parse_args()
    if not chosen.data:
        raise SystemExit("no --data: nothing to measure")
    with tempfile.TemporaryDirectory() as folder:
        reader = Reader(chosen, chosen.cache or Path(folder))
        pooled, mapped = pools(chosen, reader), maps(chosen, reader)
    facts = {"backbone": chosen.backbone, "few": chosen.few, "pools": report(pooled, TARGET)}
    facts |= {"maps": report(mapped, "head alone"), "pool_rows": pooled, "map_rows": mapped}
    write(chosen.out, "domain_relations", facts)


if __name__ == "__main__":
    main()
