"""How well features, or another task's classifier, suit labels: scores that need no training on them.

They rank candidates and promise nothing. Compare values only where the labels are the very same rows:
`logme` and `h_score` of several backbones, `leep` and `nce` of several source classifiers. What was measured
of such rankings is in recipes/benchmarks/results/few_labels_choose.json.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from textlabel.errors import CorpusError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: noise over prior variance, relative to the mean eigenvalue of the features: what `logme` searches. The
#: lower end caps the evidence of features that fit the labels exactly, where it would have no maximum.
_RATIOS = np.logspace(-8, 8, 65)
#: singular values below this share of the largest are rounding
_NEGLIGIBLE = 1e-7
#: the least sum of squares that may stand for noise, as a share of that of the labels
_LEAST_NOISE = 1e-10


def logme(features: npt.NDArray[np.floating[Any]], labels: npt.ArrayLike) -> float:
    """Return the mean log evidence a row (nats) of linear models of each class (You 2021, arXiv 2102.11005).

    Each class against the rest is a Bayesian linear regression on the features, without intercept; its
    evidence is maximized over the precisions of prior and noise. With ``t`` their ratio, the best noise
    has a closed form for each ``t``, so that one number is searched, and nothing diverges. Features of any
    width may be compared: the evidence itself pays for each dimension, and it is divided by n.

    Parameters
    ----------
    features : (n, d); n < d is fine.
    labels : (n,) class numbers; classes without rows do not count.

    Raises
    ------
    CorpusError : fewer than two classes have rows, or not one label a row.

    Examples
    --------
    >>> y = np.array([0, 1] * 10)
    >>> logme(np.eye(2)[y], y) > logme(np.random.default_rng(0).normal(size=(20, 2)), y)
    True
    """
    x, y = _checked(features, labels)
    u, singular, _ = np.linalg.svd(x, full_matrices=False)
    kept = singular > _NEGLIGIBLE * max(float(singular.max(initial=0.0)), 1e-30)
    targets = (y[:, None] == np.unique(y)).astype(np.float64)
    inside = u[:, kept].T @ targets
    outside = np.maximum((targets**2).sum(axis=0) - (inside**2).sum(axis=0), 0.0)
    spectrum = singular[kept] ** 2
    return float(
        np.mean([_evidence(spectrum, *pair, len(y)) for pair in zip(inside.T, outside, strict=True)])
    )


def _evidence(spectrum: Floats, inside: Floats, outside: float, n: int) -> float:
    """Return the maximal log evidence a row of one regression.

    Parameters
    ----------
    spectrum : (r,) squared singular values of the features.
    inside : (r,) target in the basis of the left singular vectors.
    outside : squared length of what of the target no feature explains.
    """
    from scipy.optimize import minimize_scalar

    scale = float(spectrum.mean()) if len(spectrum) else 1.0
    least = _LEAST_NOISE * (float(inside @ inside) + outside)

    def loss(log_ratio: float) -> float:
        t = scale * np.exp(log_ratio)
        energy = max(float((t * inside**2 / (spectrum + t)).sum()) + outside, least)
        return float(np.log(2 * np.pi * energy / n) + 1 + np.log1p(spectrum / t).sum() / n) / 2

    grid = np.log(_RATIOS)
    best = int(np.argmin([loss(value) for value in grid]))
    bounds = (grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)])
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return -float(min(found.fun, loss(grid[best])))


def h_score(features: npt.NDArray[np.floating[Any]], labels: npt.ArrayLike) -> float:
    """Return the H-score: how much of the variation of the features is between classes, in [0, k - 1].

    ``(1 - s) tr(C^-1 B)``, where B is the covariance of the class means that stand for their rows and C
    that of the features, shrunk by s towards a sphere (Bao 2019, arXiv 2212.10082; Ledoit and Wolf as in
    Ibrahim 2022, arXiv 2110.06893). Unshrunk, features of n < d rows would always reach k - 1.

    Parameters
    ----------
    features, labels : as `logme`.

    Raises
    ------
    CorpusError : as `logme`.

    Examples
    --------
    >>> y = np.array([0, 1] * 50)
    >>> noise = np.random.default_rng(0).normal(size=(100, 2))
    >>> h_score(noise + 5 * np.eye(2)[y], y) > 0.9 > 0.1 > h_score(noise, y)
    True
    """
    from sklearn.covariance import ledoit_wolf

    x, y = _checked(features, labels)
    x = x - x.mean(axis=0)
    _, member, counts = np.unique(y, return_inverse=True, return_counts=True)
    sums = np.zeros((len(counts), x.shape[1]))
    np.add.at(sums, member, x)
    means = sums / np.sqrt(counts * len(y))[:, None]  # so that means.T @ means is B
    if float((x**2).sum()) == 0:
        return 0.0
    covariance, shrinkage = ledoit_wolf(x, assume_centered=True)
    solved = np.linalg.lstsq(covariance, means.T, rcond=None)[0]
    return float((1 - shrinkage) * np.sum(means.T * solved))


def leep(probabilities: npt.NDArray[np.floating[Any]], labels: npt.ArrayLike) -> float:
    """Return the log expected empirical prediction, nats a row, at most 0 (Nguyen 2020, arXiv 2002.12462).

    A source classifier gives each target row probabilities of the source's classes z. ``P(y | z)`` of the
    target's classes is estimated on these very rows, and the score is the mean of
    ``log sum_z P(y_i | z) p_i(z)``. Target rows count in their own estimate, which flatters a source of many
    classes where rows are few.

    Parameters
    ----------
    probabilities : (n, z), rows sum to 1. A source class that no row has any probability of is left out.
    labels : (n,) class numbers of the target; classes without rows do not count.

    Raises
    ------
    CorpusError : no rows, not one label a row, or rows that are no probabilities.

    Examples
    --------
    >>> round(leep(np.eye(2), [1, 0]), 6), round(leep(np.full((2, 2), 0.5), [1, 0]), 4)
    (0.0, -0.6931)
    """
    return float(leep_terms(probabilities, labels).mean())


def leep_terms(probabilities: npt.NDArray[np.floating[Any]], labels: npt.ArrayLike) -> Floats:
    """Return what each row adds to the mean that is `leep`, (n,): sources can be compared row by row."""
    p, y = _source(probabilities, labels)
    classes, member = np.unique(y, return_inverse=True)
    joint = np.zeros((len(classes), p.shape[1]))
    np.add.at(joint, member, p)
    total = joint.sum(axis=0)
    given = np.divide(joint, total, out=np.zeros_like(joint), where=total > 0)
    terms: Floats = np.log(np.sum(given[member] * p, axis=1))
    return terms


def nce(probabilities: npt.NDArray[np.floating[Any]], labels: npt.ArrayLike) -> float:
    """Return the negative conditional entropy -H(Y | Z), nats, at most 0 (Tran 2019, arXiv 1908.08142).

    Z is the source class that the source classifier finds likeliest. Arguments and errors: as `leep`.

    Examples
    --------
    >>> round(nce(np.eye(2)[[0, 0, 1, 1]], [0, 1, 0, 1]), 4), nce(np.eye(2), [1, 0])
    (-0.6931, 0.0)
    """
    p, y = _source(probabilities, labels)
    _, member = np.unique(y, return_inverse=True)
    joint = np.zeros((member.max() + 1, p.shape[1]))
    np.add.at(joint, (member, p.argmax(axis=1)), 1 / len(y))
    total = np.broadcast_to(joint.sum(axis=0), joint.shape)
    seen = joint > 0
    return float(np.sum(joint[seen] * np.log(joint[seen] / total[seen]))) + 0.0


def _checked(features: npt.NDArray[np.floating[Any]], labels: npt.ArrayLike) -> tuple[Floats, Ints]:
    """Return both as float64 (n, d) and int64 (n,), at least two classes among them."""
    x, y = np.asarray(features, dtype=np.float64), np.asarray(labels, dtype=np.int64)
    if x.ndim != 2 or y.shape != x.shape[:1]:
        raise CorpusError(f"expected features (n, d) and labels (n,); got {x.shape} and {y.shape}")
    if len(np.unique(y)) < 2:
        raise CorpusError(
            f"expected labels of two classes or more, got {len(np.unique(y))}; label rows of another class"
        )
    return x, y


def _source(probabilities: npt.NDArray[np.floating[Any]], labels: npt.ArrayLike) -> tuple[Floats, Ints]:
    """Return both as float64 (n, z) and int64 (n,)."""
    p, y = np.asarray(probabilities, dtype=np.float64), np.asarray(labels, dtype=np.int64)
    if p.ndim != 2 or y.shape != p.shape[:1] or not len(y):
        raise CorpusError(f"expected probabilities (n, z) and labels (n,), n >= 1; got {p.shape}, {y.shape}")
    if (p < 0).any() or not np.allclose(p.sum(axis=1), 1, atol=1e-3):
        raise CorpusError("expected rows of probabilities that sum to 1; give softmax(logits), not logits")
    return p, y
