from __future__ import annotations

import numpy as np
import pytest

from textlabel.label_tree import LabelTree, read_tree
from textlabel.trust.back_off import deepest_nodes

TREE = LabelTree(*read_tree({"x": {"y": ["a", "b"], "z": ["c", "d"]}, "w": ["e", "f"], "g": []}))


def draw(n, seed=0):
    """Return calibrated probabilities and labels drawn by them."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(7, 0.3), n)
    return p, (p.cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)


@pytest.mark.parametrize("level", [0.3, 0.5, 0.7, 0.9, 0.99])
def test_nodes_of_calibrated_probabilities_are_right_as_often_as_the_level_says(level):
    p, y = draw(20_000)
    found, sure = deepest_nodes(p, TREE, level)
    told = found >= 0
    right = TREE.members[found[told], y[told]]
    error = 3 * np.sqrt(sure[told].mean() * (1 - sure[told].mean()) / told.sum())
    assert right.mean() > level - error
    assert right.mean() == pytest.approx(sure[told].mean(), abs=error)


def test_they_are_the_deepest_that_are_sure_enough():
    p, _ = draw(300, seed=1)
    found, sure = deepest_nodes(p, TREE, 0.8)
    assert len(set(found)) > 5
    for row, node, probability in zip(p, found, sure, strict=True):
        enough = [i for i in range(len(TREE.nodes)) if row[TREE.members[i]].sum() >= 0.8]
        if not enough:
            assert node == -1
            assert np.isnan(probability)
            continue
        assert TREE.depths[node] == TREE.depths[enough].max()
        assert probability == pytest.approx(row[TREE.members[node]].sum())


def test_of_several_as_deep_the_likeliest():
    p = np.array([[0.1, 0.4, 0.0, 0.0, 0.3, 0.0, 0.2]])
    found, sure = deepest_nodes(p, TREE, 0.25)
    assert (TREE.nodes[found[0]], sure[0]) == ("b", pytest.approx(0.4))


def test_a_sum_that_rounding_keeps_below_one_is_one():
    p = np.array([[0.1] * 3 + [0.7, 0.0, 0.0, 0.0]])
    found, _ = deepest_nodes(p, TREE, 1.0)
    assert TREE.nodes[found[0]] == "x"
