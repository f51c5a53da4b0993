"""Objective ``reptile``: the body moves towards where a few steps on one task would take it.

Reptile (Nichol et al. 2018, arXiv 1803.02999): from the weights theta an inner optimizer takes some steps on
batches of one task, to theta_k; then theta moves by a rate times (theta_k - theta). Here the loss has the
gradient theta - theta_k, so the outer optimizer makes that move: with `sgd` its rate is Reptile's, but for
its momentum and the clipping of the gradient. No gradient goes through the inner steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from textlabel.episodes import Pool, places
from textlabel.errors import RecipeError, TrainingError
from textlabel.types import IntArray

if TYPE_CHECKING:
    from torch import Tensor, nn

    from textlabel.protocols import Batch, Context

NAME = "reptile"
ROLES = frozenset({"tasks"})
LABEL_KINDS = frozenset({"single"})
NEEDS_PARTS = frozenset({"body"})


@dataclass(frozen=True)
class Options:
    """What is learned of one task at a time, and how.

    Parameters
    ----------
    ways, shots : classes of a task, and rows of each in one inner step.
    steps : inner steps. A step of the outer optimizer takes as many tasks as their rows fit into the batch
        size, and at least one; their moves are averaged.
    optimizer : of the inner steps: "adam" or "sgd", from a new start for each task.
    rate, head_rate : of the inner steps, for the body and for the task's linear head, which starts from zero.
    """

    ways: int = 5
    shots: int = 2
    steps: int = 5
    optimizer: str = "adam"
    rate: float = 1e-3
    head_rate: float = 0.1

    def __post_init__(self) -> None:
        if self.ways < 2 or self.shots < 1 or self.steps < 1:
            raise RecipeError(
                f"reptile: ways = {self.ways}, shots = {self.shots}, steps = {self.steps}; expected 2 or "
                "more ways, and 1 or more of the others"
            )
        if self.optimizer not in ("adam", "sgd") or self.rate <= 0 or self.head_rate <= 0:
            raise RecipeError(
                f"reptile: optimizer = {self.optimizer!r}, rate = {self.rate}, head_rate = {self.head_rate}; "
                "expected 'adam' or 'sgd', and positive numbers"
            )


class Objective:
    """The inner loss as the value, theta - theta_k as the gradient; mean over the tasks of a batch."""

    players: ClassVar[tuple[str, ...]] = ("model",)
    splits: ClassVar[bool] = False

    def __init__(self, options: Options, context: Context) -> None:
        rows, tasks = context.rows["tasks"], context.tasks
        assert tasks is not None
        self.options, self.context, self.tasks = options, context, tasks
        self.targets = np.asarray(rows.targets)
        self.pool = Pool.of(rows.groups, self.targets, tasks, 2)

    def modules(self) -> Mapping[str, nn.Module]:
        """Return no extra modules: heads live as long as one task's steps."""
        return {}

    def batches(self, size: int, rng: np.random.Generator) -> Iterator[Mapping[str, IntArray]]:
        """Return an epoch of about as many rows as there are, one or more tasks a batch."""
        each = self.options.shots * self.options.steps
        rows = self.options.ways * each
        together = min(max(size // rows, 1), len(self.pool.tasks))
        for _ in range(-(-len(self.targets) // (together * rows))):
            chosen = rng.permutation(len(self.pool.tasks))[:together]
            yield {"tasks": np.concatenate([self._draw(task, each, rng) for task in chosen])}

    def _draw(self, task: int, each: int, rng: np.random.Generator) -> IntArray:
        """Return ``each`` rows of each of some classes of a task; of a small class, rows again."""
        drawn = self.pool.draw(task, self.options.ways, each, rng)
        targets = self.targets[drawn]
        return np.concatenate([np.resize(drawn[targets == target], each) for target in np.unique(targets)])

    def loss(self, player: str, batch: Batch) -> Tensor:
        """Return the loss of the whole batch; the weights are as before when it returns.

        Raises
        ------
        TrainingError : it is to compute in fp16, whose small gradients the inner steps would lose.
        """
        import torch

        kind = self.context.device.type
        if torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) is torch.float16:
            raise TrainingError("reptile does not train in fp16; expected --mixed_precision bf16 or no")
        index = batch.index["tasks"]
        of = self.tasks[index]
        losses = [self._of_task(index[of == task]) for task in np.unique(of)]
        return sum(losses[1:], losses[0]) / len(losses)

    def _of_task(self, index: IntArray) -> Tensor:
        """Return what one task adds: the loss before its last inner step, with the gradient of the move."""
        theta = [p for p in self.context.classifier.body.parameters() if p.requires_grad]
        with _Lent(theta) as lent:
            inner = self._learn(index, theta)
            moves = lent.moves()
        surrogate = sum(
            ((p * move).sum() for p, move in zip(theta, moves, strict=True)), 0.0 * theta[0].sum()
        )
        return surrogate - surrogate.detach() + inner

    def _learn(self, index: IntArray, theta: list[nn.Parameter]) -> float:
        """Take the inner steps on the body's own weights and return the last loss."""
        import torch
        from torch.nn.functional import cross_entropy, linear

        targets = self.targets[index]
        step = places(targets) // self.options.shots
        classes, way = np.unique(targets, return_inverse=True)
        width = self.context.classifier.head.in_features
        head = [theta[0].new_zeros(len(classes), width), theta[0].new_zeros(len(classes))]
        head = [part.requires_grad_() for part in head]
        optimizer = self._optimizer(theta, head)
        loss = 0.0
        for number in range(self.options.steps):
            some = np.flatnonzero(step == number)
            features = self.context.output("tasks", index[some]).features
            with torch.autocast(features.device.type, enabled=False):
                found = cross_entropy(
                    linear(features, *head), torch.from_numpy(way[some]).to(features.device)
                )
                optimizer.zero_grad()
                found.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            torch.clear_autocast_cache()  # it holds the weights as they were before the step
            loss = float(found.detach())
        return loss

    def _optimizer(self, theta: list[nn.Parameter], head: list[Tensor]) -> Any:
        import torch

        groups = [
            {"params": theta, "lr": self.options.rate},
            {"params": head, "lr": self.options.head_rate},
        ]
        return torch.optim.Adam(groups) if self.options.optimizer == "adam" else torch.optim.SGD(groups)


class _Lent:
    """Weights that may be changed within the block; values and gradients are those from before after it."""

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        self.parameters = parameters
        self.values = [p.detach().clone() for p in parameters]
        self.gradients = [p.grad for p in parameters]

    def moves(self) -> list[Tensor]:
        """Return how far each is from what it will be again: the value before less the value now."""
        return [before - p.detach() for before, p in zip(self.values, self.parameters, strict=True)]

    def __enter__(self) -> _Lent:
        for parameter in self.parameters:
            parameter.grad = None
        return self

    def __exit__(self, *exc: object) -> None:
        import torch

        for parameter, value, gradient in zip(self.parameters, self.values, self.gradients, strict=True):
            parameter.data.copy_(value)
            parameter.grad = gradient
        torch.clear_autocast_cache()
