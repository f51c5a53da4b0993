"""Give audit answers to training, which voids the certificate; or carry them to a later model."""

from __future__ import annotations

import csv
import datetime
import shutil
from pathlib import Path

import numpy as np

from textlabel.audit.answers import audit_answers
from textlabel.audit.draws import drawn_rows, draws, refuse_released
from textlabel.audit.seal import Sealed, open_sealed
from textlabel.audit.store import LOG, locked, numbered, read_json, write_json
from textlabel.corpus.check import RELEASED_COLUMN
from textlabel.errors import AuditError, ExportError


def release(folder: str | Path, out: str | Path) -> int:
    """Write the answered audit rows as labeled rows for training, and return how many.

    From then on nothing can be certified with these answers: a model that learned from them would be
    judged by what it learned.

    Parameters
    ----------
    out : csv file with id, text, label, ready for `fit` (of several classes a row, with label_separator "|").

    Raises
    ------
    AuditError : no answers yet.
    ExportError : the file is there already or cannot be written.
    """
    sealed = open_sealed(folder)
    gold = audit_answers(sealed)
    rows = np.array([row for row in drawn_rows(draws(sealed)) if gold.decided[row]], dtype=np.int64)
    if not len(rows):
        raise AuditError(f"{folder}: there are no audit answers to release")
    picked = sealed.rows.select(rows)
    labels = [sealed.names[int(v)] if sealed.names else v for v in gold.label[rows].tolist()]
    lines = zip(picked["id"], picked["text"], labels, [sealed.seal["corpus"][:16]] * len(rows), strict=True)
    try:
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        with Path(out).open("x", encoding="utf-8", newline="") as file:
            # void before a line is written: whatever happens then, no promise outlives its rows
            created = datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="seconds")
            write_json(sealed.audit_folder / "released.json", {"rows": len(rows), "created": created})
            writer = csv.writer(file)
            writer.writerow(["id", "text", "label", RELEASED_COLUMN])
            writer.writerows(lines)
    except OSError as error:
        raise ExportError(f"{out}: cannot be written ({error})") from None
    return len(rows)


def reuse(folder: str | Path, earlier: str | Path) -> int:
    """Return how many audited rows were carried from ``earlier`` to a later model's annotations.

    That model may be certified with them, at the price of the next look, because it read neither their ids
    nor their answers: `fit` refuses audit sheets, and released answers void what they came from.

    Raises
    ------
    AuditError : another corpus or population, answers that were released, a model that learned from released
        answers, or annotations that have draws of their own.
    """
    new, old = open_sealed(folder), open_sealed(earlier)
    refuse_released(old)
    if new.seal["corpus"] != old.seal["corpus"] or set(new.order.tolist()) != set(old.order.tolist()):
        raise AuditError(f"{folder} and {earlier} do not annotate the same rows; draw a new audit")
    if new.record.get("labels", {}).get("audit"):
        raise AuditError(f"{folder}: its model learned from released audit answers; draw a new audit")
    if numbered(new.audit_folder, "draw") or (new.audit_folder / LOG).is_file():
        raise AuditError(f"{folder} has draws or answers of its own; they cannot be mixed with others")
    if new.classes != old.classes or new.several != old.several:
        raise AuditError(f"{folder} has the classes {new.classes}, {earlier} {old.classes}; draw a new audit")
    with locked(new.audit_folder):
        _carry(new, old)
    return len(drawn_rows(draws(new)))


def _carry(new: Sealed, old: Sealed) -> None:
    for name in (LOG, "looks.jsonl"):
        if (old.audit_folder / name).is_file():
            shutil.copyfile(old.audit_folder / name, new.audit_folder / name)
    for path in numbered(old.audit_folder, "draw"):
        write_json(new.audit_folder / path.name, {**read_json(path), "seal": new.seal["labels"]})
