"""Files and Python rows to Arrow, with where every row came from.

Each reader yields `Record` after `Record`; `collect` turns them into one Arrow table, 50,000 rows
at a time, so that a large file is never held twice. Nothing is guessed: csv columns stay strings,
and a value that does not fit its column makes the row a bad one instead of changing the column.
"""

from __future__ import annotations

import csv
import gzip
import json
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from textlabel.corpus.check import Reject, Rejects
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
    table : n usable rows.
    rows : (n,) where a person finds each: its line in a text file, else its number from 1.
    ordinals : (n,) position of each among the ``total`` rows read, bad ones included; from 0.
    """

    file: str
    table: pa.Table
    rows: IntArray
    ordinals: IntArray
    total: int


def whole(file: str, table: pa.Table) -> Part:
    """Return the part that consists of all rows of ``table``."""
    ordinals = np.arange(len(table))
    return Part(file, table, ordinals + 1, ordinals, len(table))


# ---- records to Arrow -----------------------------------------------------------------------------


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
    return f"expected a {kind}, got {value!r}" if len(repr(value)) < 60 else f"expected a {kind}, got a {found}"


def _column(values: list[Any], name: str, kinds: Kinds) -> tuple[Any, dict[int, str]]:
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
        raise CorpusError(f"column {name!r}: {reason}; give every row the same type")
    return None, problems


def _table(records: list[Record], kinds: Kinds) -> tuple[pa.Table, dict[int, Fault]]:
    """Return the table of sound ``records``, or the faults of those that are not."""
    import pyarrow as pa

    names = dict.fromkeys(chain.from_iterable(record.values for record in records))
    arrays, faults = {}, {}
    for name in names:
        arrays[name], problems = _column([record.values.get(name) for record in records], name, kinds)
        faults |= {i: Fault(name, problem) for i, problem in problems.items() if i not in faults}
    return (None if faults else pa.table(arrays)), faults


def collect(records: Iterable[Record], file: str, kinds: Kinds, rejects: Rejects) -> Part:
    """Return all ``records`` as one part; those at fault go to ``rejects``.

    Parameters
    ----------
    kinds : kind of value by column, filled in as columns appear; a column listed beforehand must
        hold that kind.

    Raises
    ------
    CorpusError : there is no record, or ``rejects`` takes none.
    """
    import pyarrow as pa

    tables, rows, ordinals, total = [], [], [], 0
    stream = iter(records)
    while chunk := list(islice(stream, CHUNK)):
        faults = {i: record.fault for i, record in enumerate(chunk) if record.fault}
        sound = [i for i in range(len(chunk)) if i not in faults]
        table, misfits = _table([chunk[i] for i in sound], kinds)
        if misfits:
            faults |= {sound[i]: fault for i, fault in misfits.items()}
            sound = [i for i in sound if i not in faults]
            table, _ = _table([chunk[i] for i in sound], kinds)
        rejects.add(Reject(file, chunk[i].row, *faults[i], chunk[i].values) for i in sorted(faults))
        tables.append(table)
        rows.extend(chunk[i].row for i in sound)
        ordinals.extend(total + i for i in sound)
        total += len(chunk)
    if not total:
        raise CorpusError(f"{file}: there are no rows; expected at least one")
    joined = pa.concat_tables(tables, promote_options="permissive")
    return Part(file, joined, np.array(rows, np.int64), np.array(ordinals, np.int64), total)


# ---- text files -----------------------------------------------------------------------------------


def _lines(path: Path, damage: dict[int, str]) -> Iterator[str]:
    """Yield the lines of a UTF-8 file; what is wrong with a line's bytes goes to ``damage[number]``."""
    offset = 0
    opener: Any = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8", errors="surrogateescape", newline="") as stream:
            for number, line in enumerate(stream, 1):
                raw = line if line.isascii() else line.encode("utf-8", "surrogateescape")
                if isinstance(raw, bytes) and (problem := _not_utf8(raw, offset)):
                    damage[number] = problem
                elif "\0" in line:
                    damage[number] = f"holds a NUL byte at offset {offset + line.index(chr(0))} of the file"
                offset += len(raw)
                yield line.removeprefix("\ufeff") if number == 1 else line
    except (OSError, EOFError, zlib.error) as error:
        raise CorpusError(f"{path}: cannot be read: {error}") from error


def _not_utf8(raw: bytes, offset: int) -> str | None:
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        place = f"byte 0x{raw[error.start]:02x} at offset {offset + error.start} of the file"
        return f"is not UTF-8: {place}; save the file as UTF-8"
    return None


def jsonl_records(path: Path) -> Iterator[Record]:
    """Yield a record for each line that is not blank; each must be one JSON object."""
    damage: dict[int, str] = {}
    for number, line in enumerate(_lines(path, damage), 1):
        if not line.strip():
            continue
        if number in damage:
            yield Record(number, line, Fault(None, damage[number]))
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield Record(number, line, Fault(None, f"expected one JSON object, got text that is not JSON: {error}"))
            continue
        if isinstance(values, dict):
            yield Record(number, values)
        else:
            yield Record(number, values, Fault(None, f"expected one JSON object, got a {type(values).__name__}"))


