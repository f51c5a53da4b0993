"""Words of a text, where they lie."""

import pytest

from textlabel.models.words import cut, without, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("  \n", []),
        ("A state-of-the-art film, isn't it?", ["A", "state-of-the-art", "film", ",", "isn't", "it", "?"]),
        ("電池は good", ["電", "池", "は", "good"]),
        ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),  # vowel signs are marks, not letters
        ("مرحبا، عالم", ["مرحبا", "،", "عالم"]),
        ("ok - fine 😀!", ["ok", "-", "fine", "😀", "!"]),
        ("'quoted'", ["'", "quoted", "'"]),
    ],
)
def test_words_of_any_script(text, expected):
    assert cut(text, words(text)) == expected


def test_no_character_but_space_is_lost_or_twice():
    text = "Don't  stop, 電池 is\u2013well\u2013good… (3.5 €) a_b 'x"
    covered = sorted(i for a, b in words(text) for i in range(a, b))
    assert covered == [i for i, letter in enumerate(text) if not letter.isspace()]


def test_a_word_goes_with_the_space_behind_it():
    text = "not very good, really"
    spans = words(text)
    assert without(text, [spans[0]]) == "very good, really"
    assert without(text, [spans[1], spans[3]]) == "not good really"
    assert without(text, [spans[4]]) == "not very good,"
    assert without(text, []) == text
    assert without(text, spans) == ""
