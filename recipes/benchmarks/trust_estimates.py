"""How far estimates of accuracy without labels are off, over all pairs of binary sentiment corpora.

    python recipes/benchmarks/trust_estimates.py --data FOLDER [--rows 1000] [--train 700]

A model is trained on labeled rows of one corpus and labels another, whose own labels only tell the truth
afterwards. Two families: the head recipe on the default backbone, and logistic regression on TF-IDF.
Everywhere "positive" is one class and "negative" the other; rows of any other label (neutral, mixed, none)
are left out. The rule by which methods make one value was chosen on the pairs among `CHOOSING` alone, and so
was the variant among ways to temper ATC's confidence and to average pairs of twins; that both help was first
seen on all pairs. TF-IDF has too many words for a covariance: there confidence is not tempered, and one pair
of twins agrees.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _bench import _rows, arguments, write

from textlabel.corpus.dedup import groups, text_key
from textlabel.corpus.split import folds as make_folds
from textlabel.engine.head import fit_head
from textlabel.engine.predict import predict
from textlabel.engine.scope import MAP_FOLDS
from textlabel.engine.twins import twin_heads
from textlabel.labeler import DEFAULT_BACKBONE
from textlabel.models.backbone import load_backbone
from textlabel.models.classifier import Classifier
from textlabel.recipe import Recipe
from textlabel.resources import resource
from textlabel.trust.calibrators.temperature import fit as fit_temperature
from textlabel.trust.domain_shift import domain_shift
from textlabel.trust.estimates import Estimate, estimate_accuracy
from textlabel.trust.moments import fit_moments
from textlabel.trust.source import Twins, measure_source
from textlabel.types import LabelSchema

#: corpus -> its files; the first two come with textlabel, the others are read from --data
CORPORA = {
    "movie": "",
    "product": "",
    "movie_snippets": "mr_movie_snippets/all",
    "product_sentences": "product_reviews_cr/*",
    "books": "blitzer_amazon/books",
    "dvd": "blitzer_amazon/dvd",
    "phones": "uci_sentences/amazon",
    "imdb": "uci_sentences/imdb",
    "film_documents": "movie_reviews_long/all",
    "pros_cons": "pros_cons/all",
    "developers": "stackoverflow_sentiment/*",
}
CLASSES = ("negative", "positive")
#: the same sentences, labeled by others: no shift between them
SAME = ({"movie", "movie_snippets"}, {"product", "product_sentences"})
CHOOSING = {"movie", "product", "phones", "imdb"}
#: phrases typed into a field for or against, and talk among programmers: the furthest from the others
NO_REVIEWS = {"pros_cons", "developers"}
#: the pairs that were asked for by name, both ways
NAMED = (
    {"movie", "product"},
    {"movie_snippets", "product_sentences"},
    {"books", "dvd"},
    {"phones", "imdb"},
    {"film_documents", "movie_snippets"},
)


@dataclass(frozen=True)
class Corpus:
    texts: list[str]
    labels: np.ndarray

    def take(self, index: np.ndarray) -> Corpus:
        return Corpus([self.texts[i] for i in index], self.labels[index])


@dataclass(frozen=True)
class Fitted:
    """Logits and distances out of fold, and what maps any corpus to logits, twins' inputs and distances."""

    out_of_fold: np.ndarray
    logits: Callable[[str], np.ndarray]
    twins: Twins
    inputs: Callable[[str], np.ndarray]
    distances_out_of_fold: np.ndarray | None = None
    distances: Callable[[str], np.ndarray] | None = None


Family = Callable[[str, np.ndarray, int], Fitted]


def read(name: str, data: Path | None, cap: int) -> Corpus | None:
    if CORPORA[name]:
        files = sorted(data.glob(f"{CORPORA[name]}.jsonl.gz")) if data else []
    else:
        files = [resource(f"data/reviews/{name}.jsonl")]
    if not files:
        print(f"skipped {name}: no {CORPORA[name]}.jsonl.gz in --data")
        return None
    found = {text_key(r["text"]): r for f in files for r in _rows(f) if r["label"] in CLASSES}
    rows = list(found.values())
    rows = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))[:cap]]
    return Corpus([r["text"] for r in rows], np.array([CLASSES.index(r["label"]) for r in rows]))


