"""The commands of README under `accelerate launch` and torchrun: two processes, the labels of one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import snippets

from textlabel.resources import resource

pytestmark = pytest.mark.alone

CPU = str(resource("recipes/accelerate/cpu.yaml"))
LAUNCHERS = {
    "accelerate": ["accelerate.commands.launch", "--config_file", CPU, "--main_process_port", "29611"],
    "torchrun": ["torch.distributed.run", "--standalone", "--nproc_per_node", "2"],
}


def textlabel(*arguments: object, launcher: list[str] | None = None, cwd: Path) -> dict:
    start = [sys.executable, "-m", *(launcher or []), *(["-m"] if launcher else []), "textlabel"]
    # one precision for all: the file for accelerate says which, torchrun does not
    env = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "ACCELERATE_MIXED_PRECISION": "no",
    }
    done = subprocess.run(
        [*start, *map(str, arguments), "--json"],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)  # one object: the other process prints nothing


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def alone(tiny_backbone, tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    write(folder / "train.jsonl", snippets(61))
    write(
        folder / "corpus.jsonl", [{k: v for k, v in r.items() if k != "label"} for r in snippets(75, seed=2)]
    )
    fit(folder, tiny_backbone)
    annotate(folder)
    return folder


def fit(folder, backbone, launcher=None, source=None):
    train = (source or folder) / "train.jsonl"
    return textlabel(
        *(
            "fit",
            train,
            "--backbone",
            backbone,
            "--recipe",
            "lora",
            "--calibration",
            "holdout",
            "--out",
            "model",
        ),
        launcher=launcher,
        cwd=folder,
    )


def annotate(folder, launcher=None, source=None):
    corpus = (source or folder) / "corpus.jsonl"
    return textlabel(
        *("annotate", corpus, "--model", "model", "--out", "out", "--format", "jsonl"),
        launcher=launcher,
        cwd=folder,
    )


def rows(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "out/annotations.jsonl").read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(LAUNCHERS))
def test_two_processes_fit_and_annotate_like_one(name, alone, tiny_backbone, tmp_path):
    launcher = LAUNCHERS[name]
    assert fit(tmp_path, tiny_backbone, launcher, source=alone)["processes"] == 2
    told = annotate(tmp_path, launcher, source=alone)
    assert told["processes"] == 2
    assert told["rows"] == 75
    ours, theirs = rows(tmp_path), rows(alone)
    assert [r["id"] for r in ours] == [r["id"] for r in theirs] == [f"r{i}" for i in range(75)]
    # dropout draws differ between the processes, so whole fits agree in quality, not in every digit
    truth = [r["label"] for r in snippets(75, seed=2)]
    right = [sum(r["label"] == t for r, t in zip(some, truth, strict=True)) / 75 for some in (ours, theirs)]
    assert abs(right[0] - right[1]) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(LAUNCHERS))
def test_two_processes_annotate_exactly_like_one(name, alone, tmp_path):
    (tmp_path / "model").symlink_to(alone / "model")
    assert annotate(tmp_path, LAUNCHERS[name], source=alone)["processes"] == 2
    for ours, theirs in zip(rows(tmp_path), rows(alone), strict=True):
        assert ours["label"] == theirs["label"]
        assert ours["confidence"] == pytest.approx(theirs["confidence"], abs=1e-4)


@pytest.mark.slow
def test_two_processes_share_out_only_what_the_cache_lacks(alone, tmp_path, monkeypatch):
    monkeypatch.setenv("TEXTLABEL_CACHE", str(tmp_path / "features"))
    (tmp_path / "model").symlink_to(alone / "model")
    corpus = (alone / "corpus.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "corpus.jsonl").write_text("".join(corpus[:40]))
    assert annotate(tmp_path)["from_cache"] == 0
    told = annotate(tmp_path, LAUNCHERS["torchrun"], source=alone)
    assert (told["processes"], told["from_cache"], told["rows"]) == (2, 40, 75)
    some = rows(tmp_path)
    for ours, theirs in zip(some, rows(alone), strict=True):
        assert ours["label"] == theirs["label"]
        assert ours["confidence"] == pytest.approx(theirs["confidence"], abs=1e-4)
    assert annotate(tmp_path, LAUNCHERS["torchrun"], source=alone)["from_cache"] == 75
    assert rows(tmp_path) == some
    assert annotate(tmp_path, source=alone)["from_cache"] == 75
    assert rows(tmp_path) == some


@pytest.mark.slow
def test_processes_that_do_not_see_each_other_are_refused(alone, tmp_path):
    """What `accelerate launch --cpu --num_processes 2` leads to must never pass in silence."""
    env = {**os.environ, "WORLD_SIZE": "2", "ACCELERATE_USE_CPU": "false", "CUDA_VISIBLE_DEVICES": ""}
    script = """
import accelerate.state as state
state.PartialState._prepare_backend = lambda *_, **__: (None, state.DistributedType.NO)
from textlabel.engine.process import accelerator
accelerator()
"""
    done = subprocess.run(
        [sys.executable, "-c", script], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "the launcher started 2 processes, but Accelerate sees 1" in done.stderr
