"""Columns are mapped by name, the others carried through, and bad rows are told or left out."""

import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pytest

from textlabel.corpus.check import Reject
from textlabel.corpus.load import load_corpus, load_with_rejects
from textlabel.errors import CorpusError


def fails(source: Any, **options: Any) -> str:
    with pytest.raises(CorpusError) as caught:
        load_corpus(source, **options)
    return str(caught.value)


# ---- columns ----------------------------------------------------------------------------------------


def test_columns_are_mapped_by_name_and_the_reserved_names_kept_apart() -> None:
    row = {
        "text": "a headline",
        "body": "The text.",
        "label": 7,
        "stars": "good",
        "id": 3,
        "key": "k1",
        "input_text": 0,
    }
    corpus = load_corpus([row], text_column="body", label_column="stars", id_column="key")
    assert corpus[0] == {
        "id": "k1",
        "text": "The text.",
        "label": "good",
        "input_input_text": "a headline",
        "input_label": 7,
        "input_id": 3,
        "input_text": 0,
    }


def test_a_label_that_is_not_asked_for_is_kept_apart() -> None:
    assert load_corpus([{"text": "a", "label": "x"}])[0] == {"id": "0", "text": "a", "input_label": "x"}


def test_several_text_columns_are_joined_and_kept() -> None:
    rows = [{"title": "T", "text": "B"}, {"title": None, "text": "B"}, {"title": "T", "text": " "}]
    corpus = load_corpus(rows, text_column=("title", "text"))
    assert corpus["text"][:] == ["T\nB", "B", "T"]
    assert corpus["title"][:] == ["T", None, "T"]
    assert corpus["input_text"][:] == ["B", "B", " "]
    message = fails([*rows, {"title": "", "text": None}], text_column=["title", "text"])
    assert message.startswith("list of rows, row 4, column 'title + text': the text is missing")
    assert "column 'title': expected a string, got 5" in fails(
        [*rows, {"title": 5}], text_column=["title", "text"]
    )
    assert fails(rows, text_column=()) == "text_column names no column; expected one or more"


def test_ids_are_kept_as_strings() -> None:
    rows = [{"text": "a", "id": 10}, {"text": "b", "id": 9}]
    assert load_corpus(rows)["id"][:] == ["10", "9"]
    assert load_corpus(rows, id_column="text")["input_id"][:] == [10, 9]


def test_other_columns_keep_their_types() -> None:
    features = datasets.Features(
        text=datasets.Value("large_string"),
        topic=datasets.ClassLabel(names=["a", "b"]),
        vector=datasets.List(datasets.Value("float32"), length=2),
        when=datasets.Value("timestamp[s]"),
        small=datasets.Value("int8"),
        table=datasets.Array2D((1, 2), "int32"),
    )
    row = {"text": "x", "topic": 1, "vector": [1, 2], "when": 0, "small": 3, "table": [[4, 5]]}
    corpus = load_corpus(datasets.Dataset.from_list([row], features=features))
    others = ["topic", "vector", "when", "small", "table"]
    assert corpus.select_columns(others).features == datasets.Features({k: features[k] for k in others})
    assert corpus.features["text"] == datasets.Value("string")


def test_types_survive_parquet(tmp_path: Path) -> None:
    features = datasets.Features(text=datasets.Value("string"), topic=datasets.ClassLabel(names=["a", "b"]))
    datasets.Dataset.from_list([{"text": "x", "topic": 1}], features=features).to_parquet(
        str(tmp_path / "a.parquet")
    )
    assert load_corpus(tmp_path / "a.parquet").features["topic"] == features["topic"]


def test_categories_of_pandas_are_decoded(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    words = pa.array(["bad", "good", "bad"])
    table = pa.table({"text": words, "label": words.dictionary_encode(), "topic": words.dictionary_encode()})
    pq.write_table(table, tmp_path / "a.parquet")
    corpus = load_corpus(tmp_path / "a.parquet", label_column="label")
    assert corpus["label"][:] == corpus["topic"][:] == ["bad", "good", "bad"]


def test_column_types_that_datasets_cannot_hold(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    table = pa.table({"text": ["a"], "tags": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64()))})
    pq.write_table(table, tmp_path / "a.parquet")
    assert "does not have a datasets dtype equivalent. Drop that column or store it as text" in fails(
        tmp_path / "a.parquet"
    )