def head_recipe(corpora: dict[str, Corpus]) -> tuple[Family, dict[str, np.ndarray]]:
    """Return the head recipe on the default backbone's features, and the features."""
    backbone = load_backbone(DEFAULT_BACKBONE)
    classifier = Classifier(backbone, LabelSchema("single", CLASSES))
    features = {name: predict(classifier, c.texts)[1].astype(np.float64) for name, c in corpora.items()}
    stage = Recipe.load("head").stages[0]

    def fit(name: str, index: np.ndarray, seed: int) -> Fitted:
        source, x = corpora[name].take(index), features[name][index]
        member = groups(source.texts)
        fitted = fit_head(x, source.labels, member, 2, stage, seed)
        twins = twin_heads(x, source.labels, member, 2, stage, fitted.l2, seed)
        fold = make_folds(source.labels, member, MAP_FOLDS, seed)
        apart = np.zeros(len(x))
        for k in range(MAP_FOLDS):
            apart[fold == k] = fit_moments(x[fold != k], source.labels[fold != k], 2).bulk(x[fold == k])
        known = fit_moments(x, source.labels, 2)
        return Fitted(
            fitted.out_of_fold,
            lambda t: fitted.head(features[t]),
            twins,
            lambda t: features[t],
            apart if len(x) >= x.shape[1] else None,
            lambda t: known.bulk(features[t]),
        )

    return fit, features


