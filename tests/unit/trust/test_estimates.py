from __future__ import annotations

import json

import numpy as np
import pytest

from textlabel.errors import CorpusError
from textlabel.trust.calibration import softmax
from textlabel.trust.estimates import (
    Estimate,
    agreement,
    average_confidence,
    average_thresholded_confidence,
    difference_of_confidences,
    estimate_accuracy,
    fit_threshold,
)
from textlabel.trust.source import Twins, measure_source

RNG = np.random.default_rng(0)


def calibrated(n, scale, k=2, seed=0):
    """Return probabilities and labels drawn from them: a model that is exactly calibrated."""
    rng = np.random.default_rng(seed)
    p = softmax(scale * rng.normal(size=(n, k)))
    return p, (p.cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)


# --- ATC ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("accuracy", [0.0, 0.004, 0.5, 0.731, 0.996, 1.0])
@pytest.mark.parametrize("scores", [RNG.random(250), np.full(250, 0.7), RNG.integers(0, 4, 250) / 4])
def test_atc_gives_the_source_its_own_accuracy_whatever_the_ties(scores, accuracy):
    threshold = fit_threshold(scores, accuracy)
    assert average_thresholded_confidence(scores, threshold) == pytest.approx(accuracy, abs=1e-12)


def test_atc_of_a_source_without_errors_is_not_zero():
    """The published code starts at a threshold of 0 and never moves it; negative entropies are all below."""
    p, _ = calibrated(500, 2)
    negative_entropy = (p * np.log(p)).sum(axis=1)
    threshold = fit_threshold(negative_entropy, accuracy=1.0)
    assert threshold.value == negative_entropy.min()
    assert average_thresholded_confidence(negative_entropy, threshold) == 1.0


def test_the_threshold_is_the_kth_smallest():
    scores = RNG.permutation(np.arange(10) / 10)
    found = fit_threshold(scores, accuracy=0.7)  # rows 0, .1 and .2 are below
    assert (found.value, found.tied) == (0.3, pytest.approx(1.0))


def test_atc_agrees_with_a_search_over_all_thresholds():
    source, target = RNG.random(400), RNG.random(300) ** 1.3
    accuracy = 317 / 400
    best = min(source, key=lambda t: abs(np.mean(source >= t) - accuracy))
    ours = average_thresholded_confidence(target, fit_threshold(source, accuracy))
    assert ours == pytest.approx(np.mean(target >= best))


def test_atc_wants_a_row():
    with pytest.raises(CorpusError, match="at least one source row"):
        fit_threshold([], 0.5)


# --- DoC, AC --------------------------------------------------------------------------------------


def test_doc_falls_where_confidence_falls():
    assert difference_of_confidences(0.8, source=0.85, target=0.75) == pytest.approx(0.7)
    assert difference_of_confidences(0.8, source=0.75, target=0.85) == pytest.approx(0.9)


def test_doc_stays_a_share():
    assert difference_of_confidences(0.95, source=0.6, target=0.9) == 1.0
    assert difference_of_confidences(0.1, source=0.9, target=0.5) == 0.0


def test_ac_of_a_calibrated_model_is_its_accuracy():
    p, y = calibrated(20_000, 2, k=4)
    assert average_confidence(p) == pytest.approx(np.mean(p.argmax(axis=1) == y), abs=0.01)


# --- GDE ------------------------------------------------------------------------------------------


