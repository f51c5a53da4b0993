"""Labels that spread along a graph, against dense algebra, and what a head learns of it."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import kneighbors_graph

from textlabel.models.heads import Linear
from textlabel.models.propagation import STEPS, Propagation, neighbor_graph, propagate


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 300)
    return rng.normal(size=(300, 6)) + 2.5 * np.eye(2, 6)[y], y


def test_neighbors_are_scikit_learns(rows):
    x = rows[0][:80]
    expected = kneighbors_graph(x - x.mean(axis=0), 5, metric="cosine", include_self=False).toarray()
    graph = neighbor_graph(x, neighbors=5).toarray()
    np.testing.assert_array_equal(graph > 0, (expected + expected.T) > 0)
    np.testing.assert_allclose(graph, graph.T)
    assert np.abs(np.linalg.eigvalsh(graph)).max() <= 1 + 1e-9  # so that averaging converges


def test_more_neighbors_than_rows():
    assert neighbor_graph(np.eye(3), neighbors=10).shape == (3, 3)


def test_averaging_is_the_closed_form(rows):
    x, y = rows
    graph, own = neighbor_graph(x), np.eye(2)[y]
    exact = np.linalg.solve(np.eye(300) - 0.5 * graph.toarray(), 0.5 * own)
    exact /= exact.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(propagate(graph, own, 0.5), exact, atol=0.5**STEPS * 10)


def test_a_head_of_few_rows_learns_the_clusters(rows):
    x, y = rows
    labeled = np.r_[np.flatnonzero(y == 0)[:2], np.flatnonzero(y == 1)[:2]]
    rest = np.setdiff1d(np.arange(300), labeled)
    rough = Linear(np.random.default_rng(1).normal(size=(2, 6)) * 0.3 + np.eye(2, 6) * 0.5, np.zeros(2))
    propagation = Propagation(x[labeled], x[rest])
    found = propagation.head(rough, np.eye(2)[y[labeled]], 0.8)
    before = np.mean(rough(x[rest]).argmax(axis=1) == y[rest])
    assert before + 0.02 < np.mean(found(x[rest]).argmax(axis=1) == y[rest])
    new = np.random.default_rng(2).normal(size=(500, 6)) + 2.5 * np.eye(2, 6)[np.arange(500) % 2]
    assert np.mean(found(new).argmax(axis=1) == np.arange(500) % 2) > 0.9  # of texts outside of the corpus


def test_rows_that_pass_for_unlabeled_give_no_label_away(rows):
    x, y = rows
    propagation, head = Propagation(x[:20], x[20:]), Linear(np.eye(2, 6), np.zeros(2))
    known = np.eye(2)[y[:20]]
    known[5:10] = np.nan
    one = propagation.head(head, known, 0.8)
    other = np.eye(2)[1 - y[:20]]
    other[:5], other[5:10], other[10:] = known[:5], np.nan, known[10:]
    two = propagation.head(head, other, 0.8)
    np.testing.assert_array_equal(one.weight, two.weight)
