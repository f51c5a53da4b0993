"""The difference between two versions of a corpus: rows that came or went, and what changed in the others."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from textlabel.errors import CorpusError
from textlabel.types import class_names_of, kind_of

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

    from textlabel.types import LabelKind

#: of the list
COLUMNS = ("change", "id", "text_before", "text", "label_before", "label", "confidence_before", "confidence")
#: how far a confidence must move to be counted
MOVED = 0.05


@dataclass(frozen=True)
class Diff:
    """Tell what differs between two versions of a corpus, row by row of the same id.

    Parameters
    ----------
    before, after : folder that `annotate` wrote, or labeled rows: a csv, tsv, jsonl or parquet file, a saved
        dataset, or a Hub dataset id; in Python a `datasets.Dataset`, too.
    out : file for all rows that differ, .csv or .jsonl; none is replaced.
    label_kind : single, multi or score, of labeled rows; folders tell it themselves.
    text_column : column of labeled rows that holds the text.
    label_column : column of labeled rows that holds the label.
    id_column : column of labeled rows that names the row; by default `id`. Positions are no names here.
    shown : sample rows of each change in the summary.
    """

    before: str | Dataset
    after: str | Dataset
    out: str = ""
    label_kind: str = "single"
    text_column: str = "text"
    label_column: str = "label"
    id_column: str = "id"
    shown: int = 5

    def run(self) -> dict[str, Any]:
        """Write the list, if one is wanted, and return what there is to tell.

        Raises
        ------
        CorpusError : rows that cannot be read, or have no ids of their own, or one twice.
        ExportError : the list cannot be written there.
        """
        from textlabel.audit.draws import check_sheet, write_sheet

        if self.out:
            check_sheet(Path(self.out))
        told = compare(self._table(self.before), self._table(self.after))
        if self.out:
            write_sheet(Path(self.out), [row for rows in told.rows.values() for row in rows()], COLUMNS)
        samples = {change: rows(self.shown) for change, rows in told.rows.items()}
        return {**told.counts, "samples": samples, "out": self.out or None}

    def _table(self, source: str | Dataset) -> pa.Table:
        """Return id, text, label and confidence of a version."""
        from textlabel.corpus.load import load_corpus
        from textlabel.export._folder import RECORD
        from textlabel.export._read import read_annotations

        if not isinstance(source, str):
            named = (self.id_column, self.text_column, self.label_column) == ("id", "text", "label")
            if named and {"id", "text", "label"} <= set(source.column_names):
                if source.data.column("id").null_count:
                    raise CorpusError(
                        "a row has no id: give each one of its own, by which versions are compared"
                    )
                return table_of(source)
        elif (Path(source) / RECORD).is_file():
            return table_of(read_annotations(source))
        return table_of(
            load_corpus(
                source,
                text_column=self.text_column,
                label_column=self.label_column,
                label_kind=cast("LabelKind", self.label_kind),  # checked there
                label_separator="|" if self.label_kind == "multi" else None,
                id_column=self.id_column,
            )
        )


def table_of(rows: Dataset) -> pa.Table:
    """Return id, text, label as text (several joined by ``|``) and confidence of labeled rows."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from textlabel.audit.subsets import as_word

    feature = rows.features["label"]
    names = list(class_names_of(feature))
    wanted = [name for name in ("id", "text", "label", "confidence") if name in rows.column_names]
    found = rows.select_columns(wanted).with_format("arrow")[:]
    label = found.column("label").combine_chunks()
    if pa.types.is_list(label.type) or pa.types.is_large_list(label.type):
        values = label.to_pylist()
        words = [
            None if held is None else as_word(sorted(names[y] if names else y for y in held))
            for held in values
        ]
        label = pa.array(words, pa.string())
    elif kind_of(feature) == "single":
        codes = pc.if_else(pc.less(label, 0), None, label)  # -1 is no label
        label = pa.array(names, pa.string()).take(codes)
    none = pa.nulls(len(rows), pa.float64())
    confidence = found.column("confidence").cast(pa.float64()) if "confidence" in wanted else none
    return pa.table(
        {
            "id": found.column("id").cast(pa.string()),
            "text": found.column("text").cast(pa.string()),
            "label": label.cast(pa.float64() if pa.types.is_floating(label.type) else pa.string()),
            "confidence": confidence,
        }
    )


