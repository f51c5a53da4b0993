"""Which scores without target labels tell whether adapting to a target pays, and what deciding by them gains.

    python recipes/benchmarks/domain_deciding.py --data FOLDER [--train 300] [--cache FOLDER]

On features of the frozen backbone, labeled rows of a source and texts of a target make heads: one that never
adapts, ones that always let their labels spread or always train themselves on their own labels, one that
spreads unless labeled rows speak against it, as `auto` does, and what the recipe `self_training` decides: it
then learns from its surest labels, in rounds, until labeled rows speak against a round. Pairs are those of
`domain_pairs.py`, as they are and with 80 % and 20 % of the target's rows positive, and pairs made so that
adapting harms: extreme class shares, classes that mean the opposite, and targets whose classes have nothing
to do with the source's.
For each way of adapting, scores are compared with those of the head that never adapts, and the differences
with those in accuracy (Spearman's correlation). Labels of the target are read by that comparison alone.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

os.environ["TEXTLABEL_CACHE_GB"] = "8"  # features of a text are the same for every draw

import numpy as np
from _bench import arguments, hierarchical_interval, write
from domain_pairs import CORPORA, PAIRS, POLES, Domain, read
from scipy.stats import spearmanr

from textlabel.corpus.dedup import groups
from textlabel.engine.fitter import Aside
from textlabel.engine.head import HeadFit, fit_head
from textlabel.engine.predict import predict
from textlabel.models.backbone import load_backbone
from textlabel.models.classifier import Classifier
from textlabel.models.heads import softmax_regression
from textlabel.recipe import Stage
from textlabel.trust.calibrators.temperature import fit as fit_temperature
from textlabel.trust.estimates import agreement, difference_of_confidences
from textlabel.trust.row_weights import Refused, density_ratio
from textlabel.trust.target_scores import (
    circular,
    importance_weighted_accuracy,
    mean_entropy,
    mutual_information,
)
from textlabel.types import LabelSchema

NEVER, DECIDES = "never", "recipe self_training"
#: ways of adapting, as options of a solved head
WAYS: dict[str, dict[str, Any]] = {
    NEVER: {},
    "always spreads": {"spread": [0.5]},
    "trains itself, shares of the labels": {"self_train": "prior", "least_agreement": 0.0},
    "trains itself, surest rows": {"self_train": "uncertain", "least_agreement": 0.0},
    "spreads or not": {"spread": [0.5, 0.0, 0.8]},
    DECIDES: {"spread": [0.5, 0.0, 0.8], "self_train": "uncertain", "least_agreement": 0.0},
}


class Unit(NamedTuple):
    """A pair, what share of the target's rows is positive (0: as it is), and what kind of pair it is."""

    source: str
    target: str
    share: float
    kind: str
    seed: int = 0


#: pairs on which adapting may well harm
MADE = (
    Unit("imdb", "phones", 0.95, "extreme shares"),
    Unit("phones", "imdb", 0.05, "extreme shares"),
    Unit("film_snippets", "product_sentences", 0.1, "extreme shares"),
    Unit("product_sentences", "pros_cons", 0.95, "extreme shares"),
    Unit("imdb", "phones", 0, "opposite classes"),
    Unit("product_sentences", "film_snippets", 0, "opposite classes"),
    Unit("film_snippets", "arxiv_until_2012", 0, "unrelated target"),
    Unit("developers", "books_chinese", 0, "unrelated target"),
    Unit("fruit_chinese", "imdb", 0, "unrelated target"),
)


def units(seeds: int, corpora: list[str]) -> list[Unit]:
    found = []
    for seed in range(seeds):
        sentiment = [pair for pair in PAIRS if "arxiv" not in pair[0] and set(pair) <= set(corpora)]
        found += [Unit(*pair, 0, "as they are", seed) for pair in sentiment]
        found += [
            Unit(*pair, share, f"{share:.0%} positive", seed) for share in (0.8, 0.2) for pair in sentiment
        ]
        found += [unit._replace(seed=seed) for unit in MADE if {unit.source, unit.target} <= set(corpora)]
    return found


def features(texts: list[str], chosen: argparse.Namespace, classes: tuple[str, ...]) -> np.ndarray:
    """Return features of texts, the same for every draw."""
    classifier = Classifier(load_backbone(chosen.backbone), LabelSchema("single", classes))
    return predict(classifier, texts, cache=chosen.cache)[1].astype(np.float64)


def scores(fit: HeadFit, x: np.ndarray, y: np.ndarray, target: np.ndarray, weights: Any) -> dict[str, float]:
    """Return what each score says of a head, more being better."""
    scale = fit_temperature(fit.out_of_fold, y)
    unseen, p = scale.apply(fit.out_of_fold), scale.apply(fit.head(target))
    right, given = fit.out_of_fold.argmax(axis=1) == y, p.argmax(axis=1)
    sure = [float(q.max(axis=1).mean()) for q in (unseen, p)]
    said = [member(target).argmax(axis=1) for member in fit.members]
    pairs = [(i, j) for i in range(len(said)) for j in range(i)]

    def back(of: np.ndarray, labels: np.ndarray) -> Any:
        soft = np.eye(p.shape[1])[labels]
        return next(iter(softmax_regression(of, soft, np.ones(len(of)), [fit.l2 * 100 / len(of)])))

    found = {
        "DoC": difference_of_confidences(float(right.mean()), *sure),
        "sureness": -mean_entropy(p),
        "mutual information": mutual_information(p),
        "agreement of folds": float(np.mean([agreement(said[i], said[j]) for i, j in pairs])),
        "circular": float(circular(back, x, y, target, given).mean()),
    }
    if not isinstance(weights, Refused):
        found["importance-weighted"] = importance_weighted_accuracy(right, weights.weights)
    return found


