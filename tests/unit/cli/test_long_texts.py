"""Texts longer than the model reads, through the commands: cut with a warning, read in windows, refused."""

from __future__ import annotations

import json

import pytest
from commands import run, told
from tiny import snippets

from textlabel import Labeler
from textlabel.errors import BackboneError

SHORT = [{"id": f"s{number}", "text": row["text"]} for number, row in enumerate(snippets(9, seed=1))]
LONG = {"id": "long", "text": "good film " * 20 + "bad plot " * 40, "windows": "of the input"}


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def files(tiny_backbone, tmp_path_factory):
    folder = tmp_path_factory.mktemp("long")
    write(folder / "train.jsonl", snippets(80))
    write(folder / "corpus.jsonl", [*({**row, "windows": "of the input"} for row in SHORT), LONG])
    fit = ("fit", folder / "train.jsonl", "--backbone", tiny_backbone, "--max-length", 20)
    run(*fit, "--out", folder / "model")
    run(*fit, "--on-long", "window", "--window-pooling", "weighted", "--out", folder / "windows")
    return folder


def annotated(files, out, *words, model="model"):
    summary = told(
        "annotate",
        files / "corpus.jsonl",
        "--model",
        files / model,
        "--out",
        out,
        "--format",
        "jsonl",
        *words,
    )
    rows = [json.loads(line) for line in (out / "annotations.jsonl").read_text().splitlines()]
    return summary, rows, json.loads((out / "textlabel.json").read_text()), (out / "README.md").read_text()


def test_a_cut_text_is_warned_of_and_nothing_else_changes(files, tmp_path):
    done = run(
        "annotate",
        files / "corpus.jsonl",
        "--model",
        files / "model",
        "--out",
        tmp_path / "out",
        "--no-cache",
    )
    assert done.stderr.count("some texts have more than 20 tokens, and what is beyond is not read") == 1
    assert "--on-long window" in done.stderr
    _, rows, record, _ = annotated(files, tmp_path / "again")
    assert record["backend"]["on_long"] == "truncate"
    assert rows[-1]["windows"] == "of the input"


@pytest.mark.parametrize("way", ["fitted", "asked"])
def test_windows_are_told_in_row_record_and_card(files, tmp_path, way):
    words = () if way == "fitted" else ("--on-long", "window", "--window-pooling", "weighted")
    model = "windows" if way == "fitted" else "model"
    _, rows, record, card = annotated(files, tmp_path / "out", *words, model=model)
    # 120 words, 18 a window, of which 4 are in the next, too
    assert [row["windows"] for row in rows] == [*[1] * len(SHORT), 9]
    assert rows[-1]["input_windows"] == "of the input"
    assert record["backend"]["on_long"] == "window"
    assert record["backend"]["in_windows"] == 1
    assert "1 of 10 rows read in windows" in card
    assert "| `windows` | in how many overlapping windows" in card


def test_what_stands_at_the_end_counts(files, tmp_path):
    """The long text begins well and ends badly, which only windows see."""
    _, cut, _, _ = annotated(files, tmp_path / "cut")
    _, whole, _, _ = annotated(files, tmp_path / "whole", "--on-long", "window")
    confidence = [dict(zip("np", rows[-1]["probabilities"], strict=True))["n"] for rows in (cut, whole)]
    assert abs(confidence[0] - confidence[1]) > 0.05
    assert [row["label"] for row in cut[:-1]] == [row["label"] for row in whole[:-1]]


def test_fail_stops_before_a_row_is_written(files, tmp_path):
    done = run(
        "annotate",
        files / "corpus.jsonl",
        *("--model", files / "model", "--out", tmp_path / "out", "--on-long", "fail"),
        code=1,
    )
    assert "row long: the text that begins with 'good film " in done.stderr
    assert "has 122 tokens, and this model reads 20" in done.stderr
    assert not (tmp_path / "out").exists()
    words = ("--model", files / "model", "--out", tmp_path / "out", "--fresh")
    assert told("annotate", files / "corpus.jsonl", *words)["rows"] == 10


def test_a_run_is_not_resumed_with_another_way(files, tmp_path, monkeypatch):
    from textlabel.labeler import Labeler as Facade

    def stop(*_, **__):
        raise KeyboardInterrupt

    words = ("annotate", files / "corpus.jsonl", "--model", files / "model", "--out", tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr(Facade, "export", stop)
        run(*words, code=130)
    done = run(*words, "--on-long", "window", code=1)
    assert "differs in its long texts (truncate; now window)" in done.stderr
    run(*words)


def test_a_model_remembers_how_it_reads(files, tmp_path):
    labeler = Labeler.load(files / "windows")
    info = labeler.bundle.classifier.info
    assert (info.on_long, info.window_pooling) == ("window", "weighted")
    again = Labeler.load(labeler.read_long("window", "max").save(tmp_path / "model"))
    assert again.bundle.classifier.info.window_pooling == "max"
    rows = again.annotate([LONG, SHORT[0]])
    assert rows["windows"][:] == [9, 1]
    assert "windows" not in again.read_long("truncate").annotate([SHORT[0]]).column_names


def test_pooling_alone_is_of_windows_only(files, tmp_path):
    found = []
    for pooling in ("weighted", "max"):
        words = ("--window-pooling", pooling)
        found.append(annotated(files, tmp_path / pooling, *words, model="windows")[1])
    found.append(annotated(files, tmp_path / "fitted", "--on-long", "window", model="windows")[1])
    assert found[0] == found[2] != found[1]
    words = ("--model", files / "model", "--out", tmp_path / "out", "--window-pooling", "max")
    done = run("annotate", files / "corpus.jsonl", *words, code=1)
    assert "window_pooling = 'max' is about windows" in done.stderr


def test_pooling_without_windows_is_refused_before_anything_is_fitted(files, tiny_backbone, tmp_path):
    fit = ("fit", files / "train.jsonl", "--backbone", tiny_backbone, "--out", tmp_path / "model")
    done = run(*fit, "--window-pooling", "max", code=1)
    assert "window_pooling = 'max' is about windows" in done.stderr
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    "words", [("--on-long", "cut"), ("--on-long", "window", "--window-pooling", "median")]
)
def test_unknown_words_are_refused(files, tmp_path, words):
    corpus = files / "corpus.jsonl"
    done = run("annotate", corpus, "--model", files / "model", "--out", tmp_path / "out", *words, code=1)
    assert "is unknown" in done.stderr
    with pytest.raises(BackboneError, match="is unknown"):
        Labeler.load(files / "model").read_long("cut")
