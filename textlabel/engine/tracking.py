"""Experiment trackers: what training tells, step by step, to those that Accelerate knows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from textlabel.errors import TrainingError
from textlabel.progress import bar

#: where trackers that write files do so, as those of transformers and torch
FOLDER = "runs"


@dataclass
class _Run:
    """Trackers of one block; they start with the first value, and nothing is imported before.

    Parameters
    ----------
    step : values told so far; it only rises, whatever stage tells them, as wandb drops what goes back.
    """

    names: tuple[str, ...]
    folder: Path
    settings: dict[str, Any] = field(default_factory=dict)
    step: int = 0
    started: Any = None


_run: ContextVar[_Run | None] = ContextVar("trackers", default=None)


@contextmanager
def tracked(*names: str, folder: str | Path = FOLDER) -> Iterator[None]:
    """Send losses of a block's training, and what a `fit` has to tell at its end, to experiment trackers.

    Each is started by Accelerate under the project "textlabel", in the main process alone, with its own
    settings from the environment (``WANDB_MODE``, say).

    Parameters
    ----------
    names : "tensorboard", "wandb", "trackio", or another that Accelerate knows and that is installed.
    folder : where those that write files do so.

    Raises
    ------
    TrainingError
        if Accelerate does not know a name, or its package is not installed.

    Examples
    --------
    >>> with tracked():
    ...     note(recipe="lora")
    ...     log({"loss": 0.5})
    """
    _require(names)
    run = _Run(names, Path(folder)) if names else None
    token = _run.set(run)
    try:
        yield
    finally:
        _run.reset(token)
        if run is not None and run.started is not None:
            run.started.end_training()


def note(**settings: Any) -> None:
    """Tell what is trained, and how, before the first value."""
    run = _run.get()
    if run is not None and run.started is None:
        run.settings |= settings


def log(values: Mapping[str, float]) -> None:
    """Tell values by name; without trackers nothing happens."""
    run = _run.get()
    if run is None:
        return
    if run.started is None:
        run.started = _start(run)
    run.started.log(dict(values), step=run.step)
    run.step += 1


def numbers(told: Mapping[str, Any]) -> dict[str, float]:
    """Return what of a record is a number, under the path to it.

    Examples
    --------
    >>> numbers({"calibrator": {"name": "beta", "nll": 0.3, "by": {"folds": 5}}})
    {'calibrator/nll': 0.3, 'calibrator/by/folds': 5}
    """
    found: dict[str, float] = {}
    for name, value in told.items():
        if isinstance(value, Mapping):
            found |= {f"{name}/{inner}": number for inner, number in numbers(value).items()}
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[name] = value
    return found


@contextmanager
def steps(title: str, name: str) -> Iterator[Callable[[int, int, float], None]]:
    """Give a function ``update(step, steps, loss)`` that draws a bar and tells trackers ``name/loss``."""
    with bar(title, "step") as draw:

        def update(step: int, steps: int, loss: float) -> None:
            draw(step, steps, loss)
            log({f"{name}/loss": loss})

        yield update


def _start(run: _Run) -> Any:
    from accelerate import Accelerator

    from textlabel.engine.process import accelerator

    accelerator()  # settles devices and precision; the other one only holds the trackers
    holder = Accelerator(log_with=list(run.names), project_dir=str(run.folder))
    holder.init_trackers("textlabel", config=run.settings)
    return holder


def _require(names: tuple[str, ...]) -> None:
    if not names:
        return
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

    there = {str(name) for name in get_available_trackers()}
    for name in names:
        if name not in LOGGER_TYPE_TO_CLASS:
            known = ", ".join(sorted(map(str, LOGGER_TYPE_TO_CLASS)))
            raise TrainingError(f"tracker {name!r}: Accelerate does not know it; expected one of {known}")
        if name not in there:
            raise TrainingError(f"tracker {name!r} is not installed: pip install {name.replace('_', '-')}")
