"""Backend ``torch``: the forward pass in PyTorch, fp32, on the process's device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from textlabel.batching import pad

if TYPE_CHECKING:
    from textlabel.models.classifier import Classifier

NAME = "torch"


class Backend:
    """Runs one padded batch through body and head."""

    def __init__(self, classifier: Classifier) -> None:
        from textlabel.engine.process import accelerator

        self.device = accelerator().device
        self.classifier = classifier.to(self.device).eval()

    def __call__(
        self, tokens: Sequence[Sequence[int]]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return logits (b, k) and features (b, d), both float32."""
        import torch

        ids, mask = pad(tokens, self.classifier.pad_id)
        with torch.inference_mode():
            out = self.classifier(ids.to(self.device), mask.to(self.device))
        return out.logits.float().cpu().numpy(), out.features.float().cpu().numpy()
