"""Backend ``openvino_bf16``: OpenVINO on a CPU, in bfloat16 where the processor has it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from textlabel.engine import openvino
from textlabel.models.classifier import Classifier

NAME = "openvino_bf16"
BATCH_INVARIANT = True

lacks = openvino.lacks


def prepare(classifier: Classifier, texts: Sequence[str], folder: Path) -> None:
    """Write the graph; no text is needed."""
    openvino.save(openvino.export(classifier), folder)


class Backend(openvino.OpenVinoBackend):
    """The exported encoder."""

    def __init__(self, classifier: Classifier, folder: Path | None = None) -> None:
        super().__init__(folder)
