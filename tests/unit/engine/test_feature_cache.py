"""The feature cache: what is kept, found again, capped, and never lost."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from tiny import snippets

from textlabel import Labeler, registry
from textlabel.engine import feature_cache, segments
from textlabel.engine.feature_cache import FeatureCache, cache_folder, limit, text_keys
from textlabel.engine.optimize import optimize
from textlabel.engine.predict import Featurizer, predict
from textlabel.errors import TextlabelError
from textlabel.types import LabelSchema

SCHEMA = LabelSchema("single", ("negative", "positive"))
TEXTS = [row["text"] for row in snippets(60)]


@pytest.fixture
def root(tmp_path):
    return tmp_path / "features"


def space(root, n=0):
    return FeatureCache(root / (str(n) * 32), 3, {"backbone": "tiny"})


def rows(n, seed=0):
    rng = np.random.default_rng(seed)
    return text_keys([f"{seed} {i}" for i in range(n)]), rng.normal(size=(n, 3)).astype(np.float32)


def find(cache, keys):
    out = np.zeros((len(keys), cache.width), np.float32)
    return cache.find(keys, out), out


def files(root):
    return sorted(path for path in root.rglob("*") if path.is_file())


# What a cache finds


def test_known_and_unknown_rows_in_any_order(root):
    keys, features = rows(40)
    cache = space(root)
    cache.add(keys[:30], features, np.arange(30))
    cache.publish()
    order = np.random.default_rng(0).permutation(40)[:35]
    order = np.concatenate([order, order[:5]])
    known, out = find(cache, keys[order])
    assert np.array_equal(known, order < 30)
    assert np.array_equal(out[known], features[order[known]])
    assert not out[~known].any()


def test_nothing_is_found_before_it_is_published_nor_by_those_who_looked_before(root):
    keys, features = rows(10)
    writer, before = space(root), space(root)
    writer.add(keys, features, np.arange(10))
    assert not find(writer, keys)[0].any()
    assert not find(space(root), keys)[0].any()
    writer.publish()
    assert find(writer, keys)[0].all()
    assert find(space(root), keys)[0].all()
    assert not find(before, keys)[0].any()
    before.publish()
    assert find(before, keys)[0].all()


def test_of_two_segments_that_know_a_row_it_is_always_the_same_one(root):
    keys, features = rows(10)
    for number in range(2):
        cache, other = space(root), np.full_like(features, number)
        cache.add(keys, other, np.arange(10))
        cache.publish()
    first = segments.Segment(files(root)[0]).features
    assert np.array_equal(find(space(root), keys)[1], first)


def test_a_damaged_row_costs_its_segment_and_nothing_else(root, caplog, monkeypatch):
    monkeypatch.setattr(segments, "CHUNK", 4)
    keys, features = rows(20)
    for start in (0, 10):
        cache = space(root)
        cache.add(keys[start : start + 10], features[start:], np.arange(10))
        cache.publish()
    first = files(root)[0]
    content = bytearray(first.read_bytes())
    content[-45] ^= 8
    first.write_bytes(content)
    cache = space(root)
    known, out = find(cache, keys)
    assert known.sum() == 10
    assert np.array_equal(out[known], features[known])
    assert not out[~known].any()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert not first.exists()
    assert find(cache, keys)[0].sum() == 10
    assert len(caplog.records) == 1


def test_many_small_segments_become_one(root):
    keys, features = rows(feature_cache.MANY + 1)
    for i in range(len(keys)):
        assert len(files(root)) == i
        cache = space(root)
        cache.add(keys[i : i + 1], features, np.array([i]))
        cache.publish()
    assert len(files(root)) == 1
    known, out = find(cache, keys)
    assert known.all()
    assert np.array_equal(out, features)


def test_large_segments_are_left_alone(root, monkeypatch):
    monkeypatch.setattr(feature_cache, "SMALL", 10)
    for seed in range(feature_cache.MANY + 2):
        keys, features = rows(2, seed)
        cache = space(root)
        cache.add(keys, features, np.arange(2))
        cache.publish()
    assert len(files(root)) == feature_cache.MANY + 2


# How large it grows


def test_the_cap_holds_and_what_was_used_longest_ago_goes(root, monkeypatch):
    sets = [rows(100, seed) for seed in range(3)]
    monkeypatch.setenv("TEXTLABEL_CACHE_GB", str(7900 / 1e9))  # two segments of 100 rows
    for number, (keys, features) in enumerate(sets[:2]):
        cache = space(root, number)
        cache.add(keys, features, np.arange(100))
        cache.publish()
    for path in files(root):
        os.utime(path, (time.time() - 60, time.time() - 60))
    assert find(space(root, 0), sets[0][0])[0].all()  # used again
    cache = space(root, 2)
    cache.add(sets[2][0], sets[2][1], np.arange(100))
    cache.publish()
    assert [bool(find(space(root, i), sets[i][0])[0].any()) for i in range(3)] == [True, False, True]
    assert sum(path.stat().st_size for path in files(root)) <= limit()


def test_more_than_fits_is_kept_as_far_as_it_fits(root, monkeypatch):
    keys, features = rows(1000)
    monkeypatch.setenv("TEXTLABEL_CACHE_GB", "0.00001")
    cache = space(root)
    for start in range(0, 1000, 100):
        cache.add(keys[start : start + 100], features, np.arange(start, start + 100))
    cache.publish()
    assert 8000 < sum(path.stat().st_size for path in files(root)) <= 10_000
    assert find(cache, keys)[0].sum() > 220


def test_one_addition_that_fills_the_cache_is_not_lost(root, monkeypatch):
    keys, features = rows(1000)
    monkeypatch.setenv("TEXTLABEL_CACHE_GB", "0.00001")
    cache = space(root)
    cache.add(keys, features, np.arange(1000))
    cache.publish()
    assert find(cache, keys)[0].sum() > 250
    assert sum(path.stat().st_size for path in files(root)) <= 10_000


@pytest.mark.parametrize("text", ["four", "-1", "nan", "inf", "4 GB"])
def test_a_size_that_is_none_is_told(monkeypatch, text):
    monkeypatch.setenv("TEXTLABEL_CACHE_GB", text)
    with pytest.raises(TextlabelError, match=r"TEXTLABEL_CACHE_GB.*gigabytes such as 4"):
        cache_folder()


def test_where_it_lies(monkeypatch, tmp_path):
    monkeypatch.setenv("TEXTLABEL_CACHE", str(tmp_path / "a"))
    assert cache_folder() == tmp_path / "a"
    assert cache_folder(tmp_path / "b") == tmp_path / "b"
    assert cache_folder(str(tmp_path)) == tmp_path
    assert cache_folder(False) is None
    monkeypatch.delenv("TEXTLABEL_CACHE")
    monkeypatch.setenv("TEXTLABEL_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "features"
    assert limit() == 4_000_000_000
    monkeypatch.setenv("TEXTLABEL_CACHE_GB", "0.5")
    assert limit() == 500_000_000
    monkeypatch.setenv("TEXTLABEL_CACHE_GB", "0")
    assert cache_folder() is None
    assert cache_folder(tmp_path) is None


def test_a_folder_that_cannot_be_written_costs_one_warning(classifier, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    featurizer = Featurizer(classifier, cache=tmp_path / "file")
    expected = Featurizer(classifier).features(TEXTS)
    assert np.array_equal(featurizer.features(TEXTS), expected)
    featurizer.features(TEXTS[:5])
    featurizer.publish()
    assert len(caplog.records) == 1
    assert "TEXTLABEL_CACHE to another folder" in caplog.text


# Keys


def test_keys_are_of_the_whole_text_and_the_same_everywhere():
    assert text_keys(["good film", "bad \ud800 film"]).shape == (2, 2)
    assert len(np.unique(text_keys(["a", "a ", "A", "", "é", "e\u0301"]), axis=0)) == 6
    assert text_keys([]).shape == (0, 2)
    digest = hashlib.blake2b(b"good film", digest_size=16).digest()
    halves = [int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")]
    assert text_keys(["good film"]).tolist() == [halves]


# The prediction pass


def test_features_and_logits_are_the_very_same_with_and_without(classifier, root):
    texts = [*TEXTS, *TEXTS[:20]]
    classifier.head.weight.data.normal_(generator=torch.Generator().manual_seed(0))
    without = predict(classifier, texts)
    for _ in range(2):
        found = predict(classifier, texts, cache=root)
        assert all(np.array_equal(a, b) for a, b in zip(found, without, strict=True))


def test_what_is_known_is_not_computed(classifier, root, monkeypatch):
    first = Featurizer(classifier, cache=root)
    expected = first.features(TEXTS)
    first.publish()
    assert first.from_cache == 0
    second, computed = Featurizer(classifier, cache=root), []
    run = second.backend.features
    monkeypatch.setattr(
        second.backend, "features", lambda batches: run(computed.append(len(b[0])) or b for b in batches)
    )
    order = np.random.default_rng(0).integers(0, 60, 200)
    new = ["the plot was fine 3", "a very poor screen 4", "the plot was fine 3"]
    mixed = [*new[:2], *(TEXTS[i] for i in order), new[2]]
    seen = []
    found = second.features(mixed, lambda *done: seen.append(done))
    assert sum(computed) == 2  # equal texts once
    assert second.from_cache == 200
    assert np.array_equal(found[2:-1], expected[order])
    np.testing.assert_allclose(found[[0, 1, -1]], Featurizer(classifier).features(new), atol=1e-6)
    assert np.array_equal(found[0], found[-1])
    assert seen[-1] == (203, 203)
    computed.clear()
    assert np.array_equal(second.features(TEXTS), expected)
    assert computed == []


def test_equal_texts_in_different_windows_are_computed_once(classifier, monkeypatch):
    monkeypatch.setattr("textlabel.engine.predict.WINDOW", 7)
    found = Featurizer(classifier).features([*TEXTS, *reversed(TEXTS)])
    assert np.array_equal(found[:60], found[60:][::-1])


def test_a_killed_run_that_is_repeated_gives_the_same_bits(classifier, root):
    """Some rows were known before; the killed run got through two of three calls."""
    predict(classifier, TEXTS[40:50], cache=root)
    parts = [TEXTS[:30], TEXTS[20:45], TEXTS[35:]]

    def run(calls=3):
        featurizer = Featurizer(classifier, cache=root)
        return [featurizer.features(part) for part in parts[:calls]], featurizer

    run(calls=2)  # and no publish
    again, featurizer = run()
    assert featurizer.from_cache == 15  # nothing that the killed one added
    expected = [Featurizer(classifier, cache=root).features(part) for part in parts]
    assert all(np.array_equal(a, b) for a, b in zip(again, expected, strict=True))
    featurizer.publish()
    assert run()[1].from_cache == sum(map(len, parts))


def test_an_empty_corpus(classifier, root):
    assert Featurizer(classifier, cache=root).features([]).shape == (0, 16)


# Labeler


def test_the_second_model_on_a_body_computes_nothing(tiny_backbone, root):
    corpus = [{"text": row["text"]} for row in snippets(30, seed=1)]
    first = Labeler(tiny_backbone).fit(snippets(40))
    first.annotate(corpus)
    assert first.predictor.from_cache == 0
    second = Labeler(tiny_backbone, seed=1).fit(snippets(40)[:36])
    found = second.annotate(corpus)
    assert second.predictor.from_cache == 30
    assert second.record()["backend"]["from_cache"] == 30
    plain = Labeler(tiny_backbone, seed=1, cache=False).fit(snippets(40)[:36]).annotate(corpus)
    np.testing.assert_allclose(found["confidence"], plain["confidence"], atol=1e-5)
    assert found["label"][:] == plain["label"][:]


def test_labels_are_the_very_same_from_the_cache(tiny_backbone, root, tmp_path):
    corpus = [{"text": row["text"]} for row in snippets(30, seed=1)]
    Labeler(tiny_backbone, cache=False).fit(snippets(40)).save(tmp_path / "model")
    assert files(root) == []
    runs = [Labeler.load(tmp_path / "model", cache=cache) for cache in (False, True, True)]
    found = [run.annotate(corpus).to_dict() for run in runs]
    assert found[0] == found[1] == found[2]
    assert [run.predictor.from_cache for run in runs] == [0, 0, 30]


def test_a_folder_of_ones_own(tiny_backbone, root, tmp_path):
    Labeler(tiny_backbone, cache=tmp_path / "mine").fit(snippets(40))
    assert files(root) == []
    assert len(files(tmp_path / "mine")) == 1


def test_features_of_training_are_not_kept(tiny_backbone, root):
    labeler = Labeler(tiny_backbone, "lora", calibration="none").fit(snippets(16))
    [head] = [segments.Segment(path) for path in files(root)]
    assert "trained" not in head.tells["backbone"]  # the head that training starts from
    assert len(head) == 16
    labeler.annotate(snippets(10))
    [trained] = [segments.Segment(path) for path in files(root) if path != head.path]
    assert trained.tells["backbone"] == f"{tiny_backbone.name}, trained"
    assert len(trained) == 10


def test_optimizing_neither_reads_nor_writes_it(tiny_backbone, root, tmp_path, monkeypatch):
    labeler = Labeler(tiny_backbone, cache=False).fit(snippets(40))
    known = registry.plugins
    quick = {"torch": known("backend")["torch"]}
    monkeypatch.setattr(registry, "plugins", lambda kind: quick if kind == "backend" else known(kind))
    optimize(labeler.bundle, [row["text"] for row in snippets(120)], tmp_path)
    assert files(root) == []


# Several processes, and kills

WRITE = """
import sys
from pathlib import Path
import numpy as np
from textlabel.engine.feature_cache import FeatureCache, text_keys
number, root = int(sys.argv[1]), Path(sys.argv[2])
for step in range(30):
    cache = FeatureCache(root / ("0" * 32), 3, {"backbone": "tiny"})
    keys = text_keys([f"{number} {step} {i}" for i in range(20)])
    cache.add(keys, np.full((20, 3), 100 * number + step, np.float32), np.arange(20))
    cache.publish()
