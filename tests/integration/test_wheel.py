"""A wheel, installed without the checkout: everything that textlabel ships is in it, and works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
from tiny import snippets

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """Return the interpreter of an environment with the wheel of textlabel and its dependencies."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip"]
    subprocess.run([*pip, "wheel", ROOT, "--no-deps", "--no-build-isolation", "-w", folder], check=True)
    venv.create(folder / "env", with_pip=False)
    python = folder / "env/bin/python"
    (wheel,) = folder.glob("textlabel-*.whl")
    subprocess.run([*pip, "--python", python, "install", "--no-deps", "--no-index", wheel], check=True)
    # the dependencies are those of this environment; a .pth line is a place to look in and no more, so
    # the link from there to the checkout is not followed
    site = subprocess.check_output(
        [python, "-c", "import sysconfig as s; print(s.get_path('purelib'))"], text=True
    )
    (Path(site.strip()) / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return python


@pytest.fixture(scope="module")
def run(python, tmp_path_factory):
    """Return a function that runs a command of the wheel from an empty folder and returns its stdout."""
    empty = tmp_path_factory.mktemp("empty")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

    def run(*words):
        done = subprocess.run(list(map(str, words)), cwd=empty, env=clean, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    return run


@pytest.fixture(scope="module")
def textlabel(python):
    return python.with_name("textlabel")


def test_it_is_the_wheel_that_runs(run, python):
    told = run(python, "-c", "import sys, json, textlabel; print(json.dumps([textlabel.__file__, sys.path]))")
    file, path = json.loads(told)
    assert str(python.parents[1]) in file
    assert str(ROOT) not in path


def test_it_tells_versions_and_recipes(run, textlabel):
    assert "torch" in run(textlabel, "--version")
    assert {"head", "lora", "full", "partial", "regression"} <= set(
        json.loads(run(textlabel, "recipes", "--json"))
    )


@pytest.mark.parametrize(
    "file",
    ["data/reviews/movie.jsonl", "data/reviews/product.jsonl", "data/SOURCE.md", "recipes/jobs/reviews.toml"],
)
def test_what_it_ships_is_there_and_the_same(run, python, file):
    told = run(python, "-c", f"from textlabel.resources import resource; print(resource({file!r}))")
    found = Path(told.strip())
    assert str(python.parents[1]) in str(found)
    assert found.read_bytes() == (ROOT / file).read_bytes()


def test_it_is_typed(run, python):
    run(
        python,
        "-c",
        "from importlib.resources import files; assert (files('textlabel') / 'py.typed').is_file()",
    )


def test_it_does_the_main_job(run, textlabel, tiny_backbone, tmp_path):
    for name, rows in (("labeled", snippets(40)), ("corpus", snippets(30, seed=1))):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    model, out = tmp_path / "model", tmp_path / "out"
    run(textlabel, "fit", tmp_path / "labeled.jsonl", "--backbone", tiny_backbone, "--out", model)
    run(textlabel, "annotate", tmp_path / "corpus.jsonl", "--model", model, "--out", out, "--format", "csv")
    told = json.loads(run(textlabel, "evaluate", out, "--gold", tmp_path / "corpus.jsonl", "--json"))
    assert told["n"] == 30
    assert "# " in (model / "README.md").read_text()
    assert "# " in (out / "README.md").read_text()


def test_the_demo_finds_its_rows(run, python):
    code = "from textlabel.demo import NAMES, draw; print([len(part) for part in draw(NAMES[2], 100, 0)])"
    assert json.loads(run(python, "-c", code))[:2] == [164, 3622]
