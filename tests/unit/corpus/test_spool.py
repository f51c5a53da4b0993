"""What does not fit into memory lies in a file that nobody needs to delete."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from datasets import Dataset, Features

from textlabel.corpus import spool
from textlabel.corpus.check import blank_values, repeated_ids
from textlabel.corpus.load import load_corpus, load_with_rejects
from textlabel.corpus.spool import Spool, as_dataset, parquet_pieces, pieces, piecewise, spooled, trimmed
from textlabel.errors import TextlabelError


@pytest.fixture
def on_disk(monkeypatch, tmp_path):
    """Keep nothing in memory and read in small pieces, from a folder that is returned."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(spool, "IN_MEMORY", 0)
    monkeypatch.setattr(spool, "PIECE", 3)
    monkeypatch.setattr(spool, "scratch_folder", lambda: str(folder))
    return folder


def table(start: int, rows: int) -> pa.Table:
    numbers = list(range(start, start + rows))
    return pa.table({"n": numbers, "words": [[str(n)] * (n % 3) for n in numbers], "text": map(str, numbers)})


@pytest.mark.parametrize("in_memory", [0, 200, 1 << 20])
def test_tables_come_back_in_order_wherever_they_are(on_disk, monkeypatch, in_memory):
    monkeypatch.setattr(spool, "IN_MEMORY", in_memory)
    tables = [table(0, 5), table(5, 0), pa.table({"other": [1.5, None]}), table(5, 9).slice(2, 3)]
    assert spooled(tables) == tables
    assert spooled([]) == []


def test_the_file_has_no_name(on_disk):
    kept = Spool()
    kept.add(table(0, 5))
    found = kept.tables()
    assert list(on_disk.iterdir()) == []
    del kept
    assert found == [table(0, 5)]


def test_rows_that_fit_into_memory_make_no_file(on_disk, monkeypatch):
    monkeypatch.setattr(spool, "IN_MEMORY", 1 << 20)
    monkeypatch.setattr(spool, "scratch_folder", None)
    assert spooled([table(0, 5)]) == [table(0, 5)]


def mapped_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssFile"))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's account of memory")
def test_what_was_read_is_given_back_and_can_be_read_again(on_disk, monkeypatch):
    monkeypatch.setattr(spool, "SECONDS", 0.01)
    [found] = spooled([pa.table({"n": np.ones(4_000_000)})])
    numbers = found["n"].chunk(0).to_numpy()
    assert numbers.sum() == 4_000_000
    before = mapped_bytes()
    with trimmed():
        time.sleep(0.1)
    assert before - mapped_bytes() > 25e6
    assert numbers.sum() == 4_000_000


def test_a_disk_that_cannot_hold_them_is_named(on_disk):
    on_disk.rmdir()
    with pytest.raises(
        TextlabelError, match=r"scratch cannot hold the rows that do not fit into memory: .*TMPDIR"
    ):
        Spool().add(table(0, 5))


def test_files_are_made_on_a_disk_unless_somebody_chose_another_place(monkeypatch):
    monkeypatch.delenv("TMPDIR", raising=False)
    assert spool.scratch_folder() == spool._DISK
    monkeypatch.setattr(spool, "_DISK", "/no/such/folder")
    assert os.access(spool.scratch_folder(), os.W_OK)
    monkeypatch.setattr(spool, "_DISK", "/")
    monkeypatch.setenv("TMPDIR", "/elsewhere")
    assert spool.scratch_folder() != "/"


def test_a_column_is_made_piece_by_piece(on_disk):
    sizes = []

    def twice(piece):
        sizes.append(len(piece))
        return pa.array(2 * piece["n"].to_numpy())

    assert piecewise(table(0, 7), twice).to_pylist() == list(range(0, 14, 2))
    assert sizes == [3, 3, 1]
    assert piecewise(table(0, 7).slice(0, 0), twice).type == pa.int64()
    assert [len(piece) for piece in pieces(table(0, 6))] == [3, 3]


