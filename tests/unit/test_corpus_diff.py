"""Two versions of a corpus, row by row."""

import csv
import json
import time

import numpy as np
import pyarrow as pa
import pytest
import sealed as made
from datasets import Dataset, Value
from typer.testing import CliRunner

from textlabel.cli.app import app
from textlabel.corpus_diff import Diff, compare
from textlabel.errors import CorpusError


def run(*words, code=0):
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == code, done.output
    return done


def write(path, *rows):
    path.write_text("id,text,label\n" + "".join(f"{','.join(row)}\n" for row in rows))
    return path


def test_every_change_is_counted_and_listed(tmp_path):
    one = write(
        tmp_path / "one.csv", ("a", "x", "good"), ("b", "y", "bad"), ("c", "z", "bad"), ("d", "w", "good")
    )
    two = write(
        tmp_path / "two.csv", ("d", "w", "bad"), ("e", "v", "good"), ("a", "xx", "good"), ("b", "y", "good")
    )
    told = json.loads(run("diff", one, two, "--out", tmp_path / "list.csv", "--json").stdout)
    counts = {
        name: told[name] for name in ("rows_before", "rows", "added", "gone", "text_changed", "label_changed")
    }
    assert counts == {
        "rows_before": 4,
        "rows": 4,
        "added": 1,
        "gone": 1,
        "text_changed": 1,
        "label_changed": 2,
    }
    assert {(c["before"], c["after"], c["rows"]) for c in told["confusion"]} == {
        ("good", "bad", 1),
        ("bad", "good", 1),
    }
    assert told["confidence_change"] is None
    with (tmp_path / "list.csv").open(encoding="utf-8", newline="") as file:
        rows = {(row["change"], row["id"]): row for row in csv.DictReader(file)}
    assert set(rows) == {
        ("added", "e"),
        ("gone", "c"),
        ("text_changed", "a"),
        ("label_changed", "b"),
        ("label_changed", "d"),
    }
    assert (rows["text_changed", "a"]["text_before"], rows["text_changed", "a"]["text"]) == ("x", "xx")
    assert (rows["label_changed", "d"]["label_before"], rows["label_changed", "d"]["label"]) == (
        "good",
        "bad",
    )
    shown = run("diff", one, two).stdout
    assert "good -> bad" in shown


def test_annotations_and_their_confidence(tmp_path):
    rows, _ = made.corpus(30)
    made.write(rows, tmp_path / "one")
    later = [
        {**row, "confidence": row["confidence"] - (0.2 if i < 3 else 0.01)} for i, row in enumerate(rows)
    ]
    made.write(type(rows).from_list(later, features=rows.features), tmp_path / "two")
    told = Diff(str(tmp_path / "one"), str(tmp_path / "two"), shown=2).run()
    assert (told["confidence_moved"], told["label_changed"], told["added"]) == (3, 0, 0)
    assert told["confidence_change"] == pytest.approx(-(3 * 0.2 + 27 * 0.01) / 30, abs=1e-4)
    assert [row["id"] for row in told["samples"]["confidence_moved"]] == ["r0", "r1"]
    in_memory = Diff(rows, type(rows).from_list(later, features=rows.features), shown=2).run()
    assert in_memory == told
    same = Diff(str(tmp_path / "one"), str(tmp_path / "one")).run()
    assert same["confusion"] == []
    assert not any(same["samples"].values())


def test_several_classes_and_scores(tmp_path):
    one = write(tmp_path / "one.csv", ("a", "x", "p|q"), ("b", "y", "p"))
    two = write(tmp_path / "two.csv", ("a", "x", "q|p"), ("b", "y", "(none)"))
    told = Diff(str(one), str(two), label_kind="multi").run()
    assert told["confusion"] == [{"before": "p", "after": "(none)", "rows": 1}]
    one, two = write(tmp_path / "1.csv", ("a", "x", "1")), write(tmp_path / "2.csv", ("a", "x", "1.5"))
    assert Diff(str(one), str(two), label_kind="score").run()["confusion"][0]["after"] == 1.5
    with pytest.raises(CorpusError, match="expected the same kind of label"):
        compare(
            pa.table({"id": ["a"], "text": ["x"], "label": ["p"], "confidence": [1.0]}),
            pa.table({"id": ["a"], "text": ["x"], "label": [1.0], "confidence": [1.0]}),
        )


def test_ids_must_name_rows(tmp_path):
    one = pa.table({"id": ["a", "a"], "text": ["x", "y"], "label": ["p", "p"], "confidence": [1.0, 1.0]})
    with pytest.raises(CorpusError, match="after: id 'a' occurs twice"):
        compare(one.slice(0, 1), one)


def test_nothing_in_common_or_nothing_at_all():
    one = pa.table({"id": ["a"], "text": ["x"], "label": ["p"], "confidence": [1.0]})
    other = one.set_column(0, "id", [["b"]])
    assert compare(one, other).counts["gone"] == compare(one, other).counts["added"] == 1
    assert compare(one, one.slice(0, 0)).counts["gone"] == 1
    assert compare(one.slice(0, 0), one).counts["added"] == 1


def test_a_missing_label_is_a_change_and_a_missing_confidence_none():
    one = pa.table({"id": ["a"], "text": ["x"], "label": ["p"], "confidence": [1.0]})
    other = one.set_column(2, "label", pa.chunked_array([[None]], pa.string()))
    other = other.set_column(3, "confidence", pa.chunked_array([[None]], pa.float64()))
    counts = compare(one, other).counts
    assert counts["label_changed"] == 1
    assert (counts["confidence_moved"], counts["confidence_change"]) == (0, None)


def test_100_000_rows_take_no_time():
    n = 100_000
    rng = np.random.default_rng(0)
    ids = np.arange(n).astype(str)
    one = pa.table({"id": ids, "text": ids, "label": rng.choice(["p", "q"], n), "confidence": rng.random(n)})
    other = one.take(pa.array(rng.permutation(n)))
    start = time.perf_counter()
    counts = compare(one, other).counts
    assert time.perf_counter() - start < 5
    assert (counts["label_changed"], counts["added"], counts["confidence_moved"]) == (0, 0, 0)


def test_datasets_are_read_by_the_columns_that_are_named():
    rows = [{"id": i, "text": i, "label": "p", "fixed": fixed} for i, fixed in (("a", "p"), ("b", "n"))]
    before = Dataset.from_list([{**row, "fixed": "p"} for row in rows])
    told = Diff(before, Dataset.from_list(rows), label_column="fixed").run()
    assert told["label_changed"] == 1
    nameless = Dataset.from_list([{"id": i, "text": "x", "label": "p"} for i in (None, "b")])
    with pytest.raises(CorpusError, match="a row has no id"):
        Diff(nameless, nameless).run()


def test_scores_of_different_width_are_compared():
    rows = [{"id": "a", "text": "x", "label": 0.5}, {"id": "b", "text": "y", "label": 1.5}]
    wide = Dataset.from_list(rows)
    narrow = wide.cast_column("label", Value("float32"))
    assert Diff(wide, narrow, label_kind="score").run()["label_changed"] == 0
