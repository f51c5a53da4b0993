"""Two objectives that exercise the wide parts of the protocol: two players, and batches of pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn

ROLES = frozenset({"labeled"})
LABEL_KINDS = frozenset({"single"})
NEEDS_PARTS = frozenset({"head"})
NAME = "toy"


@dataclass(frozen=True)
class Options:
    pass


class TwoPlayers:
    """The model wants its features small; a critic wants to tell them from noise."""

    players: ClassVar[tuple[str, ...]] = ("model", "critic")
    splits: ClassVar[bool] = True

    def __init__(self, options, context):
        self.context = context
        self.critic = nn.Linear(context.classifier.head.in_features, 1)
        self.seen: list[tuple[str, bool, bool]] = []

    def modules(self):
        return {"critic": self.critic}

    def batches(self, size, rng):
        n = len(self.context.rows["labeled"])
        for start in range(0, n, size):
            yield {"labeled": np.arange(start, min(start + size, n))}

    def loss(self, player, batch):
        index = batch.index["labeled"]
        features = self.context.classifier(*self.context.inputs("labeled", index)).features
        value = self.critic(features).sum() / batch.total["labeled"]
        model_trains = any(p.requires_grad for p in self.context.classifier.parameters())
        self.seen.append((player, model_trains, self.critic.weight.requires_grad))
        assert 0 <= batch.progress < 1
        return value if player == "model" else -value


class Pairs:
    """Rows meet in pairs: a batch cannot be split, and both rows of a pair are in one batch."""

    players: ClassVar[tuple[str, ...]] = ("model",)
    splits: ClassVar[bool] = False

    def __init__(self, options, context):
        self.context = context
        self.sizes: list[int] = []

    def modules(self):
        return {}

    def batches(self, size, rng):
        order = rng.permutation(len(self.context.rows["labeled"]))
        for start in range(0, len(order) - 1, size):
            yield {"labeled": order[start : start + size]}

    def loss(self, player, batch):
        index = batch.index["labeled"]
        self.sizes.append(len(index))
        out = self.context.classifier(*self.context.inputs("labeled", index))
        similar = nn.functional.cosine_similarity(out.features[:-1], out.features[1:])
        y = torch.as_tensor(self.context.rows["labeled"].targets)[index]
        return ((similar - (y[:-1] == y[1:]).float()) ** 2).mean() + 0 * out.logits.sum()
