"""The one training loop: a stage's objectives, by gradient, under Accelerate.

No DistributedDataParallel: each process computes its share of a global batch, gradients are added
in one buffer, and every process takes the same step. With the losses scaled by the global batch
(see `textlabel.protocols`) this is the single-process gradient to rounding, also for an uneven
last batch, and unused or frozen parameters need no special case.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from textlabel import registry
from textlabel.batching import by_length, share
from textlabel.engine.checkpoint import Checkpoint, NoCheckpoint
from textlabel.engine.players import Keeper, Only, Player, State, Thaw, add_gradients, make_players
from textlabel.engine.prefix import Prefix, frozen_prefix
from textlabel.engine.process import accelerator, autocast, derive_seed, pass_tokens, seeded
from textlabel.errors import TrainingError
from textlabel.protocols import MODEL, Batch, Context, Objective, Rows
from textlabel.recipe import Stage, Training, options_of
from textlabel.types import IntArray

if TYPE_CHECKING:
    from torch import Tensor

    from textlabel.models.classifier import Classifier


def train(
    classifier: Classifier,
    stage: Stage,
    context: Context,
    seed: int,
    *,
    checkpoint: Checkpoint | NoCheckpoint | None = None,
    spill: Path | None = None,
    validate: Callable[[], float] | None = None,
    progress: Callable[[int, int, float], None] | None = None,
) -> State:
    """Train ``classifier`` in place for one stage and return how it went.

    Parameters
    ----------
    context : rows, schema and device, as objectives read them.
    seed : decides order, dropout and new weights; same seed and machine, same result.
    checkpoint : where progress is saved and found again.
    spill : folder that may hold activations of frozen layers while this runs; None: memory only.
    validate : returns the validation loss; called after each epoch if the stage has ``patience``.
    progress : called with (step, steps, loss) after each step, on every process.

    Raises
    ------
    TrainingError : the loss is not a finite number; the message says at which step.
    """
    checkpoint = checkpoint or NoCheckpoint()
    training = stage.training
    with seeded(seed, "new weights"):
        registry.load("tune", stage.tune.name).apply(classifier, options_of("tune", stage.tune))
        for part in sorted(stage.frozen):
            getattr(classifier, part).requires_grad_(False)
        prefix = frozen_prefix(classifier.to(context.device), context, training, spill)
        if prefix is not None:
            context = replace(context, body=prefix)
        objectives = _objectives(stage, context)
    players = make_players(classifier, [o for o, _ in objectives], training)
    batches = _epoch_batches(objectives, training, seed)
    epoch = list(batches(0))
    if not epoch:
        raise TrainingError(f"the objective made no batch of {training.batch_size} rows; give it more rows")
    training = replace(training, epochs=max(training.epochs, math.ceil(training.min_steps / len(epoch))))
    steps = training.epochs * len(epoch)
    keeper = Keeper(players, training.patience)
    thaw = Thaw(classifier) if training.unfreeze == "gradual" else None
    state = checkpoint.resume(players, keeper) or State()
    if prefix is not None and state.step < steps and not state.stopped:
        prefix.fill(_reads(objectives, epoch, training.epochs))
    with LeanAttention(classifier), DropoutOn(classifier, prefix, training.dropout) as dropout:
        for number, step, batch in _schedule(batches, training.epochs, steps, state):
            if thaw is not None:
                thaw(number)
            with seeded(seed, "step", step, accelerator().process_index):
                loss = _step(objectives, players, batch, context.rows, step / steps, training)
            if not math.isfinite(loss):
                raise TrainingError(
                    f"the loss is {loss} at step {step + 1}; lower learning_rate or max_grad_norm"
                )
            state.step = step + 1
            state.losses.append(loss)
            if progress:
                progress(state.step, steps, loss)
            if validate and training.patience and state.step * training.epochs % steps == 0:
                classifier.eval()
                keeper.consider(state, number, validate())
                dropout.train()
            checkpoint.maybe_save(state, players, keeper)
    keeper.restore_best()
    checkpoint.finish(state, players, keeper)
    accelerator().free_memory()  # it would keep every optimizer, and so every model, until the end
    return state


def rate_factor(progress: float, warmup: float) -> float:
    """Return the learning-rate factor when a share ``progress`` of the steps is done.

    It rises linearly to 1 over the share ``warmup``, then falls linearly to 0.

    Examples
    --------
    >>> [round(rate_factor(step / 10, 0.2), 3) for step in (0, 1, 2, 6, 9)]
    [0.0, 0.5, 1.0, 0.5, 0.125]
    """
    if progress < warmup:
        return progress / warmup
    return (1 - progress) / (1 - warmup)


def _objectives(stage: Stage, context: Context) -> list[tuple[Objective, float]]:
    found = []
    for chosen in stage.objective:
        module = registry.load("objective", chosen.name)
        found.append((module.Objective(options_of("objective", chosen), context), chosen.weight))
    return found


def _epoch_batches(
    objectives: list[tuple[Objective, float]], training: Training, seed: int
) -> Callable[[int], Iterable[list[Mapping[str, IntArray]]]]:
    """Return a function of the epoch: steps, each with one global batch an objective."""

    def batches(epoch: int) -> Iterator[list[Mapping[str, IntArray]]]:
        streams = []
        for number, (objective, _) in enumerate(objectives):
            rng = np.random.default_rng(derive_seed(seed, "order", epoch, number))
            streams.append(objective.batches(training.batch_size, rng))
        for first in streams[0]:
            rest = [next(s, None) for s in streams[1:]]
            if any(r is None for r in rest):
                return
            yield [first, *(r for r in rest if r is not None)]

    return batches


def _reads(
    objectives: list[tuple[Objective, float]], epoch: list[list[Mapping[str, IntArray]]], epochs: int
) -> dict[str, int]:
    """Return how many rows of each role all steps read as they are."""
    found: dict[str, int] = {}
    for batch in epoch:
        for (objective, _), rows in zip(objectives, batch, strict=True):
            if getattr(objective, "fresh", False):
                continue
            for role, index in rows.items():
                found[role] = found.get(role, 0) + epochs * len(index)
    return found


def _schedule(
    batches: Callable[[int], Iterable[list[Mapping[str, IntArray]]]], epochs: int, steps: int, state: State
) -> Iterator[tuple[int, int, list[Mapping[str, IntArray]]]]:
    """Yield (epoch, step, batches) from where the state is, until the end or until patience runs out."""
    per_epoch = steps // epochs
    for epoch in range(state.step // max(per_epoch, 1), epochs):
        for number, batch in enumerate(batches(epoch)):
            if state.stopped:
                return
            step = epoch * per_epoch + number
            if step >= state.step:
                yield epoch, step, batch


def _step(
    objectives: list[tuple[Objective, float]],
    players: dict[str, Player],
    batch: list[Mapping[str, IntArray]],
    rows: Mapping[str, Rows],
    progress: float,
    training: Training,
) -> float:
    """Take one step of every player in turn; return the model's global loss, or another's while it rests."""
    losses: dict[str, float] = {}
    for name, player in players.items():
        taking_part = [
            (o, w, b)
            for (o, w), b in zip(objectives, batch, strict=True)
            if name in o.players and not _rests(o, name, progress)
        ]
        if player.optimizer is None or not taking_part:
            continue
        with Only(name, players):
            loss = _accumulate(name, taking_part, rows, progress, training)
            accelerator().unscale_gradients(player.optimizer)
            loss = add_gradients(player, loss)
        if not _take(player, training, rate_factor(progress, training.warmup)):
            return math.nan
        losses[name] = loss
    return losses.get(MODEL, sum(losses.values()))


def _rests(objective: Objective, player: str, progress: float) -> bool:
    """Return whether an objective asks for no step of a player now; few have such a method."""
    rests: Callable[[str, float], bool] | None = getattr(objective, "rests", None)
    return rests is not None and rests(player, progress)


def _take(player: Player, training: Training, factor: float) -> bool:
    """Take the optimizer's step and return whether the gradient was finite (or fp16 will skip it)."""
    import torch

    norm = torch.nn.utils.clip_grad_norm_(list(player.parameters.values()), training.max_grad_norm)
    if not torch.isfinite(norm) and accelerator().scaler is None:
        return False
    for group, rate in zip(player.optimizer.param_groups, player.rates, strict=True):
        group["lr"] = rate * factor
    player.optimizer.step()
    player.optimizer.zero_grad()
    return True


