"""A change of classes applied to labeled rows or annotations: people relabel only what they must."""

from __future__ import annotations

import json
import logging
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from textlabel.errors import AuditError, CorpusError, ExportError, RecipeError, nearest
from textlabel.trust.taxonomy import SEPARATOR, Taxonomy, merged, taxonomy_of

if TYPE_CHECKING:
    from datasets import Dataset

    from textlabel.types import LabelKind

#: of the sheet
COLUMNS = ("id", "text", "label", "old_label", "choose_from")


log = logging.getLogger("textlabel")


@dataclass(frozen=True)
class ChangeTaxonomy:
    """Rename, merge, split or drop classes.

    Parameters
    ----------
    changes : TOML or JSON file with tables rename, merge and split, and a list drop.
    labeled : labeled rows (a csv, tsv, jsonl or parquet file, a saved dataset, or a Hub dataset id), or a
        folder that `annotate` or `finish` wrote; in Python a `datasets.Dataset` of labeled rows, too.
    out : of labeled rows a .csv or .jsonl file, of annotations a folder of the same format.
    ask : sheet for the rows of split classes, .csv or .jsonl; needed if there are any.
    answers : that sheet, with labels filled in.
    label_kind : single or multi (several, joined by | in files); a folder tells it itself.
    text_column : column of labeled rows that holds the text.
    label_column : column of labeled rows that holds the label.
    id_column : column of labeled rows that names the row; by default `id` if there is one, else its position.
    """

    changes: str
    labeled: str | Dataset
    out: str
    ask: str = ""
    answers: str = ""
    label_kind: str = "single"
    text_column: str = "text"
    label_column: str = "label"
    id_column: str = ""

    def run(self) -> dict[str, Any]:
        """Write rows and sheet, and return what there is to tell.

        Rows of a split class are in the sheet, and only those; they are in ``out`` once ``answers`` has their
        label. Rows of a dropped class are left out; where rows have several classes, they lose that one.

        In annotations a label becomes its image even where another class is likelier now, because promises
        were made of the label; its confidence is then the new class's probability. A certificate is carried
        over renames and merges, and not over a split or drop: see `textlabel.trust.taxonomy` for why.

        Raises
        ------
        RecipeError : changes that are unfit, or of classes that are not there.
        ExportError : a file is there already, or no ``ask`` for rows that people must relabel.
        CorpusError : rows or answers that cannot be used.
        """
        from textlabel.audit.draws import check_sheet, write_sheet

        change = read_changes(self.changes)
        folder = str(self.labeled) if _is_folder(self.labeled) else ""
        for path in [self.ask] * bool(self.ask) + [self.out] * (not folder):
            check_sheet(Path(path))
        rows, names = self._rows(folder)
        answers = self._answers()
        try:
            moved = Moved.of(rows, names, change, answers)
        except CorpusError as error:
            raise CorpusError(f"{self.answers}, {error}. Nothing was written") from None
        if moved.asked and not self.ask:
            raise ExportError(
                f"{len(moved.asked):,} rows of split classes must be relabeled by people: give a file for "
                "their sheet, --ask FILE"
            )
        told: dict[str, Any] = {
            "rows": len(moved.kept),
            "relabel": len(moved.asked),
            "dropped": moved.dropped,
        }
        told["changed"] = moved.changed
        if folder:
            told |= self._write_folder(folder, rows, moved, change, names)
        else:
            write_sheet(Path(self.out), moved.listed(rows), rows.column_names)
        if self.ask:
            write_sheet(Path(self.ask), moved.sheet(rows), COLUMNS)
        return {**told, "classes": moved.classes, "out": self.out, "ask": self.ask or None}

    def _rows(self, folder: str) -> tuple[Dataset, list[str]]:
        """Return the rows, and the classes that they know or have."""
        from textlabel.corpus.load import load_corpus
        from textlabel.export._read import read_annotations
        from textlabel.types import class_names_of

        if folder:
            rows = read_annotations(folder)
            names = list(class_names_of(rows.features["label"]))
            if not names:
                raise RecipeError(f"{folder}: these are scores, which have no classes to change")
            return rows, names
        if self.label_kind == "score":
            raise RecipeError("label_kind = 'score': scores have no classes to change")
        multi = self.label_kind == "multi"
        rows = load_corpus(
            self.labeled,
            text_column=self.text_column,
            label_column=self.label_column,
            label_kind=cast("LabelKind", self.label_kind),  # checked there
            label_separator=SEPARATOR if multi else None,
            id_column=self.id_column or None,
        )
        labels = rows["label"][:]
        return rows, sorted({name for held in labels for name in held} if multi else set(labels))

    def _answers(self) -> dict[str, tuple[str, str]]:
        """Return {id: (text, label)} of the sheet's rows that have a label."""
        from textlabel.corpus.check import Rejects
        from textlabel.corpus.files import read_file
        from textlabel.corpus.records import joined
        from textlabel.corpus.spool import Spool

        if not self.answers:
            return {}
        spool = Spool()
        part = read_file(Path(self.answers), {}, Rejects("fail"), spool)
        table = joined(spool, [part])
        if missing := [name for name in COLUMNS if name not in table.column_names]:
            raise CorpusError(f"{self.answers}: no column {missing[0]!r}; expected the sheet of --ask")
        return {
            str(row["id"]): (str(row["text"]), str(row["label"]).strip())
            for row in table.to_pylist()
            if row["label"] is not None and str(row["label"]).strip()
        }

    def _write_folder(
        self, folder: str, rows: Dataset, moved: Moved, change: Taxonomy, names: Sequence[str]
    ) -> dict[str, Any]:
        """Write annotations under the new classes, and return what there is to tell of them."""
        from textlabel.audit.seal import seal
        from textlabel.export._read import format_of, read_record
        from textlabel.registry import load

        record = read_record(folder)
        if record["schema"].get("parents"):
            raise RecipeError(f"{folder}: its classes stand in a tree, which a change of classes would break")
        new, likelier = _annotated(rows, moved, change, names)
        certified = record.get("certificate")
        # one by class names old ones
        keeps = change.keeps_promises and (not certified or certified.get("by") != "label")
        schema = {**record["schema"], "names": moved.classes}
        schema.pop("descriptions", None)  # of the old classes
        if change.merge or not change.keeps_promises:
            schema.pop("ordered", None)  # what is a step between classes that are one now?
        record = {
            **record,
            "schema": schema,
            "rows": len(new),
            "certificate": certified if keeps else None,
            "evaluation": None,
            "estimate": None,
            "taxonomy": [*record.get("taxonomy", []), _told(change)],
        }
        if old := record.get("seal"):
            # what else orders rows is made of probabilities, of which a split leaves none
            order_by = old["order_by"] if change.keeps_promises else "confidence"
            record["seal"] = seal(new, order_by=order_by, rejected=old["rejected"])
        load("export", format_of(folder)).write(new, Path(self.out), record)
        told: dict[str, Any] = {"another_class_likelier": likelier, **_left_behind(folder)}
        return told | ({"certificate": "carried over" if keeps else "void"} if certified else {})


