"""What a transfer report says in words. `ALPHA` is shared by all comparisons of one table (Bonferroni)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from textlabel.transfer.variants import NO_TRANSFER, SOURCE_ONLY, TARGET_ONLY, Variant
from textlabel.trust.estimates import CAVEAT
from textlabel.trust.exact import binomial_limits
from textlabel.trust.paired import Difference, paired_difference
from textlabel.types import Summary

ALPHA = 0.05


def table_of(variants: Sequence[Variant]) -> list[Summary]:
    """Return what there is to tell of each variant, the first being the one that others are compared with."""
    base, *others = variants
    compared = max(sum(one.right is not None for one in others), 1)
    told = []
    for one in variants:
        found = None
        if one is not base and one.right is not None and base.right is not None:
            found = paired_difference(one.right, base.right, ALPHA / compared)
        told.append(_line(one, found, verdict(one, base, found)))
    return told


def slices_of(variants: Sequence[Variant], values: Sequence[str]) -> list[Summary]:
    """Return errors and rows accepted of each variant in each slice, and the difference to the first one."""
    base, names = variants[0], sorted(set(values))
    scored = [one for one in variants if one.right is not None]
    alpha = ALPHA / max((len(scored) - 1) * len(names), 1)
    told = []
    for name in names:
        here = np.array([value == name for value in values])
        lines = []
        for one in scored:
            assert one.right is not None
            assert one.accepted is not None
            assert base.right is not None
            right, accepted = one.right[here], one.accepted[here]
            found = None if one is base else paired_difference(right, base.right[here], alpha)
            lines.append(
                {
                    "variant": one.name,
                    "wrong": int((~right).sum()),
                    "error": float((~right).mean()),
                    "accepted": int(accepted.sum()),
                    "fraction_accepted": float(accepted.mean()),
                    "difference": told_difference(found),
                }
            )
        told.append({"slice": name, "rows": int(here.sum()), "variants": lines})
    return told


def verdict(one: Variant, base: Variant, found: Difference | None) -> str:
    """Return in words how a variant compares with the first one.

    Parameters
    ----------
    found : the difference on gold rows; None: there are none, or the variant could not be fitted.
    """
    if one is base:
        return "what others are compared with"
    if found is not None:
        words = _by_gold(one, found)
    else:
        words = "" if base.right is not None else _by_estimates(one, base)
    return "; ".join(filter(None, (words, one.note)))


def _by_gold(one: Variant, found: Difference) -> str:
    points = f"{100 * abs(found.value):.1f} points {_interval(found)}"
    if found.low <= 0 <= found.high:
        return f"no difference that {found.rows} rows can show"
    if one.name == TARGET_ONLY:
        hurts = f"negative transfer: the source hurts: it is {points} worse than the gold labels alone"
        told = hurts if found.low > 0 else f"worse by {points}: the source helps"
        return f"{told} (approximate limits: models of other gold rows judged each)"
    if one.name == NO_TRANSFER:
        hurts = f"negative transfer: the backbone hurts: with it the source's labels are {points} worse"
        return hurts if found.low > 0 else f"worse by {points}: the backbone helps"
    if found.low > 0:
        return f"better by {points}"
    return f"negative transfer: {points} worse than the source alone"


def _by_estimates(one: Variant, base: Variant) -> str:
    """Return what is said without gold rows."""
    if one.estimate is None or base.estimate is None:
        return "nothing to compare without gold rows"
    points = 100 * (one.estimate.value - base.estimate.value)
    side = "above" if points >= 0 else "below"
    return f"estimated {abs(points):.1f} points {side} {SOURCE_ONLY}: {CAVEAT}"


def _interval(found: Difference) -> str:
    """Return the ends of an interval that does not hold 0, without their sign."""
    low, high = sorted((100 * abs(found.low), 100 * abs(found.high)))
    return f"({low:.1f} to {high:.1f})"


def _line(one: Variant, found: Difference | None, words: str) -> Summary:
    told: dict[str, Any] = {
        "variant": one.name,
        "learned_from": one.learned_from,
        "accuracy_on_source": one.on_source,
        "estimate": None if one.estimate is None else one.estimate.to_json(),
    }
    if one.right is not None and one.accepted is not None:
        right, rows = int(one.right.sum()), len(one.right)
        low, high = (float(end) for end in binomial_limits(right, rows, ALPHA))
        told |= {"accuracy": right / rows, "low": low, "high": high, "right": right, "rows": rows}
        told |= {"fraction_accepted": float(one.accepted.mean()), "difference": told_difference(found)}
    return told | {"seconds": round(one.seconds, 1), "verdict": words}


def told_difference(found: Difference | None) -> Summary | None:
    """Return a difference as JSON."""
    return None if found is None else dict(vars(found))
