"""Folders that commands write into."""

from __future__ import annotations

import tempfile
from pathlib import Path

from textlabel.audit.store import FOLDER
from textlabel.errors import TextlabelError

#: the file by which a folder is known to be ours: a model or annotations
OURS = "textlabel.json"


def require_free(path: str | Path, error: type[TextlabelError]) -> Path:
    """Return the absolute path of an output folder that may be written, or raise ``error`` now.

    Asked before hours of work: a folder that holds something else than our own earlier output is
    refused, and so is a place where nothing can be written.
    """
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
