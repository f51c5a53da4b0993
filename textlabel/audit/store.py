"""Files of an audit: JSON written whole or not at all, JSON lines that only grow."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from textlabel.corpus.remote import is_url, shown
from textlabel.errors import AuditError

FOLDER = "audit"
#: people's answers, within it
LOG = "answers.jsonl"


def on_disk(folder: str | Path) -> Path:
    """Return the path of a folder of annotations.

    Raises
    ------
    AuditError : it is a URL.

    Examples
    --------
    >>> on_disk("labeled").name
    'labeled'
    """
    if is_url(folder):
        raise AuditError(
            f"{shown(str(folder))} is a URL; draws and answers are kept in the folder itself, which must be "
            "on a disk of this machine: copy the whole folder here first, and name the copy"
        )
    return Path(folder)


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write ``data`` so that after a crash the file is the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with part.open("w", encoding="utf-8") as file:
        file.write(json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """Return what `write_json` wrote; an `AuditError` if it is damaged."""
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise AuditError(f"{path} is damaged ({error}); restore it from a copy") from None
    return data


def append(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Add one line a record, on disk before this returns.

    A line that a crash left unfinished is closed by an empty one, by which `read_lines` knows it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    with path.open("ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                text = "\n\n" + text
        file.write(text.encode("utf-8"))
        file.flush()
        os.fsync(file.fileno())


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the records of a file that `append` wrote, without what a crash left unfinished.

    Raises
    ------
    AuditError : a line is damaged that was finished once.
    """
    if not path.is_file():
        return []
    # not splitlines: a note may hold other ends of line than ours
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    found = []
    for number, (line, after) in enumerate(zip(lines, [*lines[1:], ""], strict=True), 1):
        try:
            found += [json.loads(line)] if line else []
        except ValueError:
            if after:
                raise AuditError(f"{path}, row {number} is damaged; restore it from a copy") from None
    return found


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let one process at a time write into ``folder``, which is made; others wait."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("w")
    except OSError as error:
        raise AuditError(
            f"{folder} cannot be written ({error}); answers, or the count of looks (below XDG_STATE_HOME), "
            "are kept there"
        ) from None
    with file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        except ImportError:  # not on this system: people there must take turns
            pass
        yield


def numbered(folder: Path, kind: str) -> list[Path]:
    """Return ``folder/kind-1.json``, ``kind-2.json``, ... as far as they are there.

    Examples
    --------
    >>> numbered(Path("nowhere"), "draw")
    []
    """
    paths: list[Path] = []
    while (path := folder / f"{kind}-{len(paths) + 1}.json").is_file():
        paths.append(path)
    return paths
