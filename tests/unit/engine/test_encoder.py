"""The encoder that is written out gives the classifier's own features, and leaves its body alone."""

from __future__ import annotations

import copy

import pytest
import torch
from tiny import ARCHITECTURES, snippets, write_backbone, write_static

from textlabel.batching import pad
from textlabel.engine.encoder import FAMILIES, Encoder, encoder_of, written_out
from textlabel.engine.packed import PackedLinear, packable
from textlabel.engine.predict import Featurizer
from textlabel.models.backbone import encode, load_backbone
from textlabel.models.classifier import Classifier
from textlabel.types import LabelSchema

SCHEMA = LabelSchema("single", ("a", "b"))
#: lengths from two tokens to more than the backbones read
TEXTS = ["", "good", *(row["text"] for row in snippets(12)), "the film was not bad " * 30]


@pytest.fixture(scope="module", params=sorted(ARCHITECTURES))
def folder(request, tmp_path_factory):
    return write_backbone(tmp_path_factory.mktemp(request.param) / "backbone", request.param)


def classifier_of(folder, **reading):
    return Classifier(load_backbone(folder, **reading), SCHEMA).eval()


def batch(classifier, texts=TEXTS, length=0):
    tokens = encode(classifier.tokenizer, classifier.info, list(texts))
    return tuple(map(torch.from_numpy, pad(tokens, classifier.pad_id, length)))


def own(classifier, ids, mask):
    with torch.inference_mode():
        return classifier(ids, mask).features


def run(encoder, ids, mask):
    with torch.inference_mode():
        return encoder(ids, mask)


def state(body):
    return {name: value.clone() for name, value in body.state_dict().items()}


def kinds(body):
    return [(name, type(module)) for name, module in body.named_modules()]


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("pooling", ["cls", "mean", "max"])
def test_features_are_the_classifiers_own(folder, pooling, normalize):
    classifier = classifier_of(folder, pooling=pooling, normalize=normalize)
    ids, mask = batch(classifier)
    expected = own(classifier, ids, mask)
    assert expected.std(dim=0).min() > 1e-3  # texts differ, so the comparison means something
    for encoder in (written_out(classifier), encoder_of(classifier)):
        torch.testing.assert_close(run(encoder, ids, mask), expected, atol=1e-5, rtol=0)


def test_families_of_bert_are_written_out_and_others_run_as_they_are(folder):
    classifier = classifier_of(folder)
    of_bert = classifier.body.config.model_type in FAMILIES
    assert isinstance(written_out(classifier), Encoder) == of_bert
    packed = [module for module in encoder_of(classifier).modules() if isinstance(module, PackedLinear)]
    layers = classifier.body.config.num_hidden_layers
    assert len(packed) == (4 * layers if of_bert and packable() else 0)


@pytest.mark.parametrize("pooling", ["cls", "mean", "max"])
def test_longer_padding_changes_nothing(folder, pooling):
    classifier = classifier_of(folder, pooling=pooling)
    short = [text for text in TEXTS if len(text) < 100]
    encoder = encoder_of(classifier)
    near, far = (run(encoder, *batch(classifier, short, length)) for length in (0, 64))
    torch.testing.assert_close(near, far, atol=5e-6, rtol=0)


def test_a_text_longer_than_the_backbone_reads_is_cut(folder):
    classifier = classifier_of(folder)
    longest = classifier.info.max_length
    assert batch(classifier)[0].shape[1] == longest
    words = "the film was not bad " * 30
    cut = " ".join(words.split()[: longest - 2])  # two places are for the tokens of the frame
    features = Featurizer(classifier).features([words, cut])
    assert (features[0] == features[1]).all()


def test_the_body_is_left_as_it_is(folder):
    classifier = classifier_of(folder)
    before, shape = state(classifier.body), kinds(classifier.body)
    ids, mask = batch(classifier)
    expected = own(classifier, ids, mask)
    for dtype in (torch.float32, torch.bfloat16):
        run(encoder_of(classifier, dtype), ids, mask)
    after = classifier.body.state_dict()
    assert kinds(classifier.body) == shape
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert {p.dtype for p in classifier.body.parameters()} == {torch.float32}
    assert torch.equal(own(classifier, ids, mask), expected)


def test_where_the_processor_lacks_it_bfloat16_is_not_packed(folder, monkeypatch):
    monkeypatch.setattr("textlabel.engine.encoder.packable", lambda dtype: dtype == torch.float32)
    encoder = encoder_of(classifier_of(folder), torch.bfloat16)
    assert not any(isinstance(module, PackedLinear) for module in encoder.modules())


def test_bfloat16_is_near_and_leaves_as_float32(folder):
    classifier = classifier_of(folder)
    ids, mask = batch(classifier)
    found = run(encoder_of(classifier, torch.bfloat16), ids, mask)
    assert found.dtype == torch.float32
    cosine = torch.nn.functional.cosine_similarity(found, own(classifier, ids, mask))
    assert 0.999 < cosine.min() < 1 - 1e-7


@pytest.mark.parametrize("pooling", ["cls", "mean", "max"])
@pytest.mark.parametrize("padding", [0, 1, 4])
def test_roberta_counts_positions_from_its_padding_on(tmp_path, padding, pooling):
    classifier = classifier_of(write_backbone(tmp_path / "roberta", "roberta"), pooling=pooling)
    body = classifier.body
    body.config.pad_token_id = body.embeddings.padding_idx = classifier.pad_id = padding
    body.embeddings.position_embeddings.padding_idx = padding
    ids, mask = batch(classifier, TEXTS[1:-1])
    ids[ids == padding] = 5  # padding inside a text is the next test's matter
    ids[mask == 0] = padding
    moved = copy.deepcopy(classifier)
    with torch.no_grad():
        moved.body.embeddings.position_embeddings.weight[:] = (
            moved.body.embeddings.position_embeddings.weight.roll(1, dims=0)
        )
    expected = own(classifier, ids, mask)
    torch.testing.assert_close(run(written_out(classifier), ids, mask), expected, atol=1e-5, rtol=0)
    assert (own(moved, ids, mask) - expected).abs().max() > 1e-2  # so positions are seen


@pytest.mark.parametrize("architecture", ["bert", "roberta"])
def test_padding_that_a_text_itself_holds(tmp_path, architecture):
    classifier = classifier_of(write_backbone(tmp_path / "backbone", architecture))
    ids, mask = batch(classifier, ["the film [PAD] was bad", "good [PAD] [PAD]", "a fine plot"])
    assert ((ids == classifier.pad_id) & (mask == 1)).any()
    torch.testing.assert_close(
        run(written_out(classifier), ids, mask), own(classifier, ids, mask), atol=1e-5, rtol=0
    )


def test_a_static_backbone_runs_as_it_is(tmp_path):
    classifier = classifier_of(write_static(tmp_path / "static"))
    ids, mask = batch(classifier)
    torch.testing.assert_close(run(encoder_of(classifier), ids, mask), own(classifier, ids, mask))


def test_weights_trained_later_are_seen_by_an_encoder_made_then(tmp_path):
    classifier = classifier_of(write_backbone(tmp_path / "bert"))
    ids, mask = batch(classifier)
    before = run(encoder_of(classifier), ids, mask)
    with torch.no_grad():
        classifier.body.encoder.layer[1].output.dense.weight *= 1.5
    after = run(encoder_of(classifier), ids, mask)
    torch.testing.assert_close(after, own(classifier, ids, mask), atol=1e-5, rtol=0)
    assert (after - before).abs().max() > 1e-2
