"""Near duplicates against a count of every pair."""

import itertools

import numpy as np
import pytest

from textlabel.corpus import near
from textlabel.corpus.dedup import text_key
from textlabel.corpus.near import grams, jaccard, near_pairs


def plain_jaccard(one, other):
    def sets(text):
        key = text_key(text)
        return {key[i : i + 5] for i in range(max(1, len(key) - 4))}

    a, b = sets(one), sets(other)
    return len(a & b) / len(a | b)


def texts(n=45, seed=0):
    """Return different texts, of which every other is the one before it with words replaced."""
    rng = np.random.default_rng(seed)
    words = ["".join(rng.choice(list("abcdeäöü喂"), 6)) for _ in range(400)]
    found = []
    for i in range(n):
        base = rng.choice(words, 30).tolist()
        found.append(" ".join(base))
        for place in rng.choice(30, i % 7, replace=False):
            base[place] = rng.choice(words)
        found.append(" ".join(base) + "!")
    return found


@pytest.mark.parametrize("at_least", [0.7, 0.8, 1.0])
def test_pairs_are_those_of_a_full_count(at_least):
    given = texts()
    expected = {
        (i, j): round(share, 4)
        for i, j in itertools.combinations(range(len(given)), 2)
        if (share := plain_jaccard(given[i], given[j])) >= at_least
    }
    found = near_pairs(given, at_least)
    assert {(i, j): share for i, j, share in found}.items() <= expected.items()
    missed = len(expected) - len(found)
    assert missed <= (0.03 * len(expected) if at_least < 0.8 else 0)  # nearer ones are all found
    assert at_least == 1 or len(found) > 15
    assert [share for _, _, share in found] == sorted((share for _, _, share in found), reverse=True)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("", ""),
        ("a", ""),
        ("abcd", "abcde"),
        ("ab", "abcdefgh"),
        ("喂" * 9, "喂"),
        ("\ud800abcdef", "abcdef"),
        ("A b", "a  B"),
    ],
)
def test_short_and_odd_texts(one, other):
    assert jaccard(grams(one), grams(other)) == pytest.approx(plain_jaccard(one, other))


def test_only_wanted_pairs_are_counted_and_crowds_stay_linear(monkeypatch):
    crowd = [f"the very same long template with number {i}" for i in range(300)]
    asked = []
    monkeypatch.setattr(near, "MOST", 3)
    near_pairs(crowd, 0.6, lambda i, j: asked.append((i, j)) or False)
    assert len(asked) == len(set(asked)) <= 3 * 300 * near.BANDS < 300 * 299 / 2
    assert near_pairs(["only one"]) == near_pairs([]) == []
