"""The prediction pass: texts in input order in, logits and features in input order out.

Texts are tokenized once without padding, sorted by length within windows and batched by a token
budget. Under several processes each takes every other batch; the parts are added up, so that every
row is computed exactly once and lands where it came from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from textlabel import registry
from textlabel.batching import by_length, share
from textlabel.engine.process import accelerator, sum_over_processes
from textlabel.errors import TrainingError
from textlabel.models.backbone import encode

if TYPE_CHECKING:
    from textlabel.models.classifier import Classifier

#: padded tokens of one forward pass; small batches waste less padding, a GPU wants more at once
TOKEN_BUDGET = {"cpu": 512, "cuda": 16_384}
#: rows tokenized, sorted and gathered at a time
WINDOW = 20_000

Float32 = npt.NDArray[np.float32]
Progress = Callable[[int, int], None]


def predict(
    classifier: Classifier,
    texts: Sequence[str],
    *,
    backend: str = "torch",
    token_budget: int = 0,
    progress: Progress | None = None,
) -> tuple[Float32, Float32]:
    """Return logits (n, k) and features (n, d) of texts, on every process.

    Parameters
    ----------
    backend : plugin that runs the forward pass.
    token_budget : padded tokens a batch; 0: what suits the device. Changes speed, not the labels.
    progress : called with (rows done, rows) after each batch.
    """
    run = registry.load("backend", backend).Backend(classifier)
    budget = token_budget or TOKEN_BUDGET.get(accelerator().device.type, TOKEN_BUDGET["cuda"])
    parts = []
    for start in range(0, len(texts), WINDOW):
        window = encode(classifier.tokenizer, classifier.info, texts[start : start + WINDOW])

        def report(done: int, offset: int = start) -> None:
            if progress:
                progress(offset + done, len(texts))

        parts.append(_window(run, classifier, window, budget, report))
    if not parts:
        width = classifier.head.in_features
        return np.zeros((0, classifier.schema.outputs), np.float32), np.zeros((0, width), np.float32)
    logits, features = (np.concatenate(column) for column in zip(*parts, strict=True))
    if not np.isfinite(logits).all():
        bad = int(np.flatnonzero(~np.isfinite(logits).all(axis=1))[0])
        raise TrainingError(f"the model gives no number for row {bad}: its weights are damaged; fit again")
    return logits, features


def _window(
    run: Callable[[Sequence[Sequence[int]]], tuple[Float32, Float32]],
    classifier: Classifier,
    tokens: list[list[int]],
    budget: int,
    report: Callable[[int], None],
) -> tuple[Float32, Float32]:
    this = accelerator()
    outputs = classifier.schema.outputs
    both = np.zeros((len(tokens), outputs + classifier.head.in_features), np.float32)
    batches = list(by_length([len(row) for row in tokens], budget))
    done = 0
    for number in share(np.arange(len(batches)), this.process_index, this.num_processes):
        index = batches[int(number)]
        logits, features = run([tokens[i] for i in index])
        both[index, :outputs] = logits
        both[index, outputs:] = features
        done += len(index)
        report(done)
    both = sum_over_processes(both)
    return both[:, :outputs], both[:, outputs:]
