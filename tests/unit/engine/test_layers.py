"""Features of several layers side by side: every way through an encoder gives the same ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import ARCHITECTURES, SMALL, snippets, write_backbone, write_static, write_tokenizer, write_weights

from textlabel.batching import pad
from textlabel.engine.encoder import encoder_of
from textlabel.engine.flat import Flat, FlatEncoder
from textlabel.engine.prefix import frozen_prefix
from textlabel.errors import BackboneError
from textlabel.models.backbone import load_backbone
from textlabel.models.classifier import Classifier, unit_length
from textlabel.protocols import Context, Rows
from textlabel.recipe import Training
from textlabel.types import LabelSchema

SCHEMA = LabelSchema("single", ("a", "b"))
TEXTS = [row["text"] for row in snippets(12)]


@pytest.fixture(scope="module", params=sorted(ARCHITECTURES))
def folder(request, tmp_path_factory):
    return write_backbone(tmp_path_factory.mktemp(request.param) / "backbone", request.param)


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    folder = tmp_path_factory.mktemp("deep") / "backbone"
    write_weights(folder, "BertConfig", {**SMALL, "num_hidden_layers": 4}, masked=False, seed=0)
    write_tokenizer(folder)
    return folder


def features(folder, **reading):
    classifier = Classifier(load_backbone(folder, **reading), SCHEMA).eval()
    tokens = load_backbone(folder).encode(TEXTS)
    rows = tuple(map(torch.from_numpy, pad(tokens, classifier.pad_id)))
    with torch.inference_mode():
        return classifier, rows, classifier(*rows).features


@pytest.mark.parametrize("pooling", ["cls", "mean", "max"])
def test_the_last_layer_comes_first_and_the_next_beside_it(folder, pooling):
    _, _, alone = features(folder, pooling=pooling)
    classifier, (ids, mask), both = features(folder, pooling=pooling, layers=2)
    with torch.inference_mode():
        below = classifier.body(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states[
            -2
        ]
    real = [vectors[:count] for vectors, count in zip(below, mask.sum(dim=1), strict=True)]
    by = {"cls": lambda x: x[0], "mean": lambda x: x.mean(dim=0), "max": lambda x: x.amax(dim=0)}[pooling]
    expected = torch.stack([by(vectors) for vectors in real])
    torch.testing.assert_close(both, torch.cat([alone, expected], dim=1), atol=1e-5, rtol=1e-5)
    assert classifier.head.in_features == 32


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("pooling", ["cls", "mean", "max"])
def test_the_fast_encoder_gives_the_same(folder, pooling, normalize):
    classifier, rows, expected = features(folder, pooling=pooling, normalize=normalize, layers=2)
    with torch.inference_mode():
        torch.testing.assert_close(encoder_of(classifier)(*rows), expected, atol=1e-5, rtol=0)
    if normalize:
        np.testing.assert_allclose(expected.norm(dim=1), 1, atol=1e-5)
        np.testing.assert_allclose(expected[:, :16].norm(dim=1), 0.5**0.5, atol=1e-5)


@pytest.mark.parametrize("pooling", ["cls", "mean", "max"])
def test_tokens_end_to_end_give_the_same(deep, pooling):
    classifier, rows, expected = features(deep, pooling=pooling, normalize=True, layers=3)
    encoder = encoder_of(classifier)
    flat = Flat.of(tuple(part.numpy() for part in rows), torch.device("cpu"), encoder.padding)
    with torch.inference_mode():
        torch.testing.assert_close(FlatEncoder(encoder)(flat), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("read", "trained", "below"), [(1, 1, 3), (3, 1, 1), (2, 3, 1), (4, 1, None)])
def test_layers_that_give_vectors_are_above_the_cut(deep, read, trained, below):
    classifier, (ids, mask), expected = features(deep, layers=read)
    depths = classifier.depths()
    for name, parameter in classifier.body.named_parameters():
        parameter.requires_grad_(depths[name] > 4 - trained)
    context = Context({"labeled": Rows(load_backbone(deep).encode(TEXTS))}, SCHEMA, classifier, ids.device)
    prefix = frozen_prefix(classifier, context, Training(mixed_precision="no"), None)
    assert (prefix and len(classifier.body.encoder.layer) - len(prefix.cut.upper)) == below
    if prefix is None:
        return
    prefix.fill({"labeled": 100})
    everything = np.arange(len(TEXTS))
    with torch.no_grad():
        hidden = prefix("labeled", everything, *context.inputs("labeled", everything))
        torch.testing.assert_close(classifier.read(hidden, mask).features, expected, atol=1e-2, rtol=0)


def test_unit_length_weighs_layers_alike():
    both = unit_length(torch.tensor([[3.0, 4.0, 0.0, 100.0]]), layers=2)
    torch.testing.assert_close(both, torch.tensor([[0.6, 0.8, 0.0, 1.0]]) / 2**0.5)


@pytest.mark.parametrize("layers", [0, 5])
def test_more_layers_than_there_are(deep, layers):
    with pytest.raises(BackboneError, match="expected 1 to 4"):
        load_backbone(deep, layers=layers)


def test_a_static_backbone_has_one(tmp_path):
    with pytest.raises(BackboneError, match="expected 1 to 1"):
        load_backbone(write_static(tmp_path / "static"), layers=2)