@contextmanager
def _long_fields() -> Iterator[None]:
    """Let csv fields be of any length: the limit of 131,072 characters is one of the whole process."""
    before = csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _csv_rows(path: Path, delimiter: str, damage: dict[int, str]) -> Iterator[tuple[int, int, list[str]]]:
    """Yield first line, last line and fields of each row that is not blank.

    A quoting mistake ends the reading whatever is done with bad rows: no one can tell where the
    next row begins.
    """
    reader = csv.reader(_lines(path, damage), delimiter=delimiter, strict=True)
    while True:
        start = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise CorpusError(
                f"{path}, row {start}: the quotes of this row do not match: {error} (read up to line "
                f"{reader.line_num}); a quote within a quoted field is written twice"
            ) from error
        if fields:
            yield start, reader.line_num, fields


def _header(path: Path, fields: list[str], delimiter: str) -> list[str]:
    twice = [name for i, name in enumerate(fields) if name in fields[:i]]
    if twice:
        raise CorpusError(f"{path}, row 1, column {twice[0]!r}: two columns have this name; rename one of them")
    other = next((mark for mark in ",;\t|" if mark != delimiter and mark in fields[0]), None)
    if len(fields) == 1 and other:
        raise CorpusError(
            f"{path}, row 1, column {fields[0]!r}: the header is one column and holds {other!r}; expected "
            f"{delimiter!r} between columns (.csv: comma, .tsv: tab): save the file so, or rename it"
        )
    return fields


def _csv_fault(header: list[str], fields: list[str], damaged: str | None) -> Fault | None:
    if damaged:
        spots = (i for i, field in enumerate(fields) if "\0" in field or not field.isprintable())
        spots = (i for i in spots if any(c == "\0" or "\ud800" <= c <= "\udfff" for c in fields[i]))
        at = next(spots, len(header))
        return Fault(header[at] if at < len(header) else None, damaged)
    if len(fields) == len(header):
        return None
    problem = f"the header has {len(header)} columns, this row {len(fields)}"
    if len(fields) < len(header):
        return Fault(header[len(fields)], f"is missing: {problem}")
    return Fault(header[-1], f"is followed by more fields: {problem}; put a text that holds the separator in quotes")


def csv_records(path: Path, delimiter: str) -> Iterator[Record]:
    """Yield a record for each row below the header; blank lines are passed over.

    Raises
    ------
    CorpusError : the file is empty; its header is damaged or names a column twice; quotes that do
        not match.
    """
    damage: dict[int, str] = {}
    with _long_fields():
        rows = _csv_rows(path, delimiter, damage)
        first = next(rows, None)
        if first is None:
            raise CorpusError(f"{path}: the file is empty; expected a header row and rows of data")
        if damage:
            raise CorpusError(f"{path}, row {first[0]}: the header {next(iter(damage.values()))}")
        header = _header(path, first[2], delimiter)
        for start, end, fields in rows:
            damaged = next((damage[n] for n in range(start, end + 1) if n in damage), None) if damage else None
            fault = _csv_fault(header, fields, damaged)
            yield Record(start, fields if fault else dict(zip(header, fields, strict=True)), fault)


def mapping_records(rows: Iterable[Any]) -> Iterator[Record]:
    """Yield a record for each mapping of an in-memory list, numbered from 1."""
    for number, values in enumerate(rows, 1):
        fault = None
        if not isinstance(values, Mapping):
            fault = Fault(None, f"expected a dict of columns, got a {type(values).__name__}")
        elif not all(isinstance(name, str) for name in values):
            fault = Fault(None, f"expected column names that are strings, got {list(values)}")
        yield Record(number, values, fault)


# ---- one file ---------------------------------------------------------------------------------------


def _parquet(path: Path) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            table = file.read()
        table.validate(full=True)
    except (pa.ArrowException, OSError) as error:
        raise CorpusError(f"{path}: cannot be read as parquet: {error}") from error
    if not len(table):
        raise CorpusError(f"{path}: there are no rows; expected at least one")
    return table


#: file name endings, the longest first, that say how a file is read
SUFFIXES = (".jsonl.gz", ".json.gz", ".csv.gz", ".tsv.gz", ".jsonl", ".json", ".csv", ".tsv", ".parquet")


def suffix_of(path: Path) -> str | None:
    """Return the ending of `SUFFIXES` that ``path`` has, without ``.gz``; None if it has none."""
    name = path.name.lower()
    return next((s.removesuffix(".gz") for s in SUFFIXES if name.endswith(s)), None)


def read_file(path: Path, kinds: Kinds, rejects: Rejects) -> Part:
    """Return the rows of one csv, tsv, jsonl or parquet file."""
    match suffix_of(path):
        case ".parquet":
            return whole(str(path), _parquet(path))
        case ".csv":
            records = csv_records(path, ",")
        case ".tsv":
            records = csv_records(path, "\t")
        case ".json" | ".jsonl":
            records = jsonl_records(path)
        case _:
            raise CorpusError(f"{path}: unknown kind of file; expected one of {', '.join(SUFFIXES)}")
    return collect(records, str(path), kinds, rejects)