@dataclass(frozen=True)
class Difference:
    """What differs: counts, and for each change a function that returns its first rows, or all."""

    counts: dict[str, Any]
    rows: dict[str, Any]


def compare(before: pa.Table, after: pa.Table) -> Difference:
    """Return what differs between two tables of `table_of`.

    A confidence counts as moved where it changed by more than 0.05; one that is missing on a side does not.

    Raises
    ------
    CorpusError : an id twice.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    for table, name in ((before, "before"), (after, "after")):
        _refuse_copies(table, name)
    before, after = before.combine_chunks(), after.combine_chunks()
    place = pc.index_in(after.column("id"), before.column("id").combine_chunks()).combine_chunks()
    both = np.asarray(pc.is_valid(place))
    here, there = np.flatnonzero(both), place.drop_null().to_numpy().astype(np.int64)
    old, new = before.take(pa.array(there)), after.take(pa.array(here))
    gone = np.setdiff1d(np.arange(len(before)), there)
    changed = {name: _differs(old.column(name), new.column(name)) for name in ("text", "label")}
    moved = np.asarray(new.column("confidence")) - np.asarray(old.column("confidence"))
    far = np.abs(np.nan_to_num(moved)) > MOVED
    picks = {
        "text_changed": np.flatnonzero(changed["text"]),
        "label_changed": np.flatnonzero(changed["label"]),
        "confidence_moved": np.flatnonzero(far),
    }
    relabeled = picks["label_changed"]
    pairs = zip(
        old.column("label").take(pa.array(relabeled)).to_pylist(),
        new.column("label").take(pa.array(relabeled)).to_pylist(),
        strict=True,
    )
    known = moved[~np.isnan(moved)]
    counts = {
        "rows_before": len(before),
        "rows": len(after),
        "added": int(np.sum(~both)),
        "gone": len(gone),
        **{change: len(rows) for change, rows in picks.items()},
        "confidence_change": round(float(known.mean()), 4) if len(known) else None,
        "confusion": [
            {"before": was, "after": now, "rows": count} for (was, now), count in Counter(pairs).most_common()
        ],
    }

    def listed(change: str, a: pa.Table | None, b: pa.Table | None, rows: Any) -> Any:
        def some(most: int | None = None) -> list[dict[str, Any]]:
            return _rows(change, a, b, rows[:most])

        return some

    return Difference(
        counts,
        {
            "added": listed("added", None, after, np.flatnonzero(~both)),
            "gone": listed("gone", before, None, gone),
            **{change: listed(change, old, new, rows) for change, rows in picks.items()},
        },
    )


def _refuse_copies(table: pa.Table, name: str) -> None:
    import pyarrow.compute as pc

    if pc.count_distinct(table.column("id"), mode="all").as_py() < len(table):
        counts = table.column("id").value_counts().to_pylist()
        twice = next(one["values"] for one in counts if one["counts"] > 1)
        raise CorpusError(f"{name}: id {twice!r} occurs twice; rows are compared by id: make ids differ")


def _differs(old: Any, new: Any) -> Any:
    """Return (n,) whether two columns differ; two missing values do not."""
    import pyarrow.compute as pc

    if old.type != new.type:
        raise CorpusError(
            f"labels before are of type {old.type}, after of {new.type}; expected the same kind of label"
        )
    other = np.asarray(pc.fill_null(pc.not_equal(old, new), False))
    return other | (np.asarray(pc.is_null(old)) != np.asarray(pc.is_null(new)))


def _rows(change: str, before: pa.Table | None, after: pa.Table | None, rows: Any) -> list[dict[str, Any]]:
    """Return rows of a change as they are listed."""
    import pyarrow as pa

    at = pa.array(rows)
    was = before.take(at).to_pylist() if before is not None else [{}] * len(rows)
    now = after.take(at).to_pylist() if after is not None else [{}] * len(rows)
    return [
        {
            "change": change,
            "id": b.get("id", a.get("id")),
            "text_before": a.get("text"),
            "text": b.get("text"),
            "label_before": a.get("label"),
            "label": b.get("label"),
            "confidence_before": a.get("confidence"),
            "confidence": b.get("confidence"),
        }
        for a, b in zip(was, now, strict=True)
    ]
