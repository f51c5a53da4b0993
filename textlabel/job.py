"""Jobs: the whole path, fit, annotate, evaluate, in one TOML file; and each of its steps alone.

The commands `fit`, `annotate` and `evaluate` run the very steps of this file, so a command and a
section of the same name take the same keys and do the same.
"""

from __future__ import annotations

import glob
import os
import shutil
import tempfile
import time
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from textlabel import registry
from textlabel.errors import BundleError, ExportError, RecipeError, TextlabelError
from textlabel.labeler import DEFAULT_BACKBONE, Labeler
from textlabel.recipe import build, read_toml, unknown_keys

#: what a step tells when it is done; JSON-ready
Summary = dict[str, Any]

#: the file by which a folder is known to be ours: a model or annotations
OURS = "textlabel.json"


class Step(Protocol):
    """A part of a job that runs by itself."""

    def run(self) -> Summary:
        """Do it and return what there is to tell."""
        ...


@dataclass(frozen=True)
class Fit:
    """Adapt a backbone to labeled rows and write the classifier.

    Parameters
    ----------
    train : labeled rows: a csv, tsv, jsonl or parquet file, a folder or glob of them, a saved
        dataset, or a Hub dataset id.
    out : folder for the classifier; an older one there is replaced when the new one is complete.
    backbone : registered name (`textlabel backbones`), local folder, or Hub id.
    recipe : shipped name (`textlabel recipes`), or path of a TOML file.
    unlabeled : rows of the target domain without labels, for recipes that read them.
    validation : labeled rows for early stopping, never trained on.
    text_column : column that holds the text; several are joined.
    label_column : column that holds the label.
    id_column : column that names the row; by default `id` if there is one, else its position.
    seed : decides folds, order, dropout and new weights.
    calibration : rows that calibrate and are not trained on: auto, holdout, folds=K or none.
    backend : what runs the forward pass (`textlabel plugins backend`).
    pooling : mean or cls; by default what the backbone says of itself.
    max_length : tokens kept of a text; 0: what the backbone says of itself.
    on_bad_row : fail stops at the first unusable row, skip leaves such rows out.
    reject_file : with skip, JSON lines of the rows left out.
    self_contained : also copy a backbone that could be had by its name.
    """

    train: str = ""
    out: str = ""
    backbone: str = DEFAULT_BACKBONE
    recipe: str = "head"
    unlabeled: str = ""
    validation: str = ""
    text_column: tuple[str, ...] = ("text",)
    label_column: str = "label"
    id_column: str = ""
    seed: int = 0
    calibration: str = "auto"
    backend: str = "torch"
    pooling: str = ""
    max_length: int = 0
    on_bad_row: str = "fail"
    reject_file: str = ""
    self_contained: bool = False

    def __post_init__(self) -> None:
        _require(self, "fit", "train", "out")

    def run(self) -> Summary:
        """Train, save, and return what there is to tell. A killed run goes on when it is repeated."""
        from textlabel.engine.process import accelerator

        out = require_free(self.out, BundleError)
        checkpoint = out.with_name(f".{out.name}.checkpoint")
        start = time.monotonic()
        labeler = Labeler(
            self.backbone,
            self.recipe,
            seed=self.seed,
            backend=self.backend,
            calibration=self.calibration,
            pooling=self.pooling or None,
            max_length=self.max_length or None,
        )
        labeler.fit(
            self.train,
            self.unlabeled or None,
            self.validation or None,
            text_column=self.text_column,
            label_column=self.label_column,
            checkpoint=checkpoint,
            id_column=self.id_column or None,
            on_bad_row=self.on_bad_row,
            reject_file=self.reject_file or None,
        )
        labeler.save(out, self_contained=self.self_contained)
        if accelerator().is_main_process:
            shutil.rmtree(checkpoint, ignore_errors=True)
        record = labeler.record()
        return {
            "model": str(out),
            "recipe": self.recipe,
            "backbone": self.backbone,
            "classes": list(labeler.schema.names),
            "labels": record["labels"],
            "calibrator": record["calibrator"],
            "processes": accelerator().num_processes,
            "seconds": round(time.monotonic() - start, 1),
        }


