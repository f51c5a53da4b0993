import numpy as np
import pytest
import scipy.stats

from textlabel.registry import load, plugins


@pytest.fixture
def probabilities():
    return np.random.default_rng(0).dirichlet([0.5] * 5, size=200)


@pytest.mark.parametrize("name", plugins("score"))
def test_every_score_lies_in_the_unit_interval_and_rises_with_certainty(name, probabilities):
    score = load("score", name).score
    values = score(probabilities)
    assert values.shape == (200,)
    assert ((values >= 0) & (values <= 1)).all()
    assert score([[1.0, 0.0]])[0] == 1.0
    rising = score([[0.5, 0.5], [0.6, 0.4], [0.9, 0.1]])
    assert (np.diff(rising) > 0).all()


def test_margin_is_first_minus_second(probabilities):
    ordered = np.sort(probabilities, axis=1)
    np.testing.assert_allclose(load("score", "margin").score(probabilities), ordered[:, -1] - ordered[:, -2])


def test_entropy_agrees_with_scipy(probabilities):
    expected = 1 - scipy.stats.entropy(probabilities, base=5, axis=1)
    np.testing.assert_allclose(load("score", "entropy").score(probabilities), expected, atol=1e-12)
