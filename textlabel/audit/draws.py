"""Draw the rows that people check, and write the sheet they answer on."""

from __future__ import annotations

import csv
import datetime
import hashlib
import json
import logging
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from textlabel.audit.seal import Sealed, open_sealed
from textlabel.audit.store import locked, numbered, read_json, write_json
from textlabel.audit.subsets import check_classes
from textlabel.corpus.check import SHEET_COLUMN
from textlabel.errors import AuditError, ExportError
from textlabel.trust.certificate import Ints

log = logging.getLogger("textlabel")

#: columns of a sheet; the first says which sheet and which row it is: no sorting and no spreadsheet, which
#: may make a number of an id, loses that, and by it a sheet is refused elsewhere
MARKER = SHEET_COLUMN
SHEET = (MARKER, "id", "text", "label", "note")


@dataclass(frozen=True)
class Draw:
    """Rows drawn to be checked, and what counts as an error.

    Parameters
    ----------
    number : 1 for the first draw of these annotations.
    rows : (m,) row numbers in the corpus, ascending.
    seed : of the draw.
    tolerance : for scores: how far from the answer a score may be.
    labels_shown : whether a sheet of it showed the model's label.
    asked : texts on its sheet; those that people settled before are left out.
    """

    number: int
    rows: Ints
    seed: int
    tolerance: float | None = None
    labels_shown: bool = False
    asked: int = 0

    @property
    def marker(self) -> str:
        """What its sheet bears in every row."""
        return f"audit-{self.number}"


def draws(sealed: Sealed) -> list[Draw]:
    """Return the draws made so far; an `AuditError` if one was made from other labels or was changed."""
    found = []
    for number, path in enumerate(numbered(sealed.audit_folder, "draw"), 1):
        data = read_json(path)
        if data["seal"] != sealed.seal["labels"]:
            raise AuditError(f"{path} was drawn from other labels than those that are there now: draw again")
        rows = np.array(data["rows"], dtype=np.int64)
        if data["digest"] != _digest(rows, data["seed"], data["tolerance"]):
            raise AuditError(f"{path} was changed since the draw; restore it from a copy")
        found.append(Draw(number, rows, data["seed"], data["tolerance"], data["labels_shown"]))
    return found


def _digest(rows: Ints, seed: int, tolerance: float | None) -> str:
    return hashlib.sha256(json.dumps([rows.tolist(), seed, tolerance]).encode()).hexdigest()


def draw(
    folder: str | Path,
    size: int,
    *,
    out: str | Path | None = None,
    seed: int | None = None,
    tolerance: float | None = None,
    show_labels: bool = False,
) -> tuple[Draw, Path]:
    """Draw rows uniformly from the sealed population, without replacement, and write their sheet.

    A further draw comes from the rows that were not drawn yet; all draws together are again a uniform
    draw. An identical text is asked once, and its answer counts for each copy that is drawn.

    Parameters
    ----------
    folder : annotations that `annotate` wrote.
    size : rows to draw.
    out : sheet, .csv or .jsonl; by default ``audit/sheet-N.csv`` in the folder.
    seed : by default a fresh one; it is recorded.
    tolerance : for scores, and needed there: a score further than this from the answer is an error.
    show_labels : also show the model's label, which makes people agree with it.

    Raises
    ------
    AuditError : labels changed since they were sealed; fewer rows are left; tolerance missing or unfit;
        the answers of an earlier draw were released to training.
    ExportError : the sheet is there already.
    """
    sealed = open_sealed(folder)
    if seed is not None and seed < 0:
        raise AuditError(f"seed = {seed}: expected a number that is not negative")
    with locked(sealed.audit_folder):
        refuse_released(sealed)
        earlier = draws(sealed)
        tolerance = _tolerance(sealed, earlier, tolerance)
        left = np.setdiff1d(sealed.order, drawn_rows(earlier))
        if not 0 < size <= len(left):
            have = (
                f"1 to {len(left)}, the rows that were not drawn yet"
                if len(left)
                else "no draw: no row is left"
            )
            raise AuditError(f"size = {size}: expected {have}")
        seed = secrets.randbits(32) if seed is None else seed
        number = len(earlier) + 1
        # with its number: one seed for two draws would pick nearly the same places of what is left
        rng = np.random.default_rng([seed, number])
        made = Draw(number, np.sort(rng.choice(left, size, replace=False)), seed, tolerance, show_labels)
        path = Path(out) if out else sealed.audit_folder / f"sheet-{made.number}.csv"
        check_sheet(path)
        # the draw first: a sheet that is lost can be written again, one without its draw is of no use
        _record(sealed, made)
    asked = sheet_rows(sealed, _unanswered(sealed, made.rows), made.marker, seed, show_labels)
    try:
        write_sheet(path, asked)
    except ExportError as error:
        again = f"textlabel audit sheet {folder} --draw {made.number} --out FILE"
        raise ExportError(
            f"{error}. Draw {made.number} is recorded; write its sheet with `{again}`"
        ) from None
    return replace(made, asked=len(asked)), path


def sheet(folder: str | Path, number: int, out: str | Path, *, show_labels: bool = False) -> int:
    """Write the sheet of a draw again, whole, for another person or because it was lost; return its rows.

    Raises
    ------
    AuditError : no such draw.
    ExportError : ``out`` is there already.
    """
    sealed = open_sealed(folder)
    with locked(sealed.audit_folder):
        made = {one.number: one for one in draws(sealed)}
        if number not in made:
            raise AuditError(f"{folder}: there is no draw {number}; expected one of {sorted(made)}")
        one = made[number]
        check_sheet(Path(out))
        if show_labels and not one.labels_shown:
            _record(sealed, replace(one, labels_shown=True))
    rows = sheet_rows(sealed, one.rows, one.marker, one.seed, show_labels)
    write_sheet(Path(out), rows)
    return len(rows)


