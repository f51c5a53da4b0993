"""Segments of the feature cache: files of text keys and features, written once and mapped into memory.

A segment is a safetensors file of ``keys`` (n, 2) uint64, sorted; ``features`` (n, d) float32; and ``checks``
(n,) uint32, a sum of each row by which damage is noticed when the row is read.
"""

from __future__ import annotations

import json
import logging
import mmap
import os
import re
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from textlabel.types import IntArray

log = logging.getLogger("textlabel")

SUFFIX = ".safetensors"
#: a segment that is being written, or that its writer has not published
PART = ".part"
#: rows copied at a time
CHUNK = 16_384
#: seconds after which nobody will publish what lies there unpublished
STALE = 24 * 3600

#: (n, 2) uint64: 128 bits of each text
Keys = npt.NDArray[np.uint64]
Float32 = npt.NDArray[np.float32]

#: names of our folders and files; nothing else below a cache's folder is ever deleted
_OURS = re.compile(r"[0-9a-f]{32}")


class DamagedError(Exception):
    """A segment that is cut, or holds something else than what was written."""


class Segment:
    """A segment in a file; it stays readable when somebody deletes the file meanwhile.

    Raises
    ------
    DamagedError : the file is not a whole segment.
    OSError : there is no such file, or it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            self.bytes, self.used = status.st_size, status.st_mtime
            if not self.bytes:
                raise DamagedError(path)
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        try:
            start = 8 + int.from_bytes(self._map[:8], "little")
            header = json.loads(self._map[8:start])
            n, d = header["features"]["shape"]
            self.tells: Mapping[str, str] = header["__metadata__"]
        except (ValueError, KeyError, TypeError, OverflowError):
            raise DamagedError(path) from None
        if n < 1 or self.bytes != start + n * row_bytes(d):
            raise DamagedError(path)
        self.keys: Keys = np.frombuffer(self._map, "<u8", 2 * n, start).reshape(n, 2)
        start += self.keys.nbytes
        self.features: Float32 = np.frombuffer(self._map, "<f4", n * d, start).reshape(n, d)
        self._checks = np.frombuffer(self._map, "<u4", n, start + self.features.nbytes)

    def __len__(self) -> int:
        return len(self.keys)

    def positions(self, keys: Keys) -> IntArray:
        """Return where each key lies, -1 where it does not."""
        at = np.searchsorted(self.keys[:, 0], keys[:, 0]).clip(max=len(self) - 1)
        there = (self.keys[at] == keys).all(axis=1)
        return np.where(there, at, -1)

    def copy(self, at: IntArray, out: Float32, rows: IntArray) -> None:
        """Copy the features at positions ``at``, which should ascend, to ``rows`` of ``out``.

        Raises
        ------
        DamagedError : one of them is not what was written.
        """
        for start in range(0, len(at), CHUNK):
            here = at[start : start + CHUNK]
            block = self.features[here]
            if (_checks(self.keys[here], block) != self._checks[here]).any():
                raise DamagedError(self.path)
            out[rows[start : start + CHUNK]] = block
            if hasattr(mmap, "MADV_DONTNEED"):  # what was copied need not stay in this process's memory
                self._map.madvise(mmap.MADV_DONTNEED)

    def touch(self) -> None:
        """Note that it was used."""
        with suppress(OSError):  # deleted by another process, or a cache that may only be read
            os.utime(self.path)


def row_bytes(width: int) -> int:
    """Return the size of a row of ``width`` features in a file."""
    return 16 + 4 * width + 4


def _checks(keys: Keys, features: Float32) -> npt.NDArray[np.uint32]:
    """Return a sum of each row's words; a flipped bit, a hole or another row's features change it."""
    words: npt.NDArray[np.uint32] = features.view(np.uint32).sum(axis=1, dtype=np.uint32)
    return words + keys[:, 0].astype(np.uint32)


def write(
    folder: Path, keys: Keys, width: int, take: Callable[[IntArray], Float32], tells: Mapping[str, str]
) -> Path:
    """Write an unpublished segment of a unique name and return its path; nothing is left if that fails.

    Parameters
    ----------
    keys : (n, 2) in any order; of equal ones the first counts.
    take : gives the features (m, width) of some of the rows.
    tells : what the features are of, for people.
    """
    order = np.lexsort((keys[:, 1], keys[:, 0]))
    keys = keys[order]
    first = np.ones(len(keys), dtype=np.bool_)
    first[1:] = (keys[1:] != keys[:-1]).any(axis=1)
    order, keys = order[first], keys[first]
    checks = np.zeros(len(keys), dtype="<u4")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"{uuid.uuid4().hex}{PART}"
    try:
        with path.open("xb") as file:
            file.write(_header(len(keys), width, tells))
            file.write(np.ascontiguousarray(keys, dtype="<u8").data)
            for start in range(0, len(keys), CHUNK):
                some = slice(start, start + CHUNK)
                block = np.ascontiguousarray(take(order[some]), dtype="<f4")
                checks[some] = _checks(keys[some], block)
                file.write(block.data)
            file.write(checks.data)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


def _header(n: int, width: int, tells: Mapping[str, str]) -> bytes:
    """Return the head of a safetensors file: its length, then JSON padded to whole words."""
    entries: dict[str, object] = {"__metadata__": dict(tells)}
    start = 0
    for name, dtype, shape, size in (
        ("keys", "U64", [n, 2], 16),
        ("features", "F32", [n, width], 4 * width),
        ("checks", "U32", [n], 4),
    ):
        entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, start + n * size]}
        start += n * size
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def publish(part: Path) -> None:
    """Let readers see a segment, at once and whole."""
    part.rename(part.with_suffix(SUFFIX))


def read(folder: Path) -> list[Segment]:
    """Return the segments in ``folder``, by name; damaged ones are deleted with a warning."""
    found = []
    for path in _files(folder, SUFFIX):
        try:
            found.append(Segment(path))
        except DamagedError:
            discard(path)
        except OSError as error:  # deleted by another process meanwhile, or not to be read
            log.debug("%s: %s", path, error)
    return found


def discard(path: Path) -> None:
    """Delete a damaged segment, with a warning."""
    log.warning("%s is damaged; it is deleted, and its features are computed again", path)
    delete(path)


def delete(path: Path) -> None:
    """Delete a file unless another process did, or none may."""
    with suppress(OSError):
        path.unlink()


def merge(segments: list[Segment]) -> Path:
    """Write one unpublished segment of all rows of some of one folder, and return its path."""
    ends = np.cumsum([len(segment) for segment in segments])

    def take(index: IntArray) -> Float32:
        block = np.empty((len(index), width), dtype=np.float32)
        part = np.searchsorted(ends, index, side="right")
        for number in np.unique(part):
            rows = np.flatnonzero(part == number)
            start = ends[number] - len(segments[number])
            segments[number].copy(index[rows] - start, block, rows)
        return block

    width = segments[0].features.shape[1]
    keys = np.concatenate([segment.keys for segment in segments])
    return write(segments[0].path.parent, keys, width, take, segments[0].tells)


def spaces(root: Path) -> list[Path]:
    """Return the folders of a cache: what lies in one of them is comparable."""
    try:
        return sorted(path for path in root.iterdir() if _OURS.fullmatch(path.name))
    except OSError:
        return []


def shrink(root: Path, most: int) -> int:
    """Delete the segments used longest ago until at most ``most`` bytes are left; return how many went.

    What was written a day ago and never published goes, too.
    """
    known = []
    for folder in spaces(root):
        for path in [*_files(folder, SUFFIX), *_files(folder, PART)]:
            try:
                status = path.stat()
            except OSError:
                continue
            if path.suffix == SUFFIX:
                known.append((status.st_mtime_ns, status.st_size, path))
            elif status.st_mtime < time.time() - STALE or not most:
                delete(path)
    kept = deleted = 0
    for _, size, path in sorted(known, reverse=True):
        kept += size
        if kept > most:
            delete(path)
            deleted += 1
    return deleted


def _files(folder: Path, suffix: str) -> list[Path]:
    try:
        return sorted(p for p in folder.iterdir() if p.suffix == suffix and _OURS.fullmatch(p.stem))
    except OSError:
        return []
