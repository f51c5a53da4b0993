"""A test that CI skips without a committed reason is a failure."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
CASES = """
import pytest

def test_skipped():
    pytest.skip("no reason")

@pytest.mark.skip
def test_marked():
    pass

@pytest.mark.xfail
def test_known_to_fail():
    assert False
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ci", "allowed", "told"),
    [
        ("", "", "2 skipped, 1 xfailed"),
        ("true", "", "1 failed, 1 xfailed, 1 error"),  # a marked one fails in its set-up
        ("true", "test_it.py::test_m*  because\n", "1 failed, 1 skipped, 1 xfailed"),
    ],
)
def test_skips(tmp_path, ci, allowed, told):
    (tmp_path / "conftest.py").write_text((TESTS / "conftest.py").read_text())
    (tmp_path / "allowed_skips.txt").write_text(allowed)
    (tmp_path / "test_it.py").write_text(CASES)
    env = {**os.environ, "CI": ci, "PYTHONPATH": str(TESTS)}
    command = [sys.executable, "-m", "pytest", "-c", os.devnull, "--rootdir", tmp_path, tmp_path]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert told in done.stdout
