"""Pairs of heads that differ in what they saw: how often they agree tells how accurate they are."""

from __future__ import annotations

import numpy as np

from textlabel.corpus.split import folds as make_folds
from textlabel.engine.process import derive_seed
from textlabel.engine.solvers import mixing_argument, per_row, solver
from textlabel.recipe import Stage, options_of
from textlabel.trust.source import Twins
from textlabel.types import FloatArray, IntArray

#: pairs of twins whose agreement is averaged; eight did no better
TWIN_PAIRS = 4


def twin_heads(
    features: FloatArray,
    targets: IntArray,
    groups: IntArray,
    classes: int,
    stage: Stage,
    l2: float,
    seed: int,
    mixing: FloatArray | None = None,
    row_weights: FloatArray | None = None,
) -> Twins:
    """Return pairs of heads of a solvable stage, each fitted on half of the rows and half of the features.

    Solved heads have no seed: other rows make another head, and other features part them further. Each pair
    halves both anew. Arguments are those of `fit_head`; ``l2`` and ``mixing`` are what it chose. Rows count
    as ``row_weights`` say, but are halved as if all counted alike.
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
            x, strength = features[np.ix_(rows, columns)], per_row(module, [l2], len(rows))
            more = mixing_argument(mixing) | (
                {} if row_weights is None else {"row_weights": row_weights[rows]}
            )
            [head] = module.fit_linear(x, targets[rows], classes, strength, options, **more)
            weight[k, pair][:, columns], bias[k, pair] = head.weight, head.bias
    return Twins(weight, bias)
