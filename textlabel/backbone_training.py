"""Train a backbone on other people's labels: a folder that `fit` takes as its backbone."""

from __future__ import annotations

import datetime
import json
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textlabel.errors import BackboneError, CorpusError, RecipeError
from textlabel.fitted import Source
from textlabel.labeler import DEFAULT_BACKBONE
from textlabel.places import require_free
from textlabel.recipe import Recipe
from textlabel.types import Summary

if TYPE_CHECKING:
    from torch import nn

    from textlabel.engine.source_tasks import SourceTask
    from textlabel.models.backbone_info import BackboneInfo
    from textlabel.models.classifier import Classifier

#: what a folder tells of its training
RECORD = "train_backbone.json"


def train_backbone(
    tasks: Mapping[str, Source],
    *,
    out: str | Path,
    backbone: str | Path = DEFAULT_BACKBONE,
    recipe: str | Path | Recipe = "episodic",
    seed: int = 0,
    text_column: str | Sequence[str] = "text",
    label_column: str = "label",
    pooling: str | None = None,
    max_length: int | None = None,
    on_bad_row: str = "fail",
    checkpoint: str | Path | None = None,
) -> Summary:
    """Train a backbone on several labeled tasks, write it as a folder, and return what there is to tell.

    Give the folder as the backbone of `Labeler` or `textlabel fit`, or to transformers' ``AutoModel``. It
    holds weights, tokenizer, how features are read, and a record of counts and hashes; no text, id or label.

    Parameters
    ----------
    tasks : {name: labeled rows}, each in any form that `load_corpus` takes, with a label set of its own.
    out : folder for the backbone; it must not exist, or be empty.
    backbone : where training starts: registered name (`textlabel backbones`), local folder, or Hub id.
    recipe : shipped name (`episodic`, `anil`, `reptile`, `multi_task`), or path of a TOML file whose stages
        read the rows of tasks.
    seed : decides episodes, order, dropout and new weights.
    text_column : column that holds the text, in all tasks; several are joined.
    label_column : column that holds the label, a class, in all tasks.
    pooling : mean, cls or max; by default what the backbone says of itself. The folder keeps it.
    max_length : tokens read of a text; by default what the backbone says of itself. The folder keeps it.
    on_bad_row : fail stops at the first unusable row of any task, skip leaves such rows out.
    checkpoint : folder in which a killed training resumes when it is repeated; by default one beside ``out``,
        which goes when all is done.

    Raises
    ------
    CorpusError : no task, one that cannot be read or has labels of another kind, or the same rows twice.
    RecipeError : the recipe is for labeled rows of one task.
    BackboneError : ``out`` is taken, or the backbone cannot be had.
    """
    from textlabel.engine.process import accelerator
    from textlabel.engine.source_tasks import read_source_task, refuse_other_rows, train_body
    from textlabel.models.backbone import load_backbone

    chosen = Recipe.load(recipe)
    refuse_other_rows(chosen)
    target = free_folder(out)
    if not tasks:
        raise CorpusError("no task to learn from; expected one labeled corpus or more, each with a name")
    reading = {"text_column": text_column, "label_column": label_column, "on_bad_row": on_bad_row}
    read = [read_source_task(str(name), source, **reading) for name, source in tasks.items()]
    _refuse_twins(read)
    started = time.monotonic()
    start = load_backbone(backbone, pooling=pooling, max_length=max_length)
    beside = target.with_name(f".{target.name}.checkpoint")
    classifier = train_body(start, read, chosen, seed, checkpoint=Path(checkpoint or beside))
    record = _record(read, chosen, classifier, seed)
    if accelerator().is_main_process:
        write_backbone(target, classifier.body, classifier.tokenizer, classifier.info, {RECORD: record})
        shutil.rmtree(beside, ignore_errors=True)
    accelerator().wait_for_everyone()
    told = {task.name: f"{len(task.texts)} rows, {task.to_json()['classes']} classes" for task in read}
    summary = {"out": str(target), "backbone": record["backbone"]["name"], "recipe": chosen.name}
    return {**summary, "tasks": told, "seconds": round(time.monotonic() - started, 1)}


def named_sources(tasks: Sequence[str]) -> dict[str, str]:
    """Return {name: file} of words such as ``emotions=emotions.jsonl``.

    Raises
    ------
    RecipeError : a word without a name or a file, or a name twice.

    Examples
    --------
    >>> named_sources(["emotions=emotions.jsonl", "intents=data/intents.csv"])
    {'emotions': 'emotions.jsonl', 'intents': 'data/intents.csv'}
    """
    found: dict[str, str] = {}
    for word in tasks:
        name, _, source = (part.strip() for part in word.partition("="))
        if not name or not source:
            raise RecipeError(f"task {word!r}: expected NAME=FILE, such as emotions=emotions.jsonl")
        if name in found:
            raise RecipeError(
                f"task {name!r} is given twice, as {found[name]} and as {source}: give each a name of its own"
            )
        found[name] = source
    return found


def free_folder(out: str | Path) -> Path:
    """Return the absolute path of the folder, which holds nothing."""
    target = require_free(out, BackboneError)
    if target.is_dir() and any(target.iterdir()):
        raise BackboneError(f"{target} holds something already; expected a new folder: choose another path")
    return target


def _refuse_twins(tasks: Sequence[SourceTask]) -> None:
    """Raise a `CorpusError` if two tasks hold the same rows."""
    known: dict[str, str] = {}
    for task in tasks:
        digest = task.to_json()["sha256"]
        if digest in known:
            raise CorpusError(f"tasks {known[digest]!r} and {task.name!r} hold the same rows: leave one out")
        known[digest] = task.name


def _record(tasks: Sequence[SourceTask], recipe: Recipe, classifier: Classifier, seed: int) -> dict[str, Any]:
    """Return what the folder tells of its training."""
    from textlabel.report.record import versions

    info = classifier.info
    return {
        "format": 1,
        "created": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "tasks": {task.name: task.to_json() for task in tasks},
        "backbone": {"name": info.public_name, "sha256": info.sha256, "license": info.license},
        "recipe": recipe.to_dict(),
        "seed": seed,
        "versions": versions(),
    }


def write_backbone(
    target: Path, body: nn.Module, tokenizer: Any, info: BackboneInfo, records: Mapping[str, Any]
) -> None:
    """Write the whole folder or nothing: weights, tokenizer, how features are read, and records by file."""
    from textlabel.models.backbone import save_body

    keys = ("kind", "pooling", "normalize", "max_length", "layers", "license")
    reading = {key: getattr(info, key) for key in keys}
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        made = temporary / "backbone"
        save_body(body, tokenizer, info, made)
        for name, told in {"textlabel_backbone.json": reading, **records}.items():
            text = json.dumps(told, indent=2, ensure_ascii=False)
            (made / name).write_text(text + "\n", encoding="utf-8")
        if target.is_dir():
            target.rmdir()
        made.replace(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
