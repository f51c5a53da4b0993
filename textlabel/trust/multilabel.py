"""Calibration where a row may carry several labels: each label is a question of its own.

A label's logit z means ``p = sigmoid(z)``, which is the softmax of (0, z); so the calibrators of two
classes serve: a temperature, or a temperature and a bias (Platt 1999). A label whose answers are too
few to tell anything of it alone takes the temperature of all labels together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from textlabel.errors import BundleError, CorpusError, TrainingError
from textlabel.registry import load
from textlabel.trust.calibration import MOST_ROWS, Calibrator, Floats, from_json
from textlabel.trust.choice import CHOOSING_LOGITS, choose, drawn

NAME = "per_label"

#: a label of fewer yes or fewer no takes the common temperature
LEAST_ANSWERS = 10


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
    z, y = z[some], truth[some].astype(np.int64)
    group = None if groups is None else np.asarray(groups)[some]
    common: Calibrator = load("calibrator", "temperature").fit(_pair(z.ravel()), y.ravel())

    def one(label: int) -> Calibrator:
        if np.bincount(y[:, label], minlength=2).min() < LEAST_ANSWERS:
            return common
        tried = ("temperature", "bias_corrected")
        return choose(_pair(z[:, label]), y[:, label], group, seed, tried).calibrator

    return PerLabel(tuple(one(label) for label in range(z.shape[1])))


def _pair(column: Floats) -> Floats:
    """Return two-class logits (n, 2) whose softmax is the sigmoid of ``column`` (n,)."""
    return np.stack([np.zeros_like(column), column], axis=1)
