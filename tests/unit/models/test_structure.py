"""Heads of ordered classes and of trees, against the same written in another way."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from textlabel.label_tree import LabelTree, read_tree
from textlabel.models.heads import softmax_regression
from textlabel.models.structure import ORDERED_SHARES, mixings, scale_mixing, tree_mixing
from textlabel.trust.calibration import softmax
from textlabel.types import LabelSchema

TREE = LabelTree(*read_tree({"x": {"y": ["a", "b"], "z": ["c"]}, "w": ["d"], "e": []}))
N, D, K = 60, 4, 5


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    y = np.arange(N) % K
    x = rng.normal(size=(N, D)) + np.outer(y, rng.normal(size=D)) / 3
    return (x - x.mean(axis=0)) / x.std(axis=0), y


def log_probabilities(logits):
    return np.log(softmax(logits))


def minimum(loss, size):
    """Return where a loss is least, by another method and without a gradient of its own."""
    found = minimize(loss, np.zeros(size), method="BFGS", options={"gtol": 1e-6})
    return found.x


def test_ordered_classes_are_adjacent_categories(rows):
    """log p_k / p_(k-1) is w.x + c_k, with one w for all steps."""
    x, y = rows
    mixing, l2 = scale_mixing(K), 0.05
    [head] = softmax_regression(x, np.eye(K)[y], np.ones(N), [l2], mixing=mixing)
    steps = np.diff(head.weight, axis=0)
    np.testing.assert_allclose(steps, np.tile(steps[0], (K - 1, 1)), atol=1e-12)

    def loss(flat):
        w, cuts = flat[:D], flat[D:]
        logits = np.arange(K) * (x @ w)[:, None] + np.append(0, np.cumsum(cuts))
        step = np.diff(mixing[:, 0])[0]
        return -log_probabilities(logits)[np.arange(N), y].mean() + l2 / 2 * (w @ w) / step**2

    other = minimum(loss, D + K - 1)
    np.testing.assert_allclose(steps[0], other[:D], atol=2e-4)
    np.testing.assert_allclose(np.diff(head.bias), other[D:], atol=1e-3)


def test_the_weights_of_a_leaf_are_the_sum_of_those_of_its_nodes(rows):
    """The covariance of classes is that of independent parts of the nodes on their paths."""
    x, y = rows
    share, l2 = 0.6, 0.05
    [head] = softmax_regression(x, np.eye(K)[y], np.ones(N), [l2], mixing=tree_mixing(TREE, share))
    inner = TREE.members[: len(TREE.inner)].astype(float)
    levels = inner.sum(axis=0)
    most = levels.max()
    parts = np.hstack([np.diag(np.sqrt(1 - share * levels / most)), np.sqrt(share / most) * inner.T])
    size = parts.shape[1] * D

    def loss(flat):
        v, b = flat[:size].reshape(-1, D), flat[size:]
        logits = x @ (parts @ v).T + b
        return -log_probabilities(logits)[np.arange(N), y].mean() + l2 / 2 * (v * v).sum()

    found = minimum(loss, size + K)
    weight = parts @ found[:size].reshape(-1, D)
    np.testing.assert_allclose(head.weight, weight - weight.mean(axis=0), atol=5e-4)


def test_classes_below_one_node_vary_together():
    mixing = tree_mixing(TREE, 0.6)
    covariance = mixing @ mixing.T
    a, b, c, d, e = (TREE.classes.index(name) for name in "abcde")
    np.testing.assert_allclose(np.diag(covariance), 1)
    assert covariance[a, b] == pytest.approx(0.6)  # below x and y
    assert covariance[a, c] == pytest.approx(0.3)  # below x alone
    assert covariance[a, d] == pytest.approx(0)
    assert covariance[d, e] == pytest.approx(0)


def test_no_structure_is_the_free_softmax(rows):
    x, y = rows
    [free] = softmax_regression(x, np.eye(K)[y], np.ones(N), [0.1])
    [same] = softmax_regression(x, np.eye(K)[y], np.ones(N), [0.1], mixing=tree_mixing(TREE, 0.0))
    np.testing.assert_allclose(same.weight, free.weight, atol=1e-6)
    assert mixings(LabelSchema("single", ("a", "b"))) == {0.0: None}
    assert tuple(mixings(LabelSchema("single", ("a", "b"), ordered=True))) == ORDERED_SHARES


def test_a_set_of_candidates_counts_the_sum_of_their_probabilities(rows):
    x, y = rows
    soft, l2 = np.eye(K)[y], 0.05
    open_rows = np.flatnonzero((y < 2) & (np.arange(N) > 10))
    soft[np.ix_(open_rows, [0, 1])] = 1.0
    [head] = softmax_regression(x, soft, np.ones(N), [l2])

    def loss(flat):
        w, b = flat[: K * D].reshape(K, D), flat[K * D :]
        p = softmax(x @ w.T + b)
        return -np.log((p * soft).sum(axis=1)).mean() + l2 / 2 * (w * w).sum()

    ours = loss(np.concatenate([head.weight.ravel(), head.bias]))
    assert ours == pytest.approx(loss(minimum(loss, K * D + K)), abs=1e-6)


def test_candidates_tell_groups_apart_and_nothing_within():
    rng = np.random.default_rng(0)
    centers = np.array([[3.0, 1, 0], [3, -1, 0], [-3, 0, 1], [-3, 0, -1]])
    y = np.arange(400) % 4
    x = centers[y] + rng.normal(size=(400, 3))
    soft = np.eye(4)[y]
    soft[:396] = np.where(y[:396, None] < 2, [1, 1, 0, 0], [0, 0, 1, 1])
    [head] = softmax_regression(x, soft, np.ones(400), [0.1])
    [few] = softmax_regression(x[396:], np.eye(4)[y[396:]], np.ones(4), [0.1])
    group = np.mean((head(x).argmax(axis=1) < 2) == (y < 2))
    assert group > 0.98
    assert group > np.mean((few(x).argmax(axis=1) < 2) == (y < 2))
