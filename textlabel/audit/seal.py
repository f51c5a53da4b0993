"""The seal: labels, order and population as they were before anybody drew a row to check.

A certificate speaks about fixed labels in a fixed order. So `annotate` writes a digest of both beside the
rows, and whatever is drawn, answered or certified later first recomputes it. It also fixes the *population*:
every row that the model labeled. Rows that people labeled beforehand (``source`` is ``human``) are outside
it, and so are rejected rows, which have no label; out-of-scope rows stay in, and come last.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from textlabel.audit.store import FOLDER, LOG, on_disk, read_lines
from textlabel.audit.subsets import words_of
from textlabel.corpus.spool import pieces
from textlabel.errors import AuditError, nearest
from textlabel.registry import plugins
from textlabel.trust.certificate import Audit, Bools, Floats, Ints, ranking
from textlabel.trust.scores import Evidence, order_score, told_by_rows
from textlabel.types import COLUMNS, class_names_of, kind_of

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

#: decides the order within ties; any number fixed before the draw will do
TIE_SEED = 20_250_611
#: texts of which copies are in memory at a time
TEXTS = 1 << 10


def seal(rows: Dataset, *, order_by: str = "confidence", rejected: int | None = None) -> dict[str, Any]:
    """Return the seal of annotated rows, JSON-ready, for the record that is exported with them.

    Parameters
    ----------
    rows : annotated rows.
    order_by : numeric column, or confidence score (`textlabel plugins score`), by which rows are accepted,
        the highest first; ``-NAME``: the lowest first.
    rejected : input rows that were left out and have no label; None: unknown.

    Raises
    ------
    AuditError : no such column.
    """
    inside = population(rows)
    return {
        "labels": _labels_digest(rows, _order(rows, inside, order_by)),
        "corpus": _corpus_digest(rows),
        "columns": {name: _strings_digest(rows, name) for name in groupable(rows)},
        "order_by": order_by,
        "population": len(inside),
        "gold": len(rows) - len(inside),
        "rejected": rejected,
        "out_of_scope": int(np.sum(_out_of_scope(rows)[inside])),
    }


@dataclass(frozen=True)
class Sealed:
    """A folder of annotations whose labels and order are still the sealed ones.

    Parameters
    ----------
    folder : where the annotations are.
    rows : all N annotated rows, in corpus order.
    record : the provenance record, with its ``seal``.
    order : (n,) row numbers of the population, from the surest to the least sure.
    """

    folder: Path
    rows: Dataset
    record: dict[str, Any]
    order: Ints

    @property
    def n(self) -> int:
        """Rows in the population."""
        return len(self.order)

    @property
    def audit_folder(self) -> Path:
        """Where draws, answers and certificates are kept."""
        return self.folder / FOLDER

    @property
    def seal(self) -> dict[str, Any]:
        """The seal that `annotate` wrote."""
        seal: dict[str, Any] = self.record["seal"]
        return seal

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; empty for scores."""
        return class_names(self.rows)

    @property
    def several(self) -> bool:
        """Whether a row may carry several classes, or none."""
        return kind_of(self.rows.features["label"]) == "multi"

    @cached_property
    def names(self) -> tuple[str, ...]:
        """What a label is one of: a class, or a set of classes as one word; nothing for scores.

        Sets are first those that the model found, sorted, then those that people added, in their order.
        """
        if not self.several:
            return self.classes
        answers = (line["label"] for line in read_lines(self.audit_folder / LOG))
        return tuple(dict.fromkeys([*sorted(set(words_of(self.rows))), *filter(None, answers)]))

    @property
    def rank(self) -> Ints:
        """(N,) place of each row in the order; -1 outside the population."""
        rank = np.full(len(self.rows), -1, dtype=np.int64)
        rank[self.order] = np.arange(self.n)
        return rank

    @cached_property
    def labels(self) -> npt.NDArray[Any]:
        """(N,) places among ``names``, or scores."""
        if not self.several:
            return column(self.rows, "label")
        place = {word: i for i, word in enumerate(self.names)}
        return np.array([place[word] for word in words_of(self.rows)], dtype=np.int64)

    @property
    def in_scope(self) -> int:
        """Rows of the population that are not out of scope; they are the first in the order."""
        return self.n - int(np.sum(_out_of_scope(self.rows)[self.order]))

    @property
    def expected_error(self) -> Floats | None:
        """(n,) share of wrong labels that the sealed confidence expects at each rank; None for scores."""
        sure = column(self.rows, "confidence")[self.order]
        return None if np.isnan(sure.astype(np.float64)).any() else 1 - sure.astype(np.float64)

    def audit(self, ranks: Ints, wrong: Bools, among: Ints | None = None) -> Audit:
        """Return the audit of the population, or of the ranks ``among`` it (ascending), renumbered from 0."""
        expected = self.expected_error
        if among is None:
            return Audit(self.n, ranks, wrong, self.in_scope, expected)
        inside = np.isin(ranks, among)
        return Audit(
            len(among),
            np.searchsorted(among, ranks[inside]),
            wrong[inside],
            int(np.sum(among < self.in_scope)),
            None if expected is None else expected[among],
        )


