"""Attention that training uses on a CPU says what the library's own says, forwards and backwards."""

from __future__ import annotations

import pytest
import torch
import transformers
from tiny import ARCHITECTURES, write_backbone
from torch.nn.functional import scaled_dot_product_attention

from textlabel.models.attention import NAME, attend, lean
from textlabel.models.backbone import load_backbone

B, H, T, D = 3, 4, 7, 8
#: those that have more than one way of attention
FAMILIES = [
    name
    for name, (config, _, _) in ARCHITECTURES.items()
    if getattr(transformers, config.replace("Config", "Model"))._supports_sdpa
]


def inputs(dtype=torch.float32, heads=H, seed=0):
    make = torch.Generator().manual_seed(seed)
    shapes = [(B, H, T, D), (B, heads, T, D), (B, heads, T, D)]
    return [torch.randn(shape, generator=make).to(dtype).requires_grad_() for shape in shapes]


def padding(lengths=(7, 4, 1)):
    """Return an additive mask (b, 1, t, t) as the library makes it, and what may be seen."""
    seen = torch.arange(T)[None] < torch.tensor(lengths)[:, None]
    seen = seen[:, None, None].expand(B, 1, T, T)
    return torch.where(seen, 0.0, torch.finfo(torch.float32).min), seen


@pytest.mark.parametrize("heads", [4, 2, 1])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("scaling", [None, 0.3])
def test_values_and_gradients_are_those_of_the_library(heads, masked, scaling):
    ours, theirs = inputs(heads=heads), inputs(heads=heads)
    mask, seen = padding() if masked else (None, None)
    found, _ = attend(torch.nn.Identity(), *ours, mask, scaling=scaling)
    expected = scaled_dot_product_attention(*theirs, attn_mask=seen, scale=scaling, enable_gqa=heads < H)
    expected = expected.transpose(1, 2)
    torch.testing.assert_close(found, expected)
    weight = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    (found * weight).sum().backward()
    (expected * weight).sum().backward()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.grad, b.grad)


def test_a_token_that_may_look_nowhere_stays_finite():
    for dtype in (torch.float32, torch.bfloat16):
        parts = inputs(dtype)
        mask, _ = padding((7, 4, 0))
        found, _ = attend(torch.nn.Identity(), *parts, mask)
        found.sum().backward()
        assert found.isfinite().all()
        assert all(part.grad.isfinite().all() for part in parts)


def test_under_autocast_one_precision_meets_the_backward_pass():
    """As where positions were turned in float32."""
    q, k, v = inputs()
    half = v.detach().bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        found, _ = attend(torch.nn.Identity(), q, k, half, padding()[0])
    assert found.dtype == torch.bfloat16
    found.float().sum().backward()
    assert q.grad.dtype == torch.float32
    assert half.grad.dtype == torch.bfloat16


def test_in_half_precision_it_is_as_near_to_the_truth_as_the_library():
    exact, ours, theirs = inputs(seed=3), inputs(torch.bfloat16, seed=3), inputs(torch.bfloat16, seed=3)
    weight = torch.randn((B, T, H, D), generator=torch.Generator().manual_seed(1))
    mask, seen = padding()
    (scaled_dot_product_attention(*exact, attn_mask=seen).transpose(1, 2) * weight).sum().backward()
    (attend(torch.nn.Identity(), *ours, mask)[0].float() * weight).sum().backward()
    (scaled_dot_product_attention(*theirs, attn_mask=seen).transpose(1, 2).float() * weight).sum().backward()
    for right, a, b in zip(exact, ours, theirs, strict=True):
        off, peer = ((part.grad.float() - right.grad).norm() / right.grad.norm() for part in (a, b))
        assert off < max(1.5 * peer, 0.02)


def test_weights_are_dropped_where_a_rate_is_given():
    q, k, _ = inputs()
    ones = torch.ones(B, H, T, D)
    torch.manual_seed(0)
    found = attend(torch.nn.Identity(), q, k, ones, None, dropout=0.5)[0].detach()
    assert found.std() > 0.1
    assert found.mean() == pytest.approx(1, abs=0.2)
    plain = attend(torch.nn.Identity(), q, k, ones, None)[0].detach()
    torch.testing.assert_close(plain.mean(), torch.tensor(1.0))


def test_most_families_can_be_asked():
    assert len(FAMILIES) >= 6


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_that_can_be_asked_trains_the_same(name, tmp_path):
    body = load_backbone(write_backbone(tmp_path / name, name)).body
    ids = torch.tensor([[2, 5, 6, 7, 8, 9, 10, 3], [2, 11, 12, 3, 0, 0, 0, 0]])
    gradients = []
    for way in ("eager", NAME):
        body.set_attn_implementation("eager")
        if way == NAME:
            assert lean(body)
            assert body.config._attn_implementation == NAME
        body.zero_grad()
        mask = (ids > 0).long()
        found = body.eval()(input_ids=ids, attention_mask=mask).last_hidden_state
        (found[mask.bool()] ** 3).sum().backward()
        gradients.append({n: p.grad.clone() for n, p in body.named_parameters() if p.grad is not None})
    largest = max(float(grad.abs().max()) for grad in gradients[0].values())
    for key, grad in gradients[0].items():
        torch.testing.assert_close(gradients[1][key], grad, rtol=1e-3, atol=1e-5 * largest)


def test_a_family_that_says_something_else_keeps_its_own_way(tmp_path):
    body = load_backbone(write_backbone(tmp_path / "bert", "bert")).body
    plain = body.forward

    def capped(**inputs):
        found = plain(**inputs)
        if body.config._attn_implementation == NAME:  # as if it had options that `attend` does not know
            found.last_hidden_state = found.last_hidden_state * 1.01
        return found

    body.forward = capped
    assert not lean(body)
    assert body.config._attn_implementation == "eager"
