from __future__ import annotations

import csv

import numpy as np
import pytest
import sealed as made
from datasets import ClassLabel

from textlabel import audit
from textlabel.audit.answers import audit_answers
from textlabel.audit.seal import open_sealed
from textlabel.errors import AuditError


@pytest.fixture
def drawn(tmp_path):
    rows, truth = made.corpus(60, copies=2)
    folder = made.write(rows, tmp_path / "out")
    draw, path = audit.draw(folder, 20, seed=3)
    return folder, draw, path, dict(zip(rows["id"], truth, strict=True))


def edit(path, change):
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    change(rows)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_answers_count_for_every_drawn_copy_and_no_other(drawn):
    folder, draw, path, truth = drawn
    made.fill(path, truth)
    audit.import_answers(folder, path, reviewer="anna")
    gold = audit_answers(open_sealed(folder))
    assert set(np.flatnonzero(gold.decided)) == set(draw.rows.tolist())
    assert all(made.NAMES[int(gold.label[row])] == truth[f"r{row}"] for row in draw.rows)
    assert gold.reviewers == ("anna",)


def test_a_sheet_is_read_where_a_url_says_it_is(drawn):
    folder, _, path, truth = drawn
    made.fill(path, truth)
    with pytest.raises(AuditError, match=r"file://.*gone\.csv: cannot be read"):
        audit.import_answers(folder, path.with_name("gone.csv").as_uri())
    with pytest.raises(AuditError, match="is a URL: copy what the tool exported"):
        audit.import_answers(folder, path.as_uri(), tool="label_studio")
    told = audit.import_answers(folder, path.as_uri(), reviewer="anna")
    assert told.answered == len(path.read_text().splitlines()) - 1
    edit(path, lambda rows: rows[0].update(label="nonsense"))
    with pytest.raises(AuditError, match=r"file://.*, row 2, column 'label': unknown label"):
        audit.import_answers(folder, path.as_uri())
    assert audit_answers(open_sealed(folder)).reviewers == ("anna",)


def test_blank_and_undecided_rows(drawn):
    folder, _, path, truth = drawn
    made.fill(path, truth, blank=3)
    edit(path, lambda rows: rows[0].update(label="Unsure"))
    told = audit.import_answers(folder, path)
    assert (told.undecided, told.blank) == (1, 2)
    gold = audit_answers(open_sealed(folder))
    assert gold.seen.sum() > gold.decided.sum()


def test_a_later_answer_replaces_an_earlier_one_and_the_log_keeps_both(drawn):
    folder, draw, path, truth = drawn
    made.fill(path, {name: "bad" for name in truth})
    audit.import_answers(folder, path, reviewer="anna")
    made.fill(path, {name: "good" for name in truth})
    with pytest.raises(AuditError, match="anna answered 'bad' before"):
        audit.import_answers(folder, path, reviewer=" anna")
    told = audit.import_answers(folder, path, reviewer="anna", correct=True)
    assert told.replaced == told.answered
    gold = audit_answers(open_sealed(folder))
    assert (gold.label[draw.rows] == 1).all()
    lines = (folder / "audit" / "answers.jsonl").read_text().splitlines()
    assert len(lines) == 2 * (len(path.read_text().splitlines()) - 1)


def test_the_majority_of_several_people_counts_and_a_tie_is_open(drawn):
    folder, draw, path, truth = drawn
    for name, label in (("anna", "bad"), ("ben", "good"), ("cleo", "good")):
        made.fill(path, {key: label for key in truth})
        audit.import_answers(folder, path, reviewer=name)
    assert (audit_answers(open_sealed(folder)).label[draw.rows] == 1).all()
    made.fill(path, {key: "bad" for key in truth})
    audit.import_answers(folder, path, reviewer="dora")
    gold = audit_answers(open_sealed(folder))
    assert not gold.decided.any()
    assert gold.seen[draw.rows].all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda r: r[4].update(label="goood"),
            r"row 6, column 'label': unknown label 'goood': did you mean 'good'",
        ),
        (lambda r: r[4].update(text="other"), "row 6, column 'text': this is not the text of row"),
        (lambda r: r[4].update(textlabel_sheet="audit-1/999"), "row 6, .*: row 'audit-1/999' was not asked"),
        (lambda r: r[4].update(textlabel_sheet="audit-7/3"), "'audit-7' is no draw of"),
        (lambda r: r.append(dict(r[0])), "this text is in the sheet twice"),
    ],
)
def test_one_unfit_row_and_nothing_is_imported(drawn, change, message):
    folder, _, path, truth = drawn
    made.fill(path, truth)
    edit(path, change)
    with pytest.raises(AuditError, match=message):
        audit.import_answers(folder, path)
    assert not (folder / "audit" / "answers.jsonl").exists()


