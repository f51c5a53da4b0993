"""Backend ``torch``: PyTorch in float32 on the process's device, the reference for all others."""

from __future__ import annotations

from pathlib import Path

import torch

from textlabel.engine.pytorch import TorchBackend
from textlabel.models.classifier import Classifier

NAME = "torch"
BATCH_INVARIANT = True


def lacks() -> str:
    """Return "": it runs wherever textlabel does."""
    return ""


class Backend(TorchBackend):
    """The encoder in float32."""

    def __init__(self, classifier: Classifier, folder: Path | None = None) -> None:
        super().__init__(classifier, torch.float32, budget=512)
