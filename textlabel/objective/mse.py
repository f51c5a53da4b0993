"""Objective ``mse``: squared error of a real-valued score."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from textlabel.models.heads import Linear, ridge
from textlabel.types import FloatArray, IntArray

if TYPE_CHECKING:
    from torch import Tensor, nn

    from textlabel.protocols import Batch, Context

NAME = "mse"
ROLES = frozenset({"labeled"})
LABEL_KINDS = frozenset({"score"})
NEEDS_PARTS = frozenset({"head"})


@dataclass(frozen=True)
class Options:
    """Squared error has no options."""


def fit_linear(
    features: FloatArray, targets: FloatArray, classes: int, strengths: Sequence[float], options: Options
) -> list[Linear]:
    """Return ridge heads, one a strength, with an unpenalized intercept."""
    return ridge(features, targets, strengths)


class Objective:
    """Mean squared error over the labeled rows of a batch."""

    players: ClassVar[tuple[str, ...]] = ("model",)
    splits: ClassVar[bool] = True

    def __init__(self, options: Options, context: Context) -> None:
        self.context = context

    def modules(self) -> Mapping[str, nn.Module]:
        """Return no extra modules."""
        return {}

    def batches(self, size: int, rng: np.random.Generator) -> Iterator[Mapping[str, IntArray]]:
        """Return one shuffled epoch of rows grouped by length."""
        from textlabel.batching import shuffled

        for index in shuffled(self.context.rows["labeled"].lengths, size, rng):
            yield {"labeled": index}

    def loss(self, player: str, batch: Batch) -> Tensor:
        """Return this share of the mean over the global batch."""
        index = batch.index["labeled"]
        values = self.context.output("labeled", index).logits[:, 0]
        errors = values.float() - self.context.targets("labeled", index)
        loss: Tensor = errors.square().sum() / batch.total["labeled"]
        return loss
