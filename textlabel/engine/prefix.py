"""The frozen layers below those that train: each row passes them once, and its token vectors are kept.

They run without dropout, so that a row is the same each time it is met, kept or not. What is kept lies in
memory, or in a file that has no name and is gone with the process, however that ends.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from textlabel.batching import by_length
from textlabel.engine.process import accelerator, autocast, pass_tokens, sum_over_processes
from textlabel.progress import bar
from textlabel.recipe import Training
from textlabel.types import IntArray

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from textlabel.models.classifier import Classifier
    from textlabel.models.cut import Cut
    from textlabel.protocols import Context, Rows

log = logging.getLogger("textlabel")

#: bytes of token vectors kept in memory, and in a file where there may be one; beyond both, none are kept
MEMORY = 1 << 30
DISK = 1 << 34
#: tokens whose vectors are gathered from the processes at a time
WINDOW = 1 << 16


def frozen_prefix(
    classifier: Classifier, context: Context, training: Training, spill: Path | None
) -> Prefix | None:
    """Return the frozen layers of a classifier whose parameters a tune has chosen; None if all must run.

    Parameters
    ----------
    spill : folder for a file of what does not fit into memory; None: no file.
    """
    from textlabel.models.cut import cut_body

    depths = classifier.depths()
    trained = [depths[name] for name, p in classifier.body.named_parameters() if p.requires_grad]
    top, read = max(depths.values(), default=0), classifier.info.layers
    depth = min(min(trained, default=top) - 1, top - read)  # what gives vectors must run
    if depth < 1:
        return None
    ids, mask = context.inputs(*_longest_and_shortest(context.rows))
    cut = cut_body(classifier.body, depth, ids, mask, read)
    if cut is None:
        log.info("%s cannot be cut below its trained layers: all layers run", classifier.info.public_name)
        return None
    return Prefix(cut, context, training, spill)


class Prefix:
    """Token vectors of the body, with the frozen part of the way kept: a `Context.body`.

    Parameters
    ----------
    cut : the body in two halves.
    context, training, spill : as `frozen_prefix` has them.
    """

    def __init__(self, cut: Cut, context: Context, training: Training, spill: Path | None) -> None:
        self.cut, self.context, self.training, self.spill = cut, context, training, spill
        self.kept: dict[str, Kept] = {}

    def __call__(self, role: str, index: IntArray, ids: Tensor, mask: Tensor) -> Tensor:
        """Return token vectors (b, t, d) of the rows ``index``, whose ids and mask (b, t) are given."""
        if role in self.kept:
            hidden = self.kept[role].rows(index, ids.shape[1]).to(ids.device)
        else:
            hidden = self._below(ids, mask)
        return self.cut.above(hidden, ids, mask)

    def fill(self, reads: Mapping[str, int]) -> None:
        """Run the frozen layers on all rows of the roles that will be read more than once a row.

        Every process keeps all rows, and computes its share of them.
        """
        for role, rows in self.context.rows.items():
            if reads.get(role, 0) <= len(rows):
                continue
            store = self._store(int(rows.lengths.sum()))
            without = sum_over_processes(np.array([store is None], dtype=np.float32))
            if store is None or without.any():  # all keep them or none: they share the work
                log.info("vectors of frozen layers of the %s rows are not kept: there is no room", role)
                continue
            self.kept[role] = Kept(store, rows.lengths)
            with bar(f"frozen layers ({role})") as update:
                self._fill(role, update)

    def _fill(self, role: str, update: Any) -> None:
        import torch

        rows, kept, this = self.context.rows[role], self.kept[role], accelerator()
        done = 0
        for window in windows(by_length(rows.lengths, pass_tokens(self.training)), rows.lengths):
            index = np.concatenate(window)
            part = Kept(torch.zeros(int(rows.lengths[index].sum()), kept.store.shape[1]), rows.lengths[index])
            where = {row: number for number, row in enumerate(index.tolist())}
            for some in window[this.process_index :: this.num_processes]:
                hidden = self._below(*self.context.inputs(role, some)).float().cpu()
                for row, vectors in zip(some.tolist(), hidden, strict=True):
                    part.put(where[row], vectors)
            whole = torch.from_numpy(sum_over_processes(part.store.numpy()))
            for row, number in where.items():
                kept.put(row, whole[part.starts[number] : part.stops[number]])
            done += len(index)
            update(done, len(rows))

    def _store(self, tokens: int) -> Tensor | None:
        """Return room for ``tokens`` vectors, or None if there is none."""
        import torch

        half = accelerator().mixed_precision == "bf16" and self.training.mixed_precision != "no"
        dtype = torch.bfloat16 if half else torch.float32
        shape = (tokens, self.context.classifier.head.in_features // self.cut.read)
        size = tokens * shape[1] * dtype.itemsize
        if size <= MEMORY:
            return torch.empty(shape, dtype=dtype)
        if self.spill is None or size > DISK:
            return None
        return _unnamed_file(self.spill, shape, dtype)

    def _below(self, ids: Tensor, mask: Tensor) -> Tensor:
        import torch

        with torch.no_grad(), autocast(self.training):
            return self.cut.below(ids, mask)


class Kept:
    """Token vectors of rows of different lengths, without padding.

    Parameters
    ----------
    store : (tokens of all rows, d), to be filled.
    lengths : (n,) tokens of each row.
    """

    def __init__(self, store: Tensor, lengths: IntArray) -> None:
        self.store = store
        self.stops = np.cumsum(lengths)
        self.starts = self.stops - lengths

    def put(self, row: int, vectors: Tensor) -> None:
        """Keep the vectors of one row; those of padding, behind them, are left out."""
        start, stop = self.starts[row], self.stops[row]
        self.store[start:stop] = vectors[: stop - start]

    def rows(self, index: IntArray, length: int) -> Tensor:
        """Return vectors (b, length, d) of some rows, zeros behind the end of each."""
        found = self.store.new_zeros((len(index), length, self.store.shape[1]))
        for number, row in enumerate(index):
            start, stop = self.starts[row], self.stops[row]
            found[number, : stop - start] = self.store[start:stop]
        return found


def windows(batches: Iterable[IntArray], lengths: IntArray) -> Iterator[list[IntArray]]:
    """Yield consecutive batches together, at most `WINDOW` tokens or one batch."""
    found: list[IntArray] = []
    tokens = 0
    for batch in batches:
        if found and tokens + lengths[batch].sum() > WINDOW:
            yield found
            found, tokens = [], 0
        found.append(batch)
        tokens += int(lengths[batch].sum())
    if found:
        yield found


def _unnamed_file(folder: Path, shape: tuple[int, int], dtype: torch.dtype) -> Tensor | None:
    """Return a tensor in a file without a name, which nobody else can open and no kill can leave behind."""
    import torch

    size = shape[0] * shape[1] * dtype.itemsize
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(
                    file.fileno(), 0, size
                )  # a full disk shows here, not in the middle of a step
            else:
                file.truncate(size)
            raw = np.memmap(file, dtype=f"i{dtype.itemsize}", mode="r+", shape=shape)
    except OSError as error:
        log.info("no file for vectors of frozen layers: %s", error)
        return None
    return torch.from_numpy(raw).view(dtype)


def _longest_and_shortest(rows: Mapping[str, Rows]) -> tuple[str, IntArray]:
    role = next(iter(rows))
    order = np.argsort(rows[role].lengths, kind="stable")
    return role, order[[-1, 0]]
