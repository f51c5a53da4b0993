"""A folder of tasks: one ordinary model, or one annotated corpus, for each task, and a file that names them.

tasks.json    format, and {task: column that holds its labels} in order
sentiment/    what `textlabel.Labeler`, or `textlabel annotate`, writes; usable by itself
topic/        the same
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from textlabel.errors import BundleError, RecipeError

TASKS = "tasks.json"
FORMAT = 1

#: a task names a folder and begins the names of columns
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def checked(tasks: Mapping[str, str]) -> dict[str, str]:
    """Return {task: label column}, if the names will do.

    Raises
    ------
    RecipeError : no task, a name that is no name or differs from another in case alone, or a task without a
        column.

    Examples
    --------
    >>> checked({"sentiment": "label", "topic": "section"})
    {'sentiment': 'label', 'topic': 'section'}
    """
    if not tasks:
        raise RecipeError("no task is named; expected {task: column that holds its labels}, at least one")
    folded: dict[str, str] = {}
    for task, column in tasks.items():
        if not isinstance(task, str) or not _NAME.fullmatch(task):
            raise RecipeError(
                f"task {task!r}: expected letters, digits, _ and -, for it names a folder and columns"
            )
        if not isinstance(column, str) or not column:
            raise RecipeError(f"task {task!r}: expected the column that holds its labels, got {column!r}")
        if (other := folded.setdefault(task.casefold(), task)) != task:
            raise RecipeError(
                f"tasks {other!r} and {task!r} would be one folder where case does not count: rename one"
            )
    return dict(tasks)


def parsed(words: Iterable[str]) -> dict[str, str]:
    """Return {task: label column} of words such as ``topic=section``.

    Raises
    ------
    RecipeError : another word, or a task twice.

    Examples
    --------
    >>> parsed(["sentiment=label", "topic=section"])
    {'sentiment': 'label', 'topic': 'section'}
    """
    found: dict[str, str] = {}
    for word in words:
        task, equals, column = (part.strip() for part in word.partition("="))
        if not equals:
            raise RecipeError(f"task {word!r}: expected NAME=COLUMN, such as topic=section")
        if task in found:
            raise RecipeError(f"task {task!r} is named twice; expected each name once")
        found[task] = column
    return checked(found)


def are_in(folder: str | Path) -> bool:
    """Return whether a place is a folder of tasks on this machine."""
    return (Path(folder) / TASKS).is_file()


def read(folder: str | Path) -> dict[str, str]:
    """Return {task: label column} of a folder of tasks.

    Raises
    ------
    BundleError : it is none, or its file is damaged.
    """
    file = Path(folder) / TASKS
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise BundleError(
                f"{file}: expected format {FORMAT}, found {data['format']!r}; use the textlabel version that "
                "wrote it, or fit again"
            )
        return checked(data["tasks"])
    except (FileNotFoundError, NotADirectoryError):
        raise BundleError(
            f"{folder}: no {TASKS} here; expected a folder that `textlabel fit --task` wrote"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecipeError) as error:
        raise BundleError(f"{file} is damaged ({error}); restore it or fit again") from None


def write(folder: str | Path, tasks: Mapping[str, str]) -> None:
    """Write the file that names the tasks of a folder."""
    text = json.dumps({"format": FORMAT, "tasks": checked(tasks)}, indent=2)
    (Path(folder) / TASKS).write_text(text + "\n", encoding="utf-8")
