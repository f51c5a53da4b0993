"""Which pooling: each is tried under a head on the frozen backbone, on rows that the head did not train on.

The backbone's own stands unless another's losses are lower by more than twice the paired standard error: a
sentence encoder was trained through its own, and MiniLM is 5 (max) and 12 points (cls) worse without.
A recipe that trains the body begins with what the frozen body chose. It takes a pass over the labeled rows
for each pooling; of the one that is taken the feature cache then knows all rows.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from textlabel.engine.auto import Start, Trial, readings
from textlabel.engine.comparison import least_by_far, tempered_losses
from textlabel.engine.process import of_main_process
from textlabel.engine.run import Task
from textlabel.engine.solvers import solver
from textlabel.errors import RecipeError
from textlabel.models.backbone import Backbone
from textlabel.models.backbone_info import POOLINGS, require_one
from textlabel.recipe import Recipe
from textlabel.types import FloatArray

#: what asks for the choice where a pooling may be named
BEST = "best"
#: recipes whose head judges where the recipe itself is of no solved head alone, by kind of label
_HEADS = {"single": "head", "multi": "multilabel", "score": "regression"}


def choose_pooling(
    backbone: Backbone, task: Task, recipe: Recipe, start: Start, fixed_layers: bool = False
) -> tuple[Backbone, list[Trial]]:
    """Return the backbone with the pooling that the labeled rows speak for, and how each did.

    Parameters
    ----------
    recipe : its own head judges, where it is one; else that of recipe head, multilabel or regression.
    fixed_layers : as `textlabel.engine.auto.choose_recipe`; a recipe with alternatives is judged on the
        reading that it tries first.

    Raises
    ------
    RecipeError : features are not of tokens in context, so there is nothing to choose.
    """
    refuse_without_tokens(backbone, recipe)
    head, info = _judge(recipe, task), backbone.info
    layers = readings(backbone, fixed_layers)[0] if recipe.alternatives else info.layers
    names = [info.pooling, *(name for name in POOLINGS if name != info.pooling)]
    trials, losses = [], {}
    for number, name in enumerate(names):
        before = time.monotonic()
        run = start(replace(backbone, info=replace(info, pooling=name, layers=layers)), head, "pooling")
        run.fit(np.arange(len(task.targets)), "final")
        assert run.solved is not None
        losses[number] = losses_of(run.solved.out_of_fold, task.targets)
        trial = _trial(f"{head.name} ({name})", run.solved.out_of_fold, task.targets, losses[number])
        trials.append(replace(trial, layers=layers, seconds=time.monotonic() - before))
    best = int(of_main_process(np.array([float(least_by_far(losses))]))[0])
    trials = [replace(trial, verdict=_verdict(number, best, losses)) for number, trial in enumerate(trials)]
    return replace(backbone, info=replace(info, pooling=names[best])), trials


def _verdict(number: int, best: int, losses: Mapping[int, FloatArray]) -> str:
    if number == best:
        return "pooling chosen"
    return "worse" if losses[number].mean() > losses[best].mean() else "not better by more than the noise"


def refuse_without_tokens(backbone: Backbone, recipe: Recipe) -> None:
    """Raise a `RecipeError` where nothing reads tokens in their context."""
    if recipe.features == "ngrams":
        raise RecipeError(
            f"pooling = {BEST!r}: recipe {recipe.name!r} reads no backbone, so there are no tokens to pool; "
            "leave it out"
        )
    require_one(
        backbone.info, f"pooling = {BEST!r} reads", "leave it out, or name the pooling of all of them"
    )
    if backbone.info.kind == "static":
        raise RecipeError(
            f"pooling = {BEST!r}: {backbone.info.public_name} is a static backbone, whose first token says "
            "nothing of the others; leave it out, or choose mean or max"
        )


def losses_of(outputs: FloatArray, targets: npt.NDArray[Any]) -> FloatArray:
    """Return a loss a row (n,): of classes in nats at the best temperature, of scores squared.

    Examples
    --------
    >>> losses_of(np.array([[1.0], [2.0]]), np.array([0.0, 2.0])).tolist()
    [1.0, 0.0]
    >>> losses_of(np.zeros((1, 2)), np.array([[0, 1]])).round(3).tolist()
    [0.693]
    """
    if targets.ndim == 2:
        return np.asarray((np.logaddexp(0, outputs) - targets * outputs).mean(axis=1))
    if targets.dtype.kind == "f":
        return np.asarray((outputs[:, 0] - targets) ** 2)
    return tempered_losses(outputs, targets)


def _judge(recipe: Recipe, task: Task) -> Recipe:
    solved = len(recipe.stages) == 1 and solver(recipe.stages[0]) is not None
    return recipe if solved and not recipe.alternatives else Recipe.load(_HEADS[task.schema.kind])


def _trial(name: str, outputs: FloatArray, targets: npt.NDArray[Any], losses: FloatArray) -> Trial:
    """Return the trial of one pooling, not yet timed; scores are neither right nor wrong."""
    if targets.dtype.kind == "f":
        return Trial(name, 1, None, None, None, 0.0)
    several = targets.ndim == 2
    right = ((outputs > 0) == targets).all(axis=1) if several else outputs.argmax(axis=1) == targets
    error = float(right.std() / np.sqrt(len(right)))
    return Trial(name, 1, float(right.mean()), error, float(losses.mean()), 0.0)
