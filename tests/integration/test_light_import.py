"""Heavy libraries are loaded when they are used, not when textlabel is imported or asked for help."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = [
    "torch",
    "transformers",
    "datasets",
    "peft",
    "accelerate",
    "evaluate",
    "sklearn",
    "pandas",
    "pyarrow",
    "scipy",
    "openvino",
    "nncf",
    "onnx",
    "onnxruntime",
    "ray",
]
TELL = f"import json, sys; print(json.dumps([m for m in {HEAVY} if m in sys.modules]), file=sys.stderr)"


def loaded(code: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{TELL}"], capture_output=True, text=True, check=True
    )
    return json.loads(done.stderr.splitlines()[-1])


def test_import_loads_nothing_heavy():
    assert loaded("import textlabel; dir(textlabel); textlabel.__version__") == []
    assert (
        loaded("from textlabel import Cluster, Labeler, Recipe, LabelSchema, load_corpus, train_backbone")
        == []
    )


@pytest.mark.parametrize(
    "words",
    [
        *(
            "--help",
            "--version",
            "fit --help",
            "gap --help",
            "clusters --help",
            "recipes",
            "recipes --keys",
            "plugins",
        ),
        *("backbones", "cache", "cache clear", "plugins backend", "optimize --help", "train-backbone --help"),
        *("adapt --help", "extend-vocabulary --help"),
    ],
)
def test_help_and_lists_load_nothing_heavy(words):
    code = f"""
import sys
from pathlib import Path
from textlabel.cli import main
sys.argv[1:] = {words.split()!r}
try:
    main()
except SystemExit as end:
    assert not end.code
"""
    assert loaded(code) == []


def processor_seconds(*words):
    """Return the least that Python with these arguments takes of a processor, which others may keep busy."""

    def once():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *words], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return sum(after[:2]) - sum(before[:2])

    return min(once() for _ in range(3))


def test_help_is_quick():
    needed = processor_seconds("-c", "import typer, rich.markdown, rich.panel, rich.table")
    assert processor_seconds("-m", "textlabel", "--help") < 2 * needed


def test_exit_codes_of_the_real_process(tmp_path):
    def run(*words):
        command = [sys.executable, "-m", "textlabel", *words]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)

    assert run("recipes", "head").returncode == 0
    failed = run("recipes", "heads")
    assert (failed.returncode, failed.stdout, failed.stderr.count("\n")) == (1, "", 1)
    assert "Traceback" in run("recipes", "heads", "--debug").stderr
    assert run("recipes", "--nonsense").returncode == 2


def test_a_reader_that_goes_away_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "textlabel", "plugins"], stdout=writing, stderr=subprocess.PIPE, text=True
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_certificates_need_no_torch(tmp_path):
    code = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from pathlib import Path
import sealed
from textlabel import audit
rows, truth = sealed.corpus(300, error=0.3)
folder = sealed.write(rows, Path({str(tmp_path)!r}) / "out")
_, sheet = audit.draw(folder, 150, seed=0)
audit.import_answers(folder, sealed.fill(sheet, dict(zip(rows["id"], truth))))
audit.certify(folder, 0.1)
audit.shares(folder)
audit.plan(folder)
audit.todo(folder)
"""
    assert not {"torch", "transformers", "peft", "accelerate", "evaluate"} & set(loaded(code))


@pytest.mark.slow
def test_the_engine_fits_and_labels_without_datasets_and_peft(tiny_backbone):
    """As on a machine that has PyTorch and transformers and can fetch nothing."""
    code = f"""
import sys
import numpy as np
for missing in ("datasets", "peft", "evaluate", "typer", "pandas"):
    sys.modules[missing] = None
from textlabel.engine.checkpoint import NoCheckpoint
from textlabel.engine.predict import predict
from textlabel.engine.run import Run, Task
from textlabel.models.backbone import load_backbone
from textlabel.recipe import Recipe
from textlabel.types import LabelSchema
things = "film phone plot screen it i was is".split()
texts = [f"{{word}} {{thing}}" for thing in things for word in ("good", "bad")]
labels = np.array([1, 0] * 8)
for name in ("head", "full"):
    task = Task(texts, labels, LabelSchema("single", ("bad", "good")))
    run = Run(load_backbone({str(tiny_backbone)!r}), task, Recipe.load(name), 0, "torch", NoCheckpoint())
    logits, features = predict(run.fit(np.arange(16), "final"), texts)
    print(name, logits.shape, features.shape, (logits.argmax(axis=1) == labels).mean())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [line.split(" ", 1)[0] for line in done.stdout.splitlines()] == ["head", "full"]
    assert done.stdout.count("(16, 2) (16, 16) 1.0") == 2, done.stdout


def test_several_tasks_load_nothing_heavy_before_they_are_learned():
    code = "import textlabel.task_columns; from textlabel import MultiLabeler; MultiLabeler({'a': 'label'})"
    assert loaded(code) == []
