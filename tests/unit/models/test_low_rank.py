"""The update in few passes is peft's update, in value and in gradient."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora.layer import Linear

from textlabel.models.low_rank import LowRankLinear


def pair(dropout=0.0, bias=True, rslora=False):
    """Return the same layer with the same update twice: as peft has it, and ours."""
    found = []
    for own in (False, True):
        torch.manual_seed(0)
        body = torch.nn.Sequential(torch.nn.Linear(12, 7, bias=bias))
        config = LoraConfig(r=3, lora_alpha=5, lora_dropout=dropout, target_modules=["0"], use_rslora=rslora)
        if own:
            config._register_custom_module({torch.nn.Linear: LowRankLinear})
        model = get_peft_model(body, config)
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.data.normal_()
        found.append(model)
    theirs, ours = (model.base_model.model[0] for model in found)
    assert type(theirs) is Linear
    assert type(ours) is LowRankLinear
    return theirs, ours


def results(layer, x):
    x = x.clone().requires_grad_(True)
    out = layer(x)
    (out.float() ** 3).sum().backward()
    return [out.detach(), x.grad, *(p.grad for p in layer.parameters() if p.requires_grad)]


X = torch.randn(4, 5, 12, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rslora", [True, False])
def test_value_and_gradients_are_those_of_peft(bias, rslora):
    theirs, ours = pair(bias=bias, rslora=rslora)
    found, expected = results(ours.train(), X), results(theirs.train(), X)
    assert len(found) == len(expected) == 4
    for one, two in zip(found, expected, strict=True):
        torch.testing.assert_close(one, two, atol=1e-4, rtol=1e-5)


def test_in_half_precision_weights_stay_and_get_gradients_in_single():
    theirs, ours = pair()
    with torch.autocast("cpu", torch.bfloat16):
        found, expected = results(ours.train(), X), results(theirs.train(), X)
    assert found[0].dtype == torch.bfloat16
    for one, two in zip(found[1:], expected[1:], strict=True):
        assert one.dtype == torch.float32
        assert (one - two).norm() < 0.03 * two.norm()
    assert ours.base_layer.weight.dtype == torch.float32
    assert not any("cast" in name for name in ours.state_dict())


def test_the_gradient_is_right_by_finite_differences():
    from textlabel.models.low_rank import Update

    torch.manual_seed(0)
    shapes = {"x": (2, 3, 4), "w": (5, 4), "bias": (5,), "a": (2, 4), "b": (5, 2)}
    made = {name: torch.randn(shape, dtype=torch.float64) for name, shape in shapes.items()}
    for name in ("x", "a", "b"):
        made[name].requires_grad_(True)
    assert torch.autograd.gradcheck(lambda *given: Update.apply(*given, 0.7), tuple(made.values()))


def test_a_row_that_needs_no_gradient_gets_none():
    _, ours = pair()
    ours.train()(X).sum().backward()
    assert ours.lora_A["default"].weight.grad is not None


def test_dropout_on_the_update_is_left_to_peft():
    theirs, ours = pair(dropout=0.5)
    found = []
    for layer in (theirs, ours):
        torch.manual_seed(7)
        found.append(layer.train()(X))
    torch.testing.assert_close(*found)
    assert not torch.equal(ours.eval()(X), found[1])  # something was dropped


def test_merging_gives_the_same_map():
    _, ours = pair()
    ours.eval()
    before = ours(X)
    ours.merge()
    torch.testing.assert_close(ours(X), before, atol=1e-5, rtol=0)
