"""Backend ``torch_bf16``: PyTorch in bfloat16, on processors that multiply it in hardware.

Eight bits round coarsely, and attention over another length rounds otherwise. So a text's features depend a
little on its batch mates, which decide how far it is padded: by a hundredth after twelve layers. That is as
much as bfloat16 is off anyway, and attention in float32 would not help; what it does to labels is measured.
"""

from __future__ import annotations

from pathlib import Path

import torch

from textlabel.engine.process import multiplies_bf16
from textlabel.engine.pytorch import TorchBackend
from textlabel.models.classifier import Classifier

NAME = "torch_bf16"
BATCH_INVARIANT = False


def lacks() -> str:
    """Return what is missing: bfloat16 in hardware, without which it is slower than float32."""
    needed = "a processor that multiplies bfloat16 (AVX512-BF16 or AMX, or a GPU since Ampere)"
    return "" if multiplies_bf16() else needed


class Backend(TorchBackend):
    """The encoder in bfloat16."""

    def __init__(self, classifier: Classifier, folder: Path | None = None) -> None:
        super().__init__(classifier, torch.bfloat16, budget=1024)
