"""The process this runs in: Accelerate's state, seeds, and what only one process may do."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from textlabel.errors import TrainingError
from textlabel.recipe import Training
from textlabel.types import FloatArray

if TYPE_CHECKING:
    from accelerate import Accelerator

#: padded tokens of one forward pass while training, where the recipe does not say
CPU_TOKENS = 1024
GPU_TOKENS = 16_384


@cache
def accelerator() -> Accelerator:
    """Return this process's one Accelerator.

    Mixed precision is what `accelerate launch` asked for; otherwise bf16 where the hardware has it. Where
    another library in this process (transformers.Trainer, say) set Accelerate up before, that one has chosen.

    Raises
    ------
    TrainingError : a launcher started several processes, but they do not see each other.
    """
    import torch
    from accelerate import Accelerator
    from accelerate.state import is_initialized

    world = int(os.environ.get("WORLD_SIZE", "1"))
    # Without this Accelerate 1.15 lets every process of a CPU launch believe that it is alone.
    cpu = world > 1 and not torch.accelerator.is_available()
    asked = os.environ.get("ACCELERATE_MIXED_PRECISION")
    chosen = None if is_initialized() else asked or ("bf16" if multiplies_bf16() else "no")
    this = Accelerator(mixed_precision=chosen, cpu=cpu)
    if this.num_processes != world:
        raise TrainingError(
            f"the launcher started {world} processes, but Accelerate sees {this.num_processes}; "
            "each would do all of the work. Start with torchrun, or with a file of recipes/accelerate"
        )
    if this.gradient_accumulation_steps != 1:
        raise TrainingError("gradient accumulation belongs into the recipe: set micro_batch_tokens there")
    if world > 1 and this.mixed_precision == "fp16":
        raise TrainingError("fp16 works in one process only; expected --mixed_precision bf16 or no")
    return this


def multiplies_bf16() -> bool:
    """Return whether this machine multiplies bfloat16 in hardware; in software it is slow."""
    import torch

    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def multiplies_int8() -> bool:
    """Return whether this processor adds up products of int8 in 32 bits; others do in 16, which overflow."""
    import torch

    return bool(torch.cpu._is_vnni_supported() or torch.cpu._is_amx_tile_supported())


@cache
def processor() -> str:
    """Return what of this machine's processors decides the last digits, and how far a backend is off."""
    import torch

    able = {
        "VNNI": torch.cpu._is_vnni_supported(),
        "BF16": torch.cpu._is_avx512_bf16_supported(),
        "AMX": torch.cpu._is_amx_tile_supported(),
    }
    found = " ".join([torch.backends.cpu.get_cpu_capability(), *(name for name in able if able[name])])
    on_gpu = accelerator().device.type == "cuda"
    return f"{torch.cuda.get_device_name()}, {found}" if on_gpu else found


def autocast(training: Training) -> AbstractContextManager[None]:
    """Return the block of a forward pass in the precision of the launcher, unless the recipe says no."""
    from accelerate.utils import AutocastKwargs

    handler = AutocastKwargs(enabled=training.mixed_precision != "no")
    block: AbstractContextManager[None] = accelerator().autocast(handler)
    return block


def pass_tokens(training: Training) -> int:
    """Return how many padded tokens one forward pass while training may have."""
    on_cpu = accelerator().device.type == "cpu"
    return training.micro_batch_tokens or (CPU_TOKENS if on_cpu else GPU_TOKENS)


def sum_over_processes(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the elementwise sum over all processes, in fp32, on every process."""
    import torch

    this = accelerator()
    if this.num_processes == 1:
        return array
    total: torch.Tensor = this.reduce(torch.from_numpy(array).to(this.device), reduction="sum")
    return total.cpu().numpy()


def of_main_process(values: FloatArray) -> FloatArray:
    """Return process 0's numbers, float32 exactly, on every process.

    BLAS may round differently in processes of other thread counts, and clocks differ anyway.
    """
    this = accelerator()
    if this.num_processes == 1:
        return values
    mine = values if this.is_main_process else np.zeros_like(values)
    return sum_over_processes(mine.astype(np.float32)).astype(np.float64)


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
