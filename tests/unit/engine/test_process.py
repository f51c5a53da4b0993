"""Which precision a process trains in: the launcher's, another library's, or what the hardware can."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

LOOK = "from textlabel.engine.process import accelerator; print(accelerator().mixed_precision)"
BEFORE = "from accelerate import Accelerator; Accelerator(mixed_precision='no'); "
HARDWARE = "from textlabel.engine.process import multiplies_bf16 as able; print('bf16' if able() else 'no')"


def said(code, **environment):
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": "", **environment}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.slow
@pytest.mark.parametrize("asked", ["no", "bf16"])
def test_the_launcher_decides(asked):
    assert said(LOOK, ACCELERATE_MIXED_PRECISION=asked) == asked


@pytest.mark.slow
def test_a_library_that_was_first_decides():
    assert said(BEFORE + LOOK) == "no"


@pytest.mark.slow
def test_otherwise_the_hardware_decides():
    assert said(LOOK) == said(HARDWARE)
