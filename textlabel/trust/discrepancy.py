"""How far apart two samples of texts are: in their features (MMD), and in their words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from textlabel.errors import CorpusError

Floats = npt.NDArray[np.float64]

#: kernel widths, as multiples of the median squared distance
WIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)

#: signs of scripts that are written without spaces (Chinese, Japanese, Thai), as in a pattern
UNSPACED = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
# a word, or one such sign
_WORD = re.compile(f"[{UNSPACED}]|[^\\W{UNSPACED}]+")


class VocabularyOverlap(NamedTuple):
    """Shares of words that two samples have in common, each in [0, 1].

    Parameters
    ----------
    jaccard : different words of both, of the different words of either.
    known : words of the target, counted as often as they occur, that the source has too.
    """

    jaccard: float
    known: float


def words(text: str) -> list[str]:
    """Return the words of a text, case folded; scripts without spaces give single signs.

    Examples
    --------
    >>> words("Ein Film, 电影!")
    ['ein', 'film', '电', '影']
    """
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def vocabulary_overlap(source: Iterable[str], target: Iterable[str]) -> VocabularyOverlap:
    """Return how much of their words two samples of texts share; larger samples share more.

    Raises
    ------
    CorpusError : the target has no word.

    Examples
    --------
    >>> vocabulary_overlap(["a good film"], ["a good, good phone"])
    VocabularyOverlap(jaccard=0.5, known=0.75)
    """
    here = {word for text in source for word in words(text)}
    there = [word for text in target for word in words(text)]
    if not there:
        raise CorpusError("the target's texts have no word; expected at least one text of words")
    union = here | set(there)
    return VocabularyOverlap(
        len(here & set(there)) / len(union), sum(word in here for word in there) / len(there)
    )


def median_squared_distance(rows: npt.NDArray[np.floating[Any]]) -> float:
    """Return the median squared distance of two different rows (n, d): the usual width of a kernel."""
    squares = _squared_distances(np.asarray(rows, dtype=np.float64), np.asarray(rows, dtype=np.float64))
    return float(np.median(squares[np.triu_indices(len(squares), 1)]))


def mmd(
    source: npt.NDArray[np.floating[Any]],
    target: npt.NDArray[np.floating[Any]],
    width: float | None = None,
) -> float:
    """Return the unbiased squared maximum mean discrepancy (Gretton 2012, JMLR 13:723).

    The kernel is the mean of five Gaussian ones ``exp(-d^2 / (2 w))`` with w of 1/4 to 4 times ``width``. The
    estimate is 0 on average where both samples are of one distribution, so it may be negative. Values
    compare only at the same width.

    Parameters
    ----------
    source, target : (n, d) and (m, d) features, two rows or more of each.
    width : squared distance; None: the median over the rows of both.

    Raises
    ------
    CorpusError : fewer than two rows, or other widths of features.
    """
    x, y = np.asarray(source, dtype=np.float64), np.asarray(target, dtype=np.float64)
    if x.ndim != 2 or x.shape[1:] != y.shape[1:] or min(len(x), len(y)) < 2:
        raise CorpusError(f"expected features (n, d) and (m, d), n, m >= 2; got {x.shape} and {y.shape}")
    if width is None:
        width = median_squared_distance(np.concatenate([x, y]))
    unit = max(width, 1e-30)  # all rows alike: any width tells that
    within = [
        (_kernel(part, part, unit).sum() - len(part)) / (len(part) * (len(part) - 1)) for part in (x, y)
    ]
    return float(sum(within) - 2 * _kernel(x, y, unit).mean())


def _kernel(x: Floats, y: Floats, width: float) -> Floats:
    squares = _squared_distances(x, y)
    return np.asarray(sum(np.exp(-squares / (2 * factor * width)) for factor in WIDTHS)) / len(WIDTHS)


def _squared_distances(x: Floats, y: Floats) -> Floats:
    """Return (n, m) squared distances; of a row to itself exactly 0."""
    squares = np.maximum((x**2).sum(axis=1)[:, None] + (y**2).sum(axis=1) - 2 * x @ y.T, 0.0)
    if x is y:
        np.fill_diagonal(squares, 0.0)
    return np.asarray(squares)
