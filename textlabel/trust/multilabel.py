"""What holds where a row may carry several labels, or none: each label is a question of its own.

A label's logit z means ``p = sigmoid(z)``, which is the softmax of (0, z); so the calibrators of two
classes serve: a temperature, or a temperature and a bias (Platt 1999). A label whose answers are too
few to tell anything of it alone takes the temperature of all labels together.

The labels that a row carries are those whose probability reaches the label's threshold. A threshold of one
half ("half") makes the fewest wrong answers that are to be expected, over all labels (the Hamming loss). "f1"
is the threshold that maximizes a label's F1, which is half of the best F1 that can be had (Lipton et al.
2014, arXiv:1402.1892); F1 is expected under the calibrated probabilities of rows that the model did not train
on: ``2 sum_{i in S} p_i / (|S| + sum_i p_i)`` for the rows S that bear the label. Labels of fewer than 10 yes
or 10 no keep one half.

That the *whole* set of a row is right has the probability ``q = prod_c (p_c or 1 - p_c)``, if labels are
independent given the text, which they are not. So the log-odds of q are calibrated like those of a label, on
rows that the model did not train on: was the set exactly right? With fewer than 10 rows right or 10 wrong, q
stays.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from textlabel.errors import BundleError, CorpusError, RecipeError, TrainingError, nearest
from textlabel.registry import load
from textlabel.trust.calibration import MOST_ROWS, Calibrator, Floats, from_json, numbers
from textlabel.trust.calibrators.none import Uncalibrated
from textlabel.trust.choice import CHOOSING_LOGITS, choose, drawn

NAME = "per_label"
#: how the thresholds of labels are chosen
THRESHOLDS = ("half", "f1")

#: a label of fewer yes or fewer no takes the common temperature
LEAST_ANSWERS = 10
#: calibrators of two classes that are tried
TRIED = ("temperature", "bias_corrected")

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class PerLabel:
    """One calibrator of two classes (no, yes) for each label."""

    labels: tuple[Calibrator, ...]

    def apply(self, logits: npt.ArrayLike) -> Floats:
        """Return each label's probability, (n, k) in [0, 1], for logits (n, k); rows need not sum to one."""
        z = np.asarray(logits, dtype=np.float64)
        if z.ndim != 2 or z.shape[1] != len(self.labels):
            raise CorpusError(f"expected logits (n, {len(self.labels)}), got {z.shape}")
        columns = zip(self.labels, z.T, strict=True)
        return np.stack([label.apply(_pair(column))[:, 1] for label, column in columns], axis=1)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        return {"name": NAME, "labels": [label.to_json() for label in self.labels]}


