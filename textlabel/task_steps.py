"""The steps of a job where a model is of several tasks: each by the ordinary step, in a folder of its own."""

from __future__ import annotations

import json
import logging
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textlabel import tasks
from textlabel.corpus.remote import is_url, shown
from textlabel.errors import BundleError, CorpusError, ExportError, RecipeError
from textlabel.multi_labeler import MultiLabeler, named, require_tasks
from textlabel.places import OURS, require_free
from textlabel.task_run import TaskRun
from textlabel.trust.stated_shares import LABELED
from textlabel.types import Summary

if TYPE_CHECKING:
    from textlabel.annotating import Annotate
    from textlabel.labeler import Labeler
    from textlabel.report.evaluation import Evaluation
    from textlabel.steps import Evaluate, Fit

log = logging.getLogger("textlabel")


def learned(labeler: Labeler) -> Summary:
    """Return what a summary tells of a fitted labeler."""
    record = labeler.record()
    trained = (record.get("head") or {}).get("self_training")
    return {
        "backbone": record["backbone"]["name"],
        "classes": list(labeler.schema.names),
        "labels": record["labels"],
        "tried": record.get("tried", []),
        "calibrator": record["calibrator"],
        **({"row_weights": record["row_weights"]} if "row_weights" in record else {}),
        **({"self_training": trained} if trained else {}),
    }


def keep(step: Fit, labeler: Labeler | MultiLabeler, out: Path, checkpoint: Path) -> None:
    """Write what was learned, after which the checkpoint goes."""
    from textlabel.engine.process import accelerator

    if step.forget_rows:
        labeler.forget_rows()
    labeler.save(out, self_contained=step.self_contained)
    if accelerator().is_main_process:
        shutil.rmtree(checkpoint, ignore_errors=True)


def fit_tasks(step: Fit) -> Summary:
    """Fit a model of several tasks and return what there is to tell, by task."""
    from textlabel.engine.process import accelerator

    _refuse_of_one(step)
    columns = tasks.parsed(step.task)
    require_tasks(Path(step.out))
    out = Path(step.out).resolve() if tasks.are_in(step.out) else require_free(step.out, BundleError)
    checkpoint = out.with_name(f".{out.name}.checkpoint")
    start = time.monotonic()
    labeler = MultiLabeler(
        columns,
        step.backbone,
        step.recipe,
        descriptions=_by_task(step.descriptions, "descriptions", '{"topic": {"card": "about a bank card"}}'),
        label_tree=_by_task(step.label_tree, "label_tree", '{"topic": {"card": ["lost"], "loan": ["new"]}}'),
        **step.options(),
    )
    labeler.fit(
        step.train, step.unlabeled or None, step.validation or None, checkpoint=checkpoint, **step.loading()
    )
    keep(step, labeler, out, checkpoint)
    return {
        "model": str(out),
        "recipe": step.recipe,
        "tasks": {task: learned(one) for task, one in labeler.labelers.items()},
        "processes": accelerator().num_processes,
        "seconds": round(time.monotonic() - start, 1),
    }


def _refuse_of_one(step: Fit) -> None:
    """Refuse what is of one task alone."""
    if not step.train:
        raise RecipeError("several tasks learn from labeled rows: give them, or fit each task by itself")
    for key, told in (
        ("label_column", "each task names its own"),
        ("classes", "the labels of each task tell its classes"),
        ("ordered", "in Python, textlabel.MultiLabeler(ordered={task: [...]}) takes it"),
        ("reject_file", "it is of one task"),
        ("budget", "it is time to train the backbone in, which several tasks share as it is"),
    ):
        if getattr(step, key) != getattr(type(step), key):
            raise RecipeError(f"{key} is not for several tasks ({told}): leave it out")


def _by_task(file: str, key: str, example: str) -> dict[str, Any] | None:
    from textlabel.engine.task import read_object

    if not file:
        return None
    found = read_object(file, f"{key} by task", example)
    if wrong := [task for task, value in found.items() if not isinstance(value, dict)]:
        raise RecipeError(
            f"{file}: {wrong[0]!r} holds no object; expected one for each task, such as {example}"
        )
    return found


