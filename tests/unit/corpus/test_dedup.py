"""Exact duplicates are found whatever their case, white space and Unicode form."""

import pytest

from textlabel.corpus.dedup import contradictions, groups, text_key


@pytest.mark.parametrize(
    ("one", "other"),
    [("So good", "so  GOOD\n"), ("caf\u00e9", "cafe\u0301"), ("stra\u00dfe", "STRASSE"), ("a\u00a0b", "a b")],
)
def test_same_key(one: str, other: str) -> None:
    assert text_key(one) == text_key(other)


@pytest.mark.parametrize(
    ("one", "other"), [("sure.", "sure?"), ("a b", "ab"), ("resume", "r\u00e9sum\u00e9")]
)
def test_different_key(one: str, other: str) -> None:
    assert text_key(one) != text_key(other)


def test_groups_number_texts_by_first_appearance() -> None:
    assert groups(["b", "a", "B", "c", "a "]).tolist() == [0, 1, 0, 2, 1]
    assert groups([]).tolist() == []


def test_contradictions() -> None:
    texts = ["a", "b", "A", "b", "c", "a"]
    assert contradictions(texts, ["x", "x", "y", "x", "y", "x"]) == [(0, 2, 5)]
    assert contradictions(texts, [1.0, 2.0, 1.0, 3.0, 0.0, 1.0]) == [(1, 3)]
    assert contradictions(["a"], ["x"]) == []
