"""Which recipe: those in question are tried in order of cost, on rows that they did not train on.

First the head that a recipe solves on the frozen backbone, on several readings of it: one pass of the
backbone is enough for all. The reading that does best in `recipes/benchmarks/few_labels_auto.py` comes first,
and stands unless the labeled rows speak for another by more than twice the paired standard error of the
difference. Then recipes that train the backbone, as far as the time allows: each must be better than what
stands by more than that error once, for it costs more. What is compared is the loss of each labeled row by a
model that did not train on it (negative log-likelihood at the best temperature), which tells more than
whether the label is right.

Beside them stands a floor: TF-IDF of characters, which knows nothing but the labeled rows. A model no
better than it has learned nothing from its backbone, which then probably does not read the language.

The winner's own figures are slightly too good, as it was chosen by them; what calibrates it is the same rows.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from textlabel.engine.head import least_by_far, tempered_losses
from textlabel.engine.lexical import floor_logits
from textlabel.engine.run import Run, Task
from textlabel.errors import RecipeError
from textlabel.models.backbone import Backbone
from textlabel.recipe import Recipe, Stage
from textlabel.types import FloatArray

log = logging.getLogger("textlabel")

#: parts of the rows that a recipe which trains the backbone leaves out in turn
FOLDS = 3
#: a step of training takes as long as so many forward passes
TRAINING_PASSES = 3.0
FLOOR = "TF-IDF (no transfer)"

#: makes a run of a recipe on a backbone, whose checkpoints go by the recipe's name
Start = Callable[[Backbone, Recipe], Run]
#: returns logits (n, k) of all rows, each by a run that lacks its fold
ByFolds = Callable[[Run, int], FloatArray]


def seconds_of(budget: str | float) -> float:
    """Return a time in seconds, given as a number of them or as text such as "90s", "10m" or "1h".

    Raises
    ------
    RecipeError : it is no time.

    Examples
    --------
    >>> seconds_of("10m"), seconds_of(0)
    (600.0, 0.0)
    """
    text = str(budget).strip()
    unit = {"s": 1, "m": 60, "h": 3600}.get(text[-1:], 0)
    try:
        found = float(text[:-1] if unit else text) * (unit or 1)
    except ValueError:
        found = -1.0
    if not 0 <= found < float("inf"):
        raise RecipeError(f"budget = {budget!r}: expected a time such as 90s, 10m or 1h, or 0")
    return found


@dataclass(frozen=True)
class Trial:
    """One recipe that was tried, or left out.

    Parameters
    ----------
    name : of the recipe; ``layers`` of the backbone give its features.
    accuracy, error : share of labeled rows that models which did not train on them label rightly, and its
        standard error.
    nll : mean loss of these rows, nats, at the best temperature.
    seconds : that it took, or would take where it was left out.
    verdict : what became of it, in words.
    """

    name: str
    layers: int
    accuracy: float | None
    error: float | None
    nll: float | None
    seconds: float
    verdict: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the trial with rounded numbers."""
        return {k: round(v, 4) if isinstance(v, float) else v for k, v in asdict(self).items()}


def choose_recipe(
    backbone: Backbone, task: Task, recipe: Recipe, budget: float, start: Start, by_folds: ByFolds
) -> tuple[Run, list[Trial]]:
    """Return a run of the recipe that is to be used, and all trials, in their order.

    Parameters
    ----------
    recipe : its own stages are tried first, then its ``alternatives``.
    budget : seconds for all trials; the head and the floor are tried in any case.
    """
    began = time.monotonic()
    own = replace(recipe, stages=tuple(_readable(stage, task) for stage in recipe.stages), alternatives=())
    trials: list[Trial] = []
    losses: dict[int, FloatArray] = {}
    runs: dict[int, Run] = {}
    whole: Run | None = None
    pass_seconds = 0.0
    for layers in _readings(backbone):
        before = time.monotonic()
        run = start(replace(backbone, info=replace(backbone.info, layers=layers)), own)
        if whole is None:
            whole = run
            pass_seconds = len(run.base_features) and time.monotonic() - before
        logits = _solved(run, whole)
        losses[len(trials)], runs[len(trials)] = tempered_losses(logits, task.targets), run
        trials.append(_trial(own.name, layers, logits, task, time.monotonic() - before))
    best = least_by_far(losses)
    trials.append(_floor(run, task))
    for name in recipe.alternatives:
        before = time.monotonic()
        other = start(runs[best].backbone, Recipe.load(name))
        seconds = _estimate(other.recipe, pass_seconds)
        if before - began + seconds > budget:
            trials.append(Trial(name, other.backbone.info.layers, None, None, None, seconds, "no time"))
            continue
        number = len(trials)
        logits = by_folds(other, FOLDS)
        losses[number], runs[number] = tempered_losses(logits, task.targets), other
        trials.append(_trial(name, other.backbone.info.layers, logits, task, time.monotonic() - before))
        best = least_by_far({best: losses[best], number: losses[number]}, errors=1.0)
    return runs[best], _with_verdicts(trials, best)


