"""`textlabel optimize --cascade` and `annotate --cascade`, through the commands."""

from __future__ import annotations

import errno
import json

import pytest
from fsspec.implementations.local import LocalFileSystem
from tiny import snippets, write_static
from typer.testing import CliRunner

from textlabel import Labeler
from textlabel.cli.app import app
from textlabel.engine import shards

CORPUS = snippets(1300, seed=1)
TEACH = ["{folder}/plain", "--on", "{folder}/corpus.jsonl", "--cascade", "{folder}/words"]


def run(*words, code=0):
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == code, done.output
    return done


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return a folder with corpora and models, of which one is to have a student that learns all it says."""
    folder = tmp_path_factory.mktemp("user")
    unlabeled = [{"id": row["id"], "text": row["text"]} for row in CORPUS]
    scores = [{"text": row["text"], "label": float(row["stars"])} for row in snippets(80)]
    write(folder / "train.jsonl", snippets(80))
    write(folder / "scores.jsonl", scores)
    write(folder / "corpus.jsonl", unlabeled)
    write(folder / "few.jsonl", unlabeled[:1000])
    write(folder / "some.jsonl", unlabeled[:60])
    write_static(folder / "words")
    fit = ("fit", "--backbone", folder / "words")
    run(*fit, folder / "train.jsonl", "--out", folder / "plain", "--no-cache")
    run(*fit, folder / "scores.jsonl", "--recipe", "regression", "--out", folder / "scores", "--no-cache")
    Labeler.load(folder / "plain").save(folder / "model")
    Labeler.load(folder / "plain").read_long("fail").save(folder / "strict")
    return folder


@pytest.fixture(scope="module")
def optimized(files):
    """Return what optimize printed; tiny models are slower everywhere, so that only the cascade is kept."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("textlabel.engine.optimize._speeds", lambda ready, _: dict.fromkeys(ready, 1.0))
        words = ("--on", files / "corpus.jsonl", "--cascade", files / "words")
        return run("optimize", files / "model", *words)


def annotated(files, out, *words, model="model", corpus="corpus"):
    done = run(
        *("annotate", files / f"{corpus}.jsonl", "--model", files / model, "--out", out, "--json"),
        *("--format", "jsonl", *words),
    )
    rows = [json.loads(line) for line in (out / "annotations.jsonl").read_text().splitlines()]
    record = json.loads((out / "textlabel.json").read_text())
    return json.loads(done.stdout), rows, record, (out / "README.md").read_text()


def test_people_are_told_who_answers_how_much(files, optimized):
    last = optimized.stdout.splitlines()[-1]
    told = Labeler.load(files / "model").bundle.student.measured
    assert last.split()[0] == "cascade"
    assert last.endswith(f"kept; the student answers {told['answered']:.1%}")
    assert f"{1 - told['differ']:.1%}" in last
    assert "labeling 1300 texts that words learns from" in optimized.stderr


def test_the_rest_of_the_model_stays_as_it_is(files, optimized):
    before, after = (
        {
            p.relative_to(files / name).as_posix(): p.read_bytes()
            for p in (files / name).rglob("*")
            if p.is_file()
        }
        for name in ("plain", "model")
    )
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert {name for name in changed if not name.startswith("student/")} == {"textlabel.json"}


@pytest.mark.slow
def test_json_tells_the_student(files, optimized, tmp_path):
    Labeler.load(files / "plain").save(tmp_path / "model")
    words = ("--on", files / "corpus.jsonl", "--cascade", files / "words", "--json")
    words += ("--most-differ", "0.02")
    *_, last = json.loads(run("optimize", tmp_path / "model", *words).stdout)["backends"]
    assert last["backend"] == "cascade"
    assert last["kept"] == (last["why_not"] == "") == ("student" in last)
    with (
        pytest.MonkeyPatch.context() as patch
    ):  # which is slower than the model, as that is a static one, too
        patch.setattr("textlabel.engine.optimize._speeds", lambda ready, _: dict.fromkeys(ready, 1.0))
        *_, last = json.loads(run("optimize", tmp_path / "model", *words).stdout)["backends"]
    assert last["student"]["measured"]["differ_at_most"] == 0.02
    assert last["student"] == Labeler.load(tmp_path / "model").bundle.student.to_json()


def test_annotate_cascade_names_the_student_everywhere(files, optimized, tmp_path):
    told, rows, record, card = annotated(files, tmp_path / "out", "--cascade")
    _, plain, _, _ = annotated(files, tmp_path / "plain", model="plain")
    answered = [row["ood_score"] is None for row in rows]
    assert told["by_student"] == sum(answered) == record["backend"]["cascade"]["answered"] > 100
    assert told["estimated_accuracy"] is record["estimate"] is None
    assert f"{sum(answered):,} of 1,300 rows answered by a student (words)" in card
    same = [row["label"] == other["label"] for row, other in zip(rows, plain, strict=True)]
    assert sum(same) >= 0.99 * len(rows)
    for row, other, student in zip(rows, plain, answered, strict=True):
        if not student:
            assert row["label"] == other["label"]
            assert row["confidence"] == pytest.approx(other["confidence"], abs=1e-5)


