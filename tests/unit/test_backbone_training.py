"""A backbone trained on several tasks is a folder that everything reads, and tells nothing of their rows."""

from __future__ import annotations

import csv
import json
import logging
import shutil

import numpy as np
import pytest
import torch
from commands import run, told
from tiny import snippets, write_static
from transformers import AutoModel, AutoTokenizer

import textlabel
from textlabel import Labeler, Recipe, train_backbone
from textlabel.errors import BackboneError, CorpusError, RecipeError, TextlabelError
from textlabel.models.backbone import load_backbone

ODD = "xylophone"  # in no file but where a text, an id or a label is


def rows_of(n=40, seed=0, classes=2):
    rows = snippets(n, seed)
    return [{**r, "id": f"{ODD}{i}", "label": f"{ODD}_{i % classes}"} for i, r in enumerate(rows)]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return a folder of three tasks, one in a user's own columns, and of files that are none."""
    folder = tmp_path_factory.mktemp("tasks")
    plain = {"moods": rows_of(), "steps": rows_of(45, 1, 3)}
    plain["one"] = [{**r, "label": "same"} for r in rows_of()]
    plain["rare"] = [*rows_of(), {"id": "x", "text": "the only one", "label": "rare"}]
    plain["scores"] = [{**r, "label": f"{i / 7:.2f}"} for i, r in enumerate(rows_of())]
    plain["bad"] = [*rows_of(seed=2), {"id": "x", "text": " ", "label": f"{ODD}_0"}]
    for name, rows in plain.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with (folder / "user.csv").open("w", newline="") as file:
        own = [(row["text"], row["label"]) for row in plain["moods"]]
        csv.writer(file).writerows([("review", "verdict"), *own])
    return folder


@pytest.fixture(scope="module")
def quick(files):
    """Return a recipe of few steps."""
    path = files / "quick.toml"
    stage = 'tune = "lora"\nobjective = { name = "episodic", shots = 2, queries = 2 }\nrows = "tasks"\n'
    path.write_text(f"[[stage]]\n{stage}epochs = 1\nlearning_rate = 1e-2\nbatch_size = 40\n")
    return path


@pytest.fixture(scope="module")
def trained(files, quick, tiny_backbone):
    """Return the folder that the command writes, and what it tells."""
    out = files / "start"
    words = ("train-backbone", "--task", f"moods={files / 'moods.jsonl'}", "--task")
    words += (f"steps={files / 'steps.jsonl'}", "--backbone", tiny_backbone, "--recipe", quick)
    return out, told(*words, "--max-length", 40, "--pooling", "cls", "--seed", 3, "--out", out)


def test_the_command_tells_what_it_did_and_leaves_nothing_else(trained, files):
    out, summary = trained
    assert summary["out"] == str(out)
    assert summary["tasks"] == {"moods": "40 rows, 2 classes", "steps": "45 rows, 3 classes"}
    assert sorted(p.name for p in files.iterdir() if p.name.startswith(".")) == []
    record = json.loads((out / "train_backbone.json").read_text())
    assert record["seed"] == 3
    assert record["recipe"]["name"] == "quick"
    assert record["tasks"]["steps"].keys() == {"rows", "classes", "sha256"}
    assert record["versions"]["textlabel"] == textlabel.__version__


def test_it_is_a_backbone_that_keeps_how_it_is_read(trained, tiny_backbone):
    out, _ = trained
    info = load_backbone(out).info
    assert (info.pooling, info.max_length, info.normalize, info.layers) == ("cls", 40, False, 1)
    new, old = load_backbone(out).body.state_dict(), load_backbone(tiny_backbone).body.state_dict()
    assert new.keys() == old.keys()
    assert any((new[k] != old[k]).any() for k in new)


def test_transformers_reads_it_and_says_the_same(trained):
    out, _ = trained
    backbone = load_backbone(out)
    model, tokenizer = AutoModel.from_pretrained(out).eval(), AutoTokenizer.from_pretrained(out)
    inputs = tokenizer(["good film was it"], return_tensors="pt")
    assert inputs["input_ids"][0].tolist() == backbone.encode(["good film was it"])[0]
    with torch.no_grad():
        found = [body(**inputs).last_hidden_state for body in (model, backbone.body)]
    torch.testing.assert_close(*found)