def test_a_spreadsheet_may_change_ends_of_lines(tmp_path):
    rows, _ = made.corpus(6)
    texts = [f"first\nsecond {i}" for i in range(6)]
    rows = rows.remove_columns("text").add_column("text", texts).select_columns(rows.column_names)
    folder = made.write(rows, tmp_path / "out")
    _, path = audit.draw(folder, 6)
    made.fill(path, dict.fromkeys(rows["id"], "good"))
    edit(path, lambda lines: [line.update(text=line["text"].replace("\n", "\r\n")) for line in lines])
    assert audit.import_answers(folder, path).answered == 6


def test_numbers_and_words_may_stand_in_one_jsonl_sheet(tmp_path):
    import json

    rows, truth = made.scores(40)
    folder = made.write(rows, tmp_path / "out")
    _, path = audit.draw(folder, 10, seed=0, tolerance=0.5, out=tmp_path / "sheet.jsonl")
    known = dict(zip(rows["id"], truth, strict=True))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for i, line in enumerate(lines):
        line["label"] = "unsure" if i % 3 == 1 else known[line["id"]]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    told = audit.import_answers(folder, path)
    assert (told.answered, told.undecided) == (7, 3)
    gold = audit_answers(open_sealed(folder))
    assert all(gold.label[row] == truth[row] for row in np.flatnonzero(gold.decided))


def test_a_foreign_file_is_refused(drawn, tmp_path):
    folder = drawn[0]
    (tmp_path / "x.csv").write_text("id,text,label\n1,a,good\n")
    with pytest.raises(AuditError, match="no column 'textlabel_sheet'"):
        audit.import_answers(folder, tmp_path / "x.csv")
    with pytest.raises(AuditError, match="unknown kind of file"):
        audit.import_answers(folder, tmp_path / "x.xlsx")
    (tmp_path / "x.jsonl").write_text("{")
    with pytest.raises(AuditError, match=r"x\.jsonl, row 1: .*Nothing was imported") as caught:
        audit.import_answers(folder, tmp_path / "x.jsonl")
    assert "on_bad_row" not in str(caught.value)


def test_a_torn_last_line_loses_nothing_else(drawn):
    folder, draw, path, truth = drawn
    made.fill(path, truth)
    audit.import_answers(folder, path)
    log = folder / "audit" / "answers.jsonl"
    whole = log.read_text()
    log.write_text(whole + '{"sheet": "audit-1", "rows": [')
    audit.import_answers(folder, path)
    assert audit_answers(open_sealed(folder)).decided.sum() == len(draw.rows)
    assert log.read_text().startswith(whole)
    log.write_text(whole.replace('{"sheet', "{sheet", 1))
    with pytest.raises(AuditError, match="row 1 is damaged"):
        audit_answers(open_sealed(folder))


def test_scores_are_numbers(tmp_path):
    rows, truth = made.scores(40)
    folder = made.write(rows, tmp_path / "out")
    _, path = audit.draw(folder, 5, tolerance=0.5, seed=0)
    made.fill(path, dict.fromkeys(rows["id"], "high"))
    with pytest.raises(AuditError, match="expected a number, or one of"):
        audit.import_answers(folder, path)
    made.fill(path, dict(zip(rows["id"], truth, strict=True)))
    assert audit.import_answers(folder, path).answered == 5


def test_who_is_unsure_votes_for_leaving_the_row_open(drawn):
    folder, draw, path, truth = drawn
    for name, label in (("anna", "bad"), ("ben", "unsure"), ("cleo", "unsure")):
        made.fill(path, dict.fromkeys(truth, label))
        audit.import_answers(folder, path, reviewer=name)
    assert not audit_answers(open_sealed(folder)).decided.any()
    for name in ("dora", "emil"):
        made.fill(path, dict.fromkeys(truth, "bad"))
        audit.import_answers(folder, path, reviewer=name)
    assert audit_answers(open_sealed(folder)).decided[draw.rows].all()


