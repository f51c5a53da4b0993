"""`textlabel annotate` that was stopped, through the command line."""

from __future__ import annotations

import errno
import json

import pytest
from fsspec.implementations.local import LocalFileSystem
from tiny import snippets
from typer.testing import CliRunner

from textlabel import Labeler
from textlabel.cli.app import app
from textlabel.engine import shards


@pytest.fixture(scope="module")
def home(tiny_backbone, tmp_path_factory):
    folder = tmp_path_factory.mktemp("resume")
    for name, n in (("model", 40), ("other", 30)):
        Labeler(tiny_backbone, cache=False).fit(snippets(n)).save(folder / name)
    for name, seed in (("corpus", 1), ("another", 2)):
        rows = [{"id": row["id"], "text": row["text"]} for row in snippets(30, seed=seed)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(autouse=True)
def few_rows(monkeypatch):
    monkeypatch.setattr(shards, "LEAST_ROWS", 8)


@pytest.fixture
def annotate(home, tmp_path):
    def run(*words, corpus="corpus", model="model", code=0, out="out"):
        line = ["annotate", home / f"{corpus}.jsonl", "--model", home / model, "--out", tmp_path / out]
        done = CliRunner().invoke(app, [*map(str, line), "--no-cache", *words])
        assert done.exit_code == code, done.stderr
        return done

    return run


@pytest.fixture
def stopped(annotate, monkeypatch):
    """Run out of disk in the third of four shards."""
    write = LocalFileSystem.pipe_file

    def full(self, path, *rest, **options):
        if path.endswith("shard-00002.safetensors"):
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, path, *rest, **options)

    with monkeypatch.context() as patch:
        patch.setattr(LocalFileSystem, "pipe_file", full)
        return annotate(code=1)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_full_disk_is_one_message_and_the_repeated_command_goes_on(stopped, annotate, tmp_path):
    assert stopped.stdout == ""
    assert "shard-00002.safetensors cannot be written: the disk is full. What is finished" in stopped.stderr
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "state") == [".out.annotate"]
    done = annotate("--json")
    assert "resuming: 2 of 4 shards are there" in done.stderr
    told = json.loads(done.stdout)
    assert told["rows"] == 30
    assert told["texts_per_second"] is None  # of a part of the work
    assert not (tmp_path / ".out.annotate").exists()
    annotate(out="whole")
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_resume_goes_on_and_wants_something_to_go_on_with(annotate, stopped, tmp_path):
    assert "resuming: 2 of 4" in annotate("--resume").stderr
    done = annotate("--resume", code=1)
    assert f"no unfinished run to resume in {tmp_path / '.out.annotate'}: leave --resume out" in done.stderr
    assert not (tmp_path / ".out.annotate").exists()


def test_fresh_starts_over(annotate, stopped, tmp_path):
    done = annotate("--fresh", model="other")
    assert "resuming" not in done.stderr
    assert not (tmp_path / ".out.annotate").exists()
    annotate("--fresh", out="new")  # nothing to delete is no fault


def test_resume_and_fresh_exclude_each_other(annotate):
    assert "leave one of the two out" in annotate("--resume", "--fresh", code=1).stderr


@pytest.mark.parametrize(
    ("words", "change", "message"),
    [
        ([], {"corpus": "another"}, "differs in its corpus"),
        ([], {"model": "other"}, "differs in its model"),
        (["--order-by", "ensemble"], {}, "differs in its stored embeddings (False; now True)"),
    ],
)
def test_another_run_is_refused(annotate, stopped, words, change, message, tmp_path):
    done = annotate(*words, **change, code=1)
    assert message in done.stderr
    assert "--fresh deletes what it did" in done.stderr
    assert not (tmp_path / "out").exists()
    assert "resuming: 2 of 4" in annotate().stderr  # nothing was lost


def test_settings_that_change_no_prediction_may_differ(annotate, stopped, home, tmp_path):
    words = ("--min-confidence", "0.5", "--format", "jsonl", "--order-by", "margin")
    gold = ("--gold", str(home / "gold.jsonl"))
    (home / "gold.jsonl").write_text(json.dumps(snippets(30, seed=1)[0]) + "\n")
    done = annotate(*words, *gold)
    assert "resuming: 2 of 4" in done.stderr
    annotate(*words, *gold, out="whole")
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_events_go_to_stderr_and_one_object_to_stdout(annotate):
    done = annotate("--json")
    assert json.loads(done.stdout)["rows"] == 30
    told = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    assert told[0]["event"] == "progress"
    assert (told[0]["of"], told[0]["process"]) == (30, 0)
    assert 0 < told[0]["rows"] <= 30
    assert told[0]["tokens_per_second"] > told[0]["rows_per_second"] > 0
    assert "progress" not in annotate(out="quiet").stderr


def test_a_job_takes_the_same_keys(home, tmp_path):
    job = tmp_path / "job.toml"
    job.write_text(
        f'[annotate]\ncorpus = "{home}/corpus.jsonl"\nmodel = "{home}/model"\nout = "out"\nresume = true\n'
    )
    done = CliRunner().invoke(app, ["run", str(job)])
    assert done.exit_code == 1
    assert "no unfinished run to resume" in done.stderr
    done = CliRunner().invoke(
        app, ["run", str(job), "annotate.resume=false", "annotate.fresh=true", "--json"]
    )
    assert done.exit_code == 0
    assert json.loads(done.stdout)["annotate"]["rows"] == 30
