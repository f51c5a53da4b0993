"""Paths that a command takes on this machine only: a URL is refused, and not taken for an odd path."""

from __future__ import annotations

from pathlib import Path

from textlabel.audit.store import on_disk
from textlabel.corpus.remote import is_url, shown
from textlabel.errors import AuditError


def audited(text: str) -> Path:
    """Return the path of a folder of annotations that people audit."""
    return on_disk(text)


def local(text: str) -> Path:
    """Return the path of a file or folder."""
    if is_url(text):
        raise AuditError(f"{shown(text)} is a URL; expected a path on this machine: copy from or to there")
    return Path(text)
