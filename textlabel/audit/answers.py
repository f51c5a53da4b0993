"""What people answered: sheets come in, an append-only log keeps every answer, gold is read from it."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from textlabel.audit.draws import MARKER, drawn_rows, draws
from textlabel.audit.seal import Sealed, open_sealed
from textlabel.audit.store import append, read_lines
from textlabel.corpus.check import Rejects
from textlabel.corpus.files import read_file
from textlabel.errors import AuditError, CorpusError, nearest
from textlabel.trust.agreement import majority
from textlabel.trust.certificate import Bools, Floats, Ints

#: what people may say instead of a label; stored, and an error until somebody resolves it
UNDECIDED = ("unsure", "skip", "none of these")
LOG = "answers.jsonl"
TODO = "todo"


@dataclass(frozen=True)
class Imported:
    """What a sheet brought: rows with a label, rows undecided, rows still blank."""

    answered: int
    undecided: int
    blank: int


def import_answers(folder: str | Path, sheet: str | Path, *, reviewer: str = "") -> Imported:
    """Add the answers of a sheet to the log; all of them, or none if one row is unfit.

    A blank label is no answer yet. ``unsure``, ``skip`` and ``none of these`` are stored as such. A later
    answer of the same reviewer to the same row replaces an earlier one; the log keeps both.

    Parameters
    ----------
    sheet : .csv, .tsv or .jsonl that `draw` or `todo` wrote, with labels filled in.
    reviewer : who answered; a ``reviewer`` column of the sheet says it row by row.

    Raises
    ------
    AuditError : another folder's sheet; a row that was not asked; a text that is not the row's; an unknown
    label.
    """
    sealed = open_sealed(folder)
    path = Path(sheet)
    try:
        part = read_file(path, {}, Rejects("fail"))
    except CorpusError as error:
        raise AuditError(str(error)) from None
    if missing := [name for name in (MARKER, "id", "text", "label") if name not in part.table.column_names]:
        raise AuditError(f"{path}: no column {missing[0]!r}; expected a sheet that textlabel wrote")
    read = _Reader(sealed, path, _copies(sealed), reviewer)
    records: list[dict[str, Any]] = []
    blank = 0
    for row, values in zip(part.rows.tolist(), part.table.to_pylist(), strict=True):
        answer = read.row(row, values)
        blank += answer is None
        records += [answer] if answer else []
    append(sealed.audit_folder / LOG, records)
    answered = sum(record["label"] is not None for record in records)
    return Imported(answered, len(records) - answered, blank)


@dataclass(frozen=True)
class _Reader:
    sealed: Sealed
    path: Path
    asked: Mapping[str, Mapping[str, tuple[str, list[int]]]]
    reviewer: str

    def row(self, number: int, values: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the log record of one sheet row; None if it is blank."""
        marker, name = str(values[MARKER]), str(values["id"])
        rows = self.asked.get(marker)
        if rows is None:
            raise self.error(number, MARKER, f"{marker!r} is no draw of {self.sealed.folder}")
        if name not in rows:
            raise self.error(number, "id", f"row {name!r} was not asked in {marker}")
        text, copies = rows[name]
        if _lines(str(values["text"])) != _lines(text):
            raise self.error(number, "text", f"this is not the text of row {name!r}; was the sheet sorted?")
        label = "" if values["label"] is None else str(values["label"]).strip()
        if not label:
            return None
        state, value = self.value(number, label)
        return {
            "sheet": marker,
            "rows": copies,
            "id": name,
            "state": state,
            "label": value,
            "reviewer": str(values.get("reviewer") or self.reviewer),
            "note": values.get("note") or None,
            "time": datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="seconds"),
        }

    def value(self, number: int, label: str) -> tuple[str, str | float | None]:
        names = self.sealed.names
        if label in names:
            return "answered", label
        if label.lower() in UNDECIDED:
            return label.lower(), None
        if names:
            hint = nearest(label, [*names, *UNDECIDED])
            raise self.error(number, "label", f"unknown label {label!r}: {hint}")
        try:
            score = float(label)
        except ValueError:
            score = math.nan
        if not math.isfinite(score):
            raise self.error(number, "label", f"expected a number, or one of {UNDECIDED}; got {label!r}")
        return "answered", score

    def error(self, number: int, name: str, problem: str) -> AuditError:
        return AuditError(f"{self.path}, row {number}, column {name!r}: {problem}. Nothing was imported")


