"""Progress bars: on a terminal only, on one process only, silent everywhere else."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def bar(title: str, unit: str = "row") -> Iterator[Callable[..., None]]:
    """Give a function ``update(done, total, note="")`` that draws a bar on stderr.

    Examples
    --------
    >>> with bar("encode") as update:  # draws nothing here: stderr is not a terminal
    ...     update(1, 2)
    """
    if not sys.stderr.isatty() or os.environ.get("RANK", "0") != "0":
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
