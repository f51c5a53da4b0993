"""From a certificate to a finished corpus: the rows that people must still label, and the last step."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from textlabel import registry
from textlabel.audit.answers import Gold, all_answers, asked_rows
from textlabel.audit.certification import accepted_rows, current
from textlabel.audit.draws import sheet_rows, write_sheet
from textlabel.audit.filled import TODO
from textlabel.audit.seal import Sealed, open_sealed
from textlabel.audit.store import FOLDER
from textlabel.audit.subsets import as_classes
from textlabel.engine.gold import relabeled
from textlabel.errors import AuditError, ExportError
from textlabel.trust.certificate import Ints

if TYPE_CHECKING:
    from datasets import Dataset


def todo(
    folder: str | Path, *, out: str | Path | None = None, show_labels: bool = False
) -> tuple[Ints, Path]:
    """Return the row numbers that people must still label before `finish`, and write their sheet.

    Under a ``finish`` certificate these are all rows that were not accepted, and audited rows without a
    majority answer; under the other modes only the latter, as far as they are accepted.

    Parameters
    ----------
    out : sheet, .csv or .jsonl; by default the next free ``audit/todo-N.csv``.
    show_labels : also show the model's label.

    Raises
    ------
    AuditError : no valid certificate.
    """
    sealed = open_sealed(folder)
    rows = open_rows(sealed, current(sealed), all_answers(sealed))
    path = Path(out) if out else next_free(sealed.audit_folder)
    write_sheet(path, sheet_rows(sealed, rows, TODO, 0, show_labels))
    return rows, path


def next_free(folder: Path) -> Path:
    """Return ``folder/todo-N.csv`` with the smallest N that is not there: a sheet may hold answers."""
    return next(path for n in count(1) if not (path := folder / f"todo-{n}.csv").exists())


def open_rows(sealed: Sealed, certificate: dict[str, Any], gold: Gold) -> Ints:
    """Return the row numbers, ascending, that need an answer before the corpus can be finished."""
    accepted = accepted_rows(sealed, certificate)
    asked = np.zeros(len(accepted), dtype=bool)
    asked[asked_rows(sealed)] = True
    model = sealed.rank >= 0
    need = model & (~accepted | asked) if certificate["mode"] == "finish" else accepted & asked
    return np.flatnonzero(need & ~gold.decided)


def finish(folder: str | Path, out: str | Path, *, form: str = "dataset") -> dict[str, Any]:
    """Write the finished corpus under its certificate, and return what there is to tell.

    People's answers replace the model's label wherever there is one. Under ``finish`` every row is in it;
    under ``selective`` and ``fdr`` only accepted rows and those with gold are.

    Parameters
    ----------
    out : folder for the finished corpus, with the certificate in its record and card.
    form : dataset, parquet, jsonl or csv.

    Raises
    ------
    AuditError : no valid certificate, or rows that people must still label.
    ExportError : ``out`` cannot be written.
    """
    exporter = registry.load("export", form)
    if not hasattr(exporter, "FILE"):
        raise ExportError(f"format {form!r} writes no folder; expected dataset, parquet, jsonl or csv")
    sealed = open_sealed(folder)
    certificate, gold = current(sealed), all_answers(sealed)
    missing = open_rows(sealed, certificate, gold)
    if len(missing):
        raise AuditError(
            f"{folder}: {len(missing):,} rows must still be labeled by people; `textlabel todo {folder}` "
            "writes their sheet, `textlabel answers import` takes it back"
        )
    accepted = accepted_rows(sealed, certificate)
    human = gold.decided | (sealed.rank < 0)
    keep = np.ones(len(human), bool) if certificate["mode"] == "finish" else accepted | human
    rows = _finished(sealed, gold).select(np.flatnonzero(keep))
    labels = {**sealed.record.get("labels", {}), "audit": len(asked_rows(sealed))}
    record = {**sealed.record, "rows": len(rows), "certificate": certificate, "labels": labels}
    record.pop("seal")
    record["estimate"] = None  # of labels that are not those of this corpus any more; the certificate speaks
    if (Path(out) / FOLDER).exists():
        raise ExportError(f"{Path(out) / FOLDER} holds people's answers: choose another folder")
    exporter.write(rows, Path(out), record)
    return {
        "finished": str(out),
        "rows": len(rows),
        "labeled_by_people": int(np.sum(human & keep)),
        "labeled_by_model": int(np.sum(keep & ~human)),
        "promise": [group["promise"] for group in certificate["groups"] if group["promise"]],
    }


def _finished(sealed: Sealed, gold: Gold) -> Dataset:
    """Return the rows with people's answers in the place of the model's label."""
    rows = np.flatnonzero(gold.decided)
    labels: list[Any] = gold.label[rows].tolist()
    if sealed.names:
        labels = [sealed.names[int(code)] for code in labels]
    if sealed.several:
        labels = [as_classes(word) for word in labels]
    done = relabeled(sealed.rows, rows, labels)
    return (
        done.remove_columns("decision")
        .add_column("decision", ["accepted"] * len(done))
        .select_columns(sealed.rows.column_names)
    )
