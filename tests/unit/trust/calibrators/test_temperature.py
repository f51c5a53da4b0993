import numpy as np
import pytest

from textlabel.errors import BundleError, CorpusError, TrainingError
from textlabel.trust.calibration import softmax
from textlabel.trust.calibrators import temperature
from textlabel.trust.metrics import ece, nll


def _simulated(n, true_temperature, k=3, seed=0):
    """Labels drawn from softmax(logits / true_temperature): that T is the right answer."""
    rng = np.random.default_rng(seed)
    logits = 3 * rng.normal(size=(n, k))
    p = softmax(logits / true_temperature)
    return logits, (p.cumsum(1) > rng.random(n)[:, None]).argmax(1)


@pytest.mark.parametrize("true", [0.5, 1.0, 2.5])
def test_the_temperature_of_a_simulated_model_is_recovered(true):
    logits, labels = _simulated(20_000, true)
    fitted = temperature.fit(logits, labels)
    assert fitted.temperature == pytest.approx(true, rel=0.03)
    p = fitted.apply(logits)
    assert ece(p.max(1), p.argmax(1) == labels) < 0.02


def test_calibration_never_changes_the_label():
    logits, labels = _simulated(500, 2.0)
    p = temperature.fit(logits, labels).apply(logits)
    assert (p.argmax(1) == logits.argmax(1)).all()


def test_the_slope_is_zero_at_the_optimum_and_nothing_near_is_better():
    logits, labels = _simulated(300, 1.7)
    best = temperature.fit(logits, labels).temperature

    def loss(t):
        return nll(labels, softmax(logits / t))

    assert (loss(best * 1.001) - loss(best * 0.999)) / (0.002 * best) == pytest.approx(0, abs=1e-5)
    assert all(loss(best) <= loss(t) for t in np.geomspace(0.05, 20, 400))


def test_weights_count_as_repeated_rows():
    logits, labels = _simulated(200, 1.5)
    weights = np.random.default_rng(1).integers(1, 4, 200)
    repeated = temperature.fit(logits.repeat(weights, axis=0), labels.repeat(weights))
    assert temperature.fit(logits, labels, weights).temperature == pytest.approx(repeated.temperature)


def test_a_handful_of_right_rows_does_not_make_confidence_one():
    logits = np.tile([2.0, 0.0], (8, 1))
    fitted = temperature.fit(logits, np.zeros(8, dtype=int))
    assert 0.3 < fitted.temperature < 1
    # convexity: the penalized slope, written out, is zero there
    beta = 1 / fitted.temperature
    assert -8 * 2 * (1 - softmax(logits[:1] * beta)[0, 0]) + 1 - 1 / beta == pytest.approx(0, abs=1e-6)


def test_all_rows_right_does_not_make_confidence_one_at_any_size():
    logits = np.tile([2.0, 0.0], (100, 1))
    assert temperature.fit(logits, np.zeros(100, dtype=int)).temperature > 0.2


def test_logits_that_speak_against_the_labels_end_at_the_bound():
    assert temperature.fit(np.tile([5.0, 0.0], (50, 1)), np.ones(50, dtype=int)).temperature == 20.0


@pytest.mark.parametrize(
    ("logits", "labels", "weights", "message"),
    [
        (np.zeros((0, 2)), [], None, "n >= 1"),
        (np.zeros((2, 1)), [0, 0], None, "k >= 2"),
        (np.zeros((2, 2)), [0], None, r"got \(2, 2\), \(1,\)"),
        (np.zeros((2, 2)), [0, 2], None, r"labels in \[0, 2\), got 0 to 2"),
        (np.zeros((2, 2)), [0, 1], [1.0, -1.0], "not negative"),
        (np.zeros((2, 2)), [0, 1], [0.0, 0.0], "not all zero"),
    ],
)
def test_bad_input_is_named(logits, labels, weights, message):
    with pytest.raises(CorpusError, match=message):
        temperature.fit(logits, labels, weights)


def test_diverged_logits_are_named():
    with pytest.raises(TrainingError, match="row 1 are not finite"):
        temperature.fit([[0.0, 1.0], [np.nan, 1.0]], [0, 1])


@pytest.mark.parametrize("value", [None, 0, -1.0, float("inf"), "2"])
def test_a_damaged_record_is_refused(value):
    with pytest.raises(BundleError, match="temperature above 0"):
        temperature.from_json({"name": "temperature", "temperature": value})
