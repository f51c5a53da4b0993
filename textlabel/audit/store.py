"""Files of an audit: JSON written whole or not at all, JSON lines that only grow."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from textlabel.errors import AuditError

FOLDER = "audit"


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
    """Add one line a record, on disk before this returns; a torn last line is closed first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    with path.open("ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                text = "\n" + text
        file.write(text.encode("utf-8"))
        file.flush()
        os.fsync(file.fileno())


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the records of a file that `append` wrote.

    A line that is not JSON is what a crash left of an unfinished write if it is the last of its write, and is
    passed over; one whose neighbors went on is damage.

    Raises
    ------
    AuditError : a line in the middle is damaged.
    """
    if not path.is_file():
        return []
    found, torn = [], None
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        try:
            found.append(json.loads(line))
        except ValueError:
            torn = torn or number
            if line.endswith("}"):
                raise AuditError(f"{path}, row {number} is damaged; restore it from a copy") from None
    return found


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
