"""One process and two give the same gradients and the same labels; and two really ran."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny import write_static

pytestmark = [pytest.mark.slow, pytest.mark.alone]

HERE = Path(__file__).parent
TWO = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]


def run(launcher: list[str], backbone: Path, out: Path) -> None:
    paths = [str(HERE.parent), str(HERE.parents[1])]
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    done = subprocess.run(
        [*launcher, str(HERE / "two_processes.py"), str(backbone), str(out)],
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def results(tiny_backbone, tmp_path_factory):
    out = tmp_path_factory.mktemp("launch")
    write_static(out / "table")
    run([sys.executable], tiny_backbone, out)
    run(TWO, tiny_backbone, out)
    return {path.stem: json.loads(path.read_text()) for path in out.glob("*.json")}


def test_two_processes_really_ran(results):
    assert sorted(results) == ["1-0", "2-0", "2-1"]
    assert [results[name]["world"] for name in sorted(results)] == [1, 2, 2]


def test_the_gradients_of_the_first_steps_are_the_same(results):
    one = np.array(results["1-0"]["gradients"])
    assert len(one) == 8  # over an epoch: the short last batch is among them
    for name in ("2-0", "2-1"):
        np.testing.assert_allclose(np.array(results[name]["gradients"]), one, atol=1e-5, rtol=0)


def test_rows_that_must_meet_are_not_torn_apart(results):
    one = np.array(results["1-0"]["pairs"])
    assert len(one) == 4
    for name in ("2-0", "2-1"):
        np.testing.assert_allclose(np.array(results[name]["pairs"]), one, atol=1e-5, rtol=0)


def test_frozen_layers_that_are_run_once_give_the_same_gradients(results):
    one = np.array(results["1-0"]["frozen"])
    assert len(one) == 8
    assert np.abs(one).max() > 1e-3
    for name in ("2-0", "2-1"):
        np.testing.assert_allclose(np.array(results[name]["frozen"]), one, atol=1e-5, rtol=0)


def test_both_choose_what_one_process_chooses_whatever_their_clocks_say(results):
    one = results["1-0"]
    assert [verdict for *_, verdict in one["tried"]].count("chosen") == 1
    assert next(t for t in one["tried"] if t[0] == "partial")[-1] != "no time"
    for name in ("2-0", "2-1"):
        assert results[name]["tried"] == one["tried"]
        assert results[name]["chosen"] == one["chosen"]


def test_every_row_once_in_input_order_with_the_same_label(results):
    for name in ("2-0", "2-1"):
        assert results[name]["ids"] == results["1-0"]["ids"] == [f"r{i}" for i in range(101)]
        assert results[name]["label"] == results["1-0"]["label"]
        np.testing.assert_allclose(results[name]["confidence"], results["1-0"]["confidence"], atol=1e-4)


def test_several_backbones_label_alike_in_two_processes(results):
    one = np.array(results["1-0"]["joined"])
    assert np.abs(one).max() > 0.1
    for name in ("1-0", "2-0", "2-1"):
        np.testing.assert_allclose(results[name]["joined"], one, atol=1e-4)
        np.testing.assert_allclose(results[name]["again"], one, atol=1e-4)
        assert results[name]["from_cache"] == 101
