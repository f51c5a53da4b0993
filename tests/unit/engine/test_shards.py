"""Shards survive whatever happens to their objects, on a disk and in fsspec's memory."""

from __future__ import annotations

import errno
import json

import numpy as np
import pytest

from textlabel.engine import shards
from textlabel.engine.shards import Objects, Shards
from textlabel.errors import ExportError

FACTS = {"model": "a" * 64, "torch_version": "1.0", "corpus": "c"}


@pytest.fixture(autouse=True)
def few_rows(monkeypatch):
    monkeypatch.setattr(shards, "LEAST_ROWS", 4)


def plan(place, rows=10, cached=(), **facts):
    return Shards(Objects(place), rows, {**FACTS, **facts}, cached)


def arrays(run, number):
    first, end = run.span(number)
    return {
        "logits": np.arange(first, end, dtype=np.float32)[:, None],
        "again": np.arange(first, end) % 2 == 0,
    }


def write(run, numbers=range(3)):
    for number in numbers:
        run.write(number, arrays(run, number))


def test_what_was_written_is_read_in_order(place):
    run = plan(place)
    assert (len(run), run.missing(), run.finished()) == (3, [0, 1, 2], 0)
    write(run, [2, 0])
    assert (run.missing(), run.finished()) == ([1], 2)
    write(run, [1])
    again = plan(place)
    assert (again.missing(), again.finished()) == ([], 3)
    found = list(again.read())
    np.testing.assert_array_equal(np.concatenate([p["logits"] for p in found])[:, 0], np.arange(10))
    assert found[2]["again"].dtype == np.bool_
    again.objects.delete()
    assert again.objects.names() == []
    assert plan(place).missing() == [0, 1, 2]


def test_a_shard_has_the_same_bytes_whenever_it_is_written(place):
    run = plan(place)
    write(run)
    before = {name: run.objects.get(name) for name in run.objects.names()}
    run.objects.delete()
    write(plan(place), [1, 2, 0])
    assert {name: run.objects.get(name) for name in run.objects.names()} == before
    assert len(before) == 7


def test_no_rows_are_no_shards(place):
    run = plan(place, rows=0)
    assert (len(run), run.missing(), list(run.read())) == (0, [], [])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model": "b" * 64}, r"differs in its model \(aaaaaaaaaaaa\.\.\.; now bbbbbbbbbbbb\.\.\.\)"),
        ({"torch_version": "2.0"}, r"differs in its torch version \(1\.0; now 2\.0\)"),
        ({"corpus": "d"}, r"differs in its corpus .* --fresh deletes what it did"),
        ({"rows": 11}, r"differs in its rows \(10; now 11\)"),
    ],
)
def test_another_run_is_refused_and_the_difference_named(place, changed, message):
    write(plan(place), [0])
    with pytest.raises(ExportError, match=message):
        plan(place, **changed)
    assert plan(place).finished() == 1


def test_what_the_cache_may_give_is_what_it_was_at_first(place):
    assert plan(place, cached=["a"]).cached == ["a"]
    assert plan(place, cached=["b", "c"]).cached == ["a"]


def damage(content):
    return content[:-3] + bytes([content[-3] ^ 1]) + content[-2:]


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("shard-00001.safetensors", damage, True),
        ("shard-00001.safetensors", lambda content: content[: len(content) // 2], True),
        ("shard-00001.safetensors", lambda content: b"", True),
        ("shard-00001.json", lambda content: content[:20], False),
        ("shard-00001.json", lambda content: b"", False),
        ("shard-00001.json", lambda content: b"[1]", False),
    ],
)
def test_a_damaged_shard_is_made_again(place, name, change, told, caplog):
    run = plan(place)
    write(run)
    run.objects.put(name, change(run.objects.get(name)))
    assert plan(place).missing() == [1]
    assert ("shard-00001.safetensors is damaged and made again" in caplog.text) == told
    with pytest.raises(ExportError, match=r"shard-00001\.safetensors is missing or damaged"):
        list(run.read())
    write(run, [1])
    assert len(list(run.read())) == 3


@pytest.mark.parametrize("name", ["shard-00001.safetensors", "shard-00001.json"])
def test_a_shard_or_checksum_that_is_gone_is_made_again(place, name):
    run = plan(place)
    write(run)
    run.objects.files.rm(f"{run.objects.root}/{name}")
    assert plan(place).missing() == [1]


def test_a_cut_plan_is_made_again_and_its_shards_count(place, caplog):
    run = plan(place)
    write(run)
    run.objects.put("plan.json", run.objects.get("plan.json")[:30])
    assert plan(place).missing() == []
    assert "plan.json is damaged and made again" in caplog.text


def test_shards_of_a_lost_plan_never_count_for_another(place):
    run = plan(place)
    write(run)
    run.objects.files.rm(f"{run.objects.root}/plan.json")
    assert plan(place, model="b" * 64).missing() == [0, 1, 2]


def test_a_shard_that_cannot_be_read_is_told(tmp_path):
    run = plan(tmp_path)
    write(run)
    (tmp_path / "shard-00001.safetensors").unlink()
    (tmp_path / "shard-00001.safetensors").mkdir()
    with pytest.raises(
        ExportError, match=r"shard-00001\.safetensors cannot be read: .* or delete the object"
    ):
        run.missing()
    with pytest.raises(ExportError, match=r"shard-00001\.safetensors cannot be written"):
        write(run, [1])
    (tmp_path / "shard-00001.safetensors").rmdir()
    assert run.missing() == [1]


def test_a_full_disk_is_told_and_what_is_finished_stays(place, monkeypatch):
    run = plan(place)
    write(run, [0])
    files = type(run.objects.files)
    real = files.pipe_file

    def full(self, path, content, *rest, **options):
        real(self, path, content[:10], *rest, **options)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "pipe_file", full)
    with pytest.raises(ExportError, match=r"cannot be written: the disk is full\. What is finished stays"):
        write(run, [1])
    monkeypatch.undo()
    monkeypatch.setattr(shards, "LEAST_ROWS", 4)
    assert plan(place).missing() == [1, 2]


def test_the_plan_is_for_people_too(place):
    told = json.loads(plan(place).objects.get("plan.json"))
    assert told == {"rows": 10, "rows_of_a_shard": 4, "cached": [], **FACTS}


def test_who_did_not_plan_finds_the_plan(place):
    assert Shards.planned(Objects(place)) is None
    ours = plan(place, cached=["a"])
    theirs = Shards.planned(Objects(place))
    assert (theirs.digest, theirs.rows, theirs.each, theirs.cached) == (ours.digest, 10, 4, ["a"])
    assert theirs.facts == ours.facts
    theirs.write(1, arrays(theirs, 1))
    assert ours.missing() == [0, 2]


def test_the_plan_that_is_there_tells_how_many_rows_a_shard_has(place, monkeypatch):
    ours = plan(place)
    monkeypatch.setattr(shards, "LEAST_ROWS", 8)
    assert Shards.planned(Objects(place)).each == 4
    assert Shards.planned(Objects(place)).digest == ours.digest
    with pytest.raises(ExportError, match="differs in its rows of a shard"):
        plan(place)


def test_a_file_becomes_an_object_in_folders(place, tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    Objects(place).put_file("a/b", tmp_path / "file")
    assert Objects(f"{place}/a").get("b") == b"content"


def test_a_file_that_cannot_be_written_is_one_message(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    with pytest.raises(ExportError, match=r"below/a cannot be written: .* What is finished stays"):
        Objects(tmp_path / "file/below").put_file("a", tmp_path / "file")
