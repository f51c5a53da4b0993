"""Certificate ``selective``: nobody labels the rest; only the accepted rows are published.

Promise. With probability at least ``1 - alpha`` over the draw of the audit, at most ``floor(max_error *
accepted)`` of the accepted rows bear a wrong model label. (Audited rows among them are published with the
people's answer, which can only lower that number.) Assumed: labels, order and the shares below were fixed
before the draw, which is uniform without replacement. Nothing else.

Rule. For a prefix of ``N`` rows that holds ``M`` audited rows, ``w`` of them wrong, the hypothesis "more than
``k = floor(max_error * N)`` of its labels are wrong" has the p-value ``P(Hypergeometric(N, k + 1, M) <= w)``.
Prefixes on a fixed grid of ranks are tested from the smallest up, each at its own share of ``alpha`` plus
the level of the prefix before it, where that one was rejected. The shares are fixed before the draw and sum
to ``alpha``. The largest rejected prefix is accepted.

Proof. Given ``M`` the audited rows of a prefix are a uniform draw from it, so its p-value is valid: with ``t
> k`` wrong labels, ``w`` is stochastically larger than with ``k + 1``. Which prefixes ``N_1 < N_2 < ...``
have too many wrong labels does not depend on the draw. Accepting one of them needs that one was rejected;
let ``N_r`` be the first. Since the one before it among them was not rejected, it handed on nothing, and
``N_r`` was tested at no more than the shares from there up to ``N_r``, a number fixed beforehand. So it was
the first with no more than that probability, and these stretches of shares do not overlap: add them up. The
share of wrong labels need not be monotone in the rank. (The fallback procedure, Wiens and Dmitrienko 2005,
doi 10.1080/10543400500265660, on the thresholds of Learn then Test, Angelopoulos et al. 2021, arXiv
2110.01052, with an exact p-value for a finite corpus.)

Why ``w`` counts all wrong labels and not only those that stay: "too many stay" depends on the draw, so
which prefixes those are would too, and the proof would break.

Unanswered rows count as errors: every ``w`` is then at least what it would be, every p-value too, so
no further prefix is rejected and the proof stands.

The shares. Half of ``alpha`` goes to the prefix that the sealed confidence holds likeliest to be rejected,
the rest to prefixes of doubling size in halving parts, from 1.5 times the smallest that an audit of this size
could reject at all. A bad confidence makes for fewer accepted rows, never for a broken promise.
"""

from __future__ import annotations

import numpy as np

from textlabel.trust.certificate import Audit, Floats, Ints, Outcome, check_levels, tolerated

NAME = "selective"
SPENDS = "alpha"
PROMISE = (
    "With probability at least {level}, at most {count} of the {accepted} accepted rows ({percent}) bear "
    "a wrong label. The other rows are not part of the promise and are not published."
)

#: prefixes that are tested: multiples of this share of the population
STEP = 0.025


def certify(audit: Audit, max_error: float, alpha: float) -> Outcome:
    """Return how many of the surest rows may be published; see this module's promise.

    Parameters
    ----------
    max_error : share of wrong labels in [0, 1) that the accepted rows may have.
    alpha : probability in (0, 1) with which the promise may be broken.

    Examples
    --------
    >>> import numpy as np
    >>> ranks = np.arange(0, 1000, 5)
    >>> certify(Audit(1000, ranks, ranks >= 700), max_error=0.05, alpha=0.05).accepted
    700
    """
    check_levels(max_error, alpha)
    grid = prefixes(audit.n, audit.n if audit.in_scope is None else audit.in_scope)
    share = shares(audit, grid, max_error, alpha)
    if not share.any():
        return Outcome(0, 0, 0.0, f"{audit.m} audited rows cannot bear this promise, whatever the answers")
    accepted, level = 0, 0.0
    for size, own, p in zip(grid.tolist(), share, p_values(audit, grid, max_error), strict=True):
        level += own
        if 0 < level >= p:
            accepted = size
        else:
            level = 0.0
    reason = "" if accepted else "too many of the surest rows may be wrong"
    return Outcome(accepted, tolerated(max_error, accepted), alpha if accepted else 0.0, reason)


def prefixes(n: int, in_scope: int) -> Ints:
    """Return the tested numbers of surest rows: every 2.5 % of the population, up to what is in scope.

    Examples
    --------
    >>> prefixes(100, in_scope=9).tolist()
    [3, 5, 8, 9]
    """
    grid = np.ceil(n * np.arange(1, round(1 / STEP) + 1) * STEP - 1e-9).astype(np.int64)
    return np.unique(np.append(grid[grid < in_scope], in_scope)) if in_scope else grid[:0]


def p_values(audit: Audit, grid: Ints, max_error: float) -> Floats:
    """Return the p-value (len(grid),) of "more than the tolerated share of so many surest rows is wrong".

    Examples
    --------
    >>> import numpy as np
    >>> audit = Audit(100, np.arange(59), np.zeros(59, bool))
    >>> p_values(audit, np.array([60, 100]), 0.05).round(4).tolist()
    [0.0, 0.0038]
    """
    from scipy.stats import hypergeom

    count = np.searchsorted(np.sort(audit.ranks), grid)
    errors = np.searchsorted(audit.errors, grid)
    return np.asarray(hypergeom.cdf(errors, grid, _tolerated(max_error, grid) + 1, count))


def _tolerated(max_error: float, grid: Ints) -> Ints:
    return np.array([tolerated(max_error, size) for size in grid.tolist()], dtype=np.int64)


def shares(audit: Audit, grid: Ints, max_error: float, alpha: float) -> Floats:
    """Return the share of ``alpha`` (len(grid),) of each prefix; neither an answer nor the draw is read.

    They sum to ``alpha``, or all are 0 where an audit of this size without one error could reject nothing.
    """
    from scipy.stats import binom, hypergeom

    # with the expected number of audited rows: the number drawn would tie the shares to the draw
    m = audit.m * grid // max(audit.n, 1)
    bad = _tolerated(max_error, grid) + 1
    most = np.asarray(hypergeom.ppf(alpha / 2, grid, bad, m)) - 1  # audited errors and still rejected
    share, able = np.zeros(len(grid)), np.flatnonzero(most >= 0)
    if not len(able):
        return share
    places = [min((3 * int(able[0]) + 2) // 2, len(grid) - 1)]
    while 2 * places[-1] + 1 < len(grid):
        places.append(2 * places[-1] + 1)
    parts = alpha / 2.0 ** np.arange(1, len(places) + 1)
    parts[-1] *= 2  # what is left goes to the largest
    share[places] = parts
    if audit.expected_error is not None:
        mean = (np.cumsum(audit.expected_error) / np.arange(1, audit.n + 1))[grid - 1]
        chance = np.asarray(binom.cdf(most, m, np.clip(mean, 0, 1)))
        share /= 2
        share[np.argmax(chance)] += alpha / 2
    return share