def _left_behind(folder: str) -> dict[str, str]:
    """Return what is said of an audit of the old labels, whose answers do not go along."""
    from textlabel.audit.answers import all_answers
    from textlabel.audit.draws import draws
    from textlabel.audit.seal import open_sealed

    try:
        sealed = open_sealed(folder)
    except AuditError:  # labels that were never sealed, or are not the sealed ones
        return {}
    if not draws(sealed):
        return {}
    answered = int(all_answers(sealed).seen.sum())
    told = (
        f"the audit of {folder}, its {answered} answered rows and what they certify stay there; to carry a "
        "certificate over, `textlabel finish` first, and change the classes of the finished corpus"
    )
    log.warning("%s", told)
    return {"audit": told}


def _is_folder(labeled: str | Dataset) -> bool:
    """Return whether these are annotations in a folder."""
    from textlabel.export._folder import RECORD

    return isinstance(labeled, str) and (Path(labeled) / RECORD).is_file()


def read_changes(path: str | Path) -> Taxonomy:
    """Return the changes that a file states.

    Raises
    ------
    RecipeError : it cannot be read, is neither TOML nor JSON, or states unfit changes; told with its name.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        found = json.loads(text) if Path(path).suffix.lower() == ".json" else tomllib.loads(text)
        if not isinstance(found, dict):
            raise RecipeError("expected an object with rename, merge, split and drop")
        return taxonomy_of(found)
    except (OSError, ValueError, RecipeError) as error:
        raise RecipeError(f"{path}: {error}") from None


def _told(change: Taxonomy) -> dict[str, Any]:
    merges = {new: list(names) for new, names in change.merge.items()}
    splits = {old: list(names) for old, names in change.split.items()}
    return {"rename": dict(change.rename), "merge": merges, "split": splits, "drop": list(change.drop)}


@dataclass(frozen=True)
class Moved:
    """What becomes of each row.

    Parameters
    ----------
    classes : the new ones.
    kept : numbers of the rows that have a new label, and ``labels`` theirs: a name, or names.
    asked : {row number: classes to choose from} of those that people must relabel.
    dropped : rows of dropped classes.
    changed : kept rows whose label has another name now.
    several : whether rows may have several classes.
    old : (n,) label of each row before, as name or names.
    answered : numbers of the kept rows that people relabeled.
    """

    classes: list[str]
    kept: list[int]
    labels: list[Any]
    asked: dict[int, list[str]]
    dropped: int
    changed: int
    several: bool
    old: list[Any]
    answered: frozenset[int]

    @classmethod
    def of(
        cls, rows: Dataset, names: Sequence[str], change: Taxonomy, answers: Mapping[str, tuple[str, str]]
    ) -> Moved:
        """Return what becomes of rows; a CorpusError if an answer is of no row or no class."""
        from textlabel.types import class_names_of

        fates, classes = change.fates(names), change.classes(names)
        known = class_names_of(rows.features["label"])
        old = [_named(label, known) for label in rows["label"][:]]
        several = any(isinstance(label, list) for label in old)
        ids, texts = rows["id"][:], rows["text"][:]
        kept: list[int] = []
        labels: list[Any] = []
        asked: dict[int, list[str]] = {}
        used: set[str] = set()
        answered: set[int] = set()
        dropped = changed = 0
        for i, label in enumerate(old):
            parts = label if several else [label]
            if label is None or not any(len(fates[name]) > 1 for name in parts):
                image = list(dict.fromkeys(new for name in parts if label is not None for new in fates[name]))
                if label is not None and not several and not image:
                    dropped += 1
                    continue
                found: Any = image if several else image[0] if image else None
            else:
                name = str(ids[i])
                if name in answers:
                    used.add(name)
                if name not in answers or _undecided(answers[name][1], classes):
                    asked[i] = list(dict.fromkeys(new for part in parts for new in fates[part]))
                    continue
                answered.add(i)
                found = _answer(name, texts[i], answers[name], classes, several)
            kept.append(i)
            labels.append(found)
            changed += found != label
        if strange := set(answers) - used:
            raise CorpusError(f"row {min(strange)!r}, column 'id': it is none that people must relabel")
        return cls(classes, kept, labels, asked, dropped, changed, several, old, frozenset(answered))

    def listed(self, rows: Dataset) -> list[dict[str, Any]]:
        """Return the kept rows with their new label."""
        from textlabel.audit.subsets import as_word

        words = [as_word(label) if self.several else label for label in self.labels]
        return [{**row, "label": word} for row, word in zip(rows.select(self.kept), words, strict=True)]

    def sheet(self, rows: Dataset) -> list[dict[str, Any]]:
        """Return the rows that people must relabel."""
        found = []
        picked = rows.select_columns(["id", "text"]).select(list(self.asked))
        for row, (i, choices) in zip(picked, self.asked.items(), strict=True):
            old = SEPARATOR.join(self.old[i]) if self.several else self.old[i]
            held = {"id": row["id"], "text": row["text"], "label": None, "old_label": old}
            found.append({**held, "choose_from": SEPARATOR.join(choices)})
        return found


def _named(label: Any, names: Sequence[str]) -> Any:
    """Return a label as name or names; None where there is none."""
    if not names or label is None:
        return label
    if isinstance(label, list):
        return [names[y] for y in label]
    return names[label] if label >= 0 else None


def _undecided(label: str, classes: Sequence[str]) -> bool:
    """Return whether a person left a row open, by a word that is no class."""
    from textlabel.corpus.check import UNDECIDED

    return label not in classes and label.casefold().removeprefix("?") in UNDECIDED


def _answer(name: str, expected: str, answer: tuple[str, str], classes: Sequence[str], several: bool) -> Any:
    from textlabel.audit.subsets import as_classes, read_word

    text, label = answer
    if text.split() != expected.split():
        raise CorpusError(f"row {name!r}, column 'text': this is not its text; was one column sorted?")
    try:
        word = read_word(label, classes) if several else label
        if not several and label not in classes:
            raise KeyError(label)
    except KeyError as error:
        part = str(error.args[0])
        hint = nearest(part, classes)
        raise CorpusError(f"row {name!r}, column 'label': unknown class {part!r}: {hint}") from None
    return as_classes(word) if several else word


def _annotated(rows: Dataset, moved: Moved, change: Taxonomy, names: Sequence[str]) -> tuple[Dataset, int]:
    """Return annotations under the new classes, and in how many rows another class is likelier now."""
    from datasets import ClassLabel, Dataset, Features, List

    fates = change.fates(names)
    kept = rows.select(moved.kept)
    columns: dict[str, Any] = {name: kept[name][:] for name in kept.column_names}
    place = {name: i for i, name in enumerate(moved.classes)}
    columns["label"] = [
        None if label is None else sorted(place[x] for x in label) if moved.several else place[label]
        for label in moved.labels
    ]
    columns["prediction_set"] = [
        None if held is None else [new for new in moved.classes if any(new in fates[old] for old in held)]
        for held in columns["prediction_set"]
    ]
    likelier = 0
    if change.keeps_promises:
        likelier = _share_out(columns, moved, fates, names)
    else:  # nobody knows how the probability of a split class is shared
        columns |= {"probabilities": [None] * len(kept), "margin": [None] * len(kept)}
    for i, row in enumerate(moved.kept):
        if row in moved.answered:
            columns["source"][i], columns["decision"][i] = "human", "accepted"
            columns["confidence"][i] = None
    one = ClassLabel(names=moved.classes)
    features = Features({**rows.features, "label": List(one) if moved.several else one})
    return Dataset.from_dict(columns, features=features), likelier


def _share_out(
    columns: dict[str, Any], moved: Moved, fates: Mapping[str, Sequence[str]], names: Sequence[str]
) -> int:
    """Put new probabilities, confidence and margin into columns.

    Returns the number of rows in which another class than the label is likelier.
    """
    there = [i for i, row in enumerate(columns["probabilities"]) if row]
    if not there:
        return 0
    old = np.array([columns["probabilities"][i] for i in there], dtype=np.float64)
    new = merged(old, [fates[name] for name in names], moved.classes, exclusive=not moved.several)
    top = np.sort(new, axis=1)
    likelier = 0
    for i, before, after, sure in zip(there, old, new, top[:, -1] - top[:, -2], strict=True):
        columns["probabilities"][i] = after
        if moved.several:  # confidence in the whole set, and how near a class is to the threshold
            continue
        code, said = columns["label"][i], moved.old[moved.kept[i]]
        if columns["confidence"][i] is not None and said is not None:
            gain = max(0.0, float(after[code]) - float(before[list(names).index(said)]))
            columns["confidence"][i] = min(1.0, columns["confidence"][i] + gain)
        columns["margin"][i] = float(sure)
        likelier += int(after[code] < after.max())
    return likelier
