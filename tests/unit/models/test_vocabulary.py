"""Words that a vocabulary has no piece for are counted, and so are the pieces that it needs."""

from __future__ import annotations

import pytest
from tiny import write_backbone, write_sentence_piece

from textlabel.models.backbone import load_backbone
from textlabel.models.vocabulary import vocabulary_gap


def test_words_that_are_not_in_the_vocabulary_are_unknown(tiny_backbone):
    tokenizer = load_backbone(tiny_backbone).tokenizer
    assert vocabulary_gap(tokenizer, ["good film", "a dull film"]) == (1.0, pytest.approx(1 / 5))
    assert vocabulary_gap(tokenizer, []) == (0.0, 0.0)


def test_a_vocabulary_of_pieces_needs_more_of_them_for_words_that_it_does_not_have(tmp_path):
    tokenizer = load_backbone(write_sentence_piece(tmp_path / "albert", "albert")).tokenizer
    near, far = (
        vocabulary_gap(tokenizer, [text])
        for text in ("the phone is good and it was easy", "Donaudampfschifffahrtsgesellschaft")
    )
    assert 1 <= near.tokens_per_word < 3 < 10 < far.tokens_per_word
    assert near.unknown == 0


def test_where_an_unknown_token_is_also_an_end_none_is_counted(tmp_path):
    tokenizer = load_backbone(write_backbone(tmp_path / "bert")).tokenizer
    tokenizer.pad_token = tokenizer.unk_token
    assert vocabulary_gap(tokenizer, ["dull"]) == (1.0, 0.0)
