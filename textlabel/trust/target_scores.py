"""Scores by which ways of adapting to a target are compared where no label of it is known.

Beside DoC and the agreement of two models (`textlabel.trust.estimates`): how sure and how diverse the labels
are, how accurate the model is on the source rows that are most like the target, and whether a model that
learned from its labels of the target gives the source's labels back. None of them bounds anything. What each
is worth on pairs of corpora is in recipes/benchmarks/results/domain_deciding.json.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from textlabel.errors import CorpusError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: stands in for a probability of 0, whose logarithm is infinite
_LEAST = 1e-300


def mean_entropy(probabilities: npt.ArrayLike) -> float:
    """Return the mean entropy of rows (n, k) in nats: low where the model is sure.

    Examples
    --------
    >>> round(mean_entropy([[0.5, 0.5], [1.0, 0.0]]), 4)
    0.3466
    """
    p = _rows(probabilities)
    return float(-(p * np.log(np.maximum(p, _LEAST))).sum(axis=1).mean())


def mutual_information(probabilities: npt.ArrayLike) -> float:
    """Return the entropy of the mean of rows (n, k) less their mean entropy, in nats.

    It is high where labels are sure and all classes are used (Bridle, Heading and MacKay 1991, "Unsupervised
    classifiers, mutual information and phantom targets"): what SHOT makes large. It takes classes to be about
    equally common.

    Examples
    --------
    >>> round(mutual_information([[0.0, 1.0], [1.0, 0.0]]), 4), mutual_information([[1.0, 0.0]] * 2)
    (0.6931, 0.0)
    """
    p = _rows(probabilities)
    return mean_entropy(p.mean(axis=0, keepdims=True)) - mean_entropy(p)


def importance_weighted_accuracy(right: npt.ArrayLike, weights: npt.ArrayLike) -> float:
    """Return the accuracy on source rows that stand for the target's, in [0, 1].

    Of rows weighed by ``p_target(x) / p_source(x)`` the mean is the target's accuracy where only texts differ
    and not what they mean (Sugiyama, Krauledat and Müller 2007, "Covariate shift adaptation by importance
    weighted cross validation").

    Parameters
    ----------
    right : (n,) whether each source row is labeled rightly by a model that did not train on it.
    weights : (n,) of `textlabel.trust.row_weights`, not negative.

    Raises
    ------
    CorpusError : not as many weights as rows, none, or weights that sum to 0.

    Examples
    --------
    >>> importance_weighted_accuracy([True, True, False, False], [1.0, 1.0, 1.0, 1.0])
    0.5
    >>> importance_weighted_accuracy([True, True, False, False], [1.5, 1.5, 0.5, 0.5])
    0.75
    """
    r, w = np.asarray(right, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    if r.ndim != 1 or r.shape != w.shape or not w.sum() > 0:
        raise CorpusError(
            f"expected as many weights as rows, n >= 1 of both, and some above 0; got {w.shape} and {r.shape}"
        )
    return float((w * r).sum() / w.sum())


def circular(
    fit: Callable[[Floats, Ints], Callable[[Floats], Floats]],
    source: Floats,
    labels: Ints,
    target: Floats,
    given: Ints,
) -> npt.NDArray[np.bool_]:
    """Return which source rows (n,) a model labels rightly that learned a model's labels of the target.

    Circular validation: if the way back leads to the source's labels, the way there was right (Bruzzone and
    Marconcini 2010, doi 10.1109/TPAMI.2009.57; Zhong et al. 2010, "Cross validation framework to choose
    amongst models and datasets for transfer learning"). A model that gives the target one class alone has no
    way back: no row counts as right.

    Parameters
    ----------
    fit : from features (m, d) and classes (m,) to what gives logits of features.
    source, labels : features (n, d) and classes (n,) of labeled rows.
    target, given : features (m, d) of unlabeled rows, and the class (m,) that the model gives each.
    """
    if len(np.unique(given)) < 2:
        return np.zeros(len(labels), dtype=np.bool_)
    return np.asarray(fit(target, given)(source).argmax(axis=1) == labels)


def _rows(probabilities: npt.ArrayLike) -> Floats:
    p = np.asarray(probabilities, dtype=np.float64)
    if p.ndim != 2 or not len(p):
        raise CorpusError(f"expected probabilities (n, k) with n >= 1, got {p.shape}")
    return p
