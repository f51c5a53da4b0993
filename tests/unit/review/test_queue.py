"""What is asked, what is hidden, and that an answer is the audit's."""

from __future__ import annotations

import json
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from labeled_folder import HOSTILE, drawn, labeled
from tiny import snippets, write_static

from textlabel import Labeler, audit
from textlabel.audit.answers import all_answers, audit_answers
from textlabel.audit.seal import open_sealed
from textlabel.audit.store import LOG, locked, read_lines
from textlabel.errors import AuditError
from textlabel.explaining import teller
from textlabel.review.folder_queue import FolderQueue
from textlabel.review.queue import UNSURE, Conflict, Filter
from textlabel.reviewing import Review


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return labeled(tmp_path_factory.mktemp("review"))


@pytest.fixture
def folder(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "labeled"))


def every(queue, reviewer="Ann"):
    place, found = queue.next(-1, reviewer, Filter()), []
    while place is not None and place not in found:
        found.append(place)
        place = queue.next(place, reviewer, Filter())
    return found


def test_an_audit_shows_nothing_of_the_model(folder):
    queue = FolderQueue(drawn(folder), "audit", teller("somewhere"))
    assert len(queue) == 20
    for place in range(20):
        asked = queue.question(place, "Ann")
        assert asked.suggestion is None
        assert asked.confidence is None
        assert asked.columns == {}
    facts = queue.facts("Ann")
    assert not facts["shows_model"]
    assert not facts["explains"]
    assert queue.why(0) is None
    whole = every(queue)
    for filtered in (Filter(label="positive"), Filter(low=0.9), Filter(decision="accepted")):
        assert [p for p in range(20) if queue._fits(filtered)[p]] == whole  # what would tell is not looked at


def test_an_audit_is_asked_in_random_order_each_text_once(folder):
    queue = FolderQueue(drawn(folder), "audit")
    texts = [queue.question(place, "").text for place in range(20)]
    assert len(set(texts)) == 20
    rows = [queue._row(place) for place in range(20)]
    assert rows != sorted(rows)
    assert [FolderQueue(folder, "audit")._row(p) for p in range(20)] == rows


def test_answers_are_those_of_an_imported_sheet(folder, tmp_path):
    queue = FolderQueue(drawn(folder), "audit")
    said = {}
    for place in every(queue):
        asked = queue.question(place, "Ann")
        said[asked.id] = ("negative", "positive", "?unsure")[place % 3]
        queue.answer(place, said[asked.id], "Ann", "", asked.version)
    by_page = audit_answers(open_sealed(folder))
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    (other / "audit" / LOG).unlink()
    sheet = tmp_path / "sheet.jsonl"
    audit.sheet(other, 1, sheet)
    lines = [json.loads(line) for line in sheet.read_text().splitlines()]
    sheet.write_text("".join(json.dumps({**one, "label": said[one["id"]]}) + "\n" for one in lines))
    audit.import_answers(other, sheet, reviewer="Ann")
    by_sheet = audit_answers(open_sealed(other))
    np.testing.assert_array_equal(by_page.label, by_sheet.label)
    np.testing.assert_array_equal(by_page.seen, by_sheet.seen)
    assert by_page.reviewers == by_sheet.reviewers
    assert audit.certify(folder, 0.5)["groups"] == audit.certify(other, 0.5)["groups"]


def test_undo_goes_back_through_all_answers_and_rewrites_nothing(folder):
    queue = FolderQueue(drawn(folder), "audit")
    for place, word in ((0, "negative"), (1, "positive"), (0, "positive")):
        queue.answer(place, word, "Ann", "", queue.question(place, "Ann").version)
    lines = len(read_lines(folder / "audit" / LOG))
    assert queue.undo("Ann") == 0
    assert queue.question(0, "Ann").said["label"] == "negative"  # what was said before stands again
    gold = audit_answers(open_sealed(folder))
    assert gold.label[queue._row(0)] == 0
    assert queue.undo("Ann") == 1  # the newest that stands, whatever row was taken back last
    assert queue.question(1, "Ann").said is None
    assert queue.undo("Ann") == 0
    assert queue.question(0, "Ann").said is None
    assert queue.undo("Ann") is None
    assert not audit_answers(open_sealed(folder)).seen.any()
    assert len(read_lines(folder / "audit" / LOG)) > lines
    assert queue.facts("Ann")["answered"] == 0