def test_a_parquet_file_is_read_in_pieces(on_disk, tmp_path):
    from pyarrow import parquet

    for rows in (0, 1, 7):
        parquet.write_table(table(0, rows), tmp_path / "a.parquet")
        found = list(parquet_pieces(tmp_path / "a.parquet"))
        assert pa.concat_tables(found) == table(0, rows)
        assert max(map(len, found)) <= 3


def test_fingerprints_tell_rows_and_types():
    def made(table):
        return as_dataset(table, Features.from_arrow_schema(table.schema))

    one = made(table(0, 5))
    assert one[:] == Dataset(table(0, 5))[:]
    assert one._fingerprint == made(table(0, 5))._fingerprint
    others = [table(1, 5), table(0, 4), table(0, 5).rename_columns(["m", "words", "text"])]
    assert one._fingerprint not in [made(other)._fingerprint for other in others]


def test_blank_is_what_is_left_of_white_space():
    import pyarrow.compute as pc

    signs = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    column = pa.chunked_array([pa.array(["", "a b", " a", *signs])])
    trimmed = np.flatnonzero(pc.equal(pc.utf8_trim_whitespace(column), "").to_numpy())
    assert list(blank_values(column, "text")) == trimmed.tolist()


def test_repeated_ids_are_found_over_pieces(on_disk):
    ids = pa.chunked_array([["a", "b", "c", "d"], ["e", "a", "f", "b", "a"]])
    assert repeated_ids(ids) == {5: 0, 7: 1, 8: 0}
    assert repeated_ids(pa.chunked_array([[]], pa.string())) == {}


def test_ids_that_only_share_a_number_are_not_repeated(monkeypatch):
    monkeypatch.setattr("textlabel.corpus.check.hash", lambda word: len(word), raising=False)
    assert repeated_ids(pa.chunked_array([["a", "b", "cc", "a"]])) == {3: 0}


# --- a corpus, whose loading is the same wherever its rows lie --------------------------------------

ROWS = [
    {"id": i, "title": ("one", "", None)[i % 3], "text": f"text {i}", "n": i / 2 if i % 5 else None}
    for i in range(20)
]
BAD = [*ROWS[:4], {**ROWS[4], "text": " ", "title": " "}, *ROWS[5:11], {**ROWS[11], "id": 3}, *ROWS[12:]]


def source(kind: str, folder, rows):
    if kind == "picked":
        return Dataset.from_list(rows[::-1]).select(range(len(rows) - 1, -1, -1))
    if kind == "parquet":
        Dataset.from_list(rows).to_parquet(str(folder / "a.parquet"))
        return folder / "a.parquet"
    return Dataset.from_list(rows) if kind == "dataset" else rows


@pytest.mark.parametrize("kind", ["list", "dataset", "picked", "parquet"])
@pytest.mark.parametrize("options", [{}, {"text_column": ("title", "text")}, {"id_column": "text"}])
def test_a_corpus_is_the_same_on_disk(kind, options, on_disk, monkeypatch, tmp_path):
    monkeypatch.setattr("textlabel.corpus.records.CHUNK", 4)
    found = [load_corpus(source(kind, tmp_path, ROWS), **options)]
    left_out = [load_with_rejects(source(kind, tmp_path, BAD), **options)]
    for name, value in (("spool.IN_MEMORY", 1 << 20), ("spool.PIECE", 100), ("records.CHUNK", 100)):
        monkeypatch.setattr(f"textlabel.corpus.{name}", value)
    found.append(load_corpus(source(kind, tmp_path, ROWS), **options))
    left_out.append(load_with_rejects(source(kind, tmp_path, BAD), **options))
    assert found[0].features == found[1].features
    assert found[0][:] == found[1][:]
    assert left_out[0][0][:] == left_out[1][0][:]
    assert left_out[0][1] == left_out[1][1]
    assert len(left_out[0][1]) == (1 if "id_column" in options else 2)


def test_a_large_source_is_not_in_memory_as_a_whole(on_disk):
    before = pa.total_allocated_bytes()
    rows = [{"id": str(i), "text": f"{i} " * 2000} for i in range(200)]
    corpus = load_corpus(rows)
    assert corpus.data.nbytes > 1_000_000
    assert pa.total_allocated_bytes() - before < 100_000
