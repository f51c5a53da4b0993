"""Rows to Arrow, with where every row came from.

Readers yield `Record` after `Record`; `collect` turns them into Arrow tables of 50,000 rows, which a
`Spool` keeps. A value that does not fit its column makes the row a bad one instead of changing the column.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from textlabel.corpus.check import SHEET_COLUMN, Reject, Rejects
from textlabel.corpus.spool import Spool
from textlabel.errors import CorpusError
from textlabel.types import IntArray

if TYPE_CHECKING:
    import pyarrow as pa

CHUNK = 50_000
Kinds = dict[str, str]


class Fault(NamedTuple):
    """What is wrong with a record, and in which column (None: in all of it)."""

    column: str | None
    problem: str


class Record(NamedTuple):
    """One row as read: where it starts, its columns (or, with a fault, whatever was there)."""

    row: int
    values: Any
    fault: Fault | None = None


@dataclass(frozen=True)
class Part:
    """The rows of one file.

    Parameters
    ----------
    file : what an error calls it.
    tables : how many tables of the spool hold its n usable rows.
    rows : (n,) where a person finds each: its line in a text file, else its number from 1.
    ordinals : (n,) position of each among the ``total`` rows read, bad ones included; from 0.
    """

    file: str
    tables: int
    rows: IntArray
    ordinals: IntArray
    total: int


def whole(file: str, tables: int, total: int) -> Part:
    """Return the part of ``total`` rows, all of them usable, in so many tables."""
    ordinals = np.arange(total)
    return Part(file, tables, ordinals + 1, ordinals, total)


def plain(table: pa.Table, name: str) -> pa.Table:
    """Return ``table`` with dictionary-encoded columns (pandas categories) as plain ones."""
    import pyarrow as pa

    twice = [column for i, column in enumerate(table.column_names) if column in table.column_names[:i]]
    if twice:
        raise CorpusError(f"{name}, column {twice[0]!r}: two columns have this name; rename one of them")
    for i, column in enumerate(table.schema):
        if pa.types.is_dictionary(column.type):
            table = table.set_column(i, column.name, table.column(i).cast(column.type.value_type))
    return table


def _kind(dtype: pa.DataType) -> str | None:
    """Return what must not be mixed within a column; None for a column without a value."""
    import pyarrow as pa

    if pa.types.is_null(dtype):
        return None
    tests: dict[str, Callable[[Any], bool]] = {
        "string": lambda t: pa.types.is_string(t) or pa.types.is_large_string(t),
        "number": lambda t: pa.types.is_integer(t) or pa.types.is_floating(t),
        "list": pa.types.is_list,
        "object": pa.types.is_struct,
    }
    return next((name for name, test in tests.items() if test(dtype)), str(dtype))


def _misfit(value: Any, kind: str | None) -> str | None:
    """Return why ``value`` cannot stand in a column of ``kind``; None if it can."""
    import pyarrow as pa

    try:
        found = _kind(pa.scalar(value).type)
    except UnicodeEncodeError:
        return "holds half of a surrogate pair, which is not a character"
    except (pa.ArrowException, OverflowError) as error:
        return f"holds a value that Arrow cannot store: {error}"
    if found is None or kind is None or found == kind:
        return None
    shown = repr(value) if len(repr(value)) < 60 else f"a {found}"
    return f"expected a {kind}, got {shown}"


def _column(values: list[Any], name: str, kinds: Kinds, file: str) -> tuple[Any, dict[int, str]]:
    """Return ``values`` as an Arrow array, or None and what is wrong with which of them."""
    import pyarrow as pa

    reason = "holds values of several types"
    try:
        array = pa.array(values)
        kind = _kind(array.type)
        if kind is None or kinds.setdefault(name, kind) == kind:
            return array, {}
    except (pa.ArrowException, OverflowError, UnicodeEncodeError) as error:
        reason = str(error)
    problems: dict[int, str] = {}
    for i, value in enumerate(values):
        if problem := _misfit(value, kinds.get(name)):
            problems[i] = problem
        elif value is not None:
            kinds.setdefault(name, _kind(pa.scalar(value).type) or "")
    if not problems:
        raise CorpusError(f"{file}, column {name!r}: {reason}; give every row a value of the same type")
    return None, problems


def _table(records: list[Record], kinds: Kinds, file: str) -> tuple[pa.Table, dict[int, Fault]]:
    """Return the table of sound ``records``, or the faults of those that are not."""
    import pyarrow as pa

    names = dict.fromkeys(chain.from_iterable(record.values for record in records))
    arrays: dict[str, pa.Array] = {}
    faults: dict[int, Fault] = {}
    for name in names:
        values = [record.values.get(name) for record in records]
        arrays[name], problems = _column(values, name, kinds, file)
        faults |= {i: Fault(name, problem) for i, problem in problems.items() if i not in faults}
    return (None if faults else pa.table(arrays)), faults


def _sheet_as_text(record: Record) -> Record:
    """Return a row of a sheet with numbers as text, as in csv: beside a number there may be "unsure"."""
    if record.fault or SHEET_COLUMN not in record.values:
        return record
    return record._replace(values={name: _number_as_text(value) for name, value in record.values.items()})


def _number_as_text(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # a class that came as a float, as it does from pandas beside missing values
    return json.dumps(value) if isinstance(value, int | float) else value


def collect(records: Iterable[Record], file: str, kinds: Kinds, rejects: Rejects, spool: Spool) -> Part:
    """Return all ``records`` as one part, whose rows go into the spool; those at fault go to ``rejects``.

    Parameters
    ----------
    kinds : kind of value by column, filled in as columns appear; a column listed beforehand must
        hold that kind.

    Raises
    ------
    CorpusError : there is no record, or ``rejects`` takes none.
    """
    rows: list[IntArray] = []
    ordinals: list[IntArray] = []
    total = 0
    stream = map(_sheet_as_text, records)
    while chunk := list(islice(stream, CHUNK)):
        faults = {i: record.fault for i, record in enumerate(chunk) if record.fault}
        sound = [i for i in range(len(chunk)) if i not in faults]
        table, misfits = _table([chunk[i] for i in sound], kinds, file)
        if misfits:
            faults |= {sound[i]: fault for i, fault in misfits.items()}
            sound = [i for i in sound if i not in faults]
            table, _ = _table([chunk[i] for i in sound], kinds, file)
        rejects.add(Reject(file, chunk[i].row, *faults[i], chunk[i].values) for i in sorted(faults))
        spool.add(table)
        rows.append(np.array([chunk[i].row for i in sound], np.int64))
        ordinals.append(total + np.array(sound, np.int64))
        total += len(chunk)
    if not total:
        raise CorpusError(f"{file}: there are no rows; expected at least one")
    return Part(file, len(rows), np.concatenate(rows), np.concatenate(ordinals), total)


def joined(spool: Spool, parts: Sequence[Part]) -> pa.Table:
    """Return the rows of all parts."""
    tables = iter(spool.tables())
    by_part = [_join(list(islice(tables, part.tables)), part.file) for part in parts]
    return _join(by_part, parts[0].file)


def _join(tables: list[pa.Table], file: str) -> pa.Table:
    """Return ``tables`` one after the other; a column that one of them lacks is null there."""
    import pyarrow as pa

    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise CorpusError(f"{file}: the rows do not fit together: {error}; give a column one type") from error


def mapping_records(rows: Iterable[Any]) -> Iterator[Record]:
    """Yield a record for each mapping of an in-memory list, numbered from 1."""
    for number, values in enumerate(rows, 1):
        fault = None
        if not isinstance(values, Mapping):
            fault = Fault(None, f"expected a dict of columns, got a {type(values).__name__}")
        elif not all(isinstance(name, str) for name in values):
            fault = Fault(None, f"expected column names that are strings, got {list(values)}")
        yield Record(number, values, fault)
