"""`textlabel transfer`: options reach the report, and tables tell it."""

from __future__ import annotations

import json

import pytest
from commands import run
from tiny import snippets

from textlabel.cli.transfer import render


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


def test_options_reach_the_report_and_tables_tell_it(files, tiny_backbone):
    corpora = (files / "source.jsonl", "--unlabeled", files / "target.jsonl", "--gold", files / "gold.jsonl")
    columns = ("--text-column", "review", "--label-column", "verdict", "--by", "brand", "--source-by", "part")
    rest = ("--recipes", "", "--class-shares", "labeled", "--backbone", tiny_backbone, "--seed", 3)
    done = run("transfer", *corpora, *columns, *rest, "--json")
    found = json.loads(done.stdout)
    variants = [one["variant"] for one in found["variants"]]
    assert variants == ["source only", "no transfer", "class shares stated", "target only"]
    assert (found["seed"], found["backbone"]) == (3, str(tiny_backbone))
    assert [one["slice"] for one in found["slices"]] == ["x", "y"]
    assert {one["part"] for one in found["parts"]} == {"a", "b"}
    assert "transfer: source only" in done.stderr

    blocks = render(found).split("\n\n")
    assert len(blocks) == 5
    assert "gold rows    40" in blocks[0]
    headings = ["variant", "on source", "estimate without labels", "on gold rows", "accepted"]
    assert [one.strip() for one in blocks[1].splitlines()[0].split("  ") if one.strip()][:5] == headings
    assert [line.split("  ")[0] for line in blocks[1].splitlines()[1:]] == variants
    assert blocks[2].startswith("slice")
    assert len(blocks[2].splitlines()) == 1 + 2 * len(variants)
    assert blocks[3].startswith("part of the source")
    assert "Gold rows only score" in blocks[4]


def test_help_teaches_with_an_example():
    text = run("transfer", "--help").stdout
    assert "textlabel transfer films.csv --unlabeled products.csv" in text
    assert "negative transfer" in " ".join(text.split())


def test_recipes_are_parted_by_commas(files):
    corpora = (files / "source.jsonl", "--unlabeled", files / "target.jsonl")
    done = run("transfer", *corpora, "--recipes", "auto, lora", code=1)
    assert "'lora' reads no texts of the target" in done.stderr