def _accumulate(
    player: str,
    objectives: list[tuple[Objective, float, Mapping[str, IntArray]]],
    rows: Mapping[str, Rows],
    progress: float,
    training: Training,
) -> float:
    """Run backward over this process's micro-batches and return its share of the loss."""
    this = accelerator()
    lengths = {role: some.lengths for role, some in rows.items()}
    total = 0.0
    for objective, weight, index in objectives:
        if objective.splits:
            batches = shares(
                index, lengths, this.process_index, this.num_processes, pass_tokens(training), progress
            )
        else:
            batches = whole(index, this.process_index, progress)
        for batch in batches:
            with autocast(training):
                loss: Tensor = weight * objective.loss(player, batch)
            this.backward(loss)
            total += float(loss.detach())
    return total


def shares(
    rows: Mapping[str, IntArray],
    lengths: Mapping[str, IntArray],
    rank: int,
    world: int,
    budget: int,
    progress: float,
) -> Iterator[Batch]:
    """Yield the micro-batches of one process's share of a global batch, ``budget`` padded tokens each."""
    total = {role: len(index) for role, index in rows.items()}
    mine = {}
    for role, index in rows.items():
        part = share(index, rank, world)
        mine[role] = [part[some] for some in by_length(lengths[role][part], budget)]
    for number in range(max(map(len, mine.values()))):
        these = {r: parts[number] for r, parts in mine.items() if number < len(parts)}
        yield Batch(these, total, progress, rows)


