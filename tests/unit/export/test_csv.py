import csv

import datasets
import pytest
from datasets import ClassLabel, Features, List, Value

from textlabel.errors import ExportError
from textlabel.export import csv as plugin

RECORD = {
    "format": 1,
    "textlabel": "0.1.0",
    "created": "2026-11-21",
    "schema": {"kind": "single", "names": ["no", "yes"]},
    "backbone": {"name": "tiny", "sha256": None, "source": None, "license": None},
    "recipe": {},
    "seed": 0,
    "versions": {},
    "labels": {"train": 8, "calibration": 0, "audit": 0},
    "calibrator": {"name": "none"},
    "certificate": None,
    "evaluation": None,
}


def _rows(probabilities=((0.25, 0.75),), sets=(("yes",),), **carried):
    features = {
        "id": Value("string"),
        "label": ClassLabel(names=["no", "yes"]),
        "probabilities": List(Value("float32")),
        "prediction_set": List(Value("string")),
    } | {name: Value("string") for name in carried}
    columns = {"id": ["a"], "label": [1], "probabilities": probabilities, "prediction_set": sets} | carried
    return datasets.Dataset.from_dict(columns, features=Features(features))


def test_the_standard_library_reads_it(tmp_path):
    plugin.write(_rows(sets=[["no", "yes"]], note=["=1+1"]), tmp_path, RECORD)
    with (tmp_path / "annotations.csv").open(newline="", encoding="utf-8") as lines:
        (row,) = csv.DictReader(lines)
    assert row == {
        "id": "a",
        "label": "yes",
        "probability_no": "0.25",
        "probability_yes": "0.75",
        "prediction_set": "no|yes",
        "note": "=1+1",
    }


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (_rows(probability_no=["mine"]), r"columns \['probability_no'\] would occur twice"),
        (_rows(probabilities=[[1.0]]), "expected 2 probabilities a row"),
        (_rows(sets=[["a|b"]]), r"class 'a\|b' would be lost among classes joined by '\|'"),
    ],
)
def test_what_csv_cannot_hold_is_named(rows, message, tmp_path):
    with pytest.raises(ExportError, match=message):
        plugin.write(rows, tmp_path / "out", RECORD)


def test_a_row_longer_than_a_block_comes_back(tmp_path):
    from textlabel.export._read import read_annotations

    rows = _rows(note=["long\n" * 600_000])
    plugin.write(rows, tmp_path, RECORD)
    assert read_annotations(tmp_path)["note"][0] == rows["note"][0]
