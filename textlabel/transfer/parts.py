"""Which part of a source helps: a head without each part in turn, and one of each part alone."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from textlabel.errors import CorpusError, RecipeError
from textlabel.transfer.variants import FROZEN, Maker, Variant
from textlabel.transfer.verdicts import ALPHA, told_difference
from textlabel.trust.estimates import CAVEAT
from textlabel.trust.paired import Difference, paired_difference
from textlabel.types import Summary

if TYPE_CHECKING:
    from textlabel.transfer.corpora import Rows

log = logging.getLogger("textlabel")

#: two heads are fitted for each
MOST_PARTS = 12


@dataclass(frozen=True)
class _Part:
    name: str
    rows: int
    alone: Variant
    without: Variant


def refuse_parts(parts: Sequence[str], column: str) -> None:
    """Raise a `RecipeError` where a column tells too few parts of a source apart, or too many."""
    count = len(set(parts))
    if not 2 <= count <= MOST_PARTS:
        raise RecipeError(
            f"source_by = {column!r}: {count} different values in the source; expected 2 to {MOST_PARTS} "
            "parts, each with rows of several classes"
        )


def parts_of(maker: Maker, whole: Variant) -> list[Summary]:
    """Return what each part of the source is good for, the most harmful first.

    Parameters
    ----------
    whole : the head of all parts.
    """
    names = sorted(set(maker.corpora.parts))
    told = [_told(_fitted(maker, name), whole, ALPHA / len(names)) for name in names]
    return sorted(told, key=lambda one: (one["loss"] is None, one["loss"] or 0.0))


def _fitted(maker: Maker, name: str) -> _Part:
    own = [part == name for part in maker.corpora.parts]
    rows = [row for row, is_own in zip(maker.corpora.source, own, strict=True) if is_own]
    rest = [row for row, is_own in zip(maker.corpora.source, own, strict=True) if not is_own]
    log.info("transfer: source part %s", name)
    return _Part(name, len(rows), _head(maker, rows), _head(maker, rest))


def _head(maker: Maker, rows: Rows) -> Variant:
    """Return a judged head of some rows; a note where they are too few to learn from."""
    variant = Variant(FROZEN, "a part of the source")
    try:
        labeler = maker.labeler(FROZEN, rows)
    except CorpusError as error:
        return replace(variant, note=str(error))
    return maker.judged(labeler, variant)


def _accuracy(one: Variant) -> float | None:
    """Return the accuracy on gold rows, else what is estimated without."""
    if one.right is not None:
        return float(one.right.mean())
    return None if one.estimate is None else one.estimate.value


def _told(part: _Part, whole: Variant, alpha: float) -> Summary:
    found = None
    if whole.right is not None and part.without.right is not None:
        found = paired_difference(whole.right, part.without.right, alpha)
    alone, without, all_ = _accuracy(part.alone), _accuracy(part.without), _accuracy(whole)
    loss = None if without is None or all_ is None else all_ - without
    return {
        "part": part.name,
        "rows": part.rows,
        "alone": alone,
        "without": without,
        "loss": loss,
        "difference": told_difference(found),
        "verdict": _verdict(found, loss, part.without.note),
        "note": part.alone.note,
    }


def _verdict(found: Difference | None, loss: float | None, note: str) -> str:
    if note or loss is None:
        return f"not known: {note or 'nothing was measured'}"
    if found is None:
        return f"estimated {100 * loss:+.1f} points by it: {CAVEAT}"
    ends = f"({100 * found.low:+.1f} to {100 * found.high:+.1f})"
    if found.low > 0:
        return f"helps: {100 * loss:+.1f} points by it {ends}"
    if found.high < 0:
        return f"hurts: {100 * loss:+.1f} points by it {ends}"
    return f"no difference that {found.rows} rows can show {ends}"
