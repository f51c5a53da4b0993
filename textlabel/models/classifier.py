"""The classifier in memory: body, pooling, one head, which is linear where a stage is to train it.

Where several backbones were joined it has `parts`, each of which gives features; it has no forward pass.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from textlabel.errors import BundleError
from textlabel.models.backbone import Backbone
from textlabel.models.heads import Linear
from textlabel.models.nonlinear import KINDS, Neighbors, Nonlinear
from textlabel.types import LabelSchema

#: a numbered encoder layer in a parameter's name: BERT, DistilBERT, ALBERT, ModernBERT, ...
LAYER = re.compile(r"(?:^|\.)(?:layer|layers|albert_layers)\.(\d+)\.")


#: what a saved update of each kind tells peft; anything else in its configuration is not read
ADAPTER_KEYS = {
    "LORA": ("r", "lora_alpha", "lora_dropout", "use_rslora", "use_dora", "target_modules", "bias"),
    "IA3": ("target_modules", "feedforward_modules"),
}


class Output(NamedTuple):
    """``logits`` (b, k) and the pooled ``features`` (b, d) that the head saw."""

    logits: Tensor
    features: Tensor


@dataclass(frozen=True)
class Adapter:
    """A trained update of peft's, merged into the body but kept apart for saving: its config and tensors."""

    config: dict[str, Any]
    tensors: dict[str, Tensor]


class Frozen(nn.Module):
    """A head of `KINDS` with its numbers in float32, which no stage trains."""

    def __init__(self, head: Nonlinear) -> None:
        super().__init__()
        self.kind = type(head)
        self.in_features, self.out_features = head.shape
        for item in fields(head):
            values = torch.from_numpy(np.asarray(getattr(head, item.name), np.float32))
            self.register_parameter(item.name, nn.Parameter(values, requires_grad=False))

    @classmethod
    def read(cls, kind: str, tensors: Mapping[str, Tensor]) -> Frozen:
        """Return a saved head from its tensors.

        Raises
        ------
        BundleError : a kind that is not known.
        """
        if kind not in KINDS:
            raise BundleError(
                f"a head of kind {kind!r}; expected {' or '.join(KINDS)}: use the textlabel version that "
                "wrote it, or fit again"
            )
        return cls(KINDS[kind](**{name: value.numpy() for name, value in tensors.items()}))

    @property
    def name(self) -> str:
        """Which of `KINDS` it is."""
        return next(name for name, kind in KINDS.items() if kind is self.kind)

    @property
    def keeps_rows(self) -> bool:
        """Whether features of the training rows are among its numbers."""
        return self.kind is Neighbors

    def solved(self) -> Nonlinear:
        """Return the head in numpy."""
        return self.kind(**{name: value.detach().cpu().numpy() for name, value in self.named_parameters()})

    def forward(self, features: Tensor) -> Tensor:
        """Return logits (b, k) of features (b, d)."""
        return torch.from_numpy(self.solved()(features.detach().cpu().numpy())).to(features)


