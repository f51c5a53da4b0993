"""Several tasks at once, from the command line and from a job."""

from __future__ import annotations

import csv
import json
import re
import shutil

import pytest
from commands import run, told
from datasets import load_from_disk
from tiny import snippets

from textlabel import Labeler, MultiLabeler, tasks
from textlabel.annotating import Annotate
from textlabel.errors import CorpusError
from textlabel.job import Job
from textlabel.steps import Evaluate
from textlabel.task_columns import joined

TASKS = ("--task", "sentiment=label", "--task", "topic=section")


def write(file, rows):
    with file.open("w", newline="") as opened:
        writer = csv.DictWriter(opened, ["id", "text", "label", "section"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return file


def rows(n, seed):
    found = [{**row, "section": "film" if i % 3 else "phone"} for i, row in enumerate(snippets(n, seed))]
    for i in range(0, n, 5):
        found[i]["label"] = ""
    for i in range(3, n, 7):
        found[i]["section"] = ""
    return found


@pytest.fixture(scope="module")
def files(tiny_backbone, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tasks")
    write(folder / "train.csv", rows(60, 0))
    write(folder / "gold.csv", rows(30, 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run("fit", "train.csv", *TASKS, "--backbone", tiny_backbone, "--no-cache", "--out", "m")
    return folder


@pytest.fixture(autouse=True)
def there(files, monkeypatch):
    monkeypatch.chdir(files)


def test_fit_tells_of_each_task(tiny_backbone, tmp_path):
    words = ("fit", "train.csv", *TASKS, "--backbone", tiny_backbone, "--no-cache", "--out", tmp_path / "m")
    shown = run(*words).stdout
    assert "[sentiment]\nbackbone" in shown
    assert "labels      train 48, calibration out-of-fold (5), audit 0" in shown
    summary = told(*words)
    assert summary["tasks"]["topic"]["classes"] == ["film", "phone"]
    assert summary["tasks"]["topic"]["labels"]["train"] == 51
    assert not list(tmp_path.glob(".m*"))


def test_the_model_is_that_of_python(tiny_backbone):
    several = MultiLabeler({"sentiment": "label", "topic": "section"}, tiny_backbone, cache=False)
    several.fit("train.csv")
    for task, one in MultiLabeler.load("m").labelers.items():
        assert one.bundle.digest() == several.labelers[task].bundle.digest()


def test_every_task_is_annotated_and_evaluated_as_by_its_own_model(tmp_path):
    out = tmp_path / "out"
    summary = told("annotate", "gold.csv", "--model", "m", "--out", out, "--min-confidence", "0.6")
    assert list(summary["tasks"]) == ["sentiment", "topic"]
    assert summary["tasks"]["topic"]["from_cache"] == 30  # the first task read them
    run("annotate", "gold.csv", "--model", "m/topic", "--out", tmp_path / "alone", "--min-confidence", "0.6")
    assert load_from_disk(out / "topic").to_list() == load_from_disk(tmp_path / "alone").to_list()
    found = told("evaluate", out, "--gold", "gold.csv")["tasks"]
    assert (found["sentiment"]["n"], found["topic"]["n"]) == (24, 26)
    shown = run("evaluate", out, "--gold", "gold.csv").stdout
    assert shown.startswith("[sentiment]\nrows with a gold label")
    assert "\n\n[topic]\nrows with a gold label" in shown
    assert "24 of 30" in shown


@pytest.mark.parametrize("form", ["dataset", "csv"])
def test_the_tasks_are_joined_to_one_corpus(tmp_path, form):
    corpus = write(tmp_path / "corpus.csv", rows(30, 1))
    run("annotate", corpus, "--model", "m", "--out", tmp_path / "out", "--format", form)
    found, python = joined(tmp_path / "out"), MultiLabeler.load("m").annotate(corpus)
    assert found.column_names == python.column_names
    assert found.features == python.features
    for name in found.column_names:
        if not name.endswith(("confidence", "margin", "ood_score", "probabilities")):  # last digits differ
            assert found[name][:] == python[name][:], name
    run("annotate", "train.csv", "--model", "m/topic", "--out", tmp_path / "out" / "topic")
    with pytest.raises(CorpusError, match=r"task 'topic' of .* has other rows than the first"):
        joined(tmp_path / "out")
    other = write(tmp_path / "other.csv", [*rows(30, 1)[:29], {**rows(30, 1)[29], "text": "another text"}])
    run("annotate", other, "--model", "m/topic", "--out", tmp_path / "out" / "topic")
    with pytest.raises(CorpusError, match="row 29 is not of the same text"):
        joined(tmp_path / "out")


def test_a_score_by_which_rows_are_ordered_is_of_its_task(tmp_path):
    run("annotate", "gold.csv", "--model", "m", "--out", tmp_path / "out", "--order-by", "ensemble")
    names = joined(tmp_path / "out").column_names
    assert {"sentiment_ensemble", "topic_ensemble"} < set(names)
    assert "ensemble" not in names


def test_a_task_without_gold_labels_is_left_out(tmp_path, caplog):
    out, gold = tmp_path / "out", tmp_path / "gold.csv"
    run("annotate", "gold.csv", "--model", "m", "--out", out)
    write(gold, [{**row, "section": ""} for row in rows(30, 1)])
    assert list(Evaluate(str(out), str(gold)).evaluations()) == ["sentiment"]
    assert "task 'topic' is left out: no row" in caplog.text
    write(gold, [{**row, "section": "", "label": " "} for row in rows(30, 1)])
    refused = run("evaluate", out, "--gold", gold, code=1).stderr
    assert "has a label of any task; expected one at least in column 'label' or 'section'" in refused
    refused = run("evaluate", out, "--gold", "gold.csv", "--label-column", "section", code=1).stderr
    assert "label_column is not for several tasks" in refused
    refused = run("audit", "draw", out, "--size", "5", code=1).stderr
    assert f"It holds those of several tasks: take one, {out / 'sentiment'}" in refused.replace("\n", "")


def test_a_task_is_audited_as_any_corpus_and_keeps_its_answers(tmp_path):
    out = tmp_path / "out"
    shown = run("annotate", "gold.csv", "--model", "m", "--out", out, "--format", "csv").stdout
    assert "[topic]\nannotations" in shown
    run("annotate", "gold.csv", "--model", "m", "--out", out, "--format", "csv")  # replaces the older one
    run("audit", "draw", out / "topic", "--size", "5")
    refused = run("annotate", "gold.csv", "--model", "m", "--out", out, code=1).stderr
    assert "holds draws or answers of people" in refused
    assert (out / "sentiment" / "annotations.csv").is_file()


def test_people_s_labels_stand_in_the_task_that_they_are_of(tmp_path):
    out = tmp_path / "out"
    run("annotate", "gold.csv", "--model", "m", "--out", out, "--gold", "gold.csv")
    for task, count in (("sentiment", 24), ("topic", 26)):
        assert load_from_disk(out / task)["source"][:].count("human") == count


def test_a_job_of_several_tasks(tiny_backbone, tmp_path):
    job = tmp_path / "job.toml"
    job.write_text(
        f"""
        [fit]
        train = "{(tmp_path / "train.csv").as_posix()}"
        task = ["sentiment=label", "topic=section"]
        backbone = "{tiny_backbone.as_posix()}"
        out = "m"
        [annotate]
        corpus = "gold.csv"
        out = "out"
        [evaluate]
        gold = "gold.csv"
        """
    )
    write(tmp_path / "train.csv", rows(60, 0))
    write(tmp_path / "gold.csv", rows(30, 1))
    shown = run("run", job).stdout
    assert shown.count("[topic]") == 3
    assert Job.load(job).steps["evaluate"].run()["tasks"]["topic"]["n"] == 26


def test_structure_by_task(tiny_backbone, tmp_path):
    words = ("fit", "train.csv", *TASKS, "--backbone", tiny_backbone, "--no-cache", "--out", tmp_path / "m")
    (tmp_path / "tree.json").write_text(json.dumps({"topic": {"any": ["film", "phone"], "none": []}}))
    (tmp_path / "words.json").write_text(json.dumps({"topic": {"film": "about a film"}}))
    refused = run(*words, "--label-tree", tmp_path / "tree.json", code=1).stderr
    assert "task 'topic'" in refused
    run(*words, "--descriptions", tmp_path / "words.json")
    schemas = {task: one.schema for task, one in MultiLabeler.load(tmp_path / "m").labelers.items()}
    assert schemas["topic"].descriptions == ("about a film", "phone")
    assert not schemas["sentiment"].descriptions
    (tmp_path / "words.json").write_text(json.dumps({"film": "about a film"}))
    refused = run(*words, "--descriptions", tmp_path / "words.json", code=1).stderr
    assert "'film' holds no object; expected one for each task" in refused


def test_back_off_is_for_the_tasks_that_have_a_tree(tiny_backbone, tmp_path):
    (tmp_path / "tree.json").write_text(json.dumps({"topic": {"device": ["phone"], "art": ["film"]}}))
    words = ("fit", "train.csv", *TASKS, "--backbone", tiny_backbone, "--no-cache", "--out", tmp_path / "m")
    run(*words, "--label-tree", tmp_path / "tree.json")
    words = ("annotate", "gold.csv", "--out", tmp_path / "out", "--back-off", "0.6")
    run(*words, "--model", tmp_path / "m")
    assert "node" in load_from_disk(tmp_path / "out" / "topic").column_names
    assert "node" not in load_from_disk(tmp_path / "out" / "sentiment").column_names
    assert "knows no label tree" in run(*words, "--model", "m", code=1).stderr


def test_class_shares_are_of_one_task_or_those_of_the_labeled_rows(tiny_backbone, tmp_path):
    words = ("fit", "train.csv", *TASKS, "--backbone", tiny_backbone, "--no-cache", "--out", tmp_path / "m")
    run(*words)
    words = ("annotate", "gold.csv", "--model", tmp_path / "m", "--out", tmp_path / "out", "--class-shares")
    assert "annotate task by task" in run(*words, "positive=.5,negative=.5", code=1).stderr
    summary = run(*words, "labeled")
    assert summary.stdout.count("corrected for stated shares") == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--task", "topic"), "task 'topic': expected NAME=COLUMN, such as topic=section"),
        (("--task", "a=label", "--task", "a=section"), "task 'a' is named twice"),
        (("--task", "a=lable"), "task 'a': .*there is no column 'lable'.*: did you mean 'label'"),
        ((*TASKS, "--recipe", "lora"), "recipe 'lora' trains the backbone, and several tasks share one"),
        ((*TASKS, "--label-column", "x"), r"label_column is not for several tasks \(each task names its own"),
        ((*TASKS, "--classes", "a,b"), "classes is not for several tasks"),
        ((*TASKS, "--ordered", "a,b"), "ordered is not for several tasks"),
        ((*TASKS, "--budget", "10m"), "budget is not for several tasks"),
        ((*TASKS, "--reject-file", "r"), "reject_file is not for several tasks"),
        ((*TASKS, "--out", "m/topic"), "is no folder of tasks; choose another folder"),
    ],
)
def test_what_cannot_be_fitted(tiny_backbone, tmp_path, words, message):
    out = () if "--out" in words else ("--out", tmp_path / "m")
    refused = run("fit", "train.csv", "--backbone", tiny_backbone, *out, *words, code=1)
    assert re.search(message, refused.stderr), refused.stderr
    assert not (tmp_path / "m").exists()


def test_without_labeled_rows_there_are_no_tasks(tmp_path):
    assert "several tasks learn from labeled rows" in run("fit", *TASKS, "--out", tmp_path, code=1).stderr


def test_what_cannot_be_annotated(tmp_path):
    words = ("annotate", "gold.csv", "--model", "m", "--out")
    for more, message in (
        (("s3://bucket/out",), "is a URL, and a model of several tasks writes folders on a disk"),
        ((tmp_path / "out", "--push-to-hub", "a/b"), "push_to_hub is not for a model of several tasks"),
        ((tmp_path / "out", "--resume"), "an unfinished run goes on in any case"),
        ((tmp_path / "out", "--label-column", "section"), "each task has the column that it was fitted with"),
        (("m",), "is a model, not annotations"),
    ):
        assert message in run(*words, *more, code=1).stderr
    run("annotate", "gold.csv", "--model", "m/topic", "--out", tmp_path / "one")
    assert "holds no annotations for several tasks" in run(*words, tmp_path / "one", code=1).stderr
    run(*words, tmp_path / "out")
    refused = run("annotate", "gold.csv", "--model", "m/topic", "--out", tmp_path / "out", code=1).stderr
    assert "not an earlier output of textlabel" in refused


def test_other_commands_say_which_models_there_are():
    refused = run("optimize", "m", "--on", "gold.csv", code=1).stderr
    assert "holds a model for each of several tasks: take one, m/sentiment or m/topic" in refused
    assert Labeler.load("m/topic").schema.names == ("film", "phone")


def stopped_in(monkeypatch, task):
    """Let the run of one task end as if the command were killed; return what puts it right again."""
    label = Annotate.label

    def until(step, *given):
        if step.model.endswith(task):
            raise KeyboardInterrupt
        return label(step, *given)

    monkeypatch.setattr(Annotate, "label", until)
    return lambda: monkeypatch.setattr(Annotate, "label", label)


def test_a_stopped_run_goes_on_in_its_task(tmp_path, monkeypatch):
    corpus, out = write(tmp_path / "corpus.csv", rows(30, 1)), tmp_path / "out"
    words = ("annotate", corpus, "--model", "m", "--out", out)
    go_on = stopped_in(monkeypatch, "topic")
    run(*words, code=130)
    assert not tasks.are_in(out)
    assert "no textlabel.json here" in run("evaluate", out, "--gold", "gold.csv", code=1).stderr
    made = (out / "sentiment" / "textlabel.json").stat().st_ino
    go_on()
    summary = told(*words)
    assert list(summary["tasks"]) == ["sentiment", "topic"]
    assert summary["tasks"]["sentiment"]["rows"] == 30
    assert (out / "sentiment" / "textlabel.json").stat().st_ino == made
    assert sorted(path.name for path in out.iterdir()) == ["sentiment", "tasks.json", "topic"]


@pytest.mark.parametrize("change", ["corpus", "settings", "fresh"])
def test_a_stopped_run_of_something_else_begins_again(tmp_path, monkeypatch, change):
    corpus, out = write(tmp_path / "corpus.csv", rows(30, 1)), tmp_path / "out"
    words = ["annotate", corpus, "--model", "m", "--out", out]
    go_on = stopped_in(monkeypatch, "topic")
    run(*words, code=130)
    made = (out / "sentiment" / "textlabel.json").stat().st_ino
    go_on()
    if change == "corpus":
        write(corpus, rows(31, 2))
    words += {"corpus": [], "settings": ["--min-confidence", "0.7"], "fresh": ["--fresh"]}[change]
    assert told(*words)["tasks"]["sentiment"]["rows"] == (31 if change == "corpus" else 30)
    assert (out / "sentiment" / "textlabel.json").stat().st_ino != made


def test_what_one_task_lacks_is_told_before_any_is_labeled(tmp_path):
    shutil.copytree("m", tmp_path / "m")
    (tmp_path / "m" / "topic" / "head.safetensors").write_bytes(b"")
    refused = run("annotate", "gold.csv", "--model", tmp_path / "m", "--out", tmp_path / "out", code=1).stderr
    assert "task 'topic'" in refused
    assert not (tmp_path / "out").exists()


def test_gold_rows_without_a_label_of_one_task(tmp_path):
    gold = write(tmp_path / "gold.csv", [{**row, "section": ""} for row in rows(30, 1)])
    shown = run("annotate", "gold.csv", "--model", "m", "--out", tmp_path / "out", "--gold", gold).stderr
    assert "no row has a label in column 'section'" in shown
    assert load_from_disk(tmp_path / "out" / "sentiment")["source"][:].count("human") == 24
