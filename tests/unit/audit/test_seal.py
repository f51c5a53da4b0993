from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import sealed as made
from datasets import concatenate_datasets

from textlabel.audit.seal import open_sealed, seal
from textlabel.corpus import spool
from textlabel.errors import AuditError, CorpusError


@pytest.mark.parametrize("form", ["dataset", "parquet", "jsonl", "csv"])
def test_the_seal_holds_in_every_format(tmp_path, form):
    rows, _ = made.corpus(50)
    sealed = open_sealed(made.write(rows, tmp_path / "out", form))
    assert sealed.n == 50
    assert sealed.rows["label"][:] == rows["label"][:]
    confidence = np.array(rows["confidence"])[sealed.order]
    assert (np.diff(confidence) <= 0).all()


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("label", 1, "labels or their order"),
        ("confidence", 0.123, "labels or their order"),
        ("decision", "out_of_scope", "labels or their order"),
        ("shop", "another", "column 'shop'"),
        ("source", "human", "labels or their order"),
        ("text", "another", "ids or texts"),
        ("id", "another", "ids or texts"),
    ],
)
def test_any_later_change_breaks_the_seal(tmp_path, column, value, message):
    rows, _ = made.corpus(50)
    folder = made.write(rows, tmp_path / "out", "jsonl")
    file = folder / "annotations.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    changed = next(line for line in lines if line["label"] == "bad") if column == "label" else lines[7]
    changed[column] = "good" if column == "label" else value
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(AuditError, match=message):
        open_sealed(folder)


def test_the_population_is_what_the_model_labeled_and_out_of_scope_comes_last(tmp_path):
    rows, _ = made.corpus(30)
    source = ["human" if i in (0, 4) else "model" for i in range(30)]
    decision = ["out_of_scope" if i in (1, 2) else "accepted" for i in range(30)]
    columns = {**{name: rows[name][:] for name in rows.column_names}, "source": source, "decision": decision}
    rows = rows.from_dict(columns, features=rows.features)
    sealed = open_sealed(made.write(rows, tmp_path / "out", rejected=3))
    assert sealed.n == 28
    assert set(sealed.order.tolist()) == set(range(30)) - {0, 4}
    assert set(sealed.order[-2:].tolist()) == {1, 2}
    assert (sealed.in_scope, sealed.seal["gold"], sealed.seal["rejected"]) == (26, 2, 3)
    assert (sealed.rank[[0, 4]] == -1).all()


def test_rows_may_be_ordered_by_another_column(tmp_path):
    rows, _ = made.corpus(30)
    up = open_sealed(made.write(rows, tmp_path / "up", order_by="-confidence"))
    assert (np.diff(np.array(rows["confidence"])[up.order]) >= 0).all()
    by_entropy = open_sealed(made.write(rows, tmp_path / "entropy", order_by="entropy"))
    assert (np.diff(np.array(rows["confidence"])[by_entropy.order]) <= 0).all()
    with pytest.raises(AuditError, match="did you mean 'margin'"):
        seal(rows, order_by="margim")
    with pytest.raises(AuditError, match="column of numbers"):
        seal(rows, order_by="shop")


def test_annotations_without_a_seal_are_refused(tmp_path):
    rows, _ = made.corpus(10)
    folder = made.write(rows, tmp_path / "out")
    record = json.loads((folder / "textlabel.json").read_text())
    del record["seal"]
    (folder / "textlabel.json").write_text(json.dumps(record))
    with pytest.raises(AuditError, match="not sealed"):
        open_sealed(folder)
    with pytest.raises(CorpusError, match=r"no textlabel\.json"):
        open_sealed(tmp_path)


def test_scores_have_no_expected_error(tmp_path):
    rows, _ = made.scores(20)
    assert open_sealed(made.write(rows, tmp_path / "out")).expected_error is None


def test_confidence_and_class_names_are_sealed_too(tmp_path):
    rows, _ = made.corpus(50)
    folder = made.write(rows, tmp_path / "out", "jsonl")
    file, record = folder / "annotations.jsonl", folder / "textlabel.json"
    before, told = file.read_text(), record.read_text()
    lines = [json.loads(line) for line in before.splitlines()]
    file.write_text(
        "".join(json.dumps({**row, "confidence": row["confidence"] ** 3}) + "\n" for row in lines)
    )
    with pytest.raises(AuditError, match="labels or their order"):
        open_sealed(folder)
    file.write_text(before)
    names = json.dumps(list(made.NAMES))
    data = json.loads(told)
    data["features"]["label"]["names"] = data["features"]["label"]["names"][::-1]
    record.write_text(json.dumps(data))
    with pytest.raises(AuditError, match="labels or their order"):
        open_sealed(folder)
    record.write_text(told)
    assert open_sealed(folder).names == tuple(json.loads(names))


def test_an_endless_order_is_refused(tmp_path):
    rows, _ = made.corpus(10)
    with pytest.raises(AuditError, match="expected finite numbers, row 3"):
        seal(rows.add_column("mine", [0.0, 1.0, 2.0, float("inf"), *range(6)]), order_by="mine")


@pytest.mark.parametrize("form", ["dataset", "parquet", "jsonl", "csv"])
def test_columns_of_any_type_are_sealed_or_left_alone(tmp_path, form):
    rows, _ = made.corpus(4)
    rows = rows.add_column("price", [1.5, float("nan"), 2.0, None]).add_column("n", [1, 2, None, 4])
    assert open_sealed(made.write(rows, tmp_path / "out", form)).n == 4


def test_a_column_of_bytes_is_no_group(tmp_path):
    rows, _ = made.corpus(2)
    rows = rows.add_column("raw", [b"\xff\xfe", b"\x00"])
    assert "raw" not in open_sealed(made.write(rows, tmp_path / "out")).seal["columns"]


def digest(*columns):
    """Return what the seal says of columns of strings: their number, all lengths, all bytes, of each."""
    found = hashlib.sha256()
    for column in columns:
        words = ["\0" if word is None else str(word) for word in column]
        lengths = np.array([len(word.encode()) for word in words], dtype="<i8")
        content = "".join(words).encode()
        found.update(len(lengths).to_bytes(8, "little") + lengths.tobytes())
        found.update(len(content).to_bytes(8, "little") + content)
    return found.hexdigest()


@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_digests_are_of_all_rows_however_many_are_read_at_a_time(monkeypatch, piece):
    monkeypatch.setattr(spool, "PIECE", piece)
    rows, _ = made.corpus(20)
    notes = [None, "", "caf\u00e9", "a\nb"] * 5
    rows = concatenate_datasets([rows.select(range(3)), rows.select(range(3, 20))])
    sealed = seal(rows.add_column("note", notes).add_column("n", [None, *range(19)]))
    assert sealed["corpus"] == digest(rows["id"], rows["text"])
    assert sealed["columns"] == {
        "shop": digest(rows["shop"]),
        "note": digest(notes),
        "n": digest([None, *range(19)]),
    }


def test_no_rows_have_a_seal():
    rows, _ = made.corpus(3)
    assert seal(rows.select([]))["corpus"] == digest([], [])