def _readings(backbone: Backbone) -> list[int]:
    """Return how many layers are tried: the upper half, then the last alone, unless a number was chosen."""
    if backbone.info.layers > 1 or backbone.depth == 1:
        return [backbone.info.layers]
    return [backbone.depth // 2 + 1, 1]


def _readable(stage: Stage, task: Task) -> Stage:
    """Return the stage without what it reads of unlabeled texts, where there are none."""
    if task.unlabeled or stage.rows == "labeled":
        return stage
    options = {k: v for k, v in stage.tune.options.items() if k != "spread"}
    return replace(stage, tune=replace(stage.tune, options=options), rows="labeled")


def _solved(run: Run, whole: Run) -> FloatArray:
    """Return out-of-fold logits of the head of ``run``, which reads no more layers than ``whole`` does."""
    width = int(run.backbone.body.config.hidden_size) * run.backbone.info.layers  # type: ignore[union-attr,arg-type]
    for name in ("base_features", "base_unlabeled"):
        if name in whole.__dict__:  # what the last layers give comes first
            run.__dict__[name] = whole.__dict__[name][:, :width]
    run.fit(np.arange(len(run.task.targets)), "final")
    assert run.solved is not None
    return run.solved.out_of_fold


def _trial(name: str, layers: int, logits: FloatArray, task: Task, seconds: float) -> Trial:
    right = logits.argmax(axis=1) == task.targets
    error = float(right.std() / np.sqrt(len(right)))
    nll = float(tempered_losses(logits, task.targets).mean())
    return Trial(name, layers, float(right.mean()), error, nll, seconds)


def _floor(run: Run, task: Task) -> Trial:
    before = time.monotonic()
    logits = floor_logits(task.texts, task.targets, run.groups, task.schema.outputs, run.seed)
    return _trial(FLOOR, 0, logits, task, time.monotonic() - before)


def _estimate(recipe: Recipe, pass_seconds: float) -> float:
    """Return about how many seconds a recipe takes: its folds and the final run."""
    epochs = sum(stage.training.epochs for stage in recipe.stages if stage.tune.name != "head")
    return (FOLDS - 1 + 1) * pass_seconds * epochs * TRAINING_PASSES


def _with_verdicts(trials: list[Trial], best: int) -> list[Trial]:
    """Return the trials, each with what became of it, and warn where the floor is not beaten."""
    chosen, floor = trials[best], next(trial for trial in trials if trial.name == FLOOR)
    assert chosen.nll is not None
    assert floor.nll is not None
    if floor.nll <= chosen.nll:
        log.warning(
            "TF-IDF on the labeled rows alone does no worse than the backbone (%.3f and %.3f right): the "
            "backbone may not read this language; try another (`textlabel choose-backbone`)",
            floor.accuracy,
            chosen.accuracy,
        )

    def verdict(number: int, trial: Trial) -> str:
        if number == best:
            return "chosen"
        if trial.name == FLOOR:
            return "the floor"
        return trial.verdict or ("not better by more than the noise" if number > best else "worse")

    return [replace(trial, verdict=verdict(i, trial)) for i, trial in enumerate(trials)]
