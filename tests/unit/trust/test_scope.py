"""The promise of the decision out_of_scope, by simulation, and what a scope keeps."""

import math
from dataclasses import replace

import numpy as np
import pytest

from textlabel.errors import BundleError, RecipeError
from textlabel.trust.scope import Map, Scope

RATE = 0.1


def scope(in_scope, off_map="relative_mahalanobis"):
    known = Map.draw(np.eye(4, 3), np.array([0, 0, 1, 1]), 2)
    return Scope(known, off_map, np.sort(np.asarray(in_scope, dtype=np.float32)))


@pytest.mark.parametrize("m", [1, 10])
def test_near_rows_are_those_of_sklearn_but_for_the_row_itself(m, monkeypatch):
    from sklearn.neighbors import NearestNeighbors
    from sklearn.preprocessing import normalize

    from textlabel.trust import scope as module

    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(120, 8)), np.arange(120)  # each row its own class: it tells the row
    queries = rng.normal(size=(70, 8))
    reference = Map.draw(features, labels, 120, keep_reference=True).reference
    tree = NearestNeighbors(n_neighbors=m + 1).fit(normalize(features))
    monkeypatch.setattr(module, "_CHUNK", 32)
    found = np.sort(reference.neighbors(queries, m), axis=1)
    expected = tree.kneighbors(normalize(queries), m, return_distance=False)
    np.testing.assert_array_equal(found, np.sort(expected, axis=1))
    found = np.sort(reference.neighbors(3 * features, m), axis=1)
    expected = tree.kneighbors(normalize(features), return_distance=False)[:, 1:]
    np.testing.assert_array_equal(found, np.sort(expected, axis=1))


def test_features_of_zeros_are_near_to_nothing():
    reference = Map.draw(np.eye(3), np.arange(3), 3, keep_reference=True).reference
    assert reference.neighbors(np.array([[0.0, 0.0, 0.0], [1.0, 1.0, 0.0]]), 2)[0].tolist() == [-1, -1]
    assert set(reference.neighbors(np.array([[1.0, 1.0, 0.0]]), 2)[0]) == {0, 1}


@pytest.mark.parametrize("m", [1, 9, 10, 19, 60, 99])
@pytest.mark.parametrize("rate", [0.01, 0.05, 0.1, 0.5])
def test_the_threshold_is_the_conformal_quantile(m, rate):
    scores = np.random.default_rng(m).permutation(np.arange(1, m + 1))
    rank = math.ceil(round((m + 1) * (1 - rate), 9))
    assert scope(scores).threshold(rate) == (rank if rank <= m else math.inf)


def test_too_few_rows_call_nothing_out_of_scope():
    few, enough = scope(range(98)), scope(range(99))
    assert not few.out_of_scope(np.array([1e9]), 0.01).any()
    assert enough.out_of_scope(np.array([98.5, 98.0]), 0.01).tolist() == [True, False]


def test_rate_zero_calls_nothing_out_of_scope():
    for in_scope in ([], range(500)):
        assert not scope(in_scope).out_of_scope(np.array([np.inf, 1e30]), 0.0).any()


@pytest.mark.parametrize("rate", [-0.1, 1.0, 2.0, math.nan])
def test_an_impossible_rate_is_refused(rate):
    with pytest.raises(RecipeError, match="out_of_scope_rate = "):
        scope(range(50)).threshold(rate)


def test_without_scores_a_rate_is_refused():
    with pytest.raises(BundleError, match="this model holds none: fit again"):
        scope([]).out_of_scope(np.zeros(3), 0.05)


DRAWS = {
    "normal": lambda rng, size: rng.normal(size=size),
    "heavy tail": lambda rng, size: rng.standard_cauchy(size),
    "two values": lambda rng, size: (rng.random(size) < 0.12).astype(float),
    "all equal": lambda rng, size: np.zeros(size),
    "many ties": lambda rng, size: rng.poisson(1.0, size).astype(float),
}


