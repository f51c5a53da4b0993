"""Scores of which the truth is known: how far off they are and where, and whether their intervals hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from textlabel.report.evaluation import TITLES, Evaluation, evaluate_labels
from textlabel.reporting.judged import AUDIT, GOLD, share_limits
from textlabel.trust.certificate import Bools, Floats, Ints

if TYPE_CHECKING:
    from datasets import Dataset

    from textlabel.audit.draws import Draw
    from textlabel.audit.seal import Sealed

#: groups of equal size by score, points of the plot, bins of the histogram
GROUPS, POINTS, BINS = 10, 300, 20
#: standard errors of an interval that holds a mean in 95 of 100 samples
_WIDE = 1.96


@dataclass(frozen=True)
class JudgedScores:
    """What is known of m scores.

    Parameters
    ----------
    rows : (m,) row numbers.
    truth, said : (m,) what is true, and the score of the model.
    held : (m,) bool, the interval of the row holds the truth; None: rows have no interval.
    by : `GOLD` or `AUDIT`.
    tolerance : how far from an answer a score may be, as the first draw declared it; None: undeclared.
    """

    rows: Ints
    truth: list[float]
    said: Floats
    held: Bools | None
    by: str
    evaluation: Evaluation
    tolerance: float | None = None

    @classmethod
    def of(
        cls, rows: Dataset, truth: Mapping[str, float], by: str, tolerance: float | None = None
    ) -> JudgedScores | None:
        """Return what ``truth`` (id -> score) says of annotated rows; None: nothing.

        Raises
        ------
        CorpusError : an id that is not there, or a truth that is no number.
        """
        if not truth:
            return None
        evaluation = evaluate_labels(rows, truth)
        place = {one: i for i, one in enumerate(rows["id"][:])}
        index = np.array([place[one] for one in truth], dtype=np.int64)
        values = np.array(list(truth.values()), dtype=np.float64)
        picked = rows.select(index.tolist())
        said = np.array(picked["label"][:], dtype=np.float64)
        held = _held(picked, values)
        return cls(index, values.tolist(), said, held, by, evaluation, tolerance)

    @property
    def off(self) -> Floats:
        """(m,) score less truth, in the unit of the score."""
        found: Floats = self.said - np.array(self.truth)
        return found

    def told(self) -> dict[str, Any]:
        """Return its numbers, JSON-ready."""
        return {
            "by": self.by,
            "rows": len(self.rows),
            "metrics": self._metrics(),
            "groups": groups(self.said, np.array(self.truth), self.held),
            "points": self._points(),
        }

    def _metrics(self) -> dict[str, Any]:
        numbers = self.evaluation.to_json()
        low, high = mean_limits(np.abs(self.off))
        between = f"{low:.3f} to {high:.3f}" if len(self.rows) > 1 else None
        found: dict[str, Any] = {TITLES["mae"]: numbers["mae"], "95 % interval": between}
        found |= {TITLES[name]: numbers[name] for name in TITLES if name in numbers and name != "mae"}
        found["score less truth, on average"] = float(self.off.mean())
        if self.tolerance is not None:
            count = int(np.sum(np.abs(self.off) > self.tolerance))
            low, high = share_limits(count, len(self.rows))
            found[f"further off than {self.tolerance:g}"] = (
                f"{count / len(self.rows):.1%} ({low:.1%} to {high:.1%})"
            )
        if self.held is not None:
            low, high = share_limits(int(self.held.sum()), len(self.held))
            found["intervals that hold the truth"] = f"{self.held.mean():.1%} ({low:.1%} to {high:.1%})"
        return found

    def _points(self) -> list[list[float]]:
        """Return (truth, score) of rows, of many a draw."""
        rows = np.arange(len(self.rows))
        if len(rows) > POINTS:
            rows = np.sort(np.random.default_rng(0).choice(rows, POINTS, replace=False))
        return [[round(self.truth[i], 4), round(float(self.said[i]), 4)] for i in rows.tolist()]


def groups(said: Floats, truth: Floats, held: Bools | None) -> list[dict[str, Any]]:
    """Return how far off scores are in tenths of the rows, the lowest scores first.

    Parameters
    ----------
    said, truth : (m,) scores.
    held : (m,) bool, the interval holds the truth; None: there is none.

    Examples
    --------
    >>> [g["error"] for g in groups(np.array([1.0, 2.0]), np.array([1.0, 2.5]), None)]
    [0.0, 0.5]
    """
    found = []
    for part in np.array_split(np.argsort(said, kind="stable"), min(GROUPS, len(said))):
        off = said[part] - truth[part]
        low, high = mean_limits(np.abs(off))
        found.append(
            {
                "from": float(said[part].min()),
                "to": float(said[part].max()),
                "rows": len(part),
                "error": float(np.abs(off).mean()),
                "low": low if len(part) > 1 else None,
                "high": high if len(part) > 1 else None,
                "above": float(off.mean()),
                "held": None if held is None else float(held[part].mean()),
            }
        )
    return found


def mean_limits(values: Floats) -> tuple[float, float]:
    """Return the limits of a mean at 95 %, by the normal approximation; of one value both are its own.

    Examples
    --------
    >>> [round(limit, 2) for limit in mean_limits(np.array([1.0, 2.0, 3.0]))]
    [0.87, 3.13]
    """
    error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
    mean = float(values.mean())
    return mean - _WIDE * error, mean + _WIDE * error


def spread(rows: Dataset, audit: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return how scores are spread, how wide their intervals are, and their mean as the audit corrects it."""
    values = np.array(rows["label"][:], dtype=np.float64)
    counts, edges = np.histogram(values, bins=BINS) if len(values) else (np.zeros(0, int), np.zeros(1))
    known = audit["shares"][0] if audit and audit["shares"] else {}
    width = _widths(rows)
    return {
        "counts": counts.tolist(),
        "edges": edges.tolist(),
        "mean": float(values.mean()) if len(values) else None,
        "median": float(np.median(values)) if len(values) else None,
        "width": None if width is None else float(width.mean()),
        "corrected": {name: known.get(name) for name in ("estimate", "low", "high")},
    }