def test_no_such_column() -> None:
    rows = [{"text": "a", "label": "x"}]
    assert fails(rows, text_column="txt") == (
        "list of rows: there is no column 'txt' (text_column): did you mean 'text'?; "
        "the columns are 'text', 'label'"
    )
    assert "no column 'lable' (label_column): did you mean 'label'?" in fails(rows, label_column="lable")
    assert "no column 'key' (id_column): known: label, text" in fails(rows, id_column="key")


def test_unknown_options() -> None:
    assert fails([], on_bad_row="stop").startswith("on_bad_row='stop' is unknown: ")
    assert fails([], label_kind="scores") == "label_kind='scores' is unknown: did you mean 'score'?"


# ---- labels -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["b", "a", " c"], ["b", "a", " c"]),
        ([1, 0, 1], ["1", "0", "1"]),
        ([1.0, 0.0, 10.0], ["1", "0", "10"]),
        ([True, False, True], ["true", "false", "true"]),
    ],
)
def test_class_labels_become_strings(values: list[Any], expected: list[str]) -> None:
    rows = [{"text": "a", "label": value} for value in values]
    assert load_corpus(rows, label_column="label")["label"][:] == expected


def test_class_label_features_become_their_names() -> None:
    features = datasets.Features(
        text=datasets.Value("string"), label=datasets.ClassLabel(names=["bad", "good"])
    )
    rows = [
        {"text": "a", "label": 1},
        {"text": "b", "label": 0},
        {"text": "c", "label": -1},
        {"text": "d", "label": None},
    ]
    dataset = datasets.Dataset.from_list(rows, features=features)
    assert load_corpus(dataset.select([0, 1]), label_column="label")["label"][:] == ["good", "bad"]
    assert fails(dataset, label_column="label").startswith(
        "the dataset, row 3, column 'label': the label is missing"
    )
    assert len(load_corpus(dataset, label_column="label", on_bad_row="skip")) == 2


def test_labels_that_are_no_classes() -> None:
    rows = [{"text": "a", "label": 1.0}, {"text": "b", "label": 2.5}]
    assert fails(rows, label_column="label") == (
        "list of rows, row 2, column 'label': expected a class, got the number 2.5. "
        "For real-valued labels use label_kind='score'"
    )
    lists = [{"text": "a", "label": ["x", "y"]}]
    assert "column 'label': expected one class name a row, got list" in fails(lists, label_column="label")
    assert "column 'label': expected numbers, got list" in fails(
        lists, label_column="label", label_kind="score"
    )


def test_labels_outside_the_given_classes() -> None:
    rows = [{"text": "a", "label": "good"}, {"text": "b", "label": "godo"}, {"text": "c", "label": None}]
    assert fails(rows, label_column="label", classes=["bad", "good"]).startswith(
        "list of rows, row 2, column 'label': unknown label 'godo': did you mean 'good'?"
    )
    _, rejects = load_with_rejects(rows, label_column="label", classes=["bad", "good"])
    assert [r.problem for r in rejects] == [
        "unknown label 'godo': did you mean 'good'?",
        "the label is missing",
    ]


@pytest.mark.parametrize("values", [[1, -2, 3], [1.0, -2.0, 3.0], ["1", "-2.0", " +.3e1 "]])
def test_scores_become_numbers(values: list[Any]) -> None:
    rows = [{"text": "a", "stars": value} for value in values]
    corpus = load_corpus(rows, label_column="stars", label_kind="score")
    assert corpus["label"][:] == [1.0, -2.0, 3.0]
    assert corpus.features["label"] == datasets.Value("float64")


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("much", "expected a number, got 'much'"),
        ("1_000", "expected a number, got '1_000'"),
        ("nan", "expected a number, got 'nan'"),
        ("1e999", "expected a finite number, got inf"),
        ("", "the score is missing"),
        (None, "the score is missing"),
    ],
)
def test_strings_that_are_no_scores(value: str | None, problem: str) -> None:
    rows = [{"text": "a", "label": "1"}, {"text": "b", "label": value}]
    message = fails(rows, label_column="label", label_kind="score")
    assert message.startswith(f"list of rows, row 2, column 'label': {problem}. Mend")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None])
