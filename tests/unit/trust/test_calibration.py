import numpy as np
import pytest

from textlabel.errors import BundleError, CorpusError, PluginError
from textlabel.trust import calibration
from textlabel.trust.calibration import checked, describe, from_json, softmax
from textlabel.trust.calibrators.vector import Vector


def test_softmax_survives_large_logits():
    np.testing.assert_allclose(softmax([[1e4, 1e4, -1e4]]), [[0.5, 0.5, 0.0]])


def test_a_fit_reads_a_fixed_draw_of_very_many_rows(monkeypatch):
    monkeypatch.setattr(calibration, "MOST_LOGITS", 300)
    monkeypatch.setattr(calibration, "MOST_ROWS", 50)
    logits = np.arange(2000.0).reshape(1000, 2)
    labels, weights = np.arange(1000) % 2, np.ones(1000)
    weights[:500] = 0
    z, y, w = checked(logits, labels, weights)
    assert z.shape == (150, 2)
    assert (np.diff(z[:, 0]) > 0).all()  # no row twice
    assert (w == 1).all()  # rows that do not count are not drawn
    assert (y == (z[:, 0] // 2) % 2).all()
    np.testing.assert_array_equal(checked(logits, labels, weights)[0], z)
    assert len(checked(np.zeros((80, 100)), np.zeros(80, dtype=int))[0]) == 50


def test_rows_of_infinite_weight_are_refused():
    with pytest.raises(CorpusError, match="finite row weights"):
        checked(np.zeros((2, 2)), [0, 1], [1.0, np.inf])


def test_a_description_leaves_out_lists():
    assert describe(Vector((1.0, 2.0), (0.0, 0.0))) == {"name": "vector"}


def test_a_calibrator_without_a_name_is_refused():
    with pytest.raises(BundleError, match="expected a calibrator"):
        from_json({"temperature": 1.0})


def test_an_unknown_calibrator_names_the_nearest():
    with pytest.raises(PluginError, match="did you mean 'temperature'"):
        from_json({"name": "temprature"})
