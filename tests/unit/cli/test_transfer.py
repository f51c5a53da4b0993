"""`textlabel transfer`: options reach the report, and tables tell it."""

from __future__ import annotations

import json

import pytest
from commands import run, told
from tiny import snippets

from textlabel.transfer import Transfer


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return a folder with a source in two parts, texts, and gold rows in two slices."""
    folder = tmp_path_factory.mktemp("user")
    source = [{**row, "part": "ab"[i // 40 % 2]} for i, row in enumerate(snippets(80))]
    gold = [{**row, "brand": "xy"[i // 20 % 2]} for i, row in enumerate(snippets(40, seed=2))]
    for name, rows in {"source": source, "target": snippets(40, seed=1), "gold": gold}.items():
        rows = [{("review" if key == "text" else key): row[key] for key in row} for row in rows]
        rows = [{("verdict" if key == "label" else key): row[key] for key in row} for row in rows]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def words(files, backbone):
    corpora = (files / "source.jsonl", "--unlabeled", files / "target.jsonl", "--gold", files / "gold.jsonl")
    columns = ("--text-column", "review", "--label-column", "verdict", "--by", "brand", "--source-by", "part")
    rest = ("--recipes", "auto", "--class-shares", "labeled", "--budget", "0", "--backbone", backbone)
    return ("transfer", *corpora, *columns, *rest, "--seed", 3)


def test_json_is_what_python_tells(files, tiny_backbone):
    found = told(*words(files, tiny_backbone))
    expected = Transfer(
        str(files / "source.jsonl"),
        str(files / "target.jsonl"),
        str(files / "gold.jsonl"),
        ("auto",),
        str(tiny_backbone),
        class_shares="labeled",
        by="brand",
        source_by="part",
        text_column=("review",),
        label_column="verdict",
        budget="0",
        seed=3,
    ).run()
    for one in (*found["variants"], *expected["variants"]):
        del one["seconds"]
    assert found == expected
    assert [one["variant"] for one in found["variants"]][2:] == ["auto", "class shares stated", "target only"]


def test_people_get_tables_and_what_they_promise(files, tiny_backbone):
    done = run(*words(files, tiny_backbone))
    blocks = done.stdout.strip().split("\n\n")
    assert len(blocks) == 5
    assert "gold rows    40" in blocks[0]
    headings = ["variant", "on source", "estimate without labels", "on gold rows", "accepted"]
    assert [one for one in blocks[1].splitlines()[0].split("  ") if one][:5] == headings
    assert [line.split("  ")[0] for line in blocks[1].splitlines()[1:3]] == ["source only", "no transfer"]
    assert blocks[2].startswith("slice")
    assert blocks[3].startswith("part of the source")
    assert "Gold rows only score" in blocks[4]
    assert "transfer: source only" in done.stderr


def test_help_teaches_with_an_example():
    text = run("transfer", "--help").stdout
    assert "textlabel transfer films.csv --unlabeled products.csv" in text
    assert "negative transfer" in " ".join(text.split())
