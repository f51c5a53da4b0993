import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from textlabel.errors import BundleError
from textlabel.trust.calibration import from_json, softmax
from textlabel.trust.calibrators import isotonic


def _rows(k, n=1500, seed=0):
    rng = np.random.default_rng(seed)
    z = 3 * rng.normal(size=(n, k))
    return z, (softmax(z / 2).cumsum(1) > rng.random(n)[:, None]).argmax(1)


@pytest.mark.parametrize("k", [2, 3])
def test_it_is_isotonic_regression_class_by_class_kept_off_zero_and_one(k):
    z, y = _rows(k)
    new, _ = _rows(k, 200, seed=1)
    hair = 1 / (len(y) + 2)
    columns = []
    for c in range(k):
        curve = IsotonicRegression(out_of_bounds="clip").fit(softmax(z)[:, c], y == c)
        columns.append(np.clip(curve.predict(softmax(new)[:, c]), hair, 1 - hair))
    expected = np.stack(columns, axis=1)
    expected /= expected.sum(1, keepdims=True)
    # here the curve is clipped before it is drawn through its points, there after
    np.testing.assert_allclose(isotonic.fit(z, y).apply(new), expected, atol=1e-4)


def test_two_classes_keep_the_order_of_rows():
    z, y = _rows(2)
    p = isotonic.fit(z, y).apply(z)[:, 1]
    assert (np.diff(p[np.argsort(z[:, 1] - z[:, 0])]) >= 0).all()


@pytest.mark.parametrize("points", [{"x": [0.0, 1.0], "y": [1.0]}, {"x": [0, 1], "y": [1.0, 0.5]}])
def test_a_curve_that_does_not_rise_is_refused(points):
    with pytest.raises(BundleError, match="that rise"):
        from_json({"name": "isotonic", "curves": [points]})
