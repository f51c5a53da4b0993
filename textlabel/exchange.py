"""To a team's own labeling tool and back: annotations or sheets out, answered rows in."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import count as from_zero
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from textlabel.errors import ExportError, nearest
from textlabel.export._tools import Answer, Task, number, task_of
from textlabel.types import LabelKind

if TYPE_CHECKING:
    from datasets import Dataset

#: what labeled rows have
COLUMNS = ("id", "text", "label", "reviewers")
KINDS = ("single", "multi", "score")


@dataclass(frozen=True)
class ToTool:
    """Write annotations, the rows of a sheet, or texts without labels for a labeling tool.

    Parameters
    ----------
    source : folder that `textlabel annotate` wrote; or, with `classes` or kind score, texts to label: a csv,
        tsv, jsonl or parquet file, a saved dataset, or a Hub dataset id.
    to : label_studio, argilla, doccano or prodigy; without a sheet any other format, too
        (`textlabel plugins export`).
    out : folder to write; only annotations replace an earlier one.
    sheet : only the texts of this sheet of the folder (`audit draw`, `todo`), without the model's label.
    classes : that texts without labels may get.
    kind : of these labels: single (one class a text), multi (any number of them) or score.
    text_column : column that holds the text of texts without labels.
    """

    source: str | Dataset
    to: str
    out: str
    sheet: str = ""
    classes: tuple[str, ...] = ()
    kind: str = "single"
    text_column: str = "text"

    def run(self) -> dict[str, Any]:
        """Write the files and return what there is to tell.

        Raises
        ------
        CorpusError : no annotations, or the sheet cannot be read.
        ExportError : no such format; no sheet of textlabel's; the files cannot be written.
        """
        from textlabel.export._read import read_annotations, read_record, tool_of
        from textlabel.registry import load

        if self.classes or not isinstance(self.source, str) or self.kind == "score":
            asked, task = self._texts()
            tool_of(self.to).ask(asked, Path(self.out), task)
            return {"texts": len(asked), "labels_shown": False, "out": self.out}
        rows, record = read_annotations(self.source), read_record(self.source)
        if self.sheet:
            asked = sheet_rows(self.sheet)
            tool_of(self.to).ask(asked, Path(self.out), task_of(rows.features, record))
            return {"texts": len(asked), "labels_shown": False, "out": self.out}
        plugin = load("export", self.to)
        if not hasattr(plugin, "FILE"):
            raise ExportError(f"format {self.to!r} writes no folder: choose another")
        plugin.write(rows, Path(self.out), record)
        return {"texts": len(rows), "labels_shown": True, "out": self.out}

    def _texts(self) -> tuple[list[dict[str, Any]], Task]:
        """Return id and text of texts without labels, and what people shall say of them."""
        from textlabel.audit.subsets import SEPARATOR
        from textlabel.corpus.load import load_corpus

        if self.sheet:
            raise ExportError("a sheet is of a folder, which knows its classes: leave classes and kind out")
        if self.kind not in KINDS:
            raise ExportError(f"kind = {self.kind!r}: {nearest(self.kind, KINDS)}")
        few = self.kind != "score" and len(self.classes) < 2
        if few or (self.kind == "score" and self.classes) or len(set(self.classes)) < len(self.classes):
            raise ExportError(
                f"classes {list(self.classes)} of kind {self.kind!r}: expected two different classes or "
                "more, and none for scores"
            )
        joins = SEPARATOR if self.kind == "multi" else "\0"
        if bad := [name for name in self.classes if not name.strip() or joins in name]:
            raise ExportError(
                f"class {bad[0]!r}: expected a name that is not blank and, of kind multi, "
                f"without {SEPARATOR!r}, which joins several labels"
            )
        rows = load_corpus(self.source, text_column=self.text_column)
        return rows.select_columns(["id", "text"]).to_list(), Task(self.kind, self.classes)


def _last_of_each(said: list[Answer]) -> list[Answer]:
    """Return the answers but those that the same person, by name, replaced with a later one."""
    last = {one.reviewer: place for place, one in enumerate(said) if one.reviewer}
    return [one for place, one in enumerate(said) if last.get(one.reviewer, place) == place]


def sheet_rows(path: str | Path) -> list[dict[str, Any]]:
    """Return mark, id and text of each row of a sheet; nothing else of it, for it may show a model's label.

    Raises
    ------
    ExportError : not a sheet that textlabel wrote.
    CorpusError : it cannot be read.
    """
    from textlabel.corpus.check import SHEET_COLUMN, Rejects
    from textlabel.corpus.files import read_file
    from textlabel.corpus.records import joined
    from textlabel.corpus.spool import Spool

    spool = Spool()
    part = read_file(Path(path), {}, Rejects("fail"), spool)
    table = joined(spool, [part])
    wanted = [SHEET_COLUMN, "id", "text"]
    if missing := [name for name in wanted if name not in table.column_names]:
        raise ExportError(f"{path}: no column {missing[0]!r}; expected a sheet that textlabel wrote")
    return [dict(row) for row in table.select(wanted).to_pylist()]


@dataclass(frozen=True)
class FromTool:
    """Turn what a labeling tool exported into labeled rows for `fit`.

    Parameters
    ----------
    source : the file that the tool exported.
    tool : label_studio, argilla, doccano or prodigy.
    out : file to write, .csv or .jsonl; none is replaced.
    kind : single, multi or score; by default what the answers look like: multi if one has several labels.
    text_column, label_column : what the tool's project calls text and label.
    """

    source: str
    tool: str
    out: str = ""
    kind: str = ""
    text_column: str = "text"
    label_column: str = "label"

    def run(self) -> dict[str, Any]:
        """Write the labeled rows and return what there is to tell.

        Raises
        ------
        ExportError : see `rows`, or the rows cannot be written there.
        """
        from textlabel.audit.draws import check_sheet, write_sheet

        check_sheet(Path(self.out))
        rows, told = self.settled()
        write_sheet(Path(self.out), rows, COLUMNS)
        return {**told, "out": self.out}

    def dataset(self) -> Dataset:
        """Return the labeled rows, as `Labeler.fit` takes them; an ExportError as of `settled`."""
        from datasets import Dataset

        rows, _ = self.settled()
        names = list(rows[0]) if rows else list(COLUMNS)
        return Dataset.from_dict({name: [row[name] for row in rows] for name in names})

    def settled(self) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Return one row for each text that people settled, and counts.

        The majority of the reviewers of a text decides (the median, for scores); a tie, or as many who did
        not decide as those who did, leaves it open. A row of an audit sheet keeps its mark, by which `fit`
        refuses it.

        Raises
        ------
        ExportError : not such a file; several labels where one is expected; one id with two texts.
        """
        from textlabel.corpus.check import SHEET_COLUMN

        texts, kind = self.given()
        rows: list[dict[str, Any]] = []
        taken = {str(name) for given in texts if (name := given[0].keys.get("id")) is not None}
        numbers = (str(place) for place in from_zero() if str(place) not in taken)
        open_, blank = 0, 0
        for given in texts:
            said = _last_of_each([one for one in given if one.state or one.labels is not None])
            label = self._majority(said, kind)
            blank += not said
            open_ += bool(said) and label is None
            if label is None:
                continue
            first = given[0]
            names = ", ".join(dict.fromkeys(one.reviewer for one in said if one.reviewer))
            mark = first.keys.get(SHEET_COLUMN)
            name = first.keys.get("id")
            row = {"id": str(name) if name is not None else next(numbers), "text": first.text, "label": label}
            rows.append({**row, "reviewers": names, **({SHEET_COLUMN: mark} if mark else {})})
        if len({tuple(row) for row in rows}) > 1:  # some bear a mark: a table has one set of columns
            rows = [{SHEET_COLUMN: "", **row} for row in rows]
        return rows, {"texts": len(texts), "labeled": len(rows), "open": open_, "blank": blank, "kind": kind}

    def given(self) -> tuple[list[list[Answer]], LabelKind]:
        """Return the answers to each text, and their kind; an ExportError if one id has two texts."""
        from textlabel.export._read import answers_of

        found = list(answers_of(self.source, self.tool, self.text_column, self.label_column))
        texts = defaultdict(list)
        for one in found:
            texts[self._key(one)].append(one)
        for given in texts.values():
            self._same_text(given)
        return list(texts.values()), self._kind(found)

    def _key(self, answer: Answer) -> tuple[str, str]:
        """Return what answers to one text share."""
        name = answer.keys.get("id")
        return ("id", str(name)) if name is not None else ("text", answer.text)

    def _same_text(self, given: list[Answer]) -> None:
        first = given[0]
        for one in given:
            if one.text != first.text:
                raise ExportError(
                    f"{self.source}, {one.where}, field 'text': another text than in {first.where}, "
                    f"which has the same id {one.keys.get('id')!r}; ids must name one text"
                )

    def _kind(self, found: list[Answer]) -> LabelKind:
        if self.kind and self.kind not in KINDS:
            raise ExportError(f"kind = {self.kind!r}: {nearest(self.kind, KINDS)}")
        said = [one.labels for one in found if one.labels is not None and not one.state]
        looks = "single"
        if any(len(labels) > 1 for labels in said):
            looks = "multi"
        elif said and all(isinstance(label, int | float) for labels in said for label in labels):
            looks = "score"
        return cast("LabelKind", self.kind or looks)

    def _majority(self, said: list[Answer], kind: LabelKind) -> str | float | None:
        """Return what most say of a text; None if that is open."""
        words = [self.word(one, kind) for one in said]
        if kind == "score":
            places = zip(said, words, strict=True)
            path = Path(self.source)
            scores = [number(path, one.where, "label", word) for one, word in places if word is not None]
            return float(np.median(scores)) if 2 * len(scores) > len(words) else None
        votes = {word: words.count(word) for word in words}
        most = [word for word, count in votes.items() if count == max(votes.values())]
        return most[0] if len(most) == 1 else None

    def word(self, answer: Answer, kind: LabelKind) -> str | None:
        """Return an answer as one word, several classes joined by ``|``; None if it decides nothing."""
        from textlabel.audit.subsets import SEPARATOR, as_word

        if answer.state or answer.labels is None:
            return None
        said = [str(label) for label in answer.labels]
        if kind == "multi":
            if bad := [name for name in said if SEPARATOR in name]:
                problem = f"{bad[0]!r} holds {SEPARATOR!r}, which joins several labels"
                raise ExportError(f"{self.source}, {answer.where}, field 'label': {problem}")
            return as_word(sorted(said))
        if len(said) != 1:
            problem = f"expected one label, got {said}; for several use kind = multi"
            raise ExportError(f"{self.source}, {answer.where}, field 'label': {problem}")
        return said[0]