def tfidf(corpora: dict[str, Corpus]) -> Family:
    """Return logistic regression on words and pairs of words, refitted from the texts in every fold."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    def vectorizer(words: np.ndarray | None = None) -> TfidfVectorizer:
        return TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, vocabulary=words)

    def train(rows: Corpus, words: np.ndarray | None = None) -> Callable[[list[str]], np.ndarray]:
        model = make_pipeline(vectorizer(words), LogisticRegression(C=10, max_iter=500))
        model.fit(rows.texts, rows.labels)
        return lambda texts: np.stack([np.zeros(len(texts)), model.decision_function(texts)], axis=1)

    def fit(name: str, index: np.ndarray, seed: int) -> Fitted:
        source = corpora[name].take(index)
        member = groups(source.texts)
        fold, half = (make_folds(source.labels, member, k, seed) for k in (5, 2))
        logits = np.zeros((len(index), 2))
        for k in range(5):
            held = np.flatnonzero(fold == k)
            logits[held] = train(source.take(np.flatnonzero(fold != k)))(source.take(held).texts)
        model = train(source)
        words = np.random.default_rng(seed).permutation(sorted(vectorizer().fit(source.texts).vocabulary_))
        pair = [train(source.take(np.flatnonzero(half == k)), words[k::2]) for k in (0, 1)]
        # the twins' own logits stand in for features: twins that read two columns each
        pick = Twins(np.eye(4, dtype=np.float32).reshape(2, 1, 2, 4), np.zeros((2, 1, 2), dtype=np.float32))
        texts = {t: c.texts for t, c in corpora.items()}
        return Fitted(
            logits,
            lambda t: model(texts[t]),
            pick,
            lambda t: np.concatenate([m(texts[t]) for m in pair], axis=1),
        )

    return fit


def pairs_of(corpora: dict[str, Corpus]) -> list[tuple[str, str]]:
    return [pair for pair in itertools.permutations(corpora, 2) if set(pair) not in SAME]


def measure(family: Family, corpora: dict[str, Corpus], train: int, seeds: int) -> dict[str, Any]:
    """Return, for each pair, truth and estimates of each draw of source rows."""
    draws: dict[str, list[dict[str, Any]]] = {}
    for (name, source), seed in itertools.product(corpora.items(), range(seeds)):
        # at least a fifth is left out, so that draws differ
        index = np.random.default_rng(seed).permutation(len(source.labels))[
            : min(train, len(source.labels) * 4 // 5)
        ]
        fitted = family(name, index, seed)
        calibrator = fit_temperature(fitted.out_of_fold, source.labels[index])
        seen, truths = calibrator.apply(fitted.out_of_fold), source.labels[index]
        known = measure_source(seen, truths, fitted.twins, fitted.distances_out_of_fold)
        for target in (t for s, t in pairs_of(corpora) if s == name):
            logits = fitted.logits(target)
            far = fitted.distances and fitted.distances(target)
            agree = known.agreements(fitted.inputs(target))
            estimate = estimate_accuracy(calibrator.apply(logits), known, agree, far)
            truth = float(np.mean(logits.argmax(axis=1) == corpora[target].labels))
            draws.setdefault(f"{name} -> {target}", []).append(drawn(truth, estimate))
    return {pair: over_draws(rows) for pair, rows in draws.items()}


def drawn(truth: float, estimate: Estimate) -> dict[str, float]:
    """Return truth, methods, spread, and beside the value the rules that were not chosen: mean and median."""
    three = [estimate.methods[name] for name in estimate.spread]
    found = {"truth": truth, **estimate.methods, "mean": np.mean(three), "median": np.median(three)}
    found |= {"value": estimate.value, "low": estimate.low, "high": estimate.high}
    return {name: round(float(value), 4) for name, value in found.items()}


def over_draws(rows: list[dict[str, Any]]) -> dict[str, Any]:
    names = [
        name for name in rows[0] if name not in ("atc_max_probability", "atc_entropy")
    ]  # one, of two classes
    columns = {name: [row[name] for row in rows] for name in names}
    inside = [row["low"] <= row["truth"] <= row["high"] for row in rows]
    means = {name: round(float(np.mean(values)), 4) for name, values in columns.items()}
    return {**means, "contains_truth": inside, "draws": columns}


def summary(pairs: dict[str, Any], chosen: Callable[[set[str]], bool]) -> dict[str, Any]:
    """Return mean absolute errors, in points, and the share of spreads that hold the truth."""
    rows = [found for pair, found in pairs.items() if chosen(set(pair.split(" -> ")))]
    truth = np.array([row["draws"]["truth"] for row in rows])

    def error(name: str) -> dict[str, float]:
        off = 100 * (np.array([row["draws"][name] for row in rows]) - truth)
        return {"mae": round(float(np.abs(off).mean()), 2), "bias": round(float(off.mean()), 2)}

    methods = ("source_accuracy", "average_confidence", "doc", "atc", "gde", "mean", "median", "value")
    width = [np.subtract(row["draws"]["high"], row["draws"]["low"]) for row in rows]
    return {
        "pairs": len(rows),
        "mean_truth": round(float(truth.mean()), 4),
        **{name: error(name) for name in methods},
        "contains_truth": round(float(np.mean([row["contains_truth"] for row in rows])), 3),
        "mean_width": round(100 * float(np.mean(width)), 2),
    }


GROUPS: dict[str, Callable[[set[str]], bool]] = {
    "all": lambda pair: True,
    "choosing": lambda pair: pair <= CHOOSING,
    "others": lambda pair: not pair <= CHOOSING,
    "named": lambda pair: pair in NAMED,
    "reviews": lambda pair: not pair & NO_REVIEWS,
    "reviews, others": lambda pair: not pair & NO_REVIEWS and not pair <= CHOOSING,
}


def main() -> None:
    parser = arguments(__doc__ or "", seeds=3)
    parser.add_argument("--rows", type=int, default=1000, help="most rows of a corpus")
    parser.add_argument("--train", type=int, default=700, help="most source rows of a draw")
    chosen = parser.parse_args()
    read_all = {name: read(name, chosen.data, chosen.rows) for name in CORPORA}
    corpora = {name: corpus for name, corpus in read_all.items() if corpus is not None}
    head, features = head_recipe(corpora)
    result: dict[str, Any] = {"seeds": chosen.seeds, "train": chosen.train}
    result["corpora"] = {
        n: {"rows": len(c.labels), "positive": round(float(c.labels.mean()), 3)} for n, c in corpora.items()
    }
    gaps = {f"{s} -> {t}": domain_shift(features[s], features[t]) for s, t in pairs_of(corpora)}
    for name, family in (("head", head), ("tfidf", tfidf(corpora))):
        pairs = measure(family, corpora, chosen.train, chosen.seeds)
        result[name] = {g: summary(pairs, f) for g, f in GROUPS.items()} | {"pairs": pairs}
        print(name, *(f"\n  {g}: {result[name][g]}" for g in GROUPS))
        for found in pairs.values():
            del found["draws"]  # their means are kept
    distances = {pair: round(gap.distance, 3) for pair, gap in gaps.items()}
    drops = [row["source_accuracy"] - row["truth"] for row in result["head"]["pairs"].values()]
    result["a_distance"] = distances
    result["correlation_of_a_distance_and_drop"] = round(
        float(np.corrcoef(list(distances.values()), drops)[0, 1]), 3
    )
    write(chosen.out, "trust_estimates", result)


if __name__ == "__main__":
    main()
