"""One probability out of several of the same text: rules, zero-shot, a tuned model.

A log-linear pool, ``softmax(sum_s v_s log p_s)``, whose factors are learned on gold rows, never negative
(`textlabel.trust.source_pool`): by chance few rows teach to trust a source less than nothing. Their sum is
how sure the pool is, so it calibrates in one go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from textlabel.errors import CorpusError
from textlabel.rules.models import Floats
from textlabel.trust.calibration import softmax
from textlabel.trust.source_pool import pool_factors

#: gold rows without which nothing is learned, for each source
ROWS_PER_SOURCE = 10
_LEAST = 1e-6


class Sources(NamedTuple):
    """What several sources say of the same texts.

    Parameters
    ----------
    names : of the s sources, the label model of the rules first.
    unseen : (s, g, k) probabilities of gold rows, each made without the row's own label.
    said : (s, n, k) of the rows of the corpus.
    """

    names: tuple[str, ...]
    unseen: Floats
    said: Floats


@dataclass(frozen=True)
class Fusion:
    """Factors (s,) of sources, by name; ``told`` says what they were learned from."""

    names: tuple[str, ...]
    factors: Floats
    calibrated: bool
    told: str

    def apply(self, probabilities: npt.ArrayLike) -> Floats:
        """Return one probability (n, k) out of those of each source (s, n, k)."""
        return softmax(np.tensordot(self.factors, _logs(probabilities), axes=1))


def fuse(names: Sequence[str], probabilities: npt.ArrayLike, gold: npt.ArrayLike) -> Fusion:
    """Return the pool of sources that gold rows ask for; the first source, as it is, where they are too few.

    So, too, where no source tells more than chance: with no factor at all every row would be of one class.

    Parameters
    ----------
    names : of the sources, the label model of the rules first.
    probabilities : (s, g, k) of gold rows, each made without the row's own label.
    gold : (g,) their classes.

    Raises
    ------
    CorpusError : shapes that do not agree.

    Examples
    --------
    >>> rules, model = np.full((40, 2), 0.5), np.where(np.eye(2)[[0, 1] * 20] > 0, 0.8, 0.2)
    >>> fuse(["rules", "model"], np.stack([rules, model]), [0, 1] * 20).factors.round(1).tolist()[0]
    0.0
    """
    p, y = np.asarray(probabilities, np.float64), np.asarray(gold, np.int64)
    if p.ndim != 3 or len(p) != len(names) or y.shape != p.shape[1:2]:
        raise CorpusError(f"expected (s, g, k) of {len(names)} sources and (g,); got {p.shape} and {y.shape}")
    least = ROWS_PER_SOURCE * len(names)
    if len(y) < least:
        alone = np.eye(len(names))[0]
        told = f"{len(y)} gold rows, fewer than {least}: {names[0]} alone, NOT calibrated"
        return Fusion(tuple(names), alone, False, told)
    factors = pool_factors(_logs(p), y)
    if not factors.any():
        told = f"no source tells the {len(y)} gold rows more than chance: {names[0]} alone, NOT calibrated"
        return Fusion(tuple(names), np.eye(len(names))[0], False, told)
    shares = ", ".join(f"{name} {factor:.2f}" for name, factor in zip(names, factors, strict=True))
    return Fusion(tuple(names), factors, True, f"factors from {len(y)} gold rows: {shares}")


def unseen_fusion(probabilities: npt.ArrayLike, gold: npt.ArrayLike, folds: int = 5, seed: int = 0) -> Floats:
    """Return the pool's probabilities (g, k) of gold rows, by factors learned from the other folds."""
    p, y = np.asarray(probabilities, np.float64), np.asarray(gold, np.int64)
    fold = np.random.default_rng(seed).permutation(len(y)) % folds
    found = np.zeros(p.shape[1:])
    for part in np.unique(fold):
        out = fold == part
        factors = pool_factors(_logs(p[:, ~out]), y[~out])
        found[out] = softmax(np.tensordot(factors, _logs(p[:, out]), axes=1))
    return found


def _logs(probabilities: npt.ArrayLike) -> Floats:
    return np.log(np.maximum(np.asarray(probabilities, np.float64), _LEAST))