@pytest.mark.slow
def test_without_the_option_the_student_is_not_asked(files, optimized, tmp_path):
    told, rows, record, card = annotated(files, tmp_path / "out", corpus="some")
    _, plain, _, _ = annotated(files, tmp_path / "plain", model="plain", corpus="some")
    assert rows == plain
    assert told["by_student"] is record["backend"]["cascade"] is None
    assert told["estimated_accuracy"]
    assert "student" not in card


@pytest.mark.slow
def test_a_job_takes_the_key(files, optimized, tmp_path):
    job = tmp_path / "job.toml"
    places = {"corpus": files / "some.jsonl", "model": files / "model", "out": "out"}
    lines = [f'{key} = "{place}"' for key, place in places.items()]
    job.write_text("\n".join(["[annotate]", *lines, "cascade = true"]))
    run("run", job)
    record = json.loads((tmp_path / "out" / "textlabel.json").read_text())
    assert record["backend"]["cascade"]["answered"] > 0


def test_a_stopped_cascade_goes_on_to_the_same_bytes_and_only_as_a_cascade(
    files, optimized, tmp_path, monkeypatch
):
    monkeypatch.setattr(shards, "LEAST_ROWS", 8)
    line = ("annotate", files / "some.jsonl", "--model", files / "model", "--no-cache", "--out")
    put = LocalFileSystem.pipe_file

    def full(self, path, *rest, **options):
        if path.endswith("shard-00002.safetensors"):
            raise OSError(errno.ENOSPC, "No space left on device")
        put(self, path, *rest, **options)

    with monkeypatch.context() as patch:
        patch.setattr(LocalFileSystem, "pipe_file", full)
        run(*line, tmp_path / "out", "--cascade", code=1)
    refused = run(*line, tmp_path / "out", code=1)
    assert "differs in its cascade (True; now False)" in refused.stderr
    assert "resuming: 2 of" in run(*line, tmp_path / "out", "--cascade").stderr
    run(*line, tmp_path / "whole", "--cascade")
    out, whole = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("out", "whole")
    )
    assert out == whole


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (
            ["{folder}/scores", "--on", "{folder}/corpus.jsonl", "--cascade", "{folder}/words"],
            1,
            "is for one class a row: of scores",
        ),
        (
            ["{folder}/plain", "--on", "{folder}/few.jsonl", "--cascade", "{folder}/words"],
            1,
            "1196 different",
        ),
        (["{folder}/plain", "--on", "{folder}/corpus.jsonl", "--cascade", "{tiny}"], 1, "no static backbone"),
        (
            ["{folder}/plain", "--on", "{folder}/corpus.jsonl", "--cascade", "poton-base-8M"],
            1,
            "potion-base-8M",
        ),
        (["{folder}/plain", "--cascade", "{folder}/words"], 2, "give --on CORPUS"),
        ([*TEACH, "--most-differ", "0"], 1, "most_differ = 0.0: expected the share of labels"),
        (["{folder}/plain", "--most-differ", "0.1"], 2, "give --cascade BACKBONE"),
        (["{folder}/strict", *TEACH[1:]], 1, "this model refuses long texts"),
    ],
)
def test_what_cannot_be_taught_is_refused_and_the_model_untouched(files, tiny_backbone, words, code, message):
    before = {path: path.read_bytes() for path in files.rglob("textlabel.json")}
    done = run("optimize", *(word.format(folder=files, tiny=tiny_backbone) for word in words), code=code)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert before == {path: path.read_bytes() for path in files.rglob("textlabel.json")}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--correct-label-shift"], "correct_label_shift compares what the model says of all rows"),
        (["--class-shares", "labeled"], "class_shares weighs what the model says of all rows"),
        (["--order-by", "ensemble"], "order_by = 'ensemble' reads the model's features of every row"),
        (["--order-by", "-distance"], "order by confidence, margin or entropy"),
        (["--order-by", "ood_score"], "or leave the cascade out"),
    ],
)
def test_what_a_student_cannot_tell_is_refused_before_a_row_is_read(
    files, optimized, tmp_path, words, message
):
    line = ("annotate", "nowhere.csv", "--model", files / "model", "--out", tmp_path / "out", "--cascade")
    assert message in run(*line, *words, code=1).stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("order_by", ["-margin", "entropy"])
def test_orders_by_probabilities_go_with_it(files, optimized, tmp_path, order_by):
    annotated(files, tmp_path / "out", "--cascade", "--order-by", order_by, corpus="some")


def test_a_model_without_a_student_is_refused(files, tmp_path):
    line = ("annotate", "nowhere.csv", "--model", files / "plain", "--out", tmp_path / "out", "--cascade")
    assert "keeps no student" in run(*line, code=1).stderr