def test_undo_is_the_reviewers_own(folder):
    queue = FolderQueue(drawn(folder), "audit")
    queue.answer(0, "negative", "Ann", "", 0)
    assert queue.undo("Ben") is None
    assert queue.question(0, "Ann").said["label"] == "negative"
    assert queue.question(0, "Ben").said is None


def test_two_windows_do_not_overwrite_each_other(folder):
    drawn(folder)
    one, other = FolderQueue(folder, "audit"), FolderQueue(folder, "audit")
    seen = other.question(3, "Ann")
    one.answer(3, "negative", "Ann", "", one.question(3, "Ann").version)
    with pytest.raises(Conflict) as told:
        other.answer(3, "positive", "Ann", "", seen.version)
    assert told.value.question.said["label"] == "negative"
    other.answer(3, "positive", "Ann", "", told.value.question.version)  # knowing of it, it may be changed
    assert one.question(3, "Ann").said["label"] == "positive"
    other.answer(3, "negative", "Ben", "", 0)  # another person is no conflict
    assert other.disagreements()[0]["said"] == {"Ann": "positive", "Ben": "negative"}


def test_what_is_not_a_label_is_refused_and_nothing_is_written(folder):
    queue = FolderQueue(drawn(folder), "audit")
    with pytest.raises(AuditError, match="positiv"):
        queue.answer(0, "positiv", "Ann", "", 0)
    with pytest.raises(AuditError, match="there is no row"):
        queue.question(99, "Ann")
    assert not (folder / "audit" / LOG).exists()


def test_all_rows_come_with_the_models_label_the_least_sure_first_without_those_of_an_audit(folder):
    drawn(folder)
    queue = FolderQueue(folder, "all")
    assert len(queue) == 40
    sure = [queue.question(place, "").confidence for place in range(40)]
    assert sure == sorted(sure)
    asked = {queue._row(place) for place in range(40)}
    assert not asked & {FolderQueue(folder, "audit")._row(place) for place in range(20)}


def test_filters(folder):
    queue = FolderQueue(folder, "all")
    place = queue.next(-1, "", Filter(search="SCRIPT"))
    assert queue.question(place, "").text == HOSTILE
    for place in range(len(queue)):
        asked = queue.question(place, "")
        assert queue._fits(Filter(label="positive"))[place] == (asked.suggestion == "positive")
        assert queue._fits(Filter(low=0.7, high=0.9))[place] == (0.7 <= asked.confidence <= 0.9)
        assert queue._fits(Filter(column="section", value="a"))[place] == (asked.columns["section"] == "a")
    assert queue.facts("")["slices"] == {"section": ["a", "b"]}


def test_rows_to_do_follow_a_certificate(folder):
    with pytest.raises(AuditError, match="certify"):
        FolderQueue(folder, "todo")
    queue = FolderQueue(drawn(folder, 40), "audit")
    for place in every(queue):
        queue.answer(place, "positive" if place % 2 else "negative", "Ann", "", 0)
    audit.certify(folder, 0.6)
    rows, _ = audit.todo(folder)
    if not len(rows):
        with pytest.raises(AuditError, match="nothing left"):
            FolderQueue(folder, "todo")
        return
    todo = FolderQueue(folder, "todo")
    assert {todo._row(place) for place in range(len(todo))} == set(rows.tolist())
    for place in every(todo):
        todo.answer(place, "positive", "Ann", "", 0)
    assert all_answers(open_sealed(folder)).decided[rows].all()


def test_released_answers_are_not_reviewed(folder, tmp_path):
    queue = FolderQueue(drawn(folder), "audit")
    queue.answer(0, "negative", "Ann", "", 0)
    from textlabel.audit import release

    release(folder, tmp_path / "released.csv")
    with pytest.raises(AuditError):
        FolderQueue(folder, "audit")


@pytest.mark.parametrize(("kind", "word", "label"), [("multi", "b|a", "a|b"), ("score", "2.5", 2.5)])
def test_other_kinds_of_labels(tmp_path, kind, word, label):
    folder = drawn(labeled(tmp_path, 40, kind))
    queue = FolderQueue(folder, "audit")
    if kind == "multi":
        first, second = queue.classes[:2]
        word, label = f"{second}|{first}", f"{first}|{second}"
    queue.answer(0, word, "Ann", "", 0)
    assert queue.question(0, "Ann").said["label"] == label


