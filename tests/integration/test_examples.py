"""Every example of the gallery runs, on a small slice."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from textlabel.resources import resource

EXAMPLES = Path(str(resource("recipes/examples")))
#: what each must have said at the end
SAID = {
    "sentiment_across_domains": r"report .*labeled-adapted-report\.html",
    "intent_with_out_of_scope": r"of none: \d+% flagged",
    "topic_tree": r"share of rows with a node",
    "score_regression": r"Pearson correlation[\s\S]*report .*labeled-report\.html",
    "rules_then_model": r"all together[\s\S]*rows with a gold label",
    "active_loop": r"the budget of 60 labels is spent[\s\S]*rows with a gold label",
    "certificate_by_audit": r"report .*labeled-report\.html",
    "source_free": r"rows with a gold label",
    "two_processes": r"processes +2[\s\S]*rows with a gold label",
    "ray": r"rows with a gold label",
}
ALONE = ("two_processes", "ray")
SCRIPTS = sorted(path.stem for path in EXAMPLES.glob("*.sh") if path.stem != "start")


def run(command: list[str], tmp_path: Path, **more: str) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", **more}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def test_every_example_is_listed_and_tried():
    told = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)\.sh`", told, re.MULTILINE)) == set(SCRIPTS) == set(SAID)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.alone] if name in ALONE else []) for name in SCRIPTS]
)
def test_an_example(name, tmp_path, tiny_backbone):
    small = {"ROWS": "80", "AUDIT": "60", "BACKBONE": str(tiny_backbone), "KEEP": str(tmp_path)}
    said = run(["bash", str(EXAMPLES / f"{name}.sh")], tmp_path, **small, PORT="29641")
    assert re.search(SAID[name], said), said[-2000:]
