"""Folders that commands write into."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any

from textlabel.audit.store import FOLDER
from textlabel.corpus.remote import advice, file_system, hushed, is_url, reached, shown
from textlabel.corpus.scratch import Scratch
from textlabel.errors import TextlabelError
from textlabel.export._folder import foreign
from textlabel.export._repository import OF_THE_HUB, Repository, is_repository
from textlabel.models.fetch import home

#: the file by which a folder is known to be ours: a model or annotations
OURS = "textlabel.json"
#: stores in which a file needs its folder first; in others asking for one might make a bucket
WITH_FOLDERS = {"file", "local", "ftp", "sftp", "ssh", "smb", "hdfs", "webhdfs"}
READ_ONLY = {"http", "https"}


def require_free(path: str | Path, error: type[TextlabelError]) -> Path:
    """Return the absolute path of an output folder that may be written, or raise ``error`` now.

    Asked before hours of work: a folder that holds something else than our own earlier output is
    refused, and so is a place where nothing can be written.
    """
    if is_url(path):
        raise error(
            f"{shown(str(path))} is a URL; expected a folder on a disk of this machine: choose another path"
        )
    target = Path(path).expanduser().resolve()
    if target.exists() and not target.is_dir():
        raise error(f"{target} is a file; expected a folder to write into: choose another path")
    if target.is_dir() and any(target.iterdir()) and not (target / OURS).is_file():
        raise error(f"{target} is not empty and not an earlier output of textlabel: choose another folder")
    if (target / FOLDER).is_dir():
        raise error(
            f"{target / FOLDER} holds draws or answers of people, which would be lost: choose another folder"
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=target.parent):
            return target
    except OSError as reason:
        raise error(f"{target} cannot be written: {reason}") from None


class Output:
    """Where a result goes: a folder, or a URL that fsspec knows, which gets it when it is complete.

    A repository of the Hub gets it in one commit; what is unfinished is then kept on this machine.

    Parameters
    ----------
    place : path or URL.
    error : what is raised where nothing can be written, or something else is there.
    """

    def __init__(self, place: str, error: type[TextlabelError]) -> None:
        self._error = error
        if not is_url(place):
            self.folder = require_free(place, error)
            self.place = str(self.folder)
            return
        self.place = place.rstrip("/")
        self._files, self._root = file_system(self.place, error)
        if READ_ONLY & set(_protocols(self._files)):
            raise error(
                f"{shown(self.place)} cannot be written into; expected a folder, or a store such as s3://"
            )
        self._repository: Repository | None = None
        if is_repository(self._files, self._root):
            with reached(self.place, error):
                self._repository = Repository(self._files, self._root)
        self._require_ours(self._names())
        self._scratch = Scratch()
        self.folder = self._scratch.folder / "out"

    @property
    def in_repository(self) -> bool:
        """Whether it is in a repository of the Hub, so that what is unfinished is kept on this machine."""
        return is_url(self.place) and self._repository is not None

    def beside(self, purpose: str) -> str:
        """Return the hidden place beside this one where what is unfinished is kept."""
        if self.in_repository:
            name = hashlib.sha256(self.place.encode()).hexdigest()[:16]
            return str(home() / "unfinished" / f"{name}.{purpose}")
        parent, _, name = self.place.rpartition("/")
        return f"{parent}/.{name}.{purpose}"

    def publish(self) -> None:
        """Put the folder where it belongs, its record last; what was there before and is not in it goes.

        Raises
        ------
        TextlabelError : the store refuses.
        """
        if not is_url(self.place):
            return
        new = sorted((path.name for path in self.folder.iterdir()), key=lambda name: (name == OURS, name))
        try:
            head = self._repository.head() if self._repository else ""
            self._require_ours(there := self._names())  # labeling took its time, and somebody may have come
            self._put(new, set(there) - set(new), head)
        except TextlabelError:
            raise
        except Exception as reason:  # each store's client has errors of its own
            raise self._error(
                f"{shown(self.place)} cannot be written: {hushed(reason, self.place)}. What is finished "
                f"stays: {advice(self.place)}, and repeat the command, which then goes on"
            ) from reason

    def _put(self, new: list[str], gone: set[str], head: str) -> None:
        if self._repository:
            self._repository.commit(self.folder, gone, head)
            return
        if WITH_FOLDERS & set(_protocols(self._files)):
            self._files.makedirs(self._root, exist_ok=True)
        for name in new:
            self._files.put_file(str(self.folder / name), f"{self._root}/{name}")
        for name in gone:
            self._files.rm_file(f"{self._root}/{name}")

    def _require_ours(self, names: list[str]) -> None:
        strange = foreign(names) or (names if names and OURS not in names else [])
        if strange:
            raise self._error(
                f"{shown(self.place)} is not empty and no previous output of textlabel: it holds "
                f"{strange[0]!r}; choose another folder"
            )

    def _names(self) -> list[str]:
        self._files.invalidate_cache()
        with reached(self.place, self._error):
            try:
                found = self._files.find(self._root)
            except FileNotFoundError:
                return []
        names = [path.removeprefix(self._root).strip("/") for path in found]
        return [name for name in names if not (self._repository and name == OF_THE_HUB)]


def _protocols(files: Any) -> tuple[str, ...]:
    found: str | tuple[str, ...] = files.protocol
    return (found,) if isinstance(found, str) else found