def one_unit(unit: Unit, chosen: argparse.Namespace) -> dict[str, Any] | None:
    """Return accuracy and scores of every way on one pair, in a process with one thread."""
    import torch

    torch.set_num_threads(1)
    source, target = read(unit.source, chosen.data, 0), read(unit.target, chosen.data, unit.share)
    if source is None or target is None or (unit.share and target.classes != POLES):
        return None
    k = len(source.classes)
    pick = np.random.default_rng(unit.seed).permutation(len(source.labels))[: chosen.train]
    texts, y = [source.texts[i] for i in pick], source.labels[pick]
    x, pool, test = (features(part, chosen, source.classes) for part in (texts, target.texts, target.test))
    truth = _truth(target, unit)
    weights = density_ratio(x, pool, unit.seed)
    row: dict[str, Any] = {**unit._asdict(), "labels": len(y), "test_rows": len(test), "ways": {}}
    for name, options in WAYS.items():
        stage = Stage.of({"name": "head", **options}, "cross_entropy", "both" if options else "labeled")
        aside = Aside(unlabeled=pool if options else None)
        fit = fit_head(x, y, groups(texts), k, stage, unit.seed, aside=aside)
        right = float(np.mean(fit.head(test).argmax(axis=1) == truth))
        told = {key: round(value, 4) for key, value in scores(fit, x, y, pool, weights).items()}
        row["ways"][name] = {"accuracy": round(right, 4), **told}
        if fit.self_trained is not None:
            row["ways"][name]["rounds kept"] = fit.self_trained.rounds
    print(unit, {name: way["accuracy"] for name, way in row["ways"].items()}, flush=True)
    return row


def _truth(target: Domain, unit: Unit) -> np.ndarray:
    return 1 - target.test_labels if unit.kind == "opposite classes" else target.test_labels


def correlations(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return, for each way and score, Spearman's correlation of its gain with the gain in accuracy."""
    found: dict[str, dict[str, float]] = defaultdict(dict)
    names = dict.fromkeys(name for row in rows for name in row["ways"][NEVER] if name != "accuracy")
    for way in (name for name in WAYS if name != NEVER):
        for name in names:
            there = [row["ways"] for row in rows if name in row["ways"][way] and name in row["ways"][NEVER]]
            gains = [[ways[way][key] - ways[NEVER][key] for ways in there] for key in (name, "accuracy")]
            if len(there) > 2 and all(np.ptp(one) > 0 for one in gains):
                found[way][name] = round(float(spearmanr(*gains).statistic), 2)
    return dict(found)


def gains(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return mean accuracy of every way, in all and for each kind of pair, and gains over never adapting."""
    found = []
    for kind in ["all", *dict.fromkeys(row["kind"] for row in rows)]:
        picked = [row for row in rows if kind in ("all", row["kind"])]
        for way in WAYS:
            above: dict[str, list[float]] = defaultdict(list)
            for row in picked:
                gain = row["ways"][way]["accuracy"] - row["ways"][NEVER]["accuracy"]
                above[f"{row['source']} -> {row['target']}, {row['kind']}"].append(100 * gain)
            mean, low, high = hierarchical_interval(above)
            worst = min(above, key=lambda pair: float(np.mean(above[pair])))
            accuracy = float(np.mean([row["ways"][way]["accuracy"] for row in picked]))
            one = {"kind": kind, "pairs": len(above), "way": way, "accuracy": round(accuracy, 4)}
            one |= {"gain": round(mean, 2), "low": round(low, 2), "high": round(high, 2), "worst": worst}
            found.append(one | {"worst_gain": round(float(np.mean(above[worst])), 2)})
    return found


def main() -> None:
    parser = arguments(__doc__ or "", seeds=1)
    parser.add_argument("--backbone", default="all-MiniLM-L6-v2")
    parser.add_argument("--train", type=int, default=300, help="labeled rows")
    parser.add_argument("--corpora", nargs="+", default=list(CORPORA), help="pairs of these only")
    parser.add_argument("--cache", type=Path, help="folder that keeps features for the next run")
    parser.add_argument("--jobs", type=int, default=2, help="pairs measured at a time, one thread each")
    chosen = parser.parse_args()
    if not chosen.data:
        raise SystemExit("no --data: nothing to measure")
    rows = []
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(chosen.jobs, get_context("spawn")) as pool,
    ):
        chosen.cache = chosen.cache or Path(folder)
        for row in pool.map(partial(one_unit, chosen=chosen), units(chosen.seeds, chosen.corpora)):
            if row is None:
                continue
            rows.append(row)
            facts = {"backbone": chosen.backbone, "train": chosen.train, "gains": gains(rows)}
            facts |= {"correlations": correlations(rows), "rows": rows}
            write(chosen.out, "domain_deciding", facts)
    for told in facts["gains"]:
        print(told)
    print(facts["correlations"])


if __name__ == "__main__":
    main()
