from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tiny import snippets

from textlabel import Labeler
from textlabel.engine.predict import predict
from textlabel.errors import CorpusError, RecipeError
from textlabel.gap import Gap
from textlabel.recipe import Recipe
from textlabel.trust.domain_shift import domain_shift

OTHER = [{**row, "text": f"{row['text']} phone screen phone"} for row in snippets(200, seed=2)]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two samples of the same snippets, some with other words, and some that are too few."""
    folder = tmp_path_factory.mktemp("gap")
    corpora = {"one": snippets(200), "two": snippets(200, seed=1), "other": OTHER, "few": snippets(19)}
    for name, rows in corpora.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {name: str(folder / f"{name}.jsonl") for name in corpora}


def test_other_words_are_told_and_the_same_are_not(files, tiny_backbone):
    backbone = str(tiny_backbone)
    far = Gap(files["one"], files["other"], backbone).run()
    assert far["distance"] > 1 > 5 * far["standard_error"]
    assert far["auc"] > 0.8
    assert far["verdict"].startswith(("different", "nearly separable"))
    near = Gap(files["one"], files["two"], backbone).run()
    assert near["verdict"].startswith("no difference found")
    assert near["rows"] == {"source": 200, "target": 200}
    assert near["tokens_per_word"]["source"] >= 1
    assert near["unknown_tokens"]["source"] == pytest.approx(near["unknown_tokens"]["target"], abs=0.03)
    assert far["unknown_tokens"]["target"] != pytest.approx(far["unknown_tokens"]["source"], abs=0.03)


@pytest.mark.parametrize("max_rows", [2000, 60])
def test_a_file_does_not_differ_from_itself(files, tiny_backbone, max_rows):
    told = Gap(files["one"], files["one"], str(tiny_backbone), max_rows=max_rows).run()
    assert told["distance"] == pytest.approx(0)
    assert told["verdict"].startswith("no difference found")


def test_it_is_the_domain_shift_of_the_features(files, tiny_backbone):
    labeler = Labeler(tiny_backbone).fit(snippets(60))
    features = [
        predict(labeler.bundle.classifier, [row["text"] for row in rows])[1]
        for rows in (snippets(200), OTHER)
    ]
    expected = domain_shift(*features, seed=4)
    assert Gap(files["one"], files["other"], str(tiny_backbone), seed=4).shift() == expected


def test_a_model_has_features_of_its_own(files, tiny_backbone, tmp_path):
    stage = {"tune": "full", "objective": "cross_entropy", "epochs": 1, "learning_rate": 1e-2}
    plan = Recipe.from_dict({"name": "full", "stage": [stage]})
    labeler = Labeler(tiny_backbone, plan, calibration="none").fit(snippets(40))
    model = str(labeler.save(tmp_path / "model"))
    adapted = Gap(files["one"], files["other"], model=model).run()
    assert adapted["features"] == model
    assert adapted["auc"] != Gap(files["one"], files["other"], str(tiny_backbone)).run()["auc"]


def test_the_seed_decides_the_rows(files, tiny_backbone):
    def told(seed):
        return Gap(files["one"], files["other"], str(tiny_backbone), max_rows=50, seed=seed).run()

    assert told(1) == told(1)
    assert told(1)["rows"] == {"source": 50, "target": 50}
    assert len({told(seed)["auc"] for seed in range(3)}) > 1


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"target": "few"}, CorpusError, r"few\.jsonl: 19 rows; expected 20 or more to compare"),
        ({"source": "few"}, CorpusError, r"few\.jsonl: 19 rows"),
        ({"target": "nowhere.csv"}, CorpusError, "no such file"),
        ({"text_column": ("review",)}, CorpusError, "there is no column 'review'"),
        ({"model": "somewhere"}, RecipeError, "backbone and model: both have features"),
        ({"max_rows": 5}, RecipeError, "max_rows = 5: expected 20 or more"),
    ],
)
def test_what_cannot_be_compared_is_said(files, tiny_backbone, change, error, message):
    given = {"source": "one", "target": "two", "backbone": str(tiny_backbone), **change}
    given |= {key: files.get(given[key], given[key]) for key in ("source", "target")}
    with pytest.raises(error, match=message):
        Gap(**given).run()


def test_an_empty_file_is_said(files, tiny_backbone, tmp_path):
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(CorpusError, match="there are no rows"):
        Gap(files["one"], str(tmp_path / "empty.jsonl"), str(tiny_backbone)).run()


def test_twenty_rows_of_one_text_are_too_few_texts(files, tiny_backbone, tmp_path):
    (tmp_path / "same.jsonl").write_text('{"text": "good film"}\n' * 20)
    with pytest.raises(CorpusError, match="distinct texts"):
        Gap(str(tmp_path / "same.jsonl"), files["one"], str(tiny_backbone)).run()
    assert np.isfinite(Gap(files["one"], files["two"], str(tiny_backbone), max_rows=20).run()["distance"])


def test_rows_of_one_id_are_two_texts(files, tiny_backbone, tmp_path):
    rows = [{**row, "id": None if i % 3 else "same"} for i, row in enumerate(snippets(200))]
    (tmp_path / "ids.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    told = Gap(str(tmp_path / "ids.jsonl"), files["two"], str(tiny_backbone)).run()
    assert told == Gap(files["one"], files["two"], str(tiny_backbone)).run()


def test_each_corpus_has_a_split_of_its_own(files, tiny_backbone, tmp_path):
    from datasets import Dataset, DatasetDict

    parts = {"train": snippets(200), "test": snippets(200, seed=1)}
    DatasetDict({name: Dataset.from_list(rows) for name, rows in parts.items()}).save_to_disk(
        tmp_path / "both"
    )
    both = str(tmp_path / "both")
    told = Gap(both, both, str(tiny_backbone), source_split="train", target_split="test").run()
    assert told == Gap(files["one"], files["two"], str(tiny_backbone)).run()
    with pytest.raises(CorpusError, match="expected a split of it"):
        Gap(both, files["two"], str(tiny_backbone)).run()


def test_bad_rows_of_both_are_left_out_and_written(files, tiny_backbone, tmp_path):
    for name in ("one", "two"):
        (tmp_path / f"{name}.jsonl").write_text(f"{{broken {name}\n{Path(files[name]).read_text()}")
    corpora = [str(tmp_path / f"{name}.jsonl") for name in ("one", "two")]
    with pytest.raises(CorpusError, match=r"one\.jsonl, row 1: expected one JSON object"):
        Gap(*corpora, str(tiny_backbone)).run()
    out = tmp_path / "rejects.jsonl"
    told = Gap(*corpora, str(tiny_backbone), on_bad_row="skip", reject_file=str(out)).run()
    assert told == Gap(files["one"], files["two"], str(tiny_backbone)).run()
    assert [json.loads(line)["original"] for line in out.read_text().splitlines()] == [
        "{broken one\n",
        "{broken two\n",
    ]
