from __future__ import annotations

import pytest
import sealed as made
from datasets import ClassLabel, Value

from textlabel import audit
from textlabel.errors import AuditError


def test_a_plan_reads_no_answer_and_quotes_the_price_of_the_next_look(tmp_path):
    rows, _ = made.corpus(1000)
    folder = made.write(rows, tmp_path / "out")
    before = audit.plan(folder, [0.05], sizes=[60, 300])
    assert (before["look"], before["level_spent"], before["drawn"]) == (1, 0.025, 0)
    _, path = audit.draw(folder, 100, seed=0)
    made.fill(path, {name: "bad" for name in rows["id"]})
    audit.import_answers(folder, path)
    after = audit.plan(folder, [0.05], sizes=[60, 300])
    assert [line for line in after["table"] if line["audited"] != 100] == before["table"]
    audit.certify(folder, 0.05)
    assert (audit.plan(folder)["look"], audit.plan(folder)["level_spent"]) == (2, 0.0125)


def test_advice_counts_the_rows_that_were_drawn(tmp_path):
    rows, _ = made.corpus(2000, error=0.05)
    folder = made.write(rows, tmp_path / "out")
    [none] = audit.plan(folder, [0.0], sizes=[60])["advice"]
    assert "no audit of these sizes would help" in none
    [fresh] = audit.plan(folder, [0.05], sizes=[300])["advice"]
    assert fresh.startswith("audit 300 rows to certify 5 % (")
    audit.draw(folder, 160)
    [more] = audit.plan(folder, [0.05], sizes=[300])["advice"]
    assert more.startswith("audit 140 more rows to certify 5 %;")


def test_a_pilot(tmp_path):
    rows, truth = made.corpus(500)
    folder = made.write(rows, tmp_path / "out")
    with pytest.raises(AuditError, match="no column 'input_label'"):
        audit.plan(folder, pilot=folder)
    wrong = ["good" if name == "bad" else "bad" for name in truth]
    known = made.write(rows.add_column("input_label", truth), tmp_path / "right")
    bad = made.write(rows.add_column("input_label", wrong), tmp_path / "wrong")
    people = [audit.plan(folder, [0.1], pilot=p, sizes=[200])["table"][0]["people"] for p in (known, bad)]
    assert people[0] < people[1]


def test_scores_cannot_be_planned(tmp_path):
    rows, _ = made.scores(50)
    with pytest.raises(AuditError, match="no confidence to plan from"):
        audit.plan(made.write(rows, tmp_path / "out"))


def test_a_pilot_may_have_its_classes_in_another_order(tmp_path):
    rows, truth = made.corpus(500)
    folder = made.write(rows, tmp_path / "out")
    pilot = rows.add_column("input_label", truth)
    turned = pilot.cast_column("label", Value("int64"))
    turned = turned.remove_columns("label").add_column("label", [1 - label for label in rows["label"]])
    turned = turned.cast_column("label", ClassLabel(names=["good", "bad"]))
    folders = (made.write(pilot, tmp_path / "same"), made.write(turned, tmp_path / "turned"))
    tables = [audit.plan(folder, [0.1], pilot=p, sizes=[200])["table"] for p in folders]
    assert tables[0] == tables[1]


@pytest.mark.parametrize(("errors", "alpha"), [([1.5], 0.05), ([float("nan")], 0.05), ([0.05], 2.0)])
def test_levels_that_make_no_sense(tmp_path, errors, alpha):
    rows, _ = made.corpus(20)
    with pytest.raises(AuditError, match="expected"):
        audit.plan(made.write(rows, tmp_path / "out"), errors, alpha)
