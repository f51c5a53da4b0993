"""Label shift: the shares of the classes change between two corpora, the texts of a class do not.

Where that holds, ``p_target(y | x)`` is ``p_source(y | x) w_y`` up to a factor, with ``w_y`` the target share
of class y over its source share. Two estimates of ``w`` need no target label: the maximum of the likelihood
by EM (Saerens, Latinne, Decaestecker 2002, doi 10.1162/089976602753284446), and matching how often the model
says what (BBSE: Lipton, Wang, Smola 2018, arXiv 1802.03916).

Where it does not hold both give a confident wrong number, so first the assumption is tested. With as many
predictions as classes there is nothing to test: k equations in k unknowns always have a solution. Rows are
therefore counted in more cells, each predicted class in up to five bands of confidence, and what the best
weights leave unexplained is compared with its sampling noise: with chi-square, as which it is distributed
under label shift as rows grow, and where that would refuse, also with label shifts drawn anew, for cells of
few rows. What exceeds both is refused as no label shift.

A true label shift is refused in at most 5 % of corpora where one model places source and target, as with a
held-out calibration set. Out of fold, heads that each lack a fold place the source rows, so all of these, on
average, must place those of the target: the final head is surer or less sure than they are.

A shift that leaves the cell shares a mixture of the classes' own is not seen: the test can refuse, it cannot
prove.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from textlabel.errors import CorpusError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: confidence bands of one predicted class, and the rows that each asks for
BANDS, ROWS_PER_BAND = 5, 20
#: rows of an average class for each cell: with fewer, shares within classes are too rough to test against
ROWS_PER_CELL = 2
#: share of true label shifts that the test refuses by chance
LEVEL = 0.05
#: drawn anew where chi-square would refuse
SIMULATIONS = 199
#: least weight of a class: with none, a row that is wholly of it would have no probabilities left
LEAST_WEIGHT = 1e-12
#: target rows for each class: with fewer the noise of the shares alone, (k - 1) / (2 n), costs a row a
#: hundredth of a nat or more; EM on a handful of rows gives all of them to one class
TARGET_ROWS = 50


@dataclass(frozen=True)
class Cells:
    """How source rows fell into cells of what the model said of them: predicted class by confidence band.

    Parameters
    ----------
    edges : for each of k predicted classes the rising confidences that part its bands.
    counts : (m, k) rows of each true class in each of the m cells.
    """

    edges: tuple[tuple[float, ...], ...]
    counts: Ints

    @property
    def prior(self) -> Floats:
        """Source share of each class, (k,)."""
        shares: Floats = self.counts.sum(axis=0) / self.counts.sum()
        return shares

    def place(self, probabilities: npt.ArrayLike) -> Ints:
        """Return the cell (n,) of each row of calibrated probabilities (n, k)."""
        p = _rows(probabilities, len(self.edges))
        said, sure = p.argmax(axis=1), p.max(axis=1)
        cell = np.empty(len(p), dtype=np.int64)
        first = 0
        for label, edges in enumerate(self.edges):
            mine = said == label
            cell[mine] = first + np.searchsorted(edges, sure[mine], side="right")
            first += len(edges) + 1
        return cell

    def count(self, probabilities: npt.ArrayLike) -> Ints:
        """Return how many rows of calibrated probabilities (n, k) fall into each cell, (m,)."""
        counts: Ints = np.bincount(self.place(probabilities), minlength=len(self.counts))
        return counts


@dataclass(frozen=True)
class LabelShift:
    """Class shares of the target corpus, and what to multiply probabilities by.

    Parameters
    ----------
    shares : (k,) estimated share of each class; sums to 1.
    weights : (k,) target share over source share; of stated shares what has the same effect, up to a factor.
    p_value : of the test that this is a label shift at all, which was not refused; None: the shares were
        stated, and nothing was tested (`textlabel.trust.stated_shares`).
    """

    shares: Floats
    weights: Floats
    p_value: float | None

    def to_json(self, names: Sequence[str]) -> dict[str, Any]:
        """Return a JSON-ready dictionary; ``names`` are of the classes, in order."""
        shares, weights = (dict(zip(names, v.tolist(), strict=True)) for v in (self.shares, self.weights))
        return {"applied": True, "shares": shares, "weights": weights, "p_value": self.p_value}


@dataclass(frozen=True)
class Refused:
    """No number, and why."""

    reason: str
    p_value: float | None = None

    def to_json(self, names: Sequence[str]) -> dict[str, Any]:
        """Return a JSON-ready dictionary, like that of `LabelShift`."""
        return {"applied": False, "reason": self.reason, "p_value": self.p_value}

    def __str__(self) -> str:
        return self.reason


def count_cells(probabilities: npt.ArrayLike, labels: npt.ArrayLike) -> Cells:
    """Return the cells of source rows that the model did not train on, bands of equal mass.

    Parameters
    ----------
    probabilities : (n, k) calibrated, out of fold or held out.
    labels : (n,) true classes in [0, k).

    Examples
    --------
    >>> count_cells([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]], [0, 1, 0]).counts.tolist()
    [[1, 0], [1, 1]]
    """
    p, y = np.asarray(probabilities, dtype=np.float64), np.asarray(labels, dtype=np.int64)
    n, k = p.shape
    said, sure = p.argmax(axis=1), p.max(axis=1)
    most = min(BANDS, n // (ROWS_PER_CELL * k * k))
    edges = tuple(_edges(sure[said == label], most) for label in range(k))
    cells = Cells(edges, np.zeros((sum(len(e) + 1 for e in edges), k), dtype=np.int64))
    np.add.at(cells.counts, (cells.place(p), y), 1)
    return cells


def _edges(sure: Floats, most: int) -> tuple[float, ...]:
    bands = max(1, min(len(sure) // ROWS_PER_BAND, most))
    return tuple(np.unique(np.quantile(sure, np.arange(1, bands) / bands)).tolist()) if bands > 1 else ()


def em(
    probabilities: npt.ArrayLike, prior: npt.ArrayLike, *, tolerance: float = 1e-6, limit: int = 1000
) -> Floats:
    """Return the weights (k,) whose shares make the target's probabilities likeliest.

    The EM step sets each share to the mean corrected probability; it climbs a concave likelihood, so it finds
    the maximum from anywhere. It trusts the probabilities: of a model that is too sure it overshoots, and one
    that leans to a class shifts the shares, which a temperature does not mend. So calibrate with one bias a
    class first (Alexandari, Kundaje, Shrikumar 2020, arXiv 1901.06852): `SourceStatistics.unbiased` does.

    Parameters
    ----------
    probabilities : (n, k) of target rows, calibrated on the source.
    prior : (k,) source share of each class, positive, sums to 1.
    tolerance : stop when no share moves by more in one step.

    Raises
    ------
    CorpusError : no rows, or a class without source rows.

    Examples
    --------
    >>> em([[0.5, 0.5], [0.75, 0.25], [0.75, 0.25]], [0.5, 0.5]).round(2).tolist()
    [2.0, 0.0]
    """
    pi = np.asarray(prior, dtype=np.float64)
    p = _rows(probabilities, len(pi))
    if not len(p) or not (pi > 0).all():
        raise CorpusError(
            f"expected target rows and a positive prior; got {len(p)} rows, prior {pi.tolist()}"
        )
    weights = np.ones(len(pi))
    for _ in range(limit):
        step = np.maximum(weights * (p.T @ (1 / (p @ weights))) / len(p) / pi, LEAST_WEIGHT)
        moved = np.abs(step - weights) @ pi
        weights = step
        if moved < tolerance:
            break
    return weights / (weights @ pi)


def bbse(
    cells: Cells, counts: npt.ArrayLike, *, ridge: float = 1.0, level: float = LEVEL
) -> LabelShift | Refused:
    """Return the weights that explain how often the model says what on the target, or a refusal.

    The target's cell shares ``mu`` are matched by ``C (prior * w)``, ``C`` the cell shares within each source
    class, in units of the sampling noise of both. Weights are kept from being negative by non-negative
    least squares and renormalized. The test looks at the residual of the best weights, without ridge; it has
    one degree of freedom for each cell beyond the classes, and one for each class left empty.

    Parameters
    ----------
    cells : of the source, from `count_cells`.
    counts : (m,) target rows in each cell, from `Cells.count`; or their mean over the heads that placed the
        source rows.
    ridge : pull of each weight towards 1, as strong as knowing it to within ``ridge ** -0.5``.
    level : probability of refusing a true label shift, as rows grow; less where ``counts`` are a mean.
    """
    from scipy.stats import chi2

    m, k = cells.counts.shape
    if m <= k:
        return Refused(
            f"{cells.counts.sum()} labeled rows of {k} classes cannot tell label shift from other shifts: "
            f"label {2 * k * max(ROWS_PER_BAND, ROWS_PER_CELL * k)} or more, or leave class shares alone"
        )
    target = np.asarray(counts, dtype=np.float64)
    if target.shape != (m,):
        raise CorpusError(f"expected the rows in each of {m} cells, from Cells.count; got {target.shape}")
    weights, residual, empty = _matched(cells.counts, target, ridge)
    p_value = float(chi2.sf(residual, m - k + empty))
    if p_value < level:
        p_value = _simulated(cells.counts, weights, round(target.sum()), residual)
    if p_value < level:
        return Refused(
            f"class shares alone do not explain this corpus (p = {p_value:.2g}): either the texts of a class "
            "differ from the labeled ones, or this model was calibrated by folds and keeps no heads of them. "
            "Correcting for shares may make labels worse; label some rows of it instead, or calibrate with "
            "holdout",
            p_value,
        )
    return LabelShift(cells.prior * weights, weights, p_value)


def _matched(counts: Ints, target: npt.NDArray[Any], ridge: float) -> tuple[Floats, float, int]:
    """Return weights (k,), the squared residual of the best ones, and how many of those are zero."""
    from scipy.optimize import nnls

    n, k = target.sum(), counts.shape[1]
    prior, shares = counts.sum(axis=0) / counts.sum(), _shares(counts)
    weights, toward_one = np.ones(k), np.full(k, np.sqrt(ridge))
    for _ in range(3):  # the noise depends on the weights, a little
        white = np.linalg.inv(np.linalg.cholesky(_noise(counts, shares, prior * weights, n)))
        design, seen = white @ (shares * prior), white @ (target / n)
        weights = nnls(np.vstack([design, np.diag(toward_one)]), np.append(seen, toward_one))[0]
        weights /= weights @ prior
    best, residual = nnls(design, seen)
    return weights, float(residual**2), int((best == 0).sum())


def _simulated(counts: Ints, weights: Floats, n: int, residual: float) -> float:
    """Return the share of label shifts by ``weights``, drawn anew, that leave as much unexplained.

    Chi-square wants many rows in each cell; many classes leave few, and then it is too strict.
    """
    rng = np.random.default_rng(0)
    shares, rows = _shares(counts), counts.sum(axis=0)
    expected = shares @ (weights * rows / rows.sum())
    larger = 0
    for _ in range(SIMULATIONS):
        source = np.stack([rng.multinomial(r, p) for r, p in zip(rows, shares.T, strict=True)], axis=1)
        larger += _matched(source, rng.multinomial(n, expected / expected.sum()), 0.0)[1] >= residual
    return (1 + larger) / (1 + SIMULATIONS)


def label_shift(
    cells: Cells,
    probabilities: npt.ArrayLike,
    counts: npt.ArrayLike | None = None,
    *,
    level: float = LEVEL,
) -> LabelShift | Refused:
    """Return the class shares of the target by EM, which uses all of each probability, or a refusal.

    Parameters
    ----------
    cells : of the source, from `count_cells`.
    probabilities : (n, k) of target rows, calibrated on the source with one bias a class.
    counts : of the same rows, as `bbse` takes them; None: the cells of ``probabilities``.
    """
    k = len(cells.edges)
    p = _rows(probabilities, k)
    if len(p) < TARGET_ROWS * k:
        return Refused(
            f"{len(p)} rows are too few to estimate shares of {k} classes, which needs {TARGET_ROWS * k}"
        )
    if missing := int((cells.prior == 0).sum()):
        return Refused(f"{missing} of {k} classes have no labeled row that calibrates: label some of them")
    tested = bbse(cells, cells.count(p) if counts is None else counts, level=level)
    if isinstance(tested, Refused):
        return tested
    weights = em(p, cells.prior)
    return LabelShift(cells.prior * weights, weights, tested.p_value)


def corrected(probabilities: npt.ArrayLike, weights: npt.ArrayLike) -> Floats:
    """Return the probabilities (n, k) after a label shift by ``weights`` (k,).

    Raises
    ------
    CorpusError : not one weight for each class, or one that is negative, infinite or no number.

    Examples
    --------
    >>> corrected([[0.5, 0.5]], [1.5, 0.5]).tolist()
    [[0.75, 0.25]]
    """
    p, w = np.asarray(probabilities, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    if w.shape != p.shape[1:] or not (np.isfinite(w) & (w >= 0)).all():
        raise CorpusError(
            f"expected a weight of 0 or more for each of {p.shape[1]} classes; got {w.tolist()}: estimate "
            "the label shift of this corpus with this model"
        )
    p = p * np.maximum(w, LEAST_WEIGHT)
    p /= p.sum(axis=1, keepdims=True)
    return p


def _shares(counts: Ints) -> Floats:
    """Return P(cell | class), (m, k): with one row added, spread as all rows are, so that none is zero."""
    pooled = (counts.sum(axis=1, keepdims=True) + 1) / (counts.sum() + len(counts))
    shares: Floats = (counts + pooled) / (counts.sum(axis=0) + 1)
    return shares


def _noise(counts: Ints, shares: Floats, class_shares: Floats, n: int) -> Floats:
    """Return the covariance (m, m) of ``mu - C q``: multinomial noise of target and of source classes."""
    expected = shares @ class_shares
    covariance = (np.diag(expected) - np.outer(expected, expected)) / n
    per_row = class_shares**2 / np.maximum(counts.sum(axis=0), 1)
    covariance += np.diag(shares @ per_row) - (shares * per_row) @ shares.T
    # shares sum to one and so have no noise along that direction: the hair lets the matrix be inverted,
    # and holds the fitted shares to a sum of one
    return covariance + 1e-6 / len(expected)


def _rows(probabilities: npt.ArrayLike, k: int) -> Floats:
    p = np.asarray(probabilities, dtype=np.float64)
    if p.ndim != 2 or p.shape[1] != k:
        raise CorpusError(f"expected probabilities (n, {k}), one column a class; got {p.shape}")
    return p
