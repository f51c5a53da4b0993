"""`textlabel annotate` whose corpus, model and output are in a store, through the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import fsspec
import pytest
from datasets import Dataset
from tiny import snippets, write_static
from typer.testing import CliRunner

from textlabel import Labeler
from textlabel.audit import draw
from textlabel.cli.app import app
from textlabel.corpus import spool
from textlabel.engine import shards
from textlabel.errors import AuditError

ROWS = [{"id": row["id"], "text": row["text"]} for row in snippets(30, seed=1)]
CORPUS = "".join(json.dumps(row) + "\n" for row in ROWS)
WORDS = ["annotate", "memory://bucket/rows.jsonl", "--model", "memory://bucket/model"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("urls")
    return Labeler(write_static(folder / "static"), cache=False).fit(snippets(40)).save(folder / "model")


@pytest.fixture
def store(model, monkeypatch, tmp_path):
    """Return a store in memory that holds a corpus and a model."""
    files = fsspec.filesystem("memory")
    files.store.clear()
    files.pipe_file("/bucket/rows.jsonl", CORPUS.encode())
    for path in Path(model).rglob("*"):
        if path.is_file():
            files.put_file(str(path), f"/bucket/model/{path.relative_to(model)}")
    monkeypatch.setattr(shards, "LEAST_ROWS", 8)
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    monkeypatch.setattr(spool, "_DISK", "/no/such/folder")
    yield files
    files.store.clear()


def run(*words: str, code: int = 0):
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == code, done.output
    return done


def below(store, root: str) -> dict[str, bytes]:
    store.invalidate_cache()
    return {path.removeprefix(f"{root}/"): store.cat_file(path) for path in store.find(root)}


@pytest.mark.parametrize("form", ["jsonl", "parquet", "dataset"])
def test_a_store_gets_the_bytes_that_a_disk_gets(store, model, tmp_path, form):
    (tmp_path / "rows.jsonl").write_text(CORPUS)
    there = run(*WORDS, "--out", "memory://bucket/labeled/", "--format", form, "--json")
    run("annotate", str(tmp_path / "rows.jsonl"), "--model", str(model), "--out", str(tmp_path / "out"),
        "--format", form)  # fmt: skip
    found = below(store, "/bucket/labeled")
    local = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert set(found) == set(local)
    assert found == local
    assert json.loads(there.stdout)["annotations"] == "memory://bucket/labeled"
    assert below(store, "/bucket/.labeled.annotate") == {}


def test_nothing_stays_on_the_disk(store, tmp_path):
    run(*WORDS, "--out", "memory://bucket/labeled")
    assert [path for path in (tmp_path / "scratch").rglob("*") if path.is_file()] == []


def test_an_earlier_output_is_replaced_and_nothing_else(store):
    run(*WORDS, "--out", "memory://bucket/labeled")
    run(*WORDS, "--out", "memory://bucket/labeled", "--format", "csv")
    assert set(below(store, "/bucket/labeled")) == {"README.md", "annotations.csv", "textlabel.json"}
    store.pipe_file("/bucket/labeled/thesis.tex", b"mine")
    refused = run(*WORDS, "--out", "memory://bucket/labeled", code=1)
    assert "memory://bucket/labeled is not empty and no previous output of textlabel" in refused.stderr
    assert "it holds 'thesis.tex'" in refused.stderr


def test_a_store_that_refuses_keeps_what_is_finished(store, monkeypatch):
    with monkeypatch.context() as patch:

        def refuse(self, here, there, **_):
            raise PermissionError("Forbidden")

        patch.setattr(type(store), "put_file", refuse)
        failed = run(*WORDS, "--out", "memory://bucket/labeled", code=1)
    assert "memory://bucket/labeled cannot be written: Forbidden. What is finished stays" in failed.stderr
    assert below(store, "/bucket/.labeled.annotate")["plan.json"]
    run(*WORDS, "--out", "memory://bucket/labeled", "--resume")
    assert "textlabel.json" in below(store, "/bucket/labeled")
    assert below(store, "/bucket/.labeled.annotate") == {}


def test_the_record_comes_last(store, monkeypatch):
    put, order = type(store).put_file, []

    def watched(self, here, there, **options):
        order.append(Path(there).name)
        put(self, here, there, **options)

    monkeypatch.setattr(type(store), "put_file", watched)
    run(*WORDS, "--out", "memory://bucket/labeled", "--format", "jsonl")
    assert order == ["README.md", "annotations.jsonl", "textlabel.json"]


def test_what_is_not_there_is_named(store):
    words = ["annotate", "memory://bucket/rows.jsonl", "--out", "memory://bucket/labeled", "--model"]
    assert "memory://bucket/none: no such folder" in run(*words, "memory://bucket/none", code=1).stderr
    assert "nosuch" in run(*words, "nosuch://bucket/none", code=1).stderr
    refused = run(*WORDS, "--out", "nosuch://bucket/labeled", code=1)
    assert "nosuch://bucket/labeled: " in refused.stderr


@pytest.mark.parametrize("form", ["jsonl", "parquet", "dataset", "csv"])
def test_annotations_and_gold_in_a_store_are_evaluated(store, tmp_path, form):
    run(*WORDS, "--out", "memory://bucket/labeled", "--format", form)
    run(*WORDS, "--out", str(tmp_path / "labeled"), "--format", form)
    store.pipe_file(
        "/bucket/gold.jsonl", "".join(f"{json.dumps(r)}\n" for r in snippets(30, seed=1)).encode()
    )
    gold = ["--gold", "memory://bucket/gold.jsonl", "--json"]
    there = json.loads(run("evaluate", "memory://bucket/labeled", *gold).stdout)
    assert there == json.loads(run("evaluate", str(tmp_path / "labeled"), *gold).stdout)
    assert there["rows"] == 30
    assert [path for path in (tmp_path / "scratch").rglob("*") if path.is_file()] == []


def test_what_is_not_there_is_not_evaluated(store):
    words = ["--gold", "memory://bucket/rows.jsonl"]
    assert (
        "memory://bucket/none: no textlabel.json"
        in run("evaluate", "memory://bucket/none", *words, code=1).stderr
    )
    assert "nosuch" in run("evaluate", "nosuch://bucket/none", *words, code=1).stderr


FOLDER, SHEET = "s3://bucket/labeled", "sheet.csv"


@pytest.mark.parametrize(
    "words",
    [
        ["audit", "draw", FOLDER, "--size", "5"],
        ["audit", "sheet", FOLDER, "--out", SHEET],
        ["audit", "import", FOLDER, SHEET],
        ["audit", "release", FOLDER, "--out", SHEET],
        ["audit", "reuse", FOLDER, "--from", "labeled"],
        ["audit", "reuse", "labeled", "--from", FOLDER],
        ["answers", "import", FOLDER, SHEET],
        ["plan", FOLDER],
        ["certify", FOLDER, "--max-error", "0.05"],
        ["todo", FOLDER],
        ["finish", FOLDER, "--out", "finished"],
        ["shares", FOLDER],
    ],
)
def test_an_audit_is_of_a_folder_on_a_disk(words):
    told = run(*words, code=1).stderr
    assert told.startswith(f"textlabel: {FOLDER} is a URL; draws and answers are kept in the folder itself")
    assert "copy the whole folder here first" in told


def test_python_says_so_too():
    with pytest.raises(AuditError, match="copy the whole folder here first"):
        draw(FOLDER, 5)


@pytest.mark.parametrize(
    "words",
    [
        ["audit", "draw", "labeled", "--size", "5", "--out", "s3://bucket/sheet.csv"],
        ["audit", "sheet", "labeled", "--out", "s3://bucket/sheet.csv"],
        ["audit", "release", "labeled", "--out", "s3://bucket/sheet.csv"],
        ["plan", "labeled", "--plot", "s3://bucket/sheet.csv"],
        ["todo", "labeled", "--out", "s3://bucket/sheet.csv"],
        ["finish", "labeled", "--out", "s3://bucket/sheet.csv"],
    ],
)
def test_sheets_and_finished_rows_are_written_to_a_disk(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = run(*words, code=1).stderr
    assert told.startswith("textlabel: s3://bucket/sheet.csv is a URL; expected a path on this machine")
    assert list(tmp_path.iterdir()) == []


def test_a_saved_dataset_in_a_store_is_labeled(store, tmp_path):
    Dataset.from_list(ROWS).save_to_disk("memory://bucket/saved", num_shards=3)
    words = [*WORDS[2:], "--format", "jsonl", "--out"]
    run("annotate", "memory://bucket/saved", *words, "memory://bucket/labeled")
    run(*WORDS, "--format", "jsonl", "--out", str(tmp_path / "labeled"))
    found = below(store, "/bucket/labeled")["annotations.jsonl"]
    assert found == (tmp_path / "labeled" / "annotations.jsonl").read_bytes()


SLOWLY = """
import sys, time
from fsspec.implementations.local import LocalFileSystem
def put_file(self, here, there, **_):
    print("uploading", flush=True)
    time.sleep(60)
