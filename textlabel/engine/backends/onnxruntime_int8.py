"""Backend ``onnxruntime_int8``: ONNX Runtime on a CPU, weights in int8, activations as each batch has them.

It runs on processors that OpenVINO does not know. As ranges come from the batch, a text's features depend
a little on its batch mates; what that does to labels is measured with the rest. On processors without VNNI
weights have 7 bits, as sums of products would overflow with 8.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import torch

from textlabel.batching import Padded, pad
from textlabel.engine.encoder import written_out
from textlabel.engine.process import multiplies_int8
from textlabel.errors import BundleError
from textlabel.models.classifier import Classifier

NAME = "onnxruntime_int8"
BATCH_INVARIANT = False

GRAPH = "model.onnx"


def lacks() -> str:
    """Return what must be installed."""
    return _missing("onnxruntime")


def lacks_to_prepare() -> str:
    """Return what must be installed to make the graph, beside what runs it."""
    return _missing("onnx", "onnxscript")


def _missing(*names: str) -> str:
    missing = [name for name in names if find_spec(name) is None]
    return f"{', '.join(missing)}: pip install 'textlabel[onnx]'" if missing else ""


def prepare(classifier: Classifier, texts: Sequence[str], folder: Path) -> None:
    """Write the quantized graph; no text is needed."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    example = tuple(map(torch.from_numpy, pad([[1, 2, 3], [1, 2]], classifier.pad_id)))
    axes = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it tells what else it could export
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names inside torch that are going away
        program = torch.onnx.export(
            written_out(classifier),
            example,
            input_names=["ids", "mask"],
            dynamic_shapes=(axes, axes),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    del model.graph.value_info[:]  # shapes that the quantizer would take for fixed ones
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as place, _handled_log():
        plain = Path(place) / GRAPH
        plain.write_bytes(model.SerializeToString())
        quantize_dynamic(
            plain,
            folder / GRAPH,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=not multiplies_int8(),
        )


@contextmanager
def _handled_log() -> Iterator[None]:
    """Keep the quantizer, which writes to the root logger, from giving that a handler."""
    root, handler = logging.getLogger(), logging.NullHandler()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


class Backend:
    """The quantized encoder."""

    budget, multiple = 1024, 1

    def __init__(self, classifier: Classifier, folder: Path | None = None) -> None:
        import onnxruntime

        if folder is None or not (folder / GRAPH).is_file():
            raise BundleError("the model holds no ONNX graph; run `textlabel optimize` on it first")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self.session = onnxruntime.InferenceSession(
            str(folder / GRAPH), options, providers=["CPUExecutionProvider"]
        )

    def features(self, batches: Iterable[Padded]) -> Iterator[npt.NDArray[np.float32]]:
        """Return the features (b, d) of each batch of ids and mask (b, t)."""
        for ids, mask in batches:
            (found,) = self.session.run(None, {"ids": ids, "mask": mask})
            yield found
