"""Long texts in windows: every token is read, and every text is one row."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from tiny import WORDS, snippets, write_backbone, write_static

from textlabel.engine.predict import Featurizer, head_logits
from textlabel.errors import BackboneError, CorpusError
from textlabel.models.backbone import load_backbone
from textlabel.models.classifier import Classifier
from textlabel.models.windows import Windows, bounds, make_windows
from textlabel.types import LabelSchema

#: tokens that a window of the tiny backbone holds, of 10 with the two of the frame
SIZE = 8


def long_text(tokens, seed=0):
    return "  ".join(np.random.default_rng(seed).choice(WORDS, tokens))


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return load_backbone(write_backbone(tmp_path_factory.mktemp("b") / "bert"), max_length=SIZE + 2)


def info_of(backbone, on_long="window", pooling="mean"):
    return replace(backbone.info, on_long=on_long, window_pooling=pooling)


def classifier_of(backbone, **reading):
    return Classifier(replace(backbone, info=info_of(backbone, **reading)), LabelSchema("single", ("a", "b")))


@pytest.mark.parametrize("length", [1, 2, 3, 20])
@pytest.mark.parametrize("tokens", range(9, 60))
def test_windows_hold_every_token_and_overlap(tokens, length):
    words = [number // length for number in range(tokens)]
    found = bounds(words, SIZE)
    assert (found[0][0], found[-1][1]) == (0, tokens)
    assert all(0 < end - start <= SIZE for start, end in found)
    for (start, end), (later, _) in pairwise(found):
        assert start < later <= end
        assert later <= end - SIZE // 4 or length > 1
    if length <= SIZE // 2:
        assert all(start % length == 0 for start, _ in found)  # no word is parted
    assert [*bounds([None] * tokens, SIZE)] == bounds(range(tokens), SIZE)


def test_windows_are_pieces_of_the_text_as_they_stand(backbone):
    texts = ["good film", long_text(30), "", long_text(8), long_text(9, seed=1)]
    found = make_windows(backbone.tokenizer, info_of(backbone), texts)
    assert found.counts.tolist() == [1, len(bounds(range(30), SIZE)), 1, 1, 2]
    assert [found.texts[0], *found.texts[-4:-2]] == [texts[0], texts[2], texts[3]]
    words = texts[1].split()
    expected = ["  ".join(words[a:b]) for a, b in bounds(range(30), SIZE)]
    assert [text for text, owner in zip(found.texts, found.owner, strict=True) if owner == 1] == expected
    sizes = [b - a for n in (30, 9) for a, b in bounds(range(n), SIZE)]
    assert found.tokens.tolist() == [1, *sizes[:-2], 1, 1, *sizes[-2:]]


def test_texts_that_fit_are_left_alone(backbone):
    texts = [row["text"] for row in snippets(9) if len(row["text"].split()) <= SIZE]
    assert make_windows(backbone.tokenizer, info_of(backbone), texts) is None
    assert make_windows(backbone.tokenizer, info_of(backbone), []) is None
    assert make_windows(backbone.tokenizer, info_of(backbone, "truncate"), [long_text(99)]) is None


def test_fail_names_the_text_its_tokens_and_what_to_do(backbone):
    texts = ["good film", "good plot " * 20]
    with pytest.raises(CorpusError, match=r"'good plot good plot .*' has 42 tokens, and this model reads 10"):
        make_windows(backbone.tokenizer, info_of(backbone, "fail"), texts)
    assert make_windows(backbone.tokenizer, info_of(backbone, "fail"), [long_text(SIZE)]) is None


def test_a_static_backbone_reads_all_of_a_text(tmp_path):
    static = load_backbone(write_static(tmp_path / "static"), on_long="fail")
    assert make_windows(static.tokenizer, static.info, [long_text(5000)]) is None


def test_a_tokenizer_that_does_not_tell_places_is_refused(backbone):
    class Slow:
        is_fast = False

        def num_special_tokens_to_add(self, pair):
            return 2

    with pytest.raises(BackboneError, match="does not tell where its tokens are"):
        make_windows(Slow(), info_of(backbone), [long_text(30)])


def byte_level(length):
    """Return a tokenizer to which every byte is a token, as to RoBERTa's and ModernBERT's an unknown one."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE({symbol: i for i, symbol in enumerate(["<pad>", *alphabet])}, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", model_max_length=length)


