"""The log of answers as a person at work needs it, and what people say differently."""

from __future__ import annotations

import datetime
import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from textlabel.audit.answers import WITHDRAWN, Gold, Reader, asked_by_sheet
from textlabel.audit.seal import Sealed
from textlabel.audit.store import LOG, append, locked

#: checks one answer, (sheet, row, word, reviewer), and returns its state and label
Check = Callable[[str, int, str, str], tuple[str, Any]]
#: returns whether what somebody was shown is still what stands
Still = Callable[[], bool]


def _always() -> bool:
    return True


class AnswerLog:
    """A log of answers as a person at work needs it: one at a time, on disk before `add` returns.

    What others append meanwhile is read before anything is asked of it.

    Parameters
    ----------
    path : of the log; its folder is locked while it is written.
    check : what an answer may be.
    id_of : id of a row.
    """

    def __init__(self, path: Path, check: Check, id_of: Callable[[int], str]) -> None:
        self._path, self._check, self._id_of = path, check, id_of
        self._read = self._count = 0
        #: answers of (sheet, row, reviewer) that stand, each with its place in the log; the last is in force
        self._standing: dict[tuple[str, int, str], list[tuple[int, dict[str, Any]]]] = {}
        self._versions: Counter[tuple[str, int, str]] = Counter()
        #: of each reviewer, sheet and row of the answers that stand, the newest last
        self._newest: dict[str, dict[tuple[str, int], None]] = {}
        #: of each sheet and row, how many reviewers have an answer that stands
        self._answered: Counter[tuple[str, int]] = Counter()

    @classmethod
    def of_sealed(cls, sealed: Sealed) -> AnswerLog:
        """Return the log of a sealed folder."""
        path, asked = sealed.audit_folder / LOG, asked_by_sheet(sealed)

        def check(sheet: str, row: int, word: str, reviewer: str) -> tuple[str, Any]:
            reader = Reader(sealed, path, asked, reviewer, True, {})
            reader.place(f"row {row}", f"{sheet}/{row}")
            return reader.value(f"row {row}", word)

        return cls(path, check, lambda row: sealed.rows[row]["id"])

    def of(self, sheet: str, row: int, reviewer: str) -> tuple[dict[str, Any] | None, int]:
        """Return a person's answer to a row that stands, and how often the row was answered or taken back."""
        self._refresh()
        key = (sheet, row, _name(reviewer))
        if not self._standing.get(key):
            return None, self._versions[key]
        line = self._standing[key][-1][1]
        return {name: line[name] for name in ("label", "state", "note", "time")}, self._versions[key]

    def newest(self, reviewer: str) -> list[tuple[str, int]]:
        """Return sheet and row of a person's answers that stand, the newest last."""
        self._refresh()
        return list(self._newest.get(_name(reviewer), ()))

    def add(
        self, sheet: str, row: int, word: str, reviewer: str, note: str = "", still: Still = _always
    ) -> bool:
        """Append an answer, if that is ``still`` wanted, and return whether it was.

        Parameters
        ----------
        still : asked when no other process can write any more, and everything written has been read.

        Raises
        ------
        AuditError : an unknown label, or a row that was not asked.
        """
        state, label = self._check(sheet, row, word, reviewer)
        return self._append(
            sheet, row, reviewer, {"state": state, "label": label, "note": note or None}, still
        )

    def withdraw(self, sheet: str, row: int, reviewer: str, still: Still = _always) -> bool:
        """Append that the newest answer is void: what was said before it stands again, if anything was."""
        void = {"state": WITHDRAWN, "label": None, "note": None}
        return self._append(sheet, row, reviewer, void, still)

    def _append(self, sheet: str, row: int, reviewer: str, said: Mapping[str, Any], still: Still) -> bool:
        record = {"sheet": sheet, "row": row, "id": self._id_of(row), **said}
        record |= {"reviewer": " ".join(reviewer.split())}
        record |= {"time": datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="seconds")}
        with locked(self._path.parent):
            wanted = still()
            if wanted:
                append(self._path, [record])
        return wanted

    def answered(self) -> Collection[tuple[str, int]]:
        """Return sheet and row of all answers that stand, whoever gave them."""
        self._refresh()
        return self._answered.keys()

    def _refresh(self) -> None:
        """Read what was appended since, whole lines only."""
        if not self._path.is_file() or self._path.stat().st_size == self._read:
            return
        with self._path.open("rb") as file:
            file.seek(self._read)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._read += len(whole)
        for text in whole.decode("utf-8", errors="replace").split("\n"):
            try:
                line = json.loads(text) if text else None
            except ValueError:  # what a crash left unfinished; `read_lines` tells it from damage
                continue
            if line is not None:
                self._take(line)

    def _take(self, line: dict[str, Any]) -> None:
        where, who = (line["sheet"], line["row"]), line["reviewer"].casefold()
        key = (*where, who)
        stack = self._standing.setdefault(key, [])
        stood = bool(stack)
        if line["state"] != WITHDRAWN:
            stack.append((self._count, line))
        elif stack:
            stack.pop()
        self._answered[where] += bool(stack) - stood
        if not self._answered[where]:
            del self._answered[where]
        mine = self._newest.setdefault(who, {})
        mine.pop(where, None)
        if stack:
            mine[where] = None
        if stack and line["state"] == WITHDRAWN:  # an older answer stands again, at its own time
            self._newest[who] = dict.fromkeys(sorted(mine, key=lambda one: self._standing[*one, who][-1][0]))
        self._count += 1
        self._versions[key] += 1


def _name(reviewer: str) -> str:
    """Return a reviewer as the log knows them, whatever the case and blanks."""
    return " ".join(reviewer.split()).casefold()


def differences(sealed: Sealed, gold: Gold) -> list[dict[str, Any]]:
    """Return the rows of which reviewers say different things: id, text, and what each says."""
    missing = -1 if gold.table.dtype.kind == "i" else None
    found = []
    for row, said in zip(gold.table_rows.tolist(), gold.table.tolist(), strict=True):
        known = {
            name: value
            for name, value in zip(gold.reviewers, said, strict=True)
            if value != missing and value == value
        }
        if len(set(known.values())) > 1:
            words = {name: sealed.names[v] if sealed.names else v for name, v in known.items()}
            found.append({"id": sealed.rows[row]["id"], "text": sealed.rows[row]["text"], "said": words})
    return found
