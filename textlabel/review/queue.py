"""What is asked, of whom, and what was said: the side of a review that knows no screen."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from textlabel.audit.answer_log import AnswerLog
from textlabel.errors import AuditError

Mask = npt.NDArray[np.bool_]

#: answers that the page lists, the newest first
HISTORY = 50
#: what is answered by somebody who does not say a class; a class may bear such a name
SKIP, UNSURE = "?skip", "?unsure"


@dataclass(frozen=True)
class Question:
    """One row as it is asked.

    Parameters
    ----------
    place : in the queue, from 0.
    id, text : of the row.
    suggestion, confidence : the model's label and how sure it is; None where a reviewer must not see it.
    columns : what else the row bears.
    said : the reviewer's own answer: label, state, note; None: none yet.
    version : how often the reviewer has answered it, by which two tabs notice each other.
    """

    place: int
    id: str
    text: str
    suggestion: Any
    confidence: float | None
    columns: Mapping[str, Any]
    said: Mapping[str, Any] | None
    version: int

    def to_json(self) -> dict[str, Any]:
        """Return it JSON-ready."""
        return asdict(self)


@dataclass(frozen=True)
class Filter:
    """Which rows are asked; the empty filter lets all through.

    Parameters
    ----------
    search : words that the text holds, in any case.
    label, decision : of the model.
    low, high : confidence.
    column, value : a column of the corpus and what it says.
    answered : also rows that the reviewer has answered.
    """

    search: str = ""
    label: str = ""
    decision: str = ""
    low: float = 0.0
    high: float = 1.0
    column: str = ""
    value: str = ""
    answered: bool = False


class Conflict(Exception):  # noqa: N818 - it is no error, the other answer stands
    """A row was answered elsewhere since it was shown."""

    def __init__(self, question: Question) -> None:
        super().__init__(f"row {question.id!r} was answered elsewhere meanwhile")
        self.question = question


class Queue(Protocol):
    """What the page and the terminal ask of: a folder of annotations, or anything else with such methods."""

    def facts(self, reviewer: str) -> dict[str, Any]:
        """Return what a reviewer sees beside the text; see `FolderQueue.facts`."""
        ...

    def question(self, place: int, reviewer: str) -> Question:
        """Return the row at a place, from 0."""
        ...

    def next(self, after: int, reviewer: str, chosen: Filter, step: int = 1) -> int | None:
        """Return the next place behind ``after`` that a filter lets through; None: there is none."""
        ...

    def answer(self, place: int, word: str, reviewer: str, note: str, version: int) -> None:
        """Write an answer to disk; a `Conflict` if the row was answered since that version."""
        ...

    def undo(self, reviewer: str) -> int | None:
        """Take back the newest answer that stands, and return its place; None: there is none."""
        ...

    def history(self, reviewer: str) -> list[dict[str, Any]]:
        """Return the answers that stand, the newest first."""
        ...

    def why(self, place: int) -> dict[str, Any] | None:
        """Return why a row has the model's label, as `FolderQueue.why` does; None: not to be had."""
        ...

    def disagreements(self) -> list[dict[str, Any]]:
        """Return rows of which reviewers say different things."""
        ...


#: what an answer is to: a sheet, and a row of the corpus
Key = tuple[str, int]


class LogQueue(ABC):
    """What queues share whose answers are in an `AnswerLog`.

    Parameters
    ----------
    asked : of each place, from 0, what an answer is to; first what is asked here, then where else the same
        text may have been answered.
    """

    def __init__(self, asked: Sequence[Sequence[Key]], answers: AnswerLog) -> None:
        self._log, self._lock = answers, threading.RLock()
        self._hold(asked)

    def _hold(self, asked: Sequence[Sequence[Key]]) -> None:
        self._asked = asked
        self._rows = np.array([keys[0][1] for keys in asked], np.int64)
        self._place_of = {key: place for place, keys in enumerate(asked) for key in keys}

    def __len__(self) -> int:
        return len(self._rows)

    @abstractmethod
    def question(self, place: int, reviewer: str) -> Question:
        """Return a row; an `AuditError` for a place that is not there."""

    @abstractmethod
    def _fits(self, chosen: Filter) -> Mask:
        """Return which places a filter lets through, but for whether they are answered."""

    def _done(self, reviewer: str) -> list[Key]:
        """Return sheet and row of what need not be asked any more."""
        return self._log.newest(reviewer)

    def next(self, after: int, reviewer: str, chosen: Filter, step: int = 1) -> int | None:
        """Return the next place behind ``after`` that a filter lets through; None: there is none.

        ``step`` -1 looks backward. Of rows without an answer those before ``after`` come last.
        """
        fits = self._fits(chosen)
        with self._lock:
            if not chosen.answered:
                mine = [self._place_of[key] for key in self._done(reviewer) if key in self._place_of]
                fits[mine] = False
        places = np.flatnonzero(fits)
        found = places[places > after] if step > 0 else places[places < after][::-1]
        if not len(found) and step > 0 and not chosen.answered:
            found = places  # what was passed over
        return int(found[0]) if len(found) else None

    def answer(self, place: int, word: str, reviewer: str, note: str, version: int) -> None:
        """Write an answer to disk.

        Parameters
        ----------
        word : a class, several joined by "|", a number, or one of unsure and skip.
        version : that `question` told; another one means that it was answered elsewhere since.

        Raises
        ------
        Conflict : it was; nothing is written.
        AuditError : no such class, or no number.
        """
        self._row(place)
        with self._lock:
            key = self._asked[place][0]
            if not self._log.add(
                *key, word, reviewer, note, still=lambda: self._version(place, reviewer)[1] == version
            ):
                raise Conflict(self.question(place, reviewer))

    def undo(self, reviewer: str) -> int | None:
        """Take back the reviewer's newest answer that stands, and return its place; None: there is none."""
        with self._lock:
            newest: list[Key] = self._log.newest(reviewer)
            for key in reversed(newest):
                if key in self._place_of:
                    self._log.withdraw(*key, reviewer, still=lambda: self._log.newest(reviewer) == newest)
                    return self._place_of[key]
            return None

    def history(self, reviewer: str) -> list[dict[str, Any]]:
        """Return the reviewer's answers that stand, the newest first."""
        with self._lock:
            keys = [key for key in reversed(self._log.newest(reviewer)) if key in self._place_of]
            places = list(dict.fromkeys(self._place_of[key] for key in keys))
            return [self.question(place, reviewer).to_json() for place in places[:HISTORY]]

    def _places(self, keys: Iterable[Key]) -> int:
        """Return how many places these are answers to."""
        return len({self._place_of[key] for key in keys if key in self._place_of})

    def _row(self, place: int) -> int:
        if not 0 <= place < len(self):
            raise AuditError(f"there is no row {place + 1}; expected 1 to {len(self)}")
        return int(self._rows[place])

    def _version(self, place: int, reviewer: str) -> tuple[Mapping[str, Any] | None, int]:
        """Return what a reviewer said last of a place, and how often that changed."""
        found = [self._log.of(*key, reviewer) for key in self._asked[place]]
        said = [one for one, _ in found if one is not None]
        newest = max(said, key=lambda one: str(one["time"]), default=None)
        return newest, sum(version for _, version in found)
