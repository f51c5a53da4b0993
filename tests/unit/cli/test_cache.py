"""The feature cache through the command line: rows found again, switched off, told, and cleared."""

from __future__ import annotations

import json

import pytest
from commands import run, told
from tiny import snippets


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, rows in (("labeled", snippets(40)), ("corpus", snippets(30, seed=1))):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def fit(backbone, *words):
    return told("fit", "labeled.jsonl", "--backbone", backbone, "--out", "model", *words)


def annotate(*words):
    return told("annotate", "corpus.jsonl", "--model", "model", "--out", "out", "--format", "jsonl", *words)


def test_a_corpus_is_found_again(here, tiny_backbone):
    fit(tiny_backbone)
    assert annotate()["from_cache"] == 0
    first = (here / "out/annotations.jsonl").read_text()
    assert annotate()["from_cache"] == 30
    assert (here / "out/annotations.jsonl").read_text() == first
    assert json.loads((here / "out/textlabel.json").read_text())["backend"]["from_cache"] == 30
    assert annotate("--no-cache")["from_cache"] == 0
    assert (here / "out/annotations.jsonl").read_text() == first


@pytest.mark.parametrize("word", ["--forget-rows", "--no-cache"])
def test_a_fit_that_keeps_nothing(here, tiny_backbone, word):
    fit(tiny_backbone, word)
    annotate("--no-cache")
    assert not (here / "features").exists()
    assert told("cache")["bytes"] == 0


def test_what_is_kept_is_told_and_cleared(here, tiny_backbone):
    fit(tiny_backbone)
    annotate()
    found = told("cache")
    assert found["folder"] == str(here / "features")
    assert found["limit"] == 4_000_000_000
    [space] = found["spaces"]
    assert (space["backbone"], space["backend"], space["rows"]) == (tiny_backbone.name, "torch", 70)
    assert space["bytes"] == found["bytes"] > 70 * 16 * 4
    text = run("cache").stdout
    assert str(here / "features") in text
    assert [line.split()[:3] for line in text.splitlines()][-1] == [tiny_backbone.name, "torch", "70"]
    assert told("cache", "clear") == {"deleted_bytes": found["bytes"]}
    assert told("cache") == {**found, "bytes": 0, "spaces": []}
    assert annotate()["from_cache"] == 0


def test_no_gigabytes_are_no_cache(here, tiny_backbone, monkeypatch):
    monkeypatch.setenv("TEXTLABEL_CACHE_GB", "0")
    fit(tiny_backbone)
    assert [annotate()["from_cache"] for _ in range(2)] == [0, 0]
    assert not (here / "features").exists()
    assert told("cache")["folder"] is None
    assert "TEXTLABEL_CACHE_GB is 0" in run("cache").stdout
    assert told("cache", "clear") == {"deleted_bytes": 0}


def test_a_wrong_size_is_one_message(here, tiny_backbone, monkeypatch):
    monkeypatch.setenv("TEXTLABEL_CACHE_GB", "much")
    done = run("cache", code=1)
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "TEXTLABEL_CACHE_GB = 'much'" in done.stderr


def test_a_job_can_switch_it_off(here, tiny_backbone):
    (here / "job.toml").write_text(
        f'[fit]\ntrain = "labeled.jsonl"\nout = "model"\nbackbone = "{tiny_backbone}"\ncache = false\n'
        '[annotate]\ncorpus = "corpus.jsonl"\nout = "out"\ncache = false\n'
    )
    assert told("run", "job.toml")["annotate"]["from_cache"] == 0
    assert not (here / "features").exists()
