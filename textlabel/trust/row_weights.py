"""Weights of labeled rows by how much each is like the texts that are to be labeled.

Where ``p(label | x)`` is the same in both corpora and only the texts differ (covariate shift), rows weighed
by ``w(x) = p_target(x) / p_source(x)`` stand for the target (Shimodaira 2000, doi
10.1016/S0378-3758(00)00115-4). `density_ratio` takes w from a classifier that tells the corpora apart, `kmm`
from kernel means: Huang, Smola, Gretton, Borgwardt, Schölkopf 2006, Correcting sample selection bias by
unlabeled data. Of one corpus in two parts `density_ratio` gives all rows about the same weight; `kmm` matches
the very samples, noise too, and gives many rows none.

Neither helps where the corpora hardly overlap: then few rows carry all the weight. How many rows the weights
are worth, ``(sum w)^2 / sum w^2``, tells so, and weights that are worth less than a tenth of the rows are
refused. That is judged before weights are clipped and flattened: clipped to [.1, 10], and their root taken,
weights are always worth a third of the rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from textlabel.errors import CorpusError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: weights worth less than this share of the rows are refused
LEAST_SHARE = 0.1
#: distinct rows of each corpus below which nothing can be told
FEWEST = 20
#: ratios are kept between these, and then raised to this power
CLIP, BETA = (0.1, 10.0), 0.5
#: parts of the rows, of which each is weighed by a classifier that saw none of it, and parts of what is left,
#: by which that classifier is calibrated
FOLDS, INNER = 5, 3
#: ridge strengths tried, in nats in total per squared standardized weight, the strongest first
STRENGTHS = (1000.0, 100.0, 10.0, 1.0)
#: rows of each corpus that a classifier learns from: more take longer and change little
ROWS = 2500
#: log-odds beyond this are this
MOST_ODDS = 30.0
#: most weight that `kmm` gives a row (B in the paper)
BOUND = 1000.0
#: rows beyond which `kmm` is refused: its kernel has their square
KERNEL_ROWS = 3000
#: `kmm` stops where the objective is within this share of n^2 / 2 of its minimum, or after so many steps
GAP, STEPS = 1e-5, 5000


@dataclass(frozen=True)
class RowWeights:
    """How much each labeled row counts.

    Parameters
    ----------
    method : "density_ratio" or "kmm".
    weights : (n,) positive or zero, with mean 1.
    effective_rows : how many rows of equal weight these are worth, in [1, n].
    unclipped_rows : the same of the weights before they were clipped and flattened, which is what is judged.
    """

    method: str
    weights: Floats
    effective_rows: float
    unclipped_rows: float

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary without the weights of rows."""
        return {
            "method": self.method,
            "applied": True,
            "rows": len(self.weights),
            "effective_rows": round(self.effective_rows, 1),
            "unclipped_rows": round(self.unclipped_rows, 1),
        }


