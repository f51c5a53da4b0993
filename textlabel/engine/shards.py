"""Long predictions in pieces that no kill can lose: shards planned before row 1, each beside its checksum.

A shard is an object of its own, the same bytes whenever it is computed, and counts once the object with its
checksum is there and right. So nothing is ever appended to, renamed or locked, which object stores cannot do,
and whatever a kill leaves behind, a half-written object or one without its checksum, is computed again.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from textlabel.corpus.remote import hushed, shown
from textlabel.errors import ExportError

log = logging.getLogger("textlabel")

PLAN = "plan.json"
#: rows of a shard: few, so that little is lost; but of a huge corpus never more than a thousand shards
LEAST_ROWS, MOST_SHARDS = 4096, 1000

Arrays = dict[str, npt.NDArray[Any]]


def rows_of_a_shard(rows: int) -> int:
    """Return how many rows of a corpus make a shard.

    Examples
    --------
    >>> rows_of_a_shard(10_000), rows_of_a_shard(10_000_000)
    (4096, 10000)
    """
    return max(LEAST_ROWS, -(-rows // MOST_SHARDS))


class Objects:
    """Named bytes in a folder, on a disk or in an object store.

    Parameters
    ----------
    place : path, or a URL that fsspec knows (s3://bucket/folder).
    """

    def __init__(self, place: str | Path) -> None:
        from fsspec.core import url_to_fs

        self.files, self.root = url_to_fs(str(place))
        self.place = str(place)
        #: for messages: without what gives access to it
        self.shown = shown(self.place)

    def put(self, name: str, content: bytes) -> None:
        """Write an object, whatever was there.

        Raises
        ------
        ExportError : it cannot be written; all that is finished stays.
        """
        with self._writing(name):
            self.files.makedirs(self.root, exist_ok=True)
            self.files.pipe_file(f"{self.root}/{name}", content)

    def put_file(self, name: str, path: Path) -> None:
        """Write an object that may be too large for memory; a slash in its name makes a folder.

        Raises
        ------
        ExportError : as `put`.
        """
        target = f"{self.root}/{name}"
        with self._writing(name):
            self.files.makedirs(target.rpartition("/")[0], exist_ok=True)
            self.files.put_file(str(path), target)

    @contextmanager
    def _writing(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = "the disk is full" if error.errno == errno.ENOSPC else hushed(error, self.place)
            raise ExportError(
                f"{self.shown}/{name} cannot be written: {reason}. What is finished stays: mend this and "
                "repeat the command, which then goes on"
            ) from error

    def get(self, name: str) -> bytes | None:
        """Return an object's bytes, or None where there is none.

        Raises
        ------
        ExportError : it is there but cannot be read.
        """
        try:
            found: bytes = self.files.cat_file(f"{self.root}/{name}")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ExportError(
                f"{self.shown}/{name} cannot be read: {hushed(error, self.place)}. Mend this and repeat the "
                "command, or delete the object, which is then made again"
            ) from error
        return found

    def names(self) -> list[str]:
        """Return the names of the objects that are there."""
        self.files.invalidate_cache()  # object stores remember listings, and other processes write
        try:
            return [str(path).rsplit("/", 1)[-1] for path in self.files.ls(self.root, detail=False)]
        except FileNotFoundError:
            return []

    def delete(self) -> None:
        """Delete the folder with all that is in it.

        Raises
        ------
        ExportError : it cannot be deleted.
        """
        self.files.invalidate_cache()
        try:
            if self.files.exists(self.root):
                self.files.rm(self.root, recursive=True)
        except OSError as error:
            raise ExportError(
                f"{self.shown} cannot be deleted: {hushed(error, self.place)}. Delete it by hand"
            ) from error


class Shards:
    """The shards of one long prediction.

    Parameters
    ----------
    objects : where they are.
    rows : how many are predicted.
    facts : everything that decides the numbers (corpus, model, backend); of a plan that is there already they
        must be the same.
    cached : what of the feature cache the run may use. It decides last digits and need not be the same: the
        plan that is there already says what is used.

    Raises
    ------
    ExportError : the plan there is another one; the difference is named.
    """

    def __init__(
        self, objects: Objects, rows: int, facts: Mapping[str, Any], cached: Sequence[str] = ()
    ) -> None:
        wanted = json.loads(_json({"rows": rows, "rows_of_a_shard": rows_of_a_shard(rows), **facts}))
        content = objects.get(PLAN)
        saved = _parsed(content or b"")
        if saved:
            _same_plan(saved, wanted, objects.shown)
        else:
            if content:
                log.warning("%s/%s is damaged and made again", objects.shown, PLAN)
            saved = {**wanted, "cached": list(cached)}
            objects.put(PLAN, _json(saved))
        self._take(objects, saved)

    def _take(self, objects: Objects, saved: Mapping[str, Any]) -> None:
        self.objects, self.facts = objects, saved
        self.rows: int = saved["rows"]
        self.each: int = saved["rows_of_a_shard"]
        self.cached: list[str] = saved["cached"]
        #: so that shards of another plan never count, even where their plan was lost
        self.digest = hashlib.sha256(_json(saved)).hexdigest()

    @classmethod
    def planned(cls, objects: Objects) -> Shards | None:
        """Return the shards that somebody else planned there; None: nobody did."""
        saved = _parsed(objects.get(PLAN) or b"")
        if not saved:
            return None
        found = cls.__new__(cls)  # who reads a plan must never write one
        found._take(objects, saved)
        return found

    def __len__(self) -> int:
        return -(-self.rows // self.each)

    def span(self, number: int) -> tuple[int, int]:
        """Return the first row of a shard, and the one after its last."""
        return number * self.each, min((number + 1) * self.each, self.rows)

    def missing(self) -> list[int]:
        """Return the shards that are not there, or not whole; damaged ones with a warning."""
        return [number for number in range(len(self)) if self._whole_content(number) is None]

    def finished(self) -> int:
        """Return how many shards are there, without reading them."""
        there = set(self.objects.names())
        return sum(_name(n) in there and _checksum_name(n) in there for n in range(len(self)))

    def write(self, number: int, arrays: Arrays) -> None:
        """Write one shard, then its checksum."""
        from safetensors.numpy import save

        content = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
        self.objects.put(_name(number), content)
        checksum = {"sha256": hashlib.sha256(content).hexdigest(), "plan": self.digest}
        self.objects.put(_checksum_name(number), _json(checksum))

    def read(self) -> Iterator[Arrays]:
        """Return the arrays of each shard, in order.

        Raises
        ------
        ExportError : one is missing or damaged.
        """
        from safetensors.numpy import load

        for number in range(len(self)):
            content = self._whole_content(number)
            if content is None:
                raise ExportError(
                    f"{self.objects.shown}/{_name(number)} is missing or damaged; repeat the command, which "
                    "makes it again"
                )
            yield load(content)

    def _whole_content(self, number: int) -> bytes | None:
        """Return a shard's bytes; None where it lacks its checksum, or does not fit it."""
        told = _parsed(self.objects.get(_checksum_name(number)) or b"")
        if told.get("plan") != self.digest:
            return None
        content = self.objects.get(_name(number))
        if content is not None and hashlib.sha256(content).hexdigest() == told.get("sha256"):
            return content
        log.warning("%s/%s is damaged and made again", self.objects.shown, _name(number))
        return None


def _name(number: int) -> str:
    return f"shard-{number:05d}.safetensors"


def _checksum_name(number: int) -> str:
    return f"shard-{number:05d}.json"


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()


def _parsed(content: bytes) -> dict[str, Any]:
    """Return a JSON object, empty where a kill left half of one."""
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _same_plan(saved: Mapping[str, Any], wanted: Mapping[str, Any], place: str) -> None:
    for name in wanted:
        if saved.get(name) != wanted[name]:
            raise ExportError(
                f"{place} holds an unfinished run that differs in its {name.replace('_', ' ')} "
                f"({_short(saved.get(name))}; now {_short(wanted[name])}). Repeat that run to finish it, or "
                "start over: --fresh deletes what it did"
            )


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) < 64 else f"{text[:12]}..."
