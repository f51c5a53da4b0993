"""The sides of a stage: parameters with their optimizers, and the best weights so far."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from textlabel.engine.process import accelerator
from textlabel.protocols import MODEL, Objective
from textlabel.recipe import Training

if TYPE_CHECKING:
    import torch
    from torch import nn

    from textlabel.models.classifier import Classifier


@dataclass
class Player:
    """One side of a (possibly adversarial) objective: its parameters and their optimizer.

    Parameters
    ----------
    parameters : what it trains, by name.
    optimizer : None if it trains nothing.
    rates : peak learning rate of each group of the optimizer.
    buffers : running statistics of its extra modules, which a checkpoint must hold, too.
    """

    parameters: dict[str, nn.Parameter]
    optimizer: Any
    rates: list[float]
    buffers: dict[str, torch.Tensor]


@dataclass
class State:
    """Where the loop is; everything that a resumed run needs beside the tensors."""

    step: int = 0
    best: float = math.inf
    best_epoch: int = -1
    stopped: bool = False
    losses: list[float] = field(default_factory=list)


def make_players(
    classifier: Classifier, objectives: list[Objective], training: Training
) -> dict[str, Player]:
    """Return each player with its trainable parameters and optimizer, in the order of their steps."""
    names = dict.fromkeys([name for objective in objectives for name in objective.players] + [MODEL])
    parameters: dict[str, dict[str, nn.Parameter]] = {name: {} for name in names}
    buffers: dict[str, dict[str, torch.Tensor]] = {name: {} for name in names}
    depths = classifier.depths()
    trainable = {name: p for name, p in classifier.named_parameters() if p.requires_grad}
    rates = {name: _rate(name, depths, training) for name in trainable}
    parameters[MODEL] |= trainable
    for number, objective in enumerate(objectives):
        for player, module in objective.modules().items():
            module.to(next(classifier.parameters()).device)
            prefix = f"objective{number}."
            parameters[player] |= {prefix + name: p for name, p in module.named_parameters()}
            if player == MODEL:  # beside the classifier, so a head of some kind
                rates |= {
                    prefix + name: _rate("head.", {}, training) for name, _ in module.named_parameters()
                }
            buffers[player] |= {prefix + name: b for name, b in module.named_buffers()}
    return {name: _player(parameters[name], buffers[name], rates, training) for name in names}


class Thaw:
    """Gradual unfreezing: each epoch lets one more layer of the body train, from the top (ULMFiT).

    What trains is a function of the epoch alone, so a resumed run needs no state of it. What a tune has
    frozen stays frozen.

    Parameters
    ----------
    classifier : after the tune; norms above the layers train with the topmost, embeddings after the lowest.
    """

    def __init__(self, classifier: Classifier) -> None:
        depths = classifier.depths()
        top = max(depths.values(), default=0)
        trained = [(name, p) for name, p in classifier.body.named_parameters() if p.requires_grad]
        self.first_epochs = [(p, top - depths[name]) for name, p in trained]

    def __call__(self, epoch: int) -> None:
        """Let those parameters train whose time has come."""
        for parameter, first in self.first_epochs:
            parameter.requires_grad_(epoch >= first)


def _rate(name: str, depths: Mapping[str, int], training: Training) -> float:
    """Return the peak rate of one parameter: ``layer_decay`` per layer below the top, head on its own."""
    if name.startswith("head."):
        return training.head_learning_rate or training.learning_rate
    top = max(depths.values(), default=0)
    return float(training.learning_rate * training.layer_decay ** (top - depths[name.removeprefix("body.")]))


def _player(
    parameters: dict[str, nn.Parameter],
    buffers: dict[str, torch.Tensor],
    rates: Mapping[str, float],
    training: Training,
) -> Player:
    import torch

    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in parameters.items():
        # biases and norms are vectors; decaying them only shrinks what normalization needs. Factors of IA3
        # are vectors, too, whatever their shape, and at home at 1
        vector = parameter.ndim < 2 or ".ia3_l" in name
        decay = 0.0 if vector else training.weight_decay
        groups.setdefault((rates.get(name, training.learning_rate), decay), []).append(parameter)
    tables = [{"params": p, "lr": rate, "weight_decay": decay} for (rate, decay), p in groups.items()]
    if not tables:
        return Player(parameters, None, [], buffers)
    if training.optimizer == "sgd":
        optimizer: torch.optim.Optimizer = torch.optim.SGD(tables, momentum=0.9)
    else:
        optimizer = torch.optim.AdamW(tables)
    return Player(parameters, accelerator().prepare(optimizer), [rate for rate, _ in groups], buffers)


class Only:
    """Freeze every other player while one takes its step: no gradient reaches them.

    What did not train before does not train after it: gradual unfreezing may have it wait.
    """

    def __init__(self, name: str, players: dict[str, Player]) -> None:
        others = [player for other, player in players.items() if other != name]
        self.others = [p for player in others for p in player.parameters.values() if p.requires_grad]

    def __enter__(self) -> None:
        for parameter in self.others:
            parameter.requires_grad_(False)

    def __exit__(self, *exc: object) -> None:
        for parameter in self.others:
            parameter.requires_grad_(True)


def add_gradients(player: Player, loss: float) -> float:
    """Sum gradients and loss over processes in one buffer; return the global loss.

    A parameter that no process has a gradient for keeps None, as in one process: the optimizer then
    leaves it alone, where zeros would let weight decay shrink it.
    """
    import torch

    this = accelerator()
    if this.num_processes == 1:
        return loss
    parameters = list(player.parameters.values())
    flat = [torch.zeros_like(p).ravel() if p.grad is None else p.grad.ravel() for p in parameters]
    known = [loss, *(float(p.grad is not None) for p in parameters)]
    buffer = torch.cat([*flat, torch.tensor(known, device=flat[0].device)])
    buffer = this.reduce(buffer, reduction="sum")
    tail = buffer[-len(known) :].tolist()
    start = 0
    for parameter, present in zip(parameters, tail[1:], strict=True):
        stop = start + parameter.numel()
        parameter.grad = buffer[start:stop].view_as(parameter).clone() if present else None
        start = stop
    return float(tail[0])


class Keeper:
    """Remembers the best parameters by validation loss, if the stage has patience."""

    def __init__(self, players: dict[str, Player], patience: int) -> None:
        self.parameters = players[MODEL].parameters
        self.patience = patience
        self.best: dict[str, torch.Tensor] = {}

    def consider(self, state: State, epoch: int, loss: float) -> None:
        """Keep the parameters if the loss is the lowest so far; stop when patience has run out."""
        if loss < state.best:
            state.best, state.best_epoch = loss, epoch
            self.best = {name: p.detach().clone() for name, p in self.parameters.items()}
        state.stopped = epoch - state.best_epoch >= self.patience

    def restore_best(self) -> None:
        """Go back to the best parameters, if any were kept."""
        for name, value in self.best.items():
            self.parameters[name].data.copy_(value)
