"""A head learned from rules' soft labels and the few gold rows beside them, calibrated on gold alone.

Rows that rules vote on are learned as the label model has them, those that the cut statistic keeps. How much
they count beside gold, nothing among the choices, is chosen with the strength by gold rows out of fold: a
fold's gold labels are kept from the label model, too. What calibrates are these very logits.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from textlabel import registry
from textlabel.corpus.dedup import groups, text_key
from textlabel.corpus.split import folds as make_folds
from textlabel.engine.predict import predict
from textlabel.engine.solvers import STRENGTHS
from textlabel.errors import RecipeError
from textlabel.models.backbone import Backbone
from textlabel.models.bundle import Bundle
from textlabel.models.classifier import Classifier
from textlabel.models.heads import Linear, one_hot, one_thread, softmax_regression
from textlabel.recipe import Recipe, Stage
from textlabel.rules.cut import kept_by_cut
from textlabel.trust.calibration import softmax
from textlabel.trust.calibrators.none import Uncalibrated
from textlabel.trust.choice import choose
from textlabel.trust.scope import DEFAULT_OFF_MAP, Map, Scope
from textlabel.trust.set_rule import SetPlan
from textlabel.types import FloatArray, IntArray, LabelSchema

log = logging.getLogger("textlabel")

#: how much the rows of rules count in all, as a multiple of the gold rows
RATIOS = (0.0, 0.5, 2.0)
#: share of the rows with votes that the cut statistic keeps
KEPT = 0.75
#: rows with votes that are read, of more so many drawn at random
MOST_ROWS = 2000
FOLDS = 5
#: strength where no gold row can choose one
_USUAL = 1e-2


class RuleRows(NamedTuple):
    """Features (n, d) and votes of rows of the corpus; features, votes and labels of gold (g,)."""

    features: FloatArray
    votes: IntArray
    gold_features: FloatArray
    gold_votes: IntArray
    gold: IntArray


class RuleHead(NamedTuple):
    """The head, logits (g, k) of gold rows by heads that did not see them, and what was chosen."""

    head: Linear
    logits: FloatArray
    ratio: float
    l2: float


@one_thread
def learn(rows: RuleRows, same: IntArray, classes: int, model: str = "anchored", seed: int = 0) -> RuleHead:
    """Return a head of soft labels and gold rows.

    Parameters
    ----------
    same : (g,) equal where gold texts are equal; such rows share a fold.
    model : label model (`textlabel plugins label_model`).
    """
    everything = np.arange(len(rows.gold))
    if len(everything) < FOLDS * 2 or len(np.unique(rows.gold)) < classes:
        ratio = RATIOS[-1]
        head = next(_heads(rows, everything, classes, model, ratio, [_USUAL]))
        return RuleHead(head, np.zeros((0, classes)), ratio, _USUAL)
    fold = make_folds(rows.gold, same, FOLDS, seed)
    strengths = sorted(STRENGTHS, reverse=True)
    found = np.zeros((len(RATIOS), len(strengths), len(everything), classes))
    for part in np.unique(fold):
        held = fold == part
        for r, ratio in enumerate(RATIOS):
            heads = _heads(rows, everything[~held], classes, model, ratio, strengths)
            for s, head in enumerate(heads):
                found[r, s, held] = head(rows.gold_features[held])
    p = softmax(found.reshape(-1, classes))[
        np.arange(found[..., 0].size), np.tile(rows.gold, found[..., 0, 0].size)
    ]
    losses = -np.log(np.maximum(p, 1e-12)).reshape(found.shape[:3]).mean(axis=2)
    r, s = np.unravel_index(losses.argmin(), losses.shape)
    head = next(_heads(rows, everything, classes, model, RATIOS[r], [strengths[s]]))
    return RuleHead(head, found[r, s], RATIOS[r], strengths[s])


def _heads(
    rows: RuleRows, index: IntArray, classes: int, model: str, ratio: float, strengths: Sequence[float]
) -> Iterator[Linear]:
    """Yield heads, one a strength, that know the labels of gold rows ``index`` alone."""
    gold = one_hot(rows.gold[index], classes)
    features, soft, weights = rows.gold_features[index], gold, np.ones(len(index))
    if ratio:
        kept, said = _soft_labels(rows, index, classes, model)
        features = np.concatenate([features, rows.features[kept]])
        soft = np.concatenate([soft, said[kept]])
        each = ratio * max(len(index), FOLDS) / max(len(kept), 1)
        weights = np.concatenate([weights, np.full(len(kept), each)])
    ones = np.ones(len(features))
    yield from softmax_regression(features, soft, ones, list(strengths), row_weights=weights / weights.mean())


def _soft_labels(rows: RuleRows, index: IntArray, classes: int, model: str) -> tuple[IntArray, FloatArray]:
    """Return which rows are kept, and the probabilities of all rows of the corpus."""
    known = np.full(len(rows.gold), -1)
    known[index] = rows.gold[index]
    n = len(rows.votes)
    votes, gold = np.concatenate([rows.votes, rows.gold_votes]), np.concatenate([np.full(n, -1), known])
    said = registry.load("label_model", model).fit_predict(votes, classes, gold).probabilities[:n]
    covered = np.flatnonzero((rows.votes >= 0).any(axis=1))
    if len(covered) < 2:
        return covered, said
    return covered[kept_by_cut(rows.features[covered], said[covered].argmax(axis=1), KEPT)], said


def fit_on_rules(
    backbone: Backbone,
    schema: LabelSchema,
    corpus: Sequence[str],
    votes: IntArray,
    gold: tuple[Sequence[str], IntArray, IntArray],
    *,
    model: str = "anchored",
    seed: int = 0,
    cache: Any = None,
) -> Bundle:
    """Return a classifier learned from rules on a corpus and from gold rows.

    Parameters
    ----------
    corpus, votes : texts and (n, m) of them; texts that are gold are left out.
    gold : texts, votes (g, m) and labels (g,) of gold rows; there may be none, and then nothing calibrates.

    Raises
    ------
    RecipeError : no rule votes on any row, and there is no gold row.
    """
    texts, gold_votes, labels = gold
    classifier = Classifier(backbone, schema).eval()
    chosen = _without(corpus, texts, votes, seed)
    if not len(chosen) and not len(labels):
        raise RecipeError(
            "there is nothing to learn from: no rule votes on any row of the corpus, and no row is gold; "
            "`textlabel rules check` tells what each rule covers"
        )

    def read(some: Sequence[str]) -> FloatArray:
        if not len(some):
            return np.zeros((0, classifier.head.in_features))
        return predict(classifier, some, cache=cache)[1].astype(np.float64)

    rows = RuleRows(read([corpus[i] for i in chosen]), votes[chosen], read(texts), gold_votes, labels)
    same = groups(texts)
    found = learn(rows, same, schema.outputs, model, seed)
    classifier.set_head(found.head)
    on_map = np.concatenate([rows.features, rows.gold_features])
    width = on_map.shape[1] // backbone.info.layers
    known = Map.draw(on_map, found.head(on_map).argmax(axis=1), schema.outputs, width=width)
    scope = Scope(known, DEFAULT_OFF_MAP, np.zeros(0, np.float32))
    told = "A head of rules' soft labels and gold rows."
    record = {
        "recipe": Recipe("rules", (Stage.of("head", "cross_entropy"),), told).to_dict(),
        "seed": seed,
        "labels": {
            "train": len(labels),
            "calibration": f"folds ({FOLDS})" if len(found.logits) else 0,
            "audit": 0,
        },
        "off_map": {"off_map": DEFAULT_OFF_MAP, "keep_reference": False},
        "head": {"l2": found.l2, "rules": len(chosen), "ratio": found.ratio, "label_model": model},
    }
    if not len(found.logits):
        log.warning("too few gold rows: confidence is NOT calibrated, and every row is for review")
        rule = SetPlan().fit(np.zeros((0, schema.outputs)), np.zeros(0, np.int64), [], schema.names, seed)
        return Bundle(classifier, Uncalibrated(), scope, rule, record)
    fitted = choose(found.logits, labels, same, seed)
    rule = SetPlan().fit(fitted.probabilities, labels, list(texts), schema.names, seed)
    return Bundle(classifier, fitted.calibrator, scope, rule, record)


def _without(corpus: Sequence[str], texts: Sequence[str], votes: IntArray, seed: int) -> IntArray:
    """Return the numbers of rows with votes whose text is not gold, at most `MOST_ROWS` of them."""
    gold = {text_key(text) for text in texts}
    says = np.flatnonzero((votes >= 0).any(axis=1))
    rows = np.array([i for i in says.tolist() if text_key(corpus[i]) not in gold], np.int64)
    return np.sort(np.random.default_rng(seed).permutation(rows)[:MOST_ROWS])
