"""Class shares of a corpus that somebody knows: probabilities are corrected until they have them.

Of another domain a model is often right in which texts are more of a class than others, and wrong in where a
class begins. No unlabeled text tells where: a corpus of which .3 seem positive may hold so few, or hold half
of them in words that say less to the model. Who knows the shares tells it by them, as reviews come half and
half by design, or as last month's tickets were counted.

What is assumed is ``p_target(y | x) = p_source(y | x) w_y`` up to a factor, for some weights ``w``: the odds
of classes are off by the same factor in all texts, as under label shift (`textlabel.trust.label_shift`), and
as where the model leans to a class on the new domain. There is one such ``w``, up to a factor, for which the
mean probabilities are the shares: the minimum of ``mean(log(p @ w)) - shares @ log(w)``, which is convex in
``log(w)``, if there is one. Iterative scaling finds it (Deming and Stephan 1940, doi
10.1214/aoms/1177731829).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from textlabel.errors import CorpusError, nearest
from textlabel.trust.label_shift import LEAST_WEIGHT, Floats, LabelShift, Refused

#: what stands for the shares of the rows that calibrated
LABELED = "labeled"
#: shares as people write them, .33 and .67, need not add up to the last digit
TOLERANCE = 0.01
#: how near mean probabilities come to the shares, and the scalings in which they must
NEAR, SCALINGS = 1e-4, 2000
#: rows that are looked at, of more so many drawn at random
MOST_ROWS = 200_000


def read_shares(stated: str | Mapping[str, float], names: Sequence[str], labeled: Floats | None) -> Floats:
    """Return the share (k,) of each class, which sum to 1.

    Parameters
    ----------
    stated : {class: share}, or the same as "NAME=SHARE,NAME=SHARE", or "labeled". Of two classes one is
        enough.
    names : of the k classes, in order.
    labeled : (k,) shares among the labeled rows; None: nobody knows.

    Raises
    ------
    CorpusError : a share that is none, of no class or of a class twice, a class without one, or shares that
        do not sum to 1.

    Examples
    --------
    >>> read_shares("spam=0.1", ("ham", "spam"), None).tolist()
    [0.9, 0.1]
    """
    if stated == LABELED:
        if labeled is None:
            raise CorpusError(
                f"class_shares = {LABELED!r}: this model knows of no labeled row that calibrated it: state "
                f"the share of each class, such as {_example(names)}"
            )
        return labeled
    given = _pairs(stated, names) if isinstance(stated, str) else dict(stated)
    for name, share in given.items():
        if name not in names:
            raise CorpusError(f"class_shares: no class {name!r}: {nearest(name, names)}")
        if not isinstance(share, int | float) or not 0 <= share <= 1:
            raise CorpusError(f"class_shares: {name} = {share}: expected a share in [0, 1]")
    missing = [name for name in names if name not in given]
    if len(names) == 2 and len(missing) == 1:
        given[missing[0]] = 1 - sum(given.values())
    elif missing:
        raise CorpusError(
            f"class_shares: no share of {', '.join(missing[:5])}: expected one of each class, such as "
            f"{_example(names)}, or {LABELED!r}"
        )
    shares = np.array([given[name] for name in names], dtype=np.float64)
    if abs(shares.sum() - 1) > TOLERANCE:
        raise CorpusError(f"class_shares sum to {shares.sum():.4g}: expected 1, a share of each class")
    found: Floats = shares / shares.sum()
    return found


def to_shares(probabilities: npt.ArrayLike, shares: npt.ArrayLike) -> LabelShift | Refused:
    """Return the weights by which probabilities have the shares in the mean, or why there are none.

    Parameters
    ----------
    probabilities : (n, k) of the rows of the corpus, calibrated if they can be.
    shares : (k,) of the classes in the corpus; sum to 1.

    Examples
    --------
    >>> found = to_shares([[0.5, 0.5], [0.8, 0.2]], [0.5, 0.5])
    >>> (found.weights / found.weights[0]).round(2).tolist()
    [1.0, 2.0]
    """
    p, wanted = np.asarray(probabilities, dtype=np.float64), np.asarray(shares, dtype=np.float64)
    if len(p) > MOST_ROWS:  # means of so many are known well enough, and each scaling reads them all
        p = p[np.random.default_rng(0).permutation(len(p))[:MOST_ROWS]]
    if not len(p):
        return Refused("there is no row in scope that could have these shares")
    weights = np.ones(len(wanted))
    for _ in range(SCALINGS):
        found = weights * (p.T @ (1 / (p @ weights))) / len(p)
        if np.abs(found - wanted).max() < NEAR:
            return LabelShift(wanted, weights / weights.mean(), None)
        weights = np.maximum(weights * wanted / np.maximum(found, LEAST_WEIGHT), LEAST_WEIGHT)
        weights /= weights.max()
    worst = int(np.abs(found - wanted).argmax())
    return Refused(
        f"the model is too sure of these texts for the stated shares: weighing classes up to a factor of "
        f"{1 / LEAST_WEIGHT:.0e} brings class {worst + 1} of {len(wanted)} to {found[worst]:.3f} instead of "
        f"{wanted[worst]:.3f}"
    )


def _pairs(stated: str, names: Sequence[str]) -> dict[str, float]:
    """Return {class: share} of "NAME=SHARE,NAME=SHARE"."""
    found: dict[str, float] = {}
    for part in stated.split(","):
        name, _, share = (side.strip() for side in part.rpartition("="))
        try:
            value = float(share)
        except ValueError:
            value = float("nan")
        if not name or np.isnan(value):
            raise CorpusError(
                f"class_shares: {part.strip()!r}: expected NAME=SHARE, such as {_example(names)}, or "
                f"{LABELED!r}; names with a comma are for Python, where shares are a dictionary"
            )
        if name in found:
            raise CorpusError(f"class_shares: two shares of {name!r}: expected one")
        found[name] = value
    return found


def _example(names: Sequence[str]) -> str:
    """Return equal shares as they are written; of many classes only the first ones."""
    some = ",".join(f"{name}={1 / len(names):.2g}" for name in names[:3])
    return some if len(names) <= 3 else f"{some},..."
