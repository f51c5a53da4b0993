"""Lists of class names in a label column, from every kind of source; what is wrong with them is told."""

import datasets
import pytest
from datasets import ClassLabel, Dataset, Features, List, Value

from textlabel.corpus.check import infer_schema, require_rows_per_class
from textlabel.corpus.dedup import groups
from textlabel.corpus.load import load_corpus
from textlabel.engine.task import load_task, targets
from textlabel.errors import CorpusError
from textlabel.types import LabelSchema

ROWS = [
    {"text": "a", "label": ["red", "blue"]},
    {"text": "b", "label": []},
    {"text": "c", "label": ["blue"]},
]
WANTED = [["red", "blue"], [], ["blue"]]


def load(source, **options):
    return load_corpus(source, label_column="label", label_kind="multi", **options)


def test_lists_of_names_from_files_and_objects(tmp_path):
    rows = Dataset.from_list(ROWS)
    rows.to_json(tmp_path / "rows.jsonl")
    rows.to_parquet(tmp_path / "rows.parquet")
    for source in (ROWS, rows, tmp_path / "rows.jsonl", tmp_path / "rows.parquet"):
        found = load(source)
        assert found["label"][:] == WANTED
        assert found.features["label"] == List(Value("string"))


def test_lists_of_class_numbers_and_of_integers():
    numbers = [[1, 0], [], [0]]
    named = Features({"text": Value("string"), "label": List(ClassLabel(names=["blue", "red"]))})
    texts = ["a", "b", "c"]
    assert load(Dataset.from_dict({"text": texts, "label": numbers}, features=named))["label"][:] == WANTED
    assert load(Dataset.from_dict({"text": texts, "label": numbers}))["label"][:] == [["1", "0"], [], ["0"]]


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_names_in_a_text_are_parted(tmp_path, suffix):
    tab = "," if suffix == "csv" else "\t"
    (tmp_path / f"rows.{suffix}").write_text(f"text{tab}label\na{tab}red | blue\nb{tab}\nc{tab}blue\n")
    found = load(tmp_path / f"rows.{suffix}", label_separator="|")
    assert found["label"][:] == WANTED


def test_a_file_of_rows_without_any_class_has_lists():
    assert load([{"text": "a", "label": []}, {"text": "b", "label": []}])["label"][:] == [[], []]


@pytest.mark.parametrize(
    ("label", "problem"),
    [
        (["red", "red"], "class 'red' is named twice"),
        (["red", " "], "a class name is empty"),
        (["red", None], "a class name is empty"),
        (None, "the labels are missing"),
        ("red", "expected a list, got 'red'"),
    ],
)
def test_what_is_wrong_with_a_row_is_told_with_its_place(label, problem):
    with pytest.raises(CorpusError, match=rf"list of rows, row 4, column 'label': {problem}"):
        load([*ROWS, {"text": "d", "label": label}])


def test_bad_rows_may_be_left_out():
    rows = [*ROWS, {"text": "d", "label": ["red", "red"]}, {"text": "e", "label": None}]
    assert load(rows, on_bad_row="skip")["label"][:] == WANTED


def test_an_empty_part_of_a_text_is_no_class(tmp_path):
    (tmp_path / "rows.csv").write_text("text,label\na,red||blue\n")
    with pytest.raises(CorpusError, match=r"rows\.csv, row 2, column 'label': a class name is empty"):
        load(tmp_path / "rows.csv", label_separator="|")


def test_a_class_that_the_training_rows_lack_is_refused_in_validation_rows():
    good = [{"text": f"{c}{i}", "label": [c]} for c in ("red", "blue") for i in range(3)]
    bad = [*ROWS, {"text": "d", "label": ["red", "blau"]}]
    with pytest.raises(CorpusError, match="row 4, column 'label': unknown label 'blau': did you mean 'blue'"):
        load_task(good, None, bad, "multi")


def test_text_without_a_separator_and_labels_of_another_kind_are_refused(tmp_path):
    (tmp_path / "rows.csv").write_text("text,label\na,red|blue\n")
    with pytest.raises(CorpusError, match="expected a list of class names a row, got string: parted by what"):
        load(tmp_path / "rows.csv")
    with pytest.raises(CorpusError, match=r"expected one class name a row, got list.*recipe 'multilabel'"):
        load_corpus(ROWS, label_column="label")
    with pytest.raises(CorpusError, match=r"label_separator='\|': expected .* kind 'multi'"):
        load_corpus(tmp_path / "rows.csv", label_column="label", label_separator="|")
    with pytest.raises(CorpusError, match="expected a list of class names a row, got double"):
        load([{"text": "a", "label": 0.5}])


def test_the_schema_has_all_classes_and_targets_say_which_a_row_carries():
    rows = load(ROWS)
    schema = infer_schema(rows, "multi")
    assert schema == LabelSchema("multi", ("blue", "red"))
    assert LabelSchema.from_json(schema.to_json()) == schema
    assert targets(rows, schema).tolist() == [[1, 1], [0, 0], [1, 0]]


def test_a_class_of_one_text_is_named():
    rows = load(ROWS)
    schema = infer_schema(rows, "multi")
    with pytest.raises(CorpusError, match="class 'red' has 1 row, expected 2 or more"):
        require_rows_per_class(targets(rows, schema), groups(rows["text"]), schema)


def test_one_class_is_not_enough():
    with pytest.raises(CorpusError, match=r"holds 1 class \['red'\]"):
        infer_schema(load([{"text": "a", "label": ["red"]}, {"text": "b", "label": []}]), "multi")


def test_other_columns_keep_their_types():
    rows = Dataset.from_dict(
        {"text": ["a", "b"], "label": [["x"], ["y"]], "other": [[1], None]},
        features=Features(
            {"text": Value("string"), "label": List(Value("string")), "other": List(Value("int8"))}
        ),
    )
    assert load(rows).features["other"] == List(datasets.Value("int8"))
