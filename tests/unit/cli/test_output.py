from __future__ import annotations

import logging

import pytest

from textlabel.cli import output


def test_only_the_main_process_prints_results(monkeypatch, capsys):
    output.say_json({"ü": 1})
    monkeypatch.setenv("RANK", "1")
    output.say("twice")
    assert capsys.readouterr().out == '{\n  "ü": 1\n}\n'


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1234567, "1,234,567"),
        (0.12345, "0.123"),
        (987.6, "988"),
        (["a", "b"], "a, b"),
        ({"train": 50, "audit": 0}, "train 50, audit 0"),
        ("x", "x"),
    ],
)
def test_values_are_shown_for_people(value, shown):
    assert output.pairs({"key": value}) == f"key  {shown}"


def test_what_is_empty_is_not_shown():
    assert output.pairs({"a": None, "b": [], "c": {}, "d": 0}) == "d  0"


@pytest.fixture
def quiet_again():
    log = logging.getLogger("textlabel")
    before = log.handlers[:], log.level
    yield log
    log.handlers[:], log.level = before


def test_the_library_speaks_on_stderr_in_plain_lines(quiet_again, capsys):
    output.log_to_stderr()
    output.log_to_stderr()  # a second call adds no second handler
    quiet_again.info("%d rows", 3)
    quiet_again.debug("details")
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "3 rows\n")


def test_other_processes_tell_errors_only(quiet_again, capsys, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    output.log_to_stderr()
    quiet_again.info("once is enough")
    quiet_again.error("lost")
    assert capsys.readouterr().err == "lost\n"