def open_sealed(folder: str | Path) -> Sealed:
    """Return the sealed annotations of a folder.

    Raises
    ------
    CorpusError : no annotations there.
    AuditError : the folder is a URL; they bear no seal; labels, order or texts are not the sealed ones any
        more.
    """
    from textlabel.export._read import read_annotations, read_record

    path = on_disk(folder)
    record = read_record(path)
    if "seal" not in record:
        done = record.get("certificate") is not None
        raise AuditError(
            f"{path}: this corpus is finished; audit the annotations that it was made of"
            if done
            else f"{path}: these annotations are not sealed; annotate again with this version of textlabel"
        )
    rows, seal = read_annotations(path), record["seal"]
    order = _order(rows, population(rows), seal["order_by"])
    if _corpus_digest(rows) != seal["corpus"]:
        raise AuditError(f"{path}: ids or texts were changed since they were annotated; {_AGAIN}")
    if _labels_digest(rows, order) != seal["labels"]:
        raise AuditError(f"{path}: labels or their order were changed since they were annotated; {_AGAIN}")
    for name in groupable(rows):
        if _strings_digest(rows, name) != seal["columns"].get(name):
            raise AuditError(f"{path}, column {name!r} was changed since it was annotated; {_AGAIN}")
    return Sealed(path, rows, record, order)


_AGAIN = (
    "what is drawn or certified holds for the sealed rows only: restore them, or annotate anew and audit that"
)


def groupable(rows: Dataset) -> list[str]:
    """Return the columns by which groups can be made: the input's own, of plain values."""
    return [
        name
        for name, feature in rows.features.items()
        if name not in COLUMNS
        and type(feature).__name__ in ("Value", "ClassLabel")
        and "binary" not in feature.dtype
    ]


def class_names(rows: Dataset) -> tuple[str, ...]:
    """Return the class names of annotated rows; empty for scores."""
    return class_names_of(rows.features["label"])


def column(rows: Dataset, name: str) -> npt.NDArray[Any]:
    """Return a column as an array (N,); missing numbers are NaN."""
    array: npt.NDArray[Any] = _arrow(rows, name).to_numpy()
    return array


def _arrow(rows: Dataset, name: str) -> pa.ChunkedArray:
    return rows.select_columns(name).with_format("arrow")[:].column(name)


def _equal(rows: Dataset, name: str, value: str) -> Bools:
    import pyarrow.compute as pc

    same: Bools = pc.equal(_arrow(rows, name), value).to_numpy()
    return same


def population(rows: Dataset) -> Ints:
    """Return the numbers (n,) of the rows that a model or rules labeled, which a certificate is about."""
    return np.flatnonzero(_equal(rows, "source", "model") | _equal(rows, "source", "rule"))


def _out_of_scope(rows: Dataset) -> Bools:
    return _equal(rows, "decision", "out_of_scope")


def _order(rows: Dataset, population: Ints, order_by: str) -> Ints:
    values = _sureness(rows, order_by.removeprefix("-"))[population]
    sure = -values if order_by.startswith("-") else values
    return population[ranking(sure, _out_of_scope(rows)[population], seed=TIE_SEED)]


