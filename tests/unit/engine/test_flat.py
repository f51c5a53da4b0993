"""Tokens laid end to end give the features that padded ones give."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import snippets, write_backbone
from torch.nn.functional import scaled_dot_product_attention

from textlabel.batching import pad
from textlabel.engine.encoder import written_out
from textlabel.engine.flat import Flat, FlatEncoder, Queue, attend, has_kernel
from textlabel.models.backbone import encode, load_backbone
from textlabel.models.classifier import Classifier
from textlabel.types import LabelSchema

CPU = torch.device("cpu")
TEXTS = ["", "good", *(row["text"] for row in snippets(12)), "the film [PAD] was not bad " * 30]


def classifier_of(folder, **reading):
    return Classifier(load_backbone(folder, **reading), LabelSchema("single", ("a", "b"))).eval()


def batch(classifier, texts=TEXTS, length=0):
    return pad(encode(classifier.tokenizer, classifier.info, list(texts)), classifier.pad_id, length)


@pytest.fixture(scope="module", params=["bert", "roberta"])
def folder(request, tmp_path_factory):
    return write_backbone(tmp_path_factory.mktemp(request.param) / "backbone", request.param)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("pooling", ["cls", "mean", "max"])
def test_features_are_those_of_padded_tokens(folder, pooling, normalize):
    classifier = classifier_of(folder, pooling=pooling, normalize=normalize)
    encoder = written_out(classifier)
    rows = batch(classifier)
    with torch.inference_mode():
        expected = encoder(*map(torch.from_numpy, rows))
        for length in (0, 90):
            flat = Flat.of(batch(classifier, length=length), CPU, encoder.padding)
            assert len(flat.ids) == rows[1].sum()  # nothing else is computed
            torch.testing.assert_close(FlatEncoder(encoder)(flat), expected, atol=1e-5, rtol=0)
    assert expected.std(dim=0).min() > 1e-3


def test_one_text_alone(folder):
    classifier = classifier_of(folder)
    encoder = written_out(classifier)
    rows = batch(classifier, ["a fine plot"])
    with torch.inference_mode():
        expected = encoder(*map(torch.from_numpy, rows))
        found = FlatEncoder(encoder)(Flat.of(rows, CPU, encoder.padding))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_a_text_never_sees_another(folder):
    classifier = classifier_of(folder)
    flat = FlatEncoder(written_out(classifier))
    first, second = (["good film", other, "bad phone"] for other in ("the screen", "a very awful plot"))
    with torch.inference_mode():
        one, two = (
            flat(Flat.of(batch(classifier, texts), CPU, flat.encoder.padding)) for texts in (first, second)
        )
    torch.testing.assert_close(one[[0, 2]], two[[0, 2]], atol=1e-6, rtol=0)
    assert (one[1] - two[1]).abs().max() > 1e-2


@pytest.mark.parametrize("only_first", [False, True])
def test_attention_is_that_of_each_text_by_itself(only_first):
    make = torch.Generator().manual_seed(0)
    lengths = torch.tensor([5, 1, 3])
    starts = torch.tensor([0, 5, 6, 9], dtype=torch.int32)
    q, k, v = (torch.randn((9, 2, 8), generator=make) for _ in range(3))
    ends = starts[1:]
    if only_first:
        q, q_starts, longest = q[starts[:-1]], torch.arange(4, dtype=torch.int32), 1
    else:
        q_starts, longest = starts, 5
    found = attend(q, k, v, q_starts, starts, longest, 5)
    for i in range(len(lengths)):
        here, there = slice(q_starts[i], q_starts[i + 1]), slice(starts[i], ends[i])
        parts = (q[here], k[there], v[there])
        alone = scaled_dot_product_attention(*(part.transpose(0, 1) for part in parts)).transpose(0, 1)
        torch.testing.assert_close(found[here], alone)


def test_the_queue_gives_every_batch_once_and_in_order(folder):
    classifier = classifier_of(folder)
    encoder = written_out(classifier)
    batches = [batch(classifier, [text, text]) for text in TEXTS]
    started = []

    def watched():
        for number, rows in enumerate(batches):
            started.append(number)
            yield rows

    expected = [encoder(*map(torch.from_numpy, rows)).detach().numpy() for rows in batches]
    found = Queue(FlatEncoder(encoder), CPU).features(watched())
    for number, (one, other) in enumerate(zip(found, expected, strict=True)):
        np.testing.assert_allclose(one, other, atol=1e-5)
        assert started[-1] == min(number + 1, len(batches) - 1)  # one batch ahead, and no more
    assert list(Queue(FlatEncoder(encoder), CPU).features([])) == []


def test_the_kernel_is_for_half_precision_only():
    assert not has_kernel(torch.float32)


@pytest.mark.gpu
@pytest.mark.parametrize("pooling", ["cls", "mean", "max"])
def test_the_kernel_gives_what_padded_attention_gives(folder, pooling):
    classifier = classifier_of(folder, pooling=pooling)
    rows = batch(classifier)
    with torch.inference_mode():
        expected = written_out(classifier)(*map(torch.from_numpy, rows))
        encoder = written_out(classifier).to("cuda", torch.bfloat16)
        (found,) = Queue(FlatEncoder(encoder), torch.device("cuda")).features([rows])
    cosine = torch.nn.functional.cosine_similarity(torch.from_numpy(found).float(), expected)
    assert cosine.min() > 0.999