def test_numbers_that_are_no_scores(value: float | None) -> None:
    rows = [{"text": "a", "label": 1.0}, {"text": "b", "label": value}]
    assert "row 2, column 'label': " in fails(rows, label_column="label", label_kind="score")


# ---- rows -------------------------------------------------------------------------------------------


def test_texts_that_are_no_strings() -> None:
    dataset = datasets.Dataset.from_dict({"text": [5, 6]})
    assert fails(dataset) == (
        "the dataset, row 1, column 'text': expected a string, got 5. "
        "The whole column is int64; choose another text_column"
    )
    assert "row 2, column 'text': expected a string, got nan" in fails([{"text": "a"}, {"text": np.nan}])
    assert fails([{"text": None}]).startswith("list of rows, row 1, column 'text': the text is missing")


def test_bad_ids() -> None:
    rows = [
        {"text": "a", "id": "x"},
        {"text": "", "id": "y"},
        {"text": "b", "id": "y"},
        {"text": "c", "id": "x"},
    ]
    corpus, rejects = load_with_rejects(rows)
    assert corpus["id"][:] == ["x", "y"]
    assert [str(reject) for reject in rejects] == [
        "list of rows, row 2, column 'text': the text is empty",
        "list of rows, row 4, column 'id': repeats the id of list of rows, row 1",
    ]
    assert "row 2, column 'id': the id is missing" in fails(
        [{"text": "a", "id": 1}, {"text": "b", "id": None}]
    )
    assert "column 'id': expected strings or integers, got double" in fails([{"text": "a", "id": 1.5}])


def test_made_ids_do_not_depend_on_what_is_left_out() -> None:
    rows = [{"text": "a"}, {"text": 5}, {"text": ""}, {"text": "b"}]
    assert load_corpus(rows, on_bad_row="skip")["id"][:] == ["0", "3"]


def test_rejects_are_written(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\nfine,good\n,bad\nalone\nmore,good\n")
    out = tmp_path / "new" / "rejects.jsonl"
    corpus = load_corpus(tmp_path / "a.csv", label_column="label", on_bad_row="skip", reject_file=out)
    assert corpus["text"][:] == ["fine", "more"]
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    file = str(tmp_path / "a.csv")
    ragged = "is missing: the header has 2 columns, this row 1"
    assert rows == [
        {"file": file, "row": 4, "column": "label", "problem": ragged, "original": ["alone"]},
        {
            "file": file,
            "row": 3,
            "column": "text",
            "problem": "the text is empty",
            "original": {"text": "", "label": "bad"},
        },
    ]
    load_corpus([{"text": "fine"}], on_bad_row="skip", reject_file=out)
    assert out.read_text() == ""


def test_rejects_hold_what_json_does_not_know(tmp_path: Path) -> None:
    rows = [{"text": "a", "raw": b"x"}, {"text": "", "raw": b"y"}]
    load_corpus(rows, on_bad_row="skip", reject_file=tmp_path / "r.jsonl")
    assert json.loads((tmp_path / "r.jsonl").read_text())["original"] == {"text": "", "raw": "b'y'"}


@pytest.mark.parametrize("text", ["", 5])
def test_no_usable_row(text: Any, tmp_path: Path) -> None:
    message = fails([{"text": text}, {"text": text}], on_bad_row="skip", reject_file=tmp_path / "r.jsonl")
    assert message.startswith(
        "no usable row is left, 2 were bad. The first: list of rows, row 1, column 'text': "
    )
    assert len((tmp_path / "r.jsonl").read_text().splitlines()) == 2


def test_failing_writes_nothing(tmp_path: Path) -> None:
    fails([{"text": ""}], reject_file=tmp_path / "r.jsonl")
    assert not (tmp_path / "r.jsonl").exists()


def test_the_rejects_of_a_sound_source() -> None:
    assert load_with_rejects([{"text": "fine"}])[1] == []
    assert str(Reject("a.csv", 2, None, "is odd", {})) == "a.csv, row 2: is odd"
