"""Rows that are read once and of which some have no label."""

from __future__ import annotations

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, List, Value

from textlabel.corpus.load import labeled_rows, load_corpus, read_rows
from textlabel.errors import CorpusError


def kept(values, kind="single", feature=None):
    features = None if feature is None else Features({"text": Value("string"), "label": feature})
    rows = [{"text": f"t{i}", "label": value} for i, value in enumerate(values)]
    source = rows if features is None else Dataset.from_list(rows, features=features)
    found = labeled_rows(read_rows(source), "label")
    return load_corpus(found, label_column="label", label_kind=kind)["id"][:] if len(found.table) else []


@pytest.mark.parametrize(
    ("values", "kind", "feature"),
    [
        (["a", "", "b", " \t", None], "single", None),
        ([0, -1, 1, None, -1], "single", ClassLabel(names=["a", "b"])),
        ([1.0, np.nan, 2.0, None, np.nan], "single", Value("float64")),
        ([0.5, np.nan, 1.5, None, np.nan], "score", Value("float32")),
        (["0.5", "", "3", None, " "], "score", None),
        ([1, None, 0, None, None], "single", None),
        ([["a"], None, [], None, None], "multi", List(Value("string"))),
    ],
)
def test_empty_cells_are_no_labels(values, kind, feature):
    assert kept(values, kind, feature) == ["0", "2"]


def test_where_several_are_parted_by_a_sign_a_word_is_none_of_the_classes_and_a_blank_no_label():
    rows = read_rows([{"text": "t", "label": label} for label in ("a|b", "", "(none)", " ", None)])
    found = load_corpus(
        labeled_rows(rows, "label"), label_column="label", label_kind="multi", label_separator="|"
    )
    assert found["label"][:] == [["a", "b"], []]


def test_no_row_may_be_left():
    assert kept(["", None]) == []
    empty = labeled_rows(read_rows([{"text": "t", "label": ""}]), "label")
    with pytest.raises(CorpusError, match="expected rows with a label in column 'label', found none"):
        load_corpus(empty, label_column="label")


def test_rows_keep_their_places(tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text("text,label,section\na,x,\nb,,y\nc,z,q\n")
    rows = labeled_rows(read_rows(file), "label")
    assert load_corpus(rows, label_column="label")["id"][:] == ["0", "2"]
    with pytest.raises(CorpusError, match=r"rows.csv, row 4, column 'label': unknown label 'z'"):
        load_corpus(rows, label_column="label", classes=["x", "y"])
    with pytest.raises(CorpusError, match="there is no column 'lable'"):
        labeled_rows(rows, "lable")


def test_what_is_read_once_is_what_is_read_each_time(tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text("text,label\na,x\nb,y\n")
    assert (
        load_corpus(read_rows(file), label_column="label").to_list()
        == load_corpus(file, label_column="label").to_list()
    )
    with pytest.raises(CorpusError, match="split"):
        load_corpus(read_rows(file), split="train")
    with pytest.raises(CorpusError, match="on_bad_row='leave' is unknown"):
        read_rows(file, on_bad_row="leave")


def test_a_bad_line_is_told_once_it_is_read(tmp_path, caplog):
    file = tmp_path / "rows.jsonl"
    file.write_text('{"text": "a", "label": "x"}\nnot json\n{"text": "b", "label": "y"}\n')
    assert len(read_rows(file, on_bad_row="skip").table) == 2
    assert "1 unusable rows are left out" in caplog.text


def test_an_audit_sheet_is_no_rows_to_learn_from():
    sheet = [{"text": "a", "label": "x", "textlabel_sheet": "audit/1"}]
    with pytest.raises(CorpusError, match="this is an audit sheet"):
        load_corpus(read_rows(sheet), label_column="label")