def whole(rows: Mapping[str, IntArray], rank: int, progress: float) -> Iterator[Batch]:
    """Yield the whole global batch on process 0, nothing elsewhere: its rows must meet each other."""
    if rank == 0:
        yield Batch(rows, {role: len(index) for role, index in rows.items()}, progress, rows)


class LeanAttention:
    """On a CPU, attention as matrix products: the backward pass of the fused kernel is far slower."""

    def __init__(self, classifier: Classifier) -> None:
        self.body: Any = classifier.body
        found = str(getattr(self.body.config, "_attn_implementation", ""))
        self.fused = found if found == "sdpa" and accelerator().device.type == "cpu" else ""

    def __enter__(self) -> None:
        from textlabel.models.attention import lean

        if self.fused:
            lean(self.body)

    def __exit__(self, *exc: object) -> None:
        if self.fused:
            self.body.set_attn_implementation(self.fused)


class DropoutOn:
    """Dropout on, at the recipe's rate if it has one; eval mode and the old rates afterwards.

    Layers that are run once a row have no dropout: a row must be the same each time it is met.
    """

    def __init__(self, classifier: Classifier, prefix: Prefix | None, dropout: float) -> None:
        from torch.nn import Dropout

        self.classifier, self.prefix = classifier, prefix
        layers = [
            module
            for name, module in classifier.body.named_modules()
            if dropout >= 0 and isinstance(module, Dropout) and "lora_" not in name
        ]
        self.old = [(layer, layer.p) for layer in layers]
        self.rate = dropout

    def __enter__(self) -> DropoutOn:
        for layer, _ in self.old:
            layer.p = self.rate
        self.train()
        return self

    def train(self) -> None:
        """Go back to training mode."""
        self.classifier.train()
        if self.prefix is not None:
            self.prefix.cut.train()

    def __exit__(self, *exc: object) -> None:
        for layer, p in self.old:
            layer.p = p
        self.classifier.eval()