RULES = """
[[rule]]
name = "any"
label = "positive"
regex = "."
"""


def test_why_the_model_says_so(folder, made, tmp_path):
    (tmp_path / "rules.toml").write_text(RULES)
    rows = "".join(json.dumps(row) + "\n" for row in snippets(20))
    (tmp_path / "labeled.jsonl").write_text(rows)
    near, rules = str(tmp_path / "labeled.jsonl"), (str(tmp_path / "rules.toml"),)
    queue = Review(
        str(folder), every=True, model=str(made.parent / "model"), neighbors=near, rules=rules
    ).queue()
    changed = 0
    for place in range(5, 15):
        text, told = queue.question(place, "").text, queue.why(place)
        assert told["words"]
        assert all(text[start:end].strip() for start, end, _ in told["words"])
        assert "rule any says positive" in told["lines"]
        assert sum(line.startswith("near (") for line in told["lines"]) == 3
        changed += any(line.startswith("without ") for line in told["lines"])
    assert changed
    with pytest.raises(AuditError, match="give --model"):
        Review(str(folder), every=True, rules=rules).queue()
    assert FolderQueue(folder, "all").why(5) is None
    with pytest.raises(AuditError, match="no row"):
        queue.why(10**6)


def test_who_asks_why_keeps_nobody_waiting(folder):
    begun, go_on = threading.Event(), threading.Event()

    def slow(text):
        begun.set()
        assert go_on.wait(30)
        return {"words": [], "lines": [text]}

    queue, told = FolderQueue(folder, "all", explain=slow), []
    asks = threading.Thread(target=lambda: told.append(queue.why(0)), daemon=True)
    asks.start()
    assert begun.wait(30)
    answers = threading.Thread(target=queue.answer, args=(1, "positive", "Ann", "", 0), daemon=True)
    answers.start()
    answers.join(30)
    answered = not answers.is_alive()
    go_on.set()
    asks.join(30)
    assert answered
    assert queue.question(1, "Ann").said["label"] == "positive"
    assert told == [{"words": [], "lines": [queue.question(0, "Ann").text]}]


def test_what_another_process_appends_is_seen_and_a_torn_line_is_not(folder):
    queue = FolderQueue(drawn(folder), "audit")
    queue.answer(0, "negative", "Ann", "", 0)
    log = folder / "audit" / LOG
    whole = log.read_bytes()
    line = json.loads(whole)
    line["row"], line["label"] = queue._row(1), "positive"
    with log.open("ab") as file:
        file.write(json.dumps(line).encode()[:20])  # killed in the middle
    assert queue.question(1, "Ann").said is None
    queue.answer(2, "positive", "Ann", "", 0)
    assert queue.question(2, "Ann").said["label"] == "positive"
    assert audit_answers(open_sealed(folder)).seen.sum() == 2


def test_undo_goes_back_answer_by_answer_and_each_step_is_one_record(folder):
    queue, words = FolderQueue(drawn(folder), "audit"), ("negative", "positive", UNSURE)
    for word in words:
        queue.answer(0, word, "Ann", "", queue.question(0, "Ann").version)
    for expected in ("positive", "negative", None):
        before = len(read_lines(folder / "audit" / LOG))
        queue.undo("Ann")
        assert len(read_lines(folder / "audit" / LOG)) == before + 1  # a kill cannot part it
        for one in (queue, FolderQueue(folder, "audit")):
            said = one.question(0, "Ann").said
            assert (None if said is None else said["label"]) == expected


def test_a_reviewer_is_the_same_whatever_the_blanks(folder):
    queue = FolderQueue(drawn(folder), "audit")
    queue.answer(0, "negative", " Ann  Smith ", "", 0)
    assert queue.question(0, "Ann  Smith").said["label"] == "negative"
    assert queue.facts("ann smith")["answered"] == 1
    assert queue.undo("Ann Smith ") == 0


