"""What clusters of texts are about, in terms that are frequent in one and rare in the others.

A term weighs ``p log(p / q)^2`` with p the share of the cluster's texts that have it, and q that of other
texts. It is class-based TF-IDF (Grootendorst 2022, arXiv 2203.05794) with two changes: a text has a term or
not, so that one long text cannot name its cluster, and rarity counts squared, without which "it" and "are"
come up, for there is no list of stop words, which would be of one language.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from textlabel.trust.discrepancy import UNSPACED, words
from textlabel.types import IntArray

#: terms of a cluster
TERMS = 6
#: texts of a cluster that have a term, at least: so many, and a share
LEAST_TEXTS, LEAST_SHARE = 2, 0.05
#: what a term must weigh, as a share of the best, and each word of a pair by itself, of what the pair does
OF_BEST = OF_PAIR = 0.02
#: signs of a term of a script without spaces
SIGNS = (2, 3, 4)

_SIGN = re.compile(f"[{UNSPACED}]")


def text_terms(text: str) -> set[str]:
    """Return the terms of a text: words and pairs of words, and runs of signs of a script without spaces.

    Numbers and single letters tell nothing by themselves, and are left out.

    Examples
    --------
    >>> sorted(text_terms("A good film of 2001"))
    ['film', 'film of', 'good', 'good film', 'of']
    >>> sorted(text_terms("看电影"))
    ['电影', '看电', '看电影']
    """
    found: set[str] = set()
    row = words(text)
    spaced = [_is_word(word) for word in row]
    signs = [bool(_SIGN.fullmatch(word)) for word in row]
    found.update(word for word, told in zip(row, spaced, strict=True) if told)
    found.update(f"{row[i]} {row[i + 1]}" for i in range(len(row) - 1) if spaced[i] and spaced[i + 1])
    for size in SIGNS:
        runs = range(len(row) - size + 1)
        found.update("".join(row[i : i + size]) for i in runs if all(signs[i : i + size]))
    return found


def cluster_terms(
    texts: Sequence[str], number: IntArray, clusters: int, most: int = TERMS
) -> list[list[str]]:
    """Return the terms of each cluster, the most telling first; fewer, or none, where few are shared.

    Of terms that share a word, or two signs, the best one stands.

    Parameters
    ----------
    number : (n,) the cluster of each text.

    Examples
    --------
    >>> cluster_terms(["rain today", "rain soon", "a song", "the song"], np.array([0, 0, 1, 1]), 2)
    [['rain'], ['song']]
    """
    terms = [text_terms(text) for text in texts]
    all_texts = Counter(term for row in terms for term in row)
    return [
        _best(Counter(term for i in rows for term in terms[i]), len(rows), all_texts, len(texts), most)
        for rows in (np.flatnonzero(number == cluster).tolist() for cluster in range(clusters))
    ]


def _best(here: Counter[str], size: int, everywhere: Counter[str], total: int, most: int) -> list[str]:
    """Return the best terms of a cluster, given how many of its and of all texts have each."""
    weight: dict[str, float] = {}
    for term, count in here.items():
        p = count / size
        q = (everywhere[term] - count + 0.5) / (total - size + 1)
        if count >= max(LEAST_TEXTS, LEAST_SHARE * size) and p > q:
            weight[term] = p * float(np.log(p / q)) ** 2
    least = OF_BEST * max(weight.values(), default=0.0)
    telling = [
        term
        for term, value in weight.items()
        # "the rain" says no more than "rain"
        if value >= least and all(weight.get(word, 0.0) >= OF_PAIR * value for word in term.split())
    ]
    found: list[str] = []
    told: set[str] = set()
    for term in sorted(telling, key=lambda term: (-weight[term], -len(term), term)):
        if told.isdisjoint(_parts(term)):
            found.append(term)
            told |= _parts(term)
        if len(found) == most:
            break
    return found


def _parts(term: str) -> set[str]:
    """Return the words of a term, or its pairs of signs."""
    if _SIGN.match(term):
        return {term[i : i + 2] for i in range(len(term) - 1)}
    return set(term.split())


def _is_word(word: str) -> bool:
    return len(word) > 1 and not word.isdigit() and not _SIGN.fullmatch(word)
