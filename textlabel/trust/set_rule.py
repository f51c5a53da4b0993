"""Which prediction sets a model gives: how they are made, at which level, and the quantiles.

The kinds, by misfit and quantile of `textlabel.trust.sets`, which says what each promises:

- ``lac``: ``1 - p``, one quantile; the smallest sets on average.
- ``aps``, ``raps``: the probability that goes before a class, one quantile; sets grow where a row is hard.
  The penalty of ``raps`` begins after five classes: with so few or fewer the two are the same.
- ``class``: ``1 - p``, one quantile a class, of its own rows; a class of too few rows is in every set.
- ``interval``: of scores, the absolute residual.
- ``off``: rows that may carry several classes have no sets, unless ``class`` is asked for. Then a row's set
  holds each class that it carries but for a share ``alpha``: ``1 - p`` of the rows that carry the class is
  what the class's quantile is of.

The uniform draw of ``aps`` and ``raps`` is a hash of the text and the seed. So a text has the same set
whenever and beside whatever other rows it is labeled, and identical texts share a draw. Coverage of at least
``1 - alpha`` needs nothing from the draws: for a given seed the misfit is a fixed function of text and label,
so rows that are exchangeable have exchangeable misfits. What one draw a text gives up is the other side, that
coverage is hardly above the level: equal texts of one label are tied, and ties add to it. And as the set of
one text is always the same, coverage is an average over texts, not over draws for one.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from textlabel.errors import RecipeError, nearest
from textlabel.trust.sets import (
    aps_misfits,
    class_quantiles,
    conformal_quantile,
    lac_misfits,
    sets_of,
    true_misfits,
)
from textlabel.types import LabelKind

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

log = logging.getLogger("textlabel")

DEFAULT_SETS = "lac"
#: sets miss the true label at most this often
DEFAULT_ALPHA = 0.1
#: of RAPS, what each class beyond the fifth adds, as its authors chose
PENALTY = 0.01

#: kinds for classes -> misfits (n, k) of probabilities and draws; only some call for the draws
_MISFITS: Mapping[str, Callable[[npt.ArrayLike, Callable[[], Floats]], Floats]] = {
    "lac": lambda p, _: lac_misfits(p),
    "aps": lambda p, draws: aps_misfits(p, draws()),
    "raps": lambda p, draws: aps_misfits(p, draws(), penalty=PENALTY),
    "class": lambda p, _: lac_misfits(p),
}
KINDS = tuple(_MISFITS)


@dataclass(frozen=True)
class SetRule:
    """Which classes are in a row's prediction set, or how wide a score's interval is.

    Parameters
    ----------
    kind : lac, aps, raps, class, interval for scores, or off.
    alpha : share of sets, of rows like those that calibrated, that may miss the true label.
    quantiles : the largest misfit let in; for ``class`` one a class, in class order.
    seed : of the draws of aps and raps.

    Examples
    --------
    >>> rule = SetRule("lac", 0.1, (0.5,))
    >>> rule.sets([[0.75, 0.25], [0.5, 0.5]], ["a", "b"]).tolist()
    [[True, False], [True, True]]
    >>> SetRule.from_json(rule.to_json()) == rule
    True
    """

    kind: str
    alpha: float
    quantiles: tuple[float, ...]
    seed: int = 0

    def sets(self, probabilities: npt.ArrayLike, texts: Iterable[str]) -> Bools:
        """Return which classes are in each row's set, bool (n, k): always the likeliest.

        Parameters
        ----------
        probabilities : (n, k) calibrated like those that the quantiles are of.
        texts : n texts of the same rows, of which aps and raps draw.
        """
        misfits = _MISFITS[self.kind](probabilities, lambda: draws(texts, self.seed))
        return sets_of(probabilities, misfits, self.quantiles)

    def subsets(self, probabilities: Floats, carried: Bools) -> Bools | None:
        """Return which classes are in the sets (n, k) of rows that may carry several; None: no sets.

        Parameters
        ----------
        probabilities : (n, k) of each class by itself.
        carried : (n, k) classes that rows are said to carry, which are always in.
        """
        if self.kind == "off":
            return None
        return carried | (1 - probabilities <= np.array(self.quantiles))

    def intervals(self, scores: npt.ArrayLike) -> Floats:
        """Return the ends (n, 2) of the interval of each score."""
        [half], values = self.quantiles, np.asarray(scores, dtype=np.float64)
        return np.stack([values - half, values + half], axis=1)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary; numbers are strings, as infinity is not JSON."""
        quantiles = [str(q) for q in self.quantiles]
        return {"kind": self.kind, "alpha": self.alpha, "quantiles": quantiles, "seed": self.seed}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SetRule:
        """Return the rule that `to_json` gave."""
        return cls(data["kind"], data["alpha"], tuple(map(float, data["quantiles"])), data["seed"])


