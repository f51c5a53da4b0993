"""Backend ``openvino_int8``: matrix products in int8, ranges fixed on the user's own texts.

Ranges are static, so a text's features never depend on its batch mates, as they would with ranges taken from
each batch. Quantized by NNCF after SmoothQuant (Xiao et al. 2022, arXiv 2211.10438) with corrected biases. On
processors without VNNI weights have 7 bits, as sums of products would overflow with 8.

On processors with AMX, OpenVINO 2026.4 computes attention of such a graph wrongly where texts are exactly as
many tokens long as a head has features (seen with heads of 16, 24 and 32, at no other length from 2 to 134,
and not without int8): half of each feature was noise. So no batch is of that length; it gets one more of
padding.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from textlabel.batching import Padded, pad
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
        config: Any = classifier.body.config
        self.pad_id = classifier.pad_id
        heads = getattr(config, "num_attention_heads", 0)
        self.head_size = config.hidden_size // heads if heads else 0

    def features(self, batches: Iterable[Padded]) -> Iterator[npt.NDArray[np.float32]]:
        """Return the features (b, d) of each batch of ids and mask (b, t), in order."""
        return super().features(self._of_another_length(*batch) for batch in batches)

    def _of_another_length(self, ids: npt.NDArray[np.int64], mask: npt.NDArray[np.int64]) -> Padded:
        if ids.shape[1] != self.head_size:
            return ids, mask
        one_more = ((0, 0), (0, 1))
        return np.pad(ids, one_more, constant_values=self.pad_id), np.pad(mask, one_more)
