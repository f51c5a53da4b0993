"""What the backends that are PyTorch share, on a CPU and on a GPU."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import torch

from textlabel.batching import Padded
from textlabel.engine.encoder import Encoder, encoder_of
from textlabel.engine.flat import FlatEncoder, Queue, has_kernel
from textlabel.engine.process import accelerator
from textlabel.models.classifier import Classifier

#: padded tokens of a forward pass on a GPU: enough to fill it, and activations of a large model still fit
GPU_BATCH = 65_536


class TorchBackend:
    """The encoder in one precision.

    Parameters
    ----------
    dtype : of weights and activations; features leave as float32.
    budget : padded tokens of a forward pass on a CPU: small batches waste less padding.
    """

    multiple = 1

    def __init__(self, classifier: Classifier, dtype: torch.dtype, budget: int) -> None:
        self.device = accelerator().device
        gpu = self.device.type == "cuda"
        self.budget = GPU_BATCH if gpu else budget
        self.encoder = encoder_of(classifier.to(self.device).eval(), dtype)
        self._queue: Queue | None = None
        if gpu and has_kernel(dtype) and isinstance(self.encoder, Encoder):
            self._queue = Queue(FlatEncoder(self.encoder), self.device)

    def features(self, batches: Iterable[Padded]) -> Iterator[npt.NDArray[np.float32]]:
        """Return the features (b, d) of each batch of ids and mask (b, t), in order."""
        return self._padded(batches) if self._queue is None else self._queue.features(batches)

    def _padded(self, batches: Iterable[Padded]) -> Iterator[npt.NDArray[np.float32]]:
        for ids, mask in batches:
            with torch.inference_mode():
                rows = (torch.from_numpy(part).to(self.device) for part in (ids, mask))
                yield self.encoder(*rows).float().cpu().numpy()
