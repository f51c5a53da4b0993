"""What a tune and an objective must offer: the one protocol through which they meet.

A *tune* module (``textlabel/tune/NAME.py``) has ``NAME``, a frozen dataclass ``Options``, ``PARTS``
(which of "body" and "head" it trains) and ``apply(classifier, options)``, which sets
``requires_grad``. An *objective* module has ``NAME``, ``Options``, the constants of `Objective`'s
docstring and a class ``Objective``.

Losses are sums scaled by the *global* batch: each process returns its own share of the global mean,
so that adding gradients over processes and micro-batches gives exactly the gradient of one process,
whatever the size of the last batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from textlabel.types import IntArray, LabelSchema

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from textlabel.models.classifier import Classifier, Output

#: the player that owns the classifier; others (discriminator, generator) own extra modules only
MODEL = "model"


@dataclass(frozen=True)
class Rows:
    """Tokenized rows of one role: "labeled", "unlabeled", or "tasks", those of all tasks together.

    Parameters
    ----------
    tokens : n lists of token ids, truncated, not padded.
    targets : (n,) class index or score, or (n, k) 0 and 1, the classes that a row carries; None where there
        is no label. Rows of tasks have classes that are numbered through all tasks.
    """

    tokens: list[list[int]]
    targets: Any = None

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def lengths(self) -> IntArray:
        """Tokens of each row (n,)."""
        return np.array([len(row) for row in self.tokens], dtype=np.int64)

    @cached_property
    def groups(self) -> IntArray:
        """Equal numbers (n,) for equal rows of tokens: to a model these are one text."""
        numbers: dict[tuple[int, ...], int] = {}
        return np.array([numbers.setdefault(tuple(row), len(numbers)) for row in self.tokens], dtype=np.int64)

    def take(self, index: IntArray) -> Rows:
        """Return the rows at ``index``, in that order."""
        targets = None if self.targets is None else np.asarray(self.targets)[index]
        return Rows([self.tokens[i] for i in index], targets)


@dataclass(frozen=True)
class Batch:
    """This process's share of one global batch.

    Parameters
    ----------
    index : {role: row numbers of this process}.
    total : {role: rows of the global batch, over all processes and micro-batches}.
    progress : share of the stage's steps that are done, in [0, 1), for losses that follow a schedule.
    rows : {role: row numbers of the global batch}, for means over something that rows have different numbers
        of; empty: this share is all there is.
    """

    index: Mapping[str, IntArray]
    total: Mapping[str, int]
    progress: float = 0.0
    rows: Mapping[str, IntArray] = field(default_factory=dict)


@dataclass(frozen=True)
class Context:
    """What an objective may read: rows by role, the schema, the model, the device.

    Parameters
    ----------
    body : token vectors (b, t, d) of some rows (role, index, ids, mask), where layers below those that train
        are run but once; of what is no row's own if the role is ""; None: the classifier runs all of its
        layers.
    tasks : (n,) task of each row of the role "tasks"; None where there are none.
    """

    rows: Mapping[str, Rows]
    schema: LabelSchema
    classifier: Classifier
    device: torch.device
    body: Callable[[str, IntArray, Tensor, Tensor], Tensor] | None = None
    tasks: IntArray | None = None

    def output(self, role: str, index: IntArray) -> Output:
        """Return the model's logits and features of some rows, by the shortest way."""
        ids, mask = self.inputs(role, index)
        if self.body is None:
            found: Output = self.classifier(ids, mask)
            return found
        return self.classifier.read(self.body(role, index, ids, mask), mask)

    def vectors(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return token vectors (b, t, d) of the last layer for padded ids and mask (b, t) of any tokens.

        These are no row's own, so nothing that was kept of a row is used.
        """
        from textlabel.models.classifier import token_vectors

        if self.body is None:
            return token_vectors(self.classifier.body, ids, mask)
        width = self.classifier.head.in_features // self.classifier.info.layers
        return self.body("", np.zeros(0, dtype=np.int64), ids, mask)[..., :width]

    def inputs(self, role: str, index: IntArray) -> tuple[Tensor, Tensor]:
        """Return padded ``input_ids`` and ``attention_mask`` (b, t) of some rows, on the device."""
        import torch

        from textlabel.batching import pad

        tokens = [self.rows[role].tokens[i] for i in index]
        ids, mask = pad(tokens, self.classifier.pad_id)
        return torch.from_numpy(ids).to(self.device), torch.from_numpy(mask).to(self.device)

    def targets(self, role: str, index: IntArray) -> Tensor:
        """Return class indices (int64), scores or 0 and 1 a class (float32) of some rows, on the device."""
        import torch

        dtype = np.int64 if self.schema.kind == "single" else np.float32
        return torch.from_numpy(np.asarray(self.rows[role].targets)[index].astype(dtype)).to(self.device)


class Objective(Protocol):
    """What a stage minimizes.

    The module beside the class carries three constants: ``ROLES`` (row roles it reads),
    ``LABEL_KINDS`` (schema kinds it can learn from) and ``NEEDS_PARTS`` (parts that must train). One whose
    loss holds that of others names them in ``INCLUDES``: beside them it is refused.
    A linear head on cached features has no gradient loop: an objective that has a closed form or a
    convex solver for it also offers ``fit_linear(features, targets, classes, strengths, options)``,
    which returns, or yields, one head for each ridge strength, of which the last may not be asked for.
    Heads are linear as a rule; an objective whose head is of another kind (`textlabel.models.nonlinear`) has
    ``FINAL = True``, and no stage follows it; ``KEEPS_ROWS = True`` if features of the rows are in that head.
    An objective that offers this alone has no class ``Objective``, and recipes that would train it by
    gradient are refused. One that also takes ``mixing=`` is told how classes that are ordered or in a tree
    share weights (`textlabel.models.structure`), and targets of which rows are sets of candidates
    (`textlabel.models.heads.softmax_regression`). One that also takes ``row_weights=``, (n,), as how many
    rows each counts, can weigh rows toward other texts (`textlabel.trust.row_weights`).
    One that follows the head, and would have it follow in turn, names what must stay as it is: ``FREEZES``,
    parts that train in no stage of it, whatever the tune.
    One that changes the tokens of rows before it reads them has a class attribute ``fresh = True``: nothing
    of these rows is kept for it.
    One whose players do not all step from the start has a method ``rests(player, progress)``, which tells, by
    the share of the steps that are done, whether a player takes none now; its loss is then not asked for.
    """

    #: players in the order of their steps; each has its own optimizer
    players: ClassVar[tuple[str, ...]]
    #: whether a global batch may be split, into micro-batches and over processes; where rows interact
    #: it may not, and process 0 computes the batch alone
    splits: ClassVar[bool]

    def __init__(self, options: Any, context: Context) -> None: ...

    def modules(self) -> Mapping[str, nn.Module]:
        """Return extra modules by the player that trains them."""
        ...

    def batches(self, size: int, rng: np.random.Generator) -> Iterator[Mapping[str, IntArray]]:
        """Return one epoch of global batches: {role: row numbers}; every epoch has as many.

        Where objectives are summed, an epoch ends with the shortest.
        """
        ...

    def loss(self, player: str, batch: Batch) -> Tensor:
        """Return this process's share of the global mean loss of one player (scalar)."""
        ...
