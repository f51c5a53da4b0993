"""Numbers about the whole corpus: model labels of all rows, corrected by what people answered on some."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from textlabel.audit.answers import Gold, audit_answers
from textlabel.audit.certification import group_values, refuse_many, wrong_rows
from textlabel.audit.draws import drawn_rows, draws, refuse_released
from textlabel.audit.looks import note_shown
from textlabel.audit.seal import Sealed, open_sealed
from textlabel.audit.subsets import as_classes
from textlabel.errors import AuditError
from textlabel.trust.certificate import Ints
from textlabel.trust.shares import Share, mean_score
from textlabel.trust.shares import shares as class_shares


def shares(
    folder: str | Path,
    *,
    by: str | None = None,
    alpha: float = 0.05,
    bounds: tuple[float, float] | None = None,
) -> dict[str, Any]:
    """Return the share of right labels, and class shares or mean score, JSON-ready; with ``by`` per slice.

    What the intervals promise is told in `textlabel.trust.shares`. Rows that people labeled before the model
    did (gold) are counted as they are. Certify first: what is learned here must not guide the next look (see
    `textlabel.trust.certificate.price`).

    Parameters
    ----------
    by : column of the corpus.
    alpha : chance in (0, 1) that an interval misses; each by itself.
    bounds : lowest and highest possible score; without them few answers give no interval (None), and
        unresolved ones are an error.

    Raises
    ------
    AuditError : nothing was drawn, answers were released, no such column.
    """
    sealed = open_sealed(folder)
    refuse_released(sealed)
    made = draws(sealed)
    rows = drawn_rows(made)
    if not made:
        raise AuditError(f"{folder}: nothing was drawn to be checked; start with `textlabel audit draw`")
    gold = audit_answers(sealed)
    cuts: list[Any] = [None]
    if by is not None:
        cuts.append(np.array([str(value) for value in group_values(sealed, by).tolist()]))
        refuse_many(by, len(np.unique(cuts[1])))
    note_shown(sealed)
    found = [_told(line) for cut in cuts for line in _lines(sealed, gold, rows, cut, alpha, bounds)]
    return {
        "audited": len(rows),
        "unanswered": int(np.sum(~gold.decided[rows])),
        "alpha": alpha,
        "by": by,
        "right_labels": _told(_right_labels(sealed, gold, rows, made[0].tolerance, alpha)),
        "shares": found,
    }


def _right_labels(sealed: Sealed, gold: Gold, rows: Ints, tolerance: float | None, alpha: float) -> Share:
    """Return the share of the population whose model label is right; confidence narrows the interval."""
    right = 1 - wrong_rows(sealed, gold, rows, tolerance).astype(np.int64)
    codes = np.where(gold.decided[rows], right, -1)
    ranks, expected = sealed.rank[rows], sealed.expected_error
    if expected is not None:
        answers = np.where(codes < 0, np.nan, codes)
        [found] = mean_score(1 - expected, answers, ranks, alpha=alpha, bounds=(0.0, 1.0))
        if found.method == "normal":
            return replace(found, name="right")
    everything = np.ones(sealed.n, dtype=np.int64)
    return class_shares(everything, codes, ranks, 2, alpha=alpha, names=("wrong", "right"))[1]


def _told(line: Share) -> dict[str, Any]:
    """Return a share as JSON has it: what is unknown, or endless, is None."""
    values = asdict(line)
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}


def _lines(
    sealed: Sealed, gold: Gold, rows: Ints, cut: Any, alpha: float, bounds: tuple[float, float] | None
) -> Iterator[Share]:
    inside = np.sort(sealed.order)
    labels, answers = sealed.labels, gold.label[rows]
    place, by = np.searchsorted(inside, rows), None if cut is None else cut[inside]
    if sealed.names:
        codes = np.where(np.isnan(answers), -1, answers).astype(np.int64)
        found = class_shares(
            labels[inside], codes, place, len(sealed.names), alpha=alpha, by=by, names=sealed.names
        )
    else:
        found = mean_score(labels[inside], answers, place, alpha=alpha, by=by, bounds=bounds)
    human = sealed.rank < 0
    for line in found:
        known = labels[human if cut is None else human & (cut == line.slice)]
        values = known == sealed.names.index(line.name) if sealed.names else known
        yield _with_gold(line, float(values.sum()), len(values))


def _with_gold(line: Share, total: float, rows: int) -> Share:
    """Return the share of the population and of ``rows`` more whose known values sum to ``total``."""
    n = line.n + rows
    ends = {name: (getattr(line, name) * line.n + total) / n for name in ("estimate", "low", "high")}
    return replace(line, n=n, **ends)


def carried(folder: str | Path, *, alpha: float = 0.05) -> list[dict[str, Any]]:
    """Return the share of rows that carry each class, where rows may carry several, JSON-ready.

    As `shares`, which there tells of whole sets of classes.

    Raises
    ------
    AuditError : rows carry one class each, nothing was drawn, or answers were released.
    """
    sealed = open_sealed(folder)
    refuse_released(sealed)
    made = draws(sealed)
    if not sealed.several or not made:
        raise AuditError(f"{folder}: expected rows that may carry several classes, some of them audited")
    rows, gold = drawn_rows(made), audit_answers(sealed)
    note_shown(sealed)
    sets = [set(as_classes(word)) for word in sealed.names]
    holds = np.array([[name in one for name in sealed.classes] for one in sets], dtype=np.int64)
    inside, human = np.sort(sealed.order), sealed.rank < 0
    said = np.where(np.isnan(gold.label[rows]), 0, gold.label[rows]).astype(np.int64)
    found = []
    for c, name in enumerate(sealed.classes):
        labels = holds[sealed.labels, c]
        answers = np.where(gold.decided[rows], holds[said, c], -1)
        line = class_shares(labels[inside], answers, np.searchsorted(inside, rows), 2, alpha=alpha)[1]
        known = labels[human]
        found.append(_told(replace(_with_gold(line, float(known.sum()), len(known)), name=name)))
    return found