def test_no_text_id_label_or_path_is_in_the_folder(trained, files, tiny_backbone):
    out, _ = trained
    names = sorted(p.name for p in out.iterdir())
    assert names == [
        *("config.json", "model.safetensors", "textlabel_backbone.json", "tokenizer.json"),
        *("tokenizer_config.json", "train_backbone.json"),
    ]
    texts = [row["text"].encode() for row in (*rows_of(), *rows_of(45, 1, 3))]
    for path in out.iterdir():
        data = path.read_bytes()
        assert ODD.encode() not in data
        assert str(files).encode() not in data
        assert str(tiny_backbone).encode() not in data
        assert not any(text in data for text in texts)


def test_fit_starts_from_it(trained, tmp_path):
    out, _ = trained
    few = tmp_path / "few.jsonl"
    few.write_text("".join(json.dumps(row) + "\n" for row in snippets(20, seed=5)))
    run("fit", few, "--backbone", out, "--out", tmp_path / "model")
    labeler = Labeler.load(tmp_path / "model")
    assert labeler.bundle.classifier.info.pooling == "cls"
    assert len(labeler.annotate(snippets(6, seed=6))) == 6


def test_python_does_the_same_from_any_source_for_a_seed(trained, files, quick, tiny_backbone, tmp_path):
    tasks = {"moods": rows_of(), "steps": rows_of(45, 1, 3)}
    options = {"backbone": tiny_backbone, "recipe": quick, "max_length": 40, "pooling": "cls"}
    for seed in (3, 4):
        train_backbone(tasks, out=tmp_path / str(seed), seed=seed, **options)
    weights = [
        (folder / "model.safetensors").read_bytes() for folder in (trained[0], tmp_path / "3", tmp_path / "4")
    ]
    assert weights[0] == weights[1] != weights[2]
    records = [json.loads((f / "train_backbone.json").read_text()) for f in (trained[0], tmp_path / "3")]
    assert records[0] == records[1]


def test_own_columns_and_bad_rows(files, quick, tiny_backbone, tmp_path):
    words = ("train-backbone", "--backbone", tiny_backbone, "--recipe", quick, "--out", tmp_path / "out")
    own = ("--text-column", "review", "--label-column", "verdict")
    assert told(*words, "--task", f"mine={files / 'user.csv'}", *own)["tasks"] == {
        "mine": "40 rows, 2 classes"
    }
    shutil.rmtree(tmp_path / "out")
    words += ("--checkpoint", tmp_path / "kept")
    assert told(*words, "--task", f"bad={files / 'bad.jsonl'}", "--on-bad-row", "skip")["tasks"]
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["tasks-0.safetensors"]
    shutil.rmtree(tmp_path / "out")
    message = run(*words, "--task", f"bad={files / 'bad.jsonl'}", code=1).stderr
    assert "task 'bad'" in message
    assert "bad.jsonl, row 41, column 'text'" in message


@pytest.mark.parametrize(
    ("tasks", "messages"),
    [
        (["a=moods", "a=steps"], ["task 'a' is given twice", "moods.jsonl", "steps.jsonl"]),
        (["a=moods", "b=moods"], ["tasks 'a' and 'b' hold the same rows"]),
        (["a=one"], ["task 'a'", "one.jsonl", "holds 1 class"]),
        (["a=rare"], ["task 'a'", "rare.jsonl", "class 'rare' has 1 row, expected 2 or more"]),
        (
            ["a=scores"],
            ["task 'a'", "scores.jsonl", "the labels are scores, 40 different numbers in 40 rows"],
        ),
        (["a=nowhere"], ["task 'a'", "nowhere.jsonl"]),
        (["moods"], ["expected NAME=FILE"]),
        (["=moods"], ["expected NAME=FILE"]),
    ],
)
def test_bad_tasks_are_told_in_one_message(files, quick, tiny_backbone, tmp_path, tasks, messages):
    words = [
        ("--task", f"{name}={files / what}.jsonl") if what else ("--task", name)
        for name, _, what in (task.partition("=") for task in tasks)
    ]
    words = [word for pair in words for word in pair]
    common = ("--backbone", tiny_backbone, "--recipe", quick, "--out", tmp_path / "out")
    done = run("train-backbone", *words, *common, code=1)
    for message in messages:
        assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.glob("out*")) == []


def test_a_folder_that_holds_something_is_refused_before_any_work(files, tmp_path, trained):
    (tmp_path / "notes.txt").write_text("mine")
    for taken in (tmp_path, trained[0], files / "moods.jsonl"):
        with pytest.raises(BackboneError, match=r"not empty|holds something already|is a file"):
            train_backbone({"a": files / "moods.jsonl"}, out=taken, backbone="no such backbone")
    with pytest.raises(CorpusError, match="no task to learn from"):
        train_backbone({}, out=tmp_path / "out")


