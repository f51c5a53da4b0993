"""OpenVINO: an encoder exported to its graph, and batches run on one stream a core."""

from __future__ import annotations

import sys
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from textlabel.batching import Padded, pad
from textlabel.engine.encoder import written_out
from textlabel.errors import BundleError
from textlabel.models.classifier import Classifier

GRAPH = "model.xml"


def lacks() -> str:
    """Return what must be installed."""
    missing = find_spec("openvino") is None
    return "OpenVINO: pip install 'textlabel[openvino]'" if missing else ""


def load() -> Any:
    """Return the package, without its telemetry: as it comes, importing it is reported to its maker."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def export(classifier: Classifier) -> Any:
    """Return the graph of the encoder, from ids and mask (b, t) to features (b, d), float32."""
    openvino = load()
    example = pad([[1, 2, 3], [1, 2]], classifier.pad_id)
    encoder = written_out(classifier)
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what a trace may miss: texts of all lengths are compared later
        graph = openvino.convert_model(encoder, example_input=tuple(map(torch.from_numpy, example)))
    graph.reshape({number: [-1, -1] for number in range(2)})
    return graph


def save(graph: Any, folder: Path) -> None:
    """Write the graph; what float32 it holds is halved, which loses less than bfloat16 does."""
    folder.mkdir(parents=True, exist_ok=True)
    load().save_model(graph, folder / GRAPH, compress_to_fp16=True)


class OpenVinoBackend:
    """What the backends that are OpenVINO share.

    Parameters
    ----------
    folder : with the graph that `save` wrote.
    """

    #: different shapes are compiled apart, so lengths are rounded up to few
    budget, multiple = 1024, 16

    def __init__(self, folder: Path | None) -> None:
        if folder is None or not (folder / GRAPH).is_file():
            raise BundleError("the model holds no OpenVINO graph; run `textlabel optimize` on it first")
        core = load().Core()
        # a graph may be float32 or int8; either way the rest runs in bfloat16 where the processor has it
        able = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        self.streams = torch.get_num_threads()
        options = {
            "NUM_STREAMS": self.streams,
            "INFERENCE_NUM_THREADS": self.streams,
            "INFERENCE_PRECISION_HINT": "bf16" if able else "f32",
        }
        self.model = core.compile_model(folder / GRAPH, "CPU", options)

    def features(self, batches: Iterable[Padded]) -> Iterator[npt.NDArray[np.float32]]:
        """Return the features (b, d) of each batch of ids and mask (b, t), in order."""
        # no AsyncInferQueue: its threads call Python, and wait forever for whoever frees the model meanwhile
        idle = [self.model.create_infer_request() for _ in range(2 * self.streams)]
        running: deque[Any] = deque()

        def oldest() -> npt.NDArray[np.float32]:
            request = running.popleft()
            request.wait()
            idle.append(request)
            found: npt.NDArray[np.float32] = request.get_output_tensor().data.copy()
            return found

        try:
            for batch in batches:
                if not idle:
                    yield oldest()
                running.append(idle.pop())
                running[-1].start_async(dict(enumerate(batch)))
            while running:
                yield oldest()
        finally:
            for request in running:
                request.wait()
