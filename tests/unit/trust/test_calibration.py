import numpy as np
import pytest

from textlabel.errors import BundleError, PluginError
from textlabel.registry import load, plugins
from textlabel.trust.calibration import from_json, softmax


def test_softmax_survives_large_logits():
    np.testing.assert_allclose(softmax([[1e4, 1e4, -1e4]]), [[0.5, 0.5, 0.0]])


@pytest.mark.parametrize("name", plugins("calibrator"))
def test_every_calibrator_comes_back_from_json(name):
    logits = np.random.default_rng(0).normal(size=(60, 3))
    fitted = load("calibrator", name).fit(logits, logits.argmax(1) % 2)
    again = from_json(fitted.to_json())
    assert again == fitted
    p = again.apply(logits)
    assert p.dtype == np.float64
    np.testing.assert_allclose(p.sum(1), 1.0)


def test_a_calibrator_without_a_name_is_refused():
    with pytest.raises(BundleError, match="expected a calibrator"):
        from_json({"temperature": 1.0})


def test_an_unknown_calibrator_names_the_nearest():
    with pytest.raises(PluginError, match="did you mean 'temperature'"):
        from_json({"name": "temprature"})
