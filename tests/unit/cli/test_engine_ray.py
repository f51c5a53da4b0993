"""`textlabel annotate --engine ray`, as far as no cluster is needed."""

from __future__ import annotations

import json

import pytest
from tiny import snippets
from typer.testing import CliRunner

from textlabel import Labeler
from textlabel.cli.app import app


@pytest.fixture(scope="module")
def home(tiny_backbone, tmp_path_factory):
    folder = tmp_path_factory.mktemp("engine")
    Labeler(tiny_backbone, cache=False).fit(snippets(40)).save(folder / "model")
    rows = [{"id": row["id"], "text": row["text"]} for row in snippets(10, seed=1)]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def annotate(home, out, *words):
    line = ["annotate", home / "corpus.jsonl", "--model", home / "model", "--out", out, *words]
    done = CliRunner().invoke(app, [*map(str, line), "--no-cache"])
    assert done.exit_code == 1
    assert not out.exists()
    return done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--engine", "rai"], "engine = 'rai': did you mean 'ray'?"),
        (["--ray-address", "host:6379"], "ray_address is for the engine ray: add --engine ray, or leave it"),
        (["--actors", "2"], "actors is for the engine ray"),
        (["--cpus-per-actor", "2"], "cpus_per_actor is for the engine ray"),
        (["--engine", "local", "--gpus-per-actor", "1"], "gpus_per_actor is for the engine ray"),
        (["--engine", "ray", "--cpus-per-actor", "0"], "cpus = 0.0: an actor needs a processor"),
        (["--engine", "ray", "--ray-address", "127.0.0.1:1"], "no cluster answers at 127.0.0.1:1 ("),
    ],
)
def test_what_makes_no_sense_is_refused(home, tmp_path, words, message):
    assert message in annotate(home, tmp_path / "out", *words)


def test_the_address_may_come_from_the_environment(home, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    assert "no cluster answers at 127.0.0.1:1" in annotate(home, tmp_path / "out", "--engine", "ray")


def test_a_job_takes_the_same_keys(home, tmp_path):
    job = tmp_path / "job.toml"
    job.write_text(
        f'[annotate]\ncorpus = "{home}/corpus.jsonl"\nmodel = "{home}/model"\nout = "out"\n'
        'engine = "ray"\nray_address = "127.0.0.1:1"\nactors = 2\ncpus_per_actor = 0.5\n'
        "gpus_per_actor = 0.5\n"
    )
    done = CliRunner().invoke(app, ["run", str(job)])
    assert done.exit_code == 1
    assert "no cluster answers at 127.0.0.1:1" in done.stderr


def test_help_teaches():
    shown = CliRunner().invoke(app, ["annotate", "--help"], terminal_width=200).stdout
    for word in ("--engine", "--ray-address", "--actors", "--cpus-per-actor", "--gpus-per-actor"):
        assert word in shown
