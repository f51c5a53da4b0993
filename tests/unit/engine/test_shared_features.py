from __future__ import annotations

import numpy as np
import pytest

from textlabel.engine.feature_cache import FeatureCache, text_keys
from textlabel.engine.shared_features import SharedFeatures, SharedSpace, folder_of, open_store, store_of

KEYS = text_keys([f"text {i}" for i in range(50)])
FEATURES = np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32)


def space(shared, folder=None):
    disk = None if folder is None else FeatureCache(folder, 3, {})
    return SharedSpace(shared, "body", disk)


def found(of, keys=KEYS):
    out = np.zeros((len(keys), 3), np.float32)
    return of.find(keys, out), out


def test_one_model_finds_what_another_added_until_the_block_ends():
    shared = SharedFeatures(False)
    first, second = space(shared), space(shared)
    with shared.kept():
        assert not found(first)[0].any()
        some = np.arange(0, 50, 2)
        first.add(KEYS[some], FEATURES, some)
        known, out = found(second)
        np.testing.assert_array_equal(np.flatnonzero(known), some)
        np.testing.assert_array_equal(out[some], FEATURES[some])
        assert not out[1::2].any()
        assert not found(SharedSpace(shared, "another body", None))[0].any()
    assert not found(second)[0].any()
    first.add(KEYS, FEATURES, np.arange(50))
    assert not found(first)[0].any()  # nothing is remembered outside of a block


def test_what_is_remembered_does_not_change_with_the_caller_s_array():
    shared = SharedFeatures(False)
    with shared.kept():
        features = FEATURES.copy()
        space(shared).add(KEYS, features, np.arange(50))
        features[:] = 0
        known, out = found(space(shared))
        assert known.all()
        np.testing.assert_array_equal(out, FEATURES)


def test_the_cache_on_the_disk_is_asked_and_filled_too(tmp_path):
    shared = SharedFeatures(tmp_path)
    half = np.arange(25)
    of = space(shared, tmp_path / "body")
    of.add(KEYS[half], FEATURES, half)
    of.publish()
    assert len(of.snapshot) == 1
    with shared.kept():
        known, out = found(of)
        np.testing.assert_array_equal(np.flatnonzero(known), half)
        np.testing.assert_array_equal(out[half], FEATURES[half])
        rest = np.arange(25, 50)
        of.add(KEYS[rest], FEATURES, rest)
        assert found(of)[0].all()
        assert found(space(shared))[0].all()  # what came from the disk is remembered, too
    of.publish()
    of.pin(of.snapshot[:1])
    assert found(of)[0].sum() == 25


def test_where_features_are_looked_up(tmp_path, classifier, monkeypatch):
    shared = SharedFeatures(tmp_path)
    assert store_of(shared) is shared
    assert store_of(tmp_path) == folder_of(shared) == folder_of(tmp_path) == tmp_path
    assert store_of(False) is folder_of(None) is None
    on_disk = open_store(tmp_path, classifier, "torch", None, "cpu")
    assert open_store(shared, classifier, "torch", None, "cpu")._name == on_disk.folder.name
    monkeypatch.setenv("TEXTLABEL_CACHE_GB", "0")
    assert shared.folder is None
    assert open_store(shared, classifier, "torch", None, "cpu").snapshot == []


@pytest.mark.parametrize("cache", [False, True])
def test_outside_of_a_block_it_is_as_the_cache_is(cache):
    shared = SharedFeatures(cache)
    assert shared.known("body") == []
    assert (shared.folder is None) == (not cache)
