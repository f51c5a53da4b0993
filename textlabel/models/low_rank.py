"""A frozen linear map with a low-rank update beside it, in few passes over memory.

As peft writes it out, an update of rank 8 costs as much as the map itself: the input is copied, dropped and
cast, the result scaled and added, each a pass over the activations. Here the update is added by the matrix
product itself, forwards and backwards, and the frozen weights are cast to the precision of the pass once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora.layer import Linear
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from textlabel.models.classifier import Classifier

#: what `Update` gives to its inputs: gradients of x, a and b; none of weight, bias and scale
Gradients = tuple[Tensor | None, None, None, Tensor, Tensor, None]


def add_update(classifier: Classifier, names: Sequence[str], **options: Any) -> None:
    """Put updates beside the linear maps ``names`` of the body; they and the head train, nothing else.

    Parameters
    ----------
    options : what peft's ``LoraConfig`` takes beside the names.
    """
    classifier.requires_grad_(False)
    config = LoraConfig(target_modules=list(names), bias="none", **options)
    config._register_custom_module({torch.nn.Linear: LowRankLinear})
    classifier.wrap_adapter(lambda body: get_peft_model(body, config))
    classifier.head.requires_grad_(True)


class LowRankLinear(Linear):  # type: ignore[misc]
    """peft's LoRA layer, computed by `Update` wherever that is the same."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Return W x + s B A x."""
        name = self.active_adapters[0] if self.active_adapters else ""
        plain = not (args or kwargs or self.disable_adapters or self.merged or self.lora_variant)
        dropped = self.training and isinstance(self.lora_dropout[name], torch.nn.Dropout) if plain else True
        if dropped or len(self.active_adapters) != 1:
            found: Tensor = super().forward(x, *args, **kwargs)
            return found
        kind = x.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
        weight, bias = self._frozen(dtype)
        a, b = self.lora_A[name].weight.to(dtype), self.lora_B[name].weight.to(dtype)
        made: Tensor = Update.apply(x.to(dtype), weight, bias, a, b, self.scaling[name])  # type: ignore[no-untyped-call]
        return made

    def _frozen(self, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
        layer = self.get_base_layer()
        if dtype == layer.weight.dtype:
            return layer.weight, layer.bias
        kept: Any = self.__dict__.get("cast")
        if kept is None or kept[0].dtype != dtype or kept[0].device != layer.weight.device:
            with torch.no_grad():
                kept = layer.weight.to(dtype), None if layer.bias is None else layer.bias.to(dtype)
            self.__dict__["cast"] = kept  # no buffer: it is neither saved nor moved
        return kept[0], kept[1]


class Update(torch.autograd.Function):
    """W x + s B A x, with W frozen."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scale: float
    ) -> Tensor:
        """Return (..., out) of x (..., in)."""
        rows = x.reshape(-1, x.shape[-1])
        low = rows @ a.T
        found = functional.linear(rows, weight, bias).addmm_(low, b.T, alpha=scale)
        ctx.save_for_backward(rows, weight, a, b, low)
        ctx.scale = scale
        return found.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Gradients:
        """Return the gradients of x, a and b."""
        rows, weight, a, b, low = ctx.saved_tensors
        given = gradients[0].reshape(-1, weight.shape[0])
        back = (given @ b).mul_(ctx.scale)
        x = None
        if ctx.needs_input_grad[0]:
            x = (given @ weight).addmm_(back, a).view(*gradients[0].shape[:-1], -1)
        return x, None, None, back.T @ rows, (given.T @ low).mul_(ctx.scale), None
