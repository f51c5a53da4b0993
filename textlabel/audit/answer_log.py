"""The log of answers as a person at work needs it, and what people say differently."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from textlabel.audit.answers import WITHDRAWN, Gold, Reader, asked_by_sheet
from textlabel.audit.seal import Sealed
from textlabel.audit.store import LOG, append, locked

#: checks one answer, (sheet, row, word, reviewer), and returns its state and label
Check = Callable[[str, int, str, str], tuple[str, Any]]


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
        self._read = 0
        self._lines: dict[tuple[str, int, str], list[dict[str, Any]]] = {}
        self._order: list[tuple[str, int, str]] = []

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
        lines = self._lines.get((sheet, row, reviewer.casefold()), [])
        if not lines or lines[-1]["state"] == WITHDRAWN:
            return None, len(lines)
        return {name: lines[-1][name] for name in ("label", "state", "note", "time")}, len(lines)

    def newest(self, reviewer: str) -> list[tuple[str, int]]:
        """Return sheet and row of a person's answers that stand, the newest last."""
        self._refresh()
        found: dict[tuple[str, int], None] = {}
        for sheet, row, who in self._order:
            if who == reviewer.casefold():
                found.pop((sheet, row), None)
                if self._lines[sheet, row, who][-1]["state"] != WITHDRAWN:
                    found[sheet, row] = None
        return list(found)

    def add(self, sheet: str, row: int, word: str, reviewer: str, note: str = "") -> None:
        """Append an answer.

        Raises
        ------
        AuditError : an unknown label, or a row that was not asked.
        """
        state, label = self._check(sheet, row, word, reviewer)
        self._append(sheet, row, reviewer, {"state": state, "label": label, "note": note or None})

    def withdraw(self, sheet: str, row: int, reviewer: str) -> None:
        """Append that an answer is taken back: what was said before it stands again, if anything was."""
        lines = self._lines[sheet, row, reviewer.casefold()]
        before: dict[str, Any] | None = None
        stack: list[dict[str, Any]] = []
        for line in lines:
            if line["state"] == WITHDRAWN:
                stack.clear()
            else:
                stack.append(line)
        if len(stack) > 1:
            before = stack[-2]
        self._append(sheet, row, reviewer, {"state": WITHDRAWN, "label": None, "note": None})
        if before is not None:
            self._append(sheet, row, reviewer, {name: before[name] for name in ("state", "label", "note")})

    def _append(self, sheet: str, row: int, reviewer: str, said: Mapping[str, Any]) -> None:
        record = {"sheet": sheet, "row": row, "id": self._id_of(row), **said}
        record |= {"reviewer": " ".join(reviewer.split())}
        record |= {"time": datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="seconds")}
        with locked(self._path.parent):
            append(self._path, [record])

    def answered(self) -> set[tuple[str, int]]:
        """Return sheet and row of all answers that stand, whoever gave them."""
        self._refresh()
        return {key[:2] for key, lines in self._lines.items() if lines[-1]["state"] != WITHDRAWN}

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
                key = (line["sheet"], line["row"], line["reviewer"].casefold())
                self._lines.setdefault(key, []).append(line)
                self._order.append(key)


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
