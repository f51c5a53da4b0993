"""How a backend's numbers are corrected, measured and judged, on logits whose truth is known."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from textlabel.engine import optimize as module
from textlabel.engine.optimize import (
    AGREE,
    AGREE_WHERE_SURE,
    LEFT,
    MEAN_DIFFERENCE,
    SCORE_DIFFERENCE,
    fit_backend,
    fit_band,
    logit_scale,
    too_far,
)
from textlabel.models.backend_fit import BackendFit
from textlabel.trust.calibrators.none import Uncalibrated

CLASSES = SimpleNamespace(calibrator=Uncalibrated())
SCORES = SimpleNamespace(calibrator=None)


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def lead(p):
    ordered = np.log(np.sort(p, axis=1))
    return ordered[:, -1] - ordered[:, -2]


def seen(logits, ood=None, distances=None):
    logits = np.asarray(logits, dtype=np.float32)
    ood = np.zeros(len(logits)) if ood is None else ood
    return SimpleNamespace(logits=logits, ood=np.asarray(ood, dtype=np.float32), distances=distances)


def noisy(n, k=2, noise=0.1, scale=1.3, seed=0, size=2.0):
    """Return what the reference says, and a backend whose logits are noisy and too small by a factor."""
    rng = np.random.default_rng(seed)
    right = size * rng.normal(size=(n, k))
    return seen(right), seen((right + noise * rng.normal(size=(n, k))) / scale)


# --- the corrections --------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [2, 5])
@pytest.mark.parametrize("factor", [0.7, 1.0, 1.3])
def test_the_factor_on_logits_is_recovered(k, factor):
    expected, found = noisy(2000, k, noise=0.02, scale=factor)
    assert fit_backend(CLASSES, "x", expected, found).logit_scale == pytest.approx(factor, abs=0.01)


def test_the_factor_is_where_the_loss_is_least():
    expected, found = noisy(500, 3, noise=0.5)
    target = softmax(expected.logits.astype(np.float64))

    def loss(scale):
        return -np.mean((target * np.log(softmax(scale * found.logits.astype(np.float64)))).sum(axis=1))

    scale = logit_scale(Uncalibrated().apply, found.logits.astype(np.float64), target)
    grid = np.linspace(0.5, 2.0, 301)
    assert scale == pytest.approx(grid[np.argmin([loss(s) for s in grid])], abs=0.006)


def test_scores_off_the_map_get_the_mean_and_spread_of_the_reference():
    rng = np.random.default_rng(0)
    ood = rng.gamma(3.0, size=4000)
    logits = rng.normal(size=(4000, 2))
    fit = fit_backend(CLASSES, "x", seen(logits, ood), seen(logits, 5 + 0.4 * ood))
    restored = fit.ood_score((5 + 0.4 * ood).astype(np.float32))
    np.testing.assert_allclose(restored, ood, atol=1e-3)
    noise = (5 + 0.4 * ood + 0.2 * rng.normal(size=4000)).astype(np.float32)
    restored = fit_backend(CLASSES, "x", seen(logits, ood), seen(logits, noise)).ood_score(noise)
    assert restored.mean() == pytest.approx(ood.mean(), abs=0.05)
    assert restored.std() == pytest.approx(ood.std(), abs=0.05)


def test_distances_get_the_mean_of_the_reference():
    rng = np.random.default_rng(0)
    right, logits = rng.gamma(3.0, size=4000), rng.normal(size=(4000, 2))
    noise = right + rng.gamma(2.0, 0.2, size=4000)
    fit = fit_backend(CLASSES, "x", seen(logits, distances=right), seen(logits, distances=noise))
    assert fit.distance_scale * noise.mean() == pytest.approx(right.mean(), rel=0.01)
    assert fit_backend(CLASSES, "x", seen(logits), seen(logits)).distance_scale == 1
    zero = seen(logits, distances=np.zeros(4000))
    assert np.isfinite(fit_backend(CLASSES, "x", zero, zero).distance_scale)


def test_scores_off_the_map_that_are_all_the_same_stay_finite():
    logits = np.random.default_rng(0).normal(size=(200, 2))
    fit = fit_backend(CLASSES, "x", seen(logits, np.full(200, 7.0)), seen(logits, np.full(200, 3.0)))
    np.testing.assert_allclose(fit.ood_score(np.full(3, 3, dtype=np.float32)), 7)


# --- the band ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [2, 5])
@pytest.mark.parametrize("noise", [0.05, 0.15, 0.3])
def test_as_many_labels_differ_outside_the_band_as_it_lets_through(k, noise):
    """And no more rows than that are computed again: half the band would let far more through."""
    expected, found = noisy(200_000, k, noise=noise)
    fit = fit_backend(CLASSES, "x", expected, found)
    said = softmax(fit.logit_scale * found.logits.astype(np.float64))
    differs = (expected.logits.argmax(axis=1) != said.argmax(axis=1)) & (np.arange(len(said)) % 2 == 1)
    assert 2 * differs.mean() > 5 * LEFT
    assert 0.3 * LEFT < 2 * (differs & (lead(said) >= fit.band)).mean() < 1.6 * LEFT
    assert 2 * (differs & (lead(said) >= fit.band / 2)).mean() > 2 * LEFT


def test_a_band_from_few_rows_lets_through_what_it_says_on_average():
    left = []
    for seed in range(40):
        expected, found = noisy(500, 3, noise=0.3, seed=seed)
        fit = fit_backend(CLASSES, "x", expected, found)
        more_expected, more = noisy(20_000, 3, noise=0.3, seed=1000 + seed)
        said = softmax(fit.logit_scale * more.logits.astype(np.float64))
        differs = more_expected.logits.argmax(axis=1) != said.argmax(axis=1)
        left.append((differs & (lead(said) >= fit.band)).mean())
    assert np.mean(left) < 2 * LEFT
    assert np.quantile(left, 0.9) < 2e-3  # what the gate asks for


def test_two_bands_one_after_the_other_let_through_at_most_twice_as_much():
    expected, found = noisy(400_000, 3, noise=0.3)
    rng = np.random.default_rng(1)
    finer = seen((expected.logits + 0.03 * rng.normal(size=expected.logits.shape)) / 0.9)
    wide, narrow = (fit_backend(CLASSES, "x", expected, each) for each in (found, finer))
    said, settled = (
        softmax(fit.logit_scale * each.logits.astype(np.float64))
        for fit, each in ((wide, found), (narrow, finer))
    )
    right = expected.logits.argmax(axis=1)
    label = said.argmax(axis=1)
    close = lead(said) < wide.band
    label[close] = settled[close].argmax(axis=1)
    still = close & (lead(settled) < narrow.band)
    label[still] = right[still]
    assert 1.2 * LEFT < (label != right).mean() < 2.3 * LEFT  # twice, and what 400,000 rows leave to chance
    assert still.mean() < 0.2 * close.mean()


def test_no_band_holds_a_backend_that_is_wrong_where_it_is_surest():
    leads = np.linspace(0, 1, 100)
    assert fit_band(leads, np.full(100, 1.5)) > leads.max()


# --- what is measured -------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [2, 5])
def test_agreement_is_what_counting_gives(k):
    expected, found = noisy(1001, k, noise=0.4, seed=3)
    fit = fit_backend(CLASSES, "x", expected, found)
    right = softmax(expected.logits.astype(np.float64))
    said = softmax(fit.logit_scale * found.logits.astype(np.float64))
    same = banded = sure = sure_same = again = total = 0
    differences = 0.0
    for row in range(1, 1001, 2):
        total += 1
        equal = int(right[row].argmax()) == int(said[row].argmax())
        close = np.log(sorted(said[row])[-1] / sorted(said[row])[-2]) < fit.band
        same += equal
        again += close
        banded += equal or close
        if right[row].max() > 0.6:
            sure += 1
            sure_same += equal
        differences += np.abs(right[row] - said[row]).max()
    assert fit.measured == {
        "texts": total,
        "texts_where_sure": sure,
        "agreement": round(same / total, 4),
        "agreement_where_sure": round(sure_same / sure, 4),
        "agreement_with_band": round(banded / total, 4),
        "computed_again": round(again / total, 4),
        "mean_difference": round(differences / total, 5),
    }
    assert 0.5 < same / total < 1
    assert 0 < again < total


def test_the_rows_that_are_measured_are_not_those_that_fitted():
    expected, found = noisy(400, 3, noise=0.5)
    before = fit_backend(CLASSES, "x", expected, found)
    other = seen(found.logits.copy(), found.ood.copy())
    other.logits[1::2] *= -1  # only rows that are measured
    other.ood[1::2] += 9
    after = fit_backend(CLASSES, "x", expected, other)
    same = ("logit_scale", "ood_scale", "ood_shift", "band")
    assert all(getattr(before, name) == getattr(after, name) for name in same)
    assert after.measured["agreement"] < before.measured["agreement"] - 0.3
    other = seen(found.logits.copy())
    other.logits[0::2] *= 1.5  # only rows that fit
    assert fit_backend(CLASSES, "x", expected, other).logit_scale < before.logit_scale - 0.2


def test_where_the_reference_is_never_sure_nothing_is_said_of_that():
    flat = seen(np.tile([0.01, 0.0], (200, 1)))
    measured = fit_backend(CLASSES, "x", flat, flat).measured
    assert measured["agreement_where_sure"] is None
    assert too_far(measured) == ""


def test_an_exact_backend_is_changed_in_nothing():
    expected, _ = noisy(500, 3)
    fit = fit_backend(CLASSES, "x", expected, expected)
    assert fit.logit_scale == pytest.approx(1, abs=1e-3)
    assert fit.band < 1e-3
    assert (fit.measured["agreement"], fit.measured["agreement_with_band"]) == (1, 1)


def test_scores_are_measured_in_their_spread_and_not_corrected():
    rng = np.random.default_rng(0)
    right = 10 * rng.normal(size=(2000, 1))
    fit = fit_backend(SCORES, "x", seen(right), seen(right + 0.3))
    assert (fit.logit_scale, fit.band) == (1.0, 0.0)
    spread = right[1::2].astype(np.float32).std()
    assert fit.measured == {"difference": pytest.approx(0.3 / spread, abs=1e-4)}
    assert too_far(fit.measured) == ""
    assert "scores differ" in too_far(fit_backend(SCORES, "x", seen(right), seen(right + 0.6)).measured)


# --- the gates --------------------------------------------------------------------------------------

GOOD = {
    "texts": 5000,
    "texts_where_sure": 5000,
    "agreement_with_band": AGREE,
    "agreement_where_sure": AGREE_WHERE_SURE,
    "mean_difference": MEAN_DIFFERENCE,
}


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({}, ""),
        ({"agreement_where_sure": None}, ""),
        ({"agreement_with_band": AGREE - 2e-4}, "labels agree in 99.8%, too far from the reference"),
        (
            {"agreement_where_sure": 0.99},
            "labels agree in 99.0% where it is sure, too far from the reference",
        ),
        ({"agreement_where_sure": 0.0}, "labels agree in 0.0% where it is sure, too far from the reference"),
        ({"mean_difference": 0.03}, "probabilities differ by 0.03, too far from the reference"),
    ],
)
def test_what_is_too_far(changed, why):
    assert too_far(GOOD | changed) == why


@pytest.mark.parametrize("where", ["agreement_with_band", "agreement_where_sure"])
@pytest.mark.parametrize("texts", [50, 200, 400])
def test_one_label_tells_nothing_among_few_texts(where, texts):
    few = GOOD | {"texts": texts, "texts_where_sure": texts}
    assert too_far(few | {where: round(1 - 1 / texts, 4)}) == ""
    assert "too far" in too_far(few | {where: round(1 - 2 / texts, 4)})


def test_a_backend_as_good_as_its_band_says_is_seldom_refused():
    """The band lets through .02 %, the gate .2 %: of 200 texts one that differs would refuse 1 in 25."""
    rng, refused = np.random.default_rng(0), []
    for texts in (100, 200, 400, 500):
        differ = rng.binomial(texts, 2 * LEFT, 2000)  # with two bands, one after the other
        told = ({**GOOD, "texts": texts, "agreement_with_band": round(1 - d / texts, 4)} for d in differ)
        refused.append(np.mean([bool(too_far(one)) for one in told]))
    assert 0 < max(refused) < 0.035


@pytest.mark.parametrize(
    ("off", "told"), [(SCORE_DIFFERENCE, ""), (0.06, "scores differ by 0.06 of their spread")]
)
def test_what_is_too_far_for_scores(off, told):
    assert too_far({"difference": off}).startswith(told)
    assert bool(too_far({"difference": off})) == bool(told)


@pytest.mark.parametrize(("wrong", "kept"), [(1, True), (2, True), (3, False)])
def test_two_backends_must_agree_together(wrong, kept):
    """Each of them may be near enough by itself, and the pair is not."""
    measured = {**GOOD, "agreement_with_band": 1.0, "texts_per_second_alone": 100.0}
    measured |= {"texts": 1000, "reference_texts_per_second": 10.0}
    first, finer = (BackendFit(name, band=band, measured=measured) for name, band in (("a", 0.5), ("b", 0.1)))
    right, rows = np.zeros(1000, dtype=np.int64), np.arange(1000)
    said = {"a": (right, rows < 100), "b": (np.where(rows < wrong + 10, 1, 0), rows < 10)}
    trial = module._asking(module.Trial("a", 50.0, first), finer, right, said)
    assert (trial.fit is not None) == kept
    assert trial.texts_per_second == pytest.approx(1 / (1 / 100 + 0.1 / 100 + 0.01 / 10))
    if kept:
        assert trial.fit.again_by == "b"
        assert trial.fit.measured["agreement_with_band"] == 1 - wrong / 1000
        assert trial.fit.measured["computed_again_by_reference"] == 0.01


def test_speed_counts_the_rows_that_are_computed_again():
    measured = {**GOOD, "agreement": 1.0, "computed_again": 0.25, "texts": 100}
    trial = module._judged(None, BackendFit("x", band=0.5, measured=measured), {"torch": 100.0, "x": 400.0})
    assert trial.texts_per_second == pytest.approx(1 / (1 / 400 + 0.25 / 100))
    slow = module._judged(None, BackendFit("x", band=0.5, measured=measured), {"torch": 100.0, "x": 120.0})
    assert (slow.fit, slow.why) == (None, "slower than the reference")
