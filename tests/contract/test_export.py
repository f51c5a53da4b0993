"""Every file format: what goes in comes out, and nothing of the user's is lost on the way."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import datasets
import numpy as np
import pytest
import yaml
from datasets import ClassLabel, Features, List, Value

from textlabel.corpus import spool
from textlabel.errors import CorpusError, ExportError
from textlabel.export import csv, jsonl
from textlabel.export._read import read_annotations, read_record
from textlabel.registry import load, plugins

FORMATS = [name for name in plugins("export") if name != "hub"]
NAMES = ["good", 'bad, "quoted"', "schön"]
RECORD = {
    "format": 1,
    "textlabel": "0.1.0",
    "created": "2026-11-21",
    "schema": {"kind": "single", "names": NAMES},
    "backbone": {"name": "tiny", "sha256": "0" * 64, "source": "local", "license": "mit"},
    "recipe": {"name": "head"},
    "seed": 0,
    "versions": {"numpy": "2"},
    "labels": {"train": 8, "calibration": "out-of-fold 5", "audit": 0},
    "calibrator": {"name": "temperature", "temperature": 1.5},
    "rows": 4,
    "certificate": None,
    "evaluation": None,
}
TEXTS = ["plain", 'quotes " and "" , commas', "lines\nof\r\ntext\rhere\t\u2028", "=SUM(A1) 😀 \\ | \x0b"]


@pytest.fixture
def annotated():
    p = np.random.default_rng(0).dirichlet([1, 1, 1], 4).astype(np.float32)
    features = Features(
        {
            "id": Value("string"),
            "text": Value("string"),
            "label": ClassLabel(names=NAMES),
            "confidence": Value("float64"),
            "probabilities": List(Value("float32")),
            "prediction_set": List(Value("string")),
            "ood_score": Value("float32"),
            "decision": Value("string"),
            "carried": Value("string"),
            "stars": Value("int64"),
            "spam": Value("bool"),
            "when": Value("timestamp[us]"),
            "day": Value("date32"),
            "tags": List(Value("string")),
            "nested": {"a": Value("int32"), "b": List(Value("float32"))},
            "other_label": List(ClassLabel(names=["x", "y"])),
            "nothing": Value("null"),
        }
    )
    moment = datetime.datetime(2026, 1, 2, 3, 4, 5, 678)
    columns = {
        "id": ["r0", "007", "", "1e5"],
        "text": TEXTS,
        "label": p.argmax(1),
        "confidence": p.max(1).astype(float),
        "probabilities": p,
        "prediction_set": [["good"], [], NAMES, None],
        "ood_score": np.float32([0.1, -3.3, 1e-9, 1e9]),
        "decision": ["accepted", "review"] * 2,
        "carried": ["", None, "NULL", ' "" '],
        "stars": [1, None, -3, 2**60],
        "spam": [True, None, False, True],
        "when": [moment, None, moment, moment],
        "day": [datetime.date(2026, 1, 2), None, datetime.date(1, 1, 1), datetime.date(9999, 12, 31)],
        "tags": [["a|b", ""], [], None, ["é"]],
        "nested": [{"a": 1, "b": [0.1]}, {"a": None, "b": []}, None, {"a": 2, "b": None}],
        "other_label": [[0, 1], [], None, [1]],
        "nothing": [None] * 4,
    }
    return datasets.Dataset.from_dict(columns, features=features)


@pytest.fixture(params=FORMATS)
def plugin(request):
    return load("export", request.param)


def test_what_goes_in_comes_out(plugin, annotated, tmp_path):
    assert plugin.write(annotated, tmp_path / "out", RECORD) == tmp_path / "out"
    again = read_annotations(tmp_path / "out")
    assert again.features == annotated.features
    assert again.column_names == annotated.column_names
    for name in annotated.column_names:
        assert again[name][:] == annotated[name][:], name


def test_a_store_gives_the_rows_of_a_disk(plugin, annotated, tmp_path, store, monkeypatch):
    monkeypatch.setattr(spool, "IN_MEMORY", 0)
    plugin.write(annotated, tmp_path / "out", RECORD)
    for file in (tmp_path / "out").iterdir():
        store.put_file(str(file), f"/bucket/out/{file.name}")
    again = read_annotations("memory://bucket/out")
    assert again.features == annotated.features
    assert again.to_list() == read_annotations(tmp_path / "out").to_list() == annotated.to_list()
    assert read_record("memory://bucket/out") == read_record(tmp_path / "out")


def test_what_is_wrong_in_a_store_is_named(plugin, annotated, tmp_path, store):
    plugin.write(annotated, tmp_path / "out", RECORD)
    with pytest.raises(CorpusError, match=r"memory://bucket/out: no textlabel\.json here"):
        read_annotations("memory://bucket/out")
    store.put_file(str(tmp_path / "out/textlabel.json"), "/bucket/out/textlabel.json")
    with pytest.raises(CorpusError, match=r"memory://bucket/out: .* no annotated rows here"):
        read_annotations("memory://bucket/out")
    store.pipe_file(f"/bucket/out/{plugin.FILE}", b"neither json nor arrow")
    with pytest.raises(CorpusError, match=r"memory:///bucket/out.*(damaged|cannot be read)"):
        read_annotations("memory://bucket/out")


@pytest.mark.parametrize("name", ["jsonl", "csv"])
def test_text_is_read_piece_by_piece(name, annotated, tmp_path, monkeypatch):
    """Rows longer than a piece among them."""
    rows = datasets.concatenate_datasets([annotated] * 40)
    long = ['long, "quoted"\n' * 200, *rows["text"][1:-1], "x" * 5000]
    rows = rows.remove_columns("text").add_column("text", long).select_columns(annotated.column_names)
    load("export", name).write(rows, tmp_path, RECORD)
    pieces, from_dict = [], datasets.Dataset.from_dict

    def watched(columns, **options):
        pieces.append(len(columns["id"]))
        return from_dict(columns, **options)

    monkeypatch.setattr(datasets.Dataset, "from_dict", watched)
    monkeypatch.setattr(csv, "BLOCK", 256)
    monkeypatch.setattr(jsonl, "BATCH", 7)
    again = read_annotations(tmp_path)
    assert max(pieces) < 100
    assert again.to_list() == rows.to_list()


def test_a_row_longer_than_a_piece_may_be_is_refused(annotated, tmp_path, monkeypatch):
    rows = annotated.remove_columns("text").add_column("text", ["x" * 3000] * 4)
    load("export", "csv").write(rows.select_columns(annotated.column_names), tmp_path, RECORD)
    monkeypatch.setattr(csv, "BLOCK", 16)
    monkeypatch.setattr(csv, "MOST", 128)
    with pytest.raises(CorpusError, match=r"annotations\.csv is damaged"):
        read_annotations(tmp_path)


def test_a_selection_keeps_its_order(plugin, annotated, tmp_path):
    chosen = annotated.select([3, 0])
    plugin.write(chosen, tmp_path, RECORD)
    assert read_annotations(tmp_path).to_list() == chosen.to_list()


def test_no_rows(plugin, annotated, tmp_path):
    plugin.write(annotated.select([]), tmp_path, RECORD)
    again = read_annotations(tmp_path)
    assert len(again) == 0
    assert again.features == annotated.features


def test_scores_have_no_classes(plugin, tmp_path):
    features = Features(
        {
            "id": Value("string"),
            "label": Value("float64"),
            "confidence": Value("float64"),
            "probabilities": List(Value("float32")),
            "prediction_set": List(Value("float64")),
        }
    )
    columns = {
        "id": ["a", "b"],
        "label": [0.1, 1 / 3],
        "confidence": [None] * 2,
        "probabilities": [[], []],
        "prediction_set": [[0.0, 0.2], [0.25, 0.4]],
    }
    scores = datasets.Dataset.from_dict(columns, features=features)
    plugin.write(scores, tmp_path, RECORD | {"schema": {"kind": "score", "names": []}, "calibrator": None})
    assert read_annotations(tmp_path).to_list() == scores.to_list()


def test_rows_may_have_several_classes_or_none(plugin, tmp_path):
    features = Features(
        {
            "id": Value("string"),
            "label": List(ClassLabel(names=NAMES)),
            "confidence": Value("float64"),
            "probabilities": List(Value("float32")),
            "prediction_set": List(Value("string")),
        }
    )
    columns = {
        "id": ["a", "b", "c"],
        "label": [[0, 2], [], [1]],
        "confidence": [0.5, 1 / 3, 0.1],
        "probabilities": np.float32([[0.9, 0.1, 0.8], [0.1, 0.2, 1e-9], [0.5, 1, 0]]),
        "prediction_set": [None, [], [NAMES[1], NAMES[2]]],
    }
    rows = datasets.Dataset.from_dict(columns, features=features)
    schema = {"kind": "multi", "names": NAMES}
    plugin.write(rows, tmp_path, RECORD | {"schema": schema, "calibrator": {"name": "per_label"}})
    assert read_annotations(tmp_path).to_list() == rows.to_list()
    assert read_annotations(tmp_path).features == features
    card = (tmp_path / "README.md").read_text()
    assert "Each text gets any number of 3 classes" in card
    assert "exactly the right classes" in card


def test_record_and_card_lie_beside(plugin, annotated, tmp_path):
    plugin.write(annotated.select([0, 1]), tmp_path, RECORD)
    record = read_record(tmp_path)
    assert record["backbone"] == RECORD["backbone"]
    assert record["rows"] == 2
    head = yaml.safe_load((tmp_path / "README.md").read_text(encoding="utf-8").split("---\n")[1])
    assert head["task_categories"] == ["text-classification"]


@pytest.mark.parametrize("format_name", sorted({*FORMATS} - {"dataset"}))  # that one has random fingerprints
def test_same_rows_same_bytes(format_name, annotated, tmp_path):
    for name in ("one", "two"):
        load("export", format_name).write(annotated, tmp_path / name, RECORD)
    one, two = ({f.name: f.read_bytes() for f in (tmp_path / n).iterdir()} for n in ("one", "two"))
    assert one == two


def test_a_previous_output_is_replaced_whole(annotated, tmp_path, plugin):
    load("export", "csv").write(annotated, tmp_path / "out", RECORD)
    plugin.write(annotated.select([1]), tmp_path / "out", RECORD)
    assert read_annotations(tmp_path / "out")["id"][:] == ["007"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]
    others = {load("export", f).FILE for f in FORMATS} - {plugin.FILE}
    assert not others & {entry.name for entry in (tmp_path / "out").iterdir()}


def test_what_killed_writers_left_goes_with_the_next_output(plugin, annotated, tmp_path):
    left = [".out.0123abcd.part", ".out.0123abcd.old"]
    others = [".out2.0123abcd.part", ".out.part", ".out.annotate", "out.0123abcd.part"]
    for name in (*left, *others):
        (tmp_path / name).mkdir()
        (tmp_path / name / "textlabel.json").write_text("half")
    plugin.write(annotated, tmp_path / "out", RECORD)
    there = {path.name for path in tmp_path.iterdir()}
    assert {"out", *others} <= there
    assert not there & set(left)


def test_a_folder_of_the_user_is_never_touched(plugin, annotated, tmp_path):
    for folder, names in {
        "thesis": ["chapter.txt"],
        "mixed": ["textlabel.json", "notes.md"],
        "cards": ["README.md"],
    }.items():
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / name).write_text("mine")
        with pytest.raises(ExportError, match="no previous output of textlabel"):
            plugin.write(annotated, tmp_path / folder, RECORD)
        assert sorted(f.name for f in (tmp_path / folder).iterdir()) == sorted(names)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ExportError, match="is a file"):
        plugin.write(annotated, tmp_path / "file", RECORD)


def test_a_failed_write_leaves_the_previous_output(plugin, annotated, tmp_path):
    plugin.write(annotated, tmp_path / "out", RECORD)
    with pytest.raises(ExportError, match="lacks"):
        plugin.write(annotated.select([0]), tmp_path / "out", {"format": 1})
    assert len(read_annotations(tmp_path / "out")) == 4
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_a_place_that_cannot_be_written_is_named(plugin, annotated, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="cannot be written"):
        plugin.write(annotated, tmp_path / "file" / "out", RECORD)


@pytest.mark.parametrize("name", ["parquet", "jsonl", "csv"])
def test_load_dataset_reads_the_folder_too(name, annotated, tmp_path):
    load("export", name).write(annotated.select_columns(["id", "text", "label"]), tmp_path / "out", RECORD)
    rows = datasets.load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    assert rows["text"][:] == TEXTS
    labels = annotated["label"][:]
    assert rows["label"][:] == (labels if name == "parquet" else [NAMES[y] for y in labels])


@pytest.mark.parametrize("name", ["jsonl", "csv"])
def test_bytes_do_not_fit_into_text(name, annotated, tmp_path):
    rows = annotated.add_column("raw", [b"\x00"] * 4)
    with pytest.raises(
        ExportError, match="column 'raw' holds binary, which text cannot: use format 'parquet'"
    ):
        load("export", name).write(rows, tmp_path / "out", RECORD)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["", "{}", '{"features": {}}'])
def test_reading_what_is_no_output(text, tmp_path):
    with pytest.raises(CorpusError, match=r"no textlabel\.json here"):
        read_annotations(tmp_path)
    (tmp_path / "textlabel.json").write_text(text)
    with pytest.raises(CorpusError, match="damaged" if not text else "no annotated rows here"):
        read_annotations(tmp_path)


@pytest.mark.parametrize("name", ["jsonl", "csv", "parquet"])
def test_damaged_rows_are_named(name, annotated, tmp_path):
    plugin = load("export", name)
    plugin.write(annotated, tmp_path, RECORD)
    file = Path(tmp_path / plugin.FILE)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(CorpusError, match=rf"{plugin.FILE} is damaged"):
        read_annotations(tmp_path)


def test_jsonl_lines_are_plain_and_short(annotated, tmp_path):
    load("export", "jsonl").write(annotated, tmp_path, RECORD)
    lines = (tmp_path / "annotations.jsonl").read_bytes().split(b"\n")
    assert len(lines) == 5
    row = json.loads(lines[0])
    assert row["label"] in NAMES
    assert row["ood_score"] == 0.1
    assert row["when"] == "2026-01-02T03:04:05.000678"