@dataclass(frozen=True)
class SetPlan:
    """Which prediction sets are wanted: kind and level."""

    kind: str = DEFAULT_SETS
    alpha: float = DEFAULT_ALPHA

    def check(self, labels: LabelKind) -> None:
        """Raise a `RecipeError` where these sets cannot be had, before hours of work."""
        if self.kind not in KINDS:
            raise RecipeError(f"sets = {self.kind!r} is unknown: {nearest(self.kind, KINDS)}")
        if labels == "score" and self.kind != DEFAULT_SETS:
            raise RecipeError(
                f"sets = {self.kind!r} are sets of classes, and these labels are scores, which get an "
                "interval: leave it out"
            )
        if labels == "multi" and self.kind not in (DEFAULT_SETS, "class"):
            raise RecipeError(
                f"sets = {self.kind!r} hold the one class of a row, and these rows may carry several: take "
                "sets = 'class', a promise for each class, or leave it out"
            )
        if not 0 < self.alpha < 1:
            raise RecipeError(
                f"set_alpha = {self.alpha}: expected the share of sets that may miss the true label, between "
                "0 and 1, such as 0.1"
            )

    def fit(
        self,
        probabilities: npt.ArrayLike,
        labels: npt.ArrayLike,
        texts: Sequence[str],
        names: Sequence[str],
        seed: int,
    ) -> SetRule:
        """Return the rule for classes, from rows that the model did not train on.

        Parameters
        ----------
        probabilities : (n, k) calibrated, out of fold or held out.
        labels : (n,) true classes in [0, k).
        texts : of the same rows.
        names : of the k classes, for a warning.
        """
        misfits = _MISFITS[self.kind](probabilities, lambda: draws(texts, seed))
        own = true_misfits(misfits, labels)
        if self.kind != "class":
            return SetRule(self.kind, self.alpha, (conformal_quantile(own, self.alpha),), seed)
        return self._by_class(own, labels, names, seed)

    def fit_subsets(
        self, probabilities: Floats, answers: npt.NDArray[Any], names: Sequence[str], seed: int
    ) -> SetRule:
        """Return the rule for rows that may carry several classes, from rows that the model did not train on.

        Parameters
        ----------
        probabilities, answers : (n, k) of each class by itself, and which a row carries.
        """
        if self.kind != "class":
            return SetRule("off", self.alpha, ())
        rows, labels = np.nonzero(answers)
        return self._by_class(1 - probabilities[rows, labels], labels, names, seed)

    def _by_class(self, own: Floats, labels: npt.ArrayLike, names: Sequence[str], seed: int) -> SetRule:
        """Return the rule with a quantile for each class of the misfits ``own`` (m,) of its rows."""
        quantiles = class_quantiles(own, labels, len(names), self.alpha)
        if few := [name for name, q in zip(names, quantiles, strict=True) if math.isinf(q)]:
            log.warning(
                "classes with fewer than %d rows that calibrate, which are in every prediction set: %s",
                math.ceil(1 / self.alpha - 1e-9) - 1,
                ", ".join(few),
            )
        return SetRule(self.kind, self.alpha, tuple(quantiles.tolist()), seed)

    def fit_interval(self, residuals: npt.ArrayLike) -> SetRule:
        """Return the rule for scores, from absolute residuals (n,) of rows not trained on."""
        return SetRule("interval", self.alpha, (conformal_quantile(residuals, self.alpha),))


def draws(texts: Iterable[str], seed: int) -> Floats:
    """Return a uniform draw in [0, 1) for each text (n,): its hash, so that it depends on nothing else.

    Examples
    --------
    >>> draws(["a", "b", "a"], 0).round(3).tolist(), draws(["a"], 1).round(3).tolist()
    ([0.934, 0.217, 0.934], [0.667])
    """
    start = hashlib.sha256(f"{seed}\x1f".encode())
    return np.array([_draw(start, text) for text in texts], dtype=np.float64)


def _draw(start: Any, text: str) -> float:
    digest = start.copy()
    digest.update(text.encode("utf-8", "surrogatepass"))
    # 53 bits: more would round up to 1
    return float((int.from_bytes(digest.digest()[:8], "big") >> 11) / 2**53)
