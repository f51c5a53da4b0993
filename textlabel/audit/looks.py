"""Every look at the answers costs: a ledger of looks per corpus.

It is a record, not a lock. Who deletes it, or looks at the answers by other means, fools only the readers of
the certificate. It is kept twice, beside the annotations and in the user's state folder
(``$XDG_STATE_HOME/textlabel/looks``), so that annotating the corpus again does not start it anew.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from textlabel.audit.seal import Sealed
from textlabel.audit.store import append, read_lines


def _ledgers(sealed: Sealed) -> tuple[Path, Path]:
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    name = f"{sealed.seal['corpus']}.jsonl"
    return sealed.audit_folder / "looks.jsonl", Path(state) / "textlabel" / "looks" / name


def looks(sealed: Sealed) -> dict[str, int]:
    """Return the questions asked about this corpus so far, as digests, with the number of their look."""
    lines = [line for path in _ledgers(sealed) for line in read_lines(path)]
    return {line["question"]: int(line["look"]) for line in reversed(lines)}


def shown_before(sealed: Sealed, look: int) -> bool:
    """Return whether a look before this one ended in a certificate, which tells something of the answers."""
    lines = (line for path in _ledgers(sealed) for line in read_lines(path))
    return any(line.get("certified") and line["look"] < look for line in lines)


def take(sealed: Sealed, question: Mapping[str, Any]) -> int:
    """Return the number of this look, from 1; a question that was asked before keeps its number.

    Parameters
    ----------
    question : everything that the answer depends on, JSON-ready.
    """
    asked, digest = looks(sealed), _digest(question)
    number = asked.get(digest) or max(asked.values(), default=0) + 1
    _note(sealed, {"look": number, "question": digest})
    return number


def note_certified(sealed: Sealed, question: Mapping[str, Any], look: int) -> None:
    """Note that a look ended in a certificate."""
    _note(sealed, {"look": look, "question": _digest(question), "certified": True})


def _digest(question: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()


def _note(sealed: Sealed, line: dict[str, Any]) -> None:
    for path in _ledgers(sealed):
        try:
            append(path, [] if line in read_lines(path) else [line])
        except OSError:  # a home that cannot be written: the copy beside the annotations counts
            if path.parent == sealed.audit_folder:
                raise