def test_recipes_of_tasks_and_of_labels_are_not_taken_for_each_other(files, tiny_backbone, tmp_path):
    with pytest.raises(RecipeError, match="'lora' reads labeled rows of one task"):
        train_backbone({"a": files / "moods.jsonl"}, out=tmp_path / "out", recipe="lora")
    for name in ("episodic", "anil", "reptile", "multi_task"):
        with pytest.raises(RecipeError, match=f"'{name}' trains a backbone on several tasks.*train-backbone"):
            Labeler(tiny_backbone, name).fit(snippets(20))
    mixed = {
        "stage": [
            {"tune": "lora", "objective": "multi_task", "rows": "tasks"},
            {"tune": "head", "objective": "cross_entropy"},
        ]
    }
    with pytest.raises(RecipeError, match="all stages read rows of tasks, or none may"):
        Recipe.from_dict(mixed)
    both = {"tune": "lora", "objective": ["multi_task", "cross_entropy"], "rows": "tasks"}
    with pytest.raises(RecipeError, match="a stage that reads rows of tasks cannot read others"):
        Recipe.from_dict({"stage": [both]})


class Killed(Exception):
    pass


def test_a_killed_training_goes_on(files, quick, tiny_backbone, tmp_path, monkeypatch):
    from textlabel.engine import source_tasks

    real, steps = source_tasks.train, []

    def dying(*args, progress, checkpoint, **rest):
        def each(step, of, loss):
            steps.append(step)
            if len(steps) == 2:
                raise Killed

        checkpoint.every = 0
        return real(*args, progress=each, checkpoint=checkpoint, **rest)

    tasks = {"moods": files / "moods.jsonl", "steps": files / "steps.jsonl"}
    options = {"backbone": tiny_backbone, "recipe": quick}
    monkeypatch.setattr(source_tasks, "train", dying)
    with pytest.raises(Killed):
        train_backbone(tasks, out=tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()
    with pytest.raises(TextlabelError, match="belongs to another run; different: seed"):
        train_backbone(tasks, out=tmp_path / "out", seed=1, **options)
    with pytest.raises(
        TextlabelError, match="belongs to another run; different: tasks"
    ):  # classes are numbered
        train_backbone(dict(reversed(tasks.items())), out=tmp_path / "out", **options)
    train_backbone(tasks, out=tmp_path / "out", checkpoint=tmp_path / ".out.checkpoint", **options)
    assert steps[:3] == [1, 2, 2]
    assert (tmp_path / "out" / "model.safetensors").is_file()
    monkeypatch.setattr(source_tasks, "train", real)
    train_backbone(tasks, out=tmp_path / "straight", **options)
    files = [tmp_path / name / "model.safetensors" for name in ("out", "straight")]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize("layers", [1, 2])
def test_several_layers_are_kept(files, quick, tiny_backbone, tmp_path, layers):
    record = tiny_backbone / "config.json"
    start = tmp_path / "start"
    shutil.copytree(record.parent, start)
    (start / "textlabel_backbone.json").write_text(json.dumps({"layers": layers, "normalize": True}))
    train_backbone({"a": files / "moods.jsonl"}, out=tmp_path / "out", backbone=start, recipe=quick)
    info = load_backbone(tmp_path / "out").info
    assert (info.layers, info.normalize, info.origin) == (layers, True, "path")


def test_a_static_backbone_trains_whole(files, tmp_path):
    start = write_static(tmp_path / "static")
    with pytest.raises(RecipeError, match="or a stage with tune = 'full'"):
        train_backbone({"a": files / "moods.jsonl"}, out=tmp_path / "out", backbone=start)
    stage = {"tune": "full", "objective": "multi_task", "rows": "tasks", "epochs": 2, "learning_rate": 1e-2}
    recipe = Recipe.from_dict({"name": "whole", "stage": [stage]})
    tasks = {"a": files / "moods.jsonl", "b": files / "steps.jsonl"}
    train_backbone(tasks, out=tmp_path / "out", backbone=start, recipe=recipe)
    new, old = load_backbone(tmp_path / "out"), load_backbone(start)
    assert new.info.kind == "static"
    texts = ["good film", "bad plot"]
    assert np.array_equal(new.encode(texts)[0], old.encode(texts)[0])


def test_classes_of_few_rows_are_left_out_with_a_warning(files, quick, tiny_backbone, tmp_path, caplog):
    rows = [*rows_of(), *({"text": f"a phone {word}", "label": "few"} for word in ("it", "was"))]
    with caplog.at_level(logging.WARNING):
        train_backbone({"a": rows}, out=tmp_path / "out", backbone=tiny_backbone, recipe=quick)
    assert "1 classes have less than 3 different texts" in caplog.text
