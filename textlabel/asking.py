"""Propose, answer, fit again, propose: rows of a corpus that it pays to label, round after round.

    DIR/loop.json         what was asked for at the start
    DIR/corpus/           the rows that may be asked, each text once
    DIR/labeled.jsonl     rows that were labeled before
    DIR/round-1.json      which rows were proposed, and why
    DIR/answers.jsonl     append-only: who answered what

Nothing is ever rewritten, so a kill loses nothing: what was proposed or answered is on disk, and the rest is
computed again. Rows of an audit are left out at the start, and audit sheets are refused.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from textlabel.ask import DEFAULT_STRATEGY
from textlabel.audit.store import append, locked, numbered, read_json, read_lines, write_json
from textlabel.corpus.check import UNDECIDED
from textlabel.errors import AuditError, CorpusError, ExportError, nearest
from textlabel.labeler import DEFAULT_BACKBONE

if TYPE_CHECKING:
    from datasets import Dataset

    from textlabel.ask import Floats
    from textlabel.types import IntArray

SETTINGS, CORPUS, LABELED, ANSWERS = "loop.json", "corpus", "labeled.jsonl", "answers.jsonl"
#: columns of a sheet
SHEET = ("row", "id", "text", "label", "note")


@dataclass(frozen=True)
class Start:
    """Begin to ask rows of a corpus.

    Parameters
    ----------
    corpus : rows that may be asked: a csv, tsv, jsonl or parquet file, a folder or glob of them, a saved
        dataset, or a Hub dataset id. Each text is asked once.
    out : folder for the loop; it must not be there yet.
    classes : their names; by default those of ``labeled``.
    labeled : rows that are labeled already.
    exclude_audit : folder of annotations whose audited rows are never asked.
    strategy : plugin (`textlabel plugins strategy`).
    backbone : whose features tell rows apart: registered name (`textlabel backbones`), local folder, or Hub
        id.
    text_column, label_column : columns of corpus and labeled.
    seed : decides everything random.
    cache : look features up in the feature cache (`textlabel cache`), and keep them there.
    """

    corpus: str
    out: str
    classes: tuple[str, ...] = ()
    labeled: str = ""
    exclude_audit: str = ""
    strategy: str = DEFAULT_STRATEGY
    backbone: str = DEFAULT_BACKBONE
    text_column: tuple[str, ...] = ("text",)
    label_column: str = "label"
    seed: int = 0
    cache: bool = True

    def run(self) -> dict[str, Any]:
        """Write the folder, and return how many rows may be asked.

        Raises
        ------
        ExportError : the folder is there already.
        CorpusError : fewer than two classes, or no row that may be asked.
        """
        from textlabel import registry
        from textlabel.corpus.load import load_corpus

        folder = Path(self.out)
        if folder.exists():
            raise ExportError(f"{folder} is there already: choose another --out, or go on with what is there")
        registry.load("strategy", self.strategy)
        known = self._known()
        names = self.classes or tuple(sorted({row["label"] for row in known}))
        if len(names) < 2 or len(set(names)) < len(names):
            raise CorpusError(f"expected two different classes or more (--classes a,b), got {list(names)}")
        if strange := sorted({row["label"] for row in known} - set(names)):
            raise CorpusError(f"{self.labeled}: label {strange[0]!r}: {nearest(strange[0], names)}")
        rows = load_corpus(self.corpus, text_column=self.text_column)
        taken = {row["text"] for row in known} | self._audited()
        first: dict[str, int] = {}
        for number, text in enumerate(rows["text"][:]):
            if text not in taken:
                first.setdefault(text, number)
        if not first:
            raise CorpusError(f"{self.corpus}: no row is left to ask: all are labeled, or of the audit")
        part = folder.with_name(f".{folder.name}.part")
        rows.select(list(first.values())).select_columns(["id", "text"]).save_to_disk(str(part / CORPUS))
        append(part / LABELED, known)
        settings = {name: getattr(self, name) for name in ("strategy", "backbone", "seed", "cache")}
        write_json(part / SETTINGS, {"format": 1, "classes": list(names), **settings})
        part.replace(folder)
        return {"loop": str(folder), "rows": len(first), "labeled": len(known), "classes": list(names)}

    def _known(self) -> list[dict[str, str]]:
        if not self.labeled:
            return []
        from textlabel.corpus.load import load_corpus

        rows = load_corpus(
            self.labeled, text_column=self.text_column, label_column=self.label_column, label_kind="single"
        )
        return [{"text": row["text"], "label": str(row["label"])} for row in rows]

    def _audited(self) -> set[str]:
        """Return the texts that an audit drew."""
        if not self.exclude_audit:
            return set()
        from textlabel.audit.answers import asked_rows
        from textlabel.audit.seal import open_sealed

        sealed = open_sealed(self.exclude_audit)
        return set(sealed.rows.select(asked_rows(sealed).tolist())["text"][:])


@dataclass(frozen=True)
class Loop:
    """A loop that was started.

    Parameters
    ----------
    folder : that `Start` wrote.

    Raises
    ------
    CorpusError : it is none.
    """

    folder: Path

    def __post_init__(self) -> None:
        if not (self.folder / SETTINGS).is_file():
            raise CorpusError(f"{self.folder}: no {SETTINGS} here; start with `textlabel loop start`")

    @property
    def settings(self) -> dict[str, Any]:
        """What was asked for at the start."""
        return read_json(self.folder / SETTINGS)

    def rows(self) -> Dataset:
        """Return the rows that may be asked."""
        from datasets import load_from_disk

        return load_from_disk(str(self.folder / CORPUS))

    def rounds(self) -> list[dict[str, Any]]:
        """Return the rounds so far."""
        return [read_json(path) for path in numbered(self.folder, "round")]

    def labels(self) -> dict[int, str | None]:
        """Return what was said last of each row: a class, or None where nobody could tell."""
        return {line["row"]: line["label"] for line in read_lines(self.folder / ANSWERS)}

    def propose(self, count: int) -> dict[str, Any]:
        """Write the next round and its sheet, and return where; an open round is given again.

        Raises
        ------
        CorpusError : no row is left.
        """
        with locked(self.folder):
            rounds, said = self.rounds(), self.labels()
            waiting = [row for row in (rounds[-1]["rows"] if rounds else []) if row not in said]
            number = len(rounds)
            if not waiting:
                waiting, told = self._next(count, said, number)
                number += 1
                write_json(self.folder / f"round-{number}.json", {"rows": waiting, **told})
            sheet = self.folder / f"round-{number}.csv"
            sheet.unlink(missing_ok=True)  # made of the round and the answers, never the only copy of either
            self._write(sheet, waiting)
        return {"round": number, "rows": len(waiting), "sheet": str(sheet)}

    def record(self, sheet: str | Path, reviewer: str = "") -> dict[str, int]:
        """Add the answers of a filled sheet; all of them, or none if one row is unfit.

        Raises
        ------
        AuditError : a row that was not proposed, a text that is not the row's, an unknown label.
        """
        from textlabel.audit.answers import sheet_lines

        path, rows = Path(sheet), self.rows()
        proposed = {row for one in self.rounds() for row in one["rows"]}
        said = self.labels()
        records = []
        for where, values in sheet_lines(path, "row"):
            record = self._record(path, where, values, proposed, rows)
            if record is not None and (record["row"] not in said or said[record["row"]] != record["label"]):
                records.append({**record, "reviewer": str(values.get("reviewer") or reviewer)})
        with locked(self.folder):
            append(self.folder / ANSWERS, records)
        undecided = sum(one["label"] is None for one in records)
        return {"answered": len(records) - undecided, "undecided": undecided}

    def status(self) -> dict[str, Any]:
        """Return how far it is, and why a stopping rule would end it, if one would."""
        said, known = self.labels(), read_lines(self.folder / LABELED)
        counts = dict.fromkeys(self.settings["classes"], 0)
        for label in (*said.values(), *(row["label"] for row in known)):
            if label is not None:
                counts[label] += 1
        left = len(self.rows()) - len(said)
        return {
            "rounds": len(self.rounds()),
            "labeled": sum(counts.values()),
            "classes": counts,
            "left": left,
        }

    def export(self, out: str | Path) -> int:
        """Write all labeled rows as csv or jsonl, ready for `fit`, and return how many."""
        from textlabel.audit.draws import write_sheet

        rows, said = self.rows(), self.labels()
        found = [{"id": f"labeled-{i}", **row} for i, row in enumerate(read_lines(self.folder / LABELED), 1)]
        for row, label in said.items():
            if label is not None:
                found.append({"id": rows[row]["id"], "text": rows[row]["text"], "label": label})
        write_sheet(Path(out), found, ("id", "text", "label"))
        return len(found)

    def _next(
        self, count: int, said: Mapping[int, str | None], number: int
    ) -> tuple[list[int], dict[str, Any]]:
        """Return the rows of the next round, and what is told of it."""
        from textlabel.ask import Pool, propose

        settings, known = self.settings, read_lines(self.folder / LABELED)
        code = {name: i for i, name in enumerate(settings["classes"])}
        texts = self.rows()["text"][:]
        features = self._features([*texts, *(row["text"] for row in known)])
        labels = np.full(len(features), -1, np.int64)
        for row, label in said.items():
            labels[row] = code[label] if label is not None else len(code)  # answered, if only by "unsure"
        labels[len(texts) :] = [code[row["label"]] for row in known]
        probabilities, votes = self._model(features, labels, len(code), settings["seed"])
        pool = Pool(features, np.where(labels == len(code), 0, labels), len(code), probabilities, votes)
        seed = settings["seed"] * 1000 + number
        found = propose(pool, count, settings["strategy"], seed).tolist()
        labeled = int(((labels >= 0) & (labels < len(code))).sum())
        return found, {"strategy": settings["strategy"], "seed": seed, "labeled": labeled}

    def _features(self, texts: list[str]) -> Floats:
        from textlabel.engine.feature_cache import cache_folder
        from textlabel.engine.predict import predict
        from textlabel.models.backbone import load_backbone
        from textlabel.models.classifier import Classifier
        from textlabel.progress import bar
        from textlabel.types import LabelSchema

        settings = self.settings
        schema = LabelSchema("single", tuple(settings["classes"]))
        classifier = Classifier(load_backbone(settings["backbone"]), schema).eval()
        with bar("encode rows") as update:
            found = predict(classifier, texts, cache=cache_folder(settings["cache"]), progress=update)
        return found[1].astype(np.float64)

    def _model(
        self, features: Floats, labels: IntArray, k: int, seed: int
    ) -> tuple[Floats | None, Floats | None]:
        """Return what heads of the labeled rows say; None while fewer than two classes are known."""
        from textlabel.engine.replay import heads
        from textlabel.trust.calibration import softmax

        known = np.where(labels < k, labels, -1)
        found = heads(features, known, np.arange(len(known)), k, seed)
        if found is None:
            return None, None
        head, members = found
        votes = np.stack([softmax(one(features)) for one in members]) if members else None
        return softmax(head(features)), votes

    def _write(self, sheet: Path, rows: list[int]) -> None:
        from textlabel.audit.draws import write_sheet

        corpus = self.rows()
        lines = [
            {"row": row, "id": corpus[row]["id"], "text": corpus[row]["text"], "label": None, "note": None}
            for row in rows
        ]
        write_sheet(sheet, lines, SHEET)

    def _record(
        self, path: Path, where: str, values: Mapping[str, Any], proposed: set[int], rows: Dataset
    ) -> dict[str, Any] | None:
        """Return the record of one row of a sheet; None if it is blank."""

        def refuse(column: str, problem: str) -> AuditError:
            return AuditError(f"{path}, {where}, column {column!r}: {problem}. Nothing was imported")

        row, label = str(values["row"]), str(values["label"] or "").strip()
        if not (row.isascii() and row.isdigit()) or int(row) not in proposed:
            raise refuse("row", f"row {row!r} was not proposed")
        if str(values["text"]).split() != rows[int(row)]["text"].split():
            raise refuse("text", f"this is not the text of row {row}; was one column sorted?")
        if not label:
            return None
        names = self.settings["classes"]
        folded = {name.casefold(): name for name in names}
        said = label if label in names else folded.get(label.casefold())
        if said is None and label.casefold().removeprefix("?") not in UNDECIDED:
            raise refuse("label", f"unknown label {label!r}: {nearest(label, [*names, *UNDECIDED])}")
        time = datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="seconds")
        return {"row": int(row), "label": said, "note": values.get("note") or None, "time": time}
