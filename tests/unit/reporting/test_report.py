"""The report: what it tells is what the rows say, and a hostile text is a text."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from datasets import Dataset
from scipy.stats import binomtest
from tiny import several, snippets, write_static
from typer.testing import CliRunner

from textlabel import Labeler, audit
from textlabel.audit.seal import open_sealed
from textlabel.cli.app import app
from textlabel.errors import CorpusError, ExportError
from textlabel.export._read import read_annotations
from textlabel.report.page import page
from textlabel.reporting import Report
from textlabel.reporting.judged import in_words

HOSTILE = "<script>alert('x')</script> \"quoted\" & <img src=x onerror=alert(1)> good"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    return Labeler(write_static(folder / "static"), cache=False).fit(snippets(100)).save(folder / "model")


def corpus(n=120):
    rows = [
        {**row, "section": "ab"[i % 3 == 0], "truth": row["label"]}
        for i, row in enumerate(snippets(n, seed=3))
    ]
    rows[0]["text"] = HOSTILE
    return [{"id": f"r{i}", **{k: v for k, v in row.items() if k != "label"}} for i, row in enumerate(rows)]


@pytest.fixture
def labeled(model, tmp_path):
    labeler = Labeler.load(model, cache=False)
    predictions = labeler.predict(corpus())
    rows = labeler.annotate(corpus(), predictions=predictions)
    return labeler.export(rows, tmp_path / "labeled", estimate=labeler.estimate(predictions))


def answer(folder, size=60):
    """Let a person answer an audit with what is true."""
    audit.draw(folder, size, seed=0)
    rows = {row["id"]: row["truth"] for row in corpus()}
    sheet = folder / "audit" / "sheet-1.jsonl"
    audit.sheet(folder, 1, sheet)
    told = [json.loads(line) for line in sheet.read_text().splitlines()]
    sheet.write_text("".join(json.dumps({**one, "label": rows[one["id"]]}) + "\n" for one in told))
    audit.import_answers(folder, sheet, reviewer="Ann")
    return [one["id"] for one in told]


class Reader(HTMLParser):
    """Keeps tags, and checks that each is closed where it must be."""

    VOID = frozenset({"meta", "br", "line", "circle", "rect", "polyline"})

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def read(path):
    reader = Reader()
    reader.feed(path.read_text())
    assert reader.open == []
    return reader


def test_without_any_truth_nothing_is_promised(labeled):
    told = Report(str(labeled)).run()
    facts = json.loads((labeled.parent / "labeled-report.json").read_text())
    assert facts["judged"] is None
    assert facts["certificate"] is None
    assert "Nothing is promised" in told["summary"][1]
    assert sum(facts["confidence"]) == 120
    assert sum(one["rows"] for one in facts["classes"]) == 120
    assert sum(one["share"] for one in facts["classes"]) == pytest.approx(1)
    assert facts["estimate"]["estimated without labels of this corpus"].endswith("not a guarantee")


def test_the_page_needs_nothing_and_runs_nothing(labeled, model):
    Report(str(labeled), model=str(model)).run()
    reader = read(labeled.parent / "labeled-report.html")
    tags = {tag for tag, _ in reader.tags}
    assert not tags & {"script", "img", "link", "iframe", "object", "form"}
    names = {name for _, attrs in reader.tags for name in attrs}
    assert not names & {"src", "href", "action"} | {name for name in names if name.startswith("on")}
    [policy] = [attrs["content"] for tag, attrs in reader.tags if attrs.get("http-equiv")]
    assert policy.startswith("default-src 'none'")


@pytest.mark.parametrize("with_model", [False, True])
def test_a_hostile_text_is_shown_as_a_text(labeled, model, with_model):
    step = Report(str(labeled), model=str(model) if with_model else "")
    facts = step.facts()
    facts["examples"] = {"Most sure": [{"text": HOSTILE, "label": "<b>", "confidence": 0.5, "truth": None}]}
    if with_model:
        facts["examples"]["Most sure"][0]["words"] = [(0, 8, 0.4), (8, 13, -0.9)]
    facts["title"] = HOSTILE
    reader = Reader()
    reader.feed(page(facts))
    assert HOSTILE in "".join(reader.text)
    assert "<b>" in "".join(reader.text)
    assert "script" not in {tag for tag, _ in reader.tags}


def test_audited_rows_are_judged_as_they_were_answered(labeled):
    ids = answer(labeled)
    audit.certify(labeled, 0.5)
    facts = Report(str(labeled), by=("section",)).facts()
    rows, truth = read_annotations(labeled), {row["id"]: row["truth"] for row in corpus()}
    said = {rows[i]["id"]: in_words(rows, i) for i in range(len(rows))}
    wrong = [said[one] != truth[one] for one in ids]
    judged = facts["judged"]
    assert judged["rows"] == 60
    assert judged["wrong"] == sum(wrong)
    assert judged["metrics"]["share wrong"] == pytest.approx(np.mean(wrong))
    names = judged["confusion"]["names"]
    table = np.array(judged["confusion"]["rows"])
    assert table.sum() == 60
    assert table.trace() == 60 - sum(wrong)
    assert table[names.index("positive")].sum() == sum(truth[one] == "positive" for one in ids)
    assert judged["curve"][-1] == {"accepted": 1.0, "error": pytest.approx(np.mean(wrong), abs=1e-4)}
    assert facts["budget"]["rows drawn for the audit"] == 60
    found = facts["certificate"]
    assert found["groups"][0]["promise"] in facts["summary"]
    assert found["settings"]["reviewers"] == "Ann"
    for one in facts["slices"]["section"]:
        here = [i for i in ids if rows[rows["id"][:].index(i)]["section"] == one["slice"]]
        assert one["judged"] == len(here)
        assert one["error"] == pytest.approx(np.mean([said[i] != truth[i] for i in here]))
        assert one["low"] <= one["error"] <= one["high"]
    shares = audit.shares(labeled)["shares"]
    told = {one["name"]: one for one in facts["classes"]}
    assert all(told[one["name"]]["low"] == one["low"] for one in shares)


def test_what_a_report_tells_counts_as_shown(labeled):
    from textlabel.audit.looks import shown_before

    answer(labeled)
    assert not shown_before(open_sealed(labeled), 1)
    Report(str(labeled)).facts()
    assert shown_before(open_sealed(labeled), 1)


def test_gold_labels_judge_where_they_are_given(labeled, tmp_path):
    gold = tmp_path / "gold.jsonl"
    gold.write_text("".join(json.dumps({"id": r["id"], "label": r["truth"]}) + "\n" for r in corpus()[:50]))
    facts = Report(str(labeled), gold=str(gold)).facts()
    assert facts["judged"]["rows"] == 50
    assert facts["judged"]["by"] == "gold labels"
    wrong = facts["examples"][
        "Judged wrong, the surest first: errors of the model, or answers to look at again"
    ]
    assert all(one["truth"] not in (None, one["label"]) for one in wrong)
    sure = [one["confidence"] for one in wrong]
    assert sure == sorted(sure, reverse=True)


def test_a_model_that_did_not_label_the_corpus_is_told(labeled, model, tmp_path, caplog):
    Report(str(labeled), model=str(model)).facts()
    assert "is not the model" not in caplog.text
    static = model.parent / "static"
    Labeler(static, seed=1, cache=False).fit(snippets(60, seed=5)).save(tmp_path / "other")
    Report(str(labeled), model=str(tmp_path / "other")).facts()
    assert re.search(r"other is not the model that labeled .*labeled \(.*seed.* differ\)", caplog.text)


def test_examples_bear_the_words_that_moved_the_models_own_label(labeled, model):
    facts = Report(str(labeled), model=str(model)).facts()
    rows = [row for rows in facts["examples"].values() for row in rows]
    assert rows
    for row in rows:
        assert all(row["text"][start:end].strip() for start, end, _ in row["words"])


@pytest.mark.parametrize("kind", ["multi", "score"])
def test_other_kinds_of_labels(tmp_path, kind):
    static = write_static(tmp_path / "static")
    if kind == "multi":
        labeler = Labeler(static, recipe="multilabel", cache=False).fit(several(60))
        gold = [{"id": str(i), "label": row["label"]} for i, row in enumerate(several(30, seed=1))]
    else:
        rows = [{**row, "label": float(i % 5)} for i, row in enumerate(snippets(60))]
        labeler = Labeler(static, recipe="regression", cache=False).fit(rows)
        gold = []
    source = [
        {"text": row["text"]} for row in (several(30, seed=1) if kind == "multi" else snippets(30, seed=1))
    ]
    folder = labeler.export(labeler.annotate(source), tmp_path / "labeled")
    path = tmp_path / "gold.parquet"
    if gold:
        Dataset.from_list(gold).to_parquet(str(path))
    facts = Report(str(folder), gold=str(path) if gold else "").facts()
    assert [one["rows"] > 0 for one in facts["classes"]] == ([True] * 3 if kind == "multi" else [])
    assert bool(facts["confidence"]) == (facts["scores"] is None) == (kind == "multi")
    assert (facts["judged"] is None) == (kind == "score")
    if kind == "multi":
        assert facts["judged"]["rows"] == 30
        assert facts["judged"]["confusion"]["names"] == []
    reader = Reader()
    reader.feed(page(facts))
    assert reader.open == []


def test_gold_labels_that_the_model_does_not_believe_are_suspected(labeled, model, tmp_path):
    pytest.importorskip("cleanlab")
    other = {"positive": "negative", "negative": "positive"}
    gold, source = tmp_path / "gold.jsonl", tmp_path / "source.jsonl"
    swapped = {"r10", "r11", "r12"}
    rows = [{"id": r["id"], "label": r["truth"]} for r in corpus()[1:80]]
    rows = [{**row, "label": other[row["label"]]} if row["id"] in swapped else row for row in rows]
    gold.write_text("".join(json.dumps(row) + "\n" for row in rows))
    known = [
        {**row, "label": other[row["label"]]} if i in (4, 5) else row for i, row in enumerate(snippets(100))
    ]
    source.write_text("".join(json.dumps(row) + "\n" for row in known))
    facts = Report(str(labeled), gold=str(gold), model=str(model), source=str(source)).facts()
    of_gold, of_source = facts["suspects"]
    assert {one["id"] for one in of_gold["examples"]} & swapped
    assert {one["id"] for one in of_source["examples"]} & {"r4", "r5"}
    assert all(one["given"] != one["likely"] for one in of_gold["examples"])
    assert (of_gold["rows"], of_source["rows"]) == (79, 100)
    assert "Suspected gold errors" in page(facts)
    assert "Suspected gold errors" not in page(Report(str(labeled)).facts())


def test_what_would_have_changed_the_label_is_told(labeled, model):
    facts = Report(str(labeled), model=str(model)).facts()
    rows = [row for rows in facts["examples"].values() for row in rows if row.get("becomes")]
    assert rows
    assert all(row["without"] and row["becomes"] != row["label"] for row in rows)
    assert page(facts).count("<small>without") == len(rows)


def test_rules_and_labeled_rows_near_are_told_of_examples(labeled, model, tmp_path):
    rules, source = tmp_path / "rules.toml", tmp_path / "source.jsonl"
    rules.write_text('[[rule]]\nname = "praise"\nlabel = "positive"\nkeywords = ["good", "great", "fine"]\n')
    source.write_text("".join(json.dumps(row) + "\n" for row in snippets(100)))
    step = Report(str(labeled), model=str(model), source=str(source), rules=(str(rules),))
    facts = step.facts()
    rows = [row for rows in facts["examples"].values() for row in rows]
    for row in rows:
        fires = bool({"good", "great", "fine"} & set(row["text"].split()))
        assert row["rules"] == ([{"rule": "praise", "label": "positive"}] if fires else [])
        assert [one["label"] for one in row["neighbors"]]
        assert all(one["text"] != row["text"] for one in row["neighbors"])
    told = page(facts)
    assert "rules: praise says positive" in told
    assert told.count("<small>near, ") == len(rows)
    bare = tmp_path / "bare.jsonl"
    bare.write_text("".join(json.dumps({"text": row["text"]}) + "\n" for row in snippets(100)))
    facts = Report(str(labeled), model=str(model), source=str(bare)).facts()
    assert facts["suspects"] == []
    assert facts["gap"]


def test_seconds_are_told_of_the_runs_that_are_given(labeled, tmp_path):
    runs = {"fit": {"model": "m", "seconds": 3.5}, "annotate": {"annotations": "a", "texts_per_second": 70.0}}
    paths = []
    for name, told in runs.items():
        paths.append(str(tmp_path / f"{name}.json"))
        (tmp_path / f"{name}.json").write_text(json.dumps(told))
    cost = Report(str(labeled), timed=tuple(paths)).facts()["cost"]
    assert (cost["seconds of fitting"], cost["rows labeled a second"]) == (3.5, 70.0)
    (tmp_path / "all.json").write_text(json.dumps(runs))  # as `textlabel run --json` prints them
    assert Report(str(labeled), timed=(str(tmp_path / "all.json"),)).facts()["cost"] == cost
    (tmp_path / "fit.json").write_text("{}")
    with pytest.raises(CorpusError, match="no time in it"):
        Report(str(labeled), timed=(paths[0],)).facts()


def test_what_does_not_fit_is_refused(labeled, tmp_path):
    with pytest.raises(CorpusError, match="section"):
        Report(str(labeled), by=("sektion",)).facts()
    with pytest.raises(ExportError, match="html"):
        Report(str(labeled), out=str(tmp_path / "report.pdf")).run()
    with pytest.raises(CorpusError, match="give the model"):
        Report(str(labeled), source="x.csv").facts()
    wrong = tmp_path / "t.json"
    wrong.write_text("{}")
    with pytest.raises(CorpusError, match="transfer --json"):
        Report(str(labeled), transfer=str(wrong)).facts()


def test_the_command(labeled, tmp_path):
    out = tmp_path / "deep" / "page.html"
    done = CliRunner().invoke(app, ["report", str(labeled), "--out", str(out), "--by", "section", "--json"])
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["report"] == str(out)
    assert read(out)
    assert json.loads(out.with_suffix(".json").read_text())["slices"]["section"]


def test_undecided_rows_of_an_audit_are_neither_dropped_nor_called_right(labeled):
    audit.draw(labeled, 60, seed=0)
    truth = {row["id"]: row["truth"] for row in corpus()}
    sheet = labeled / "audit" / "sheet-1.jsonl"
    audit.sheet(labeled, 1, sheet)
    told = [json.loads(line) for line in sheet.read_text().splitlines()]
    answers = ["unsure" if i < 15 else truth[one["id"]] for i, one in enumerate(told)]
    lines = [json.dumps({**one, "label": label}) + "\n" for one, label in zip(told, answers, strict=True)]
    sheet.write_text("".join(lines))
    audit.import_answers(labeled, sheet, reviewer="Ann")
    facts = Report(str(labeled), by=("section",)).facts()
    judged = facts["judged"]
    assert (judged["rows"], judged["open"]) == (45, 15)
    ends = binomtest(judged["wrong"] + 15, 60).proportion_ci(0.95).high
    start = binomtest(judged["wrong"], 60).proportion_ci(0.95).low
    assert judged["metrics"]["95 % interval"] == f"{start:.1%} to {ends:.1%}"
    shown = " ".join(facts["summary"])
    assert "drawn at random" not in shown
    assert "15 of 60 drawn rows have no settled answer" in shown
    for one in facts["slices"]["section"]:
        alone = binomtest(round(one["error"] * one["judged"]), one["judged"]).proportion_ci(0.95)
        assert one["high"] > alone.high


def test_labels_that_people_gave_judge_nothing(model, tmp_path):
    gold = [{"id": row["id"], "text": row["text"], "label": row["truth"]} for row in corpus()]
    labeler = Labeler.load(model, cache=False)
    rows = labeler.annotate(corpus(), gold=Dataset.from_list(gold[:60]))
    folder = labeler.export(rows, tmp_path / "labeled")
    files = {"all": gold, "theirs": gold[:60]}
    for name, some in files.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in some))
    facts = Report(str(folder), gold=str(tmp_path / "all.jsonl")).facts()
    assert facts["judged"]["rows"] == 60
    with pytest.raises(CorpusError, match="people gave all of these labels"):
        Report(str(folder), gold=str(tmp_path / "theirs.jsonl")).facts()


def test_a_title_is_a_title(labeled):
    facts = Report(str(labeled), title="a {{body}} {{title}}").facts()
    assert page(facts).count("<section") == page({**facts, "title": "a"}).count("<section")


def test_personal_data_of_examples_are_stars_unless_they_are_asked_for(model, tmp_path):
    secrets = [f"good film, write to jane.roe{i}@example.org or +44 20 7946 0{i:03d}" for i in range(12)]
    rows = [{"id": f"r{i}", "text": text} for i, text in enumerate(secrets)]
    rows[0]["id"] = "jane.roe@example.org"
    labeler = Labeler.load(model, cache=False)
    folder = labeler.export(labeler.annotate(rows), tmp_path / "labeled")
    gold = tmp_path / "few.jsonl"
    gold.write_text(json.dumps({"id": rows[0]["id"], "text": secrets[0], "label": "negative"}) + "\n")
    named = Report(str(folder), str(tmp_path / "a.html"), gold=str(gold), model=str(model))
    named.run()
    for name in ("a.html", "a.json"):
        assert "roe" not in (tmp_path / name).read_text()
        assert "7946" not in (tmp_path / name).read_text()
    flat = [
        row for rows in json.loads((tmp_path / "a.json").read_text())["examples"].values() for row in rows
    ]
    assert any(row.get("words") for row in flat)
    for row in flat:  # places of words are those of the text that is shown
        assert all(0 <= start < end <= len(row["text"]) for start, end, _ in row.get("words", ()))
        assert row["text"].startswith("good film, write to j***.")
    asked = replace(named, out=str(tmp_path / "b.html"), show_personal_data=True)
    asked.run()
    assert "jane.roe1@example.org" in (tmp_path / "b.html").read_text()
