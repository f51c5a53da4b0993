import numpy as np
import pytest

from textlabel.errors import BundleError
from textlabel.trust.calibration import from_json, softmax
from textlabel.trust.calibrators import histogram
from textlabel.trust.calibrators.histogram import BINS, Histogram


def _rows(k, n=3000, seed=0):
    rng = np.random.default_rng(seed)
    z = 3 * rng.normal(size=(n, k))
    return z, (softmax(z / 2).cumsum(1) > rng.random(n)[:, None]).argmax(1)


def test_each_bin_says_how_often_its_rows_are_right():
    z, y = _rows(3)
    sure = softmax(z).max(1)
    confidence = histogram.fit(z, y).apply(z).max(1)
    order = np.argsort(sure, kind="stable")
    for rows in np.array_split(order, BINS):  # 3,000 rows, no ties: 200 a bin
        assert len(set(confidence[rows])) == 1
        expected = (np.sum(z.argmax(1)[rows] == y[rows]) + sure[rows].mean()) / 201
        assert confidence[rows][0] == pytest.approx(expected)


@pytest.mark.parametrize("k", [2, 3, 10])
def test_the_label_stays_however_wrong_the_model_is(k):
    z, y = _rows(k)
    hopeless = (z.argmax(1) + 1) % k
    for labels in (y, hopeless):
        p = histogram.fit(z, labels).apply(z)
        assert (p.argmax(1) == z.argmax(1)).all()
        assert (p.max(1) > 1 / k).all()
        second = np.sort(p, axis=1)[:, -2]
        assert (second < p.max(1)).all()


def test_the_rest_keeps_its_proportions_where_the_label_stays_ahead():
    z = np.log([[0.6, 0.3, 0.1]])
    np.testing.assert_allclose(Histogram((), (0.8,)).apply(z), [[0.8, 0.15, 0.05]])
    bent = Histogram((), (0.4,)).apply(z)  # in proportion the second would have 0.45
    np.testing.assert_allclose(bent, [[0.4, 0.4, 0.2]], atol=1e-6)
    assert bent.argmax() == 0


def test_ties_share_a_bin():
    z = np.repeat([[0.0, 1.0], [0.0, 2.0]], [900, 100], axis=0)
    fitted = histogram.fit(z, np.ones(1000, dtype=int))
    assert len(fitted.confidence) == 2
    assert len(histogram.fit(z[:900], np.ones(900, dtype=int)).confidence) == 1


@pytest.mark.parametrize(
    ("borders", "confidence"), [([0.5], [0.5]), ([0.6, 0.5], [0.1, 0.2, 0.3]), ([0.5], [0.5, 1.5])]
)
def test_bins_out_of_order_are_refused(borders, confidence):
    with pytest.raises(BundleError, match="rising 'borders'"):
        from_json({"name": "histogram", "borders": borders, "confidence": confidence})
