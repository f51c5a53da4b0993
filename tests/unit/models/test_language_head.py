"""A language head says what the family's own model says, of a few places only, or is a new one."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from tiny import ARCHITECTURES, snippets, write_backbone, write_sentence_piece, write_static

from textlabel.errors import BackboneError
from textlabel.models.backbone import load_backbone
from textlabel.models.classifier import Classifier, token_vectors
from textlabel.models.language_head import language_head, token_table
from textlabel.models.masked_lm import load_masked_lm
from textlabel.types import LabelSchema

MASKED = [name for name, (*_, masked) in ARCHITECTURES.items() if masked]


def classifier_of(folder):
    return Classifier(load_backbone(folder), LabelSchema("score")).eval()


def inputs(classifier):
    made = classifier.tokenizer([row["text"] for row in snippets(5)], padding=True, return_tensors="pt")
    return made["input_ids"], made["attention_mask"]


@pytest.mark.parametrize("architecture", MASKED)
def test_a_head_of_the_checkpoint_says_what_the_whole_model_says(architecture, tmp_path):
    classifier = classifier_of(write_backbone(tmp_path / architecture, architecture))
    backbone = load_backbone(tmp_path / architecture)
    ids, mask = inputs(classifier)
    head, new = language_head(classifier)
    with torch.no_grad():
        expected = load_masked_lm(backbone)(input_ids=ids, attention_mask=mask).logits[mask.bool()]
        vectors = token_vectors(classifier.body, ids, mask)[mask.bool()]
        found = head(vectors, token_table(classifier.body))
    assert not new
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("architecture", MASKED)
def test_the_bodys_own_table_is_no_parameter_of_the_head(architecture, tmp_path):
    classifier = classifier_of(write_backbone(tmp_path / architecture, architecture))
    head, _ = language_head(classifier)
    table = token_table(classifier.body)
    vectors = torch.randn(3, 16)
    head(vectors, table).square().sum().backward()
    assert table.grad.abs().max() > 0
    own = dict(head.named_parameters())
    assert all(parameter.shape != table.shape for parameter in own.values())
    assert {name for name, p in own.items() if p.grad is not None} >= {
        name for name in own if "norm" in name.lower()
    }


def test_a_checkpoint_that_ties_nothing_keeps_its_own_table(tmp_path, monkeypatch):
    config, settings, masked = ARCHITECTURES["bert_without_pooler"]
    untied = (config, {**settings, "tie_word_embeddings": False}, masked)
    monkeypatch.setitem(ARCHITECTURES, "untied", untied)
    classifier = classifier_of(write_backbone(tmp_path / "untied", "untied"))
    head, new = language_head(classifier)
    assert not new
    assert head.table is not None
    ids, mask = inputs(classifier)
    with torch.no_grad():
        model = load_masked_lm(load_backbone(tmp_path / "untied"))
        expected = model(input_ids=ids, attention_mask=mask).logits[mask.bool()]
        vectors = token_vectors(classifier.body, ids, mask)[mask.bool()]
        torch.testing.assert_close(head(vectors, token_table(classifier.body)), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", ["bert", "deberta with a head of another form"])
def test_a_backbone_without_a_head_gets_a_new_one(family, tmp_path, monkeypatch):
    if family != "bert":
        config, settings, masked = ARCHITECTURES["deberta_v2"]
        monkeypatch.setitem(ARCHITECTURES, family, (config, {**settings, "legacy": False}, masked))
    classifier = classifier_of(write_backbone(tmp_path / "backbone", family))
    head, new = language_head(classifier)
    assert new
    found = head(torch.randn(4, 16), token_table(classifier.body))
    assert found.shape == (4, len(token_table(classifier.body)))
    found.sum().backward()
    assert all(parameter.grad is not None for parameter in head.parameters())


def test_scores_are_float32_whatever_the_pass_has(tiny_backbone):
    classifier = classifier_of(tiny_backbone)
    head, _ = language_head(classifier)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = head(torch.randn(4, 16).bfloat16(), token_table(classifier.body))
    assert found.dtype == torch.float32


def test_backbones_that_cannot_are_refused(tmp_path, tiny_backbone):
    static = Classifier(load_backbone(write_static(tmp_path / "static")), LabelSchema("score"))
    with pytest.raises(BackboneError, match=r"'static'.*it is static.*choose another backbone"):
        language_head(static)
    without = load_backbone(tiny_backbone)
    without = dataclasses.replace(without)
    without.tokenizer.mask_token = None
    with pytest.raises(BackboneError, match=r"its tokenizer has no mask token.*expected a BERT-like encoder"):
        language_head(Classifier(without, LabelSchema("score")))


@pytest.mark.parametrize("family", ["albert", "xlm_roberta"])
def test_families_of_sentence_piece_too(family, tmp_path):
    classifier = classifier_of(write_sentence_piece(tmp_path / family, family))
    head, new = language_head(classifier)
    assert not new
    assert torch.isfinite(head(torch.randn(2, 16), token_table(classifier.body))).all()
