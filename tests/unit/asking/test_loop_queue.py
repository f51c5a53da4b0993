"""A loop on the page: round after round, nothing asked twice, nothing lost, nothing of the model shown."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from tiny import snippets, write_static

from textlabel import registry
from textlabel.asking import Loop, Start
from textlabel.asking.queue import LoopQueue, loop_queue
from textlabel.errors import AuditError, CorpusError
from textlabel.review.queue import SKIP, UNSURE, Conflict, Filter
from textlabel.review.terminal import review
from textlabel.reviewing import Review

TRUTH = {row["text"]: row["label"] for row in snippets(60)}


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "corpus.jsonl"
    path.write_text(
        "".join(json.dumps({"id": row["id"], "text": row["text"]}) + "\n" for row in snippets(60))
    )
    static = str(write_static(tmp_path / "static"))
    Start(str(path), str(tmp_path / "loop"), ("negative", "positive"), backbone=static, cache=False).run()
    return tmp_path / "loop"


def answered(queue, times, reviewer="Ann"):
    """Answer rows rightly, and return their texts."""
    texts, place = [], queue.next(-1, reviewer, Filter())
    while place is not None and len(texts) < times:
        question = queue.question(place, reviewer)
        queue.answer(place, TRUTH[question.text], reviewer, "", question.version)
        texts.append(question.text)
        place = queue.next(place, reviewer, Filter())
    return texts


def test_rounds_follow_each_other_until_every_text_has_an_answer(folder):
    queue = loop_queue(str(folder), 25)
    texts = answered(queue, 1000)
    assert sorted(texts) == sorted(TRUTH)
    assert len(Loop(folder).rounds()) == 3
    facts = queue.facts("Ann")
    assert (facts["answered"], facts["left"], facts["total"]) == (60, 0, 60)
    assert "no row left" in facts["ended"]
    assert Loop(folder).status()["classes"] == {"negative": 30, "positive": 30}


def test_later_rounds_are_those_of_the_command(folder, tmp_path):
    answered(loop_queue(str(folder), 20), 20)
    rounds = Loop(folder).rounds()
    again = Loop(folder)._next(
        20, {row: TRUTH[Loop(folder).rows()[row]["text"]] for row in rounds[0]["rows"]}, 1
    )
    assert rounds[1]["rows"] == again[0]


def test_a_new_process_goes_on_where_the_old_one_was_killed(folder):
    first = answered(loop_queue(str(folder), 20), 7)
    queue = loop_queue(str(folder), 20)
    assert queue.facts("Ann")["answered"] == 7
    assert not set(first) & set(answered(queue, 13))
    assert len(Loop(folder).rounds()) == 2  # the second was proposed when the first was done


def test_nothing_that_the_model_says_is_shown(folder):
    queue = loop_queue(str(folder), 20)
    answered(queue, 30)
    question = queue.question(35, "Ann")
    assert (question.suggestion, question.confidence, dict(question.columns)) == (None, None, {})
    assert queue.why(35) is None
    assert not queue.facts("Ann")["shows_model"]


def test_undo_takes_an_answer_back_and_what_was_said_before_stands(folder):
    queue = loop_queue(str(folder), 20)
    question = queue.question(0, "Ann")
    queue.answer(0, "negative", "Ann", "", question.version)
    queue.answer(0, "positive", "Ann", "sure", queue.question(0, "Ann").version)
    assert list(Loop(folder).labels().values()) == ["positive"]
    assert queue.undo("Ann") == 0
    assert list(Loop(folder).labels().values()) == ["negative"]
    assert queue.undo("Ann") == 0
    assert Loop(folder).labels() == {}
    assert queue.undo("Ann") is None
    assert queue.next(-1, "Ann", Filter()) == 0


def test_two_tabs_do_not_overwrite_each_other(folder):
    queue = loop_queue(str(folder), 20)
    version = queue.question(0, "Ann").version
    queue.answer(0, "negative", "Ann", "", version)
    with pytest.raises(Conflict):
        queue.answer(0, "positive", "Ann", "", version)


def test_a_row_is_asked_of_one_person_and_differences_are_told(folder):
    queue = loop_queue(str(folder), 20)
    first = answered(queue, 5)
    assert queue.next(-1, "Bob", Filter()) == 5
    queue.answer(0, "positive" if TRUTH[first[0]] == "negative" else "negative", "Bob", "", 0)
    [one] = queue.disagreements()
    assert one["text"] == first[0]
    assert set(one["said"]) == {"ann", "bob"}


def test_unsure_and_skipped_rows_are_not_asked_again(folder):
    queue = loop_queue(str(folder), 20)
    queue.answer(0, UNSURE, "Ann", "", 0)
    queue.answer(1, SKIP, "Ann", "", 0)
    assert list(Loop(folder).labels().values()) == [None, None]
    assert queue.next(-1, "Ann", Filter()) == 2
    with pytest.raises(AuditError, match="unknown label 'positve'"):
        queue.answer(2, "positve", "Ann", "", 0)


def test_a_search_does_not_propose(folder):
    queue = loop_queue(str(folder), 20)
    answered(queue, 19)
    assert queue.next(-1, "Ann", Filter(search="no such words")) is None
    assert len(Loop(folder).rounds()) == 1


def test_a_budget_ends_it_and_is_told(folder, tmp_path):
    settings = json.loads((folder / "loop.json").read_text())
    (folder / "loop.json").write_text(json.dumps({**settings, "budget": 30}))
    queue = loop_queue(str(folder), 20)
    assert len(answered(queue, 1000)) == 30
    assert "the budget of 30 labels is spent" in queue.facts("Ann")["ended"]
    assert Loop(folder).status()["stop"]["budget"] == "the budget of 30 labels is spent"
    with pytest.raises(CorpusError, match="budget of 30"):
        Loop(folder).propose(5)


def test_stopping_rules_see_the_last_rounds_as_they_were(folder):
    loop = Loop(folder)
    assert set(loop.status()["stop"].values()) == {""}
    queue, seen = loop_queue(str(folder), 10), []
    for _ in range(6):
        answered(queue, 10)
        known = loop._known(dict(list(loop.labels().items())))
        seen.append(loop._heads(*known, 0).probabilities(known[0]))
    rounds = loop.last_rounds()
    assert [one.labeled for one in rounds] == [30, 40, 50, 60]
    for one, then in zip(rounds, seen[-4:], strict=True):
        np.testing.assert_allclose(one.probabilities, then, atol=1e-6)
    rules = {
        name: registry.load("stopping", name).stop(rounds) for name in ("budget", "certificate", "kappa")
    }
    assert loop.stop() == rules


def test_the_terminal_asks_a_loop_and_its_sheets_may_be_mixed(folder):
    loop = Loop(folder)
    loop.propose(10)
    step = Review(str(folder), reviewer="Ann", count=10)
    out = io.StringIO()
    assert review(step.queue(), "Ann", iter(["1\n", "2\n", "u\n", "q\n"]), out) == 2
    assert len(loop.labels()) == 1
    sheet = loop.propose(10)  # the open round is given again, without what the page answered
    assert sheet["rows"] == 9


def test_what_a_loop_has_not_is_refused(folder):
    for wrong in ({"audit": True}, {"every": True}, {"model": "m"}):
        with pytest.raises(AuditError, match="is a loop"):
            Review(str(folder), **wrong).queue()
    with pytest.raises(AuditError, match="expected 1 row"):
        Review(str(folder), count=0).queue()
    assert isinstance(Review(str(folder)).queue(), LoopQueue)