def test_an_audit_tells_no_columns_by_its_filters(folder):
    queue = FolderQueue(drawn(folder), "audit")
    assert queue.facts("Ann")["slices"] == {}
    chosen, places, place = Filter(column="section", value="a", answered=True), [], -1
    while (place := queue.next(place, "Ann", chosen)) is not None:
        places.append(place)
    assert len(places) == len(queue)


def test_disagreements_are_told_outside_audits_too(folder):
    queue = FolderQueue(folder, "all")
    for who, word in (("Ann", "negative"), ("Ben", "positive")):
        queue.answer(0, word, who, "", queue.question(0, who).version)
    [one] = queue.disagreements()
    assert one["said"] == {"Ann": "negative", "Ben": "positive"}


def test_rows_that_were_passed_over_come_last(folder):
    queue = FolderQueue(drawn(folder), "audit")
    for place in range(5, 20):
        queue.answer(place, UNSURE, "Ann", "", 0)
    assert queue.next(19, "Ann", Filter()) == 0
    assert queue.next(19, "Ann", Filter(answered=True)) is None  # who looks through all comes to an end
    assert queue.next(0, "Ann", Filter(), step=-1) is None
    for place in range(5):
        queue.answer(place, UNSURE, "Ann", "", 0)
    assert queue.next(4, "Ann", Filter()) is None


@pytest.fixture
def copies(tmp_path):
    """Return a folder in which each text stands three times, and of which two audits were drawn."""
    labeler = Labeler(write_static(tmp_path / "static"), cache=False).fit(snippets(60))
    corpus = [{"id": f"r{i}", "text": f"good row {i % 10}"} for i in range(30)]
    folder = labeler.export(labeler.annotate(corpus), tmp_path / "labeled")
    for size in (9, 12):
        audit.draw(folder, size, seed=0)
    return folder


def test_the_page_asks_the_row_of_a_text_that_the_sheet_asks(copies, tmp_path):
    queue = FolderQueue(copies, "audit")
    asked = {f"{sheet}/{row}" for [(sheet, row), *_] in queue._asked}
    marks = set()
    for number in (1, 2):
        audit.sheet(copies, number, tmp_path / f"{number}.jsonl")
        lines = (tmp_path / f"{number}.jsonl").read_text().splitlines()
        marks |= {json.loads(line)["textlabel_sheet"] for line in lines}
    assert len(asked) == len(queue) <= 10 < len(marks)
    assert asked < marks


@pytest.mark.parametrize("number", [1, 2])
def test_what_a_sheet_brought_is_answered_on_the_page(copies, tmp_path, number):
    audit.sheet(copies, number, tmp_path / "sheet.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "sheet.jsonl").read_text().splitlines()]
    filled = "".join(json.dumps({**line, "label": "positive"}) + "\n" for line in lines)
    (tmp_path / "sheet.jsonl").write_text(filled)
    audit.import_answers(copies, tmp_path / "sheet.jsonl", reviewer="Ann")
    queue, texts = FolderQueue(copies, "audit"), {line["text"] for line in lines}
    told = queue.facts("Ann")
    assert (told["answered"], told["left"]) == (len(texts), len(queue) - len(texts))
    assert len(queue.history("Ann")) == len(texts)
    for place in range(len(queue)):
        question = queue.question(place, "Ann")
        assert (question.said is not None) == (question.text in texts)
        if question.said is not None:  # a correction on the page stands from then on
            queue.answer(place, "negative", "Ann", "", question.version)
            assert queue.question(place, "Ann").said["label"] == "negative"
    assert queue.facts("Ann")["answered"] == len(texts)


def test_of_two_processes_that_answer_at_once_one_is_told(folder):
    queues = [FolderQueue(drawn(folder), "audit"), FolderQueue(folder, "audit")]
    told = []

    def answer(queue, word):
        try:
            queue.answer(0, word, "Ann", "", 0)
        except Conflict:
            told.append(word)

    with locked(folder / "audit"):  # both have read that nothing stands when the first may write
        threads = [
            threading.Thread(target=answer, args=pair)
            for pair in zip(queues, ("positive", "negative"), strict=True)
        ]
        for thread in threads:
            thread.start()
        time.sleep(0.2)
        assert not (folder / "audit" / LOG).exists()
    for thread in threads:
        thread.join()
    [line] = read_lines(folder / "audit" / LOG)
    assert {line["label"], *told} == {"positive", "negative"}
