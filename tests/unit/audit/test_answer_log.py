"""The log of answers, read as it grows, against the whole log read at once."""

from __future__ import annotations

import json
import random

import pytest

from textlabel.audit.answer_log import AnswerLog
from textlabel.audit.answers import WITHDRAWN


def standing(lines):
    """Return {(sheet, row, reviewer): number of the line that stands}, from the whole log."""
    stacks = {}
    for number, line in enumerate(lines):
        stack = stacks.setdefault((line["sheet"], line["row"], line["reviewer"].casefold()), [])
        if line["state"] != WITHDRAWN:
            stack.append(number)
        elif stack:
            stack.pop()
    return {key: stack[-1] for key, stack in stacks.items() if stack}


@pytest.mark.parametrize("seed", range(10))
def test_what_stands_is_what_the_whole_log_says(tmp_path, seed):
    rng, lines, path = random.Random(seed), [], tmp_path / "answers.jsonl"
    log = AnswerLog(path, lambda *_: ("answered", "a"), str)
    for _ in range(80):
        line = {"sheet": rng.choice("st"), "row": rng.randrange(4), "label": rng.choice("ab"), "note": None}
        line |= {"state": rng.choice(["answered", "answered", "skip", WITHDRAWN]), "time": "t", "id": "x"}
        lines.append({**line, "reviewer": rng.choice(["Ann", "ann", "Bo"])})
        with path.open("a") as file:
            file.write(json.dumps(lines[-1]) + "\n")
        known = standing(lines)
        for who in ("Ann", "Bo"):
            mine = {key[:2]: number for key, number in known.items() if key[2] == who.casefold()}
            assert log.newest(who) == sorted(mine, key=mine.__getitem__)
            for sheet in "st":
                for row in range(4):
                    said, version = log.of(sheet, row, who)
                    number = mine.get((sheet, row))
                    assert (said is None) == (number is None)
                    assert said is None or said["label"] == lines[number]["label"]
                    same = [x for x in lines if (x["sheet"], x["row"]) == (sheet, row)]
                    assert version == sum(x["reviewer"].casefold() == who.casefold() for x in same)
        assert set(log.answered()) == {key[:2] for key in known}


def test_fifty_thousand_answers_do_not_slow_the_next(tmp_path):
    import time

    path = tmp_path / "answers.jsonl"
    line = {"sheet": "todo", "id": "x", "state": "answered", "label": "a", "note": None, "time": "t"}
    path.write_text("".join(json.dumps({**line, "row": i, "reviewer": "Ann"}) + "\n" for i in range(50_000)))
    log = AnswerLog(path, lambda *_: ("answered", "a"), str)
    began = time.perf_counter()
    assert len(log.newest("Ann")) == 50_000
    opened, began = time.perf_counter() - began, time.perf_counter()
    for _ in range(10):
        log.newest("Ann")
        log.answered()
    assert (time.perf_counter() - began) / 10 < opened / 20
