"""The commands of the main job: options reach the step, wrong usage is told, on a tiny backbone."""

from __future__ import annotations

import csv
import json

import pytest
from tiny import snippets
from typer.testing import CliRunner

from textlabel.cli.app import app

COMMANDS = ("fit", "annotate", "evaluate", "run", "demo", "backbones", "recipes", "plugins")
COMMANDS += (
    "plan",
    "audit",
    "certify",
    "todo",
    "answers",
    "finish",
    "shares",
    "gap",
    "transfer",
    "cache",
    "optimize",
)
COMMANDS += ("choose-backbone", "choose-source", "check-labels", "clusters", "fit-sources", "map-labels")
COMMANDS += ("convert", "conflicts", "agreement", "diff", "taxonomy")


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches(command):
    done = run(command, "--help")
    assert done.exit_code == 0
    assert f"textlabel {command}" in done.stdout  # an example
    assert command in run("--help").stdout


def test_version_tells_what_decides_a_result():
    told = run("--version")
    assert told.exit_code == 0
    assert {line.split()[0] for line in told.stdout.splitlines()} >= {
        "textlabel",
        "python",
        "torch",
        "transformers",
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fitt"], "fit"),
        (["fit", "a.csv"], "--out"),
        (["fit", "a.csv", "--out", "m", "--seed", "x"], "--seed"),
        (["annotate", "a.csv", "--model", "m", "--out", "o", "--min-confidence", "2"], "--min-confidence"),
        (["evaluate", "o"], "--gold"),
        (["demo", "--classes", "4"], "--classes"),
    ],
)
def test_wrong_usage_is_exit_code_2(words, message):
    done = run(*words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert message in done.stderr


@pytest.fixture(scope="module")
def files(tmp_path_factory, tiny_backbone):
    """Return a folder with labeled.csv and corpus.csv in a user's own columns."""
    folder = tmp_path_factory.mktemp("user")
    for name, rows in (("labeled", snippets(40)), ("corpus", snippets(30, seed=1))):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["nr", "review", "verdict", "stars"])
            writer.writerows([row["id"], row["text"], row["label"], row["stars"]] for row in rows)
    return folder


@pytest.fixture(scope="module")
def model(files, tiny_backbone):
    done = run(
        *("fit", files / "labeled.csv", "--backbone", tiny_backbone, "--out", files / "model", "--json"),
        *("--text-column", "review", "--label-column", "verdict", "--id-column", "nr"),
    )
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def test_fit_tells_what_it_did_and_leaves_no_checkpoint(model, files):
    assert model["classes"] == ["negative", "positive"]
    assert model["model"] == str(files / "model")
    assert model["labels"]["train"] == 40
    assert model["processes"] == 1
    assert {path.name for path in files.iterdir()} >= {"model"}
    assert not list(files.glob(".*"))


@pytest.mark.parametrize("form", ["dataset", "parquet", "jsonl", "csv"])
def test_annotate_then_evaluate_in_every_format(model, files, form):
    columns = ["--text-column", "review", "--id-column", "nr"]
    out = files / form
    done = run(
        "annotate",
        files / "corpus.csv",
        "--model",
        model["model"],
        "--out",
        out,
        "--format",
        form,
        "--json",
        *columns,
    )
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["rows"] == sum(told["labels"].values()) == sum(told["decisions"].values()) == 30
    done = run(
        "evaluate",
        out,
        "--gold",
        files / "corpus.csv",
        "--label-column",
        "verdict",
        "--id-column",
        "nr",
        "--json",
    )
    assert done.exit_code == 0, done.stderr
    numbers = json.loads(done.stdout)
    assert numbers["n"] == numbers["rows"] == 30
    assert numbers["accuracy"] > 0.6


def test_gold_needs_no_text_and_may_be_a_part(model, files):
    out, gold = files / "partly", files / "gold.csv"
    columns = ["--text-column", "review", "--id-column", "nr"]
    assert not run(
        "annotate", files / "corpus.csv", "--model", model["model"], "--out", out, *columns
    ).exit_code
    gold.write_text("label,id\npositive,r1\nnegative,r4\n")
    numbers = json.loads(run("evaluate", out, "--gold", gold, "--json").stdout)
    assert (numbers["n"], numbers["rows"]) == (2, 30)


def test_people_get_a_short_summary_and_the_next_command(model, files):
    done = run(
        "annotate",
        files / "corpus.csv",
        "--model",
        model["model"],
        "--out",
        files / "plain",
        "--text-column",
        "review",
    )
    assert done.exit_code == 0, done.stderr
    assert "next: textlabel evaluate" in done.stdout
    gold = ["--gold", files / "corpus.csv", "--label-column", "verdict"]
    assert "accuracy" in run("evaluate", files / "plain", *gold).stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["annotate", "{corpus}", "--model", "{model}", "--out", "{used}"],
            "is not empty and not an earlier output",
        ),
        (
            ["annotate", "{corpus}", "--model", "{model}", "--out", "{out}", "--format", "xls"],
            "unknown export 'xls'",
        ),
        (["annotate", "{corpus}", "--model", "{used}", "--out", "{out}"], "textlabel.json"),
        (["annotate", "{corpus}", "--model", "{model}", "--out", "{out}"], "no column 'text'"),
        (["fit", "{corpus}", "--out", "{used}"], "is not empty and not an earlier output"),
        (["fit", "{corpus}", "--out", "{out}", "--recipe", "lorra"], "unknown recipe 'lorra'"),
        (["evaluate", "{used}", "--gold", "{corpus}"], "textlabel.json"),
    ],
)
def test_what_cannot_work_is_refused_with_one_message(model, files, tmp_path, words, message):
    used = tmp_path / "used"
    used.mkdir()
    (used / "mine.txt").write_text("precious")
    places = {"corpus": files / "corpus.csv", "model": model["model"], "used": used, "out": tmp_path / "out"}
    done = run(*(word.format(**places) for word in words))
    assert (done.exit_code, done.stdout) == (1, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert (used / "mine.txt").read_text() == "precious"
    assert not (tmp_path / "out").exists()


def test_a_job_tells_its_steps_one_by_one(files, tiny_backbone, tmp_path):
    job = tmp_path / "job.toml"
    corpus = f"{str(files / 'corpus.csv')!r}\ntext_column = 'review'\nid_column = 'nr'"
    job.write_text(
        f"[fit]\ntrain = {corpus}\nlabel_column = 'verdict'\nout = 'model'\n"
        f"[annotate]\ncorpus = {corpus}\nout = 'labeled'\n"
        f"[evaluate]\ngold = {str(files / 'corpus.csv')!r}\nlabel_column = 'verdict'\nid_column = 'nr'\n"
    )
    done = run("run", job, f"fit.backbone={tiny_backbone}")
    assert done.exit_code == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("[")] == [
        "[fit]",
        "[annotate]",
        "[evaluate]",
    ]
    assert "macro-F1" in done.stdout
    told = json.loads(run("run", job, f"fit.backbone={tiny_backbone}", "--json").stdout)
    assert told["evaluate"]["n"] == 30
