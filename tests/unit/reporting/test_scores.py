"""The report of scores, and of rows that may carry several classes: judged by an audit."""

import json

import numpy as np
import pytest
from labeled_folder import drawn, labeled

from textlabel import audit
from textlabel.audit.estimation import carried
from textlabel.errors import AuditError
from textlabel.export._read import read_annotations
from textlabel.report.page import page
from textlabel.reporting import Report
from textlabel.reporting.judged import in_words
from textlabel.reporting.scores import groups, mean_limits


def answered(folder, truth):
    """Let a person answer an audit with what ``truth`` says of the row of an id."""
    sheet = folder / "audit" / "sheet-1.jsonl"
    audit.sheet(folder, 1, sheet)
    rows = [json.loads(line) for line in sheet.read_text().splitlines()]
    sheet.write_text("".join(json.dumps({**row, "label": str(truth(row["id"]))}) + "\n" for row in rows))
    audit.import_answers(folder, sheet, reviewer="Ann")
    return [row["id"] for row in rows]


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
    folder = drawn(labeled(tmp_path_factory.mktemp("scores"), 60, "score"), 40)
    rows = read_annotations(folder)
    said = dict(zip(rows["id"], rows["label"], strict=True))
    ids = answered(folder, lambda one: said[one] + (2.0 if one in ("r5", "r6") else 0.25))
    return folder, ids, said


def test_scores_are_judged_by_how_far_off_they_are(scores):
    folder, ids, said = scores
    facts = Report(str(folder), by=("section",)).facts()
    judged = facts["judged"]
    off = np.array([-2.0 if one in ("r5", "r6") else -0.25 for one in ids])
    assert judged["rows"] == 40
    assert judged["metrics"]["mean absolute error"] == pytest.approx(np.abs(off).mean())
    assert judged["metrics"]["score less truth, on average"] == pytest.approx(off.mean())
    far = int(np.sum(np.abs(off) > 0.5))
    assert judged["metrics"]["further off than 0.5"].startswith(f"{far / 40:.1%} (")
    assert judged["metrics"]["intervals that hold the truth"].endswith(")")
    assert sum(one["rows"] for one in judged["groups"]) == 40
    assert all(before["to"] <= after["from"] for before, after in zip(judged["groups"], judged["groups"][1:]))  # noqa: B905
    rows = read_annotations(folder)
    within = dict(zip(rows["id"], rows["section"], strict=True))
    for one in facts["slices"]["section"]:
        here = np.array([within[i] == one["slice"] for i in ids])
        assert one["judged"] == here.sum()
        assert one["error"] == pytest.approx(np.abs(off[here]).mean())
    assert sum(facts["scores"]["counts"]) == 60
    corrected = facts["scores"]["corrected"]
    assert corrected["low"] is None or corrected["low"] <= corrected["estimate"] <= corrected["high"]
    assert corrected["estimate"] == pytest.approx(np.mean(list(said.values())) - off.mean(), abs=0.3)
    assert "off by" in facts["summary"][-1]


def test_the_page_of_scores_says_nothing_of_classes(scores):
    facts = Report(str(scores[0])).facts()
    told = page({**facts, "record": {}})
    for words in ("confidence</", "Confusion", "Reliability", "class shares", "calibrator"):
        assert words not in told
    for words in ("Furthest off", "Mean distance from the truth", "How many rows have which score"):
        assert words in told
    assert told.count("<figure>") == told.count("<details class='numbers") == 3
    far = next(rows for title, rows in facts["examples"].items() if title.startswith("Furthest"))
    distance = [abs(row["label"] - row["truth"]) for row in far]
    assert distance == sorted(distance, reverse=True)


def test_words_of_a_score_are_marked(scores):
    facts = Report(str(scores[0]), model=str(scores[0].parent / "model")).facts()
    assert any(row.get("words") for rows in facts["examples"].values() for row in rows)
    assert "Marked words raise the score" in page(facts)


def test_gold_scores_judge_where_they_are_given(scores, tmp_path):
    folder, ids, said = scores
    gold = tmp_path / "gold.jsonl"
    gold.write_text("".join(json.dumps({"id": one, "stars": said[one] - 1}) + "\n" for one in ids[:10]))
    judged = Report(str(folder), gold=str(gold), label_column="stars").facts()["judged"]
    assert judged["by"] == "gold labels"
    assert judged["metrics"]["mean absolute error"] == pytest.approx(1)
    assert "further off than 0.5" not in judged["metrics"]


def test_tenths_and_limits_against_numpy():
    rng = np.random.default_rng(0)
    said, truth = rng.normal(size=57), rng.normal(size=57)
    found = groups(said, truth, None)
    assert [one["rows"] for one in found] == [len(part) for part in np.array_split(np.arange(57), 10)]
    whole = sum(one["error"] * one["rows"] for one in found) / 57
    assert whole == pytest.approx(np.abs(said - truth).mean())
    low, high = mean_limits(said)
    assert (high - low) / 2 == pytest.approx(1.96 * np.std(said, ddof=1) / np.sqrt(57))


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    folder = drawn(labeled(tmp_path_factory.mktemp("several"), 60, "multi"), 40)
    rows = read_annotations(folder)
    said = {rows[i]["id"]: in_words(rows, i) for i in range(len(rows))}
    # of every row the class phone is what people see, whatever the model saw
    truth = {one: sorted({*names, "phone"}) for one, names in said.items()}
    ids = answered(folder, lambda one: "|".join(truth[one]))
    return folder, ids, said, truth


def test_rows_of_several_classes_are_judged_by_an_audit(several):
    folder, ids, said, truth = several
    facts = Report(str(folder)).facts()
    assert facts["judged"]["rows"] == 40
    assert facts["judged"]["wrong"] == sum(said[one] != truth[one] for one in ids)
    assert facts["budget"]["rows drawn for the audit"] == 40
    shares = {one["name"]: one for one in facts["classes"]}
    assert shares["phone"]["share"] == pytest.approx(1)
    assert shares["phone"]["high"] == pytest.approx(1)
    for name, one in shares.items():
        assert one["rows"] == sum(name in names for names in said.values())
        assert one["low"] <= sum(name in names for names in truth.values()) / 60 <= one["high"]
    assert "corrected by the audit" in page(facts)


def test_shares_of_classes_are_for_rows_that_may_carry_several(scores):
    with pytest.raises(AuditError, match="several classes"):
        carried(scores[0])
