"""Jobs: the whole path, fit, annotate, evaluate, in one TOML file.

    [fit]
    train = "labeled.csv"
    out = "model"

    [annotate]                 # the model is the one that [fit] wrote, unless `model` names another
    corpus = "unlabeled.csv"
    out = "labeled"

    [evaluate]                 # of what [annotate] wrote, unless `annotations` names a folder
    gold = "gold.csv"

A section that is not there is left out of the run. Its keys are those of the step in `textlabel.steps`.
"""

from __future__ import annotations

import glob
import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from textlabel.corpus.remote import is_url
from textlabel.errors import RecipeError
from textlabel.recipe import build, read_toml, unknown_keys
from textlabel.steps import Annotate, Evaluate, Fit, Step, Summary

#: section -> its step, in the order in which they run
STEPS: dict[str, type[Fit] | type[Annotate] | type[Evaluate]] = {
    "fit": Fit,
    "annotate": Annotate,
    "evaluate": Evaluate,
}
#: keys that are always a place on disk, and keys that may be one
_PLACES = {"out", "reject_file"}
_SOURCES = {
    "train",
    "unlabeled",
    "validation",
    "corpus",
    "gold",
    "model",
    "backbone",
    "recipe",
    "descriptions",
    "label_tree",
    "annotations",
}
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
                steps[name] = _step(step, _inherit(name, given), f"{where}: [{name}]")
        if not steps:
            raise RecipeError(f"{where}: nothing to do; expected a section [fit], [annotate] or [evaluate]")
        return cls(steps)

    def run(self) -> dict[str, Summary]:
        """Run every step and return what each has to tell, by section name."""
        return {name: step.run() for name, step in self.steps.items()}


def _step(cls: type[Fit] | type[Annotate] | type[Evaluate], values: Mapping[str, Any], where: str) -> Step:
    unknown_keys(values, {f.name for f in fields(cls)}, where)
    for key in (f.name for f in fields(cls) if f.default is MISSING):
        if not isinstance(values.get(key), str) or not values[key]:
            raise RecipeError(
                f"{where}: {key} = {values.get(key)!r}: expected a path or name; this key is needed"
            )
    step: Step = build(cls, values, where)
    return step


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
    if not isinstance(value, str) or not value or key not in _PLACES | _SOURCES or is_url(value):
        return value
    there = os.path.normpath(folder / Path(value).expanduser())
    if key == "backbone" and "+" in value and not Path(there).exists():
        return "+".join(_place(key, part.strip(), folder) for part in value.split("+"))
    # a source may also be a name or a Hub id; what shows that it is a path is a dot in front, a
    # suffix of a file, a star, or that it is there
    is_path = key in _PLACES or value.startswith((".", "~", "/")) or Path(value).suffix in _SUFFIXES
    return there if is_path or glob.has_magic(value) or Path(there).exists() else value


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
