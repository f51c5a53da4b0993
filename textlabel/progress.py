"""Progress: bars on a terminal, JSON lines for machines where they ask for them, silence everywhere else."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

#: seconds between two events at least
EVERY = 1.0

_wanted: ContextVar[bool] = ContextVar("events", default=False)


@contextmanager
def events(wanted: bool = True) -> Iterator[None]:
    """Let every `meter` of a block write JSON lines to stderr instead of drawing."""
    token = _wanted.set(wanted)
    try:
        yield
    finally:
        _wanted.reset(token)


@contextmanager
def bar(title: str, unit: str = "row") -> Iterator[Callable[..., None]]:
    """Give a function ``update(done, total, note="")`` that draws a bar on stderr, in the main process.

    Examples
    --------
    >>> with bar("encode") as update:  # draws nothing here: stderr is not a terminal
    ...     update(1, 2)
    """
    if not sys.stderr.isatty() or _rank():
        yield lambda done, total, note="": None
        return
    from tqdm import tqdm

    with tqdm(desc=title, unit=unit, unit_scale=True, dynamic_ncols=True, leave=False) as drawn:

        def update(done: int, total: int, note: object = "") -> None:
            drawn.total = total
            if note != "":
                drawn.set_postfix_str(
                    f"loss {note:.4f}" if isinstance(note, float) else str(note), refresh=False
                )
            drawn.update(done - drawn.n)

        yield update


@contextmanager
def meter(title: str, rows: int) -> Iterator[Callable[[int, int], None]]:
    """Give a function ``update(rows done, tokens done)`` that tells speed and time left.

    On a terminal it is a bar. Within `events` each process writes what it does itself as JSON lines.

    Parameters
    ----------
    rows : that this process has to do.
    """
    start, last = time.monotonic(), -EVERY

    def event(done: int, tokens: int) -> None:
        nonlocal last
        passed = max(time.monotonic() - start, 1e-9)
        if passed - last < EVERY:
            return
        last = passed
        told = {
            "event": "progress",
            "rows": done,
            "of": rows,
            "rows_per_second": round(done / passed, 1),
            "tokens_per_second": round(tokens / passed, 1),
            "seconds_left": round((rows - done) * passed / done, 1) if done else None,
            "process": _rank(),
        }
        print(json.dumps(told), file=sys.stderr, flush=True)

    if _wanted.get():
        yield event
        return
    with bar(title) as draw:

        def update(done: int, tokens: int) -> None:
            draw(done, rows, f"{tokens / max(time.monotonic() - start, 1e-9):,.0f} tokens/s")

        yield update


def _rank() -> int:
    """Return which process of a launch this is."""
    return int(os.environ.get("RANK", "0"))
