from __future__ import annotations

import numpy as np
import pytest
from scipy.cluster.vq import kmeans2
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score

from textlabel.errors import CorpusError
from textlabel.trust.clusters import (
    Space,
    Stability,
    central,
    different,
    k_means,
    most_stable,
    nearest_center,
    numbers_to_try,
    stability,
)


def clouds(k, each=60, d=8, apart=8.0, seed=0):
    """Return rows (k * each, d) of k round clouds, larger and larger, and the cloud of each."""
    rng = np.random.default_rng(seed)
    label = np.repeat(np.arange(k), each + 10 * np.arange(k))
    return rng.normal(size=(len(label), d)) + apart * np.eye(d)[label], label


def inertia(rows, centers):
    return float((nearest_center(rows, centers)[1] ** 2).sum())


def test_clouds_are_found_as_scipy_finds_them():
    rows, label = clouds(4)
    centers = k_means(rows, 4, seed=0)
    number, _ = nearest_center(rows, centers)
    assert adjusted_rand_score(label, number) == 1
    assert np.bincount(number).tolist() == [90, 80, 70, 60]  # the largest first
    other, _ = kmeans2(rows, rows[[0, 60, 130, 210]], minit="matrix")  # one row of each cloud
    assert inertia(rows, centers) == pytest.approx(inertia(rows, other))


def test_it_is_no_worse_than_the_best_of_many_runs_of_scipy():
    rows = np.random.default_rng(3).normal(size=(300, 5))
    best = min(inertia(rows, kmeans2(rows, 6, minit="++", seed=i)[0]) for i in range(10))
    assert inertia(rows, k_means(rows, 6, seed=0)) < 1.01 * best


def test_the_seed_decides_and_nothing_else():
    rows = np.random.default_rng(0).normal(size=(200, 6))
    assert k_means(rows, 5, seed=1).tolist() == k_means(rows, 5, seed=1).tolist()
    assert k_means(rows, 5, seed=1, starts=1).tolist() != k_means(rows, 5, seed=2, starts=1).tolist()
    assert stability(rows, [2, 3], 4, splits=2) == stability(rows, [2, 3], 4, splits=2)
    assert stability(rows, [2, 3], 4, splits=2) != stability(rows, [2, 3], 5, splits=2)


@pytest.mark.parametrize(("clusters", "known"), [(1, 3), (4, 3), (2, 1)])
def test_more_clusters_than_different_rows_are_refused(clusters, known):
    rows = np.repeat(np.arange(known, dtype=float), 20)[:, None]
    with pytest.raises(CorpusError, match=f"{clusters} clusters of {known} different rows"):
        k_means(rows, clusters, seed=0)


def test_the_space_is_that_of_principal_components():
    features = np.random.default_rng(0).normal(size=(50, 40)) * np.linspace(1, 3, 40) + 1
    rows = Space.of(features, dimensions=7).rows(features)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    expected = PCA(7).fit_transform(unit)
    assert np.abs(rows) == pytest.approx(np.abs(expected), abs=1e-6)
    covariance = np.cov(rows.T)
    assert covariance == pytest.approx(np.diag(np.diag(covariance)), abs=1e-8)


def test_the_space_of_narrow_or_equal_features():
    assert Space.of(np.ones((5, 3))).rows(np.ones((2, 3))) == pytest.approx(np.zeros((2, 3)), abs=1e-7)
    assert np.isfinite(Space.of(np.zeros((5, 3))).rows(np.zeros((2, 3)))).all()


def test_the_nearest_center_is_the_nearest():
    rng = np.random.default_rng(0)
    rows, centers = rng.normal(size=(50, 4)), rng.normal(size=(6, 4))
    distances = np.linalg.norm(rows[:, None] - centers[None], axis=2)
    number, distance = nearest_center(rows, centers)
    assert number.tolist() == distances.argmin(axis=1).tolist()
    assert distance == pytest.approx(distances.min(axis=1))


def test_central_rows_are_half_of_each_cluster():
    rng = np.random.default_rng(0)
    number, distance = rng.integers(0, 4, 101), rng.random(101)
    found = central(number, distance)
    for cluster in range(4):
        own = number == cluster
        assert found[own].sum() == (own.sum() + 1) // 2
        assert distance[own & found].max() < distance[own & ~found].min()


def test_equal_rows_are_one():
    rows = np.array([[1.0, 2.0], [1.0, 2.0 + 1e-9], [1.0, 3.0]])
    assert different(rows).tolist() == [0, 2]


# --- how many -------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [2, 4])
def test_the_number_of_clouds_is_found(k):
    rows, _ = clouds(k, each=40)
    tried = stability(rows - rows.mean(axis=0), [2, 3, 4, 5, 6], seed=0, splits=4)
    found = most_stable(tried)
    assert found.clusters == k
    assert found.agreement == pytest.approx(1)


def test_without_structure_it_says_so():
    rows = np.random.default_rng(1).normal(size=(400, 6)) * np.array([3, 2, 1, 1, 1, 1])
    tried = stability(rows, [2, 3, 4, 6], seed=0, splits=6)
    assert tried[0].agreement > 0.5  # a long cloud is cut in two reliably, and that is no cluster
    assert all(abs(one.gain) < 0.1 for one in tried)
    assert most_stable(tried).verdict.startswith("none found")


def test_clear_clouds_are_called_clear_and_near_ones_blurred():
    rows, _ = clouds(5, apart=8)
    assert most_stable(stability(rows, [4, 5], 0, splits=4)).verdict.startswith("clear")
    near, _ = clouds(5, apart=2.0, d=12)
    assert most_stable(stability(near, [4, 5], 0, splits=4)).verdict.startswith("blurred")


def test_the_largest_within_one_standard_error_is_taken():
    def tried(*gains, error=0.1):
        return [Stability(k, gain, 0.0, error) for k, gain in enumerate(gains, 2)]

    assert most_stable(tried(0.1, 0.5, 0.45, 0.3)).clusters == 4
    assert most_stable(tried(0.1, 0.5, 0.39, 0.3)).clusters == 3
    assert most_stable(tried(0.5, 0.45, error=0.0)).clusters == 2


@pytest.mark.parametrize(("n", "numbers", "needed"), [(19, [2], 20), (39, [2, 10], 40), (0, [2], 20)])
def test_too_few_rows_to_see_stability(n, numbers, needed):
    rows = np.random.default_rng(0).normal(size=(n, 3))
    with pytest.raises(CorpusError, match=f"{n} different rows; expected {needed} or more"):
        stability(rows, numbers, seed=0)


def test_equal_rows_do_not_count_twice():
    rows = np.repeat(np.random.default_rng(0).normal(size=(19, 3)), 9, axis=0)
    with pytest.raises(CorpusError, match="19 different rows"):
        stability(rows, [2], seed=0)


@pytest.mark.parametrize("most", [2, 3, 10, 11, 12, 30, 100])
def test_numbers_to_try_end_with_the_most(most):
    found = numbers_to_try(most)
    assert (found[0], found[-1]) == (2, most)
    assert found == sorted(set(found))
