"""A loop as the page and the terminal ask it: the rows of a round, and then those of the next."""

from __future__ import annotations

from typing import Any

import numpy as np

from textlabel.asking.loop import ROUND, Loop
from textlabel.asking.start import ANSWERS
from textlabel.audit.answer_log import AnswerLog
from textlabel.errors import AuditError, CorpusError
from textlabel.review.queue import Filter, LogQueue, Mask, Question


class LoopQueue(LogQueue):
    """Rows that a loop proposes; when a round is answered, the head is fitted again and the next is proposed.

    No suggestion is shown: a row is asked because the model does not know, and people agree too easily.
    A row that somebody has answered is not asked of others.

    Parameters
    ----------
    count : rows of a round.
    """

    def __init__(self, loop: Loop, count: int) -> None:
        self.loop, self.count = loop, count
        self.corpus, self.classes = loop.rows(), list(loop.settings["classes"])
        self._ended = ""
        rows = loop.proposed()
        log = AnswerLog(loop.folder / ANSWERS, lambda _sheet, _row, word, _who: loop.check(word), self._id_of)
        super().__init__([[(ROUND, row)] for row in rows], log)

    def facts(self, reviewer: str) -> dict[str, Any]:
        """Return what a reviewer sees beside the text."""
        with self._lock:
            rounds = len(self.loop.rounds())
            return {
                "title": f"{self.loop.folder.resolve().name}: round {rounds}",
                "mode": "loop",
                "kind": "single",
                "classes": self.classes,
                "total": len(self),
                "answered": len(self._done(reviewer)),
                "left": len(self) - len(self._done(reviewer)),
                "shows_model": False,
                "explains": False,
                "slices": {},
                "ended": self._ended,
            }

    def question(self, place: int, reviewer: str) -> Question:
        """Return a row; an `AuditError` for a place that is not there."""
        values = self.corpus[self._row(place)]
        with self._lock:
            said, version = self._version(place, reviewer)
        return Question(place, str(values["id"]), values["text"], None, None, {}, said, version)

    def next(self, after: int, reviewer: str, chosen: Filter, step: int = 1) -> int | None:
        """Return the next place; where no row of the rounds is open, those of a new round."""
        with self._lock:
            if step > 0 and chosen == Filter() and len(self._done(reviewer)) == len(self):
                self._propose()
            return super().next(after, reviewer, chosen, step)

    def why(self, place: int) -> None:
        """Return None: the model's label is not shown."""
        self._row(place)

    def disagreements(self) -> list[dict[str, Any]]:
        """Return rows of which reviewers say different things, with what each says."""
        said: dict[int, dict[str, str]] = {}
        for (row, who), label in self.loop.answers().items():
            if label is not None:
                said.setdefault(row, {})[who] = label
        differ = {row: words for row, words in said.items() if len(set(words.values())) > 1}
        return [
            {"id": self._id_of(row), "text": self.corpus[row]["text"], "said": words}
            for row, words in sorted(differ.items())
        ]

    def _propose(self) -> None:
        try:
            self.loop.propose(self.count)
        except CorpusError as error:  # nothing is left, or the budget is spent: the reviewer is told
            self._ended = str(error)
        self._hold([[(ROUND, row)] for row in self.loop.proposed()])

    def _done(self, reviewer: str) -> list[tuple[str, int]]:
        return [key for key in self._log.answered() if key in self._place_of]

    def _fits(self, chosen: Filter) -> Mask:
        words = chosen.search.casefold()
        texts = self.corpus["text"]
        return np.array([words in texts[row].casefold() for row in self._rows.tolist()], np.bool_)

    def _id_of(self, row: int) -> str:
        return str(self.corpus[row]["id"])


def loop_queue(folder: str, count: int) -> LoopQueue:
    """Return the queue of a loop's folder, with a round proposed.

    Raises
    ------
    AuditError : fewer than one row a round.
    CorpusError : no row is left and none was asked, or the folder is none of a loop.
    """
    if count < 1:
        raise AuditError(f"count = {count}: expected 1 row or more a round")
    from pathlib import Path

    loop = Loop(Path(folder))
    if not loop.rounds():
        loop.propose(count)
    return LoopQueue(loop, count)
