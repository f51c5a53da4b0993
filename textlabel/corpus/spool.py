"""Tables that may be larger than memory: the first stay there, the others go to a file without a name.

The system deletes such a file with the process that made it, however that ends, so that no kill leaves one.
Tables in it are mapped: what is read of them takes memory that the system can have back at any time.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import Event, Lock, Thread
from typing import IO, TYPE_CHECKING, Any
from weakref import WeakSet, finalize

from textlabel.corpus.remote import File
from textlabel.errors import TextlabelError

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa

#: bytes of a spool that stay in memory
IN_MEMORY = 32 << 20
#: rows of a piece, of which a few are in memory at a time; a multiple of what scores are computed by
PIECE = 1 << 14
#: bytes of a parquet file that are read at a time
BUFFER = 1 << 20

#: seconds between two trimmings
SECONDS = 0.05

#: mapped files of all spools
_maps: WeakSet[mmap.mmap] = WeakSet()
#: for who adds one, or looks at all
_lock = Lock()
#: systems often keep /tmp in memory, and never this one
_DISK = "/var/tmp"  # noqa: S108 - files there have no name


class Spool:
    """Tables, one after the other, of which only the first are in memory.

    Examples
    --------
    >>> import pyarrow as pa
    >>> spool = Spool()
    >>> spool.add(pa.table({"n": [1, 2]}))
    >>> spool.add(pa.table({"n": [3]}))
    >>> [table["n"].to_pylist() for table in spool.tables()]
    [[1, 2], [3]]
    """

    def __init__(self) -> None:
        self._tables: list[pa.Table] = []
        self._left = IN_MEMORY
        self._file: IO[bytes] | None = None
        self._ends = [0]

    def add(self, table: pa.Table) -> None:
        """Take one more table.

        Raises
        ------
        TextlabelError : the disk cannot hold it.
        """
        self._left -= table.nbytes
        if self._file is None and self._left >= 0:
            self._tables.append(table)
            return
        import pyarrow as pa

        folder = scratch_folder()
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - it lives as long as its tables
                finalize(self, self._file.close)
            with pa.ipc.new_stream(self._file, table.schema) as writer:
                writer.write_table(table)
            self._file.flush()
        except OSError as error:
            raise TextlabelError(
                f"{folder} cannot hold the rows that do not fit into memory: {error}; make room there, or "
                "set TMPDIR to a folder on a larger disk"
            ) from error
        self._ends.append(self._file.tell())

    def tables(self) -> list[pa.Table]:
        """Return all tables, in order."""
        if self._file is None:
            return self._tables
        import pyarrow as pa

        mapped = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        with _lock:
            _maps.add(mapped)
        whole = pa.py_buffer(mapped)
        spans = zip(self._ends, self._ends[1:], strict=False)
        return self._tables + [pa.ipc.open_stream(whole.slice(a, b - a)).read_all() for a, b in spans]


def spooled(tables: Iterable[pa.Table]) -> list[pa.Table]:
    """Return tables, of which only the first are in memory."""
    spool = Spool()
    for table in tables:
        spool.add(table)
    return spool.tables()


def scratch_folder() -> str:
    """Return where files without a name are made: ``TMPDIR`` if set, else a folder that is on a disk."""
    if os.environ.get("TMPDIR") or not os.access(_DISK, os.W_OK):
        return tempfile.gettempdir()
    return _DISK


@contextmanager
def trimmed() -> Iterator[None]:
    """Give back every now and then what was read of spooled tables, which they can read again.

    The system takes these pages back anyway when it needs memory. But until then they count as the process's,
    which tools that watch it, or end it, take for memory that it needs.
    """
    done = Event()

    def trim() -> None:
        while not done.wait(SECONDS):
            with _lock:
                maps = list(_maps)
            for mapped in maps:
                if hasattr(mapped, "madvise"):  # not every system has it
                    mapped.madvise(mmap.MADV_DONTNEED)

    thread = Thread(target=trim, name="textlabel-trim", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def spans(rows: int, size: int | None = None) -> Iterator[slice]:
    """Yield the spans of rows of the pieces of a table, of at most ``size`` rows, by default `PIECE`."""
    size = PIECE if size is None else size
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))


def pieces(table: pa.Table, size: int | None = None) -> Iterator[pa.Table]:
    """Yield a table in pieces of at most ``size`` rows, by default `PIECE`."""
    for span in spans(len(table), size):
        yield table[span]


def parquet_pieces(file: File) -> Iterator[pa.Table]:
    """Yield the rows of a parquet file in pieces, of no rows an empty one."""
    import pyarrow as pa
    from pyarrow import parquet

    # so a column is read bit by bit, however many rows its group has, and nothing read stays
    with file.open("rb") as raw, parquet.ParquetFile(raw, buffer_size=BUFFER, pre_buffer=False) as found:
        for batch in found.iter_batches(PIECE):
            yield pa.Table.from_batches([batch])
        if not found.metadata.num_rows:
            yield found.schema_arrow.empty_table()


def piecewise(table: pa.Table, make: Callable[[pa.Table], Any]) -> pa.ChunkedArray:
    """Return a column that is made of each piece of a table by itself.

    Parameters
    ----------
    make : gives a piece's part of the column, always of one type.
    """
    import pyarrow as pa

    parts = spooled(pa.table({"made": make(piece)}) for piece in pieces(table))
    return pa.concat_tables(parts or [pa.table({"made": make(table)})]).column("made")


def as_dataset(table: pa.Table, features: datasets.Features) -> datasets.Dataset:
    """Return a table as a dataset, whose fingerprint is made of its rows piece by piece."""
    import datasets

    return datasets.Dataset(table, datasets.DatasetInfo(features=features), fingerprint=_fingerprint(table))


def _fingerprint(table: pa.Table) -> str:
    digest = hashlib.blake2b(str(table.schema).encode(), digest_size=8)
    for piece in pieces(table):
        for batch in piece.to_batches():
            digest.update(batch.serialize())
    return digest.hexdigest()
