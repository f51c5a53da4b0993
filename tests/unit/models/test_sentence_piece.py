"""ALBERT, XLM-R and DeBERTa-v3 as they are published: their tokenizer is a SentencePiece model alone."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import sentencepiece
import torch
from tiny import SENTENCE_PIECE, sentence_piece, snippets, write_sentence_piece

from textlabel import Labeler
from textlabel.batching import pad
from textlabel.errors import BackboneError, BundleError, RecipeError
from textlabel.models.backbone import load_backbone
from textlabel.models.classifier import Classifier
from textlabel.models.cut import cut_body
from textlabel.recipe import Recipe
from textlabel.tune import partial
from textlabel.types import LabelSchema

FAMILIES = sorted(SENTENCE_PIECE)
#: what the pieces were not trained on, and what normalization turns into something else or nothing
ODD = [
    "电影 很好，值得看",  # noqa: RUF001
    "Ｆｕｌｌ ｗｉｄｔｈ １２",  # noqa: RUF001
    "zero\u200bwidth and\u00a0no break",
    "\u200b",
    "①② ﬁne ½",
    "🙂🙂",
    "naïve Œuvre",
    "two  spaces\nand a line ",
    "é",  # as two characters
]
TRAIN = snippets(40)
TEXTS = [
    {"text": text} for text in [*ODD, "x", "the screen was great " * 80, *(r["text"] for r in TRAIN[:9])]
]
#: pieces that SentencePiece itself has, by its own number, and how much higher the family counts them
SHIFT = {"albert": 0, "xlm_roberta": 1, "deberta_v3": 0}


def plan(tune):
    head = {"tune": {"name": "head", "folds": 2}, "objective": "cross_entropy"}
    stage = {"tune": tune, "objective": "cross_entropy", "epochs": 1, "learning_rate": 1e-2}
    stages = [head] if tune == "head" else [head, stage]
    return Recipe.from_dict({"name": "test", "stage": stages})


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture
def folder(family, tmp_path):
    return write_sentence_piece(tmp_path / "backbone", family)


@pytest.fixture
def backbone(folder):
    return load_backbone(folder)


def expected_ids(family, text):
    """Return what SentencePiece itself makes of a text."""
    processor = sentencepiece.SentencePieceProcessor(model_proto=sentence_piece(family))
    unknown = {"albert": 1, "xlm_roberta": 3, "deberta_v3": 3}[family]
    ids = processor.encode(text)
    return [unknown if i == processor.unk_id() else i + SHIFT[family] for i in ids]


def merged(ids, unknown):
    """Return ids with runs of the unknown piece as one: SentencePiece itself makes one of a run."""
    return [i for n, i in enumerate(ids) if not (n and i == unknown == ids[n - 1])]


def test_tokens_are_those_of_the_sentence_piece_model(family, backbone):
    texts = [row["text"].lower() for row in TRAIN]
    # ALBERT itself folds case and accents and writes quotes anew before SentencePiece sees the text
    texts += [text for text in ODD if family != "albert" or text.isascii() or "\u200b" in text]
    unknown = backbone.tokenizer.unk_token_id
    for text, ids in zip(texts, backbone.encode(texts), strict=True):
        assert merged(ids[1:-1], unknown) == merged(expected_ids(family, text), unknown), text


def test_normalization_survives_a_saved_tokenizer(family, backbone, folder, tmp_path):
    """The tokenizer of a trained body is written as tokenizer.json."""
    before = backbone.encode([*ODD, "x"])
    backbone.tokenizer.save_pretrained(tmp_path / "again")
    for name in ("config.json", "model.safetensors"):
        shutil.copy(folder / name, tmp_path / "again" / name)
    assert not list((tmp_path / "again").glob("*.model"))
    assert load_backbone(tmp_path / "again").encode([*ODD, "x"]) == before
    assert len(set(map(tuple, before))) > 5


def test_a_folder_without_its_tokenizer_is_refused(folder, family):
    (folder / SENTENCE_PIECE[family][2]).rename(folder / "other.model")
    with pytest.raises(BackboneError, match=f"its tokenizer knows no word; .*{SENTENCE_PIECE[family][2]}"):
        load_backbone(folder)


def test_a_damaged_sentence_piece_model_is_one_message(folder, family):
    (folder / SENTENCE_PIECE[family][2]).write_bytes(b"nonsense")
    with pytest.raises(BackboneError, match="its tokenizer cannot be loaded"):
        load_backbone(folder)


@pytest.mark.parametrize(
    ("family", "tune"),
    [(family, tune) for family in FAMILIES for tune in ("head", "lora", "full")]
    + [("xlm_roberta", "partial"), ("deberta_v3", "partial")],
)
def test_training_saving_and_reloading(family, folder, tune, tmp_path):
    labeler = Labeler(folder, plan(tune), calibration="none").fit(TRAIN)
    before = labeler.predict(TEXTS)
    labeler.save(tmp_path / "model", self_contained=True)
    shutil.rmtree(folder)
    assert list(
        (tmp_path / "model/body").glob("tokenizer.json" if tune in ("partial", "full") else "*.model")
    )
    after = Labeler.load(tmp_path / "model").predict(TEXTS)
    assert np.isfinite(before.logits).all()
    np.testing.assert_array_equal(before.logits, after.logits)
    np.testing.assert_array_equal(before.ood_score, after.ood_score)
    if tune != "head":  # something beside the head was trained
        same = write_sentence_piece(tmp_path / "same", family)
        plain = Labeler(same, plan("head"), calibration="none").fit(TRAIN)
        assert np.abs(plain.predict(TEXTS).logits - before.logits).max() > 1e-3


def test_a_changed_sentence_piece_model_is_noticed(family, folder, tmp_path):
    labeler = Labeler(folder, plan("head"), calibration="none").fit(TRAIN)
    assert labeler.bundle.classifier.info.tokenizer_sha256
    labeler.save(tmp_path / "model")
    path = tmp_path / "model/body" / SENTENCE_PIECE[family][2]
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(BundleError, match="was changed or damaged"):
        Labeler.load(tmp_path / "model")


def test_layers_of_one_set_of_weights_cannot_train_alone(tmp_path):
    folder = write_sentence_piece(tmp_path / "albert", "albert")
    with pytest.raises(RecipeError, match=r"partial: the layers of backbone .* are one set of weights"):
        Labeler(folder, plan("partial"), calibration="none").fit(TRAIN)
    with pytest.raises(RecipeError, match=r"lora: layers = 1, but the layers of backbone .* are one set"):
        Labeler(folder, plan({"name": "lora", "layers": 1}), calibration="none").fit(TRAIN)


@pytest.mark.parametrize("family", ["deberta_v3", "xlm_roberta"])
def test_what_trains_of_the_top_layers_never_moves_the_lower_ones(folder, tmp_path):
    """DeBERTa-v3 norms its table of positions for every layer: that norm is no part of the last one."""
    classifier = Classifier(load_backbone(folder), LabelSchema("single", ("a", "b")))
    ids, mask = map(torch.from_numpy, pad([[1, 5, 6, 7, 2], [1, 8, 2]], classifier.pad_id))
    cut = cut_body(classifier.body, 1, ids, mask)
    assert cut is not None
    with torch.no_grad():
        before = cut.below(ids, mask)
    partial.apply(classifier, partial.Options(layers=1))
    trained = [p for p in classifier.body.parameters() if p.requires_grad]
    assert trained
    with torch.no_grad():
        for parameter in trained:
            parameter.add_(0.5)
        torch.testing.assert_close(cut.below(ids, mask), before, rtol=0, atol=0)


def test_more_layers_than_there_are_leave_the_embeddings_alone(tmp_path):
    folder = write_sentence_piece(tmp_path / "xlm_roberta", "xlm_roberta")
    classifier = Classifier(load_backbone(folder), LabelSchema("single", ("a", "b")))
    partial.apply(classifier, partial.Options(layers=9))
    trained = {name for name, p in classifier.body.named_parameters() if p.requires_grad}
    assert {name.split(".")[2] for name in trained} == {"0", "1"}
    assert not any("embeddings" in name for name in trained)


@pytest.mark.parametrize("on_long", ["truncate", "window"])
def test_long_texts(folder, on_long):
    body = load_backbone(folder, on_long=on_long)
    assert body.info.max_length <= 66
    labeler = Labeler(folder, plan("head"), calibration="none", on_long=on_long).fit(TRAIN)
    text = "the screen was great " * 80
    found = labeler.predict([{"text": text}, {"text": f"{text} awful plot " * 3}])
    assert np.isfinite(found.logits).all()
    assert (found.logits[0] == found.logits[1]).all() == (on_long == "truncate")


def test_padding_never_changes_a_text(backbone):
    """XLM-R pads with token 1 and counts positions from there."""
    classifier = Classifier(backbone, LabelSchema("score")).eval()
    short, long = backbone.encode(["good phone", "the screen was great and i like it " * 3])
    assert classifier.pad_id == backbone.tokenizer.pad_token_id
    with torch.no_grad():
        alone = classifier(*map(torch.from_numpy, pad([short], classifier.pad_id))).features
        both = classifier(*map(torch.from_numpy, pad([short, long], classifier.pad_id))).features
    torch.testing.assert_close(alone[0], both[0], rtol=1e-4, atol=1e-5)


def test_through_the_command_line(folder, tmp_path):
    from typer.testing import CliRunner

    from textlabel.cli.app import app

    def run(*words):
        done = CliRunner().invoke(app, [str(word) for word in words])
        assert done.exit_code == 0, done.output

    for name, rows in {"train": TRAIN, "corpus": TEXTS}.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    model, out = tmp_path / "model", tmp_path / "out"
    run("fit", tmp_path / "train.jsonl", "--out", model, "--backbone", folder, "--recipe", "head")
    shutil.rmtree(folder)
    run("annotate", tmp_path / "corpus.jsonl", "--model", model, "--out", out, "--format", "jsonl")
    [file] = out.rglob("*.jsonl")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [row["text"] for row in rows] == [row["text"] for row in TEXTS]
    assert all(0 <= row["confidence"] <= 1 for row in rows)