@dataclass(frozen=True)
class Refused:
    """No weights, and why; ``unclipped_rows``: what they had been worth, None where there are none."""

    method: str
    reason: str
    unclipped_rows: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary, like that of `RowWeights`."""
        worth = None if self.unclipped_rows is None else round(self.unclipped_rows, 1)
        return {"method": self.method, "applied": False, "reason": self.reason, "unclipped_rows": worth}


def effective_rows(weights: npt.ArrayLike) -> float:
    """Return how many rows of equal weight these (n,) are worth: ``(sum w)^2 / sum w^2`` (Kish 1965).

    Examples
    --------
    >>> effective_rows([1, 1, 1, 1]), effective_rows([1, 0, 0, 0])
    (4.0, 1.0)
    """
    w = np.asarray(weights, dtype=np.float64)
    w = w / max(float(w.max(initial=0.0)), np.finfo(float).tiny)  # squares of tiny weights would be 0
    return float(w.sum() ** 2 / max(float(w @ w), np.finfo(float).tiny))


def density_ratio(
    source: npt.NDArray[np.floating[Any]],
    target: npt.NDArray[np.floating[Any]],
    seed: int,
    groups: npt.ArrayLike | None = None,
) -> RowWeights | Refused:
    """Return weights of source rows by a classifier that tells source from target.

    With ``p(t | x)`` the probability of target, ``w(x) = p(t | x) / p(s | x) * n_s / n_t``, clipped to
    [.1, 10], its root taken, divided by the mean. The logistic classifier, its ridge strength and the scale
    and bias that calibrate it are learned from rows of other folds than the one that it weighs.

    Parameters
    ----------
    source, target : (n, d) and (m, d) features.
    seed : decides the folds.
    groups : (n + m,) equal where texts are equal, source rows first; such rows share a fold. None: all
        differ.

    Raises
    ------
    CorpusError : other widths, features that are not finite, or not one group for each row.
    """
    name = "density_ratio"
    if refused := _few(name, *_checked(source, target)):
        return refused
    x = np.concatenate([source, target]).astype(np.float64)
    member = np.arange(len(x)) if groups is None else np.asarray(groups)
    if member.shape != (len(x),):
        raise CorpusError(f"expected a group for each of {len(x)} rows, got shape {member.shape}")
    side = np.repeat([0, 1], [len(source), len(target)])
    ratios = ratios_out_of_fold(x, side, member, seed)
    if ratios is None:
        return Refused(name, "the rows are too few, or too many of them are equal, to part them in folds")
    raw = ratios[: len(source)]
    return _judged(name, raw, np.clip(raw, *CLIP) ** BETA)


def kmm(
    source: npt.NDArray[np.floating[Any]], target: npt.NDArray[np.floating[Any]], bound: float = BOUND
) -> RowWeights | Refused:
    """Return weights of source rows that bring their kernel mean close to that of the target.

    They minimize ``b' K b / 2 - k' b`` with ``k_i = n / m * sum_j K(x_i, t_j)`` over ``0 <= b <= bound``
    and ``|sum b - n| <= n (sqrt n - 1) / sqrt n``, and are then divided by their mean. The kernel is
    Gaussian, its width the median distance of all rows.

    Parameters
    ----------
    source, target : (n, d) and (m, d) features.

    Raises
    ------
    CorpusError : other widths, features that are not finite, or a bound below 1, which no weights obey.
    """
    n = len(source)
    if bound < 1:
        raise CorpusError(f"expected a bound of 1 or more, got {bound}: weights are 1 on average")
    if refused := _few("kmm", *_checked(source, target)):
        return refused
    if n > KERNEL_ROWS:
        return Refused(
            "kmm", f"it is for at most {KERNEL_ROWS:,} rows, and these are {n:,}: use density_ratio"
        )
    kernel, means = kernel_means(source.astype(np.float64), target.astype(np.float64))
    slack = n * (n**0.5 - 1) / n**0.5
    raw = box_program(kernel, means, bound, n - slack, n + slack)
    return _judged("kmm", raw, raw)


def _checked(source: npt.NDArray[Any], target: npt.NDArray[Any]) -> tuple[int, int]:
    """Return how many different rows each corpus has."""
    if source.ndim != 2 or target.ndim != 2 or source.shape[1] != target.shape[1]:
        raise CorpusError(f"expected features (n, d) and (m, d), got {source.shape} and {target.shape}")
    if not (np.isfinite(source).all() and np.isfinite(target).all()):
        raise CorpusError(
            "expected finite features, got NaN or infinity; the backbone or its input is broken"
        )
    return len(np.unique(source, axis=0)), len(np.unique(target, axis=0))


def _few(method: str, n: int, m: int) -> Refused | None:
    if min(n, m) >= FEWEST:
        return None
    return Refused(
        method,
        f"{n} different labeled texts and {m} unlabeled ones tell too little: {FEWEST} of each are needed",
    )


def _judged(method: str, raw: Floats, weights: Floats) -> RowWeights | Refused:
    """Return weights with mean 1, or a refusal where ``raw`` says that the corpora hardly overlap.

    The mean of true ratios over source rows is the share of the target that lies where source rows are. So
    ratios that are all alike and tiny are no reason to weigh all rows alike.
    """
    worth, share, n = effective_rows(raw), float(raw.mean()), len(raw)
    if worth < LEAST_SHARE * n:
        reason = f"weights of {n:,} rows would be worth {worth:.0f} of them, less than a tenth"
    elif share < LEAST_SHARE:
        reason = f"only {share:.1%} of the unlabeled texts are where labeled ones are, less than a tenth"
    else:
        weights = weights / weights.mean()
        return RowWeights(method, weights, effective_rows(weights), worth)
    return Refused(method, f"{reason}: the corpora hardly overlap", worth)


def ratios_out_of_fold(x: Floats, side: Ints, groups: Ints, seed: int) -> Floats | None:
    """Return ``p_target / p_source`` (n,) of each row by a classifier that saw neither it nor its fold.

    Neither fold nor anything else that a row's ratio hangs on reads which side that row is of. None: a part
    of the rows lacks one of the sides.

    Parameters
    ----------
    x : (n, d) features.
    side : (n,) 0 source, 1 target.
    groups : (n,) equal where texts are equal.
    """
    ratios = np.empty(len(x))
    rng = np.random.default_rng(seed)
    for train, held in _folds(groups, FOLDS, rng):
        inner = np.random.default_rng(rng.integers(2**63))  # as many draws, whatever the sides
        rows = _of_each(side[train], train, inner)
        found = _calibrated(x[rows], side[rows], groups[rows], x[held], inner)
        if found is None:
            return None
        prior = np.log((side[rows] == 0).sum() / (side[rows] == 1).sum())
        ratios[held] = np.exp(np.clip(found + prior, -MOST_ODDS, MOST_ODDS))
    return ratios


def _folds(groups: Ints, folds: int, rng: np.random.Generator) -> Iterator[tuple[Ints, Ints]]:
    """Yield (train, held out) row numbers, groups whole."""
    _, group = np.unique(groups, return_inverse=True)
    fold = (rng.permutation(group.max() + 1) % folds)[group]
    for k in range(folds):
        yield np.flatnonzero(fold != k), np.flatnonzero(fold == k)


def _of_each(side: Ints, rows: Ints, rng: np.random.Generator) -> Ints:
    """Return at most `ROWS` rows of each side, at random."""
    return np.sort(np.concatenate([rng.permutation(rows[side == s])[:ROWS] for s in (0, 1)]))


def _calibrated(x: Floats, side: Ints, groups: Ints, held: Floats, rng: np.random.Generator) -> Floats | None:
    """Return calibrated log-odds (m,) that held rows are of side 1; None: a part lacks one of the sides."""
    scores = np.empty((len(STRENGTHS), len(x)))
    for train, out in _folds(groups, INNER, rng):
        if len(np.unique(side[train])) < 2:
            return None
        for row, head in zip(scores, _logistic(x[train], side[train], STRENGTHS), strict=True):
            row[out] = _score(x[out], head)
    best = int(np.argmin([np.mean(np.logaddexp(0, row) - side * row) for row in scores]))
    head = list(_logistic(x, side, STRENGTHS[: best + 1]))[-1]
    scale, bias = _platt(scores[best], side)
    return scale * _score(held, head) + bias


def _score(x: Floats, head: tuple[Floats, float]) -> Floats:
    return x @ head[0] + head[1]


def _logistic(x: Floats, side: Ints, strengths: tuple[float, ...]) -> Iterator[tuple[Floats, float]]:
    """Yield weights (d,) and bias of ridge logistic regressions on standardized features, one a strength."""
    from scipy.optimize import minimize

    mean, scale = x.mean(axis=0), x.std(axis=0)
    constant = scale <= 1e-5 * max(float(scale.max(initial=0.0)), 1e-30)
    z = np.where(constant, 0.0, (x - mean) / np.where(constant, 1.0, scale))
    at = np.append(np.zeros(z.shape[1]), np.log(side.mean() / (1 - side.mean())))
    for strength in strengths:

        def loss(theta: Floats, l2: float = strength / len(z)) -> tuple[float, Floats]:
            w, logits = theta[:-1], z @ theta[:-1] + theta[-1]
            error = (1 / (1 + np.exp(-np.clip(logits, -500, 500))) - side) / len(z)
            value = np.mean(np.logaddexp(0, logits) - side * logits) + l2 / 2 * (w @ w)
            return float(value), np.append(error @ z + l2 * w, error.sum())

        at = minimize(loss, at, jac=True, method="L-BFGS-B", options={"maxiter": 200, "ftol": 1e-9}).x
        weight = at[:-1] / np.where(constant, 1.0, scale) * ~constant
        yield weight, float(at[-1] - weight @ mean)


def _platt(scores: Floats, side: Ints) -> tuple[float, float]:
    """Return scale and bias of log-odds by rows that the classifier did not see (Platt 1999).

    Targets are kept from 0 and 1 as there, so that both stay finite where the sides are separable. The scale
    is not negative: a classifier that tells nothing may say the contrary by chance.
    """
    from scipy.optimize import minimize

    one, zero = (side == 1).sum(), (side == 0).sum()
    wanted = np.where(side == 1, (one + 1) / (one + 2), 1 / (zero + 2))

    def loss(theta: Floats) -> tuple[float, Floats]:
        logits = theta[0] * scores + theta[1]
        error = (1 / (1 + np.exp(-np.clip(logits, -500, 500))) - wanted) / len(scores)
        value = np.mean(np.logaddexp(0, logits) - wanted * logits)
        return float(value), np.array([error @ scores, error.sum()])

    bounds = [(0.0, None), (None, None)]
    scale, bias = minimize(loss, [1.0, 0.0], jac=True, method="L-BFGS-B", bounds=bounds).x
    return float(scale), float(bias)


def kernel_means(source: Floats, target: Floats) -> tuple[Floats, Floats]:
    """Return the Gaussian kernel (n, n) of source rows, and ``n / m`` times its sums (n,) with target rows.

    Its width is the median distance between rows, of which at most `ROWS` of each corpus are looked at.
    """
    from scipy.spatial.distance import cdist, pdist

    some = [part[np.random.default_rng(0).permutation(len(part))[:ROWS]] for part in (source, target)]
    distances = pdist(np.concatenate(some))
    width = float(np.median(distances[distances > 0]))  # at least `FEWEST` rows differ
    kernel = np.exp(-cdist(source, source, "sqeuclidean") / (2 * width**2))
    means = np.exp(-cdist(source, target, "sqeuclidean") / (2 * width**2)).mean(axis=1)
    return kernel, len(source) * means


def box_program(kernel: Floats, means: Floats, bound: float, low: float, high: float) -> Floats:
    """Return the b (n,) of least ``b' K b / 2 - k' b`` with ``0 <= b <= bound`` and ``low <= sum b <= high``.

    Projected gradients with momentum, which starts anew where it leads uphill (Beck and Teboulle 2009;
    O'Donoghue and Candès 2015, arXiv 1204.3982). K is positive semidefinite, so for any s that obeys the
    constraints the objective at b exceeds that at s by at most ``gradient' (b - s)``. The largest of these,
    which is a sorted sum, bounds what is missing, and ends the descent.
    """
    n = len(means)
    step = 1 / max(float(np.abs(kernel).sum(axis=1).max()), 1e-12)  # no eigenvalue is above this sum
    enough = GAP * n * n / 2
    b = ahead = project(np.ones(n), bound, low, high)
    slope_ahead = kernel @ ahead - means
    momentum = 1.0
    for number in range(STEPS):
        new = project(ahead - step * slope_ahead, bound, low, high)
        if number % 10 == 0:
            slope = kernel @ new - means
            if slope @ new - _least(slope, bound, low, high) <= enough:
                return new
        if slope_ahead @ (new - b) > 0:
            momentum = 1.0
        after = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        ahead = new + (momentum - 1) / after * (new - b)
        slope_ahead = kernel @ ahead - means
        b, momentum = new, after
    return b


def project(point: Floats, bound: float, low: float, high: float) -> Floats:
    """Return the nearest to ``point`` (n,) of all b with ``0 <= b <= bound`` and ``low <= sum b <= high``.

    It is ``clip(point - c, 0, bound)`` with one number c: by the conditions of Karush, Kuhn and Tucker, each
    entry inside the box differs from the point by the multiplier of the sum, the others stop at the box, and
    c is 0 where the sum is allowed already. The sum falls with c and is linear between the 2 n values at
    which an entry meets the box; so c is found between two of them.

    Examples
    --------
    >>> project(np.array([3.0, 1.0, -1.0]), 2.0, 0.0, 2.0).tolist()
    [2.0, 0.0, 0.0]
    """
    inside: Floats = np.clip(point, 0, bound)
    total = float(inside.sum())
    if low <= total <= high:
        return inside
    wanted = min(max(total, low), high)
    knots = np.sort(np.concatenate([point, point - bound]))

    def sum_at(c: float) -> float:
        return float(np.clip(point - c, 0, bound).sum())

    first, last = 0, len(knots) - 1  # sums at these are n * bound and 0
    while last - first > 1:
        middle = (first + last) // 2
        first, last = (middle, last) if sum_at(knots[middle]) >= wanted else (first, middle)
    above, below = sum_at(knots[first]), sum_at(knots[last])
    share = (above - wanted) / (above - below) if above > below else 0.0
    found: Floats = np.clip(point - (knots[first] + share * (knots[last] - knots[first])), 0, bound)
    return found


def _least(slope: Floats, bound: float, low: float, high: float) -> float:
    """Return the least ``slope' s`` of all s with ``0 <= s <= bound`` and ``low <= sum s <= high``.

    Entries of the least slope are filled first: until the sum is ``low``, and on while the slope is negative.
    """
    rising = np.sort(slope)
    before = bound * np.arange(len(slope))
    room = np.where(rising < 0, high, low) - before
    return float(np.clip(room, 0, bound) @ rising)