class Classifier(nn.Module):
    """A backbone, pooling over the tokens of a text or of its first one, and a linear head.

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
        self.head: nn.Linear | Frozen = nn.Linear(backbone.width, schema.outputs)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        #: merged updates in the order of their training; empty where ``body_changed``
        self.adapters: list[Adapter] = []
        #: whether weights of the body itself were trained, so that all of it must be saved
        self.body_changed = False
        #: modules that an objective of one stage leaves to those of later ones; a plain dict, for they are
        #: neither parameters of the classifier nor saved with it
        self.carried: dict[str, nn.Module] = {}

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Output:
        """Return logits and features of padded token ids (b, t)."""
        return self.read(
            token_vectors(self.body, input_ids, attention_mask, self.info.layers), attention_mask
        )

    def read(self, hidden: Tensor, mask: Tensor) -> Output:
        """Return logits and features of token vectors (b, t, d), in float32 whatever precision made them."""
        info = self.info
        with torch.autocast(hidden.device.type, enabled=False):
            features = pool(hidden.float(), mask, info.pooling, info.normalize, info.layers)
            return Output(self.head(features), features)

    @property
    def parts(self) -> list[Classifier]:
        """What gives the features of each of several backbones, in their order; of one, this itself."""
        if not self.info.parts:
            return [self]
        whole = Backbone(self.info, self.folder, self.body, self.tokenizer)
        return [Classifier(part, self.schema).eval() for part in whole.parts]

    @property
    def untouched(self) -> bool:
        """Whether the body is still the backbone as it came, so that its cached features hold."""
        return not self.body_changed and not self.adapters

    def set_head(self, head: Linear | Nonlinear) -> None:
        """Copy a fitted head into the module."""
        if not isinstance(head, Linear):
            self.head = Frozen(head).to(next(self.body.parameters()).device)
            return
        assert isinstance(self.head, nn.Linear)
        with torch.no_grad():
            self.head.weight.copy_(torch.from_numpy(head.weight))
            self.head.bias.copy_(torch.from_numpy(head.bias))

    def depths(self) -> dict[str, int]:
        """Return the depth of each body parameter: 0 embeddings, 1 first layer, ..., top for the rest."""
        found = {name: LAYER.search(name) for name, _ in self.body.named_parameters()}
        top = max((int(m[1]) + 1 for m in found.values() if m), default=0)
        # a norm without a number stands above the layers; what they share (positions) is below them all
        return {n: int(m[1]) + 1 if m else top * _is_final_norm(n, found) for n, m in found.items()}

    @property
    def shares_layers(self) -> bool:
        """Whether layers of the body are one set of weights, run again and again (ALBERT)."""
        layers = int(getattr(self.body.config, "num_hidden_layers", 0) or 0)
        return layers > max(self.depths().values(), default=0) > 0

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
        from peft import (
            IA3Config,
            LoraConfig,
            get_peft_model,
            get_peft_model_state_dict,
            set_peft_model_state_dict,
        )

        kind = adapter.config["peft_type"]
        if kind not in ADAPTER_KEYS:
            raise BundleError(
                f"an adapter of kind {kind!r}; expected {' or '.join(ADAPTER_KEYS)}: "
                "use the textlabel version that wrote it, or fit again"
            )
        made = {"LORA": LoraConfig, "IA3": IA3Config}[kind]
        config = made(**{key: adapter.config[key] for key in ADAPTER_KEYS[kind]})
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


def _is_final_norm(name: str, names: Collection[str]) -> bool:
    """Return whether a parameter is of a norm above the layers, not of one of positions (DeBERTa-v3)."""
    place = name.rpartition(".")[0].rpartition(".")[0]
    of_positions = f"{place}.rel_embeddings.weight" in names
    return "norm" in name.lower() and "embed" not in name and not of_positions


def token_vectors(body: nn.Module, ids: Tensor, mask: Tensor, layers: int = 1) -> Tensor:
    """Return the vectors (b, t, layers * d) that a body gives to tokens, of the last layer first."""
    if layers == 1:
        last: Tensor = body(input_ids=ids, attention_mask=mask).last_hidden_state
        return last
    found = body(input_ids=ids, attention_mask=mask, output_hidden_states=True)
    # the last layer as the body gives it: some families put a norm above it
    below = found.hidden_states[-layers:-1]
    return torch.cat([found.last_hidden_state, *below[::-1]], dim=-1)


def pool(hidden: Tensor, mask: Tensor, pooling: str, normalize: bool, layers: int = 1) -> Tensor:
    """Return one vector a text (b, d) from token vectors (b, t, d); masked tokens never count.

    The vectors of several layers, side by side, are scaled to one length each, and the whole to unit length.
    """
    if pooling == "cls":
        features = hidden[:, 0]
    elif pooling == "max":
        # the lowest number is none of theirs: all features of a token may be negative
        features = hidden.masked_fill(mask.unsqueeze(-1) == 0, torch.finfo(hidden.dtype).min).amax(dim=1)
    else:
        weight = mask.unsqueeze(-1).to(hidden.dtype)
        features = (hidden * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1e-9)
    return unit_length(features, layers) if normalize else features


def unit_length(features: Tensor, layers: int = 1) -> Tensor:
    """Return features (b, d) of unit length, in which each layer's share is as long as any other's."""
    apart = features.reshape(-1, layers, features.shape[-1] // layers)  # -1: graphs take any number of texts
    scaled: Tensor = nn.functional.normalize(apart, dim=-1).flatten(1) / layers**0.5
    return scaled
