from __future__ import annotations

import os
import time

import numpy as np
import pytest
from safetensors.numpy import load_file

from textlabel.engine import segments
from textlabel.engine.segments import DamagedError, Segment

TELLS = {"backbone": "tiny", "backend": "torch"}


def rows(n, seed=0, width=3):
    rng = np.random.default_rng(seed)
    keys = rng.integers(0, 2**64, (n, 2), dtype=np.uint64)
    return keys, rng.normal(size=(n, width)).astype(np.float32)


def write(folder, keys, features):
    """Publish a segment and return its path."""
    path = segments.write(folder, keys, features.shape[1], lambda index: features[index], TELLS)
    segments.publish(path)
    return path.with_suffix(segments.SUFFIX)


@pytest.fixture
def space(tmp_path):
    """A folder of a name that is ours, in a cache's folder."""
    return tmp_path / "cache" / ("0" * 32)


def test_what_was_written_is_read(space):
    keys, features = rows(500)
    write(space, keys, features)
    [segment] = segments.read(space)
    asked = np.concatenate([keys[::-1], rows(7, seed=1)[0]])
    at = segment.positions(asked)
    assert (at[500:] == -1).all()
    out = np.zeros((507, 3), np.float32)
    segment.copy(at[:500], out, np.arange(500))
    assert np.array_equal(out[:500], features[::-1])
    assert segment.tells == TELLS


def test_more_rows_than_are_copied_at_a_time(space, monkeypatch):
    monkeypatch.setattr(segments, "CHUNK", 7)
    keys, features = rows(50)
    write(space, keys, features)
    [segment] = segments.read(space)
    out = np.zeros_like(features)
    segment.copy(segment.positions(keys), out, np.arange(50))
    assert np.array_equal(out, features)


def test_it_is_a_safetensors_file(space):
    keys, features = rows(20)
    found = load_file(write(space, keys, features))
    order = np.argsort(keys[:, 0])
    assert np.array_equal(found["keys"], keys[order])
    assert np.array_equal(found["features"], features[order])


def test_of_equal_keys_the_first_counts(space):
    keys, features = rows(4)
    write(space, keys[[0, 1, 0, 2]], features)
    [segment] = segments.read(space)
    assert len(segment) == 3
    out = np.zeros((1, 3), np.float32)
    segment.copy(segment.positions(keys[:1]), out, np.array([0]))
    assert np.array_equal(out, features[:1])


def test_keys_that_share_their_first_half_are_told_apart(space):
    keys, features = rows(2)
    keys[1, 0] = keys[0, 0]
    write(space, keys[:1], features[:1])
    [segment] = segments.read(space)
    assert segment.positions(keys).tolist() == [0, -1]


def test_nobody_sees_what_was_not_published(space):
    keys, features = rows(5)
    segments.write(space, keys, 3, lambda index: features[index], TELLS)
    assert segments.read(space) == []


def test_a_write_that_fails_leaves_nothing(space):
    def fail(index):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        segments.write(space, rows(5)[0], 3, fail, TELLS)
    assert list(space.iterdir()) == []


def test_folders_are_their_owners_alone(space):
    write(space, *rows(1))
    assert space.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("kept", [0, 5, 60, -9, -1])
def test_a_cut_segment_is_deleted_with_one_warning(space, kept, caplog):
    path = write(space, *rows(30))
    os.truncate(path, kept if kept >= 0 else path.stat().st_size + kept)
    assert segments.read(space) == []
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "computed again" in caplog.text
    assert segments.read(space) == []
    assert len(caplog.records) == 1


@pytest.mark.parametrize("where", ["features", "keys", "checks"])
def test_one_wrong_bit_never_gives_a_wrong_feature(space, where):
    keys, features = rows(30)
    path = write(space, keys, features)
    content = bytearray(path.read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")
    content[start + {"keys": 0, "features": 480, "checks": 480 + 360}[where] + 40] ^= 1
    path.write_bytes(content)
    segment, out = Segment(path), np.zeros((30, 3), np.float32)
    at = segment.positions(keys)
    known = np.flatnonzero(at >= 0)
    if where == "keys":
        assert len(known) < 30
        segment.copy(at[known], out, known)
        assert np.array_equal(out[known], features[known])
    else:
        with pytest.raises(DamagedError):
            segment.copy(at[known], out, known)


def test_a_hole_in_the_file_is_noticed(space):
    keys, features = rows(30)
    path = write(space, keys, features)
    content = bytearray(path.read_bytes())
    start = len(content) - 30 * 16  # half of the features, and all checks
    content[start:] = bytes(30 * 16)
    path.write_bytes(content)
    segment = Segment(path)
    with pytest.raises(DamagedError):
        segment.copy(np.arange(30), np.zeros((30, 3), np.float32), np.arange(30))


def test_a_deleted_segment_stays_readable(space):
    keys, features = rows(10)
    path = write(space, keys, features)
    [segment] = segments.read(space)
    path.unlink()
    segment.touch()
    out = np.zeros_like(features)
    segment.copy(segment.positions(keys), out, np.arange(10))
    assert np.array_equal(out, features)


def test_merged_segments_hold_all_rows(space, monkeypatch):
    monkeypatch.setattr(segments, "CHUNK", 16)
    keys, features = rows(100)
    for start in range(0, 100, 20):  # overlapping
        write(space, keys[start : start + 30], features[start : start + 30])
    merged = Segment(segments.merge(segments.read(space)))
    assert len(merged) == 100
    out = np.zeros_like(features)
    merged.copy(merged.positions(keys), out, np.arange(100))
    assert np.array_equal(out, features)
    assert merged.tells == TELLS


def test_those_used_longest_ago_go_first(space):
    other = space.with_name("1" * 32)
    paths = [write(folder, *rows(10, seed)) for seed, folder in enumerate((space, other, space))]
    for age, path in zip((2, 3, 1), paths, strict=True):
        os.utime(path, (time.time() - age, time.time() - age))
    size = paths[0].stat().st_size
    assert segments.shrink(space.parent, 2 * size) == 1
    assert [path.exists() for path in paths] == [True, False, True]
    Segment(paths[0]).touch()
    assert segments.shrink(space.parent, size) == 1
    assert [path.exists() for path in paths] == [True, False, False]


def test_only_what_nobody_will_publish_is_cleaned_up(space):
    old, new = (segments.write(space, rows(3)[0], 3, lambda i: rows(3)[1][i], TELLS) for _ in range(2))
    long_ago = time.time() - segments.STALE - 60
    os.utime(old, (long_ago, long_ago))
    assert segments.shrink(space.parent, 10**9) == 0
    assert [old.exists(), new.exists()] == [False, True]


def test_nothing_of_ours_is_left_where_nothing_may_be(space):
    write(space, *rows(3))
    segments.write(space, rows(3)[0], 3, lambda i: rows(3)[1][i], TELLS)
    assert segments.shrink(space.parent, 0) == 1
    assert list(space.iterdir()) == []


def test_files_of_others_are_never_deleted(space):
    write(space, *rows(3))
    theirs = [space / "model.safetensors", space.parent / "mine" / f"{'a' * 32}.safetensors"]
    for path in theirs:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"dear to somebody")
    segments.read(space)
    segments.shrink(space.parent, 0)
    assert all(path.exists() for path in theirs)
    assert segments.read(space) == []