def test_a_second_person_without_a_name_is_noticed(drawn):
    folder, _, path, truth = drawn
    made.fill(path, dict.fromkeys(truth, "bad"))
    audit.import_answers(folder, path)
    made.fill(path, dict.fromkeys(truth, "good"))
    with pytest.raises(AuditError, match="somebody unnamed answered 'bad' before"):
        audit.import_answers(folder, path)


def test_lines_of_a_note_are_no_lines_of_the_log(drawn):
    folder, draw, path, truth = drawn
    made.fill(path, truth)
    edit(path, lambda rows: [row.update(note="one\u2028two\u0085three\u000bfour") for row in rows])
    audit.import_answers(folder, path)
    assert audit_answers(open_sealed(folder)).decided[draw.rows].all()


def test_what_a_spreadsheet_does_to_a_sheet(tmp_path):
    rows, _ = made.corpus(4)
    texts = ["- great", "=1+1", "plain", "long " * 8000]
    rows = rows.remove_columns(["id", "text"]).add_column("id", ["007", "008", "009", "010"])
    rows = rows.add_column("text", texts).select_columns(list(made.FEATURES))
    folder = made.write(rows, tmp_path / "out")
    _, path = audit.draw(folder, 4)

    def spoil(lines):
        for line in lines:
            line["id"] = line["id"].lstrip("0")
            line["text"] = "#NAME?" if line["text"][0] in "-=" else line["text"][:32_767]
            line["label"] = " GOOD "

    edit(path, spoil)
    assert audit.import_answers(folder, path).answered == 4


def test_a_text_that_was_settled_is_not_asked_again(drawn):
    folder, draw, path, truth = drawn
    made.fill(path, truth)
    audit.import_answers(folder, path)
    more, again = audit.draw(folder, 40, seed=1)
    texts = [set(line.split(",")[2] for line in p.read_text().splitlines()[1:]) for p in (path, again)]
    assert not texts[0] & texts[1]
    made.fill(again, truth)
    audit.import_answers(folder, again)
    gold = audit_answers(open_sealed(folder))
    assert gold.decided[draw.rows].all()
    assert gold.decided[more.rows].all()


def test_class_names_that_mean_undecided(tmp_path):
    rows, _ = made.corpus(6)
    rows = rows.cast_column("label", ClassLabel(names=["skip", "1"]))
    folder = made.write(rows, tmp_path / "out")
    _, path = audit.draw(folder, 6)
    labels = dict(zip(rows["id"], ["Skip", "?skip", "1", "unsure", "skip", " 1 "], strict=True))
    made.fill(path, labels)
    told = audit.import_answers(folder, path)
    assert (told.answered, told.undecided) == (4, 2)


def test_a_lost_sheet_is_written_again(drawn, tmp_path):
    folder, _, path, truth = drawn
    path.unlink()
    assert audit.sheet(folder, 1, tmp_path / "again.csv") > 0
    made.fill(tmp_path / "again.csv", truth)
    assert audit.import_answers(folder, tmp_path / "again.csv").blank == 0
    with pytest.raises(AuditError, match="there is no draw 2"):
        audit.sheet(folder, 2, tmp_path / "other.csv")


def test_a_text_that_two_draws_ask_has_one_answer_a_person(tmp_path):
    rows, _ = made.corpus(60, copies=3)
    folder = made.write(rows, tmp_path / "out")
    sheets = [audit.draw(folder, 25, seed=1)[1] for _ in range(2)]
    for sheet in sheets:
        made.fill(sheet, dict.fromkeys(rows["id"], "bad"))
    audit.import_answers(folder, sheets[0])
    made.fill(sheets[1], dict.fromkeys(rows["id"], "good"))
    with pytest.raises(AuditError, match="somebody unnamed answered 'bad' before"):
        audit.import_answers(folder, sheets[1])
    audit.import_answers(folder, sheets[1], correct=True)
    log = (folder / "audit" / "answers.jsonl").read_text()
    audit.import_answers(folder, sheets[1])
    assert (folder / "audit" / "answers.jsonl").read_text() == log  # what is in force is not added again


def test_a_person_has_one_name_however_it_is_written(drawn):
    folder, _, path, truth = drawn
    made.fill(path, dict.fromkeys(truth, "bad"))
    audit.import_answers(folder, path, reviewer="Ann")
    made.fill(path, dict.fromkeys(truth, "good"))
    audit.import_answers(folder, path, reviewer="ann ", correct=True)
    gold = audit_answers(open_sealed(folder))
    assert len(gold.reviewers) == 1
    assert gold.decided.any()