@dataclass(frozen=True)
class Annotate:
    """Label a corpus with calibrated confidence and write it.

    Parameters
    ----------
    corpus : rows to label: a csv, tsv, jsonl or parquet file, a folder or glob of them, a saved
        dataset, or a Hub dataset id; every column is carried through.
    model : folder that `fit` wrote, or Hub id of a published one.
    out : folder for the labeled rows, their provenance record and their card.
    format : dataset, parquet, jsonl or csv (`textlabel plugins export`).
    min_confidence : rows at least this sure are accepted, the others are for review.
    text_column : column that holds the text; several are joined.
    id_column : column that names the row; by default `id` if there is one, else its position.
    split : split of a Hub dataset or of a saved `DatasetDict`.
    config : configuration of a Hub dataset.
    on_bad_row : fail stops at the first unusable row, skip leaves such rows out.
    reject_file : with skip, JSON lines of the rows left out.
    backend : what runs the forward pass (`textlabel plugins backend`).
    push_to_hub : Hub repository (user/name) to publish the rows, card and record in.
    private : whether a repository that is made now is private.
    """

    corpus: str = ""
    model: str = ""
    out: str = ""
    format: str = "dataset"
    min_confidence: float = 0.9
    text_column: tuple[str, ...] = ("text",)
    id_column: str = ""
    split: str = ""
    config: str = ""
    on_bad_row: str = "fail"
    reject_file: str = ""
    backend: str = "torch"
    push_to_hub: str = ""
    private: bool = True

    def __post_init__(self) -> None:
        _require(self, "annotate", "corpus", "model", "out")

    def run(self) -> Summary:
        """Label, write, perhaps publish, and return what there is to tell."""
        from textlabel.engine.process import accelerator

        out = require_free(self.out, ExportError)
        exporter = registry.load("export", self.format)
        labeler = Labeler.from_pretrained(self.model, backend=self.backend)
        start = time.monotonic()
        rows = labeler.annotate(
            self.corpus,
            text_column=self.text_column,
            min_confidence=self.min_confidence,
            id_column=self.id_column or None,
            split=self.split or None,
            config=self.config or None,
            on_bad_row=self.on_bad_row,
            reject_file=self.reject_file or None,
        )
        seconds = time.monotonic() - start
        address = None
        if accelerator().is_main_process:
            exporter.write(rows, out, labeler.record(len(rows)))
            address = self._publish(rows, labeler)
        accelerator().wait_for_everyone()
        return {
            "annotations": str(out),
            "format": self.format,
            "hub": address,
            "rows": len(rows),
            "labels": _counts(rows, labeler),
            "decisions": {name: rows["decision"][:].count(name) for name in ("accepted", "review")},
            "processes": accelerator().num_processes,
            "texts_per_second": round(len(rows) / seconds, 1),
        }

    def _publish(self, rows: Any, labeler: Labeler) -> str | None:
        if not self.push_to_hub:
            return None
        from textlabel.export.hub import push

        return push(rows, self.push_to_hub, labeler.record(len(rows)), private=self.private)


@dataclass(frozen=True)
class Evaluate:
    """Compare annotated rows with gold labels, joined by id.

    Parameters
    ----------
    annotations : folder that `annotate` wrote, in any format.
    gold : rows with the true labels, from the same corpus; it may cover a part of it.
    label_column : column of gold that holds the label.
    id_column : column of gold that names the row; by default `id` if there is one, else its position.
    """

    annotations: str = ""
    gold: str = ""
    label_column: str = "label"
    id_column: str = ""

    def __post_init__(self) -> None:
        _require(self, "evaluate", "annotations", "gold")

    def run(self) -> Summary:
        """Return the numbers of the evaluation."""
        return self.evaluation().to_json()

    def evaluation(self) -> Any:
        """Return the `Evaluation`."""
        from textlabel.corpus.load import load_corpus
        from textlabel.export._read import read_annotations
        from textlabel.report.evaluation import evaluate_labels

        rows = read_annotations(self.annotations)
        gold = load_corpus(
            self.gold,
            text_column=self.label_column,  # gold needs no text, and this column is there
            label_column=self.label_column,
            id_column=self.id_column or None,
            label_kind="single" if hasattr(rows.features["label"], "names") else "score",
        )
        return evaluate_labels(rows, gold)


#: section -> its step, in the order in which they run
STEPS: dict[str, type[Fit] | type[Annotate] | type[Evaluate]] = {
    "fit": Fit,
    "annotate": Annotate,
    "evaluate": Evaluate,
}
#: keys that are always a place on disk, and keys that may be one
_PLACES = {"out", "reject_file"}
_SOURCES = {"train", "unlabeled", "validation", "corpus", "gold", "model", "backbone", "recipe", "annotations"}
#: a section's key that by default is what an earlier section wrote
_INHERITED = {"annotate": ("model", "fit"), "evaluate": ("annotations", "annotate")}


