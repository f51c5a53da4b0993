"""Halves of a body are the whole, in value and in gradient, for every family that can be cut."""

from __future__ import annotations

import pytest
import torch
from tiny import ARCHITECTURES, snippets, write_backbone

from textlabel.models.backbone import load_backbone
from textlabel.models.cut import cut_body

#: one layer under many names: nothing is below it
UNCUT = {"albert"}


@pytest.fixture(params=[name for name in ARCHITECTURES if name not in UNCUT])
def backbone(request, tmp_path):
    return load_backbone(write_backbone(tmp_path / request.param, request.param))


def inputs(backbone, n=9):
    found = backbone.tokenizer([row["text"] for row in snippets(n)], padding=True, return_tensors="pt")
    return found["input_ids"], found["attention_mask"]


@pytest.mark.parametrize("name", sorted(UNCUT))
def test_shared_layers_cannot_be_cut(name, tmp_path):
    backbone = load_backbone(write_backbone(tmp_path / name, name))
    assert cut_body(backbone.body, 1, *inputs(backbone)) is None


def test_the_halves_give_what_the_whole_gives(backbone):
    ids, mask = inputs(backbone)
    cut = cut_body(backbone.body, 1, ids, mask)
    names = list(dict(backbone.body.named_modules()))
    with torch.no_grad():
        whole = backbone.body(input_ids=ids, attention_mask=mask).last_hidden_state
        below = cut.below(ids, mask)
        halves = cut.above(below * mask[..., None], ids, mask)
    assert (below - whole).abs().max() > 0.1  # something is above the cut
    torch.testing.assert_close(halves * mask[..., None], whole * mask[..., None], atol=1e-5, rtol=0)
    assert list(dict(backbone.body.named_modules())) == names  # and the body is as it was


def test_gradients_through_the_upper_half_are_those_through_the_whole(backbone):
    ids, mask = inputs(backbone)
    cut = cut_body(backbone.body, 1, ids, mask)
    backbone.body.requires_grad_(False)
    trained = dict(cut.upper.named_parameters())
    cut.upper.requires_grad_(True)
    direction = torch.randn(16, generator=torch.Generator().manual_seed(0))

    def gradients(hidden):
        loss = ((hidden @ direction) * mask).square().sum()
        return torch.autograd.grad(loss, list(trained.values()), allow_unused=True)

    whole = gradients(backbone.body(input_ids=ids, attention_mask=mask).last_hidden_state)
    with torch.no_grad():
        below = cut.below(ids, mask)
    for name, one, two in zip(trained, gradients(cut.above(below, ids, mask)), whole, strict=True):
        assert (one is None) == (two is None), name
        if one is not None:
            torch.testing.assert_close(one, two, atol=1e-4, rtol=1e-4, msg=name)


def test_a_family_that_counts_its_layers_is_not_cut(tiny_backbone, monkeypatch):
    backbone = load_backbone(tiny_backbone)
    ids, mask = inputs(backbone)
    encoder = backbone.body.encoder
    real = type(encoder).forward

    def counting(self, hidden, *args, **kwargs):
        out = real(self, hidden, *args, **kwargs)
        out.last_hidden_state = out.last_hidden_state + len(self.layer)
        return out

    monkeypatch.setattr(type(encoder), "forward", counting)
    assert cut_body(backbone.body, 1, ids, mask) is None


def test_an_error_above_the_cut_leaves_the_body_whole(tiny_backbone):
    backbone = load_backbone(tiny_backbone)
    ids, mask = inputs(backbone)
    cut = cut_body(backbone.body, 1, ids, mask)
    with pytest.raises((RuntimeError, IndexError)):
        cut.above(torch.zeros(1, 2, 3), ids, mask)
    assert len(backbone.body.encoder.layer) == 2
    assert not cut.upper[0]._forward_pre_hooks
