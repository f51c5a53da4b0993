"""Changes of classes: what becomes of each, and what bounds on errors are worth afterwards."""

import numpy as np
import pytest

from textlabel.errors import RecipeError
from textlabel.trust.taxonomy import Taxonomy, merged, taxonomy_of

OLD = ["a", "b", "c", "d", "e"]


def test_every_class_has_one_fate():
    change = Taxonomy({"a": "A"}, {"bc": ["c", "b"]}, {"d": ["d", "d2"]}, ["e"])
    assert change.fates(OLD) == {"a": ("A",), "b": ("bc",), "c": ("bc",), "d": ("d", "d2"), "e": ()}
    assert change.classes(OLD) == ["A", "bc", "d", "d2"]
    assert not change.keeps_promises


def test_classes_may_swap_names_and_a_merge_may_keep_one():
    assert Taxonomy({"a": "b", "b": "a"}).fates(["a", "b"]) == {"a": ("b",), "b": ("a",)}
    assert Taxonomy(merge={"a": ["a", "b"]}).classes(OLD) == ["a", "c", "d", "e"]


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({}, "nothing changes"),
        (
            {"rename": {"a": "b"}},
            "'a' shall become 'b', a class that is there already and stays; .*merge them",
        ),
        ({"rename": {"z": "b"}}, "unknown class 'z'"),
        ({"rename": {"a": "x", "b": "x"}}, "new class 'x' is made twice; .*merge them"),
        ({"rename": {"a": "x"}, "drop": ["a"]}, "'a' is changed twice"),
        ({"merge": {"x": ["a"]}}, "merge of 'x': expected two classes or more"),
        ({"split": {"a": ["x"]}}, "split of 'a': expected two"),
        ({"split": {"a": ["x", "b"]}}, "'a' shall become 'b'"),
        ({"rename": {"a": "x|y"}}, "without '|'"),
        ({"rename": {"a": " "}}, "not empty"),
        ({"merge": {"x": "ab"}}, r"merge\.x: expected names of classes in quotes"),
        ({"rename": ["a"]}, "rename: expected a table"),
        ({"drop": "a"}, "drop: expected names"),
        ({"renames": {}}, "unknown key 'renames'.*rename"),
        ({"drop": ["a", "b", "c", "d"]}, r"leave the classes \['e'\]"),
    ],
)
def test_unfit_changes_are_told(found, said):
    with pytest.raises(RecipeError, match=said):
        taxonomy_of(found).classes(OLD)


def test_what_was_right_stays_right_under_any_map():
    """The claim of the docstring, on random labels and random renames and merges."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        image = rng.integers(0, 3, 6)
        label, truth = rng.integers(0, 6, (2, 50))
        wrong, afterwards = label != truth, image[label] != image[truth]
        assert not (afterwards & ~wrong).any()


def test_probabilities_of_merged_classes_add_to_one():
    p = np.random.default_rng(0).dirichlet([1] * 5, 20)
    change = Taxonomy({"a": "A"}, {"rest": ["c", "e"]})
    found = merged(p, list(change.fates(OLD).values()), change.classes(OLD), exclusive=True)
    assert found.sum(axis=1) == pytest.approx(1, abs=1e-6)
    assert found[:, 2] == pytest.approx(p[:, 2] + p[:, 4], abs=1e-6)
