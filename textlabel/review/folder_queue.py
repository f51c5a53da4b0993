"""Rows of a sealed folder as they are asked: of its audits, to be labeled, or all."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from textlabel.audit.answer_log import AnswerLog, differences
from textlabel.audit.answers import all_answers, asked_rows, audit_answers, every_answer
from textlabel.audit.draws import by_text, draws, in_random_order, refuse_released
from textlabel.audit.filled import TODO
from textlabel.audit.seal import open_sealed
from textlabel.errors import AuditError
from textlabel.review.queue import Filter, Key, LogQueue, Mask, Question
from textlabel.types import COLUMNS, NODE_COLUMNS

if TYPE_CHECKING:
    import pyarrow as pa

    from textlabel.audit.seal import Sealed

#: tells of a text ``words``, (start, end, score), and ``lines``
Explain = Callable[[str], dict[str, Any]]

#: different values of a column up to which it can be filtered by
MOST_SLICES = 50


class FolderQueue(LogQueue):
    """Rows of a sealed folder: those of its audits, those that people must still label, or all.

    Parameters
    ----------
    mode : "audit", "todo" or "all". In an audit nothing that the model said is shown or filtered by; rows of
        an audit are left out elsewhere unless they must be labeled, and then bear no suggestion either.
    explain : tells outside audits why a text has its label (`textlabel.explaining.teller`); None: nothing
        does.

    Raises
    ------
    AuditError : no such rows, answers given to training, or labels that are not the sealed ones.
    """

    def __init__(self, folder: str | Path, mode: str = "todo", explain: Explain | None = None) -> None:
        self.sealed = open_sealed(folder)
        refuse_released(self.sealed)
        self.mode, self._explain, self._telling = mode, explain, threading.Lock()
        self.kind = "multi" if self.sealed.several else "single" if self.sealed.names else "score"
        self.classes = list(self.sealed.classes)
        self.title = f"{Path(folder).resolve().name}: {mode}"
        self._drawn = set(asked_rows(self.sealed).tolist())
        super().__init__(_asked(self.sealed, mode), AnswerLog.of_sealed(self.sealed))
        names = [name for name in self.sealed.rows.column_names if name not in (*COLUMNS, *NODE_COLUMNS)]
        self._columns = self.sealed.rows.select_columns(names) if names else None
        self._slices = self._few_values() if self.shows_model else {}

    @property
    def shows_model(self) -> bool:
        """Whether what the model says may be seen."""
        return self.mode != "audit"

    def facts(self, reviewer: str) -> dict[str, Any]:
        """Return what a reviewer sees beside the text."""
        with self._lock:
            done, known = self._log.newest(reviewer), self._log.answered()
            return {
                "title": self.title,
                "mode": self.mode,
                "kind": self.kind,
                "classes": self.classes,
                "total": len(self),
                "answered": self._places(done),
                "left": len(self) - self._places(known),
                "shows_model": self.shows_model,
                "explains": self._explain is not None and self.shows_model,
                "slices": self._slices,
            }

    def question(self, place: int, reviewer: str) -> Question:
        """Return a row; an `AuditError` for a place that is not there."""
        row = self._row(place)
        values = self.sealed.rows[row]
        hidden = not self.shows_model or row in self._drawn
        with self._lock:
            said, version = self._version(place, reviewer)
        label = values["label"]
        if self.kind == "single":
            label = self.classes[label]
        elif self.kind == "multi":
            label = [self.classes[i] for i in label]
        # in an audit no more than its sheet shows: a column may tell what somebody thought of the row
        others = {} if hidden or self._columns is None else self._columns[row]
        more = {name: str(value) for name, value in others.items() if value is not None and value == value}
        sure = None if hidden or values["confidence"] is None else float(values["confidence"])
        return Question(
            place, str(values["id"]), values["text"], None if hidden else label, sure, more, said, version
        )

    def why(self, place: int) -> dict[str, Any] | None:
        """Return why a row has the model's label, ``words`` and ``lines``; None: not to be had."""
        row = self._row(place)
        if self._explain is None or not self.shows_model or row in self._drawn:
            return None
        with self._telling:  # a minute where much is read first; nobody's answers wait for it
            return self._explain(self.sealed.rows[row]["text"])

    def disagreements(self) -> list[dict[str, Any]]:
        """Return rows of which reviewers say different things, with what each says."""
        sealed = open_sealed(self.sealed.folder)  # sets of classes that people gave since are names, too
        return differences(sealed, audit_answers(sealed) if self.mode == "audit" else every_answer(sealed))

    def _fits(self, chosen: Filter) -> Mask:
        """Return which places a filter lets through, but for whether they are answered."""
        fits = np.ones(len(self), np.bool_)
        if chosen.search:
            import pyarrow.compute as pc

            found = pc.match_substring(self._arrow("text"), chosen.search, ignore_case=True)
            fits &= np.asarray(found)[self._rows]
        if chosen.column in self._slices:
            values = self._arrow(chosen.column).to_pylist()
            fits &= np.array([str(value) == chosen.value for value in values])[self._rows]
        if not self.shows_model:
            return fits
        if chosen.label and self.kind == "single" and chosen.label in self.classes:
            fits &= np.asarray(self._arrow("label"))[self._rows] == self.classes.index(chosen.label)
        if chosen.decision:
            fits &= np.array(self._arrow("decision").to_pylist())[self._rows] == chosen.decision
        if chosen.low > 0 or chosen.high < 1:
            sure = np.asarray(self._arrow("confidence"), float)[self._rows]
            fits &= (sure >= chosen.low) & (sure <= chosen.high)
        return fits

    def _arrow(self, name: str) -> pa.ChunkedArray:
        return self.sealed.rows.select_columns(name).with_format("arrow")[:].column(name)

    def _few_values(self) -> dict[str, list[str]]:
        """Return columns with few different values, and these."""
        import pyarrow.types as kinds

        found = {}
        for name in self._columns.column_names if self._columns is not None else ():
            kind = self._arrow(name).type
            plain = (kinds.is_string, kinds.is_large_string, kinds.is_integer, kinds.is_boolean)
            if not any(one(kind) for one in plain):
                continue
            values = self._arrow(name).unique()
            if 1 < len(values) <= MOST_SLICES:
                found[name] = sorted(str(value) for value in values.to_pylist())
        return found


def _asked(sealed: Sealed, mode: str) -> list[list[Key]]:
    """Return for each text what an answer to it is to: where it is asked, and then its copies."""
    if mode == "audit":
        made = draws(sealed)
        if not made:
            raise AuditError(
                f"{sealed.folder}: nothing was drawn to be checked; start with `textlabel audit draw`"
            )
        parts = [(one.marker, in_random_order(sealed, one.rows, one.seed)) for one in made]
    else:
        if mode == "todo":
            from textlabel.audit.certification import current
            from textlabel.audit.finishing import open_rows

            rows = open_rows(sealed, current(sealed), all_answers(sealed))
        else:
            rows = np.setdiff1d(sealed.order, asked_rows(sealed))
        parts = [(TODO, by_text(sealed, rows[np.argsort(-sealed.rank[rows], kind="stable")]))]
    keys: dict[str, list[Key]] = {}
    for sheet, found in parts:
        for text, copies in found:
            keys.setdefault(text, []).extend((sheet, row) for row in copies)
    if not keys:
        raise AuditError(f"{sealed.folder}: there is nothing left to ask")
    return list(keys.values())
