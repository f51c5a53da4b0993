"""Backend ``openvino_int8``: matrix products in int8, ranges fixed on the user's own texts.

Ranges are static, so a text's features never depend on its batch mates, as they would with ranges taken from
each batch. Quantized by NNCF after SmoothQuant (Xiao et al. 2022, arXiv 2211.10438) with corrected biases. On
processors without VNNI weights have 7 bits, as sums of products would overflow with 8.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from contextlib import redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from textlabel.batching import pad
from textlabel.engine import openvino
from textlabel.engine.process import multiplies_int8
from textlabel.models.backbone import encode
from textlabel.models.classifier import Classifier

NAME = "openvino_int8"
BATCH_INVARIANT = True

#: texts on which ranges are taken
SAMPLE = 300


lacks = openvino.lacks


def lacks_to_prepare() -> str:
    """Return what must be installed to make the graph, beside what runs it."""
    return "NNCF: pip install 'textlabel[openvino]'" if find_spec("nncf") is None else ""


def prepare(classifier: Classifier, texts: Sequence[str], folder: Path) -> None:
    """Write the quantized graph, calibrated on the first `SAMPLE` texts."""
    graph = openvino.export(classifier)  # first: it keeps telemetry out, NNCF's as well
    import nncf

    logging.getLogger("nncf").setLevel(logging.ERROR)
    tokens = encode(classifier.tokenizer, classifier.info, list(texts[:SAMPLE]))

    def inputs(row: list[int]) -> dict[int, Any]:
        return dict(enumerate(pad([row], classifier.pad_id)))

    fix = None if multiplies_int8() else nncf.OverflowFix.ENABLE
    with redirect_stdout(io.StringIO()):  # its progress bars would stand among the results
        quantized = nncf.quantize(
            graph,
            nncf.Dataset(tokens, inputs),
            model_type=nncf.ModelType.TRANSFORMER,
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(tokens),
            advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=fix),
        )
    openvino.save(quantized, folder)


class Backend(openvino.OpenVinoBackend):
    """The quantized encoder."""

    def __init__(self, classifier: Classifier, folder: Path | None = None) -> None:
        super().__init__(folder)