"""
HANG = """
import sys, time
from pathlib import Path
import numpy as np
from textlabel.engine import segments
def take(index):
    print("writing", flush=True)
    time.sleep(60)
segments.write(Path(sys.argv[1]), np.ones((5, 2), np.uint64), 3, take, {})
"""


def test_processes_that_write_at_once_lose_nothing(root):
    writers = [subprocess.Popen([sys.executable, "-c", WRITE, str(n), str(root)]) for n in range(2)]
    assert [writer.wait() for writer in writers] == [0, 0]
    cache = space(root)
    for number in range(2):
        for step in range(30):
            known, out = find(cache, text_keys([f"{number} {step} {i}" for i in range(20)]))
            assert known.all(), (number, step)
            assert (out == 100 * number + step).all()
    assert len(files(root)) <= 2 * feature_cache.MANY


def test_a_kill_while_writing_leaves_what_was_there(root, caplog):
    keys, features = rows(10)
    cache = space(root)
    cache.add(keys, features, np.arange(10))
    cache.publish()
    writer = subprocess.Popen(
        [sys.executable, "-c", HANG, str(cache.folder)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout.readline() == "writing\n"
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    [left] = [path for path in files(root) if path.suffix == segments.PART]
    known, out = find(space(root), keys)
    assert known.all()
    assert np.array_equal(out, features)
    assert not caplog.records
    long_ago = time.time() - 2 * segments.STALE
    os.utime(left, (long_ago, long_ago))
    cache.add(*rows(1, seed=1), np.arange(1))
    cache.publish()
    assert not left.exists()
