"""What each change does to a text, and what it leaves alone, in English and in Chinese."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest
import torch
from tiny import ARCHITECTURES, WORDS, write_backbone, write_static
from tokenizers import Tokenizer, models

from textlabel import registry
from textlabel.augment import replaceable, whole_words
from textlabel.errors import BackboneError, RecipeError
from textlabel.models.backbone import load_backbone

ENGLISH = "the film was really good and the screen was bad"
CHINESE = "这部手机的屏幕非常好用我很喜欢"


def changed(name, texts, backbone=None, seed=0, **options):
    module = registry.load("augment", name)
    return module.augment(texts, np.random.default_rng(seed), backbone, module.Options(**options))


def is_part(part, whole):
    """Whether what is left stands in its old order."""
    rest = iter(whole)
    return all(piece in rest for piece in part)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.99])
def test_deletion_leaves_some_words_in_order(share):
    found = changed("delete", [ENGLISH] * 200, share=share)
    lengths = [len(text.split()) for text in found]
    assert all(is_part(text.split(), ENGLISH.split()) for text in found)
    assert min(lengths) >= 1
    assert max(lengths) <= 9  # one at least is gone
    expected = {0.01: 9, 0.3: 7, 0.99: 1}[share]
    assert abs(np.mean(lengths) - expected) < 0.3


def test_each_word_is_left_out_as_often():
    found = changed("delete", [" ".join("abcdefghij")] * 3000, share=0.2)
    left = Counter("".join(found).replace(" ", ""))
    assert set(left) == set("abcdefghij")
    assert max(left.values()) - min(left.values()) < 250


def test_swapping_keeps_every_word():
    found = changed("swap", [ENGLISH] * 100, swaps=1)
    assert all(Counter(text.split()) == Counter(ENGLISH.split()) for text in found)
    moved = [sum(a != b for a, b in zip(t.split(), ENGLISH.split(), strict=True)) for t in found]
    assert set(moved) <= {0, 2}  # 0 where equal words changed places
    more = changed("swap", [ENGLISH] * 100, swaps=8)
    assert np.mean([sum(a != b for a, b in zip(t.split(), ENGLISH.split(), strict=True)) for t in more]) > 5


@pytest.mark.parametrize("name", ["delete", "swap"])
def test_a_text_without_spaces_is_changed_by_characters(name):
    for text in changed(name, [CHINESE] * 50):
        assert " " not in text
        assert text != CHINESE or name == "swap"
        if name == "delete":
            assert is_part(text, CHINESE)
            assert len(text) > len(CHINESE) / 2
        else:
            assert Counter(text) == Counter(CHINESE)
    mixed = "手机 iPhone 15 很好 用"
    for text in changed(name, [mixed] * 50):
        assert set(re.findall("[A-Za-z0-9]+", text)) <= {"iPhone", "15"}


@pytest.mark.parametrize("name", ["delete", "swap"])
@pytest.mark.parametrize("text", ["film", "好", "!"])
def test_a_text_of_one_piece_stays(name, text):
    assert changed(name, [text]) == [text]


@pytest.fixture(scope="module")
def masked(tmp_path_factory):
    return load_backbone(write_backbone(tmp_path_factory.mktemp("masked") / "bert", "bert_without_pooler"))


@pytest.mark.parametrize("name", ["neighbors", "masked_lm"])
def test_only_words_of_the_vocabulary_are_put_for_words_and_the_rest_stays(masked, name):
    texts = ["I never really liked 12 films, don't buy: good Film SCREEN phones4 bad-ish!"] * 60
    found = changed(name, texts, masked, share=0.9)
    before, words = texts[0].split(" "), {"good", "great", "fine", "awful", "poor", "film", "phone", "plot"}
    words |= {"screen", "really"}
    for text in found:
        after = text.split(" ")
        assert len(after) == len(before)
        for old, new in zip(before, after, strict=True):
            if old != new:
                assert (old[-1] in ",:!") == (new[-1] in ",:!")
                old, new = old.strip(",:!"), new.strip(",:!")
                assert new.lower() in words
                assert new.isupper() == old.isupper()
                assert new[0].isupper() == old[0].isupper()
                unknown = {"liked", "films"} if name == "masked_lm" else set()
                assert old.lower() in {"good", "film", "screen"} | unknown
    assert len(set(found)) > 5


def test_neighbors_are_the_nearest_of_the_table(masked):
    table = masked.body.get_input_embeddings().weight.detach()
    known = whole_words(masked)
    assert set(known) == {w for w in WORDS if len(w) > 3} - {"very", "really"}
    unit = torch.nn.functional.normalize(table, dim=1)
    similar = {w: float(unit[known["film"]] @ unit[i]) for w, i in known.items() if w != "film"}
    best = sorted(similar, key=similar.get, reverse=True)
    assert {t for t in changed("neighbors", ["film"] * 50, masked, nearest=1)} == {best[0]}
    assert {t for t in changed("neighbors", ["film"] * 200, masked, nearest=3)} == set(best[:3])


def test_neighbors_of_a_static_backbone(tmp_path):
    backbone = load_backbone(write_static(tmp_path / "static"))
    [text] = changed("neighbors", ["the film was good"], backbone, share=0.99)
    first, film, third, good = text.split()
    assert (first, third) == ("the", "was")
    assert "film" != film in WORDS
    assert "good" != good in WORDS


@pytest.mark.parametrize("name", ["neighbors", "masked_lm"])
def test_a_text_without_a_word_of_the_vocabulary_stays(masked, name):
    texts = [CHINESE, "12 3.5", "never very much", "It is a", "!"]
    assert changed(name, texts, masked, share=0.9) == texts


def test_a_masked_word_is_one_that_the_head_finds_likely(masked):
    from textlabel.models.masked_lm import load_masked_lm

    tokens = masked.tokenizer("the [MASK] was good", return_tensors="pt")
    with torch.no_grad():
        scores = load_masked_lm(masked)(tokens["input_ids"], tokens["attention_mask"]).logits[0, 2]
    known = whole_words(masked)
    ranked = sorted(known, key=lambda word: -scores[known[word]])
    second = [word for word in ranked if word != "film"]
    likeliest = 1 if ranked[0] != "film" else 2
    module = registry.load("augment", "masked_lm")
    found = set()
    for seed in range(30):
        rng = np.random.default_rng(seed)
        [text] = module.augment(["the film was good"], rng, masked, module.Options(likeliest=likeliest))
        _, film, _, good = text.split()
        if good == "good":
            found.add(film)
    assert found <= {second[0], second[1]}
    assert second[0] in found


def test_words_beyond_the_end_that_the_model_reads_stay(masked):
    from dataclasses import replace

    short = replace(masked, info=replace(masked.info, max_length=5))
    text = "film film film film film film film"
    [found] = changed("masked_lm", [text], short, share=0.99)
    words = found.split()
    assert all(word != "film" for word in words[:3])
    assert words[3:] == ["film"] * 4


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_a_checkpoint_without_a_masked_head_is_refused(tmp_path, architecture):
    folder = write_backbone(tmp_path / architecture, architecture)
    if ARCHITECTURES[architecture][2]:
        assert len(changed("masked_lm", ["the film was good"] * 3, load_backbone(folder))) == 3
        return
    with pytest.raises(
        BackboneError, match=r"no masked-language head .its checkpoint lacks cls.*'neighbors'"
    ):
        changed("masked_lm", ["the film was good"], load_backbone(folder))


def test_a_static_backbone_has_no_masked_head(tmp_path):
    with pytest.raises(BackboneError, match=r"no masked-language head .it is static"):
        changed("masked_lm", ["good film"], load_backbone(write_static(tmp_path / "static")))


class _Vocabulary:
    """A backbone as far as `whole_words` looks at it."""

    def __init__(self, tokens):
        self.tokenizer = Tokenizer(
            models.WordLevel({t: i for i, t in enumerate(tokens)}, unk_token=tokens[0])
        )


@pytest.mark.parametrize(
    "tokens",
    [
        ["[UNK]", "film", "##film", "never", "un", "2000"],  # WordPiece
        ["<unk>", "\u2581film", "film", "\u2581never", "\u2581un", "s"],  # SentencePiece
        ["<unk>", "\u0120film", "tion", "\u0120never", "\u0120caf\u00c3\u00a9", "s"],  # byte-level BPE
    ],
)
def test_whole_words_by_the_signs_of_each_kind_of_vocabulary(tokens):
    assert list(whole_words(_Vocabulary(tokens))) == ["film"]


def test_numbers_and_negations_are_never_replaced():
    text = "nothing was 100 percent good, 2nd never; o'clock well-known caf\u00e9 Stra\u00dfe"
    assert [word[0] for word in replaceable(text)] == ["percent", "good", "caf\u00e9", "Stra\u00dfe"]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("delete", {"share": 0.0}, r"delete: share = 0\.0"),
        ("delete", {"share": 1.0}, r"delete: share = 1\.0"),
        ("swap", {"swaps": 0}, "swap: swaps = 0"),
        ("neighbors", {"nearest": 0}, "nearest = 0; expected at least 1"),
        ("masked_lm", {"likeliest": 0}, "likeliest = 0; expected at least 1"),
    ],
)
def test_bad_options_are_refused(name, options, message):
    with pytest.raises(RecipeError, match=message):
        registry.load("augment", name).Options(**options)
