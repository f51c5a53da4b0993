"""Labels that spread along a graph, against dense algebra, and what a head learns of it."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import kneighbors_graph

from textlabel.models.heads import Linear
from textlabel.models.propagation import STEPS, Propagation, neighbor_graph, propagate, shift_to


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


@pytest.mark.parametrize("shares", [(0.7, 0.2, 0.1), (0.05, 0.9, 0.05), (0.4, 0.4, 0.2)])
def test_classes_win_the_shares_that_are_asked_for(shares):
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(2000, 3)) @ rng.normal(size=(3, 3)) + (0.0, 8.0, 0.0)  # one never wins as it is
    won = np.bincount((logits + shift_to(logits, np.array(shares))).argmax(axis=1), minlength=3) / 2000
    np.testing.assert_allclose(won, shares, atol=0.02)


def test_a_class_that_shall_not_win_and_rows_that_are_all_alike():
    logits = np.random.default_rng(4).normal(size=(500, 3))
    won = np.bincount((logits + shift_to(logits, np.array([0.5, 0.5, 0.0]))).argmax(axis=1), minlength=3)
    assert won[2] <= 5
    assert shift_to(np.zeros((4, 2)), np.array([0.5, 0.5])).tolist() == [0.0, 0.0]


@pytest.mark.parametrize(("away", "elsewhere"), [(3.0, True), (0.0, False)])
def test_of_another_domain_no_class_wins_more_rows_than_before(rows, away, elsewhere):
    """The head is unsure of these rows and leans to a class; averaging alone makes that class ever larger."""
    x, y = rows
    other = np.random.default_rng(5).normal(size=(600, 6)) + 1.0 * np.eye(2, 6)[np.arange(600) % 2]
    other += (-0.6, 0.6, away, 0, 0, 0)
    head = Linear(np.eye(2, 6) - 0.5 * np.eye(2, 6)[::-1], np.zeros(2))
    before = np.bincount(head(other).argmax(axis=1), minlength=2) / 600
    assert before.max() > 0.6
    labeled = x if elsewhere else other[:100]
    propagation = Propagation(labeled, other)
    assert propagation.elsewhere == elsewhere
    after = np.bincount(propagation.head(head, np.eye(2)[y[: len(labeled)]], 0.8)(other).argmax(axis=1)) / 600
    assert (np.abs(after - before).max() < 0.02) == elsewhere


def test_few_rows_do_not_tell_another_domain():
    rng = np.random.default_rng(6)
    assert not Propagation(rng.normal(size=(19, 4)), rng.normal(size=(100, 4)) + 9).elsewhere
    assert Propagation(rng.normal(size=(20, 4)), rng.normal(size=(100, 4)) + 9).elsewhere
    twice = np.repeat(rng.normal(size=(10, 4)), 2, axis=0)  # a row that came twice would be told from itself
    assert not Propagation(twice, rng.normal(size=(100, 4)) + 9).elsewhere
