"""Folders that go with the process. What a killed one left, the next one that needs such a folder removes."""

from __future__ import annotations

import os
import platform
import tempfile
from glob import escape
from pathlib import Path
from shutil import rmtree
from weakref import finalize

from textlabel.corpus.spool import scratch_folder


class Scratch:
    """An empty folder, deleted with this object.

    The process holds a lock on the folder, which the system takes back however the process ends. So who gets
    the lock of such a folder knows that nobody uses it any more.

    Examples
    --------
    >>> scratch = Scratch()
    >>> scratch.folder.is_dir()
    True
    """

    def __init__(self) -> None:
        # of this machine alone: some network file systems do not tell others of a lock
        prefix = f"textlabel-scratch-{platform.node()}~"  # no name of a machine has that sign
        for left in Path(scratch_folder()).glob(f"{escape(prefix)}*"):
            _remove_unused(left)
        self.folder, held = _made(prefix)
        self._finalizer = finalize(self, _remove, self.folder, held)

    def remove(self) -> None:
        """Delete the folder now."""
        self._finalizer()


def _made(prefix: str) -> tuple[Path, int | None]:
    """Return a new folder, and the file number that holds its lock, if locks are to be had."""
    while True:
        folder = Path(tempfile.mkdtemp(dir=scratch_folder(), prefix=prefix))
        held = _locked(folder, wait=True)
        if folder.is_dir():  # before it was locked, another process may have taken it for left behind
            return folder, held
        if held is not None:
            os.close(held)


def _remove_unused(folder: Path) -> None:
    held = _locked(folder, wait=False)
    if held is not None:
        _remove(folder, held)


def _remove(folder: Path, held: int | None) -> None:
    rmtree(folder, ignore_errors=True)
    if held is not None:
        os.close(held)


def _locked(folder: Path, wait: bool) -> int | None:
    """Return a file number that holds the lock of a folder; None where it cannot be had."""
    try:
        import fcntl

        number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except (ImportError, AttributeError, OSError):  # not on this system, not ours, or gone
        return None
    try:
        fcntl.flock(number, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(number)
        return None
    return number
