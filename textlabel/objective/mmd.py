"""Objective ``mmd``: cross-entropy on the source, and features whose kernel means are one in both domains.

The distance is the squared maximum mean discrepancy under several Gaussian kernels (Long et al. 2015, arXiv
1502.02791), by its unbiased estimate (Gretton et al. 2012).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textlabel.errors import RecipeError
from textlabel.objective import OverDomains, check_strength

if TYPE_CHECKING:
    from torch import Tensor

    from textlabel.models.classifier import Output
    from textlabel.protocols import Batch

NAME = "mmd"
ROLES = frozenset({"labeled", "unlabeled"})
LABEL_KINDS = frozenset({"single"})
NEEDS_PARTS = frozenset({"body", "head"})
INCLUDES = frozenset({"cross_entropy"})


@dataclass(frozen=True)
class Options:
    """How much the distance counts, and at which widths it looks.

    Parameters
    ----------
    strength : weight of the distance beside cross-entropy.
    multiples : variance of each kernel, as a multiple of the mean squared distance of two rows of a batch.
    """

    strength: float = 1.0
    multiples: tuple[float, ...] = (0.125, 0.25, 0.5, 1.0, 2.0)

    def __post_init__(self) -> None:
        check_strength("mmd", self.strength)
        numbers = all(isinstance(each, int | float) and each > 0 for each in self.multiples)
        if not self.multiples or not numbers:
            raise RecipeError(
                f"mmd: multiples = {list(self.multiples)}; expected one or more positive numbers"
            )


class Objective(OverDomains):
    """Cross-entropy plus the squared discrepancy of a batch's two domains."""

    compares: ClassVar[bool] = True

    def transfer(self, found: Mapping[str, Output], batch: Batch) -> Tensor:
        """Return the weighted squared discrepancy of the whole batch."""
        import torch

        source, target = found["labeled"].features, found["unlabeled"].features
        with torch.autocast(source.device.type, enabled=False):
            distance = squared_mmd(source, target, self.options.multiples)
        loss: Tensor = self.options.strength * distance
        return loss


def squared_mmd(source: Tensor, target: Tensor, multiples: Sequence[float]) -> Tensor:
    """Return the unbiased estimate of the squared discrepancy of rows (b, d) and as many others.

    Its mean is 0 where both are of one distribution, so it is often below 0: clamped, it would be biased.

    Parameters
    ----------
    multiples : variances of the kernels, whose mean is taken, as multiples of the mean squared distance of
        two rows, through which no gradient goes.

    Raises
    ------
    ValueError : fewer than two rows, or other numbers of rows in the two domains.
    """
    import torch

    b = len(source)
    if b < 2 or len(target) != b:
        raise ValueError(f"expected as many rows in both domains, 2 or more; got {b} and {len(target)}")
    rows = torch.cat([source, target])
    rows = rows - rows.detach().mean(dim=0)  # distances stay; what is subtracted below becomes smaller
    lengths = rows.square().sum(dim=-1)
    apart = (lengths[:, None] + lengths[None, :] - 2 * rows @ rows.T).clamp(min=0)
    others = ~torch.eye(2 * b, dtype=torch.bool, device=rows.device)
    # rows that are all one have a distance of 0 and would be divided by it
    spread = apart.detach()[others].mean().clamp(min=torch.finfo(rows.dtype).tiny ** 0.5)
    kernel = torch.stack([torch.exp(-apart / (2 * each * spread)) for each in multiples]).mean(dim=0)
    own = kernel.masked_fill(~others, 0.0)
    within = (own[:b, :b].sum() + own[b:, b:].sum()) / (b * (b - 1))
    return within - 2 * kernel[:b, b:].mean()
