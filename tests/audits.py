"""Draws, and the rules of the certificates once more: written from the formulas, for many draws at once.

Rows stand in sealed order, so a row's place is its rank. ``audited`` and ``wrong`` are bool (draws, n).
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
from scipy.stats import hypergeom


def draws(n, m, count, rng):
    """Return ``count`` uniform draws of m of n rows, as bool (count, n)."""
    audited = np.zeros((count, n), bool)
    np.put_along_axis(audited, np.argsort(rng.random((count, n)), axis=1)[:, :m], True, axis=1)
    return audited


def every_draw(n, m):
    """Return each of the C(n, m) draws once, as bool (C(n, m), n)."""
    places = np.array(list(itertools.combinations(range(n), m)), dtype=int)
    audited = np.zeros((len(places), n), bool)
    np.put_along_axis(audited, places, True, axis=1)
    return audited


def every_placement(n):
    """Return all ways in which n labels can be wrong, as bool (2**n, n)."""
    return np.array(list(itertools.product([False, True], repeat=n)))


def pairs(draws_, placements):
    """Return every draw with every placement: two bool arrays (placements, draws, n)."""
    shape = (len(placements), len(draws_), placements.shape[1])
    return np.broadcast_to(draws_, shape), np.broadcast_to(placements[:, None], shape)


def finish_errors_allowed(n, m, max_error, alpha):
    """Return c in exact arithmetic from the definition; -1 if there is none."""
    k = math.floor(Fraction(str(max_error)) * n)

    def tail(c):
        special = c + k + 1
        if special > n:  # then not even k + 1 rows are left that nobody has audited
            return Fraction(0)
        ways = sum(math.comb(special, i) * math.comb(n - special, m - i) for i in range(min(c, m) + 1))
        return Fraction(ways, math.comb(n, m))

    return max((c for c in range(m + 1) if tail(c) <= Fraction(str(alpha))), default=-1)


def finish_walk(n, ranks, wrong, max_error, alpha):
    """Return what the finish rule accepts, walking down one row at a time."""
    c = finish_errors_allowed(n, len(ranks), max_error, alpha)
    if c < 0:
        return 0
    found = {int(rank) for rank, bad in zip(ranks, wrong, strict=True) if bad}
    seen = 0
    for rank in range(n):
        seen += rank in found
        if seen == c + 1:
            return rank
    return n


def finish_accepted(c, audited, wrong):
    """Return rows (...) before the (c + 1)-th audited error of each draw."""
    return (
        np.sum(np.cumsum(audited & wrong, axis=-1) <= c, axis=-1)
        if c >= 0
        else np.zeros(audited.shape[:-1], int)
    )


def wrong_labels_left(audited, wrong, accepted):
    """Return how many accepted rows that nobody audited are wrong."""
    inside = np.arange(audited.shape[-1]) < accepted[..., None]
    return np.sum(inside & wrong & ~audited, axis=-1)


def selective_p_values(grid, max_error, audited, wrong):
    """Return p-values (..., len(grid)) of "too many of this prefix are wrong"."""
    k = np.array([math.floor(Fraction(str(max_error)) * int(size)) for size in grid])
    count = np.cumsum(audited, axis=-1)[..., grid - 1]
    errors = np.cumsum(audited & wrong, axis=-1)[..., grid - 1]
    p = np.empty(count.shape)
    for i, size in enumerate(grid):  # few numbers occur, so each is computed once
        code, back = np.unique(count[..., i] * (size + 1) + errors[..., i], return_inverse=True)
        p[..., i] = hypergeom.cdf(code % (size + 1), size, k[i] + 1, code // (size + 1))[back].reshape(
            p.shape[:-1]
        )
    return p


def fallback(share, p):
    """Return the number of the last rejected test (...), from 1; 0 if none is rejected."""
    level, last = np.zeros(p.shape[:-1]), np.zeros(p.shape[:-1], int)
    for i, own in enumerate(share):
        level = level + own
        rejected = (p[..., i] <= level) & (level > 0)
        last = np.where(rejected, i + 1, last)
        level = np.where(rejected, level, 0.0)
    return last


def too_many(max_error, wrong, accepted):
    """Return whether more than the tolerated share of the accepted rows is wrong, audited ones counted."""
    total = np.concatenate([np.zeros((*wrong.shape[:-1], 1), int), np.cumsum(wrong, axis=-1)], axis=-1)
    allowed = np.array([math.floor(Fraction(str(max_error)) * a) for a in range(wrong.shape[-1] + 1)])
    return np.take_along_axis(total, accepted[..., None], axis=-1)[..., 0] > allowed[accepted]