def _lines(text: str) -> list[str]:
    """Return the lines of a text: spreadsheets write another end of line than they read."""
    return text.splitlines()


def _copies(sealed: Sealed) -> dict[str, dict[str, tuple[str, list[int]]]]:
    """Return {marker: {id asked: (text, row numbers that the answer counts for)}}."""
    texts, ids = sealed.rows["text"][:], sealed.rows["id"][:]
    sheets = {one.marker: one.rows.tolist() for one in draws(sealed)}
    sheets[TODO] = sealed.order[np.argsort(sealed.order)].tolist()
    found: dict[str, dict[str, tuple[str, list[int]]]] = {}
    for marker, rows in sheets.items():
        same: dict[str, list[int]] = {}
        for row in rows:
            same.setdefault(texts[row], []).append(row)
        # any copy may be named: which one stands for the text is the sheet's choice
        found[marker] = {ids[row]: (text, rows) for text, rows in same.items() for row in rows}
    return found


@dataclass(frozen=True)
class Gold:
    """What people say of each row of the corpus.

    Parameters
    ----------
    label : (N,) class index of the majority, or median score; NaN where there is none.
    seen : (N,) bool, somebody has looked at the row, if only to say "unsure".
    table : (rows, reviewers) class index or score; -1 or NaN where a reviewer did not say.
    table_rows : row numbers of ``table``, ascending.
    reviewers : names, in column order.
    """

    label: Floats
    seen: Bools
    table: npt.NDArray[Any]
    table_rows: Ints
    reviewers: tuple[str, ...]

    @property
    def decided(self) -> Bools:
        """(N,) bool, rows on which people settled."""
        decided: Bools = ~np.isnan(self.label)
        return decided


def audit_answers(sealed: Sealed) -> Gold:
    """Return what audit sheets brought, for the rows that were drawn."""
    markers = {one.marker for one in draws(sealed)}
    return _gold(sealed, [line for line in _log(sealed) if line["sheet"] in markers])


def all_answers(sealed: Sealed) -> Gold:
    """Return what any sheet brought; a later answer on the to-do sheet resolves an undecided audit row."""
    return _gold(sealed, _log(sealed))


def _log(sealed: Sealed) -> list[dict[str, Any]]:
    return read_lines(sealed.audit_folder / LOG)


def _gold(sealed: Sealed, log: Sequence[Mapping[str, Any]]) -> Gold:
    last = {(row, line["reviewer"]): line["label"] for line in log for row in line["rows"]}
    reviewers = tuple(dict.fromkeys(name for _, name in last))
    rows = np.unique(np.array([row for row, _ in last], dtype=np.int64))
    codes: Mapping[Any, Any] = {name: i for i, name in enumerate(sealed.names)}
    shape = (len(rows), len(reviewers))
    table = np.full(shape, -1) if sealed.names else np.full(shape, np.nan)
    for (row, name), value in last.items():
        if value is not None:
            at = np.searchsorted(rows, row), reviewers.index(name)
            table[at] = codes[value] if sealed.names else value
    label, seen = np.full(len(sealed.rows), np.nan), np.zeros(len(sealed.rows), dtype=bool)
    label[rows], seen[rows] = _settled(table), True
    return Gold(label, seen, table, rows, reviewers)


def _settled(table: npt.NDArray[Any]) -> Floats:
    """Return the majority's class, or the median score, of each row (n,); NaN where there is none."""
    if table.dtype.kind == "i":
        most = majority(table)
        return np.where(most < 0, np.nan, most)
    settled = np.full(len(table), np.nan)
    some = ~np.isnan(table).all(axis=1)
    settled[some] = np.nanmedian(table[some], axis=1)
    return settled


def asked_rows(sealed: Sealed) -> Ints:
    """Return the row numbers drawn so far."""
    return drawn_rows(draws(sealed))
