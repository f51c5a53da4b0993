"""The process this runs in: Accelerate's state, seeds, and what only one process may do."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from accelerate import Accelerator


@cache
def accelerator() -> Accelerator:
    """Return this process's one Accelerator.

    Mixed precision is what `accelerate launch` asked for; otherwise bf16 where a GPU has it.
    """
    import os

    import torch
    from accelerate import Accelerator

    asked = os.environ.get("ACCELERATE_MIXED_PRECISION")
    able = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return Accelerator(mixed_precision=asked or ("bf16" if able else "no"))


def sum_over_processes(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the elementwise sum over all processes, in fp32, on every process."""
    import torch

    this = accelerator()
    if this.num_processes == 1:
        return array
    total: torch.Tensor = this.reduce(torch.from_numpy(array).to(this.device), reduction="sum")
    return total.cpu().numpy()


def derive_seed(*parts: object) -> int:
    """Return a 63-bit seed that depends on every part, and on nothing else.

    Examples
    --------
    >>> derive_seed(0, "a") == derive_seed(0, "a") != derive_seed(0, "b")
    True
    """
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


@contextmanager
def seeded(*parts: object) -> Iterator[None]:
    """Seed torch for a block from ``parts`` and give the caller's random state back afterwards.

    Dropout and new layers draw from torch's global generator; seeding each step by its own number
    makes a resumed run equal to an uninterrupted one without saving any generator.
    """
    import torch

    devices = [accelerator().device] if accelerator().device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(derive_seed(*parts))
        yield
