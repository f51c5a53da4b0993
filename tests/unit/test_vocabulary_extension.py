"""A backbone gets tokens for words of a domain: which ones, where they are found, and what stays."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from commands import run, told
from tiny import SENTENCE_PIECE, SMALL, snippets, write_sentence_piece, write_static, write_weights

from textlabel.batching import pad
from textlabel.errors import BackboneError, CorpusError, RecipeError
from textlabel.models.backbone import load_backbone
from textlabel.models.classifier import Classifier
from textlabel.models.domain_words import LINE, domain_words
from textlabel.models.masked_lm import find_masked_lm
from textlabel.types import LabelSchema
from textlabel.vocabulary_extension import RECORD, extend_vocabulary

COMMON = ["the", "film", "was", "good", "bad", "plot", "a", "it", "phone"]
NEW = ["electrocardiogram", "screwdriver", "catheter"]
HAN = [chr(0x4E00 + 7 * i) for i in range(60)]
OTHERS = ["the film was good", "a phone, it was bad!", "plot", "", "unscrewdriver screwdrivers catheter_2"]
FAMILIES = ["wordpiece", "bpe", *sorted(SENTENCE_PIECE)]


def corpus(n=150, seed=0):
    """Return texts in which the words of `NEW` stand, the first the most often."""
    rng = np.random.default_rng(seed)
    texts = []
    for _ in range(n):
        said = [*rng.choice(COMMON, 5), *rng.choice(NEW, 2, p=[0.6, 0.3, 0.1])]
        texts.append(" ".join(rng.permutation(said)) + ".")
    return texts


def rows_of(texts):
    return [{"text": text} for text in texts]


def write_wordpiece(folder):
    """Write a BERT that knows a few words, letters, and Chinese characters."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *COMMON[:8], *letters, *".,!_"]
    tokens += [f"##{letter}" for letter in letters] + sorted(set("".join(HAN)))
    tokens = list(dict.fromkeys(tokens))
    write_weights(folder, "BertConfig", {**SMALL, "vocab_size": len(tokens)}, masked=True, seed=0)
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    return folder


def write_bpe(folder):
    """Write a RoBERTa that knows bytes alone, and the space with the letter after it."""
    from tokenizers.pre_tokenizers import ByteLevel

    letters = "abcdefghijklmnopqrstuvwxyz"
    tokens = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *sorted(ByteLevel.alphabet())]
    tokens += [f"\u0120{letter}" for letter in letters]
    numbers = {"bos_token_id": 0, "cls_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "sep_token_id": 2}
    settings = {**SMALL, **numbers, "vocab_size": len(tokens)}
    write_weights(folder, "RobertaConfig", settings, masked=True, seed=0)
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"\u0120 {x}\n" for x in letters))
    return folder


def write(folder, family):
    if family in SENTENCE_PIECE:
        return write_sentence_piece(folder, family)
    return {"wordpiece": write_wordpiece, "bpe": write_bpe}[family](folder)


@pytest.fixture(scope="module", params=FAMILIES)
def grown(request, tmp_path_factory):
    """Return the folders of a backbone and of what it became, both loaded, and the record."""
    folder = tmp_path_factory.mktemp(request.param)
    old = write(folder / "old", request.param)
    summary = extend_vocabulary(rows_of(corpus()), out=folder / "new", backbone=old, tokens=2)
    record = json.loads((folder / "new" / RECORD).read_text())
    return SimpleNamespace(
        family=request.param,
        folder=folder,
        old=load_backbone(old),
        new=load_backbone(folder / "new"),
        record=record,
        summary=summary,
    )


def features(backbone, texts):
    classifier = Classifier(backbone, LabelSchema("score")).eval()
    ids, mask = map(torch.from_numpy, pad(backbone.encode(texts), backbone.pad_id))
    with torch.no_grad():
        return classifier(ids, mask).features


