from types import SimpleNamespace

import numpy as np
import pytest
import scipy.stats

from textlabel.errors import CorpusError, PluginError
from textlabel.registry import plugins
from textlabel.trust.scores import Evidence, order_score

BOUNDED = [name for name in plugins("score") if name != "distance"]


@pytest.fixture
def evidence():
    rng = np.random.default_rng(0)
    members = rng.dirichlet([0.5] * 5, size=(3, 200))
    return Evidence(members.mean(0), rng.normal(size=200), rng.integers(0, 5, (200, 10)), members)


@pytest.mark.parametrize("name", BOUNDED)
def test_scores_lie_in_the_unit_interval(name, evidence):
    values = order_score(name, evidence)
    assert ((values >= 0) & (values <= 1)).all()


@pytest.mark.parametrize("name", ["max_probability", "margin", "entropy"])
def test_scores_of_probabilities_rise_to_one(name):
    rising = order_score(name, Evidence(np.array([[0.5, 0.5], [0.6, 0.4], [0.9, 0.1], [1.0, 0.0]])))
    assert (np.diff(rising) > 0).all()
    assert rising[-1] == 1.0


def test_margin_is_first_minus_second(evidence):
    ordered = np.sort(evidence.probabilities, axis=1)
    np.testing.assert_allclose(order_score("margin", evidence), ordered[:, -1] - ordered[:, -2])


def test_entropy_agrees_with_scipy(evidence):
    expected = 1 - scipy.stats.entropy(evidence.probabilities, base=5, axis=1)
    np.testing.assert_allclose(order_score("entropy", evidence), expected, atol=1e-12)


def test_mutual_information_is_the_mean_divergence_from_the_mean(evidence):
    mean = evidence.members.mean(0)
    divergence = [scipy.stats.entropy(p, mean, axis=1) for p in evidence.members]
    expected = 1 - np.mean(divergence, axis=0) / np.log(5)
    np.testing.assert_allclose(order_score("mutual_information", evidence), expected, atol=1e-12)


def test_ensemble_is_the_mean_probability_of_the_models_own_label():
    members = np.array([[[0.9, 0.1]], [[0.3, 0.7]]])
    of_second = Evidence(np.array([[0.4, 0.6]]), members=members)
    assert order_score("ensemble", of_second) == pytest.approx(0.4)


def test_knn_counts_neighbors_that_agree():
    two = Evidence(np.array([[0.4, 0.6], [0.6, 0.4]]), neighbor_labels=np.array([[1, 1, 0, 1], [1, 1, 1, 1]]))
    assert order_score("knn", two).tolist() == [0.75, 0.0]
    fewer = Evidence(two.probabilities, neighbor_labels=np.array([[1, -1, 0, -1], [-1, -1, -1, -1]]))
    assert order_score("knn", fewer).tolist() == [0.5, 0.0]


@pytest.mark.parametrize(
    "fields",
    [
        {"ood_score": np.zeros(3)},
        {"neighbor_labels": np.zeros(2, dtype=int)},
        {"neighbor_labels": np.zeros((2, 0), dtype=int)},
        {"members": np.zeros((2, 2))},
        {"members": np.zeros((4, 2, 3))},
        {"members": np.zeros((0, 2, 2))},
    ],
)
def test_evidence_of_other_rows_is_refused(fields):
    with pytest.raises(CorpusError, match="do not fit probabilities"):
        Evidence(np.full((2, 2), 0.5), **fields)


def test_a_row_without_a_number_is_named():
    with pytest.raises(CorpusError, match="at fault row 1"):
        order_score("distance", Evidence(np.full((2, 2), 0.5), ood_score=np.array([0.0, np.nan])))


def test_a_score_that_needs_what_is_no_evidence_is_refused(monkeypatch):
    import textlabel.trust.scores as scores

    odd = SimpleNamespace(NEEDS=("probabilities", "gold"), score=lambda evidence: None)
    monkeypatch.setattr(scores, "load", lambda kind, name: odd)
    with pytest.raises(PluginError, match=r"needs \['gold'\]; expected fields of Evidence"):
        order_score("odd", Evidence(np.full((2, 2), 0.5)))


def test_an_unknown_score_names_the_nearest():
    with pytest.raises(PluginError, match="did you mean 'margin'"):
        order_score("margins", Evidence(np.full((2, 2), 0.5)))
