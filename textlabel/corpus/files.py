"""Readers of single files: csv, tsv, jsonl and parquet.

Nothing is guessed: csv columns stay strings, and what is not sound is named with the line on which
an editor shows it.
"""

from __future__ import annotations

import csv
import gzip
import json
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from io import TextIOWrapper
from typing import Any

from textlabel.corpus.check import Rejects
from textlabel.corpus.records import Fault, Kinds, Part, Record, collect, plain, whole
from textlabel.corpus.remote import File
from textlabel.corpus.spool import Spool, parquet_pieces
from textlabel.errors import CorpusError


def _lines(path: File, damage: dict[int, str]) -> Iterator[str]:
    """Yield the lines of a UTF-8 file; what is wrong with a line's bytes goes to ``damage[number]``."""
    offset = 0
    unpack: Any = gzip.open if path.suffix.lower() == ".gz" else nullcontext
    try:
        with path.open("rb") as packed, unpack(packed) as raw_file:
            stream = TextIOWrapper(raw_file, encoding="utf-8", errors="surrogateescape", newline="")
            for number, line in enumerate(stream, 1):
                raw = _raw(line)
                if problem := _damage(raw, offset):
                    damage[number] = problem
                offset += len(raw)
                yield line.removeprefix("\ufeff") if number == 1 else line
    except (OSError, EOFError, zlib.error) as error:
        raise CorpusError(f"{path}: cannot be read: {error}") from error


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _damage(raw: bytes, offset: int) -> str | None:
    """Return what is wrong with the bytes of a line that begins at ``offset``; None if nothing is."""
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        place = f"byte 0x{raw[error.start]:02x} at offset {offset + error.start} of the file"
        return f"is not UTF-8: {place}; save the file as UTF-8"
    if (at := raw.find(0)) >= 0:
        return f"holds a NUL byte at offset {offset + at} of the file; save the file as UTF-8 text"
    return None


def jsonl_records(path: File) -> Iterator[Record]:
    """Yield a record for each line that is not blank; each must be one JSON object."""
    damage: dict[int, str] = {}
    for number, line in enumerate(_lines(path, damage), 1):
        if not line.strip():
            continue
        if number in damage:
            yield Record(number, line, Fault(None, damage[number]))
            continue
        try:
            values = json.loads(line.rstrip())
        except (ValueError, RecursionError) as error:
            problem = f"expected one JSON object, got text that is not JSON: {error}"
            yield Record(number, line, Fault(None, problem))
            continue
        problem = f"expected one JSON object, got a {type(values).__name__}"
        yield Record(number, values, None if isinstance(values, dict) else Fault(None, problem))


@contextmanager
def _long_fields() -> Iterator[None]:
    """Let csv fields be of any length: the limit of 131,072 characters is one of the whole process."""
    before = csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _csv_rows(path: File, delimiter: str, damage: dict[int, str]) -> Iterator[tuple[int, int, list[str]]]:
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


def _header(path: File, fields: list[str], delimiter: str) -> list[str]:
    twice = [name for i, name in enumerate(fields) if name in fields[:i]]
    if twice:
        raise CorpusError(
            f"{path}, row 1, column {twice[0]!r}: two columns have this name; rename one of them"
        )
    other = next((mark for mark in ",;\t|" if mark != delimiter and mark in fields[0]), None)
    if len(fields) == 1 and other:
        raise CorpusError(
            f"{path}, row 1, column {fields[0]!r}: the header is one column and holds {other!r}; expected "
            f"{delimiter!r} between columns (.csv: comma, .tsv: tab): save the file so, or rename it"
        )
    return fields


def _csv_fault(header: list[str], fields: list[str], damaged: str | None) -> Fault | None:
    if damaged:
        spoiled = (name for name, field in zip(header, fields, strict=False) if _damage(_raw(field), 0))
        return Fault(next(spoiled, None), damaged)
    if len(fields) == len(header):
        return None
    problem = f"the header has {len(header)} columns, this row {len(fields)}"
    if len(fields) < len(header):
        return Fault(header[len(fields)], f"is missing: {problem}")
    return Fault(
        header[-1], f"is followed by more fields: {problem}; put a text that holds the separator in quotes"
    )


def csv_records(path: File, delimiter: str) -> Iterator[Record]:
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
            damaged = (
                next((damage[n] for n in range(start, end + 1) if n in damage), None) if damage else None
            )
            fault = _csv_fault(header, fields, damaged)
            yield Record(start, fields if fault else dict(zip(header, fields, strict=True)), fault)


def _parquet(path: File, spool: Spool) -> Part:
    import pyarrow as pa

    tables = total = 0
    try:
        for table in parquet_pieces(path):
            table.validate(full=True)
            spool.add(plain(table, str(path)))
            tables, total = tables + 1, total + len(table)
    except (pa.ArrowException, OSError) as error:
        raise CorpusError(f"{path}: cannot be read as parquet: {error}") from error
    if not total:
        raise CorpusError(f"{path}: there are no rows; expected at least one")
    return whole(str(path), tables, total)


#: file name endings, the longest first, that say how a file is read
SUFFIXES = (".jsonl.gz", ".json.gz", ".csv.gz", ".tsv.gz", ".jsonl", ".json", ".csv", ".tsv", ".parquet")


def suffix_of(path: File) -> str | None:
    """Return the ending of `SUFFIXES` that ``path`` has, without ``.gz``; None if it has none."""
    name = path.name.lower()
    return next((s.removesuffix(".gz") for s in SUFFIXES if name.endswith(s)), None)


def read_file(path: File, kinds: Kinds, rejects: Rejects, spool: Spool) -> Part:
    """Return what rows a csv, tsv, jsonl or parquet file has, which go into the spool."""
    match suffix_of(path):
        case ".parquet":
            return _parquet(path, spool)
        case ".csv":
            records = csv_records(path, ",")
        case ".tsv":
            records = csv_records(path, "\t")
        case ".json" | ".jsonl":
            records = jsonl_records(path)
        case _:
            raise CorpusError(f"{path}: unknown kind of file; expected one of {', '.join(SUFFIXES)}")
    return collect(records, str(path), kinds, rejects, spool)
