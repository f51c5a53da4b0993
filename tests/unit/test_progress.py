"""Progress is silent where nobody looks, and never more than a line a second for machines."""

from __future__ import annotations

import io
import json
import sys
import time

import pytest

from textlabel import progress
from textlabel.progress import bar, events, meter


@pytest.fixture
def clock(monkeypatch):
    """A clock that only the test moves."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def lines(capsys):
    captured = capsys.readouterr()
    assert captured.out == ""
    return [json.loads(line) for line in captured.err.splitlines()]


def test_nothing_is_said_where_nobody_looks(capsys):
    with bar("encode") as draw, meter("annotate", 10) as update:
        draw(1, 2)
        update(5, 100)
    assert capsys.readouterr() == ("", "")


def test_events_tell_speed_and_time_left(clock, capsys, monkeypatch):
    monkeypatch.setenv("RANK", "3")
    with events(), meter("annotate", 100) as update:
        clock[0] += 2
        update(20, 600)
    assert lines(capsys) == [
        {
            "event": "progress",
            "rows": 20,
            "of": 100,
            "rows_per_second": 10.0,
            "tokens_per_second": 300.0,
            "seconds_left": 8.0,
            "process": 3,
        }
    ]


def test_there_is_at_most_one_event_a_second(clock, capsys):
    with events(), meter("annotate", 100) as update:
        for done in range(1, 101):
            clock[0] += 0.09
            update(done, done)
    told = lines(capsys)
    assert 9 <= len(told) <= 10
    assert told[0]["rows"] == 1  # the first at once


def test_nothing_done_yet_leaves_the_time_open(clock, capsys):
    with events(), meter("annotate", 100) as update:
        update(0, 0)
    assert lines(capsys)[0]["seconds_left"] is None


def test_events_end_with_their_block(capsys):
    with events():
        pass
    with events(False), meter("annotate", 1) as update:
        update(1, 1)
    assert lines(capsys) == []


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("rank", "drawn"), [("0", True), ("1", False)])
def test_a_terminal_gets_a_bar_from_the_main_process(monkeypatch, rank, drawn):
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setattr(sys, "stderr", Terminal())
    with meter("annotate", 1000) as update:
        time.sleep(0.11)
        update(500, 5000)
        text = sys.stderr.getvalue()
    assert ("annotate:  50%" in text and "tokens/s" in text and "row/s" in text) == drawn
    assert progress.EVERY == 1
