from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import LinearConstraint, minimize

from textlabel.errors import CorpusError
from textlabel.trust.row_weights import (
    GAP,
    Refused,
    RowWeights,
    box_program,
    density_ratio,
    effective_rows,
    kernel_means,
    kmm,
    project,
    ratios_out_of_fold,
)


def gaussian(n, d=5, move=0.0, seed=0):
    x = np.random.default_rng(seed).normal(size=(n, d))
    x[:, 0] += move
    return x


def both(method):
    return (lambda s, t: density_ratio(s, t, 0)) if method == "density_ratio" else kmm


def test_rows_of_one_domain_weigh_about_the_same():
    for seed in range(3):
        found = density_ratio(gaussian(400, seed=seed), gaussian(500, seed=100 + seed), seed)
        assert isinstance(found, RowWeights)
        assert found.unclipped_rows > 0.95 * 400
        assert 0.75 < found.weights.min() <= found.weights.max() < 1.33


def test_ratios_are_those_of_the_densities():
    """Of normal distributions half a deviation apart the logarithm of the ratio is x / 2 - 1 / 8."""
    x = np.concatenate([gaussian(2000), gaussian(1000, move=0.5, seed=1)])
    side = np.repeat([0, 1], [2000, 1000])
    ratios = ratios_out_of_fold(x, side, np.arange(3000), 0)
    assert np.abs(np.log(ratios) - (x[:, 0] / 2 - 1 / 8)).mean() < 0.15
    assert ratios[:2000].mean() == pytest.approx(1, abs=0.05)  # of unequal corpora, too


@pytest.mark.parametrize("method", ["density_ratio", "kmm"])
def test_weights_lead_to_the_target(method):
    source, target = gaussian(400), gaussian(500, move=0.5, seed=1)
    found = both(method)(source, target)
    assert found.weights.mean() == pytest.approx(1)
    assert found.weights.min() >= 0
    assert found.effective_rows == pytest.approx(found.weights.sum() ** 2 / (found.weights**2).sum())
    before, after = source[:, 0].mean(), np.average(source[:, 0], weights=found.weights)
    assert abs(target[:, 0].mean() - after) < abs(target[:, 0].mean() - before) / 1.3
    again = both(method)(source, target)
    assert again.weights.tobytes() == found.weights.tobytes()
    assert found.to_json()["effective_rows"] == round(found.effective_rows, 1)


@pytest.mark.parametrize("method", ["density_ratio", "kmm"])
@pytest.mark.parametrize("move", [4.0, 12.0])
def test_domains_that_hardly_overlap_are_refused(method, move):
    """Clipped to [.1, 10] and flattened, weights are always worth a third of the rows: they would pass."""
    found = both(method)(gaussian(300), gaussian(300, move=move, seed=1))
    assert isinstance(found, Refused)
    assert found.reason.endswith("the corpora hardly overlap")
    assert found.to_json()["applied"] is False


def test_a_rows_own_side_does_not_set_its_weight():
    x = np.concatenate([gaussian(60), gaussian(60, move=1.0, seed=1)])
    side, groups = np.repeat([0, 1], 60), np.arange(120)
    ratios = ratios_out_of_fold(x, side, groups, 3)
    for row in (0, 40, 100):
        other = side.copy()
        other[row] = 1 - other[row]
        changed = ratios_out_of_fold(x, other, groups, 3)
        assert changed[row] == ratios[row]
        assert (changed != ratios).any()  # it does set those of others


def test_equal_texts_share_a_fold():
    """A text of both corpora is judged by a classifier that saw neither."""
    x = np.concatenate([gaussian(60), gaussian(60, seed=1)])
    x[60] = x[0]
    side, groups = np.repeat([0, 1], 60), np.append(np.arange(60), np.r_[0, np.arange(61, 120)])
    ratios, other = ratios_out_of_fold(x, side, groups, 0), side.copy()
    assert ratios[0] == pytest.approx(ratios[60])
    other[[0, 60]] = [1, 0]
    assert ratios_out_of_fold(x, other, groups, 0)[0] == ratios[0]


@pytest.mark.parametrize("bound", [2.0, 1000.0])
def test_the_program_of_kmm_agrees_with_scipy(bound):
    kernel, means = kernel_means(gaussian(30, 3), gaussian(25, 3, move=1.0, seed=1))
    n = 30
    slack = n * (n**0.5 - 1) / n**0.5
    found = box_program(kernel, means, bound, n - slack, n + slack)
    assert found.min() >= 0
    assert found.max() <= bound
    assert n - slack <= found.sum() <= n + slack

    def objective(b):
        return b @ kernel @ b / 2 - means @ b

    best = minimize(
        objective,
        np.ones(n),
        jac=lambda b: kernel @ b - means,
        hess=lambda b: kernel,
        method="trust-constr",
        bounds=[(0, bound)] * n,
        constraints=[LinearConstraint(np.ones((1, n)), n - slack, n + slack)],
        options={"maxiter": 500},
    )
    assert objective(found) <= best.fun + (GAP + 1e-7) * n * n / 2


@pytest.mark.parametrize(("low", "high"), [(0.0, 100.0), (2.0, 3.0), (9.0, 11.0), (0.0, 0.0), (20.0, 20.0)])
def test_the_projection_is_the_nearest_point_that_is_allowed(low, high):
    rng = np.random.default_rng(0)
    for _ in range(5):
        point = rng.normal(size=10) * 3
        found = project(point, 2.0, low, high)
        assert found.min() >= 0
        assert found.max() <= 2
        assert low - 1e-9 <= found.sum() <= high + 1e-9
        best = minimize(
            lambda b, p=point: ((b - p) ** 2).sum(),
            np.full(10, (low + min(high, 20)) / 20),
            method="SLSQP",
            bounds=[(0, 2)] * 10,
            constraints=[LinearConstraint(np.ones((1, 10)), low, high)],
            options={"ftol": 1e-12},
        )
        np.testing.assert_allclose(found, best.x, atol=1e-4)


def test_what_cannot_be_told_is_refused_and_what_makes_no_sense_is_an_error():
    assert effective_rows([1e-300, 1e-300]) == 2
    for method in ("density_ratio", "kmm"):
        few = both(method)(gaussian(19), gaussian(300))
        assert isinstance(few, Refused)
        assert "19 different labeled texts and 300 unlabeled ones" in few.reason
        assert few.unclipped_rows is None
        with pytest.raises(CorpusError, match=r"expected features \(n, d\) and \(m, d\), got \(30, 5\)"):
            both(method)(gaussian(30), gaussian(30, 4))
        with pytest.raises(CorpusError, match="expected finite features"):
            both(method)(gaussian(30), np.full((30, 5), np.nan))
    with pytest.raises(CorpusError, match="expected a group for each of 60 rows"):
        density_ratio(gaussian(30), gaussian(30), 0, np.arange(30))
    with pytest.raises(CorpusError, match=r"expected a bound of 1 or more, got 0\.5"):
        kmm(gaussian(30), gaussian(30), 0.5)
    many = kmm(gaussian(3001, 2), gaussian(30, 2))
    assert isinstance(many, Refused)
    assert "at most 3,000 rows" in many.reason
