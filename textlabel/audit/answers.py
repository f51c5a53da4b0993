"""What people answered: sheets come in, an append-only log keeps every answer, gold is read from it."""

from __future__ import annotations

import datetime
import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from textlabel.audit.draws import MARKER, drawn_rows, draws
from textlabel.audit.filled import TODO, filled
from textlabel.audit.seal import Sealed, open_sealed
from textlabel.audit.store import LOG, append, locked, read_lines
from textlabel.audit.subsets import SEPARATOR, read_word
from textlabel.corpus.check import NOTHING, UNDECIDED
from textlabel.corpus.remote import File
from textlabel.errors import AuditError, nearest
from textlabel.trust.agreement import majority
from textlabel.trust.certificate import Bools, Floats, Ints

#: state of a record by which a person takes an answer back
WITHDRAWN = "withdrawn"

#: a spreadsheet keeps no more of a text than this, and shows an error for one that looks like a formula
LONGEST_CELL = 32_767


@dataclass(frozen=True)
class Imported:
    """What a sheet brought: rows with a label, rows undecided, rows still blank, earlier answers replaced."""

    answered: int
    undecided: int
    blank: int
    replaced: int


def import_answers(
    folder: str | Path,
    sheet: str | Path,
    *,
    reviewer: str = "",
    correct: bool = False,
    tool: str = "",
    text_column: str = "text",
    label_column: str = "label",
) -> Imported:
    """Add the answers of a sheet to the log; all of them, or none if one row is unfit.

    A blank label is no answer yet. ``unsure``, ``skip`` and ``none of these`` are stored as such, and are
    votes for leaving the row open; where a class has such a name, write ``?unsure``. The log keeps every
    answer.

    Parameters
    ----------
    sheet : .csv, .tsv or .jsonl that `draw` or `todo` wrote, with labels filled in; also by a URL that fsspec
        knows (hf://datasets/user/name/sheets/sheet-1.csv).
    reviewer : who answered; a ``reviewer`` column of the sheet says it row by row.
    correct : replace answers that the same reviewer gave otherwise before; without it they are refused, for
        they may be another person's.
    tool : the labeling tool that exported ``sheet`` ("label_studio", "argilla", "doccano", "prodigy"). Texts
        of a sheet are known by its marks; those of exported annotations by their id, as to-do answers,
        because people saw the model's label.
    text_column, label_column : what the tool's project calls text and label; sheets have columns of these
        names.

    Raises
    ------
    AuditError : another folder's sheet; not a file of the tool; a row that was not asked, or twice; a text
        that is not the row's; an unknown label; another answer than before.
    """
    sealed = open_sealed(folder)
    path, rows = filled(sealed, sheet, tool, (text_column, label_column))
    with locked(sealed.audit_folder):
        read = Reader(sealed, path, asked_by_sheet(sealed), reviewer, correct, _in_force(sealed))
        found = [read.row(where, values) for where, values in rows]
        records = [record for record in found if record]
        append(sealed.audit_folder / LOG, [record for record in records if not read.known(record)])
    answered = sum(record["label"] is not None for record in records)
    return Imported(answered, len(records) - answered, len(found) - len(records), len(read.replaced))


#: whose answer to which text it is, on audit sheets or on to-do sheets
Vote = tuple[str, str, str]


def _vote(sheet: str, text: str, who: str) -> Vote:
    return (TODO if sheet == TODO else "audit", text, who.casefold())


def _in_force(sealed: Sealed) -> dict[Vote, str | float | None]:
    """Return the newest answer of each vote."""
    log = _log(sealed)
    texts = sealed.rows.select([line["row"] for line in log])["text"][:]
    pairs = zip(log, texts, strict=True)
    return {_vote(line["sheet"], text, line["reviewer"]): line["label"] for line, text in pairs}


