"""Rules files: what is wrong in one is told with file, rule and key."""

from __future__ import annotations

import pytest

from textlabel.errors import RecipeError
from textlabel.rules.files import read_rules
from textlabel.rules.functions import vote_names

#: as TOML writes them
WRONG = (
    "1",
    "-1",
    "true",
    "1.5",
    '""',
    '" "',
    "[]",
    "[1]",
    '[""]',
    "{}",
    "{a = 'x'}",
    "{a = nan}",
    "inf",
    "1979-05-27",
)
FINDER = {"case_sensitive": "regex = 'a'", "label_below": "lexicon = ['a']", "threshold": "lexicon = ['a']"}
RIGHT = {"case_sensitive": ("true",), "threshold": ("1", "1.5")}


def read(tmp_path, text):
    path = tmp_path / "rules.toml"
    path.write_text(text, encoding="utf-8")
    return read_rules(path)


@pytest.mark.parametrize("value", WRONG)
@pytest.mark.parametrize(
    "key", ["name", "label", "keywords", "regex", "lexicon", "case_sensitive", "label_below", "threshold"]
)
def test_a_value_of_the_wrong_type_is_named(tmp_path, key, value):
    if value in RIGHT.get(key, ()):
        return
    keys = {"name": "'mine'", "label": "'spam'", "keywords": "['a']"}
    if key in ("regex", "lexicon") or key in FINDER:
        del keys["keywords"]
    table = [f"{k} = {v}" for k, v in (keys | {key: value}).items()] + [FINDER.get(key, "")]
    with pytest.raises(RecipeError) as told:
        read(tmp_path, "[[rule]]\n" + "\n".join(table))
    words = str(told.value)
    assert str(tmp_path / "rules.toml") in words
    assert f"expected {key} = " in words
    assert "; got " in words
    assert ("rule 'mine'" in words) is (key != "name")


@pytest.mark.parametrize(
    "value", ["3", '"ab"', "[]", '["a"]', '["a", "a"]', '["a", 1]', "[[]]", "{}", "true"]
)
def test_classes_of_the_wrong_type_are_named(tmp_path, value):
    with pytest.raises(RecipeError, match=r"rules.toml: expected classes = a list of two different names"):
        read(tmp_path, f"classes = {value}\n[[rule]]\nlabel = 'a'\nkeywords = ['b']")


@pytest.mark.parametrize(
    "text", ["rule = 1", "rule = [1]", "rule = 'a'", "rule = []", "", "[rule]\nlabel = 'a'"]
)
def test_rules_that_are_no_tables_are_told(tmp_path, text):
    with pytest.raises(
        RecipeError, match=r"rules.toml: (no rule in it; expected tables|rule 1: expected a table)"
    ):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        (
            "keywords = ['a']\ncase_sensitive = true",
            "case_sensitive goes with regex, and this rule has keywords",
        ),
        ("regex = 'a'\nthreshold = 2", "threshold goes with lexicon, and this rule has regex"),
        ("keywords = ['a']\nlabel_below = 'ham'", "label_below goes with lexicon"),
    ],
)
def test_a_key_that_would_do_nothing_is_refused(tmp_path, keys, told):
    with pytest.raises(RecipeError, match=told):
        read(tmp_path, f"[[rule]]\nlabel = 'spam'\n{keys}")


def test_files_of_a_spreadsheet_begin_with_a_mark(tmp_path):
    (tmp_path / "words.txt").write_text("good\t2\nfine\n", encoding="utf-8-sig")
    path = tmp_path / "rules.toml"
    path.write_text("[[rule]]\nlabel = 'positive'\nlexicon = 'words.txt'", encoding="utf-8-sig")
    assert vote_names(read_rules(path), ["good", "fine", "bad"]) == [["positive"], ["positive"], [None]]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("", "has no word"),
        ("# none\n\n", "has no word"),
        ("good\t2\nbad\tx\n", r"row 2: expected a word, a tab and its weight.*'bad\\tx'"),
        ("good\tnan\n", "row 1: expected"),
        ("\t2\n", "row 1: expected"),
        (None, "cannot be read"),
    ],
)
def test_a_lexicon_says_what_is_wrong_with_it(tmp_path, words, told):
    if words is not None:
        (tmp_path / "words.txt").write_text(words)
    with pytest.raises(RecipeError, match=f"rule 1'.*words.txt.*{told}"):
        read(tmp_path, "[[rule]]\nlabel = 'positive'\nlexicon = 'words.txt'")


PYTHON = """
from __future__ import annotations

from dataclasses import dataclass

from textlabel.rules.functions import labeling_function

@dataclass
class Words:
    of: list[str]

LOUD = Words(["BUY"])

@labeling_function
def loud(text):
    return "spam" if any(word in text for word in LOUD.of) else None
"""


def test_a_python_file_may_hold_a_dataclass(tmp_path):
    (tmp_path / "rules.py").write_text(PYTHON)
    assert vote_names(read_rules(tmp_path / "rules.py"), ["BUY", "hello"]) == [["spam"], [None]]