LocalFileSystem.put_file = put_file
from textlabel.cli import main
main()
"""


@pytest.mark.slow
def test_a_run_killed_while_it_uploads_leaves_nothing_to_the_next(store, model, tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    monkeypatch.setenv("TMPDIR", str(scratch))
    (tmp_path / "rows.jsonl").write_text(CORPUS)
    words = ["annotate", str(tmp_path / "rows.jsonl"), "--model", str(model), "--format", "jsonl"]
    words += ["--out", f"file://{tmp_path}/labeled"]
    monkeypatch.setattr(shards, "LEAST_ROWS", 4096)  # as in the other process
    line = [sys.executable, "-c", SLOWLY, *words]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "uploading\n"
        process.kill()
    left = list(scratch.glob("textlabel-scratch-*/out/annotations.jsonl"))
    assert len(left) == 1
    run(*words, "--resume")
    assert [path for path in scratch.rglob("*") if path.is_file()] == []
    assert not left[0].parent.parent.exists()
    assert (tmp_path / "labeled" / "textlabel.json").is_file()
    assert not (tmp_path / ".labeled.annotate").exists()


def test_a_fit_is_written_to_a_disk(store, tmp_path):
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in snippets(20)))
    refused = run("fit", str(tmp_path / "train.jsonl"), "--out", "memory://bucket/new", code=1)
    assert "is a URL; expected a folder on a disk of this machine" in refused.stderr


def test_a_job_leaves_urls_alone(store, tmp_path):
    gold = "".join(json.dumps(row) + "\n" for row in snippets(30, seed=1))
    store.pipe_file("/bucket/gold.jsonl", gold.encode())
    job = '[annotate]\ncorpus = "memory://bucket/rows.jsonl"\nmodel = "memory://bucket/model"\n'
    job += (
        'out = "memory://bucket/labeled"\nformat = "jsonl"\n[evaluate]\ngold = "memory://bucket/gold.jsonl"\n'
    )
    (tmp_path / "job.toml").write_text(job)
    told = json.loads(run("run", str(tmp_path / "job.toml"), "--json").stdout)
    assert told["evaluate"]["rows"] == 30
    assert len(below(store, "/bucket/labeled")["annotations.jsonl"].splitlines()) == 30


def test_what_is_not_ours_is_neither_overwritten_nor_deleted(store, tmp_path):
    """Such as a dataset that somebody saved, whose files are called as ours are."""
    Dataset.from_list(ROWS).save_to_disk(str(tmp_path / "saved"))
    for path in (tmp_path / "saved").iterdir():
        store.put_file(str(path), f"/bucket/saved/{path.name}")
    store.pipe_file("/bucket/notes/README.md", b"mine")
    for name in ("saved", "notes"):
        before = below(store, f"/bucket/{name}")
        done = run(*WORDS, "--out", f"memory://bucket/{name}", code=1)
        assert "is not empty and no previous output of textlabel" in done.stderr
        assert below(store, f"/bucket/{name}") == before


def test_what_came_while_rows_were_labeled_stays(store, monkeypatch):
    from textlabel.labeler import Labeler as Facade

    export = Facade.export

    def slow(self, *arguments, **options):
        store.pipe_file("/bucket/labeled/thesis.tex", b"mine")
        return export(self, *arguments, **options)

    monkeypatch.setattr(Facade, "export", slow)
    done = run(*WORDS, "--out", "memory://bucket/labeled", code=1)
    assert "thesis.tex" in done.stderr
    assert below(store, "/bucket/labeled") == {"thesis.tex": b"mine"}


def test_folders_are_made_where_a_store_needs_them(store, tmp_path):
    run(*WORDS, "--out", f"file://{tmp_path}/new/deep/labeled", "--format", "jsonl")
    assert (tmp_path / "new" / "deep" / "labeled" / "annotations.jsonl").is_file()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--out", "https://me:secret@example.org/labeled"], "https://example.org/labeled cannot be written"),
        (
            ["--out", "memory://bucket/x", "--reject-file", "memory://bucket/r.jsonl"],
            "is a URL; expected a path",
        ),
    ],
)
def test_urls_that_cannot_be_written_are_refused_at_once(store, words, told):
    done = run(*WORDS, *words, code=1)
    assert told in done.stderr
    assert "secret" not in done.stderr
