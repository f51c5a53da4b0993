from __future__ import annotations

import time

import numpy as np
import pytest

from textlabel.errors import CorpusError
from textlabel.trust.label_shift import (
    Cells,
    LabelShift,
    Refused,
    bbse,
    corrected,
    count_cells,
    em,
    label_shift,
)

APART = 1.5


def draw(n, shares, rng):
    """Return points and classes: one Gaussian a class, on its own axis."""
    y = rng.choice(len(shares), n, p=shares)
    return APART * np.eye(len(shares))[y] + rng.normal(size=(n, len(shares))), y


def posterior(x, sharp=1.0):
    """Return the true class probabilities under equal shares, or sharper ones."""
    z = sharp * APART * x
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def source(rng, n=500, k=2, sharp=1.0):
    x, y = draw(n, np.full(k, 1 / k), rng)
    return count_cells(posterior(x, sharp), y)


def tilted(rng, n, weight):
    """Return target points of a covariate shift: p(x) is reweighted, p(y | x) is not."""
    x, _ = draw(20 * n, [0.5, 0.5], rng)
    w = weight(x)
    return x[rng.choice(len(x), n, p=w / w.sum())]


def matched(cells, p, **options):
    """Return what `bbse` makes of target rows."""
    return bbse(cells, cells.count(p), **options)


# --- label shift is recovered ---------------------------------------------------------------------


@pytest.mark.parametrize("shares", [[0.5, 0.5], [0.8, 0.2], [0.97, 0.03], [0.6, 0.3, 0.1]])
@pytest.mark.parametrize("method", [matched, label_shift])
def test_shares_are_recovered_within_noise(method, shares):
    errors = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        cells = source(rng, 2000, len(shares))
        x, y = draw(2000, shares, rng)
        found = method(cells, posterior(x), level=0.0)
        errors.append(found.shares - np.bincount(y, minlength=len(shares)) / 2000)
        assert found.shares.sum() == pytest.approx(1)
    # two multinomials of 2,000 rows through a confusion matrix: a standard error of about 0.02
    assert np.sqrt(np.mean(np.square(errors))) < 0.025
    assert np.abs(np.mean(errors, axis=0)).max() < 0.02


def test_em_finds_the_maximum_of_the_likelihood():
    from scipy.optimize import minimize_scalar

    p = posterior(draw(800, [0.85, 0.15], np.random.default_rng(2))[0])

    def loss(q):
        return -np.log(2 * (p @ [1 - q, q])).sum()

    best = minimize_scalar(loss, bounds=(0, 1), method="bounded", options={"xatol": 1e-8}).x
    assert em(p, [0.5, 0.5], tolerance=1e-9)[1] / 2 == pytest.approx(best, abs=1e-5)


def test_bbse_with_one_band_is_the_inverse_of_the_confusion_matrix():
    """Lipton's estimator: without noise to weigh, and without bands, w = C^-1 mu."""
    counts = np.array([[80, 15], [5, 20], [15, 65]])  # the middle cell follows from the others
    truth = np.array([1.4, 0.6])
    joint = counts / counts.sum()
    cells = Cells(((0.75,), ()), counts)
    places = np.repeat([[0.7, 0.3], [0.8, 0.2], [0.2, 0.8]], (1e5 * joint @ truth).astype(int), axis=0)
    expected = np.linalg.lstsq(joint, joint @ truth, rcond=None)[0]
    found = matched(cells, places, ridge=0.0)
    np.testing.assert_allclose(found.weights, expected, atol=0.02)
    assert found.p_value > 0.5


def test_correcting_for_a_known_shift_gives_the_true_posterior():
    from scipy.stats import norm

    rng = np.random.default_rng(0)
    x, _ = draw(50, [0.5, 0.5], rng)
    density = np.stack([norm.pdf(x - APART * axis).prod(axis=1) for axis in np.eye(2)], axis=1)
    expected = density * [0.9, 0.1] / (density @ [0.9, 0.1])[:, None]
    np.testing.assert_allclose(corrected(posterior(x), [1.8, 0.2]), expected, rtol=1e-9)


def test_correction_raises_accuracy_where_shares_shift():
    rng = np.random.default_rng(1)
    cells = source(rng)
    x, y = draw(5000, [0.9, 0.1], rng)
    p = posterior(x)
    after = corrected(p, label_shift(cells, p).weights)
    assert np.mean(after.argmax(axis=1) == y) > np.mean(p.argmax(axis=1) == y) + 0.03


# --- pitfalls -------------------------------------------------------------------------------------


