from __future__ import annotations

import numpy as np
import pytest

from textlabel.trust.cluster_terms import cluster_terms, text_terms


def test_words_that_all_clusters_share_are_not_told():
    texts = [f"the rain is heavy on day {i}" for i in range(9)] + [
        f"the song is loud, take {i}" for i in range(9)
    ]
    [rain, song] = cluster_terms(texts, np.repeat([0, 1], 9), 2)
    assert not {"the", "is"} & {word for term in (*rain, *song) for word in term.split()}
    assert {"rain", "heavy"} <= {word for term in rain for word in term.split()}
    assert {"song", "loud"} <= {word for term in song for word in term.split()}


def test_a_pair_stands_where_its_words_are_common_elsewhere():
    texts = [
        "lost card today",
        "lost card again",
        "lost dog",
        "new card",
        "lost keys",
        "my card",
        "card game",
    ]
    [first, _] = cluster_terms(texts, np.array([0, 0, 1, 1, 1, 1, 1]), 2)
    assert first == ["lost card"]


def test_terms_share_no_word():
    texts = ["new york pizza slice", "new york pizza box"] * 3 + ["old paris", "old rome"] * 3
    for terms in cluster_terms(texts, np.repeat([0, 1], 6), 2):
        words = [word for term in terms for word in term.split()]
        assert len(words) == len(set(words))


def test_one_long_text_does_not_name_its_cluster():
    texts = ["spam " * 500, "good film", "good plot", "good cast", "bad phone", "bad screen", "bad case"]
    assert cluster_terms(texts, np.array([0, 0, 0, 0, 1, 1, 1]), 2) == [["good"], ["bad"]]


def test_weight_is_that_of_the_docstring():
    # p = 3/4 and q = 1.5/5 of "a1"; p = 2/4 and q = .5/5 of "b1"
    texts = ["a1 b1", "b1 a1", "a1", "c1", "a1 d1", "e1", "f1", "g1"]
    a, b = 0.75 * np.log(0.75 / 0.3) ** 2, 0.5 * np.log(0.5 / 0.1) ** 2
    assert b > a
    [terms, _] = cluster_terms(texts, np.repeat([0, 1], 4), 2)
    assert terms == ["b1", "a1"]


def test_signs_without_spaces_make_terms():
    texts = ["我喜欢看电影", "这个电影好看", "电影很长", "手机坏了", "我的手机", "新手机"]
    [films, phones] = cluster_terms(texts, np.repeat([0, 1], 3), 2)
    assert films[0] == "电影"
    assert phones[0] == "手机"


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("", set()),
        ("!!! 12 a", set()),
        ("\uff26\uff29\uff2c\uff2d", {"film"}),
        ("Über", {"über"}),
        ("ok電ok", {"ok"}),
        ("電影", {"電影"}),
        ("\x00\ufffd", set()),
    ],
)
def test_odd_texts(text, terms):
    assert text_terms(text) == terms


def test_clusters_without_terms_or_texts():
    assert cluster_terms(["one", "two", "!"], np.array([0, 0, 2]), 3) == [[], [], []]
    assert cluster_terms(["one fish", "one fish"], np.zeros(2, int), 2)[1] == []


def test_no_more_terms_than_asked():
    texts = ["red green blue", "blue green red"] * 4 + ["one two three"] * 4
    assert [len(terms) for terms in cluster_terms(texts, np.repeat([0, 1], [8, 4]), 2, most=1)] == [1, 1]
