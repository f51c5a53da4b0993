"""What every certificate starts from and ends in: an audit of a ranked population, and an outcome."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from textlabel.errors import AuditError

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Audit:
    """What people found in rows drawn from a ranked population.

    Parameters
    ----------
    n : rows in the population.
    ranks : (m,) distinct places of the audited rows in the sealed order; 0 is the surest row.
    wrong : (m,) whether the label of that row is wrong, or may be, for want of an answer.
    in_scope : rows that may be accepted where nobody labels the rest: the first ``in_scope`` ranks.
        By default all.
    expected_error : (n,) or None; share of wrong labels expected at each rank from sealed confidence, for
        choices made before any answer is seen. Never part of a promise.

    Raises
    ------
    AuditError : ranks outside the population, repeated, or not as many as answers; ``in_scope`` outside the
        population; ``expected_error`` without a number for each rank.
    """

    n: int
    ranks: Ints
    wrong: Bools
    in_scope: int | None = None
    expected_error: Floats | None = None

    def __post_init__(self) -> None:
        if self.ranks.shape != self.wrong.shape or self.ranks.ndim != 1:
            raise AuditError(f"expected one answer a rank, got {self.ranks.shape} and {self.wrong.shape}")
        if len(self.ranks) and not 0 <= self.ranks.min() <= self.ranks.max() < self.n:
            raise AuditError(f"expected ranks in [0, {self.n}), got {self.ranks.min()} to {self.ranks.max()}")
        if len(np.unique(self.ranks)) != len(self.ranks):
            raise AuditError("a row was audited twice; expected rows drawn without replacement")
        if self.wrong.dtype != np.bool_:  # numbers would be taken for places
            raise AuditError(f"expected answers as true or false, got {self.wrong.dtype}")
        if not 0 <= (self.n if self.in_scope is None else self.in_scope) <= self.n:
            raise AuditError(f"in_scope = {self.in_scope}: expected 0 to {self.n}, the rows there are")
        expected = self.expected_error
        if expected is not None and (expected.shape != (self.n,) or np.isnan(expected).any()):
            raise AuditError(f"expected_error: expected {self.n} numbers, got {expected.shape} or a NaN")

    @property
    def m(self) -> int:
        """Audited rows."""
        return len(self.ranks)

    @property
    def errors(self) -> Ints:
        """Ranks of the audited errors, surest first."""
        return np.sort(self.ranks[self.wrong])


@dataclass(frozen=True)
class Outcome:
    """What may be said of one population, or that nothing may be said yet.

    Parameters
    ----------
    accepted : rows of the lowest ranks whose model label stands; 0: not yet.
    allowed : wrong labels that the promise tolerates.
    bound : what the probability (or, for ``fdr``, the expected share) of a broken promise cannot exceed.
    reason : where ``accepted`` is 0, why, in words that tell nothing of the answers: see `price`.
    """

    accepted: int
    allowed: int
    bound: float
    reason: str = ""


#: what a mode's module offers as ``certify``
Certify = Callable[[Audit, float, float], Outcome]


def tolerated(max_error: float, n: int) -> int:
    """Return how many wrong labels of ``n`` a share of ``max_error`` allows: its floor, in exact decimals.

    Examples
    --------
    >>> tolerated(0.29, 100), int(0.29 * 100)
    (29, 28)
    """
    return math.floor(Fraction(repr(float(max_error))) * n)


def check_levels(max_error: float, alpha: float) -> None:
    """Refuse a share of wrong labels outside [0, 1) or a level outside (0, 1) with an `AuditError`."""
    if not 0 <= max_error < 1:
        raise AuditError(f"max_error = {max_error}: expected a share of wrong labels in [0, 1), such as 0.05")
    if not 0 < alpha < 1:
        raise AuditError(f"alpha = {alpha}: expected the chance of a broken promise in (0, 1), such as 0.05")


def price(look: int, alpha: float) -> float:
    """Return the part ``alpha / 2**look`` of ``alpha`` that the ``look``-th look (from 1) may spend.

    All looks together spend less than ``alpha``, so with probability at least ``1 - alpha`` no certificate of
    the corpus is wrong. The union bound needs that what look j asks (model, mode, error, further rows) does
    not depend on answers except through "the looks before it said: not yet". For along the one history in
    which every look failed, the j-th question is then fixed beforehand, and only that history has a j-th
    look. This is why "not yet" comes without a word on what was found. A certificate does tell something: a
    look after it is covered if its question was fixed beforehand.

    A promise about an average has no ``alpha``; there the same is done with ``max_error``: if the expected
    share at look j is at most ``max_error / 2**j``, the expected share at whichever look ended the audit is
    at most ``max_error``, the sum.

    Examples
    --------
    >>> [price(j, 0.05) for j in (1, 2, 3)]
    [0.025, 0.0125, 0.00625]
    """
    if look < 1:
        raise AuditError(f"look = {look}: looks are counted from 1")
    return float(alpha / 2.0**look)


def ranking(confidence: npt.ArrayLike, last: npt.ArrayLike | None = None, *, seed: int) -> Ints:
    """Return row numbers (n,) from the surest to the least sure, ties in random order.

    Parameters
    ----------
    confidence : (n,) higher is surer; a row without one (NaN) comes after those that have one.
    last : (n,) bool, rows that come after all others, such as those out of scope.
    seed : decides the order within ties, before any answer is seen and whatever the labels are.

    Examples
    --------
    >>> ranking([0.2, 0.9, 0.5], last=[False, True, False], seed=0).tolist()
    [2, 0, 1]
    """
    sure = np.asarray(confidence, dtype=np.float64)
    late = np.zeros(len(sure), bool) if last is None else np.asarray(last, dtype=bool)
    chance = np.random.default_rng(seed).permutation(len(sure))
    return np.lexsort((chance, -sure, late)).astype(np.int64)  # NaN sorts after every number
