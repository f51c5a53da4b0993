"""Certificate ``finish``: people will label what the model may not, and the finished corpus is certified.

Promise. With probability at least ``1 - alpha`` over the draw of the audit, at most ``k = floor(max_error *
n)`` labels of the finished population of ``n`` rows are wrong, when every row that is not accepted, and every
audited row, bears the people's answer. Assumed: the labels and their order were fixed before the draw, which
is uniform without replacement. Nothing else.

Rule. ``c`` is the largest number with ``P(Hypergeometric(n, c + k + 1, m) <= c) <= alpha``. Walk
down the order from the surest row and stop just before the ``(c + 1)``-th audited error; accept what lies
before. With fewer audited errors all is accepted; if no ``c >= 0`` exists, nothing is.

Proof. Call the errors of the sealed order ``e_1, e_2, ..., e_T``; which rows they are is fixed before the
draw. Let ``U_j`` be how many of the first ``j`` were not audited: it never falls as ``j`` grows. The accepted
rows hold the first ``E`` errors, of which at most ``c`` were audited, and the wrong labels that stay are the
``U_E`` others. Suppose ``U_E >= k + 1``, and let ``J = min(T, c + k + 1)``. If ``E <= J`` then ``U_J >= U_E
>= k + 1``. If ``E > J = c + k + 1`` then at most ``c`` of the first ``J`` were audited, so again ``U_J >= k +
1``. So a broken promise needs ``U_J >= k + 1``, an event about ``J`` fixed rows, whose probability can only
grow when the rows are made ``c + k + 1`` many: ``P(Hypergeometric(n, c + k + 1, m) <= c) <= alpha``. All
stopping points share this one event, so nothing is paid for choosing among them.

Unanswered rows count as errors. That moves the stop up, so a smaller prefix is accepted, with
no more wrong labels than before: the promise holds whatever the missing answers are.

The idea that one bound suffices for a threshold chosen from the audit is that of PAC labels (Candès, Ilyas,
Zrnic 2025, arXiv 2506.10908); the exact rule is classical acceptance sampling.
"""

from __future__ import annotations

from textlabel.trust.certificate import Audit, Ints, Outcome, check_levels, tolerated

NAME = "finish"
SPENDS = "alpha"
PROMISE = (
    "With probability at least {level}, at most {count} of the {n} labels ({percent}) of the finished "
    "population are wrong, once people have labeled the rows that were not accepted."
)


def certify(audit: Audit, max_error: float, alpha: float) -> Outcome:
    """Return how many of the surest rows keep the model's label; see this module's promise.

    Parameters
    ----------
    max_error : share of wrong labels in [0, 1) that the finished population may have.
    alpha : probability in (0, 1) with which the promise may be broken.

    Examples
    --------
    >>> import numpy as np
    >>> ranks = np.arange(0, 1000, 5)
    >>> certify(Audit(1000, ranks, ranks >= 700), max_error=0.05, alpha=0.05).accepted
    730
    """
    check_levels(max_error, alpha)
    k = tolerated(max_error, audit.n)
    c = errors_allowed(audit.n, audit.m, k, alpha)
    if c < 0:
        need = least_rows(audit.n, k, alpha)
        return Outcome(0, k, 0.0, f"{audit.m} audited rows cannot bear this promise, {need} are the least")
    accepted = stop(audit.n, audit.errors, c)
    reason = "" if accepted else "too many of the surest rows may be wrong"
    return Outcome(accepted, k, tail(audit.n, audit.m, k, c), reason)


def stop(n: int, errors: Ints, c: int) -> int:
    """Return how many rows lie before audited error ``c + 1`` (ranks ascending); all if there are fewer."""
    return n if len(errors) <= c else int(errors[c])


def tail(n: int, m: int, k: int, c: int) -> float:
    """Return the largest probability of more than k wrong labels when the walk stops at error ``c + 1``."""
    from scipy.stats import hypergeom

    # c + k + 1 > n with c <= m means that at most k rows were not audited
    return 0.0 if c + k + 1 > n else float(hypergeom.cdf(c, n, c + k + 1, m))


def errors_allowed(n: int, m: int, k: int, alpha: float) -> int:
    """Return the largest c with ``tail(n, m, k, c) <= alpha``, at most m; -1 if there is none.

    The tail rises with c: "at least k + 1 of the first c + k + 1 errors are not audited" implies the same of
    the first c + k + 2. From the c at which c + k + 1 exceeds n on, it is 0.

    Examples
    --------
    >>> errors_allowed(10_000, 58, 500, 0.05), errors_allowed(10_000, 59, 500, 0.05)
    (-1, 0)
    """
    if n - m <= k:  # what was not audited cannot hold more than k errors
        return m
    low, high = -1, m
    level = alpha * (1 + 1e-12)  # a tail that is alpha is not to be lost to rounding
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if tail(n, m, k, middle) <= level else (low, middle - 1)
    return low


def least_rows(n: int, k: int, alpha: float) -> int:
    """Return the fewest audited rows with which anything can be certified, if no audited row is wrong.

    Examples
    --------
    >>> least_rows(10_000, 500, 0.05), least_rows(100, 0, 0.05)
    (59, 95)
    """
    low, high = 0, max(n - k, 0)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if errors_allowed(n, middle, k, alpha) >= 0 else (middle + 1, high)
    return low
