"""Several tasks on one backbone: each as if alone, and every text read once."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
from datasets import Dataset
from tiny import TOLD_BY, snippets, write_static

from textlabel import Labeler, MultiLabeler
from textlabel.engine.pytorch import TorchBackend
from textlabel.errors import BundleError, CorpusError, RecipeError
from textlabel.task_columns import of_task

TASKS = {"sentiment": "label", "topic": "section"}
OURS = ["label", "confidence", "probabilities", "margin", "prediction_set", "ood_score", "decision", "source"]


def rows(n: int = 60, seed: int = 0) -> list[dict[str, str]]:
    """Return texts with two labels each."""
    return [{**row, "section": "film" if i % 3 else "phone"} for i, row in enumerate(snippets(n, seed))]


def holes(n: int = 60) -> list[dict[str, str | None]]:
    """Return rows of which some lack one label, and some both."""
    lacking = {i: {"label": ""} for i in range(0, n, 5)}
    found = [{**row, **lacking.get(i, {})} for i, row in enumerate(rows(n))]
    return [{**row, "section": None} if i % 7 == 3 else row for i, row in enumerate(found)]


CORPUS = [{"id": f"c{i}", "text": row["text"], "page": i} for i, row in enumerate(snippets(40, seed=1))]


@pytest.fixture(scope="module")
def labeler(tiny_backbone):
    return MultiLabeler(TASKS, tiny_backbone, cache=False).fit(rows())


@pytest.fixture
def passed(monkeypatch):
    """Count the texts that go through a body."""
    counted, padded = [0], TorchBackend._padded

    def count(self, batches):
        def each():
            for ids, mask in batches:
                counted[0] += len(ids)
                yield ids, mask

        return padded(self, each())

    monkeypatch.setattr(TorchBackend, "_padded", count)
    return counted


@pytest.mark.parametrize("recipe", ["head", pytest.param("auto", marks=pytest.mark.slow)])
def test_each_model_is_that_of_a_labeler_alone_to_the_bit(tiny_backbone, recipe):
    several = MultiLabeler(TASKS, tiny_backbone, recipe, cache=False, seed=3).fit(rows())
    for task, column in TASKS.items():
        alone = Labeler(tiny_backbone, recipe, cache=False, seed=3, budget=0).fit(rows(), label_column=column)
        for made in (alone, several.labelers[task]):
            for trial in made.bundle.record.get("tried", []):
                trial["seconds"] = 0
        assert several.labelers[task].bundle.digest() == alone.bundle.digest()


def test_rows_without_a_label_of_a_task_are_not_its_rows(tiny_backbone, tmp_path, caplog):
    # the same cache: features computed beside other texts differ in their last bits
    caplog.set_level(logging.INFO, "textlabel")
    several = MultiLabeler(TASKS, tiny_backbone, cache=tmp_path).fit(holes())
    assert "task 'sentiment': 48 of 60 rows have a label of it" in caplog.messages
    assert "task 'topic': 51 of 60 rows have a label of it" in caplog.messages
    for task, column in TASKS.items():
        own = [row for row in holes() if row[column]]
        alone = Labeler(tiny_backbone, cache=tmp_path).fit(own, label_column=column)
        assert several.labelers[task].bundle.digest() == alone.bundle.digest()


@pytest.mark.parametrize("cache", [False, True])
@pytest.mark.parametrize("gigabytes", ["0", "4"])
def test_a_text_goes_through_the_body_once(tiny_backbone, passed, monkeypatch, cache, gigabytes):
    monkeypatch.setenv("TEXTLABEL_CACHE_GB", gigabytes)
    several = MultiLabeler(TASKS, tiny_backbone, cache=cache).fit(holes())
    assert passed[0] == len({row["text"] for row in holes() if row["label"] or row["section"]}) == 58
    for seed in (1, 2):  # the second corpus finds nothing of the first, and is read once, too
        passed[0] = 0
        several.annotate([{"text": row["text"]} for row in snippets(40, seed)])
        assert passed[0] == 40


def test_bodies_that_are_saved_and_loaded_are_read_once_and_kept_once(labeler, passed, tmp_path):
    loaded = MultiLabeler.load(labeler.save(tmp_path / "m"), cache=False)
    made = loaded.annotate(CORPUS)
    assert passed[0] == len(CORPUS)
    sentiment, topic = (one.bundle.classifier for one in loaded.labelers.values())
    assert sentiment.body is topic.body
    before = labeler.annotate(CORPUS)
    assert made.column_names == before.column_names
    for name in made.column_names:
        assert made[name][:] == before[name][:], name


def test_what_is_remembered_is_forgotten_after_the_call(labeler):
    labeler.annotate(CORPUS)
    assert labeler._shared.known("any") == []
    assert labeler._shared._known is None


def test_the_joined_corpus(labeler):
    made = labeler.annotate(CORPUS)
    expected = [f"{task}_{name}" for task in TASKS for name in OURS]
    assert made.column_names == ["id", "text", *expected, "page"]
    assert made["id"][:] == [row["id"] for row in CORPUS]
    assert made["page"][:] == list(range(40))
    for task in TASKS:
        alone = labeler.labelers[task].annotate(CORPUS)
        mine = of_task(made, task)
        for name in ("id", "text", *OURS):
            assert mine.features[name] == alone.features[name]
            assert mine[name][:] == alone[name][:], name


def test_options_by_task(labeler):
    made = labeler.annotate(CORPUS, min_confidence={"topic": 0.0}, out_of_scope_rate=0.1)
    assert set(made["topic_decision"][:]) <= {"accepted", "out_of_scope"}
    assert "review" in made["sentiment_decision"][:]
    with pytest.raises(RecipeError, match="min_confidence: unknown task 'topik': did you mean 'topic'"):
        labeler.annotate(CORPUS, min_confidence={"topik": 0.5})


def test_columns_that_would_clash_are_refused(labeler, tiny_backbone):
    with pytest.raises(CorpusError, match="has a column 'topic_label', which task 'topic' may write"):
        labeler.annotate([{"text": "good film", "topic_label": "film"}])
    with pytest.raises(RecipeError, match="'a' and 'a_node' would both write a column 'a_node_confidence'"):
        MultiLabeler({"a": "label", "a_node": "section"}, tiny_backbone)
    own = MultiLabeler({"topic": "topic_label"}, tiny_backbone)
    with pytest.raises(CorpusError, match="has a column 'topic_label', which task 'topic' may write"):
        own.fit([{"text": row["text"], "topic_label": row["section"]} for row in rows()])


def test_gold_rows_may_have_columns_with_names_of_ours_and_bad_rows(labeler):
    gold = [{**row, "topic_confidence": "sure"} for row in rows(20, seed=1)]
    gold[3]["text"] = " "
    found = labeler.evaluate(gold, on_bad_row="skip")
    assert (found["sentiment"].n, found["topic"].n) == (19, 19)
    with pytest.raises(CorpusError, match=r"row 4, column .text.: the text is empty"):
        labeler.evaluate(gold)
    with pytest.raises(RecipeError, match="reject_file is of one task"):
        labeler.evaluate(gold, on_bad_row="skip", reject_file="r.jsonl")


def test_a_fit_that_fails_changes_no_task(tiny_backbone):
    several = MultiLabeler(TASKS, tiny_backbone, cache=False).fit(rows())
    before = [one.bundle.digest() for one in several.labelers.values()]
    few = [{**row, "section": "film" if i else "phone"} for i, row in enumerate(snippets(20))]
    with pytest.raises(CorpusError, match="task 'topic': class 'phone' has 1 row"):
        several.fit(few)
    assert [one.bundle.digest() for one in several.labelers.values()] == before


def test_only_a_folder_of_models_is_replaced(labeler, tmp_path):
    folder = labeler.save(tmp_path / "m")
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(BundleError, match=r"notes.txt is not of a model and would be lost"):
        labeler.save(folder)
    (folder / "notes.txt").unlink()
    (folder / "topic" / "audit").mkdir()
    with pytest.raises(BundleError, match=r"topic is not a model and would be lost"):
        labeler.save(folder)
    (folder / "topic" / "audit").rmdir()
    model = (folder / "topic" / "textlabel.json").read_text()
    (folder / "topic" / "textlabel.json").write_text('{"rows": 3}')  # of annotations
    with pytest.raises(BundleError, match=r"topic is not a model and would be lost"):
        labeler.save(folder)
    (folder / "topic" / "textlabel.json").write_text(model)
    labeler.save(folder)


def test_evaluation_is_of_the_rows_that_have_a_label(labeler):
    gold = [{**row, "section": "" if i < 10 else row["section"]} for i, row in enumerate(rows(40, seed=1))]
    found = labeler.evaluate(gold)
    assert list(found) == ["sentiment", "topic"]
    assert (found["sentiment"].n, found["topic"].n) == (40, 30)
    alone = labeler.labelers["sentiment"]
    texts = [{"id": row["id"], "text": row["text"]} for row in gold]
    assert found["sentiment"].metrics == alone.evaluate(alone.annotate(texts), gold).metrics
    assert found["sentiment"].metrics["accuracy"] > 0.6


def test_tasks_of_all_kinds(tiny_backbone):
    told = [
        {
            "text": row["text"],
            "label": row["label"],
            "stars": str(len(row["text"]) % 5),
            "tags": [name for name, word in TOLD_BY.items() if word in row["text"].split()],
            "size": ("small", "medium", "large")[i % 3],
            "part": ("lens", "screen", "plot")[i % 3],
        }
        for i, row in enumerate(snippets(60))
    ]
    for row in told[::6]:
        row["tags"] = row["stars"] = None
    columns = {"mood": "label", "score": "stars", "tags": "tags", "size": "size", "part": "part"}
    several = MultiLabeler(
        columns,
        tiny_backbone,
        {"score": "regression", "tags": "multilabel"},
        ordered={"size": ["small", "medium", "large"]},
        label_tree={"part": {"phone": ["lens", "screen"], "film": ["plot"]}},
        descriptions={"mood": {"positive": "praise"}},
        cache=False,
    ).fit(Dataset.from_list(told))
    kinds = {task: one.schema.kind for task, one in several.labelers.items()}
    assert kinds == {"mood": "single", "score": "score", "tags": "multi", "size": "single", "part": "single"}
    assert several.labelers["size"].schema.ordered
    assert several.labelers["mood"].schema.descriptions == ("negative", "praise")
    assert several.labelers["tags"].bundle.record["labels"]["train"] == 50
    made = several.annotate(CORPUS, back_off={"part": 0.5}, class_shares={"mood": "positive=.7"})
    assert sum(p[1] for p in made["mood_probabilities"]) / len(made) == pytest.approx(0.7, abs=1e-3)
    with pytest.raises(CorpusError, match=r"task 'part'.*no class 'pone'"):
        several.annotate(CORPUS, class_shares={"mood": "labeled", "part": "pone=.5"})
    assert {"part_node", "part_node_confidence"} < set(made.column_names)
    assert isinstance(made["tags_label"][0], list)
    assert isinstance(made["score_label"][0], float)
    found = several.evaluate(told)
    assert found["tags"].n == found["score"].n == 50
    assert found["part"].n == 60


def test_a_static_backbone(tmp_path):
    several = MultiLabeler(TASKS, write_static(tmp_path / "static"), cache=False).fit(rows())
    assert several.evaluate(rows(40, seed=1))["sentiment"].metrics["accuracy"] > 0.6


def test_recipes_without_a_backbone_and_those_that_train_it(tiny_backbone):
    several = MultiLabeler(TASKS, tiny_backbone, {"topic": "tfidf"}, cache=False).fit(rows())
    assert several.labelers["topic"].bundle.classifier.info.origin == "data"
    assert len(several.annotate(CORPUS)) == 40
    with pytest.raises(
        RecipeError, match=r"task 'sentiment': recipe 'lora' trains the backbone, and several"
    ):
        MultiLabeler(TASKS, tiny_backbone, "lora")
    with pytest.raises(RecipeError, match="budget is time to train the backbone in"):
        MultiLabeler(TASKS, tiny_backbone, "auto", budget="10m")


def test_validation_unlabeled_and_checkpoint_go_to_every_task(tiny_backbone, tmp_path, caplog):
    several = MultiLabeler(TASKS, tiny_backbone, cache=False)
    several.fit(rows(), CORPUS, rows(20, seed=2), checkpoint=tmp_path / "c")
    assert sum("unlabeled rows are not used" in message for message in caplog.messages) == 2
    assert sum("validation rows are not used" in message for message in caplog.messages) == 2


def test_errors_name_the_task_and_the_row(tiny_backbone, tmp_path):
    several = MultiLabeler(TASKS, tiny_backbone)
    with pytest.raises(CorpusError, match=r"task 'topic': .*there is no column 'section'"):
        several.fit(snippets(20))
    with pytest.raises(CorpusError, match="task 'topic': none of 20 rows of list of rows has a label"):
        several.fit([{**row, "section": " "} for row in snippets(20)])
    few = [{**row, "section": "film" if i else "phone"} for i, row in enumerate(snippets(20))]
    with pytest.raises(CorpusError, match="task 'topic': class 'phone' has 1 row"):
        several.fit(few)
    file = tmp_path / "rows.csv"
    file.write_text("text,label,section\ngood,a,\n ,b,x\nbad,,y\n")
    with pytest.raises(CorpusError, match=r"task 'sentiment': .*rows.csv, row 3, column 'text'"):
        several.fit(file)
    with pytest.raises(RecipeError, match="reject_file is of one task"):
        several.fit(rows(), on_bad_row="skip", reject_file="r.jsonl")


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ({}, "no task is named"),
        ({"a b": "label"}, "task 'a b': expected letters, digits"),
        ({"../a": "label"}, "expected letters, digits"),
        ({"A": "label", "a": "section"}, "tasks 'A' and 'a' would be one folder"),
        ({"a": ""}, "task 'a': expected the column that holds its labels"),
    ],
)
def test_tasks_that_are_none(tasks, message):
    with pytest.raises(RecipeError, match=message):
        MultiLabeler(tasks)


def test_structure_of_a_task_that_is_not_there():
    with pytest.raises(RecipeError, match="ordered: unknown task 'sentimant': did you mean 'sentiment'"):
        MultiLabeler(TASKS, ordered={"sentimant": ["a", "b"]})


def test_a_folder_of_tasks_is_told_from_a_model(labeler, tmp_path):
    folder = labeler.save(tmp_path / "m")
    assert sorted(path.name for path in folder.iterdir()) == ["sentiment", "tasks.json", "topic"]
    with pytest.raises(BundleError, match=r"several tasks: take one, .*m/sentiment or .*m/topic, or all"):
        Labeler.load(folder)
    alone = Labeler.load(folder / "topic", cache=False)
    assert alone.bundle.digest() == labeler.labelers["topic"].bundle.digest()
    with pytest.raises(
        BundleError, match=r"no tasks.json here; expected a folder that `textlabel fit --task`"
    ):
        MultiLabeler.load(folder / "topic")
    labeler.save(folder)  # an older one is replaced
    (folder / "topic" / "head.safetensors").write_bytes(b"")
    with pytest.raises(BundleError, match=r"task 'topic': .*was changed or damaged"):
        MultiLabeler.load(folder)
    with pytest.raises(BundleError, match="exists and is no folder of tasks"):
        labeler.save(folder / "topic")


def test_a_damaged_list_of_tasks(labeler, tmp_path):
    folder = labeler.save(tmp_path / "m")
    for content in ("", "[]", '{"format": 1}', '{"format": 1, "tasks": {"../x": "label"}}'):
        (folder / "tasks.json").write_text(content)
        with pytest.raises(BundleError, match=r"tasks.json is damaged"):
            MultiLabeler.load(folder)
    (folder / "tasks.json").write_text(json.dumps({"format": 2, "tasks": TASKS}))
    with pytest.raises(BundleError, match="expected format 1, found 2"):
        MultiLabeler.load(folder)


def test_nothing_is_saved_before_anything_was_learned(tmp_path):
    with pytest.raises(BundleError, match=r"call fit\(train\)"):
        MultiLabeler(TASKS).save(tmp_path / "m")
    assert not list(tmp_path.iterdir())


def test_rows_are_forgotten_by_every_task(tiny_backbone):
    several = MultiLabeler(TASKS, tiny_backbone, cache=False).fit(rows()).forget_rows()
    assert all(not one.bundle.members for one in several.labelers.values())
    assert np.isfinite(several.annotate(CORPUS)["topic_confidence"][:]).all()