@pytest.mark.parametrize("m", [9, 25, 60])
@pytest.mark.parametrize("kind", DRAWS)
def test_a_row_in_scope_is_flagged_at_most_at_the_rate(kind, m):
    """Scores of m rows and of a new one, drawn alike: the promise is over both draws."""
    runs = 1500
    draws = DRAWS[kind](np.random.default_rng(m), (runs, m + 1)).astype(np.float32)
    one = scope([])
    flagged = np.mean(
        [replace(one, in_scope=np.sort(row[:m])).out_of_scope(row[m:], RATE)[0] for row in draws]
    )
    noise = 3 * math.sqrt(RATE * (1 - RATE) / runs)
    exact = 1 - math.ceil(round((m + 1) * (1 - RATE), 9)) / (m + 1)  # without ties
    assert flagged <= RATE + noise
    if kind in ("normal", "heavy tail"):
        assert abs(flagged - exact) <= noise


def test_the_promise_is_marginal_not_for_one_class():
    """One class may bear all false alarms: nothing else is promised."""
    rng = np.random.default_rng(0)
    wide = rng.random(4000) < 0.2
    scores = np.where(wide, 10, 1) * rng.random(4000)
    flagged = scope(scores[:2000]).out_of_scope(scores[2000:], RATE)
    assert 0.07 < flagged.mean() < 0.13
    assert flagged[wide[2000:]].mean() > 0.3
    assert not flagged[~wide[2000:]].any()


def _clusters(rng, n, d=30, k=4):
    labels = np.arange(n) % k
    return 2 * np.eye(k, d)[labels] + rng.normal(size=(n, d)), labels


@pytest.mark.parametrize("name", ["relative_mahalanobis", "mahalanobis", "knn"])
def test_cross_fitted_scores_keep_the_rate(name):
    """24 rows a class in 30 dimensions: rows lie closer to a map that they drew themselves than new rows."""
    own, crossed = [], []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        (x, y), (new, _) = _clusters(rng, 96), _clusters(rng, 400)
        known = Map.draw(x, y, 4, keep_reference=True)
        held_out = np.empty(96, np.float32)
        for k in range(8):
            held = np.arange(96) // 4 % 8 == k
            held_out[held] = Map.draw(x[~held], y[~held], 4, keep_reference=True).score(
                name, x[held], x[held]
            )
        for rates, in_scope in ((own, known.score(name, x, x)), (crossed, held_out)):
            told = Scope(known, name, np.sort(in_scope))
            rates.append(told.out_of_scope(known.score(name, new, new), RATE).mean())
    assert 0.3 * RATE < np.mean(crossed) < 1.1 * RATE
    assert np.mean(own) > 1.3 * RATE or name == "relative_mahalanobis"


def test_scores_on_their_own_map_break_the_promise():
    rng = np.random.default_rng(0)
    (x, y), (new, _) = _clusters(rng, 96, d=100), _clusters(rng, 400, d=100)
    known = Map.draw(x, y, 4)
    own = Scope(known, "relative_mahalanobis", np.sort(known.moments.relative_mahalanobis(x)))
    assert own.out_of_scope(own.score(new, new), RATE).mean() > 3 * RATE


def test_a_score_of_neighbors_wants_a_reference():
    with pytest.raises(
        RecipeError, match="'knn' compares with the features of training rows, and none are kept"
    ):
        scope([1.0], "knn").score(np.zeros((1, 2)), np.zeros((1, 3)))


def test_a_scope_comes_back_from_its_arrays():
    one = scope([3.0, 1.0])
    again = Scope.from_arrays(one.arrays(), one.off_map)
    rows = np.random.default_rng(0).normal(size=(5, 3))
    assert (again.score(rows, rows) == one.score(rows, rows)).all()
    assert again.in_scope.tolist() == [1.0, 3.0]


def test_arrays_of_an_older_model_hold_no_scores():
    arrays = scope([1.0]).arrays()
    del arrays["in_scope"]
    assert len(Scope.from_arrays(arrays).in_scope) == 0
