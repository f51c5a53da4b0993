"""Datasets that `datasets` saved in a store are read there as they would be on a disk."""

from __future__ import annotations

import json

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from textlabel.corpus import spool
from textlabel.corpus.load import load_corpus
from textlabel.errors import CorpusError

FEATURES = Features({"id": Value("string"), "text": Value("string"), "stars": ClassLabel(names=["1", "5"])})
ROWS = Dataset.from_list(
    [{"id": f"r{i}", "text": f"text {i}", "stars": i % 2} for i in range(50)], features=FEATURES
)


def fails(url: str, **options: str) -> str:
    with pytest.raises(CorpusError) as caught:
        load_corpus(url, **options)
    return str(caught.value)


def test_a_saved_dataset_is_the_same_from_a_disk_and_from_a_store(store, tmp_path):
    picked = ROWS.select(range(49, -1, -1))  # its rows are not where they lie
    for place in (str(tmp_path / "saved"), "memory://bucket/saved"):
        picked.save_to_disk(place, num_shards=3)
    there, here = load_corpus("memory://bucket/saved/"), load_corpus(tmp_path / "saved")
    assert there[:] == here[:]
    assert there.features == here.features
    assert there["id"][0] == "r49"
    assert load_corpus("memory://bucket/saved", label_column="stars")["label"][:3] == ["5", "1", "5"]


def test_a_split_is_named(store):
    DatasetDict({"train": ROWS, "test": ROWS.select([4])}).save_to_disk("memory://bucket/splits")
    assert load_corpus("memory://bucket/splits", split="test")["id"][:] == ["r4"]
    assert len(load_corpus("memory://bucket/splits", split="train")) == 50
    assert "choose one of ['train', 'test']" in fails("memory://bucket/splits")
    assert "did you mean 'test'?" in fails("memory://bucket/splits", split="tes")
    DatasetDict({"all": ROWS}).save_to_disk("memory://bucket/one")
    assert len(load_corpus("memory://bucket/one")) == 50


def test_rows_that_do_not_fit_into_memory_lie_on_a_disk(store, monkeypatch):
    monkeypatch.setattr(spool, "IN_MEMORY", 0)
    ROWS.save_to_disk("memory://bucket/saved", num_shards=2)
    added = []
    add = spool.Spool.add
    monkeypatch.setattr(spool.Spool, "add", lambda self, table: (added.append(len(table)), add(self, table)))
    assert load_corpus("memory://bucket/saved")["text"][:] == ROWS["text"][:]
    assert added[:4] == [0, 25, 0, 25]  # a file at a time, and first its types


def test_what_is_wrong_is_named(store):
    ROWS.select([]).save_to_disk("memory://bucket/none", num_shards=1)
    assert fails("memory://bucket/none").startswith("memory://bucket/none: there are no rows")
    ROWS.save_to_disk("memory://bucket/saved")
    assert "has no split 'test'" in fails("memory://bucket/saved", split="test")
    assert "has no config 'x'" in fails("memory://bucket/saved", config="x")
    store.pipe_file("/bucket/saved/data-00000-of-00001.arrow", b"not arrow")
    assert "memory:///bucket/saved: cannot be read as a saved dataset" in fails("memory://bucket/saved")
    store.rm_file("/bucket/saved/data-00000-of-00001.arrow")
    assert "memory:///bucket/saved: cannot be reached" in fails("memory://bucket/saved")
    store.pipe_file("/bucket/saved/state.json", b"{")
    assert "memory:///bucket/saved: cannot be read as a saved dataset" in fails("memory://bucket/saved")
    store.pipe_file("/bucket/splits/dataset_dict.json", b'{"splits": 3}')
    assert "memory:///bucket/splits: cannot be read as saved datasets" in fails("memory://bucket/splits")


@pytest.mark.parametrize("name", ["../other/data.arrow", "..", ""])
def test_files_elsewhere_are_not_read(store, name):
    ROWS.save_to_disk("memory://bucket/saved")
    state = json.loads(store.cat_file("/bucket/saved/state.json"))
    state["_data_files"] = [{"filename": name}]
    store.pipe_file("/bucket/saved/state.json", json.dumps(state).encode())
    assert f"{name!r} is not a name" in fails("memory://bucket/saved")