def test_em_without_calibration_overshoots():
    """A model three times too sure: EM drives the rare class out, BBSE counts and does not mind."""
    miss = {1.0: [], 3.0: [], "bbse": []}
    for seed in range(10):
        rng = np.random.default_rng(seed)
        x, y = draw(4000, [0.85, 0.15], rng)
        rare = np.mean(y == 1)
        for sharp in (1.0, 3.0):
            miss[sharp].append(em(posterior(x, sharp), [0.5, 0.5])[1] / 2 - rare)
        found = matched(source(rng, 4000, sharp=3.0), posterior(x, 3.0), level=0.0)
        miss["bbse"].append(found.shares[1] - rare)
    assert abs(np.mean(miss[1.0])) < 0.01
    assert np.mean(miss[3.0]) > 0.03  # calibrated, its own errors would be taken out of the rare class
    assert abs(np.mean(miss["bbse"])) < 0.015


def test_bias_left_in_the_probabilities_misleads_em():
    """One bias a class is what temperature alone cannot mend (Alexandari 2020)."""
    from textlabel.trust.calibrators import bias_corrected, temperature

    rng = np.random.default_rng(0)
    leaning = np.array([1.5, 0.0])
    (xs, ys), (xt, yt) = draw(4000, [0.5, 0.5], rng), draw(4000, [0.8, 0.2], rng)
    miss = {}
    for name, plugin in (("temperature", temperature), ("bias_corrected", bias_corrected)):
        fitted = plugin.fit(APART * xs + leaning, ys)
        found = em(fitted.apply(APART * xt + leaning), np.bincount(ys) / len(ys))
        miss[name] = abs(found[1] * np.mean(ys == 1) - np.mean(yt == 1))
    assert miss["bias_corrected"] < 0.02
    assert miss["temperature"] > 3 * miss["bias_corrected"]


def test_no_weight_is_negative_and_shares_sum_to_one():
    """A class that vanished: the plain inverse goes below zero about every other time."""
    plain = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        cells = source(rng, 200)
        p = posterior(draw(300, [1.0, 0.0], rng)[0])
        found = matched(cells, p, level=0.0)
        assert (found.weights >= 0).all()
        assert found.shares.sum() == pytest.approx(1)
        joint, mu = cells.counts / 200, np.bincount(cells.place(p), minlength=len(cells.counts)) / 300
        plain.append(np.linalg.lstsq(joint, mu, rcond=None)[0].min())
    assert min(plain) < 0


def test_ridge_holds_weights_that_the_data_do_not():
    """Two classes that the model cannot tell apart: without ridge their weights go anywhere."""
    rng = np.random.default_rng(0)
    y = rng.choice(3, 600)
    z = np.eye(3)[np.where(y == 2, 1, y)] + 0.3 * rng.normal(size=(600, 3))
    p = np.exp(2 * z) / np.exp(2 * z).sum(axis=1, keepdims=True)
    cells, target = count_cells(p[:300], y[:300]), p[300:]
    wild, held = (matched(cells, target, ridge=r, level=0.0).weights for r in (0.0, 1.0))
    assert np.abs(held - 1).max() < 0.5
    assert np.abs(wild - 1).max() > np.abs(held - 1).max()


# --- refusal --------------------------------------------------------------------------------------


def test_a_true_label_shift_is_seldom_refused():
    refused = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        found = matched(source(rng), posterior(draw(1000, [0.8, 0.2], rng)[0]))
        refused.append(isinstance(found, Refused))
    assert np.mean(refused) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)


@pytest.mark.parametrize(
    "weight",
    [
        lambda x: np.exp(-0.7 * np.abs(x[:, 0] - x[:, 1])),  # harder rows
        lambda x: np.exp(0.7 * np.abs(x[:, 0] - x[:, 1])),  # easier rows
        lambda x: np.where(np.abs(x[:, 0] - x[:, 1] - 1) < 0.7, 4.0, 1.0),  # one place becomes frequent
    ],
)
def test_covariate_shift_is_refused_with_words(weight):
    refused = 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        found = label_shift(source(rng), posterior(tilted(rng, 1000, weight)))
        refused += isinstance(found, Refused)
        if isinstance(found, Refused):
            assert "either the texts of a class differ from the labeled ones, or this model" in str(found)
            assert found.p_value < 0.05
    assert refused >= 7


def test_as_many_cells_as_classes_leave_nothing_to_test():
    rng = np.random.default_rng(0)
    found = label_shift(source(rng, 20), posterior(draw(1000, [0.8, 0.2], rng)[0]))
    assert isinstance(found, Refused)
    assert found.p_value is None
    assert "20 labeled rows of 2 classes cannot tell label shift" in str(found)


