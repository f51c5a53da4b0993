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
from textlabel.audit.store import append, locked, read_lines


def _ledgers(sealed: Sealed) -> tuple[Path, Path]:
    """Return the user's ledger of this corpus, and that beside the annotations."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    name = f"{sealed.seal['corpus']}.jsonl"
    return Path(state) / "textlabel" / "looks" / name, sealed.audit_folder / "looks.jsonl"


def looks(sealed: Sealed) -> dict[str, int]:
    """Return the questions asked about this corpus so far, as digests, with the number of their look."""
    return {line["question"]: int(line["look"]) for line in reversed(_lines(sealed)) if "question" in line}


def shown_before(sealed: Sealed, look: int) -> bool:
    """Return whether something of the answers was shown before this look: a certificate, or shares."""
    return any(line["shown"] < look for line in _lines(sealed) if "shown" in line)


def take(sealed: Sealed, question: Mapping[str, Any]) -> int:
    """Return the number of this look, from 1; a question that was asked before keeps its number.

    Parameters
    ----------
    question : everything that the answer depends on, JSON-ready.
    """
    digest = hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()
    with locked(_ledgers(sealed)[0].parent):
        asked = looks(sealed)
        number = asked.get(digest) or max(asked.values(), default=0) + 1
        _note(sealed, {"look": number, "question": digest})
    return number


def note_shown(sealed: Sealed, look: int | None = None) -> None:
    """Note that something of the answers was shown, at this look or (None) after the last one."""
    with locked(_ledgers(sealed)[0].parent):
        last = max(looks(sealed).values(), default=0)
        _note(sealed, {"shown": last if look is None else look})


def _lines(sealed: Sealed) -> list[dict[str, Any]]:
    return [line for path in _ledgers(sealed) for line in read_lines(path)]


def _note(sealed: Sealed, line: dict[str, Any]) -> None:
    for path in _ledgers(sealed):
        append(path, [] if line in read_lines(path) else [line])
