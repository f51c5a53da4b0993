from __future__ import annotations

import json

import numpy as np

from textlabel.trust.calibration import softmax
from textlabel.trust.choice import choose
from textlabel.trust.label_shift import em
from textlabel.trust.source import SourceStatistics, Twins, measure_source
from textlabel.trust.variance import margin_variance, temper


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
    twins = Twins(*(rng.normal(size=shape).astype(np.float32) for shape in ((2, 4, 3, 5), (2, 4, 3))))
    source = measure_source(*measured(twins), rng.chisquare(4, 300))
    again = SourceStatistics.from_parts(json.loads(json.dumps(source.to_json())), source.arrays())
    assert again.to_json() == source.to_json()
    for name, array in source.arrays().items():
        np.testing.assert_array_equal(again.arrays()[name], array)
    assert measure_source(*measured()).arrays().keys() == {"counts"}


def test_a_model_from_before_pairs_and_tempering_is_read_as_it_was():
    rng = np.random.default_rng(1)
    source = measure_source(*measured())
    weight, bias = (rng.normal(size=shape).astype(np.float32) for shape in ((2, 3, 5), (2, 3)))
    data = {k: v for k, v in source.to_json().items() if k != "margin_variance"}
    old = SourceStatistics.from_parts(data, source.arrays() | {"weight": weight, "bias": bias})
    assert old.margin_variance is None
    x = rng.normal(size=(50, 5)).astype(np.float32)
    expected = [(x @ w.T + b).argmax(axis=1) for w, b in zip(weight, bias, strict=True)]
    np.testing.assert_array_equal(old.twins.labels(x)[:, 0], expected)


def test_with_distances_thresholds_are_of_tempered_probabilities():
    p, y, _ = measured()
    distances = np.random.default_rng(2).chisquare(4, 300)
    found = measure_source(p, y, None, distances)
    assert found.margin_variance == margin_variance(p)
    softer = measure_source(temper(p, distances, margin_variance(p)), y)
    assert found.thresholds == softer.thresholds != measure_source(p, y).thresholds
    assert found.confidence == measure_source(p, y).confidence


def test_it_is_small():
    source = measure_source(*measured())
    assert len(json.dumps(source.to_json())) < 2000
    assert sum(a.nbytes for a in source.arrays().values()) < 1000
    tempered = measure_source(*measured(), np.ones(300))
    assert tempered.arrays().keys() == source.arrays().keys()  # one number is all that it adds


def test_em_is_not_misled_by_a_bias_that_the_calibrator_left():
    """A model leans to a class too little for the choice to see it: shares are off all the same."""
    plain, freed, chosen = [], [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)

        def logits(n, share, rng=rng):
            y = (rng.random(n) < share).astype(int)
            return 2 * (2 * np.eye(2)[y] + rng.normal(size=(n, 2))) + [0.3, 0.0], y

        (known, y), (target, truth) = logits(1000, 0.5), logits(4000, 0.7)
        found = choose(known, y, None, seed)
        chosen.append(found.calibrator.to_json()["name"])
        source = measure_source(found.calibrator.apply(known), y)
        p = found.calibrator.apply(target)
        prior = source.cells.prior
        plain.append((prior * em(p, prior))[1] - truth.mean())
        freed.append((prior * em(source.unbiased(p), prior))[1] - truth.mean())
    assert chosen.count("temperature") >= 18
    assert np.mean(plain) < -0.015
    assert abs(np.mean(freed)) < 0.005


def test_a_model_from_before_its_bias_was_measured_gives_its_probabilities_as_they_are():
    source = measure_source(*measured())
    data = {k: v for k, v in source.to_json().items() if k != "class_bias"}
    p = measured()[0]
    assert SourceStatistics.from_parts(data, source.arrays()).unbiased(p) is p
    again = SourceStatistics.from_parts(source.to_json(), source.arrays())
    np.testing.assert_array_equal(again.unbiased(p), source.unbiased(p))


def test_probabilities_of_zero_stay_finite():
    source = measure_source([[1.0, 0.0], [0.0, 1.0], [0.75, 0.25]], [0, 1, 1])
    assert np.isfinite(source.unbiased(np.array([[1.0, 0.0]]))).all()
