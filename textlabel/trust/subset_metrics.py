"""How good sets of labels are, where a row may carry several, or none."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from textlabel.trust.metrics import ClassReport, Floats, ece


def subset_report(truth: npt.ArrayLike, said: npt.ArrayLike) -> ClassReport:
    """Return precision, recall, F1 and support of each of k labels; 0/0 counts as 0.

    Parameters
    ----------
    truth, said : (n, k) bool or 0 and 1, the labels that rows carry.

    Examples
    --------
    >>> subset_report([[1, 0], [1, 1]], [[1, 0], [0, 1]]).recall.tolist()
    [0.5, 1.0]
    """
    y, given = _answers(truth), _answers(said)
    hits, support, predicted = (y & given).sum(axis=0), y.sum(axis=0), given.sum(axis=0)
    precision, recall = hits / np.maximum(predicted, 1), hits / np.maximum(support, 1)
    f1 = 2 * hits / np.maximum(predicted + support, 1)
    return ClassReport(precision, recall, f1, support, predicted)


def subset_metrics(truth: npt.ArrayLike, said: npt.ArrayLike) -> dict[str, float]:
    """Return subset_accuracy, hamming_loss, micro_f1 and macro_f1 of labels (n, k).

    ``subset_accuracy`` is the share of rows whose labels are all right, ``hamming_loss`` the share of wrong
    answers, over rows and labels, ``micro_f1`` the F1 of all answers together, and ``macro_f1`` the mean over
    the labels that occur, as truth or as prediction (0 where none does).

    Examples
    --------
    >>> found = subset_metrics([[1, 0], [1, 1]], [[1, 0], [0, 1]])
    >>> {name: round(value, 3) for name, value in found.items()}
    {'subset_accuracy': 0.5, 'hamming_loss': 0.25, 'micro_f1': 0.8, 'macro_f1': 0.833}
    """
    y, given = _answers(truth), _answers(said)
    report = subset_report(y, given)
    all_given = int(report.support.sum() + report.predicted.sum())
    return {
        "subset_accuracy": float(np.mean((y == given).all(axis=1))),
        "hamming_loss": float(np.mean(y != given)),
        "micro_f1": 2 * int((y & given).sum()) / max(all_given, 1),
        "macro_f1": report.macro_f1 if all_given else 0.0,
    }


def macro_ece(probabilities: npt.ArrayLike, truth: npt.ArrayLike, bins: int = 15) -> float:
    """Return the mean over labels of the adaptive calibration error (`textlabel.trust.metrics.ece`).

    Parameters
    ----------
    probabilities, truth : (n, k) of each label, and whether a row truly carries it.

    Examples
    --------
    >>> macro_ece([[0.5, 1.0], [0.5, 1.0]], [[1, 1], [0, 0]])
    0.25
    """
    p: Floats = np.asarray(probabilities, dtype=np.float64)
    return float(np.mean([ece(*pair, bins) for pair in zip(p.T, _answers(truth).T, strict=True)]))


def _answers(labels: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    return np.asarray(labels).astype(np.bool_)
