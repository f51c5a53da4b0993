"""What a recipe cannot learn from is refused, and what it makes no use of is told, before it is fitted."""

from __future__ import annotations

import logging
from dataclasses import replace

from textlabel.engine.calibration import Calibration, rows_per_class
from textlabel.engine.run import Run, Task
from textlabel.engine.solvers import solver, takes_mixing
from textlabel.errors import RecipeError
from textlabel.recipe import Recipe, options_of

log = logging.getLogger("textlabel")


def refuse_other_rows(recipe: Recipe) -> None:
    """Raise a `RecipeError` where a recipe does not begin with labeled rows of one task."""
    if recipe.reads_tasks:
        raise RecipeError(
            f"recipe {recipe.name!r} trains a backbone on several tasks, not a classifier: run `textlabel "
            "train-backbone` with it, and fit another recipe on the backbone that it writes"
        )
    if recipe.source_free:
        raise RecipeError(
            f"recipe {recipe.name!r} reads no label, it goes on from a model: fit one by another recipe, and "
            f"run `textlabel adapt MODEL --unlabeled CORPUS --recipe {recipe.name} --out MODEL2` with it"
        )


def check_recipe(task: Task, recipe: Recipe, weighs: bool = False) -> None:
    """Raise a `RecipeError` where a recipe cannot learn from these rows; warn of rows that it does not read.

    ``weighs``: unlabeled rows are read all the same, to weigh labeled ones.
    """
    refuse_other_rows(recipe)
    if task.schema.kind not in recipe.kinds:
        raise RecipeError(
            f"recipe {recipe.name!r} learns from {' or '.join(sorted(recipe.kinds))} labels, these are "
            f"{task.schema.kind} labels; `textlabel recipes` lists what fits"
        )
    for stage in recipe.stages if task.schema.kind == "multi" else ():
        options = options_of("tune", stage.tune)
        if stage.tune.name == "head" and (any(options.name_weights) or options.spread):
            raise RecipeError(
                f"recipe {recipe.name!r}: name_weights and spread are for one label a row, and these rows "
                "may carry several: leave both out"
            )
    for other in map(Recipe.load, recipe.alternatives):
        # what one of several does not read, another may
        check_recipe(
            replace(task, validation=None, unlabeled=task.unlabeled if other.reads_unlabeled else ()), other
        )
    if recipe.alternatives:
        return
    if recipe.reads_unlabeled and not task.unlabeled:
        raise RecipeError(f"recipe {recipe.name!r} reads unlabeled rows: give them (--unlabeled CORPUS)")
    if task.unlabeled and not recipe.reads_unlabeled and not weighs:
        log.warning("unlabeled rows are not used: no stage of recipe %r reads them", recipe.name)
    if task.validation and not any(stage.training.patience for stage in recipe.stages):
        log.warning("validation rows are not used: no stage of recipe %r has patience", recipe.name)


def check_alignment(recipe: Recipe, plan: Calibration) -> None:
    """Raise a `RecipeError` where labeled rows would calibrate a head that is not of their domain."""
    moves = [s.tune.name == "head" and options_of("tune", s.tune).align != "none" for s in recipe.stages]
    if any(moves) and plan.mode not in ("out-of-fold", "none"):
        raise RecipeError(
            f"recipe {recipe.name!r} has align: its head is of the unlabeled rows' domain, and labeled rows "
            "calibrate it only where they are moved, too; expected one stage with tune = 'head', and "
            "calibration = 'auto', 'folds=K' or 'none'"
        )


def reads_structure(recipe: Recipe) -> bool:
    """Return whether a head learns from an order or a tree of the classes, inner nodes included."""
    solvers = [found[0] for stage in recipe.stages if (found := solver(stage))]
    return recipe.features == "backbone" and any(map(takes_mixing, solvers))


def warn_of_structure(run: Run) -> None:
    """Warn of an order, a tree or rows labeled with inner nodes that nothing learns from."""
    schema, partial = run.task.schema, run.task.partial
    if not (schema.ordered or schema.parents) or reads_structure(run.recipe):
        return
    told = f", and {len(partial[0])} rows labeled with inner nodes are not used" if partial else ""
    log.warning(
        "recipe %r makes no use of the %s of the classes%s",
        *(run.recipe.name, "order" if schema.ordered else "tree", told),
    )


def warn_of_rare_classes(run: Run, folds: int) -> None:
    """Warn of classes that not every fold has a row of."""
    task = run.task
    counts = rows_per_class(task)
    if rare := int((counts < folds).sum()):
        log.warning(
            "%d of %d classes have fewer rows than there are folds (%d), %r only %d: what is said of them, "
            "confidence too, is said by models that saw one row less",
            rare,
            len(counts),
            folds,
            task.schema.names[counts.argmin()],
            counts.min(),
        )
