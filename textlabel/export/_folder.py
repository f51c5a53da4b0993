"""An output folder that is either the complete new one or untouched."""

from __future__ import annotations

import json
import re
import shutil
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textlabel.errors import ExportError
from textlabel.report.cards import dataset_card

if TYPE_CHECKING:
    from datasets import Dataset

RECORD = "textlabel.json"
CARD = "README.md"

_OURS = re.compile(
    r"textlabel\.json|README\.md|annotations\.(parquet|jsonl|csv)|label_studio\.(json|xml)|argilla(_settings)?\.json|doccano(\.jsonl|_labels\.json)|prodigy\.jsonl|data-\d+-of-\d+\.arrow|dataset_info\.json|state\.json"
)


def write_folder(
    dataset: Dataset,
    path: Path,
    record: Mapping[str, Any],
    write_rows: Callable[[Path], object],
    data_file: str | None = None,
) -> Path:
    """Return ``path`` once it holds the rows, their provenance record and their card.

    All is written into a folder beside it, which then takes its place; a previous output there goes
    only when the new one is complete.

    Parameters
    ----------
    write_rows : writes the rows into the folder it is given.
    data_file : name of the file with the rows, if one file holds them all.

    Raises
    ------
    ExportError : ``path`` holds anything else than a previous output, or cannot be written.
    """
    target = Path(path).resolve()
    _refuse_foreign(target)
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.part")
    full = {**record, "rows": len(dataset), "features": dataset.features.to_dict()}
    try:
        part.mkdir(parents=True)
        write_rows(part)
        (part / RECORD).write_text(json.dumps(full, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        (part / CARD).write_text(dataset_card(full, data_file), encoding="utf-8")
        _swap(part, target)
        _clear(target)
    except OSError as error:
        raise ExportError(f"{path}: cannot be written ({error}); nothing there was changed") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return path


def _refuse_foreign(target: Path) -> None:
    if not target.exists():
        return
    if not target.is_dir():
        raise ExportError(f"{target} is a file; expected a folder to write into: choose another path")
    names = [entry.name for entry in target.iterdir()]
    strange = foreign(names)
    if strange or (names and RECORD not in names):
        raise ExportError(
            f"{target} is not empty and no previous output of textlabel: it holds {(strange or names)[0]!r}; "
            "choose a new folder"
        )


def foreign(names: Iterable[str]) -> list[str]:
    """Return the names that no output of textlabel has, sorted.

    Examples
    --------
    >>> foreign(["thesis.tex", "README.md", "data-00000-of-00001.arrow"])
    ['thesis.tex']
    """
    return sorted(name for name in names if not _OURS.fullmatch(name))


def _clear(target: Path) -> None:
    """Delete what killed writers of this very folder left beside it."""
    name = re.escape(target.name)
    leftover = re.compile(rf"\.{name}\.[0-9a-f]{{8}}\.(part|old)")
    for path in target.parent.iterdir():
        if leftover.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)


def _swap(part: Path, target: Path) -> None:
    """Put ``part`` in the place of ``target``, which comes back if that fails."""
    old = part.with_suffix(".old")
    if target.exists():
        target.replace(old)
    try:
        part.replace(target)
    except OSError:
        if old.exists():
            old.replace(target)
        raise
    shutil.rmtree(old, ignore_errors=True)