@dataclass(frozen=True)
class Job:
    """Steps in the order of their running, by section name.

    Examples
    --------
    >>> job = Job.of({"fit": {"train": "a.csv", "out": "m"}, "annotate": {"corpus": "b.csv", "out": "o"}})
    >>> [type(step).__name__ for step in job.steps.values()]
    ['Fit', 'Annotate']
    """

    steps: Mapping[str, Step]

    @classmethod
    def load(cls, path: str | Path, overrides: Iterable[str] = ()) -> Job:
        """Return the job in a TOML file.

        Paths in the file are relative to its folder; those in ``overrides`` to the current one.

        Parameters
        ----------
        overrides : ``section.key=value`` with the value as TOML writes it; a bare word is a string.

        Raises
        ------
        RecipeError : not TOML, an unknown section or key, a value of the wrong type, nothing to do.
        """
        file = Path(path)
        tables = {name: _placed(table, file.parent) for name, table in _sections(read_toml(file), str(file))}
        for word in overrides:
            section, key, value = _override(word)
            tables.setdefault(section, {})[key] = value
        return cls.of(tables, str(file))

    @classmethod
    def of(cls, tables: Mapping[str, Mapping[str, Any]], where: str = "job") -> Job:
        """Return the job of parsed sections; ``where`` names their origin in errors."""
        steps: dict[str, Step] = {}
        given = dict(_sections(tables, where))
        for name, step in STEPS.items():
            if name in given:
                values = _inherit(name, given)
                steps[name] = build(step, values, f"{where}: [{name}]")
        if not steps:
            raise RecipeError(f"{where}: nothing to do; expected a section [fit], [annotate] or [evaluate]")
        return cls(steps)

    def run(self) -> dict[str, Summary]:
        """Run every step and return what each has to tell, by section name."""
        return {name: step.run() for name, step in self.steps.items()}


def require_free(path: str | Path, error: type[TextlabelError]) -> Path:
    """Return the absolute path of an output folder that may be written, or raise ``error`` now.

    Asked before hours of work: a folder that holds something else than our own earlier output is
    refused, and so is a place where nothing can be written.
    """
    target = Path(path).expanduser().resolve()
    if target.exists() and not target.is_dir():
        raise error(f"{target} is a file; expected a folder to write into: choose another path")
    if target.is_dir() and any(target.iterdir()) and not (target / OURS).is_file():
        raise error(f"{target} is not empty and not an earlier output of textlabel: choose another folder")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=target.parent):
            return target
    except OSError as reason:
        raise error(f"{target} cannot be written: {reason}") from None


def _require(step: Step, section: str, *names: str) -> None:
    for name in names:
        value = getattr(step, name)
        if not isinstance(value, str) or not value:
            raise RecipeError(f"{section}: {name} = {value!r}: expected a path")


def _counts(rows: Any, labeler: Labeler) -> dict[str, int] | None:
    labels = rows["label"][:]
    return {name: labels.count(i) for i, name in enumerate(labeler.schema.names)} or None


def _sections(tables: Mapping[str, Any], where: str) -> Iterable[tuple[str, dict[str, Any]]]:
    unknown_keys(tables, STEPS, where)
    for name, table in tables.items():
        if not isinstance(table, Mapping):
            raise RecipeError(f"{where}: {name} = {table!r}: expected a section [{name}] with keys")
        columns = table.get("text_column")
        yield name, {**table, **({"text_column": [columns]} if isinstance(columns, str) else {})}


def _inherit(name: str, given: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    key, earlier = _INHERITED.get(name, ("", ""))
    return {key: given[earlier]["out"], **given[name]} if "out" in given.get(earlier, {}) else given[name]


def _placed(table: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the table with relative paths made relative to ``folder`` instead of where we are."""
    return {key: _place(key, value, folder) for key, value in table.items()}


def _place(key: str, value: Any, folder: Path) -> Any:
    if not isinstance(value, str) or not value or key not in _PLACES | _SOURCES:
        return value
    there = os.path.normpath(folder / Path(value).expanduser())
    # a source may also be a name or a Hub id; what shows that it is a path is a dot in front, a
    # suffix of a file, or that it is there
    is_path = key in _PLACES or value.startswith((".", "~", "/")) or Path(value).suffix in _SUFFIXES
    return there if is_path or glob.glob(there) else value


_SUFFIXES = {".csv", ".tsv", ".jsonl", ".parquet", ".gz", ".toml"}


def _override(word: str) -> tuple[str, str, Any]:
    """Return section, key and value of ``section.key=value``.

    Examples
    --------
    >>> _override("fit.seed=3"), _override("fit.recipe=lora")
    (('fit', 'seed', 3), ('fit', 'recipe', 'lora'))
    """
    name, equals, text = word.partition("=")
    section, dot, key = name.strip().partition(".")
    if not (equals and dot and key):
        raise RecipeError(f"override {word!r}: expected section.key=value, such as fit.seed=1")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    return section, key, value


__all__ = ["STEPS", "Annotate", "Evaluate", "Fit", "Job", "Step", "Summary", "require_free"]
