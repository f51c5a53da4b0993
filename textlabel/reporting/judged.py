"""Rows of which the truth is known: by gold labels, or by what people answered in an audit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from textlabel.errors import AuditError, CorpusError
from textlabel.report.evaluation import TITLES, Evaluation, evaluate_labels
from textlabel.trust.exact import binomial_limits
from textlabel.trust.metrics import risk_coverage
from textlabel.types import class_names_of, kind_of

if TYPE_CHECKING:
    from datasets import Dataset

    from textlabel.audit.seal import Sealed
    from textlabel.reporting.scores import JudgedScores

#: points of the curve that are told, and rows that are accepted at the first of them: of fewer a share wrong
#: says nothing
POINTS, FIRST = 20, 10
#: level of the intervals that stand by themselves
ALPHA = 0.05
#: where the truth comes from
GOLD, AUDIT = "gold labels", "audited rows, drawn at random"
SETTLED = "audited rows that people settled, not all that were drawn"


@dataclass(frozen=True)
class Judged:
    """What is known of m rows.

    Parameters
    ----------
    rows : (m,) row numbers.
    truth : (m,) the class, or the classes, in words.
    wrong : (m,) bool, the label is another.
    by : `GOLD`, `AUDIT`, or `SETTLED` where some of the drawn rows are open.
    open : (u,) numbers of rows that were drawn and have no settled answer. They are rarely the easy ones, so
        limits count each as right for the low end, and as wrong for the high end.
    """

    rows: npt.NDArray[np.int64]
    truth: list[Any]
    wrong: npt.NDArray[np.bool_]
    by: str
    evaluation: Evaluation
    open: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    @classmethod
    def of(
        cls, rows: Dataset, truth: Mapping[str, Any], by: str, left: npt.NDArray[np.int64] | None = None
    ) -> Judged | None:
        """Return what ``truth`` (id -> class or classes, in words) says of annotated rows; None: nothing.

        Raises
        ------
        CorpusError : an id that is not there, or a class that is not known.
        """
        if not truth:
            return None
        evaluation = evaluate_labels(rows, truth)
        place = {one: i for i, one in enumerate(rows["id"][:])}
        index = np.array([place[one] for one in truth], dtype=np.int64)
        said = [in_words(rows, i) for i in index.tolist()]
        wrong = np.array([one != other for one, other in zip(said, truth.values(), strict=True)], dtype=bool)
        without = np.zeros(0, np.int64) if left is None else left
        return cls(index, list(truth.values()), wrong, by, evaluation, without)

    def told(self, rows: Dataset) -> dict[str, Any]:
        """Return its numbers, JSON-ready."""
        numbers = self.evaluation.to_json()
        low, high = share_limits(int(self.wrong.sum()), len(self.wrong), len(self.open))
        metrics = {"share wrong": float(self.wrong.mean()), "95 % interval": f"{low:.1%} to {high:.1%}"}
        known = {TITLES[name]: value for name, value in numbers.items() if name in TITLES}
        return {
            "by": self.by,
            "rows": len(self.rows),
            "wrong": int(self.wrong.sum()),
            "open": len(self.open),
            "metrics": metrics | known,
            "per_class": numbers.get("per_class", {}),
            "reliability": numbers.get("reliability", []),
            "curve": self._curve(rows),
            "confusion": self._confusion(rows),
        }

    def _curve(self, rows: Dataset) -> list[dict[str, float]]:
        sure = np.asarray(rows.select(self.rows.tolist())["confidence"][:], float)
        found = risk_coverage(sure, ~self.wrong)
        last = len(found.error) - 1
        picked = np.unique(np.linspace(min(FIRST - 1, last), last, POINTS).astype(int))
        pairs = zip(found.fraction_accepted[picked].tolist(), found.error[picked].tolist(), strict=True)
        return [{"accepted": round(accepted, 4), "error": round(error, 4)} for accepted, error in pairs]

    def _confusion(self, rows: Dataset) -> dict[str, Any]:
        """Return counts of rows by true class (down) and label (across); nothing of several classes a row."""
        names = list(class_names_of(rows.features["label"]))
        if kind_of(rows.features["label"]) != "single":
            return {"names": [], "rows": []}
        code = {name: i for i, name in enumerate(names)}
        counts = np.zeros((len(names), len(names)), dtype=np.int64)
        labels = rows.select(self.rows.tolist())["label"][:]
        np.add.at(counts, ([code[name] for name in self.truth], labels), 1)
        return {"names": names, "rows": counts.tolist()}


def share_limits(count: int, rows: int, left: int = 0) -> tuple[float, float]:
    """Return the Clopper-Pearson limits of a share of rows drawn at random, at 1 - `ALPHA`.

    Parameters
    ----------
    left : further rows that were drawn and of which nobody knows: whatever they are, the limits hold.

    Examples
    --------
    >>> [[round(limit, 3) for limit in share_limits(0, 10, left)] for left in (0, 2)]
    [[0.0, 0.308], [0.0, 0.484]]
    """
    low, high = binomial_limits(np.array([count, count + left]), np.array([rows + left] * 2), ALPHA)
    return float(low[0]), float(high[1])


def in_words(rows: Dataset, row: int) -> Any:
    """Return the class, the classes sorted, or the score of a row."""
    label, names = rows[row]["label"], class_names_of(rows.features["label"])
    if not names:
        return label
    return sorted(names[i] for i in label) if isinstance(label, list) else names[label]


def by_gold(rows: Dataset, gold: str, label_column: str, label_separator: str) -> Judged | None:
    """Return what a file of gold labels, joined by id, says of rows that people did not label.

    Raises
    ------
    CorpusError : people labeled all of these rows, so that nothing is judged.
    """
    from textlabel.corpus.load import load_corpus

    kind = kind_of(rows.features["label"])
    known = load_corpus(
        gold,
        text_column=None,
        label_column=label_column,
        label_kind=kind,
        label_separator=label_separator or None,
    )
    coded = bool(class_names_of(known.features["label"]))
    labels = [in_words(known, i) for i in range(len(known))] if coded else known["label"][:]
    truth = [sorted(label) if isinstance(label, list) else str(label) for label in labels]
    people = {one for one, source in zip(rows["id"][:], rows["source"][:], strict=True) if source == "human"}
    said = {one: label for one, label in zip(known["id"][:], truth, strict=True) if one not in people}
    if known and not said:
        raise CorpusError(f"{gold}: people gave all of these labels, so they judge nothing; give other rows")
    return Judged.of(rows, said, GOLD)


def by_audit(sealed: Sealed | None) -> Judged | JudgedScores | None:
    """Return what people settled on audited rows, if any were drawn, and not given to training since."""
    from textlabel.audit.answers import audit_answers
    from textlabel.audit.draws import drawn_rows, draws, refuse_released
    from textlabel.audit.looks import note_shown
    from textlabel.audit.subsets import as_classes
    from textlabel.reporting.scores import scores_by_audit

    if sealed is None:
        return None
    made = draws(sealed)
    try:
        refuse_released(sealed)
    except AuditError:
        return None
    if not made:
        return None
    gold, drawn = audit_answers(sealed), drawn_rows(made)
    rows, left = drawn[gold.decided[drawn]], drawn[~gold.decided[drawn]]
    note_shown(sealed)  # what a report tells must not guide the next look
    if not sealed.names:
        return scores_by_audit(sealed, made, rows, gold.label)
    said = {sealed.rows[i]["id"]: sealed.names[int(gold.label[i])] for i in rows.tolist()}
    truth = {one: sorted(as_classes(word)) if sealed.several else word for one, word in said.items()}
    return Judged.of(sealed.rows, truth, SETTLED if len(left) else AUDIT, left)