def test_the_words_that_save_the_most_pieces_become_tokens(grown):
    texts = corpus()
    assert [told["token"] for told in grown.record["tokens"]] == NEW[:2]
    for told_of in grown.record["tokens"]:
        assert told_of["word"]
        assert told_of["count"] == sum(text.rstrip(".").split().count(told_of["token"]) for text in texts)
        assert len(told_of["pieces"]) >= 3
        assert grown.new.tokenizer.convert_tokens_to_ids(told_of["token"]) == told_of["id"]
    assert grown.record["asked"] == 2
    assert grown.record["backbone"]["sha256"] == grown.old.info.sha256
    assert grown.record["texts"]["rows"] == 150
    fit = grown.record["tokens_per_word"]
    assert fit["after"] < 0.7 * fit["before"]
    assert grown.summary["tokens_per_word"] == fit


def test_a_new_row_is_the_mean_of_its_pieces_and_all_else_is_the_same_to_the_bit(grown):
    before, after = grown.old.body.state_dict(), grown.new.body.state_dict()
    assert before.keys() == after.keys()
    table = next(name for name in before if name.endswith("word_embeddings.weight"))
    ids = [told["id"] for told in grown.record["tokens"]]
    assert len(set(ids)) == 2
    assert min(ids) >= len(grown.old.tokenizer)
    for number, told_of in zip(ids, grown.record["tokens"], strict=True):
        pieces = grown.old.tokenizer(f"x {told_of['token']}", add_special_tokens=False)["input_ids"]
        x = grown.old.tokenizer("x", add_special_tokens=False)["input_ids"]
        assert pieces[len(x) :] == told_of["pieces"]
        expected = before[table][pieces[len(x) :]].mean(dim=0)
        torch.testing.assert_close(after[table][number], expected, atol=1e-6, rtol=0)
    for name, value in before.items():
        same = after[name]
        if name == table:
            kept = [row for row in range(len(value)) if row not in ids]  # DeBERTa-v3 has rows to spare
            value, same = value[kept], same[kept]
        assert torch.equal(value, same), name


def test_texts_without_a_new_word_have_the_same_features_to_the_bit(grown):
    assert grown.new.encode(OTHERS) == grown.old.encode(OTHERS)
    assert torch.equal(features(grown.new, OTHERS), features(grown.old, OTHERS))
    assert not torch.equal(features(grown.new, [NEW[0]]), features(grown.old, [NEW[0]]))


def test_a_word_is_one_token_wherever_it_stands_whole_and_nowhere_else(grown):
    number = grown.record["tokens"][1]["id"]
    for text in (
        "screwdriver",
        "the screwdriver was",
        "bad screwdriver.",
        "(screwdriver)",
        "it screwdriver!",
    ):
        ids = grown.new.encode([text])[0]
        assert ids.count(number) == 1, text
        assert len(ids) < len(grown.old.encode([text])[0])
    for text in ("screwdrivers", "unscrewdriver", "screwdriver2", "screw driver"):
        assert number not in grown.new.encode([text])[0], text
    # the words before and after keep their pieces, and no space is left over
    inside = grown.new.encode(["the screwdriver was"])[0]
    assert [i for i in inside if i != number] == grown.old.encode(["the was"])[0]
    upper = grown.new.encode(["the SCREWDRIVER was"])[0]
    assert (number in upper) == (grown.family in ("wordpiece", "albert"))  # which know small letters alone


def test_a_masked_language_head_grows_along(grown):
    old, _ = find_masked_lm(grown.old.folder)
    new, reason = find_masked_lm(grown.new.folder)
    assert new is not None, reason
    ids = torch.tensor(grown.old.encode(OTHERS[:1]))
    with torch.no_grad():
        scores = [model(input_ids=ids).logits[..., : len(grown.old.tokenizer)] for model in (old, new)]
    torch.testing.assert_close(*scores, atol=1e-5, rtol=1e-5)


def test_the_same_texts_make_the_same_folder(grown, tmp_path):
    extend_vocabulary(rows_of(corpus()), out=tmp_path / "again", backbone=grown.old.folder, tokens=2)
    for name in ("model.safetensors", "tokenizer.json", RECORD, "config.json"):
        assert (tmp_path / "again" / name).read_bytes() == (grown.new.folder / name).read_bytes(), name


