"""Rules of others for choosing what to accept from an audit, written from their formulas, and the score.

All take errors at places of one sealed order: ``drawn`` are places in the order of drawing (with
replacement, or without), ``wrong`` is (n,) whether the label at each place is wrong. All return how many
of the surest rows are accepted.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from scipy.special import bdtr


def accepted_before(hits: np.ndarray, allowed: int, n: int) -> int:
    """Return the rows before the (allowed + 1)-th of the sorted places ``hits``; n if there are fewer."""
    return n if len(hits) <= allowed else int(hits[allowed])


def exact_brute_force(n: int, drawn: np.ndarray, wrong: np.ndarray, allowed: int) -> int:
    """Return what the finish rule accepts, one row at a time."""
    audited, seen = set(drawn.tolist()), 0
    for place, bad in enumerate(wrong.tolist()):
        if bad and place in audited:
            seen += 1
            if seen > allowed:
                return place
    return n if allowed >= 0 else 0


def exact_allowed(n: int, m: int, max_error: str, alpha: str) -> int:
    """Return the audited errors allowed by the finish rule, in exact arithmetic; -1 if none are."""
    k = math.floor(Fraction(max_error) * n)

    def tail(c: int) -> Fraction:
        ways = (math.comb(c + k + 1, i) * math.comb(n - c - k - 1, m - i) for i in range(c + 1))
        return Fraction(sum(ways), math.comb(n, m))

    allowed = -1
    while allowed + 1 <= m and tail(allowed + 1) <= Fraction(alpha):
        allowed += 1
    return allowed


def wealth(z: np.ndarray, mean: float, alpha: float) -> np.ndarray:
    """Return the largest capital (...) of a bet that the mean of z (..., m), in [0, 1], is below ``mean``.

    Waudby-Smith and Ramdas 2020 (arXiv 2010.09686), one-sided, with truncation at 3/4, as PAC labels use it.
    """
    m = z.shape[-1]
    t = np.arange(1, m + 1)
    guess = (0.5 + np.cumsum(z, axis=-1)) / (1 + t)
    variance = (0.25 + np.cumsum((z - guess) ** 2, axis=-1)) / (1 + t)
    before = np.concatenate([np.full((*z.shape[:-1], 1), 0.25), variance[..., :-1]], axis=-1)
    bet = np.minimum(np.sqrt(2 * np.log(2 / alpha) / (m * before)), 0.75 / (1 - mean))
    return np.exp(np.max(np.cumsum(np.log1p(-bet * (z - mean)), axis=-1), axis=-1))


def upper_bound(z: np.ndarray, alpha: float) -> float:
    """Return the upper confidence bound of the mean of z (m,): where the capital reaches 1 / alpha."""
    low, high = 0.0, 1 - 1e-9
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if wealth(z, middle, alpha) >= 1 / alpha else (middle, high)
    return high


def pac_labels(n: int, drawn: np.ndarray, wrong: np.ndarray, max_error: float, alpha: float) -> int:
    """Return what PAC labels (arXiv 2506.10908) accept from draws with replacement.

    The bound changes only where an error was drawn, so it is tried with the first 0, 1, 2, ... of them; the
    first failure decides. The capital rises with the mean, so "bound <= max_error" is "capital >= 1 / alpha".
    """
    places = np.unique(drawn[wrong[drawn]])
    for start in range(0, len(places) + 1, 8):
        ends = np.append(places, n)[start : start + 8]  # strictly below: the errors before each end
        z = (wrong[drawn] & (drawn < ends[:, None])).astype(float)
        failed = np.flatnonzero(wealth(z, max_error, alpha) < 1 / alpha)
        if len(failed):
            which = start + int(failed[0])
            return int(places[which - 1]) + 1 if which else 0
    return n


def clopper_pearson(n: int, drawn: np.ndarray, wrong: np.ndarray, max_error: float, alpha: float) -> int:
    """Return what the exact binomial bound accepts from draws with replacement."""
    m = len(drawn)
    allowed = int(np.sum(bdtr(np.arange(m), m, max_error) <= alpha)) - 1
    return accepted_before(np.sort(drawn[wrong[drawn]]), allowed, n) if allowed >= 0 else 0


def sgr(n: int, drawn: np.ndarray, wrong: np.ndarray, max_error: float, alpha: float) -> int:
    """Return what SGR (Geifman and El-Yaniv 2017, arXiv 1705.08500) accepts, by binary search."""
    places = np.sort(drawn)
    errors = np.cumsum(wrong[places])
    m = len(places)
    steps, low, high, best = math.ceil(math.log2(m)), 0, m - 1, 0
    for _ in range(steps):
        left_out = (low + high + 1) // 2
        inside = m - left_out
        if bdtr(errors[inside - 1], inside, max_error) <= alpha / steps:
            best, high = max(best, int(places[inside - 1]) + 1), left_out
        else:
            low = left_out
    return best


def _binomial(
    n: int, drawn: np.ndarray, wrong: np.ndarray, sizes: np.ndarray, max_error: float
) -> np.ndarray:
    places = np.sort(drawn)
    count = np.searchsorted(places, sizes)
    errors = np.append(0, np.cumsum(wrong[places]))[count]
    return np.where(count > 0, bdtr(errors, np.maximum(count, 1), max_error), 1.0)


def ltt_bonferroni(n: int, drawn: np.ndarray, wrong: np.ndarray, max_error: float, alpha: float) -> int:
    """Return what Learn then Test (arXiv 2110.01052) accepts with Bonferroni over ten thresholds."""
    sizes = np.ceil(n * np.arange(1, 11) / 10).astype(int)
    passed = _binomial(n, drawn, wrong, sizes, max_error) <= alpha / 10
    return int(np.max(sizes[passed], initial=0))


def ltt_sequence(n: int, drawn: np.ndarray, wrong: np.ndarray, max_error: float, alpha: float) -> int:
    """Return what Learn then Test accepts in fixed sequence, from the surest fifth in steps of 2.5 %."""
    sizes = np.ceil(n * np.arange(8, 41) / 40).astype(int)
    failed = _binomial(n, drawn, wrong, sizes, max_error) > alpha
    stop = int(np.argmax(failed)) if failed.any() else len(sizes)
    return int(sizes[stop - 1]) if stop else 0


def tuned_on_audit(n: int, drawn: np.ndarray, wrong: np.ndarray, max_error: float, alpha: float) -> int:
    """Return the longest prefix whose audited rows have an error rate within ``max_error``: no promise."""
    places = np.sort(drawn)
    ends = np.append(places[1:], n)  # a prefix may end anywhere before the next audited row
    good = np.cumsum(wrong[places]) <= max_error * np.arange(1, len(places) + 1)
    return int(np.max(ends[good], initial=0))


def told(values: np.ndarray, digits: int = 3) -> dict[str, float]:
    """Return mean and standard error."""
    values = np.asarray(values, dtype=float)
    return {
        "mean": round(float(values.mean()), digits),
        "se": round(float(values.std(ddof=1) / math.sqrt(len(values))), digits),
    }
