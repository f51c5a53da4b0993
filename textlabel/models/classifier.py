"""The classifier in memory: body, pooling, one linear head."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from textlabel.errors import BundleError
from textlabel.models.backbone import Backbone
from textlabel.models.heads import Linear
from textlabel.types import LabelSchema

#: a numbered encoder layer in a parameter's name: BERT, DistilBERT, ALBERT, ModernBERT, ...
LAYER = re.compile(r"(?:^|\.)(?:layer|layers|albert_layers)\.(\d+)\.")


#: what a saved update tells peft; anything else in its configuration is not read
ADAPTER_KEYS = ("r", "lora_alpha", "lora_dropout", "use_rslora", "target_modules", "bias")


class Output(NamedTuple):
    """``logits`` (b, k) and the pooled ``features`` (b, d) that the head saw."""

    logits: Tensor
    features: Tensor


@dataclass(frozen=True)
class Adapter:
    """A trained LoRA update, merged into the body but kept apart for saving: peft config and tensors."""

    config: dict[str, Any]
    tensors: dict[str, Tensor]


class Classifier(nn.Module):
    """A backbone with mask-weighted mean or first-token pooling and a linear head.

    Parameters
    ----------
    backbone : loaded backbone; its body becomes this module's.
    schema : decides the number of outputs.
    """

    def __init__(self, backbone: Backbone, schema: LabelSchema) -> None:
        super().__init__()
        self.info = backbone.info
        self.folder = backbone.folder
        self.tokenizer = backbone.tokenizer
        self.pad_id = backbone.pad_id
        self.schema = schema
        self.body = backbone.body
        self.head = nn.Linear(int(self.body.config.hidden_size), schema.outputs)  # type: ignore[union-attr,arg-type]
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        #: merged updates in the order of their training; empty where ``body_changed``
        self.adapters: list[Adapter] = []
        #: whether weights of the body itself were trained, so that all of it must be saved
        self.body_changed = False

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Output:
        """Return logits and features of padded token ids (b, t)."""
        return self.read(
            self.body(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state, attention_mask
        )

    def read(self, hidden: Tensor, mask: Tensor) -> Output:
        """Return logits and features of token vectors (b, t, d), in float32 whatever precision made them."""
        with torch.autocast(hidden.device.type, enabled=False):
            features = pool(hidden.float(), mask, self.info.pooling, self.info.normalize)
            return Output(self.head(features), features)

    @property
    def untouched(self) -> bool:
        """Whether the body is still the backbone as it came, so that its cached features hold."""
        return not self.body_changed and not self.adapters

    def set_head(self, head: Linear) -> None:
        """Copy a fitted linear head into the module."""
        with torch.no_grad():
            self.head.weight.copy_(torch.from_numpy(head.weight))
            self.head.bias.copy_(torch.from_numpy(head.bias))

    def depths(self) -> dict[str, int]:
        """Return the depth of each body parameter: 0 embeddings, 1 first layer, ..., top for the rest."""
        found = {name: LAYER.search(name) for name, _ in self.body.named_parameters()}
        top = max((int(m[1]) + 1 for m in found.values() if m), default=0)
        # a norm without a number stands above the layers; what they share (positions) is below them all
        return {n: int(m[1]) + 1 if m else top * _is_final_norm(n) for n, m in found.items()}

    def linear_layers(self, attention_only: bool = False, layers: int = 0) -> list[str]:
        """Return the names of the linear maps inside the body's layers, or inside its top ``layers``."""
        depths = self.depths()
        lowest = max(max(depths.values(), default=0) - layers, 0) if layers else 0
        return [
            name
            for name, module in self.body.named_modules()
            if isinstance(module, nn.Linear)
            and depths.get(f"{name}.weight", 0) > lowest
            and (not attention_only or "attention" in name or "attn" in name)
        ]

    def wrap_adapter(self, wrap: Callable[[nn.Module], nn.Module]) -> None:
        """Replace the body by a peft model around it, until `merge` folds the update in."""
        with warnings.catch_warnings():
            # peft 0.21 asks transformers 5.23 by a name that is going away; nothing a user can mend
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
            self.body = wrap(self.body)

    def merge(self) -> None:
        """Fold a trained peft update into the body (in fp32) and remember it in ``adapters``."""
        if not hasattr(self.body, "merge_and_unload"):  # no update is around it, and peft may be absent
            return
        from peft import get_peft_model_state_dict

        wrapped: Any = self.body
        tensors = get_peft_model_state_dict(wrapped, save_embedding_layers=False)
        options = wrapped.peft_config["default"].to_dict()
        config = {k: sorted(v) if isinstance(v, set) else v for k, v in options.items()}
        config["base_model_name_or_path"] = None  # a path of this machine says nothing elsewhere
        self.adapters.append(Adapter(config, {k: v.detach().cpu().clone() for k, v in tensors.items()}))
        self.body = wrapped.merge_and_unload()

    def add_adapter(self, adapter: Adapter) -> None:
        """Apply a saved update exactly as it was merged after training.

        Raises
        ------
        BundleError : its tensors are not those that its configuration asks for.
        """
        from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict

        config = LoraConfig(**{key: adapter.config[key] for key in ADAPTER_KEYS})
        self.wrap_adapter(lambda body: get_peft_model(body, config))
        expected = get_peft_model_state_dict(self.body, save_embedding_layers=False)
        if expected.keys() != adapter.tensors.keys():
            wrong = sorted(expected.keys() ^ adapter.tensors.keys())
            raise BundleError(
                f"the adapter has other tensors than its configuration asks for, first {wrong[0]!r}; "
                "it was written by another peft, or changed: fit again with this version"
            )
        set_peft_model_state_dict(self.body, adapter.tensors)
        self.merge()


def _is_final_norm(name: str) -> bool:
    return "norm" in name.lower() and "embed" not in name


def pool(hidden: Tensor, mask: Tensor, pooling: str, normalize: bool) -> Tensor:
    """Return one vector a text (b, d) from token vectors (b, t, d); masked tokens never count."""
    if pooling == "cls":
        features = hidden[:, 0]
    else:
        weight = mask.unsqueeze(-1).to(hidden.dtype)
        features = (hidden * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1e-9)
    return nn.functional.normalize(features, dim=-1) if normalize else features
