"""Label maps: what few labeled rows, or somebody, say of the classes of another label set."""

from __future__ import annotations

from itertools import permutations
from statistics import NormalDist

import numpy as np
import pytest

from textlabel.errors import CorpusError, RecipeError
from textlabel.label_tree import LabelTree
from textlabel.trust.label_map import CAP, LEAST, LEVEL, MODES, learn_map, stated_map


def rows(n, z, seed, sharp=4.0):
    """Return n classes and probabilities (n, z) of a classifier that is mostly right."""
    rng = np.random.default_rng(seed)
    y = rng.integers(z, size=n)
    raw = np.exp(sharp * np.eye(z)[y] + rng.normal(size=(n, z)))
    return y, raw / raw.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("mode", MODES)
def test_it_recovers_a_permutation(mode):
    z, theta = rows(200, 4, 0)
    permuted = np.array([2, 0, 3, 1])
    found = learn_map(theta, permuted[z], 4, mode)
    assert found.mapped.all()
    assert found.given.argmax(axis=1).tolist() == permuted.tolist()
    assert (found.apply(theta).argmax(axis=1) == permuted[theta.argmax(axis=1)]).all()


@pytest.mark.parametrize("mode", MODES)
def test_a_class_without_counterpart_is_unmapped_and_its_rows_stay_unsure(mode):
    z, theta = rows(300, 4, 1)
    y = np.where(z == 3, np.random.default_rng(2).integers(3, size=300), z)  # 3 is anything
    found = learn_map(theta, y, 3, mode)
    assert found.mapped.tolist() == [True, True, True, False]
    u = theta[:, 3]
    most = 1 - u * (1 - CAP)
    assert (found.apply(theta).max(axis=1) <= most + 1e-12).all()
    assert found.table("abcd", "xyz")[3]["target"] is None


def test_a_mixture_of_classes_without_counterpart_still_tells_what_it_learned():
    """Every source class is spread over two of six target classes: none is above .5, all tell something."""
    rng = np.random.default_rng(0)
    y = rng.integers(6, size=3000)
    theta = np.full((3000, 3), 0.05)
    theta[np.arange(3000), y // 2] = 0.9  # a source class is two target classes
    found = learn_map(theta, y, 6)
    assert not found.mapped.any()
    said = found.apply(theta).argmax(axis=1)
    assert np.mean(said // 2 == y // 2) > 0.99


@pytest.mark.parametrize("seed", range(5))
def test_one_to_one_is_the_best_of_all_pairings(seed):
    rng = np.random.default_rng(seed)
    theta = rng.dirichlet(np.ones(4), size=60)
    y = rng.integers(4, size=60)
    counts = theta.T @ np.eye(4)[y]
    best = max(permutations(range(4)), key=lambda p: counts[range(4), p].sum())
    found = learn_map(theta, y, 4, "one_to_one")
    for number, goal in enumerate(best):
        mass = counts[number].sum()
        share = counts[number, goal] / mass
        score = (share - LEAST) / np.sqrt(LEAST * (1 - LEAST) / mass)  # what Wilson inverts
        assert found.mapped[number] == (score > NormalDist().inv_cdf((1 + LEVEL) / 2))
        if found.mapped[number]:
            assert found.given[number].tolist() == np.eye(4)[goal].tolist()


def test_counts_are_smoothed_and_a_source_class_never_predicted_is_no_0_over_0():
    found = learn_map(np.eye(3)[[0, 0, 0, 1]], [0, 0, 1, 1], 2)
    np.testing.assert_allclose(found.given, [[2.25 / 3.5, 1.25 / 3.5], [0.25 / 1.5, 1.25 / 1.5], [0.5, 0.5]])
    assert found.mapped.tolist() == [True, True, False]


@pytest.mark.parametrize("mode", MODES[:2])
def test_eight_rows_a_class_map_what_a_good_classifier_tells(mode):
    """Twenty classes within seven, .9 sure and always right: the prior must not drown out so few rows."""
    rng = np.random.default_rng(0)
    inside = rng.integers(7, size=20)
    inside[:7] = range(7)
    y = np.repeat(np.arange(7), 8)
    z = np.array([rng.choice(np.flatnonzero(inside == one)) for one in y])
    theta = np.full((len(y), 20), 0.1 / 19)
    theta[np.arange(len(y)), z] = 0.9
    found = learn_map(theta, y, 7, mode)
    seen = np.unique(z)
    assert (found.given[seen].argmax(axis=1) == inside[seen]).all()  # whether they are sure of it or not
    assert np.mean(found.apply(theta).argmax(axis=1) == y) > 0.9


@pytest.mark.parametrize("mode", MODES[1:])
def test_a_coins_toss_between_two_classes_is_mostly_no_counterpart(mode):
    """A source class that says nothing of two target classes: one of them is likelier by chance, always."""
    told = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        y = np.arange(48) % 2
        z = np.where(np.arange(48) < 32, y, 2)  # class 2: anything
        y = np.where(z == 2, rng.integers(2, size=48), y)
        theta = np.full((48, 3), 0.02)
        theta[np.arange(48), z] = 0.96
        found = learn_map(theta, y, 2, mode)
        told.append(found.mapped[2])
        assert found.mapped[:2].all()
    assert np.mean(told) < 0.15  # all of them were mapped before the standard error counted


@pytest.mark.parametrize("mode", MODES[1:])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 8, 10])
def test_few_rows_that_agree_by_chance_are_no_counterpart(n, mode):
    rng = np.random.default_rng(0)
    theta = np.tile([1.0, 0.0], (n, 1))
    told = [learn_map(theta, rng.integers(2, size=n), 2, mode).mapped[0] for _ in range(400)]
    assert np.mean(told) < 0.1
    assert learn_map(theta, [1] * n, 2, mode).mapped[0] == (n >= 5)