def score_slices(
    rows: Dataset, values: list[str], known: JudgedScores | None, most: int
) -> list[dict[str, Any]]:
    """Return rows and errors for each value of a column, (n,) strings, the most frequent first."""
    names, counts = np.unique(values, return_counts=True)
    said = np.array(rows["label"][:], dtype=np.float64)
    off, here = (known.off, np.array(values)[known.rows]) if known else (np.zeros(0), np.zeros(0, str))
    found = []
    for name, count in sorted(zip(names.tolist(), counts.tolist(), strict=True), key=lambda one: -one[1]):
        inside = off[here == name] if known else off
        low, high = mean_limits(np.abs(inside)) if len(inside) > 1 else (None, None)
        one = {"slice": name, "rows": count, "mean": float(said[np.array(values) == name].mean())}
        error = float(np.abs(inside).mean()) if len(inside) else None
        above = float(inside.mean()) if len(inside) else None
        found.append(one | {"judged": len(inside), "error": error, "above": above, "low": low, "high": high})
    return found[:most]


def scores_by_gold(rows: Dataset, gold: str, label_column: str) -> JudgedScores | None:
    """Return what a file of gold scores, joined by id, says of annotated rows."""
    from textlabel.corpus.load import load_corpus

    known = load_corpus(gold, text_column=None, label_column=label_column, label_kind="score")
    return JudgedScores.of(rows, dict(zip(known["id"][:], known["label"][:], strict=True)), GOLD)


def scores_by_audit(sealed: Sealed, made: list[Draw], decided: Ints, answers: Floats) -> JudgedScores | None:
    """Return what people settled of drawn rows."""
    truth = {sealed.rows[i]["id"]: float(answers[i]) for i in decided.tolist()}
    return JudgedScores.of(sealed.rows, truth, AUDIT, made[0].tolerance)


def _held(rows: Dataset, truth: Floats) -> Bools | None:
    intervals = _intervals(rows)
    if intervals is None:
        return None
    held: Bools = (intervals[:, 0] <= truth) & (truth <= intervals[:, 1])
    return held


def _widths(rows: Dataset) -> Floats | None:
    intervals = _intervals(rows)
    return None if intervals is None else intervals[:, 1] - intervals[:, 0]


def _intervals(rows: Dataset) -> Floats | None:
    """Return the interval of each row, (n, 2); None: some row has none."""
    if "prediction_set" not in rows.column_names or not len(rows):
        return None
    found = rows["prediction_set"][:]
    if any(one is None or len(one) != 2 for one in found):
        return None
    return np.array(found, dtype=np.float64)
