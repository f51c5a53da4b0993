"""Scores that need no label of the target: each on a case in which it tells something."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import entropy

from textlabel.errors import CorpusError
from textlabel.models.heads import softmax_regression
from textlabel.trust import target_scores


def test_entropies_are_those_of_scipy():
    p = np.random.default_rng(0).dirichlet(np.ones(4), size=50)
    mean = entropy(p, axis=1).mean()
    assert target_scores.mean_entropy(p) == pytest.approx(mean)
    assert target_scores.mutual_information(p) == pytest.approx(entropy(p.mean(axis=0)) - mean)


def test_sure_labels_of_one_class_are_not_diverse():
    alike, apart = np.tile([0.99, 0.01], (10, 1)), np.tile([[0.99, 0.01], [0.01, 0.99]], (5, 1))
    assert target_scores.mean_entropy(alike) == pytest.approx(target_scores.mean_entropy(apart))
    assert target_scores.mutual_information(alike) == pytest.approx(0, abs=1e-12)
    assert target_scores.mutual_information(apart) > 0.6


def test_importance_weights_tell_the_accuracy_of_another_region():
    """Labels are right left of 0; the target lies mostly right of it."""
    x = np.random.default_rng(1).uniform(-1, 1, 20_000)
    right, weights = x < 0, np.where(x < 0, 0.4, 1.6)
    assert np.mean(right) == pytest.approx(0.5, abs=0.01)
    assert target_scores.importance_weighted_accuracy(right, weights) == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize(("right", "weights"), [([True], []), ([], []), ([True, False], [0.0, 0.0])])
def test_rows_without_weights_are_refused(right, weights):
    with pytest.raises(CorpusError, match="as many weights as rows"):
        target_scores.importance_weighted_accuracy(right, weights)


def test_no_rows_are_refused():
    with pytest.raises(CorpusError, match=r"expected probabilities \(n, k\)"):
        target_scores.mean_entropy(np.zeros((0, 2)))


def fit(x, y):
    return next(iter(softmax_regression(x, np.eye(2)[y], np.ones(len(x)), [0.1])))


def blobs(n, seed, center=(0.0, 0.0)):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    return rng.normal(size=(n, 2)) * 0.3 + np.array([[-1.0, 0], [1, 0]])[y] + center, y


def test_the_way_back_tells_right_labels_from_labels_of_something_else():
    (source, labels), (target, truth) = blobs(200, 0), blobs(200, 1, (0.0, 3.0))
    right = target_scores.circular(fit, source, labels, target, truth)
    other = target_scores.circular(fit, source, labels, target, (target[:, 1] > 3).astype(np.int64))
    assert right.mean() > 0.95
    assert 0.3 < other.mean() < 0.7


def test_a_target_of_one_class_has_no_way_back():
    (source, labels), (target, _) = blobs(20, 0), blobs(20, 1)
    assert not target_scores.circular(fit, source, labels, target, np.zeros(20, np.int64)).any()


def test_labels_that_are_all_wrong_do_not_come_back():
    (source, labels), (target, truth) = blobs(200, 0), blobs(200, 1)
    assert target_scores.circular(fit, source, labels, target, 1 - truth).mean() < 0.05