def halves_and_overlapping(seed, n=400, d=20, m=4000):
    """Return accuracy, and agreement of models fitted on disjoint and on the same rows."""
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n + m)
    x = rng.normal(size=(n + m, d)) + 0.3 * (2 * y[:, None] - 1)

    def fit(rows):
        return LogisticRegression().fit(x[rows], y[rows]).predict(x[n:])

    first, second = fit(np.arange(n // 2)), fit(np.arange(n // 2, n))
    again = fit(np.arange(n // 20, n // 2 + n // 20))
    right = np.mean([np.mean(first == y[n:]), np.mean(second == y[n:])])
    return right, agreement(first, second), agreement(first, again)


def test_agreement_of_models_that_share_rows_is_too_high():
    """So twins take disjoint halves: another seed alone would give the very same head."""
    found = np.array([halves_and_overlapping(seed) for seed in range(6)])
    right, apart, together = found.mean(axis=0)
    assert together - right > 2 * abs(apart - right)
    assert (found[:, 2] > found[:, 1]).all()


def test_agreement_of_an_ensemble_that_is_calibrated_is_its_accuracy():
    """Each model draws its label from p(y | x): the ensemble's class shares are then the truth's."""
    p, y = calibrated(40_000, 2, k=3)
    rng = np.random.default_rng(5)
    first, second = ((p.cumsum(axis=1) > rng.random((len(p), 1))).argmax(axis=1) for _ in range(2))
    assert agreement(first, second) == pytest.approx(np.mean(first == y), abs=0.01)


# --- together -------------------------------------------------------------------------------------


def known(twins=None, k=2):
    p, y = calibrated(2000, 2, k)
    return measure_source(p, y, twins)


def test_harder_rows_of_a_calibrated_model_are_estimated_well():
    p, y = calibrated(5000, 1, seed=7)
    source, truth = known(), np.mean(p.argmax(axis=1) == y)
    estimate = estimate_accuracy(p, source)
    assert source.accuracy - truth > 0.09
    assert estimate.methods["doc"] == pytest.approx(truth, abs=0.025)
    assert estimate.methods["average_confidence"] == pytest.approx(truth, abs=0.02)
    assert estimate.low - 0.02 < truth < estimate.high + 0.02 < source.accuracy


def test_the_spread_is_that_of_the_three_methods():
    rng = np.random.default_rng(3)
    twins = Twins(*(rng.normal(size=shape).astype(np.float32) for shape in ((2, 4, 3, 5), (2, 4, 3))))
    features = rng.normal(size=(100, 5))
    p, _ = calibrated(100, 1, k=3, seed=8)
    source = known(twins, k=3)
    estimate = estimate_accuracy(p, source, source.agreements(features))
    assert estimate.spread == ("doc", "atc", "gde")
    three = [estimate.methods[name] for name in estimate.spread]
    assert (estimate.low, estimate.high) == (min(three), max(three))
    assert estimate.value == np.mean(three[1:])
    w, b = twins.weight, twins.bias
    by_pair = [
        np.mean((features @ w[0, j].T + b[0, j]).argmax(1) == (features @ w[1, j].T + b[1, j]).argmax(1))
        for j in range(4)
    ]
    assert estimate.methods["gde"] == pytest.approx(np.mean(by_pair), abs=1e-12)
    assert len(set(by_pair)) > 1


def test_without_twins_it_says_that_gde_is_left_out():
    p, _ = calibrated(100, 1)
    assert known().agreements(np.zeros((100, 5))) is None
    alone = estimate_accuracy(p, known())
    assert alone.spread == ("doc", "atc")
    assert alone.value == alone.methods["atc"]
    assert "by DoC and ATC only" in str(alone)
    assert alone.to_json()["spread_of"] == ["doc", "atc"]


def shifted(factor, seed, n=300, d=30):
    """Return what `measure_source` wants of n rows, and what `estimate_accuracy` wants of others, with truth.

    The others vary ``factor`` times more in all directions but the one that tells the classes apart: what
    the head got wrong about those directions is loud there, in errors and in confidence.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict

    from textlabel.trust.calibrators.temperature import fit as fit_temperature
    from textlabel.trust.moments import fit_moments

    def draw(count, scale):
        y = rng.integers(0, 2, count)
        x = scale * rng.normal(size=(count, d))
        x[:, 0] = rng.normal(size=count) + 1.5 * (2 * y - 1)
        return x, y

    def bulk(rows, of):
        return fit_moments(of, np.zeros(len(of), np.int64), 1).bulk(rows)

    rng = np.random.default_rng(seed)
    (x, y), (new, y_new) = draw(n, 1), draw(4000, factor)
    model, part = LogisticRegression(C=100), np.arange(n) % 10
    seen = cross_val_predict(model, x, y, cv=10, method="decision_function")
    margins = model.fit(x, y).decision_function(new)
    calibrator = fit_temperature(np.c_[-seen, seen], y)
    near = np.zeros(n)
    for k in range(10):
        near[part == k] = bulk(x[part == k], of=x[part != k])
    p, q = (calibrator.apply(np.c_[-m, m]) for m in (seen, margins))
    return (p, y, None, near), (q, bulk(new, of=x)), np.mean((margins > 0) == y_new)


def errors_of_atc(factor):
    """Return the errors without and with distances, of 8 draws."""
    found = []
    for seed in range(8):
        (p, y, _, near), (q, far), truth = shifted(factor, seed)
        plain = estimate_accuracy(q, measure_source(p, y))
        tempered = estimate_accuracy(q, measure_source(p, y, None, near), None, far)
        found.append([plain.value - truth, tempered.value - truth])
    return np.transpose(found)


def test_tempered_atc_is_nearer_where_rows_lie_further_off():
    plain, tempered = errors_of_atc(3)
    assert plain.mean() > 0.08  # logits grow with the distance, and so does confidence
    assert abs(tempered.mean()) < plain.mean() / 3
    assert np.abs(tempered).mean() < 0.75 * np.abs(plain).mean()


def test_tempered_atc_is_as_good_where_rows_are_alike():
    plain, tempered = np.abs(errors_of_atc(1)).mean(axis=1)
    assert tempered < plain + 0.005


def test_without_distances_a_tempered_source_makes_no_estimate():
    p, y = calibrated(200, 2)
    source = measure_source(p, y, None, np.ones(200))
    with pytest.raises(CorpusError, match=r"expected the distances of the rows .* got none"):
        estimate_accuracy(p, source, np.ones(200))


def test_an_estimate_never_goes_without_its_caveat():
    estimate = Estimate(0.7815, 0.74, 0.83, {"doc": 0.74}, ("doc", "atc", "gde"))
    assert str(estimate) == "0.78 (0.74 to 0.83), estimate, not a guarantee"
    assert json.loads(json.dumps(estimate.to_json()))["promise"] == "estimate, not a guarantee"


@pytest.mark.parametrize("shape", [(0, 2), (5, 3), (5,)])
def test_probabilities_of_another_shape_are_refused(shape):
    with pytest.raises(CorpusError, match=r"expected probabilities \(n, 2\) with n >= 1"):
        estimate_accuracy(np.full(shape, 0.5), known())
