"""Heads that are not linear give what other implementations of them give."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from textlabel.errors import BundleError
from textlabel.models.classifier import Frozen
from textlabel.models.nonlinear import CHUNK, FLOOR, Neighbors, Perceptron, unit_rows


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def perceptron(rng):
    return Perceptron(*(rng.normal(size=shape) for shape in ((7, 5), 7, (3, 7), 3)))


@pytest.fixture
def neighbors(rng):
    x, y = rng.normal(size=(40, 5)), rng.integers(0, 3, 40)
    center = x.mean(axis=0)
    return Neighbors(unit_rows(x, center), np.eye(3)[y], center, np.array([5, 0.2]))


def test_a_perceptron_is_that_of_torch(perceptron, rng):
    net = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.ReLU(), torch.nn.Linear(7, 3)).double()
    numbers = [perceptron.inward, perceptron.inward_bias, perceptron.outward, perceptron.outward_bias]
    with torch.no_grad():
        for parameter, values in zip(net.parameters(), numbers, strict=True):
            parameter.copy_(torch.from_numpy(values))
    x = rng.normal(size=(9, 5))
    np.testing.assert_allclose(perceptron(x), net(torch.from_numpy(x)).detach().numpy(), atol=1e-12)


def test_neighbors_are_those_of_scikit_learn(neighbors, rng):
    x = rng.normal(size=(30, 5))
    other = KNeighborsClassifier(5, metric="cosine", weights=lambda d: np.exp((1 - d) / 0.2))
    other.fit(neighbors.rows, neighbors.targets.argmax(axis=1))
    wanted = other.predict_proba(x - neighbors.center)
    cosines = unit_rows(x, neighbors.center) @ neighbors.rows.T
    nearest = -np.sort(-cosines, axis=1)[:, :5]
    total = np.exp((nearest - nearest[:, :1]) / 0.2).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(
        np.exp(neighbors(x)), (wanted * total + FLOOR) / (total + 3 * FLOOR), atol=1e-9
    )
    np.testing.assert_allclose(np.exp(neighbors(x)).sum(axis=1), 1)


def test_many_rows_go_in_parts(neighbors, rng):
    x = rng.normal(size=(CHUNK + 3, 5))
    np.testing.assert_allclose(neighbors(x)[-5:], neighbors(x[-5:]), atol=1e-12)
    assert neighbors(x[:0]).shape == (0, 3)


@pytest.mark.parametrize("count", [3, 20])
def test_a_row_without_neighbors_or_direction_knows_nothing(count):
    """With a single labeled row, nothing is left of its features when their mean is gone."""
    head = Neighbors(np.zeros((1, 2)), np.array([[0.0, 1.0]]), np.ones(2), np.array([count, 0.1]))
    found = np.exp(head(np.ones((1, 2))))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(), 1)


@pytest.mark.parametrize("name", ["perceptron", "neighbors"])
def test_a_classifier_holds_the_very_numbers(name, rng, request):
    head = request.getfixturevalue(name)
    frozen = Frozen(head)
    assert (frozen.in_features, frozen.out_features) == (5, 3)
    assert not any(parameter.requires_grad for parameter in frozen.parameters())
    x = rng.normal(size=(9, 5)).astype(np.float32)
    np.testing.assert_allclose(frozen.solved()(x), head(x), atol=1e-4)
    np.testing.assert_allclose(frozen(torch.from_numpy(x)).numpy(), head(x), atol=1e-4)
    again = Frozen.read(frozen.name, dict(frozen.state_dict()))
    np.testing.assert_array_equal(again.solved()(x), frozen.solved()(x))


def test_a_kind_from_elsewhere_is_refused():
    with pytest.raises(BundleError, match="a head of kind 'tree'; expected mlp or knn"):
        Frozen.read("tree", {})
