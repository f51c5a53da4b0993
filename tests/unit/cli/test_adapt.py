"""`textlabel adapt`: only the model travels, and a killed run goes on to the same bytes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import sealed
from commands import run, told
from tiny import snippets

from textlabel import Labeler
from textlabel.corpus.load import load_corpus
from textlabel.engine import source_free
from textlabel.errors import TextlabelError
from textlabel.models.backbone import load_backbone

ODD = "xylophone"  # in no file but where a text or an id is
SOURCE = [{**row, "id": f"{ODD}{i}", "text": f"{row['text']} {ODD}"} for i, row in enumerate(snippets(40))]
TARGET = [{**row, "id": f"{ODD}{i}"} for i, row in enumerate(snippets(31, seed=1))]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def home(tiny_backbone, tmp_path_factory):
    """Return a folder of a model, texts of another domain, and recipes of few steps."""
    folder = tmp_path_factory.mktemp("adapt")
    Labeler(tiny_backbone, cache=False).fit(SOURCE).save(folder / "model")
    write(folder / "target.jsonl", [{key: row[key] for key in ("id", "text")} for row in TARGET])
    write(folder / "bad.jsonl", [*TARGET, {"id": "x", "text": " "}])
    for name, objective in (("quick", "shot"), ("other", "tent")):
        stage = f'tune = "lora"\nobjective = "{objective}"\nrows = "unlabeled"\nepochs = 2\nbatch_size = 8\n'
        (folder / f"{name}.toml").write_text(f"[[stage]]\n{stage}learning_rate = 1e-2\n")
    return folder


def words(home, out, *more):
    common = ("--unlabeled", home / "target.jsonl", "--recipe", home / "quick.toml", "--out", out)
    return ("adapt", home / "model", *common, *more)


@pytest.fixture(scope="module")
def adapted(home):
    """Return the folder that the command writes, and what it tells."""
    return home / "model2", told(*words(home, home / "model2"))


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.*")}


def test_it_tells_what_it_did_and_leaves_nothing_else(home, adapted):
    out, summary = adapted
    assert (summary["model"], summary["recipe"], summary["texts"]) == (str(out), "quick", 31)
    assert summary["calibrated"] is False
    assert sum(summary["labels"]["before"].values()) == 31
    assert [path.name for path in home.iterdir() if path.name.startswith(".")] == []
    plain = run(*words(home, home / "told")).stdout
    assert "calibrated" in plain
    assert "labels that changed" in plain
    assert f"next: textlabel annotate {home / 'target.jsonl'} --model {home / 'told'}" in plain


def test_no_row_of_the_source_or_of_the_target_is_in_the_model(home, adapted, tiny_backbone):
    """Nor its tokens, as text or as numbers of any width, nor the features of a row."""
    out, _ = adapted
    files = contents(out)
    assert "textlabel.json" in files
    assert {"head.safetensors", "adapter-0/adapter_model.safetensors"} < set(files)
    encode = load_backbone(tiny_backbone).encode
    source = Labeler.load(home / "model")
    features = source.predict(load_corpus(SOURCE)).embeddings
    assert features is not None
    for name, data in files.items():
        assert ODD.encode() not in data, name
        for row in (*SOURCE, *TARGET):
            assert row["text"].encode() not in data, name
            [ids] = encode([row["text"]])
            for width in (np.int16, np.int32, np.int64):
                assert np.array(ids, width).tobytes() not in data, name
            assert json.dumps(ids) not in data.decode("latin-1"), name
        for row in features:
            assert row.astype(np.float32).tobytes() not in data, name


def test_the_card_says_that_confidence_is_not_calibrated(home, adapted):
    out, _ = adapted
    card = (out / "README.md").read_text()
    assert "**It is not calibrated**" in card
    assert "probability calibrated by" not in card
    assert "adapted without labels, 1" in card
    record = json.loads((out / "textlabel.json").read_text())["record"]
    assert record["adapted"][0]["started_from"]["model"] in card
    assert "is a probability calibrated by" in (home / "model" / "README.md").read_text()


def test_annotations_of_it_say_the_same_and_can_be_certified(home, adapted, tmp_path):
    out, _ = adapted
    labeled = tmp_path / "labeled"
    summary = told("annotate", home / "target.jsonl", "--model", out, "--out", labeled)
    assert summary["decisions"]["accepted"] == 0
    card = (labeled / "README.md").read_text()
    assert "**It is not calibrated**" in card
    assert "from those it was adapted to" in card
    run("audit", "draw", labeled, "--size", 20)
    sheet = labeled / "audit" / "sheet-1.csv"
    sealed.fill(sheet, {row["id"]: row["label"] for row in TARGET})
    run("audit", "import", labeled, sheet)
    found = told("certify", labeled, "--max-error", 0.9)
    assert found["audited"] == 20


class Killed(Exception):
    pass


@pytest.mark.slow
@pytest.mark.parametrize("at", [5, pytest.param(3, marks=pytest.mark.slow)])
def test_a_killed_adaptation_goes_on_to_the_same_bytes(home, tmp_path, monkeypatch, at):
    """Within the first epoch of four steps, and after its centroids were drawn anew."""
    real, steps = source_free.train, []

    def dying(*args, progress, checkpoint, **rest):
        def each(step, of, loss):
            steps.append(step)
            if len(steps) == at:
                raise Killed

        checkpoint.every = 0
        return real(*args, progress=each, checkpoint=checkpoint, **rest)

    monkeypatch.setattr(source_free, "train", dying)
    labeler, out = Labeler.load(home / "model"), tmp_path / "out"
    options = {"recipe": home / "quick.toml", "checkpoint": tmp_path / ".out.checkpoint"}
    with pytest.raises(Killed):
        labeler.adapt(home / "target.jsonl", **options)
    with pytest.raises(TextlabelError, match="belongs to another run; different: seed"):
        labeler.adapt(home / "target.jsonl", **options, seed=1)
    with pytest.raises(TextlabelError, match="belongs to another run; different: recipe"):
        labeler.adapt(home / "target.jsonl", **{**options, "recipe": home / "other.toml"})
    with pytest.raises(TextlabelError, match="belongs to another run; different: sha256, texts"):
        labeler.adapt(TARGET[:20], **options)
    run(*words(home, out))
    assert steps[: at + 1] == [*range(1, at + 1), at]  # what was done after the last save is done again
    assert not (tmp_path / ".out.checkpoint").exists()
    monkeypatch.setattr(source_free, "train", real)
    run(*words(home, tmp_path / "straight"))
    assert contents(out) == contents(tmp_path / "straight")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--recipe": "shoot"}, "unknown recipe 'shoot': did you mean 'shot'?"),
        ({"--recipe": "lora"}, "recipe 'lora' learns from labeled rows"),
        ({"--unlabeled": "nowhere.jsonl"}, "nowhere.jsonl"),
        ({"--text-column": "review"}, "review"),
        ({"--unlabeled": "bad.jsonl"}, "row 32, column 'text'"),
        ({"--out": "model"}, "is the model that is adapted: choose another folder"),
        ({"--out": "target.jsonl"}, "is a file; expected a folder"),
        ({"model": "nowhere"}, "no such folder"),
    ],
)
def test_bad_input_is_one_message(home, tmp_path, monkeypatch, change, message):
    monkeypatch.chdir(home)
    given = {"--unlabeled": "target.jsonl", "--recipe": "quick.toml", "--out": str(tmp_path / "out")}
    model = change.pop("model", "model")
    line = [word for pair in (given | change).items() for word in pair]
    done = run("adapt", model, *line, code=1)
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.glob("*out*")) == []


def test_bad_rows_can_be_left_out(home, tmp_path):
    more = ("--on-bad-row", "skip", "--reject-file", tmp_path / "rejects.jsonl")
    common = ("--recipe", home / "quick.toml", "--out", tmp_path / "out", "--unlabeled", home / "bad.jsonl")
    assert told("adapt", home / "model", *common, *more)["texts"] == 31
    assert json.loads((tmp_path / "rejects.jsonl").read_text())["row"] == 32
