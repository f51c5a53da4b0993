"""How much each rule says, how it fits with the others, and how often gold rows prove it right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from textlabel.rules.models import checked
from textlabel.trust.exact import binomial_limits
from textlabel.types import IntArray


@dataclass(frozen=True)
class RuleRow:
    """What is known of one rule; shares are in [0, 1], of all texts.

    Parameters
    ----------
    rule_coverage, overlap, conflict : share of texts that it votes on; where another rule votes, too; and
        where another votes for another class.
    gold_votes : gold rows that it votes on.
    accuracy, low, high : share of these that it has right, with exact limits (Clopper and Pearson 1934) that
        hold for rows drawn at random; None without any.
    finding : "dead" if it votes on nothing, "worse than chance" if ``high`` is below one over the classes,
        else "".
    """

    rule: str
    classes: tuple[str, ...]
    rule_coverage: float
    overlap: float
    conflict: float
    gold_votes: int
    accuracy: float | None
    low: float | None
    high: float | None
    finding: str


def rule_table(
    votes: npt.ArrayLike,
    names: Sequence[str],
    classes: Sequence[str],
    gold: npt.ArrayLike | None = None,
    alpha: float = 0.05,
) -> list[RuleRow]:
    """Return a row for each rule.

    Parameters
    ----------
    votes : (n, m) class numbers, -1 where a rule abstains.
    gold : (n,) classes of the rows that people labeled, -1 elsewhere.

    Examples
    --------
    >>> [row] = rule_table([[0], [0], [-1], [0]], ["a"], ["x", "y"], [0, 1, 1, -1])
    >>> row.rule_coverage, row.gold_votes, row.accuracy, row.finding
    (0.75, 2, 0.5, '')
    """
    v, g = checked(votes, len(classes), gold)
    return [_row(v, j, name, classes, g, alpha) for j, name in enumerate(names)]


def _row(votes: IntArray, j: int, name: str, classes: Sequence[str], gold: IntArray, alpha: float) -> RuleRow:
    column, others = votes[:, j], np.delete(votes, j, axis=1)
    says, known = column >= 0, (column >= 0) & (gold >= 0)
    overlap = says & (others >= 0).any(axis=1)
    conflict = says & ((others >= 0) & (others != column[:, None])).any(axis=1)
    rows, hits, judged = max(len(column), 1), int((column == gold)[known].sum()), int(known.sum())
    low, high = (float(limit) for limit in binomial_limits(hits, judged, alpha))
    finding = "" if says.any() else "dead"
    finding = "worse than chance" if judged and high < 1 / len(classes) else finding
    return RuleRow(
        name,
        tuple(classes[c] for c in np.unique(column[says])),
        float(says.sum() / rows),
        float(overlap.sum() / rows),
        float(conflict.sum() / rows),
        judged,
        hits / judged if judged else None,
        low if judged else None,
        high if judged else None,
        finding,
    )
