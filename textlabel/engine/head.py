"""The linear head on cached features: strength by cross-validation, logits out of fold."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import NamedTuple

import numpy as np

from textlabel import registry
from textlabel.corpus.split import folds as make_folds
from textlabel.engine.process import derive_seed
from textlabel.errors import RecipeError
from textlabel.models.heads import Linear
from textlabel.recipe import Plugin, Stage, options_of
from textlabel.trust.calibration import softmax
from textlabel.trust.metrics import nll
from textlabel.trust.source import Twins
from textlabel.types import FloatArray, IntArray

#: ridge strengths tried, in nats per squared standardized weight, for `REFERENCE_ROWS` rows
STRENGTHS = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
REFERENCE_ROWS = 100
#: pairs of twins whose agreement is averaged; eight did no better
TWIN_PAIRS = 4
#: rows that choosing the strength looks at; more would cost minutes and change nothing
CHOOSING_ROWS = 4000


class HeadFit(NamedTuple):
    """A fitted head, members that each lack a fold, and each row's logits (n, k) by the member without it."""

    head: Linear
    out_of_fold: FloatArray
    l2: float
    members: list[Linear]


def solver(stage: Stage) -> tuple[ModuleType, Plugin] | None:
    """Return the objective module that solves this stage's head directly, or None: train by gradient."""
    if stage.tune.name != "head" or len(stage.objective) != 1:
        return None
    module = registry.load("objective", stage.objective[0].name)
    return (module, stage.objective[0]) if hasattr(module, "fit_linear") else None


def fit_head(
    features: FloatArray,
    targets: IntArray | FloatArray,
    groups: IntArray,
    classes: int,
    stage: Stage,
    seed: int,
) -> HeadFit:
    """Return the head of a solvable stage, fitted on all rows, with its out-of-fold logits.

    Parameters
    ----------
    features : (n, d) pooled features.
    targets : (n,) class indices or scores.
    groups : (n,) equal where texts are equal; such rows share a fold.
    classes : number of outputs k.

    Raises
    ------
    RecipeError : the stage has no direct solver.
    """
    found = solver(stage)
    if found is None:
        raise RecipeError("this stage has no direct solver; expected tune = 'head' with cross_entropy or mse")
    module, chosen = found
    options, tune = options_of("objective", chosen), options_of("tune", stage.tune)
    strengths = sorted([tune.l2] if tune.l2 else STRENGTHS, reverse=True)
    fold = make_folds(targets, groups, tune.folds, seed)

    def fit(rows: IntArray, tried: Sequence[float]) -> list[Linear]:
        scaled = [l2 * REFERENCE_ROWS / len(rows) for l2 in tried]
        heads: list[Linear] = module.fit_linear(features[rows], targets[rows], classes, scaled, options)
        return heads

    def by_fold(rows: IntArray, tried: Sequence[float]) -> list[tuple[Linear, ...]]:
        return list(zip(*(fit(rows[fold[rows] != k], tried) for k in range(tune.folds)), strict=True))

    def out_of_fold(rows: IntArray, members: Sequence[Linear]) -> FloatArray:
        logits: FloatArray = np.zeros((len(rows), classes))
        for k, head in enumerate(members):
            held = fold[rows] == k
            logits[held] = head(features[rows[held]])
        return logits

    everything = np.arange(len(targets))
    some = everything
    if len(everything) > CHOOSING_ROWS:
        some = np.sort(np.random.default_rng(seed).permutation(everything)[:CHOOSING_ROWS])
    tried = by_fold(some, strengths)
    best = int(np.argmin([risk(out_of_fold(some, members), targets[some]) for members in tried]))
    l2 = strengths[best]
    members = tried[best] if some is everything else by_fold(everything, [l2])[0]
    return HeadFit(fit(everything, [l2])[0], out_of_fold(everything, members), l2, list(members))


def twin_heads(
    features: FloatArray,
    targets: IntArray,
    groups: IntArray,
    classes: int,
    stage: Stage,
    l2: float,
    seed: int,
) -> Twins:
    """Return pairs of heads of a solvable stage, each fitted on half of the rows and half of the features.

    A solved head has neither a seed nor an order of its rows, so only other rows make it another head. Heads
    that read the same features still err together; halves of the features, drawn at random, part them
    further. Each pair halves both anew. Arguments are those of `fit_head`, and ``l2`` its strength.
    """
    found = solver(stage)
    assert found is not None
    module, options = found[0], options_of("objective", found[1])
    weight = np.zeros((2, TWIN_PAIRS, classes, features.shape[1]), dtype=np.float32)
    bias = np.zeros((2, TWIN_PAIRS, classes), dtype=np.float32)
    for pair in range(TWIN_PAIRS):
        draw = derive_seed("twins", seed, pair)
        half = make_folds(targets, groups, 2, draw)
        side = np.random.default_rng(draw).permutation(features.shape[1]) % 2
        for k in range(2):
            rows, columns = np.flatnonzero(half == k), np.flatnonzero(side == k)
            x, strength = features[np.ix_(rows, columns)], [l2 * REFERENCE_ROWS / len(rows)]
            [head] = module.fit_linear(x, targets[rows], classes, strength, options)
            weight[k, pair][:, columns], bias[k, pair] = head.weight, head.bias
    return Twins(weight, bias)


def risk(outputs: FloatArray, targets: IntArray | FloatArray) -> float:
    """Return the mean negative log-likelihood (nats) of classes, or the mean squared error of scores.

    Examples
    --------
    >>> round(risk(np.zeros((3, 2)), np.array([0, 1, 1])), 4), risk(np.ones((2, 1)), np.array([1.0, 3.0]))
    (0.6931, 2.0)
    """
    if targets.dtype.kind == "f":
        return float(np.mean((outputs[:, 0] - targets) ** 2))
    return nll(targets, softmax(outputs))