@pytest.mark.slow
@pytest.mark.parametrize("k", [2, 3, 10])
@pytest.mark.parametrize(("n", "m"), [(300, 500), (1000, 20_000), (5000, 5000)])
def test_the_test_keeps_its_level(k, n, m):
    shares = np.append(np.full(k - 1, 0.5 / (k - 1)), 0.5)
    refused = []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        found = matched(source(rng, n, k), posterior(draw(m, shares, rng)[0]))
        refused.append(isinstance(found, Refused) and found.p_value is not None)
    assert np.mean(refused) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)


def test_too_few_target_rows_are_refused_as_em_would_give_all_to_one_class():
    rng = np.random.default_rng(0)
    cells, p = source(rng), posterior(draw(99, [0.5, 0.5], rng)[0])
    assert (em(p[:1], cells.prior) * cells.prior).max() > 0.999
    found = label_shift(cells, p)
    assert isinstance(found, Refused)
    assert "99 rows are too few to estimate shares of 2 classes, which needs 100" in str(found)
    assert isinstance(label_shift(cells, np.vstack([p, p[:1]]), level=0.0), LabelShift)


def test_a_class_without_source_rows_is_refused():
    p = posterior(draw(600, [0.5, 0.5, 0.0], np.random.default_rng(0))[0])
    cells = count_cells(p, p[:, :2].argmax(axis=1))
    assert "1 of 3 classes have no labeled row that calibrates" in str(label_shift(cells, p))


def test_what_was_found_is_told_by_class():
    told = LabelShift(np.array([0.2, 0.8]), np.array([0.4, 1.6]), 0.5).to_json(("no", "yes"))
    assert told == {
        "applied": True,
        "shares": {"no": 0.2, "yes": 0.8},
        "weights": {"no": 0.4, "yes": 1.6},
        "p_value": 0.5,
    }
    assert Refused("why", 0.01).to_json(("no", "yes")) == {"applied": False, "reason": "why", "p_value": 0.01}


# --- shapes ---------------------------------------------------------------------------------------


def test_cells_part_each_predicted_class_by_confidence():
    rng = np.random.default_rng(0)
    x, y = draw(1000, [0.5, 0.5], rng)
    p = posterior(x)
    cells = count_cells(p, y)
    assert [len(e) for e in cells.edges] == [4, 4]
    assert cells.counts.shape == (10, 2)
    assert cells.counts.sum() == 1000
    place = cells.place(p)
    assert (place // 5 == p.argmax(axis=1)).all()
    for cell in range(4):
        assert p[place == cell].max(axis=1).max() <= p[place == cell + 1].max(axis=1).min()


def test_a_class_that_is_never_predicted_has_a_cell_of_its_own():
    cells = count_cells(np.tile([0.6, 0.3, 0.1], (50, 1)), [0, 1, 2, 0, 1] * 10)
    assert cells.counts.tolist()[-2:] == [[0, 0, 0], [0, 0, 0]]
    assert isinstance(matched(cells, np.tile([0.1, 0.3, 0.6], (50, 1))), Refused)


@pytest.mark.parametrize("prior", [[1.0, 0.0], [0.2, 0.3, 0.5]])
def test_em_refuses_what_it_cannot_use(prior):
    with pytest.raises(CorpusError, match="expected"):
        em([[0.5, 0.5]], prior)


@pytest.mark.slow
def test_a_million_rows_of_ten_classes_take_seconds():
    rng = np.random.default_rng(0)
    cells = source(rng, 2000, 10)
    p = posterior(draw(1_000_000, np.full(10, 0.1), rng)[0])
    start = time.perf_counter()
    found = label_shift(cells, p)
    corrected(p, found.weights if isinstance(found, LabelShift) else np.ones(10))
    assert time.perf_counter() - start < 5


def test_a_class_that_em_gives_no_row_leaves_probabilities_for_one_that_is_surely_of_it():
    p = np.tile([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], (100, 1))
    weights = em(p, np.full(3, 1 / 3))
    assert weights @ np.full(3, 1 / 3) == pytest.approx(1)
    assert weights[2] < 1e-6
    assert corrected([[0.0, 0.0, 1.0]], weights).tolist() == [[0.0, 0.0, 1.0]]
    assert corrected([[0.0, 1.0]], [2.0, 0.0]).tolist() == [[0.0, 1.0]]
    np.testing.assert_allclose(corrected([[0.5, 0.5]], [2.0, 0.0]), [[1.0, 0.0]], atol=1e-9)


@pytest.mark.parametrize("weights", [[1.0], [1.0, 1.0, 1.0], [np.nan, 1.0], [np.inf, 1.0], [-1.0, 3.0], 1.0])
def test_weights_that_correct_nothing_are_refused(weights):
    with pytest.raises(CorpusError, match="a weight of 0 or more for each of 2 classes"):
        corrected([[0.5, 0.5]], weights)