@dataclass(frozen=True)
class SubsetRule:
    """Which labels a row carries, and how sure that is.

    Parameters
    ----------
    per_label : from logits to each label's probability.
    thresholds : (k,) probabilities from which on a row carries the label.
    whole : of two classes (wrong, right): calibrates the log-odds that the whole set is right; None: nothing
        does.

    Examples
    --------
    >>> rule = SubsetRule.uncalibrated(2)
    >>> p = rule.apply([[4.0, -4.0], [0.1, -4.0]])
    >>> rule.carried(p).tolist(), rule.confidence(p, rule.carried(p)).round(2).tolist()
    ([[True, False], [True, False]], [0.96, 0.52])
    """

    per_label: PerLabel
    thresholds: tuple[float, ...]
    whole: Calibrator | None = None

    @classmethod
    def uncalibrated(cls, k: int) -> SubsetRule:
        """Return the rule of k labels that takes the model's own probabilities as they are."""
        return cls(PerLabel((Uncalibrated(),) * k), (0.5,) * k)

    def apply(self, logits: npt.ArrayLike) -> Floats:
        """Return each label's probability (n, k)."""
        return self.per_label.apply(logits)

    def carried(self, probabilities: Floats) -> Bools:
        """Return which labels (n, k) rows carry."""
        return np.asarray(probabilities >= np.array(self.thresholds))

    def confidence(self, probabilities: Floats, carried: Bools) -> Floats:
        """Return the probabilities (n,) that all answers of a row are right: see the top of this file."""
        q = all_right(probabilities, carried)
        return q if self.whole is None else self.whole.apply(_pair(_log_odds(q)))[:, 1]

    def margin(self, probabilities: Floats) -> Floats:
        """Return how far (n,) the nearest of a row's probabilities is from its threshold."""
        return np.asarray(np.abs(probabilities - np.array(self.thresholds)).min(axis=1))

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary; its name is "none" where nothing is calibrated."""
        labels = self.per_label.to_json()["labels"]
        whole = [] if self.whole is None else [self.whole.to_json()]
        name = "none" if all(label["name"] == "none" for label in labels) else NAME
        return {"name": name, "labels": labels, "thresholds": list(self.thresholds), "whole": whole}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> SubsetRule:
        """Return the rule that `to_json` wrote; a `BundleError` if there is none."""
        per_label = per_label_from_json({**data, "name": NAME})
        whole = [from_json(one) for one in data.get("whole", [])]
        thresholds = numbers(data, "thresholds")
        if len(thresholds) != len(per_label.labels):
            raise BundleError(f"expected a threshold for each of {len(per_label.labels)} labels")
        return cls(per_label, thresholds, whole[0] if whole else None)


def all_right(probabilities: Floats, carried: Bools) -> Floats:
    """Return the probabilities (n,) that each answer of a row is right, were answers independent.

    Examples
    --------
    >>> all_right(np.array([[0.5, 0.25]]), np.array([[True, False]])).tolist()
    [0.375]
    """
    return np.asarray(np.where(carried, probabilities, 1 - probabilities).prod(axis=1))


def check_threshold(threshold: str) -> None:
    """Raise a `RecipeError` unless thresholds can be chosen so."""
    if threshold not in THRESHOLDS:
        raise RecipeError(f"threshold = {threshold!r} is unknown: {nearest(threshold, THRESHOLDS)}")


def fit_subsets(
    logits: npt.ArrayLike,
    answers: npt.ArrayLike,
    groups: npt.ArrayLike | None = None,
    seed: int = 0,
    threshold: str = "half",
) -> tuple[SubsetRule, Floats]:
    """Return the rule, and probabilities (n, k) of these rows by calibrators that did not see their answers.

    (A calibrator shared by all labels did see them.)

    Parameters
    ----------
    logits, answers, groups, seed : as `fit_per_label`.
    threshold : "half" or "f1".

    Raises
    ------
    RecipeError : an unknown threshold.
    CorpusError, TrainingError : as `fit_per_label`.
    """
    check_threshold(threshold)
    per_label, p = _fit_per_label(logits, answers, groups, seed)
    truth = np.asarray(answers).astype(np.bool_)
    half = (0.5,) * p.shape[1]
    rule = SubsetRule(per_label, half if threshold == "half" else f1_thresholds(p, truth))
    carried = rule.carried(p)
    right = (carried == truth).all(axis=1).astype(np.int64)
    if np.bincount(right, minlength=2).min() < LEAST_ANSWERS:
        return rule, p
    z = _pair(_log_odds(all_right(p, carried)))
    return replace(rule, whole=choose(z, right, groups, seed, TRIED).calibrator), p


def f1_thresholds(probabilities: Floats, answers: Bools) -> tuple[float, ...]:
    """Return the threshold of each label that maximizes its expected F1; see the top of this file.

    Parameters
    ----------
    probabilities : (n, k) calibrated, of rows that the model did not train on.
    answers : (n, k) of the same rows, which tell only whether a label has enough of them.

    Examples
    --------
    >>> p = np.repeat([[0.9], [0.3], [0.05]], 20, axis=0)
    >>> [round(t, 3) for t in f1_thresholds(p, p > 0.2)]
    [0.4]
    """
    falling = -np.sort(-probabilities, axis=0)
    expected = 2 * falling.cumsum(axis=0) / (np.arange(1, len(falling) + 1)[:, None] + falling.sum(axis=0))
    yes = answers.sum(axis=0)
    enough = np.minimum(yes, len(answers) - yes) >= LEAST_ANSWERS
    return tuple(np.where(enough, expected.max(axis=0) / 2, 0.5).tolist())


def per_label_from_json(data: dict[str, Any]) -> PerLabel:
    """Return the calibrators that ``to_json`` wrote; a `BundleError` if there are none."""
    labels = data.get("labels")
    if data.get("name") != NAME or not isinstance(labels, list) or not labels:
        raise BundleError(f"expected calibrators of labels, got {str(data)[:200]}")
    return PerLabel(tuple(from_json(label) for label in labels))


def fit_per_label(
    logits: npt.ArrayLike, answers: npt.ArrayLike, groups: npt.ArrayLike | None = None, seed: int = 0
) -> PerLabel:
    """Return a calibrator for each of k labels.

    A label with at least 10 yes and 10 no chooses between temperature and bias-corrected temperature by
    cross-fitted log-loss (`textlabel.trust.choice`: the bias needs 50 rows); any other label takes the
    temperature that suits all answers to all labels. Beyond 50,000 answers (and 10,000 rows) a fixed draw
    of the rows is read.

    Parameters
    ----------
    logits : (n, k) of rows that the model did not train on.
    answers : (n, k) bool or 0 and 1: which labels a row truly has.
    groups : (n,) equal for rows of equal text.
    seed : decides the folds.

    Raises
    ------
    CorpusError : no rows, shapes that differ, or an answer that is not 0 or 1.
    TrainingError : a logit is not finite.

    Examples
    --------
    >>> fitted = fit_per_label([[4.0]] * 40, [[1]] * 30 + [[0]] * 10)   # sure, and right 3 times in 4
    >>> fitted.apply([[4.0]]).round(2).tolist()
    [[0.75]]
    """
    return _fit_per_label(logits, answers, groups, seed)[0]


def _fit_per_label(
    logits: npt.ArrayLike, answers: npt.ArrayLike, groups: npt.ArrayLike | None, seed: int
) -> tuple[PerLabel, Floats]:
    """Return the calibrators, and probabilities (n, k) of all rows, cross-fitted if a label has its own."""
    z, truth = np.asarray(logits, dtype=np.float64), np.asarray(answers)
    if z.ndim != 2 or z.shape != truth.shape or not z.size or not np.isin(truth, (0, 1)).all():
        raise CorpusError(
            f"expected logits (n, k) and answers, 0 or 1, of that shape; got {z.shape} and {truth.shape}"
        )
    if groups is not None and np.shape(groups) != z.shape[:1]:
        raise CorpusError(f"expected groups (n,) of {len(z)} rows, got shape {np.shape(groups)}")
    if not np.isfinite(z).all():
        row = int((~np.isfinite(z)).any(axis=1).argmax())
        raise TrainingError(f"logits of calibration row {row} are not finite: the fit diverged")
    some = drawn(len(z), max(CHOOSING_LOGITS // (2 * z.shape[1]), MOST_ROWS), seed)
    everything, z, y = z, z[some], truth[some].astype(np.int64)
    group = None if groups is None else np.asarray(groups)[some]
    common: Calibrator = load("calibrator", "temperature").fit(_pair(z.ravel()), y.ravel())

    def one(label: int) -> tuple[Calibrator, Floats]:
        pairs = _pair(z[:, label])
        if np.bincount(y[:, label], minlength=2).min() < LEAST_ANSWERS:
            return common, common.apply(pairs)[:, 1]
        chosen = choose(pairs, y[:, label], group, seed, TRIED)
        return chosen.calibrator, chosen.probabilities[:, 1]

    calibrators, columns = zip(*map(one, range(z.shape[1])), strict=True)
    fitted = PerLabel(calibrators)
    cross_fitted = np.stack(columns, axis=1) if len(some) == len(everything) else fitted.apply(everything)
    return fitted, cross_fitted


def _log_odds(q: Floats) -> Floats:
    q = np.clip(q, 1e-12, 1 - 1e-12)
    return np.asarray(np.log(q) - np.log1p(-q))


def _pair(column: Floats) -> Floats:
    """Return two-class logits (n, 2) whose softmax is the sigmoid of ``column`` (n,)."""
    return np.stack([np.zeros_like(column), column], axis=1)
