"""Label trees: what is read, what is refused, and where each node stands."""

from __future__ import annotations

import json

import pytest

from textlabel.errors import CorpusError
from textlabel.label_tree import LabelTree, read_tree
from textlabel.types import LabelSchema

NESTED = {"bank": {"card": ["lost", "stolen"], "loan": [{"new": ["car", "house"]}, "old"]}, "chat": None}


def tree(nested=NESTED):
    return LabelTree(*read_tree(nested))


def test_classes_are_the_leaves_however_deep():
    found = tree()
    assert found.classes == ("car", "chat", "house", "lost", "old", "stolen")
    assert found.inner == ("bank", "card", "loan", "new")
    assert found.path("car") == ("bank", "loan", "new", "car")
    assert found.depths.tolist() == [1, 2, 2, 3, 4, 1, 4, 3, 3, 3]


def test_members_are_the_classes_below_a_node():
    found = tree()
    below = {
        node: {c for c, inside in zip(found.classes, row, strict=True) if inside}
        for node, row in zip(found.nodes, found.members, strict=True)
    }
    assert below["bank"] == {*found.classes} - {"chat"}
    assert below["loan"] == {"car", "house", "old"}
    assert below["new"] == {"car", "house"}
    assert all(below[name] == {name} for name in found.classes)


def test_at_a_depth_is_the_node_above_or_the_class_itself():
    found = tree()
    named = [[found.nodes[i] for i in found.at_depth(depth)] for depth in (1, 2, 3, 9)]
    assert named[0] == ["bank", "chat", "bank", "bank", "bank", "bank"]
    assert named[1] == ["loan", "chat", "loan", "card", "loan", "card"]
    assert named[2] == ["new", "chat", "new", "lost", "old", "stolen"]
    assert named[3] == list(found.classes)


def test_a_single_child_is_a_node_like_others():
    assert tree({"a": {"b": ["c"]}, "d": []}).path("c") == ("a", "b", "c")


@pytest.mark.parametrize(
    ("nested", "told"),
    [
        (["a", "b"], "expected an object such as"),
        ({"a": ["b", "c"], "d": ["b"]}, "'b' occurs twice"),
        ({"a": ["b"], "c": ["a"]}, "'a' occurs twice"),
        ({"a": [], "b": []}, "nothing groups the classes"),
        ({"a": ["b", 3]}, "below 'a' is 3"),
        ({"a": "b"}, "below 'a' is 'b'"),
        ({"": ["b"]}, "below 'the top' is ''"),
    ],
)
def test_what_is_no_tree_is_refused(nested, told):
    with pytest.raises(CorpusError, match=told):
        read_tree(nested)


@pytest.mark.parametrize(
    ("classes", "parents", "told"),
    [
        (("a", "b"), (("a", "x"), ("a", "y")), "'a' occurs twice"),
        (("a", "b"), (("a", "b"),), "'b' is a class, and has nodes below it"),
        (("a", "b"), (("a", "x"), ("c", "x")), "unknown class 'c'"),
        (("a", "b"), (("a", "x"), ("x", "y"), ("y", "x")), "is above itself"),
        (("a", "b"), (("x", "y"), ("y", "x")), "is above itself"),
    ],
)
def test_parents_that_make_no_tree_are_refused(classes, parents, told):
    with pytest.raises(CorpusError, match=told):
        LabelSchema("single", classes, parents=parents)


def test_a_schema_remembers_tree_and_order_and_old_ones_have_neither():
    names, parents = read_tree(NESTED)
    for schema in (
        LabelSchema("single", names, parents=parents),
        LabelSchema("single", ("bad", "good"), ordered=True),
    ):
        again = LabelSchema.from_json(json.loads(json.dumps(schema.to_json())))
        assert again == schema
        assert again.tree == schema.tree
    old = LabelSchema.from_json({"kind": "single", "names": ["a", "b"]})
    assert (old.ordered, old.tree) == (False, None)
    assert old.to_json() == {"kind": "single", "names": ["a", "b"]}


def test_order_and_tree_are_of_classes_and_exclude_each_other():
    with pytest.raises(CorpusError, match="either ordered or in a label tree"):
        LabelSchema("single", ("a", "b"), ordered=True, parents=(("a", "x"),))
    with pytest.raises(CorpusError, match="a score has no classes"):
        LabelSchema("score", ordered=True)
