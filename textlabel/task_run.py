"""What an annotation for several tasks has done so far, so that a killed one goes on where it was.

unfinished.json   what decides the result, and the summaries of the tasks that are done; when all are, it goes
                  and `tasks.json` comes, so that only a finished folder is a folder of tasks
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textlabel import tasks
from textlabel.errors import ExportError
from textlabel.places import OURS, require_free
from textlabel.types import Summary

if TYPE_CHECKING:
    from textlabel.annotating import Annotate

UNFINISHED = "unfinished.json"
#: what does not change what is written
_WITHOUT_EFFECT = ("out", "model", "fresh", "resume", "cache", "engine", "ray_address", "actors")


class TaskRun:
    """The state of one run.

    Parameters
    ----------
    step : its model is of several tasks.
    out : the folder that gets one folder a task.

    Raises
    ------
    ExportError : the folder holds something else.
    """

    def __init__(self, step: Annotate, out: Path) -> None:
        self.columns = tasks.read(step.model)
        self.out = out
        _require_own(out, self.columns)
        self._plan = _plan(step, self.columns)
        found = {} if step.fresh or self._plan is None else _read(out / UNFINISHED)
        same = bool(found) and found.get("plan") == self._plan
        #: {task: summary} of those that need not be done again
        self.done: dict[str, Summary] = found["done"] if same else {}

    def begin(self) -> None:
        """Say on the disk that the folder is unfinished."""
        self.out.mkdir(parents=True, exist_ok=True)
        (self.out / tasks.TASKS).unlink(missing_ok=True)
        self._write()

    def finish(self, task: str, summary: Summary) -> None:
        """Keep what there is to tell of a task that is done."""
        self.done[task] = summary
        self._write()

    def end(self) -> None:
        """Say on the disk that the folder is finished."""
        tasks.write(self.out, self.columns)
        (self.out / UNFINISHED).unlink()

    def _write(self) -> None:
        part = self.out / f"{UNFINISHED}.part"
        told = {"tasks": self.columns, "plan": self._plan, "done": self.done}
        part.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
        part.replace(self.out / UNFINISHED)


def _require_own(out: Path, columns: Mapping[str, str]) -> None:
    """Raise an `ExportError` unless a folder is free, or holds annotations for these very tasks."""
    if out.exists() and not out.is_dir():
        require_free(out, ExportError)
    names = {path.name for path in out.iterdir()} if out.is_dir() else set()
    if not names:
        require_free(out, ExportError)
        return
    if tasks.TASKS in names:
        there = tasks.read(out)
    elif UNFINISHED in names:
        there = _read(out / UNFINISHED).get("tasks", {})
    else:
        raise ExportError(
            f"{out} is not empty and holds no annotations for several tasks: choose another folder"
        )
    if set(there) != set(columns):
        raise ExportError(
            f"{out} is for the tasks {', '.join(there)}, and the model for {', '.join(columns)}: choose "
            "another folder"
        )
    for task in columns:
        if (out / task / OURS).is_file() and "rows" not in _read(out / task / OURS):
            raise ExportError(f"{out / task} is a model, not annotations: choose another folder")
        if (out / task).exists():
            require_free(out / task, ExportError)


def _plan(step: Annotate, columns: Mapping[str, str]) -> dict[str, Any] | None:
    """Return what decides the result; None where nobody can tell without reading it all."""
    sources = {name: _stamp(name) for name in (step.corpus, step.gold) if name}
    if None in sources.values():
        return None
    settings = {key: value for key, value in asdict(step).items() if key not in _WITHOUT_EFFECT}
    models = {task: _digest(Path(step.model) / task / OURS) for task in columns}
    plan = {"settings": settings, "sources": sources, "models": models}
    copied: dict[str, Any] = json.loads(json.dumps(plan, default=str))  # as it is read again
    return copied


def _stamp(source: str) -> list[list[Any]] | None:
    """Return names, sizes and times of a file, or of those in a folder; None: it is neither."""
    path = Path(source).expanduser().resolve()
    if not path.exists():
        return None
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    return [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in files]


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""


def _read(file: Path) -> dict[str, Any]:
    """Return a JSON object; an empty one where there is none, or half of one."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