@dataclass(frozen=True)
class Reader:
    """Checks answers, one by one, against what was asked and what was said before."""

    sealed: Sealed
    path: File
    asked: Mapping[str, Collection[int]]
    reviewer: str
    correct: bool
    before: Mapping[Vote, str | float | None]
    seen: set[Vote] = field(default_factory=set)
    replaced: list[str] = field(default_factory=list)

    def row(self, where: str, values: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the log record of one sheet row; None if it is blank."""
        sheet, row = self.place(where, str(values[MARKER]))
        text, label = str(values["text"]), "" if values["label"] is None else str(values["label"])
        if not _same(text, self.sealed.rows[row]["text"]):
            raise self.error(
                where, "text", f"this is not the text of row {values[MARKER]!r}; was one column sorted?"
            )
        if not label.strip():
            return None
        state, value = self.value(where, label)
        who = " ".join(str(values.get("reviewer") or self.reviewer).split())
        self.check(where, _vote(sheet, self.sealed.rows[row]["text"], who), value)
        return {
            "sheet": sheet,
            "row": row,
            "id": self.sealed.rows[row]["id"],
            "state": state,
            "label": value,
            "reviewer": who,
            "note": values.get("note") or None,
            "time": datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="seconds"),
        }

    def place(self, where: str, marker: str) -> tuple[str, int]:
        """Return sheet and row of a marker; an `AuditError` if it was not asked."""
        sheet, _, digits = marker.partition("/")
        if sheet not in self.asked:
            raise self.error(where, MARKER, f"{sheet!r} is no draw of {self.sealed.folder}")
        if not (digits.isascii() and digits.isdigit()) or int(digits) not in self.asked[sheet]:
            raise self.error(where, MARKER, f"row {marker!r} was not asked")
        return sheet, int(digits)

    def check(self, where: str, vote: Vote, value: str | float | None) -> None:
        """Raise an `AuditError` where the same person answered otherwise, unless it is a correction."""
        if vote in self.seen:
            raise self.error(where, MARKER, "this text is in the sheet twice")
        self.seen.add(vote)
        earlier = self.before.get(vote, value)
        if earlier == value:
            return
        if not self.correct:
            said = "undecided" if earlier is None else earlier
            problem = (
                f"{vote[2] or 'somebody unnamed'} answered {said!r} before; another person answers under a "
                "name (--reviewer NAME), a correction is marked (--correct)"
            )
            raise self.error(where, "label", problem)
        self.replaced.append(where)

    def known(self, record: Mapping[str, Any]) -> bool:
        """Return whether a record says what is in force already."""
        vote = _vote(record["sheet"], self.sealed.rows[record["row"]]["text"], record["reviewer"])
        return vote in self.before and self.before[vote] == record["label"]

    def value(self, where: str, label: str) -> tuple[str, str | float | None]:
        """Return state and value of what was written."""
        return self.subset(where, label) if self.sealed.several else self.single(where, label)

    def subset(self, where: str, label: str) -> tuple[str, str | None]:
        """Return the set of classes that a person wrote, as one word."""
        try:
            return "answered", read_word(label, self.sealed.classes)
        except KeyError as error:
            word = label.strip().casefold().removeprefix("?")
            if word in UNDECIDED:
                return word, None
            part = str(error.args[0])
            hint = nearest(part, [*self.sealed.classes, NOTHING, *UNDECIDED])
            problem = f"unknown label {part!r}: {hint}; several are joined by {SEPARATOR!r}"
            raise self.error(where, "label", problem) from None

    def single(self, where: str, label: str) -> tuple[str, str | float | None]:
        """Return the class, or the score, that a person wrote."""
        names = self.sealed.names
        folded = {name.strip().casefold(): name for name in names}
        word = label.strip().casefold()
        if label in names:
            return "answered", label
        if list(name.strip().casefold() for name in names).count(word) == 1:
            return "answered", folded[word]
        if word.removeprefix("?") in UNDECIDED:
            return word.removeprefix("?"), None
        if names:
            hint = nearest(label, [*names, *UNDECIDED])
            raise self.error(where, "label", f"unknown label {label!r}: {hint}")
        try:
            score = float(label)
        except ValueError:
            score = math.nan
        if not math.isfinite(score):
            raise self.error(where, "label", f"expected a number, or one of {UNDECIDED}; got {label!r}")
        return "answered", score

    def error(self, where: str, name: str, problem: str) -> AuditError:
        """Return an error that says where, and that nothing was imported."""
        return AuditError(f"{self.path}, {where}, column {name!r}: {problem}. Nothing was imported")


def _same(found: str, text: str) -> bool:
    """Return whether a sheet's text is the row's, but for what spreadsheets do to a text."""
    if text[:1] in "=+-@" and found.startswith("#"):
        return True
    whole = found.split()
    return whole == text.split() or (
        len(text) > LONGEST_CELL and text.split()[: len(whole) - 1] == whole[:-1]
    )


def asked_by_sheet(sealed: Sealed) -> dict[str, Collection[int]]:
    """Return {sheet: row numbers that it may ask}."""
    return {**{one.marker: set(one.rows.tolist()) for one in draws(sealed)}, TODO: set(sealed.order.tolist())}


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
    rows = asked_rows(sealed)
    return _gold(sealed, [line for line in _log(sealed) if line["sheet"] != TODO], rows)


def all_answers(sealed: Sealed) -> Gold:
    """Return what any sheet brought: a to-do answer counts where audit sheets settled nothing."""
    everywhere = np.sort(sealed.order)  # people see texts: what they say of one, they say of its copies
    audit, late = (
        _gold(sealed, [line for line in _log(sealed) if (line["sheet"] == TODO) is todo], everywhere)
        for todo in (False, True)
    )
    return replace(audit, label=np.where(audit.decided, audit.label, late.label), seen=audit.seen | late.seen)


def every_answer(sealed: Sealed) -> Gold:
    """Return what each reviewer said last of each text, on whatever sheet."""
    return _gold(sealed, _log(sealed), np.sort(sealed.order))


def _log(sealed: Sealed) -> list[dict[str, Any]]:
    """Return the records that stand: each that was taken back is left out, and that it was."""
    gone: Counter[tuple[str, int, str]] = Counter()
    kept = []
    for line in reversed(read_lines(sealed.audit_folder / LOG)):
        key = (line["sheet"], line["row"], line["reviewer"].casefold())
        if line["state"] == WITHDRAWN:
            gone[key] += 1
        elif gone[key]:
            gone[key] -= 1
        else:
            kept.append(line)
    return kept[::-1]


def _gold(sealed: Sealed, log: Sequence[Mapping[str, Any]], among: Ints) -> Gold:
    """Return what ``log`` says of the rows ``among``: an answer counts for every copy of its text there."""
    first = _first_of_text(sealed, [line["row"] for line in log])
    last = {(first[line["row"]], line["reviewer"].casefold()): line["label"] for line in log}
    reviewers = tuple(dict.fromkeys(name for _, name in last))
    rows = np.unique(np.array([row for row, _ in last], dtype=np.int64))
    codes: Mapping[Any, Any] = {name: i for i, name in enumerate(sealed.names)}
    shape = (len(rows), len(reviewers))
    table = np.full(shape, -1) if sealed.names else np.full(shape, np.nan)
    undecided = np.zeros(shape, dtype=bool)
    for (row, name), value in last.items():
        at = np.searchsorted(rows, row), reviewers.index(name)
        undecided[at] = value is None
        if value is not None:
            table[at] = codes[value] if sealed.names else value
    label, seen = np.full(len(sealed.rows), np.nan), np.zeros(len(sealed.rows), dtype=bool)
    copies, of = _copies(sealed, rows, among)
    label[copies], seen[copies] = _settled(table, undecided)[of], True
    shown = {line["reviewer"].casefold(): line["reviewer"] for line in reversed(log)}
    return Gold(label, seen, table, rows, tuple(shown[name] for name in reviewers))


def _first_of_text(sealed: Sealed, rows: Sequence[int]) -> dict[int, int]:
    """Return for each of ``rows`` the first of them that has the same text."""
    different = sorted(set(rows))
    first: dict[str, int] = {}
    texts = sealed.rows.select(different)["text"]
    return {row: first.setdefault(text, row) for row, text in zip(different, texts, strict=True)}


def _copies(sealed: Sealed, rows: Ints, among: Ints) -> tuple[Ints, Ints]:
    """Return the rows ``among`` that have the text of one of ``rows``, and which one's, by position."""
    import pyarrow as pa
    import pyarrow.compute as pc

    asked = pa.array(sealed.rows.select(rows)["text"][:], pa.string())
    texts = sealed.rows.select_columns("text").with_format("arrow")[:].column("text").cast(pa.string())
    place = pc.fill_null(pc.index_in(texts, asked), -1).to_numpy()[among]
    return among[place >= 0], place[place >= 0].astype(np.int64)


def _settled(table: npt.NDArray[Any], undecided: Bools) -> Floats:
    """Return the majority's class, or the median score, of each row (n,); NaN where there is none.

    An undecided person votes for leaving the row open.
    """
    if table.dtype.kind == "i":
        most = majority(np.where(undecided, OPEN, table))
        return np.where((most < 0) | (most == OPEN), np.nan, most)
    settled = np.full(len(table), np.nan)
    answers = np.sum(~np.isnan(table), axis=1)
    clear = answers > undecided.sum(axis=1)
    settled[clear] = np.nanmedian(table[clear], axis=1)
    return settled


#: what an undecided person votes for, beside the classes
OPEN = 2**31


def asked_rows(sealed: Sealed) -> Ints:
    """Return the row numbers drawn so far."""
    return drawn_rows(draws(sealed))