@pytest.mark.parametrize("text", ["\u4e2d\u6587" * 21, "\U0001f600" * 12, "\ufdfa" * 15])
def test_a_character_may_be_several_tokens(backbone, text):
    tokenizer, size = byte_level(32), 32 - 32 // 16
    with pytest.raises(CorpusError, match="tokens, and this model reads 32"):
        make_windows(tokenizer, replace(info_of(backbone, "fail"), max_length=32), [text])
    found = make_windows(tokenizer, replace(info_of(backbone), max_length=32), [text])
    read = [len(tokenizer(piece)["input_ids"]) for piece in found.texts]
    assert max(read) <= size + 2 * 3  # characters that a window's ends part are whole in both
    assert max(read) <= 32 + 4
    assert set(text) <= set("".join(found.texts))


def test_every_window_is_read_to_its_end(backbone):
    """Words of several tokens, which a window must not part: by itself half a word may be more of them."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    pieces = [
        "[PAD]",
        "[UNK]",
        "abc",
        "##def",
        "##d",
        "##e",
        "##f",
        "d",
        "e",
        "f",
        "a",
        "b",
        "c",
        "##b",
        "##c",
    ]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    inner = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="[PAD]", unk_token="[UNK]")
    info = replace(info_of(backbone), max_length=17)
    for words in range(9, 60):
        found = make_windows(tokenizer, info, [" ".join(["abcdef"] * words)])
        assert max(len(tokenizer(text)["input_ids"]) for text in found.texts) <= 17
        assert all(set(text.split()) == {"abcdef"} for text in found.texts)


@pytest.mark.parametrize(
    ("pooling", "expected"), [("mean", [1.0, 5.0]), ("weighted", [1.0, 6.0]), ("max", [1.0, 7.0])]
)
def test_windows_become_one_row(pooling, expected):
    windows = Windows(["a", "b", "c"], np.array([0, 1, 1]), np.array([1, 2, 6]))
    features = np.array([[1.0], [3.0], [7.0]], dtype=np.float32)
    assert windows.pooled(features, pooling)[:, 0].tolist() == expected


@pytest.mark.parametrize("pooling", ["mean", "weighted", "max"])
def test_a_row_has_the_pooled_features_of_its_windows(backbone, pooling):
    classifier = classifier_of(backbone, pooling=pooling)
    texts = ["good film", long_text(30), "bad plot", long_text(30)]
    featurizer = Featurizer(classifier)
    found = featurizer.features(texts)
    count = len(bounds(range(30), SIZE))
    assert featurizer.windows.tolist() == [1, count, 1, count]
    pieces = make_windows(classifier.tokenizer, classifier.info, texts[1:2])
    alone = Featurizer(classifier).features(pieces.texts)
    weights = None if pooling == "mean" else pieces.tokens
    mean = np.average(alone, axis=0, weights=weights)
    np.testing.assert_allclose(found[1], alone.max(axis=0) if pooling == "max" else mean, atol=1e-5)
    np.testing.assert_array_equal(found[1], found[3])
    plain = Featurizer(classifier_of(backbone, on_long="truncate")).features(texts)
    np.testing.assert_allclose(found[[0, 2]], plain[[0, 2]], atol=1e-5)
    assert np.abs(found[1] - plain[1]).max() > 1e-3
    if pooling != "max":
        logits = head_logits(classifier, found[1:2])[0]
        each = np.average(head_logits(classifier, alone), axis=0, weights=weights)
        np.testing.assert_allclose(logits, each, atol=1e-4)


def test_the_cache_knows_windows_and_whole_rows(backbone, tmp_path):
    classifier = classifier_of(backbone)
    texts = ["good film", long_text(30)]
    for known in (False, True):
        featurizer = Featurizer(classifier, cache=tmp_path)
        found = featurizer.features(texts)
        assert featurizer.known.tolist() == [known, known]
        featurizer.publish()
        if not known:
            first = found
    np.testing.assert_array_equal(found, first)
    featurizer = Featurizer(classifier, cache=tmp_path)
    featurizer.features(["good film", long_text(30) + " bad"])
    assert featurizer.known.tolist() == [True, False]  # some of its windows are new


@pytest.mark.parametrize("wrong", [{"on_long": "cut"}, {"window_pooling": "median"}])
def test_unknown_words_are_refused(tmp_path, wrong):
    (name,) = wrong
    with pytest.raises(BackboneError, match=f"{name} = .* is unknown"):
        load_backbone(write_backbone(tmp_path / "bert"), **wrong)