def test_of_scripts_without_spaces_pieces_are_found_inside_texts(tmp_path):
    rng = np.random.default_rng(0)
    word, longer = "".join(HAN[:3]), "".join(HAN[3:9])
    said = [[*rng.choice(HAN[9:], 8), word, longer] for _ in range(200)]
    texts = ["".join(rng.permutation(characters)) for characters in said]
    backbone = write_wordpiece(tmp_path / "old")
    extend_vocabulary(rows_of(texts), out=tmp_path / "new", backbone=backbone, tokens=1)
    [found] = json.loads((tmp_path / "new" / RECORD).read_text(encoding="utf-8"))["tokens"]
    assert found["token"] == word  # six characters are more than a word
    assert not found["word"]
    assert found["count"] > 50  # where it is no part of a phrase that SentencePiece made one piece
    ids = load_backbone(tmp_path / "new").encode([f"{HAN[20]}{word}{HAN[21]}"])[0]
    assert len(ids) == 2 + 3
    assert ids[2] == found["id"]


def test_words_are_counted_as_the_tokenizer_reads_them(tmp_path):
    """One token for both ways of writing, and long lines are not passed over as SentencePiece would."""
    tokenizer = load_backbone(write_wordpiece(tmp_path / "old")).tokenizer
    texts = ["the Catheter was a CATHETER, not a catheter-like one. " * 200]
    assert len(texts[0].encode()) > 4192
    assert len(texts[0]) > LINE
    [first, *_] = domain_words(tokenizer, [*texts, *corpus(50)], 5)
    assert first.text == "catheter"
    assert first.times > 590


@pytest.mark.slow
def test_every_command_takes_the_folder(tmp_path):
    train = [{**row, "text": f"{row['text']} {NEW[i % 2]}"} for i, row in enumerate(snippets(40))]
    for name, rows in {"train": train, "corpus": rows_of(corpus())}.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    old, new = write_wordpiece(tmp_path / "old"), tmp_path / "new"
    words = ("extend-vocabulary", tmp_path / "corpus.jsonl", "--backbone", old, "--tokens", 5, "--out", new)
    found = told(*words)
    assert found["first"].split(", ")[:2] == NEW[:2]
    assert found["tokens"] == 4  # the three, and "phone", which this vocabulary lacks
    fit = ("fit", tmp_path / "train.jsonl", "--backbone", new, "--recipe", "head", "--calibration", "none")
    run(*fit, "--out", tmp_path / "model")
    annotate = ("annotate", tmp_path / "corpus.jsonl", "--model", tmp_path / "model", "--format", "jsonl")
    run(*annotate, "--out", tmp_path / "out")
    tokenizer = load_backbone(tmp_path / "model" / "body").tokenizer
    assert tokenizer.tokenize("a screwdriver") == load_backbone(new).tokenizer.tokenize("a screwdriver")
    run(*words, code=1)  # the folder is taken


def test_what_cannot_be_is_refused(tmp_path):
    static = write_static(tmp_path / "static")
    texts, out = rows_of(corpus()), tmp_path / "new"
    with pytest.raises(BackboneError, match=r"'static' cannot grow \(it is static.*choose another backbone"):
        extend_vocabulary(texts, out=out, backbone=static)
    old = write_wordpiece(tmp_path / "old")
    with pytest.raises(RecipeError, match="tokens = 0: expected 1 or more"):
        extend_vocabulary(texts, out=out, backbone=old, tokens=0)
    known = rows_of(["the film was good", "a plot was bad it was good"] * 30)
    with pytest.raises(CorpusError, match=r"none of the words of 60 texts.*needs no new tokens"):
        extend_vocabulary(known, out=out, backbone=old)
    with pytest.raises(CorpusError, match="SentencePiece made no pieces of these texts"):
        extend_vocabulary(rows_of(map(chr, range(0x4E00, 0x4E00 + 17_000))), out=out, backbone=old)
    assert not out.exists()
