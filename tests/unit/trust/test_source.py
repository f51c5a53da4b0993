from __future__ import annotations

import json

import numpy as np

from textlabel.trust.calibration import softmax
from textlabel.trust.source import SourceStatistics, Twins, measure_source


def measured(twins=None):
    rng = np.random.default_rng(0)
    p = softmax(rng.normal(size=(300, 3)))
    return p, rng.integers(0, 3, 300), twins


def test_what_is_measured():
    p, y, _ = measured()
    source = measure_source(p, y)
    assert source.rows == 300
    assert source.accuracy == np.mean(p.argmax(axis=1) == y)
    assert source.confidence == p.max(axis=1).mean()
    assert sorted(source.thresholds) == ["entropy", "max_probability"]
    np.testing.assert_array_equal(source.cells.prior, np.bincount(y) / 300)


def test_it_comes_back_from_its_parts():
    rng = np.random.default_rng(1)
    twins = Twins(rng.normal(size=(2, 3, 4)).astype(np.float32), rng.normal(size=(2, 3)).astype(np.float32))
    source = measure_source(*measured(twins))
    again = SourceStatistics.from_parts(json.loads(json.dumps(source.to_json())), source.arrays())
    assert again.to_json() == source.to_json()
    for name, array in source.arrays().items():
        np.testing.assert_array_equal(again.arrays()[name], array)
    assert measure_source(*measured()).arrays().keys() == {"counts"}


def test_it_is_small():
    source = measure_source(*measured())
    assert len(json.dumps(source.to_json())) < 2000
    assert sum(a.nbytes for a in source.arrays().values()) < 1000
