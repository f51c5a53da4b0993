"""Sheets on which people answered, as labeled rows: where nobody settled there is no label."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from textlabel.corpus.check import rows_after_audit
from textlabel.corpus.load import load_corpus, load_with_rejects
from textlabel.errors import CorpusError


def sheet(path, labels, mark="todo", column="label"):
    """Write a sheet of the columns that textlabel writes, answered by ``labels``."""
    rows = [
        {"textlabel_sheet": f"{mark}/{i}", "id": f"s{i}", "text": f"text {i}", column: label, "note": ""}
        for i, label in enumerate(labels)
    ]
    if path.suffix == ".csv":
        lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
    else:
        lines = [json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


def in_kind(path, kind):
    """Return the rows of a jsonl sheet as another kind of source."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    if kind == "list of rows":
        return rows
    plain = pa.table({name: [str(row[name]) for row in rows] for name in rows[0]})
    other = path.with_suffix(kind)
    if kind == ".csv":
        csv.write_csv(plain, other)
    elif kind == ".parquet":
        parquet.write_table(plain, other)
    return other


@pytest.mark.parametrize("name", ["sheet.csv", "sheet.jsonl"])
def test_undecided_rows_of_classes_are_left_out_and_counted(tmp_path, name, caplog):
    path = sheet(tmp_path / name, ["good", "unsure", "bad", " Skip ", "none of these", "?unsure"])
    rows, rejects = load_with_rejects(path, label_column="label")
    assert (rows["id"][:], rows["label"][:], rejects) == (["s0", "s2"], ["good", "bad"], [])
    words = "1 x 'unsure', 1 x 'Skip', 1 x 'none of these', 1 x '?unsure'"
    assert f"4 of 6 rows are left out, on which people did not settle: {words}." in caplog.text
    assert "Where such a word is a class, empty the column textlabel_sheet in these rows" in caplog.text


@pytest.mark.parametrize("kind", [".csv", ".jsonl", ".parquet", "list of rows"])
@pytest.mark.parametrize("column", ["label", "stars"])
def test_undecided_rows_of_scores_are_left_out(tmp_path, kind, column):
    path = sheet(tmp_path / "sheet.jsonl", [1.5, "unsure", 2, "skip", "3.25"], column=column)
    source = in_kind(path, kind)
    rows = load_corpus(source, label_column=column, label_kind="score")
    assert (rows["id"][:], rows["label"][:]) == (["s0", "s2", "s4"], [1.5, 2.0, 3.25])


@pytest.mark.parametrize("kind", [".jsonl", "list of rows"])
@pytest.mark.parametrize("column", ["label", "verdict"])
def test_classes_that_are_numbers_are_called_as_they_are_elsewhere(tmp_path, kind, column):
    path = sheet(tmp_path / "sheet.jsonl", [1, 2.0, "skip", "1", True], column=column)
    assert load_corpus(in_kind(path, kind), label_column=column)["label"][:] == ["1", "2", "1", "true"]


def test_a_class_of_such_a_name_is_an_answer(tmp_path):
    path = sheet(tmp_path / "sheet.csv", ["skip", "run", "?skip", "unsure"])
    rows = load_corpus(path, label_column="label", classes=["run", "Skip", "skip"])
    assert rows["label"][:] == ["skip", "run"]
    assert load_corpus(path, label_column="label")["label"][:] == ["run"]
    # beside rows that are of no sheet the classes are known
    (tmp_path / "train.csv").write_text("id,text,label\nt0,a text,skip\nt1,another,run\n")
    both = load_corpus(tmp_path, label_column="label")
    assert sorted(both["id"]) == ["s0", "s1", "t0", "t1"]


@pytest.mark.parametrize("extra", [{}, {"note": "", "textlabel_sheet": None}])
def test_a_corpus_that_is_no_sheet_keeps_the_class_skip(extra, caplog):
    given = [{"text": f"t{i}", "label": label, **extra} for i, label in enumerate(["skip", "unsure", "run"])]
    assert load_corpus(given, label_column="label")["label"][:] == ["skip", "unsure", "run"]
    assert "left out" not in caplog.text


def test_a_sheet_whose_labels_nobody_asks_for_keeps_all_rows(tmp_path):
    path = sheet(tmp_path / "sheet.csv", ["good", "unsure"])
    assert load_corpus(path)["input_label"][:] == ["good", "unsure"]


def test_other_faults_of_a_sheet_are_told_with_their_line(tmp_path):
    path = sheet(tmp_path / "sheet.csv", ["skip", "1.5", "", "so-so"])
    with pytest.raises(CorpusError, match=r"row 4, column 'label': the score is missing"):
        load_corpus(path, label_column="label", label_kind="score")
    rows, rejects = load_with_rejects(path, label_column="label", label_kind="score")
    assert rows["label"][:] == [1.5]
    assert [(reject.row, reject.column) for reject in rejects] == [(4, "label"), (5, "label")]


def test_a_sheet_on_which_nobody_settled_is_refused(tmp_path):
    path = sheet(tmp_path / "sheet.csv", ["skip", "unsure"])
    with pytest.raises(CorpusError, match="undecided about all 2 rows of this sheet"):
        load_corpus(path, label_column="label")


@pytest.mark.parametrize("mark", ["audit-1", " audit-1", "Audit-1"])
def test_an_audit_sheet_is_refused_whatever_its_answers(tmp_path, mark):
    path = sheet(tmp_path / "sheet.csv", ["skip", "unsure"], mark=mark)
    with pytest.raises(CorpusError, match="this is an audit sheet"):
        load_corpus(path, label_column="label")


@pytest.mark.parametrize("column", ["textlabel_sheet", "textlabel_released"])
def test_only_marked_rows_count_as_picked_after_an_audit(column):
    marks = ["todo/0", None, "", " ", "TODO/1"]
    rows = [{"text": f"t{i}", "label": "ab"[i % 2], column: mark} for i, mark in enumerate(marks)]
    assert rows_after_audit(load_corpus(rows, label_column="label")) == 2


def test_a_row_of_both_marks_counts_once():
    rows = [{"text": "t", "label": "a", "textlabel_sheet": "todo/0", "textlabel_released": "x"}]
    assert rows_after_audit(load_corpus(rows, label_column="label")) == 1
