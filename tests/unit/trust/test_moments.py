import numpy as np
import pytest
from sklearn.covariance import LedoitWolf

from textlabel.errors import BundleError, CorpusError
from textlabel.trust import moments
from textlabel.trust.moments import Moments, fit_moments


def _clusters(n=300, d=12, k=3, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, k, n)
    centers = 4 * rng.normal(size=(k, d))
    scatter = rng.normal(size=(d, d)) / np.sqrt(d)
    return (centers[labels] + rng.normal(size=(n, d)) @ scatter).astype(np.float32), labels


def _by_sklearn(features, labels, k, queries):
    """Return plain and relative distance, and that from the bulk, in float64."""
    x, q = features.astype(np.float64), queries.astype(np.float64)
    means = np.stack([x[labels == c].mean(0) for c in range(k)])
    within = LedoitWolf(assume_centered=True).fit(x - means[labels]).precision_
    total = LedoitWolf().fit(x)

    def squared(z, precision):
        return np.einsum("ij,jk,ik->i", z, precision, z)

    nearest = np.min([squared(q - m, within) for m in means], axis=0)
    bulk = squared(q - x.mean(0), total.precision_)
    return nearest, nearest - bulk, bulk


@pytest.mark.parametrize(("n", "d"), [(300, 12), (30, 60)])
def test_distances_agree_with_sklearn_covariances(n, d):
    features, labels = _clusters(n, d)
    queries, _ = _clusters(50, d, seed=9)
    fitted = fit_moments(features, labels, 3)
    ours = (fitted.mahalanobis(queries), fitted.relative_mahalanobis(queries), fitted.bulk(queries))
    for found, expected in zip(ours, _by_sklearn(features, labels, 3, queries), strict=True):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def _hard(kind, n=600, d=24, seed=0):
    """Return clusters that are unkind to single precision."""
    features, labels = _clusters(n, d, seed=seed)
    if kind == "far from zero":
        features += 1000
    elif kind == "scales apart":
        features = features * np.logspace(-4, 4, d).astype(np.float32)
    elif kind == "constant":
        features[:, ::3] = 7
    elif kind == "dependent":
        features[:, d // 2 :] = features[:, : d // 2]
    return features, labels


@pytest.mark.parametrize("kind", ["plain", "far from zero", "scales apart", "constant", "dependent"])
def test_single_precision_is_enough(kind):
    features, labels = _hard(kind)
    fitted = fit_moments(features, labels, 3)
    queries = np.concatenate([features, features + 30 * (features - features.mean(0))])
    m, f, m0, f0 = (
        fitted.arrays()[name].astype(np.float64) for name in ("means", "factor", "mean0", "factor0")
    )
    z = queries.astype(np.float64)
    near = np.min([np.sum(((z - mean) @ f) ** 2, axis=1) for mean in m], axis=0)
    relative = near - np.sum(((z - m0) @ f0) ** 2, axis=1)
    for exact, ours in (
        (near, fitted.mahalanobis(queries)),
        (relative, fitted.relative_mahalanobis(queries)),
    ):
        error = np.abs(ours - exact)
        assert error[:600].max() < 1e-3 * np.std(exact[:600])  # rows like those of training
        assert (error <= 1e-4 * (near + np.std(exact[:600]))).all()  # and rows far away


def test_far_rows_score_higher():
    features, labels = _clusters()
    fitted = fit_moments(features, labels, 3)
    far = features[:50] + 20 * np.random.default_rng(1).normal(size=(1, 12)).astype(np.float32)
    assert np.median(fitted.relative_mahalanobis(far)) > fitted.relative_mahalanobis(features).max()


def test_chunks_do_not_change_the_result(monkeypatch):
    features, labels = _clusters()
    whole = fit_moments(features, labels, 3)
    monkeypatch.setattr(moments, "_CHUNK", 7)
    pieces = fit_moments(features, labels, 3)
    for name, array in whole.arrays().items():
        np.testing.assert_allclose(pieces.arrays()[name], array, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        pieces.relative_mahalanobis(features), whole.relative_mahalanobis(features), rtol=1e-3, atol=1e-3
    )


def test_an_empty_class_is_never_nearest():
    features, labels = _clusters()
    without, with_empty = fit_moments(features, labels, 3), fit_moments(features, labels, 4)
    assert np.isnan(with_empty.means[3]).all()
    assert (with_empty.relative_mahalanobis(features) == without.relative_mahalanobis(features)).all()


@pytest.mark.parametrize(
    ("features", "labels"),
    [
        (np.eye(3, 5), [0, 1, 2]),  # one row a class: no scatter within classes
        (np.eye(4, 5), [0, 0, 1, 2]),
        (np.full((6, 5), 0.1), [0, 0, 0, 1, 1, 1]),  # all rows alike
        (np.ones((1, 5)), [0]),
    ],
)
def test_degenerate_training_rows_give_finite_scores(features, labels):
    fitted = fit_moments(features.astype(np.float32), labels, 3)
    near, far = fitted.relative_mahalanobis(np.stack([features[0], features[0] + 100]))
    assert np.isfinite([near, far]).all()


def test_constant_features_do_not_break_the_inverse():
    features, labels = _clusters()
    features[:, 3] = 0.5
    assert np.isfinite(fit_moments(features, labels, 3).relative_mahalanobis(features)).all()


def test_a_single_class_keeps_the_plain_distance():
    features, labels = _clusters()
    fitted = fit_moments(features, np.zeros(len(labels), dtype=int), 1)
    assert np.ptp(fitted.relative_mahalanobis(features)) > 1


def test_no_rows_to_score():
    features, labels = _clusters()
    assert fit_moments(features, labels, 3).relative_mahalanobis(features[:0]).shape == (0,)


def test_moments_come_back_from_their_arrays():
    features, labels = _clusters()
    fitted = fit_moments(features, labels, 3)
    again = Moments.from_arrays(fitted.arrays())
    assert (again.relative_mahalanobis(features) == fitted.relative_mahalanobis(features)).all()


def test_damaged_arrays_are_named():
    features, labels = _clusters()
    arrays = fit_moments(features, labels, 3).arrays()
    with pytest.raises(BundleError, match=r"missing \['factor0'\]"):
        Moments.from_arrays({name: a for name, a in arrays.items() if name != "factor0"})
    with pytest.raises(BundleError, match="do not fit together"):
        Moments.from_arrays(arrays | {"factor": arrays["factor"][:3]})


@pytest.mark.parametrize("labels", [[], [0] * 299, [3] * 300, [-1] * 300])
def test_bad_labels_are_refused(labels):
    features, _ = _clusters()
    with pytest.raises(CorpusError, match="expected features"):
        fit_moments(features[: len(labels) and 300], labels, 3)