def annotate_tasks(step: Annotate) -> Summary:
    """Annotate a corpus for every task of a model, each into a folder of its own below ``out``.

    What would fail for one task fails before any is labeled. A killed run goes on when it is repeated, in the
    task that it was at; where files of the corpus changed, or lie on no disk of this machine, it begins
    again with the first, whose features the feature cache then knows.
    """
    from textlabel.corpus.load import read_rows
    from textlabel.engine.process import accelerator

    _refuse_of_one_corpus(step)
    run = TaskRun(step, Path(step.out).expanduser().resolve())
    gold = read_rows(step.gold, text_column=step.text_column) if step.gold else None
    steps = {task: one for task, one in _by_tasks(step, run).items() if task not in run.done}
    for task, one in steps.items():
        with named(task):
            one.ready(gold)
    accelerator().wait_for_everyone()  # all have looked at the folder
    if accelerator().is_main_process:
        run.begin()
    for task, one in steps.items():
        log.info("task %r", task)
        with named(task):
            summary = one.label(gold)
        if accelerator().is_main_process:
            run.finish(task, summary)
        run.done[task] = summary
    if accelerator().is_main_process:
        run.end()
    return {"annotations": str(run.out), "tasks": {task: run.done[task] for task in run.columns}}


def _by_tasks(step: Annotate, run: TaskRun) -> dict[str, Annotate]:
    """Return the step of each task."""
    model = Path(step.model)
    trees = [task for task in run.columns if _has_tree(model / task)]
    return {
        task: replace(
            step,
            model=str(model / task),
            out=str(run.out / task),
            label_column=column,
            back_off=step.back_off if task in trees or not trees else 0.0,
        )
        for task, column in run.columns.items()
    }


def _refuse_of_one_corpus(step: Annotate) -> None:
    """Refuse what is of one annotated corpus alone."""
    if is_url(step.out):
        raise ExportError(
            f"{shown(step.out)} is a URL, and a model of several tasks writes folders on a disk: choose "
            f"a path, or annotate task by task ({step.model}/TASK)"
        )
    if step.class_shares not in ("", LABELED):
        raise RecipeError(
            f"class_shares = {step.class_shares!r} is of the classes of one task: annotate task by task "
            f"({step.model}/TASK), or say {LABELED!r}"
        )
    for key, told in (
        ("push_to_hub", "publish task by task"),
        ("resume", "an unfinished run goes on in any case"),
        ("label_column", "each task has the column that it was fitted with"),
    ):
        if getattr(step, key) != getattr(type(step), key):
            raise RecipeError(f"{key} is not for a model of several tasks ({told}): leave it out")


def _has_tree(model: Path) -> bool:
    try:
        record = json.loads((model / OURS).read_text(encoding="utf-8"))
        return bool(record["schema"].get("parents"))
    except (OSError, ValueError, KeyError, TypeError):
        return False  # the step that loads the model says what is wrong with it


def evaluate_tasks(step: Evaluate) -> dict[str, Evaluation]:
    """Return the evaluation of every task below a folder, each on the gold rows that have a label of it.

    A task of which no gold row has a label is left out.
    """
    from textlabel.corpus.columns import given_labels
    from textlabel.corpus.load import read_rows

    if step.label_column != type(step).label_column:
        raise RecipeError(
            "label_column is not for several tasks (each has the column that it was fitted with): leave "
            "it out"
        )
    columns, found = tasks.read(step.annotations), {}
    gold = read_rows(step.gold, text_column=())
    for task, column in columns.items():
        with named(task):
            if not given_labels(gold, column).any():
                log.warning(
                    "task %r is left out: no row of %s has a label in column %r", task, step.gold, column
                )
                continue
            one = replace(step, annotations=str(Path(step.annotations) / task), label_column=column)
            found[task] = one.compare(gold)
    if not found:
        raise CorpusError(
            f"no row of {step.gold} has a label of any task; expected one at least in column "
            f"{' or '.join(map(repr, columns.values()))}"
        )
    return found
