"""What people filled in: sheets that textlabel wrote, and files that labeling tools export."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from textlabel.audit.draws import MARKER
from textlabel.audit.seal import Sealed
from textlabel.audit.subsets import as_word
from textlabel.corpus.check import Rejects
from textlabel.corpus.files import read_file
from textlabel.corpus.records import joined
from textlabel.corpus.remote import File, is_url, place, reached, shown
from textlabel.corpus.spool import Spool
from textlabel.errors import AuditError, CorpusError, ExportError
from textlabel.export._read import answers_of
from textlabel.export._tools import Answer

#: what an answer outside audits is to, in place of a sheet
TODO = "todo"

#: place in a file, and what it has there
Given = tuple[str, Mapping[str, Any]]


def filled(
    sealed: Sealed, sheet: str | Path, tool: str, columns: tuple[str, str]
) -> tuple[File, list[Given]]:
    """Return the file of a sheet, or of what a labeling tool exported, and its rows.

    Parameters
    ----------
    sheet : path, or a URL, but for what a tool exported.
    columns : what the tool's project calls text and label.

    Raises
    ------
    AuditError : it cannot be read, or is another kind of file.
    """
    if not tool and columns != ("text", "label"):
        raise AuditError(
            "text_column and label_column are for files of a labeling tool: name it, too (--from)"
        )
    if not tool:
        path = place(sheet, AuditError)
        with reached(str(sheet), AuditError) if is_url(sheet) else nullcontext():
            return path, list(sheet_lines(path))
    if is_url(sheet):
        raise AuditError(f"{shown(str(sheet))} is a URL: copy what the tool exported to this machine first")
    return Path(sheet), list(_from_tool(sealed, Path(sheet), tool, columns))


def sheet_lines(path: File, mark: str = MARKER) -> Iterator[Given]:
    """Yield the rows of a sheet, each with where it stands; column ``mark`` says which row it is."""
    try:
        spool = Spool()
        part = read_file(path, {}, Rejects("fail"), spool)
        table = joined(spool, [part])
    except CorpusError as error:
        fault = str(error).partition(" Mend the row")[0]  # the rest names an option that is not here
        raise AuditError(f"{fault} Nothing was imported; give the sheet with its labels filled in") from None
    if missing := [name for name in (mark, "text", "label") if name not in table.column_names]:
        raise AuditError(f"{path}: no column {missing[0]!r}; expected a sheet that textlabel wrote")
    rows = zip(part.rows.tolist(), table.to_pylist(), strict=True)
    return ((f"row {number}", values) for number, values in rows)


def _from_tool(sealed: Sealed, path: Path, tool: str, columns: tuple[str, str]) -> Iterator[Given]:
    """Yield the answers of a file that a labeling tool exported, as rows of a sheet."""
    at = {name: row for row, name in enumerate(sealed.rows["id"])}
    inside = set(sealed.order.tolist())
    try:
        for one in answers_of(path, tool, *columns):
            label = _word(sealed, one, path)
            mark, name = one.keys.get(MARKER), one.keys.get("id")
            if not mark:
                if not label:
                    continue  # of a whole corpus, most rows
                row = at.get(str(name), -1)
                if row not in inside:
                    why = "is none of the model's" if row >= 0 else f"is not in {sealed.folder}"
                    raise ExportError(f"{path}, {one.where}, field 'id': row {name!r} {why}")
                mark = f"{TODO}/{row}"
            held = {"text": one.text, "label": label, "reviewer": one.reviewer, "note": one.note}
            yield one.where, {MARKER: mark, **held}
    except ExportError as error:
        raise AuditError(f"{error}. Nothing was imported") from None


def _word(sealed: Sealed, answer: Answer, path: Path) -> str:
    """Return an answer as people write it on a sheet; empty where there is none yet."""
    if answer.state:
        return f"?{answer.state}"
    if answer.labels is None:
        return ""
    said = [str(label) for label in answer.labels]
    if sealed.several:
        return as_word(said)
    if len(said) > 1:
        raise ExportError(f"{path}, {answer.where}, field 'label': expected one label, got {said}")
    return "".join(said)
