from __future__ import annotations

import pytest

from textlabel.errors import RecipeError
from textlabel.rules.files import read_rules
from textlabel.rules.functions import LabelingFunction, Rules, encode, labeling_function, vote_names
from textlabel.rules.matching import folded, words_pattern


def rules_of(tmp_path, text):
    path = tmp_path / "rules.toml"
    path.write_text(text, encoding="utf-8")
    return read_rules(path)


@pytest.mark.parametrize(
    ("word", "text", "found"),
    [
        ("free", "FREE!", True),
        ("free", "freedom", False),
        ("free prize", "free \n prize", True),
        ("STRASSE", "straße 3", True),
        ("很好", "质量很好用", True),
        ("iphone", "我的iPhone很好", True),
        ("हिन", "हिन्दी", False),  # a vowel sign belongs to the word
        ("हिन्दी", "यह हिन्दी है", True),
        ("ดี", "อาหารดีมาก", True),
        ("c++", "I like C++.", True),
        (":)", "ok:)", True),
        ("\uff21\uff22", "ab", True),
    ],
)
def test_words_of_any_script(word, text, found):
    assert bool(words_pattern([word]).search(folded(text))) is found


def test_a_rules_file_of_all_three_kinds(tmp_path):
    (tmp_path / "tone.tsv").write_text("good\t1\n# said of ships\nvery bad\t-2\nfine\n", encoding="utf-8")
    rules = rules_of(
        tmp_path,
        """
        classes = ["neg", "pos"]
        [[rule]]
        name = "words"
        label = "pos"
        keywords = ["great"]
        [[rule]]
        name = "case"
        label = "neg"
        regex = 'BAD\\b'
        case_sensitive = true
        [[rule]]
        name = "tone"
        label = "pos"
        label_below = "neg"
        lexicon = "tone.tsv"
        threshold = 2
        """,
    )
    said = vote_names(rules, ["Great, good and fine", "BAD", "bad", "very  bad good", "very bad"])
    assert said == [
        ["pos", None, "pos"],
        [None, "neg", None],
        [None, None, None],
        [None, None, None],
        [None, None, "neg"],
    ]
    assert encode(said, rules.labels).tolist()[0] == [1, -1, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[rule]]\nname='a'\nlabel='x'\nregex='(a'", "rules.toml: rule 'a': regex '(a' does not compile"),
        ("[[rule]]\nname='a'\nlabel='x'\nkeyword=['a']", "unknown key 'keyword'; did you mean 'keywords'"),
        ("[[rule]]\nlabel='x'", "rule 'rule 1': expected one of keywords, regex, lexicon; got none"),
        ("[[rule]]\nlabel='x'\nkeywords=['']", "none empty"),
        ("[[rule]]\nkeywords=['a']", "expected label"),
        ("classes=['x','y']\n[[rule]]\nlabel='z'\nkeywords=['a']", "label 'z'"),
        ("[[rule]]\nname='a'\nlabel='x'\nregex='b'\n[[rule]]\nname='a'\nlabel='x'\nregex='c'", "twice"),
        ("[[rule]]\nlabel='x'\nlexicon='gone.tsv'", "gone.tsv cannot be read"),
        ("[[rule]]\nlabel='x'\nlexicon={a='b'}", "finite weights"),
        ("x = ", "not a TOML file"),
        ("", "no rule in it"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(tmp_path, text, message):
    with pytest.raises(RecipeError) as error:
        rules_of(tmp_path, text)
    assert message in str(error.value)


def test_functions_of_a_python_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from textlabel.rules.functions import labeling_function\n"
        "@labeling_function(labels=['spam'])\n"
        "def shouts(text):\n    return 'spam' if text.isupper() else None\n"
        "def no_rule(text):\n    return 'x'\n",
        encoding="utf-8",
    )
    rules = read_rules(path)
    assert rules.names == ("shouts",)
    assert rules.labels == ("spam",)
    assert vote_names(rules, ["BUY", "buy"]) == [["spam"], [None]]
    path.write_text("import nothing_of_this_name", encoding="utf-8")
    with pytest.raises(RecipeError, match="importing it failed"):
        read_rules(path)


def test_a_function_that_fails_or_returns_a_number_is_named():
    fails = Rules((labeling_function(lambda text: text[5]),))
    with pytest.raises(RecipeError, match="failed on row 0: IndexError"):
        vote_names(fails, ["abc"])
    with pytest.raises(RecipeError, match="returned 1 of row 0"):
        vote_names(Rules((LabelingFunction("n", lambda text: 1),)), ["abc"])
    with pytest.raises(RecipeError, match="votes for 'spma'"):
        encode([["spma"]], ["ham", "spam"])