def _sureness(rows: Dataset, name: str) -> Floats:
    """Return a column of numbers (N,), or a confidence score made of the row's probabilities."""
    if name in rows.column_names:
        try:
            values: Floats = column(rows, name).astype(np.float64)
        except (TypeError, ValueError):
            raise AuditError(f"order_by = {name!r}: expected a column of numbers") from None
        if np.isinf(values).any():
            raise AuditError(f"order_by = {name!r}: expected finite numbers, row {np.isinf(values).argmax()}")
        return values
    kind = kind_of(rows.features["label"])
    if name in plugins("score") and kind == "single":
        if not told_by_rows(name):
            raise AuditError(
                f"order_by = {name!r} asks the model, and these rows lack what it says: annotate with "
                f"order_by = {name!r}, which makes a column of it"
            )
        flat = [chunk.flatten().to_numpy() for chunk in _arrow(rows, "probabilities").chunks]
        probabilities = np.concatenate(flat).astype(np.float64).reshape(len(rows), -1)
        return order_score(name, Evidence(probabilities, column(rows, "ood_score")))
    check_order_by(name, rows.column_names)
    lack = "scores have no probabilities" if kind == "score" else "rows may carry several classes"
    raise AuditError(f"order_by = {name!r}: {lack}; name a column of numbers")


def check_order_by(order_by: str, columns: Iterable[str]) -> None:
    """Raise an `AuditError` unless ``order_by`` names one of ``columns`` or a confidence score."""
    known = [*columns, *plugins("score")]
    if order_by.removeprefix("-") not in known:
        raise AuditError(f"order_by = {order_by!r}: no such column or score: {nearest(order_by, known)}")


def _corpus_digest(rows: Dataset) -> str:
    return _strings_digest(rows, "id", "text")


def _labels_digest(rows: Dataset, order: Ints) -> str:
    """Return the digest of labels, their names, their order, confidence, and what is in scope."""
    names = np.frombuffer(repr(class_names(rows)).encode(), np.uint8)
    sure = column(rows, "confidence").astype(np.float64)
    return _digest(names, *_labels(rows), order, sure, _out_of_scope(rows))


def _labels(rows: Dataset) -> Iterator[npt.NDArray[Any]]:
    """Yield the labels (N,); of lists of labels how many each row has (N,), and all of them."""
    import pyarrow.compute as pc

    if kind_of(rows.features["label"]) == "multi":
        lists = _arrow(rows, "label")
        yield pc.list_value_length(lists).to_numpy()
        yield pc.list_flatten(lists).to_numpy()
    else:
        yield column(rows, "label")


def _strings_digest(rows: Dataset, *names: str) -> str:
    """Return the digest of the lengths (N,) and the bytes of columns, however these are cut into chunks."""
    digest = hashlib.sha256()
    for name in names:
        digest.update(len(rows).to_bytes(8, "little"))
        size = 0
        for lengths, _ in _strings(rows, name):
            digest.update(lengths.data)
            size += int(lengths.sum())
        digest.update(size.to_bytes(8, "little"))
        for _, content in _strings(rows, name):
            digest.update(content.data)
    return digest.hexdigest()


def _strings(rows: Dataset, name: str) -> Iterator[tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
    """Yield the lengths and the bytes of some rows of a column at a time, as strings."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for piece in pieces(pa.table({name: _arrow(rows, name)}), TEXTS):
        values = piece.column(name)
        if pa.types.is_floating(values.type):  # in JSON not a number is nothing
            values = pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)
        texts = values.cast(pa.large_string()).fill_null("\0")
        whole = texts.cast(pa.large_binary()).combine_chunks()
        _, offsets, data = whole.buffers()
        ends = np.frombuffer(offsets, np.int64)[whole.offset : whole.offset + len(whole) + 1]
        content = np.frombuffer(data, np.uint8) if data else np.zeros(0, np.uint8)
        yield np.diff(ends), content[ends[0] : ends[-1]]


def _digest(*arrays: npt.NDArray[Any]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(len(array).to_bytes(8, "little"))
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