def test_more_source_than_target_classes_leave_some_over_one_to_one():
    z, theta = rows(300, 4, 3)
    assert learn_map(theta, z % 2, 2, "one_to_one").mapped.sum() == 2
    assert learn_map(theta, z % 2, 2, "many_to_one").mapped.all()


def test_a_target_class_that_nothing_becomes_is_told():
    assert learn_map(np.eye(2)[[0, 0, 1, 1]], [0, 0, 1, 1], 3).unreached("xyz") == ["z"]


def test_a_stated_map_may_name_nodes_of_a_tree():
    tree = LabelTree(("lost", "new", "stolen"), (("lost", "card"), ("stolen", "card")))
    found = stated_map({"a": "card", "b": "new", "c": None}, "abc", tree.classes, tree)
    np.testing.assert_allclose(found.given, [[0.5, 0, 0.5], [0, 1, 0], [1 / 3] * 3])
    assert found.mapped.tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("stated", "says"),
    [
        ({"a": "x", "b": "y", "d": "x"}, "unknown source class 'd'"),
        ({"a": "x"}, "nothing is said of source class 'b'"),
        ({"a": "x", "b": "q"}, "'b' becomes 'q'"),
        ({"a": "x", "b": ["y"]}, "expected the name of one class"),
    ],
)
def test_a_stated_map_that_does_not_fit_is_refused(stated, says):
    with pytest.raises(CorpusError, match=says):
        stated_map(stated, "ab", "xy")


def test_what_is_no_probability_is_refused():
    with pytest.raises(CorpusError, match="softmax"):
        learn_map(np.array([[2.0, -1.0]]), [0], 2)
    with pytest.raises(CorpusError, match=r"n >= 1"):
        learn_map(np.zeros((0, 2)), [], 2)
    with pytest.raises(CorpusError, match=r"labels in \[0, 2\)"):
        learn_map(np.eye(2), [0, 2], 2)
    with pytest.raises(RecipeError, match="one_to_one"):
        learn_map(np.eye(2), [0, 1], 2, "one_to_on")
