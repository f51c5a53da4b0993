"""`textlabel why`."""

import csv
import json

import pytest
from tiny import several, snippets, write_static
from typer.testing import CliRunner

from textlabel import Labeler
from textlabel.cli.app import app
from textlabel.explaining import why


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("why")
    return Labeler(write_static(folder / "static"), cache=False).fit(snippets(100)).save(folder / "model")


def run(*words):
    return CliRunner().invoke(app, ["why", *map(str, words)])


def test_it_tells_words_and_neighbors(model, tmp_path):
    near = tmp_path / "near.jsonl"
    near.write_text("".join(json.dumps(row) + "\n" for row in snippets(20)))
    done = run("--model", model, "--text", snippets(1)[0]["text"], "--neighbors", near)
    assert done.exit_code == 0, done.stderr
    for word in ("label", "words", "near"):
        assert f"\n  {word} " in done.stdout
    told = json.loads(run("--model", model, "--text", "a good plot", "--json").stdout)
    assert set(told["rows"][0]) == {
        "id",
        "text",
        "label",
        "words",
        "word_scores",
        "without",
        "becomes",
        "faithful",
    }


RULES = """
[[rule]]
name = "praise"
label = "positive"
keywords = ["good"]

[[rule]]
name = "blame"
label = "negative"
keywords = ["bad", "good plot"]
"""


def test_rules_that_fired_are_told(model, tmp_path):
    rules, more = tmp_path / "rules.toml", tmp_path / "more.py"
    rules.write_text(RULES)
    more.write_text(
        "from textlabel.rules.functions import labeling_function\n"
        "@labeling_function\ndef short(text):\n    return 'negative' if len(text) < 5 else None\n"
    )
    words = ("--model", model, "--rules", rules, "--rules", more, "--text", "a good plot", "--text", "plot")
    told = json.loads(run(*words, "--text", "the plot of it", "--json").stdout)["rows"]
    assert told[0]["rules"] == [
        {"rule": "praise", "label": "positive"},
        {"rule": "blame", "label": "negative"},
    ]
    assert told[1]["rules"] == [{"rule": "short", "label": "negative"}]
    assert told[2]["rules"] == []
    shown = run(*words).stdout
    assert "rules    praise says positive, blame says negative" in shown
    missing = run("--model", model, "--rules", tmp_path / "none.toml", "--text", "a")
    assert missing.exit_code == 1
    assert "no such rules file" in missing.stderr


def test_lists_of_a_csv_can_be_read_again(model, tmp_path):
    rules, near, out = tmp_path / "rules.toml", tmp_path / "near.jsonl", tmp_path / "why.csv"
    rules.write_text(RULES)
    near.write_text("".join(json.dumps(row) + "\n" for row in snippets(20)))
    run("--model", model, "--rules", rules, "--neighbors", near, "--text", "a good plot", "--out", out)
    with out.open(newline="") as file:
        [row] = csv.DictReader(file)
    assert json.loads(row["rules"])[0] == {"rule": "praise", "label": "positive"}
    assert len(json.loads(row["neighbors"])) == 3
    assert len(json.loads(row["words"])) == len(json.loads(row["word_scores"])) > 0


def test_a_corpus_is_explained_as_far_as_asked_and_kept(model, tmp_path):
    corpus, out = tmp_path / "rows.jsonl", tmp_path / "why.csv"
    corpus.write_text("".join(json.dumps(row) + "\n" for row in snippets(20)))
    done = run(corpus, "--model", model, "--rows", 3, "--out", out, "--json")
    assert done.exit_code == 0, done.stderr
    assert len(json.loads(done.stdout)["rows"]) == 3
    assert len(out.read_text().splitlines()) == 4
    again = run(corpus, "--model", model, "--out", out)
    assert again.exit_code == 1
    assert "choose another" in again.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "expected a corpus or texts"),
        (("--text", "a"), "--model"),
        (("--text", "a", "--model", "m", "--top", 0), "at least 1"),
        (("--text", "a", "--model", "MODEL", "--method", "gradient"), "gradient_x_input"),
    ],
)
def test_what_is_missing_is_said(model, words, told):
    done = run(*(model if word == "MODEL" else word for word in words))
    assert done.exit_code == 1
    assert told in done.stderr


def test_neighbors_in_a_csv_file_may_carry_several_classes(tmp_path):
    rows = several(60)
    model = Labeler(write_static(tmp_path / "static"), recipe="multilabel", cache=False).fit(rows)
    near = tmp_path / "near.csv"
    with near.open("w", newline="") as file:
        csv.writer(file).writerows(
            [("text", "label"), *((r["text"], "|".join(r["label"])) for r in rows[:20])]
        )
    [told] = why(model, [{"text": rows[0]["text"]}], neighbors=str(near))
    assert {tuple(one["label"]) for one in told["neighbors"]} <= {tuple(r["label"]) for r in rows[:20]}
