import numpy as np
import pytest
import scipy.special
import scipy.stats
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

from textlabel.registry import load, plugins
from textlabel.trust import scope
from textlabel.trust.scope import Map

LOGITS = np.random.default_rng(0).normal(0, 4, (200, 5))


def score(name, logits=LOGITS, features=None, known=None, **options):
    return load("off_map", name).score(logits, features, known, **options)


def clusters(n=120, d=8, k=3, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % k
    return (3 * np.eye(k, d)[labels] + rng.normal(0, 0.3, (n, d))).astype(np.float32), labels


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_energy_agrees_with_scipy(temperature):
    expected = -temperature * scipy.special.logsumexp(LOGITS / temperature, axis=1)
    np.testing.assert_allclose(score("energy", temperature=temperature), expected, atol=1e-12)


def test_energy_of_huge_logits_is_finite():
    np.testing.assert_allclose(score("energy", np.array([[1e4, 0.0], [-1e4, -1e4]])), [-1e4, 1e4 - np.log(2)])


def test_scores_of_probabilities_agree_with_scipy():
    p = scipy.special.softmax(LOGITS, axis=1)
    np.testing.assert_allclose(score("max_softmax"), 1 - p.max(axis=1), atol=1e-12)
    np.testing.assert_allclose(score("entropy"), scipy.stats.entropy(p, axis=1), atol=1e-12)
    np.testing.assert_allclose(score("max_logit"), -LOGITS.max(axis=1))
    assert score("entropy", np.array([[1000.0, 0.0]])) == 0


@pytest.mark.parametrize("k", [1, 10, 500])
def test_knn_agrees_with_sklearn(k, monkeypatch):
    features, labels = clusters()
    queries, _ = clusters(70, seed=1)
    monkeypatch.setattr(scope, "_CHUNK", 32)
    neighbors = NearestNeighbors(n_neighbors=min(k, 120)).fit(normalize(features))
    expected = neighbors.kneighbors(normalize(queries))[0][:, -1]
    ours = score("knn", features=queries, known=Map.draw(features, labels, 3, keep_reference=True), k=k)
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_knn_does_not_see_how_long_a_feature_is():
    features, labels = clusters()
    known = Map.draw(features, labels, 3, keep_reference=True)
    np.testing.assert_allclose(
        score("knn", features=features, known=known),
        score("knn", features=7 * features, known=known),
        atol=1e-5,
    )


@pytest.mark.parametrize("name", plugins("off_map"))
def test_far_rows_score_higher(name):
    features, labels = clusters()
    known = Map.draw(features, labels, 3, keep_reference=True)
    directions = np.eye(3, 8)
    far = 9 * np.ones((5, 8), np.float32) * [1, 1, 1, -1, 1, -1, 1, -1]
    near_score, far_score = (
        known.score(name, 6 * x @ directions.T * (x is features), x) for x in (features, far)
    )
    assert np.quantile(near_score, 0.95) < far_score.min()


@pytest.mark.parametrize(
    ("n", "d", "k"),
    [(6, 40, 3), (60, 8, 1), (3, 8, 3), (1, 5, 1)],
    ids=["n<d", "one class", "a row a class", "a row"],
)
@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("name", plugins("off_map"))
def test_poor_maps_give_finite_scores(name, n, d, k, constant):
    features, labels = clusters(n, d, k)
    features[:, ::2] = 0
    if constant:
        features[:] = 0.5
    known = Map.draw(features, labels, k, keep_reference=True)
    queries = np.concatenate([features, 100 + features, 0 * features])
    found = known.score(name, np.zeros((3 * n, k)), queries)
    assert found.shape == (3 * n,)
    assert np.isfinite(found).all()
    assert known.score(name, np.zeros((0, k)), queries[:0]).shape == (0,)
