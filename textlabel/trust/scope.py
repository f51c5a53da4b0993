"""How far off the map a text lies, and which texts are out of scope at a stated false-alarm rate.

A plugin of kind ``off_map`` is a module that defines ``NAME``, ``NEEDS`` (which of "logits", "moments" and
"reference" it reads) and ``score(logits, features, known)``, (n,), higher where a text is further off.

The promise of `Scope.out_of_scope`: if the scores of the m rows that set the threshold and the score of a new
row are exchangeable, the new row is called out of scope with probability at most ``rate``, on average over
draws of the m rows and of the new one (split conformal; Bates et al. 2023, arXiv 2104.08279). That is so for
texts drawn like the labeled ones where the m rows were held out of training. It says nothing of one class or
slice, of the share in one corpus, or of how many texts from elsewhere are found.

Where the m scores are cross-fitted, each on a map that lacks its fold, the promise is approximate: the final
map is drawn from all rows and lies closer to new rows of the domain than those of the folds did. So false
alarms tend to be rarer than stated, without proof; `recipes/benchmarks/trust_out_of_scope.py` measures it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from textlabel.errors import BundleError, RecipeError
from textlabel.registry import load
from textlabel.trust.moments import Float32, Moments, fit_moments
from textlabel.trust.sets import conformal_quantile

Floating = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.integer[Any]]

DEFAULT_OFF_MAP = "relative_mahalanobis"

#: rows compared at once: bounds memory
_CHUNK = 2048
#: cosine above which two rows have the same features, but for rounding
_SAME = 1 - 1e-5


def normalized(features: Floating) -> Float32:
    """Return the rows scaled to length one, float32; a row of zeros stays one.

    Examples
    --------
    >>> normalized(np.array([[3.0, 4.0], [0.0, 0.0]])).round(2).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return (features / np.where(lengths > 0, lengths, 1)).astype(np.float32, copy=False)


@dataclass(frozen=True)
class Reference:
    """Training rows that a model keeps: features (n, d) of length one, float32, and class numbers (n,)."""

    features: Float32
    labels: Ints

    def cosines(self, features: Floating) -> Iterator[tuple[slice, Float32]]:
        """Yield the cosines (rows, n) of some of the rows at a time, and which rows these are."""
        near = self.features.astype(np.float32, copy=False)
        for start in range(0, len(features), _CHUNK):
            part = slice(start, start + _CHUNK)
            yield part, normalized(features[part]) @ near.T

    def neighbors(self, features: Floating, m: int) -> Ints:
        """Return the class numbers (rows, m) of the nearest training rows, in no order.

        A training row that has the same features is left out: it is the row itself, or a copy, and the model
        agrees with what it learned from it. Where fewer than m are left, -1 stands in their place. Features
        of zeros are near to nothing.

        Examples
        --------
        >>> reference = Reference(np.eye(3, dtype=np.float32), np.array([0, 1, 1]))
        >>> sorted(reference.neighbors(np.array([[1.0, 0.0, 0.0]]), 3)[0].tolist())
        [-1, 1, 1]
        """
        found = np.full((len(features), m), -1)
        some = min(m, len(self.labels))
        for part, cosines in self.cosines(features):
            cosines[cosines > _SAME] = -np.inf
            places = np.argpartition(cosines, -some, axis=1)[:, -some:]
            left_out = np.isneginf(np.take_along_axis(cosines, places, axis=1))
            found[part, :some] = np.where(left_out, -1, self.labels[places])
        found[~features.any(axis=1)] = -1
        return found


@dataclass(frozen=True)
class Map:
    """What is known of the training rows: class moments and, only where asked for, the rows themselves."""

    moments: Moments
    reference: Reference | None = None

    @classmethod
    def draw(
        cls, features: Floating, labels: Ints, k: int, keep_reference: bool = False, width: int | None = None
    ) -> Map:
        """Return the map of features (n, d) with class numbers ``labels`` (n,) in [0, k).

        Parameters
        ----------
        width : how many of the features, from the first, have moments, which grow with its square; None: all.
        """
        kept = Reference(normalized(features), np.asarray(labels)) if keep_reference else None
        return cls(fit_moments(features[:, :width], labels, k), kept)

    def score(self, name: str, logits: Floating, features: Floating) -> Float32:
        """Return the score (n,) by plugin ``name``, higher where a row is further off.

        Raises
        ------
        RecipeError : the plugin needs a reference, and none is kept.
        """
        plugin = load("off_map", name)
        if "reference" in plugin.NEEDS and self.reference is None:
            raise RecipeError(
                f"off_map = {name!r} compares with the features of training rows, and none are kept: "
                "fit with --keep-reference"
            )
        return np.asarray(plugin.score(logits, features, self), dtype=np.float32)


@dataclass(frozen=True)
class Scope:
    """What tells texts that are off the map from the others.

    Parameters
    ----------
    known : the map of the training rows.
    off_map : plugin that scores.
    in_scope : (m,) float32, scores of labeled rows that are not on the map they were measured with.
    """

    known: Map
    off_map: str
    in_scope: Float32

    def score(self, logits: Floating, features: Floating) -> Float32:
        """Return the off-the-map score (n,) of rows; higher is further off."""
        return self.known.score(self.off_map, logits, features)

    def threshold(self, rate: float) -> float:
        """Return the score above which a row is out of scope: the ``ceil((m + 1)(1 - rate))``-th smallest.

        It is infinite, so that no row is out of scope, for rate 0 and where m rows are too few for the rate.

        Raises
        ------
        RecipeError : ``rate`` outside [0, 1).
        BundleError : the model holds no scores of rows in scope.
        """
        if not 0 <= rate < 1:
            raise RecipeError(
                f"out_of_scope_rate = {rate}: expected the share of rows in scope that may be called out of "
                "scope, in [0, 1); 0 calls none"
            )
        if rate and not len(self.in_scope):
            raise BundleError(
                "out_of_scope_rate needs scores of labeled rows, and this model holds none: fit again with "
                "this version and any calibration but none, or set it to 0"
            )
        return conformal_quantile(self.in_scope, rate) if rate else math.inf

    def out_of_scope(self, scores: Floating, rate: float) -> npt.NDArray[np.bool_]:
        """Return which rows (n,) are out of scope at a false-alarm rate; see the top of this file."""
        return np.asarray(scores > self.threshold(rate))

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return moments and in-scope scores by name, as safetensors wants them."""
        moments = {f"moments.{k}": v for k, v in self.known.moments.arrays().items()}
        return {**moments, "in_scope": self.in_scope}

    @classmethod
    def from_arrays(
        cls,
        arrays: Mapping[str, npt.NDArray[Any]],
        off_map: str = DEFAULT_OFF_MAP,
        reference: Reference | None = None,
    ) -> Scope:
        """Return the scope that `arrays` gave, also of a model from before in-scope scores were kept."""
        moments = {k.removeprefix("moments."): v for k, v in arrays.items() if k.startswith("moments.")}
        in_scope = arrays.get("in_scope", np.zeros(0, dtype=np.float32))
        return cls(Map(Moments.from_arrays(moments), reference), off_map, in_scope)
