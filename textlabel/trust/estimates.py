"""How many labels are right where none is known: estimates from confidence and agreement, never a guarantee.

Each method carries something over from labeled source rows that the model did not train on, and each assumes
that it carries over: the gap between confidence and accuracy (DoC), the confidence below which rows are
wrong (ATC), or that two models trained apart err apart (GDE). No method works for every shift, and nothing
in the target's texts alone can tell which one does (Garg et al. 2022, section 4). So the estimate is given
with the spread of the methods, which shows their disagreement and bounds nothing: it held the truth in 45 %
of the pairs of corpora (recipes/benchmarks/results/trust_estimates.json). Audit some rows for a promise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from textlabel.errors import CorpusError
from textlabel.trust.scores import Evidence, order_score
from textlabel.trust.variance import temper

if TYPE_CHECKING:
    from textlabel.trust.source import SourceStatistics

Floats = npt.NDArray[np.float64]

CAVEAT = "estimate, not a guarantee"

#: the confidence scores by which ATC orders rows; the two differ from three classes on
SCORES = ("max_probability", "entropy")
#: rows scored at once: bounds memory
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Threshold:
    """The confidence at which rows turn from wrong to right, and the share of rows tied there that is right.

    Parameters
    ----------
    value : rows above it count as right, rows below as wrong.
    tied : share in [0, 1] of the rows exactly at ``value`` that counts as right.
    """

    value: float
    tied: float


@dataclass(frozen=True)
class Estimate:
    """Share of right labels in [0, 1]: an estimate, not a guarantee.

    Parameters
    ----------
    value : the mean of ATC and GDE, or ATC where there is no GDE.
    low, high : smallest and largest of the methods in ``spread``.
    methods : each method's own estimate.
    spread : the methods that ``low`` and ``high`` are made of.
    rows : that it is about.

    Examples
    --------
    >>> print(Estimate(0.783, 0.74, 0.83, {"doc": 0.74, "atc": 0.783, "gde": 0.83}, ("doc", "atc", "gde")))
    0.78 (0.74 to 0.83), estimate, not a guarantee
    """

    value: float
    low: float
    high: float
    methods: Mapping[str, float] = field(default_factory=dict)
    spread: tuple[str, ...] = ()
    rows: int = 0

    def __str__(self) -> str:
        short = "" if "gde" in self.spread else " by DoC and ATC only"
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f}{short}), {CAVEAT}"

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary that says what it is."""
        return {
            "accuracy": self.value,
            "low": self.low,
            "high": self.high,
            "methods": dict(self.methods),
            "spread_of": list(self.spread),
            "rows": self.rows,
            "promise": CAVEAT,
        }


def average_confidence(probabilities: npt.ArrayLike) -> float:
    """Return AC: the mean calibrated confidence, the accuracy if the model is calibrated here, too."""
    return float(np.asarray(probabilities, dtype=np.float64).max(axis=1).mean())


def difference_of_confidences(accuracy: float, source: float, target: float) -> float:
    """Return DoC: source accuracy less the fall of mean confidence (Guillory et al. 2021, arXiv 2107.03315).

    Parameters
    ----------
    accuracy : share of right labels on unseen source rows.
    source, target : mean calibrated confidence on those rows, and on the target.

    Examples
    --------
    >>> round(difference_of_confidences(0.9, source=0.92, target=0.82), 3)
    0.8
    """
    return float(np.clip(accuracy - (source - target), 0.0, 1.0))


def fit_threshold(scores: npt.ArrayLike, accuracy: float) -> Threshold:
    """Return the ATC threshold, above which lies the share ``accuracy`` of unseen source rows.

    It is the k-th smallest of the n scores, ``k = round((1 - accuracy) n)``, counted from 0. Rows tied there
    count in part, so that the share is exact whatever the ties; that covers no error and no right label, too.

    Raises
    ------
    CorpusError : no rows.

    Examples
    --------
    >>> fit_threshold([0.5, 0.6, 0.8, 0.9], accuracy=0.75)
    Threshold(value=0.6, tied=1.0)
    """
    ordered = np.sort(np.asarray(scores, dtype=np.float64))
    n = len(ordered)
    if not n:
        raise CorpusError("expected the scores of at least one source row; got none")
    value = ordered[min(round((1 - accuracy) * n), n - 1)]
    above, tied = np.mean(ordered > value), np.mean(ordered == value)
    return Threshold(float(value), float(np.clip((accuracy - above) / tied, 0.0, 1.0)))


