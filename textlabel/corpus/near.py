"""Near duplicates: pairs of texts that share most of their character 5-grams.

How near two texts are is the Jaccard index of their sets of 5-grams, taken of `text_key` (case, composition
and white space folded): 1 for the same text, about 0.8 where a text of 200 characters has one word of five
replaced twice. Pairs are found by MinHash signatures cut into bands (Broder 1997, doi
10.1109/SEQUEN.1997.666900; Indyk and Motwani 1998, doi 10.1145/276698.276876), and then counted exactly: none
is listed that is less near than asked. Of pairs with index 0.8 all but 1 in 10,000 are found, of those with
0.7 all but 1 in 100; where more than `MOST` texts share a band, each meets only its next `MOST`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from textlabel.corpus.dedup import text_key

Hashes = npt.NDArray[np.uint64]

#: characters of a gram
GRAM = 5
#: bands of a signature, and numbers in each
BANDS, WIDTH = 25, 5
#: texts of one band that each text is compared with at most
MOST = 50

_ODD = np.uint64(0x9E3779B97F4A7C15)


def grams(text: str) -> Hashes:
    """Return the hashes of the different 5-grams of a text, ascending; of a short text its own.

    Examples
    --------
    >>> len(grams("aaaaaaa")), len(grams("abcdefg")), len(grams("a"))
    (1, 3, 1)
    """
    codes = np.frombuffer(text_key(text).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    codes = codes.astype(np.uint64) + np.uint64(1)
    size = max(1, min(GRAM, len(codes)))
    found = np.zeros(max(len(codes) - size + 1, 1), dtype=np.uint64)
    for i in range(min(size, len(codes))):
        found = found * _ODD + codes[i : len(codes) - size + 1 + i]
    return np.unique(found ^ (found >> np.uint64(29)))


def jaccard(a: Hashes, b: Hashes) -> float:
    """Return the share of the grams of two texts that both have, in [0, 1].

    Examples
    --------
    >>> jaccard(grams("abcdefg"), grams("abcdefz"))
    0.5
    """
    both = len(np.intersect1d(a, b, assume_unique=True))
    return both / (len(a) + len(b) - both)


def near_pairs(
    texts: Sequence[str],
    at_least: float = 0.8,
    wanted: Callable[[int, int], bool] = lambda i, j: True,
) -> list[tuple[int, int, float]]:
    """Return pairs i < j of texts with a Jaccard index of at least ``at_least``, the nearest first.

    Parameters
    ----------
    texts : of different `text_key`.
    at_least : in (0, 1]; below 0.6 many pairs are missed.
    wanted : whether a pair is of interest; asked before it is counted.

    Examples
    --------
    >>> near_pairs(["The food was very good here.", "Bad!", "The food was very good here!"])
    [(0, 2, 0.92)]
    """
    if len(texts) < 2:
        return []
    keys = _bands(texts)
    seen: set[tuple[int, int]] = set()
    known: dict[int, Hashes] = {}
    found = []
    for band in keys.T:
        for i, j in _meeting(band):
            if (i, j) in seen:
                continue
            seen.add((i, j))
            if not wanted(i, j):
                continue
            for row in (i, j):
                if row not in known:
                    known[row] = grams(texts[row])
            if (near := jaccard(known[i], known[j])) >= at_least:
                found.append((i, j, round(near, 4)))
    return sorted(found, key=lambda pair: (-pair[2], pair[0], pair[1]))


def _bands(texts: Sequence[str]) -> Hashes:
    """Return (n, BANDS) hashes of the parts of each text's signature."""
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 2**64, (2, BANDS * WIDTH, 1), dtype=np.uint64)
    a |= np.uint64(1)
    keys = np.zeros((len(texts), BANDS), dtype=np.uint64)
    for n, text in enumerate(texts):
        least = ((a * grams(text) + b) >> np.uint64(32)).min(axis=1).reshape(BANDS, WIDTH)
        for column in least.T:
            keys[n] = keys[n] * _ODD + column
    return keys


def _meeting(band: Hashes) -> list[tuple[int, int]]:
    """Return pairs i < j of texts whose hash in a band is the same."""
    order = np.argsort(band, kind="stable")
    same = band[order][1:] == band[order][:-1]
    pairs = []
    reach = np.flatnonzero(same)
    for start in reach.tolist():
        for step in range(1, MOST + 1):
            if start + step >= len(order) or not same[start + step - 1]:
                break
            i, j = sorted((int(order[start]), int(order[start + step])))
            pairs.append((i, j))
    return pairs
