"""The demo as people run it: real text, the real default backbone, by each way of adapting."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from textlabel.cli.demo import render

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.mark.parametrize(("recipe", "classes"), [("head", 2), ("lora", 2), ("head", 3)])
def test_demo(recipe, classes, tmp_path):
    from datasets import load_from_disk

    words = ["demo", "--recipe", recipe, "--classes", str(classes), "--json"]
    command = [sys.executable, "-m", "textlabel", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout)  # and nothing else was on stdout
    judged = told["with_answers"]
    assert told["rows"] == 3686 - 32 * classes
    assert judged["accuracy"] > judged["majority"] + 0.1
    assert judged["ece_after"] <= judged["ece_before"] + 0.01  # a holdout of a hundred rows may miss by that
    assert judged["ece_after"] < 0.08

    rows = load_from_disk(told["dataset"])
    assert len(rows) == told["rows"]
    assert not {"score", "input_label"} & set(rows.column_names)  # the answers are not in it
    assert rows.features["label"].names == ["negative", "neutral", "positive"][:: 4 - classes]
    assert np.all((np.array(rows["confidence"][:]) > 1 / classes) & (np.array(rows["confidence"][:]) <= 1))
    assert (tmp_path / "demo-output/model/textlabel.json").is_file()
    assert render(told).count("known only because this demo has the answers") == 4
    certificate = told["certificate"]
    assert certificate["wrong_in_finished"] <= certificate["allowed"] == told["rows"] // 10
    assert certificate["kept"] > 1000