def average_thresholded_confidence(scores: npt.ArrayLike, threshold: Threshold) -> float:
    """Return ATC: the share of target rows above the threshold (Garg et al. 2022, arXiv 2201.04234).

    Examples
    --------
    >>> average_thresholded_confidence([0.5, 0.6, 0.7, 0.7], Threshold(0.6, tied=1.0))
    0.75
    """
    s = np.asarray(scores, dtype=np.float64)
    return float(np.mean(s > threshold.value) + threshold.tied * np.mean(s == threshold.value))


def agreement(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Return GDE: the share of rows on which two models agree (Jiang et al. 2022, arXiv 2106.13799).

    It equals their mean accuracy where an ensemble of such models is calibrated and the two were drawn
    independently of each other: other seeds, other order, and for a linear head, which has neither, other
    rows and features. Models that share training rows agree on common errors, and the estimate is too high.

    Examples
    --------
    >>> agreement([0, 1, 1, 0], [0, 1, 0, 0])
    0.75
    """
    return float(np.mean(np.asarray(first) == np.asarray(second)))


def estimate_accuracy(
    probabilities: npt.ArrayLike,
    source: SourceStatistics,
    agreements: npt.ArrayLike | None = None,
    distances: npt.ArrayLike | None = None,
) -> Estimate:
    """Return the share of right labels among target rows: the mean of ATC and GDE, and the spread with DoC.

    ATC enters once, as the mean of its two scores. Where the source tells how much its margins vary, they are
    scores of tempered probabilities: texts unlike the training rows then count as less sure than they look.
    That DoC counts for the spread alone was chosen on pairs of corpora that
    recipes/benchmarks/results/trust_estimates.json reports apart from the others, and so was the way to
    temper; that tempering helps was first seen on all pairs.

    Parameters
    ----------
    probabilities : (n, k) of the target rows, calibrated on the source.
    source : what was measured on the source rows.
    agreements : (n,) share of the pairs of twin heads that agree on each row, as
        `SourceStatistics.agreements` tells it; None: GDE is left out.
    distances : (n,) of the rows from the bulk of the source rows (`Moments.bulk`).

    Raises
    ------
    CorpusError : no rows, probabilities of another number of classes than the source's, or no distances where
        the source's thresholds are of tempered probabilities.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    k = source.cells.counts.shape[1]
    if p.ndim != 2 or p.shape[1] != k or not len(p):
        raise CorpusError(f"expected probabilities (n, {k}) with n >= 1, got {p.shape}")
    sure, scores = average_confidence(p), _scores(p, source, distances)
    by_score = {
        f"atc_{name}": average_thresholded_confidence(scores[name], threshold)
        for name, threshold in source.thresholds.items()
    }
    main = {
        "doc": difference_of_confidences(source.accuracy, source.confidence, sure),
        "atc": float(np.mean(list(by_score.values()))),
    }
    if agreements is not None:
        main["gde"] = float(np.mean(np.asarray(agreements, dtype=np.float64)))
    return Estimate(
        (main["atc"] + main.get("gde", main["atc"])) / 2,
        min(main.values()),
        max(main.values()),
        {**main, **by_score, "average_confidence": sure, "source_accuracy": source.accuracy},
        tuple(main),
        len(p),
    )


def _scores(p: Floats, source: SourceStatistics, distances: npt.ArrayLike | None) -> Mapping[str, Floats]:
    """Return the scores (n,) that the source's thresholds are of, made of some rows at a time."""
    found = {name: np.empty(len(p)) for name in source.thresholds}
    for start in range(0, len(p), _CHUNK):
        part = slice(start, start + _CHUNK)
        near = None if distances is None else np.asarray(distances)[part]
        ordered = Evidence(_tempered(p[part], source, near))
        for name, scores in found.items():
            scores[part] = order_score(name, ordered)
    return found


def _tempered(p: Floats, source: SourceStatistics, distances: npt.ArrayLike | None) -> Floats:
    """Return the probabilities that the source's thresholds are of."""
    if source.margin_variance is None:
        return p
    if distances is None:
        raise CorpusError(
            "expected the distances of the rows from the source rows, by which this model's confidence is "
            "tempered, and got none: they are told by features, so predict again and keep those"
        )
    return temper(p, distances, source.margin_variance)
