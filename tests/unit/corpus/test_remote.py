"""Corpora by URL are read where they are; what cannot be reached is named."""

from __future__ import annotations

import gzip
import json

import fsspec
import pyarrow as pa
import pytest
from pyarrow import parquet

from textlabel.corpus.load import load_corpus
from textlabel.corpus.remote import Remote, fetch, file_system, reached, shown
from textlabel.errors import BundleError, CorpusError

ROWS = [{"id": f"r{i}", "text": f"text {i}"} for i in range(7)]


def lines(rows: list[dict[str, str]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def table(rows: list[dict[str, str]]) -> bytes:
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue().to_pybytes()


CSV = "id,text\n" + "".join(f"{row['id']},{row['text']}\n" for row in ROWS)
FILES = {
    "a.jsonl": lines(ROWS),
    "a.csv": CSV.encode(),
    "a.csv.gz": gzip.compress(CSV.encode()),
    "a.parquet": table(ROWS),
}


@pytest.mark.parametrize("name", FILES)
def test_every_kind_of_file_is_read(store, name):
    store.pipe_file(f"/bucket/{name}", FILES[name])
    assert load_corpus(f"memory://bucket/{name}")[:] == load_corpus(ROWS)[:]


def test_folders_and_globs_are_read_in_order(store):
    store.pipe_file("/bucket/b/part-2.parquet", table(ROWS[3:]))
    store.pipe_file("/bucket/b/part-1.jsonl", lines(ROWS[:3]))
    for name in ("README.md", ".hidden.csv", "_temporary/x.csv"):
        store.pipe_file(f"/bucket/b/{name}", b"not data")
    for url in ("memory://bucket", "memory://bucket/b/", "memory://bucket/*/part-*"):
        assert load_corpus(url)[:] == load_corpus(ROWS)[:]


def fails(url: str, **options: str) -> str:
    with pytest.raises(CorpusError) as caught:
        load_corpus(url, **options)
    return str(caught.value)


def test_what_is_wrong_is_named_by_its_url(store):
    store.pipe_file("/bucket/a.jsonl", lines([*ROWS, {"id": "x", "text": " "}]))
    store.pipe_file("/bucket/b.parquet", b"PAR1 not really")
    store.pipe_file("/notes/README.md", b"not data")
    assert fails("memory://bucket/a.jsonl").startswith(
        "memory:///bucket/a.jsonl, row 8, column 'text': the text is empty"
    )
    assert "b.parquet: cannot be read as parquet" in fails("memory://bucket/b.parquet")
    assert fails("memory://notes") == (
        "memory://notes: no data file here; expected one or more of .jsonl.gz, .json.gz, .csv.gz, .tsv.gz, "
        ".jsonl, .json, .csv, .tsv, .parquet"
    )
    assert "no such file or folder" in fails("memory://nowhere/a.csv")
    assert "has no split 'test'" in fails("memory://bucket/a.jsonl", split="test")
    assert "nosuch" in fails("nosuch://bucket/a.jsonl")


def test_a_store_that_cannot_be_reached_is_told(store, monkeypatch):
    def refuse(self, path):
        raise PermissionError("Forbidden")

    monkeypatch.setattr(type(store), "isfile", refuse)
    assert fails("memory://bucket/a.jsonl") == (
        "memory://bucket/a.jsonl: cannot be reached: Forbidden; check address, network and login"
    )


def test_a_folder_is_copied_and_nothing_leaves_it(store, tmp_path):
    store.pipe_file("/models/one/textlabel.json", b"{}")
    store.pipe_file("/models/one/body/weights", b"w")
    fetch("memory://models/one", tmp_path / "here", BundleError)
    found = {
        str(p.relative_to(tmp_path / "here")): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()
    }
    assert found == {"textlabel.json": b"{}", "body/weights": b"w"}
    with pytest.raises(BundleError, match="no such folder"):
        fetch("memory://models/two", tmp_path / "there", BundleError)


def test_an_object_that_would_land_elsewhere_is_refused(store, tmp_path, monkeypatch):
    monkeypatch.setattr(type(store), "find", lambda self, root: [f"{root}/../../passwords"])
    with pytest.raises(BundleError, match=r"'\.\./\.\./passwords' lies outside of the folder"):
        fetch("memory://models/one", tmp_path / "here", BundleError)


@pytest.mark.parametrize("pattern", ["_rows/*.jsonl", "_rows", "_rows/.in/*", "_r*/a.jsonl"])
def test_what_was_named_is_read_however_it_is_called(store, pattern):
    folder = pattern if pattern == "_rows/.in/*" else "_rows/*"
    store.pipe_file(f"/bucket/{folder.replace('*', 'a.jsonl')}", lines([{"text": "good"}]))
    if pattern == "_r*/a.jsonl":
        assert "no such file" in fails(f"memory://bucket/{pattern}")  # a pattern does not name what is hidden
    else:
        assert load_corpus(f"memory://bucket/{pattern}")["text"][:] == ["good"]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("s3://bucket/rows.jsonl", "s3://bucket/rows.jsonl"),
        ("https://me:secret@host:8080/a/rows.jsonl?sig=secret", "https://host:8080/a/rows.jsonl"),
        ("sftp://me:secret@host/a@b/what?.jsonl", "sftp://host/a@b/what?.jsonl"),
        ("rows.jsonl", "rows.jsonl"),
    ],
)
def test_what_gives_access_is_never_shown(url, expected):
    assert shown(url) == expected
    assert str(Remote(fsspec.filesystem("memory"), "/bucket/rows.jsonl")) == "memory:///bucket/rows.jsonl"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("hf://datasets/user/name/folder", "datasets/user/name/folder"),
        ("hf://user/name@main", "user/name@main"),
        ("hf://models/user/name", "user/name"),  # as the Hub lists what is below
        ("memory://models/user/name", "/models/user/name"),
    ],
)
def test_a_path_is_the_one_that_listings_have(url, expected):
    assert file_system(url, CorpusError)[1] == expected


def test_where_the_hub_refuses_a_login_is_advised():
    told = "hf://user/name: cannot be reached: no; check .*`hf auth login`"
    with pytest.raises(BundleError, match=told), reached("hf://user/name", BundleError):
        raise OSError("no")


def test_nothing_listens_there():
    told = fails("http://me:secret@127.0.0.1:9/rows.jsonl?sig=secret")
    assert "http://127.0.0.1:9/rows.jsonl" in told
    assert "secret" not in told