def _record(sealed: Sealed, made: Draw) -> None:
    data = {
        "created": datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="seconds"),
        "seal": sealed.seal["labels"],
        "seed": made.seed,
        "size": len(made.rows),
        "tolerance": made.tolerance,
        "labels_shown": made.labels_shown,
        "rows": made.rows.tolist(),
        "digest": _digest(made.rows, made.seed, made.tolerance),
    }
    write_json(sealed.audit_folder / f"draw-{made.number}.json", data)


def _unanswered(sealed: Sealed, rows: Ints) -> Ints:
    """Return the rows whose text people have not settled yet, on an earlier sheet."""
    from textlabel.audit.answers import audit_answers

    return rows[~audit_answers(sealed).decided[rows]]


def drawn_rows(made: Iterable[Draw]) -> Ints:
    """Return the row numbers of several draws, in the order of their drawing."""
    return np.concatenate([np.zeros(0, np.int64), *(one.rows for one in made)])


def refuse_released(sealed: Sealed) -> None:
    """Raise an `AuditError` if the answers were given away to training."""
    if (sealed.audit_folder / "released.json").is_file():
        raise AuditError(
            f"{sealed.folder}: the audit answers were released to training, so nothing more can be certified "
            "with them; annotate the corpus again and audit that"
        )


def _tolerance(sealed: Sealed, earlier: Sequence[Draw], tolerance: float | None) -> float | None:
    if sealed.several:
        check_classes(sealed.classes)
    if sealed.names:
        if tolerance is not None:
            raise AuditError("a tolerance is for scores; with classes an error is another class")
        return None
    if earlier:
        if tolerance not in (None, earlier[0].tolerance):
            raise AuditError(f"tolerance = {tolerance}: the first draw declared {earlier[0].tolerance}")
        return earlier[0].tolerance
    if tolerance is None or not tolerance >= 0:
        raise AuditError("scores need a tolerance (--tolerance 0.5): how far from the answer is an error?")
    return tolerance


def sheet_rows(
    sealed: Sealed, rows: Ints, marker: str, seed: int, show_labels: bool = False
) -> list[dict[str, Any]]:
    """Return one sheet row for each distinct text among ``rows``, in random order.

    Random order, so that a corpus sorted by anything does not tell the model's mind, and people who stop
    early stop anywhere.
    """
    asked, found = in_random_order(sealed, rows, seed), []
    ids = sealed.rows.select([copies[0] for _, copies in asked])["id"][:]
    for (text, copies), name in zip(asked, ids, strict=True):
        first, label = copies[0], sealed.labels[copies[0]].tolist()
        row = {MARKER: f"{marker}/{first}", "id": name, "text": text, "label": None, "note": None}
        if show_labels:
            row["model_label"] = sealed.names[label] if sealed.names else label
        found.append(row)
    return found


def in_random_order(sealed: Sealed, rows: Ints, seed: int) -> list[tuple[str, list[int]]]:
    """Return what `by_text` does, in the order of a sheet."""
    found = by_text(sealed, rows)
    return [found[i] for i in np.random.default_rng(seed).permutation(len(found))]


def by_text(sealed: Sealed, rows: Ints) -> list[tuple[str, list[int]]]:
    """Return each distinct text among ``rows`` with those that bear it, of which the first is asked."""
    texts = sealed.rows.select_columns("text").with_format("arrow")[:].column("text").take(rows).to_pylist()
    copies: dict[str, list[int]] = {}
    for row, text in zip(rows.tolist(), texts, strict=True):
        copies.setdefault(text, []).append(row)
    return list(copies.items())


def check_sheet(path: Path) -> None:
    """Raise an `ExportError` if a sheet cannot be written at ``path``."""
    if path.suffix.lower() not in (".csv", ".jsonl"):
        raise ExportError(f"{path}: expected a sheet that ends in .csv or .jsonl")
    if path.exists():
        raise ExportError(f"{path} is there already, perhaps with answers: choose another --out")


def _warn_of_formulas(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Warn where a spreadsheet would compute a text, which is written as it is: it must come back so."""
    count = sum(str(row.get("text") or "").startswith(("=", "@", "+")) for row in rows)
    if count:
        log.warning(
            "%s: %d texts begin with =, @ or +, which a spreadsheet may run as formulas: import the column "
            "as text, or answer on `textlabel review`",
            *(path, count),
        )


def _cell(value: Any) -> Any:
    """Return a value as a cell of a csv file has it: lists and tables as JSON."""
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return value


def write_sheet(path: Path, rows: Sequence[dict[str, Any]], columns: Sequence[str] = SHEET) -> None:
    """Write a sheet as csv or jsonl; an `ExportError` if it would replace one, or cannot be written.

    Parameters
    ----------
    columns : of a sheet without rows.
    """
    check_sheet(path)
    names = list(rows[0] if rows else columns)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8", newline="") as file:
            if path.suffix.lower() == ".csv":
                _warn_of_formulas(path, rows)
                writer = csv.DictWriter(file, names, quoting=csv.QUOTE_MINIMAL)
                writer.writeheader()
                writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
            else:
                file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    except OSError as error:
        raise ExportError(f"{path}: cannot be written ({error})") from None
