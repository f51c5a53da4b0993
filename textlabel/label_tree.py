"""Label trees: inner nodes that group classes which belong together. numpy only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from textlabel.errors import CorpusError, nearest

#: a node and the inner node above it
Pair = tuple[str, str]


@dataclass(frozen=True)
class LabelTree:
    """A tree whose leaves are the classes.

    Parameters
    ----------
    classes : the leaves, in the order of every probability column.
    parents : (node, the inner node above it); a node that is no pair's first stands at the top.

    Raises
    ------
    CorpusError : a node that occurs twice, or an inner node with the name of a class or with none below it.

    Examples
    --------
    >>> tree = LabelTree(("lost", "new", "stolen"), (("lost", "card"), ("stolen", "card")))
    >>> tree.inner, tree.path("stolen"), tree.path("new")
    (('card',), ('card', 'stolen'), ('new',))
    >>> tree.members.astype(int).tolist()
    [[1, 0, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]]
    """

    classes: tuple[str, ...]
    parents: tuple[Pair, ...]

    def __post_init__(self) -> None:
        _refuse_twice([node for node, _ in self.parents])
        above = {parent for _, parent in self.parents}
        if both := above & set(self.classes):
            raise CorpusError(f"label tree: {min(both)!r} is a class, and has nodes below it; {_LEAVES}")
        nodes = set(self.classes) | above
        if unknown := sorted({node for node, _ in self.parents} - nodes):
            raise CorpusError(
                f"label tree: unknown class {unknown[0]!r}: {nearest(unknown[0], self.classes)}"
            )
        for node in nodes:
            self.path(node)
        if barren := [node for node in self.inner if not self.members[self.nodes.index(node)].any()]:
            raise CorpusError(f"label tree: {barren[0]!r} has no class below it; {_LEAVES}")

    @cached_property
    def inner(self) -> tuple[str, ...]:
        """Inner nodes, those near the top first."""
        names = dict.fromkeys(parent for _, parent in self.parents)
        return tuple(sorted(names, key=lambda name: (len(self.path(name)), name)))

    @property
    def nodes(self) -> tuple[str, ...]:
        """All nodes: the inner ones, then the classes."""
        return self.inner + self.classes

    @cached_property
    def _parent(self) -> dict[str, str]:
        return dict(self.parents)

    def path(self, node: str) -> tuple[str, ...]:
        """Return the nodes from the top down to ``node``."""
        found = [node]
        while found[-1] in self._parent:
            found.append(self._parent[found[-1]])
            if len(found) > len(self.parents) + 1:
                raise CorpusError(f"label tree: {node!r} is above itself; expected a tree")
        return tuple(reversed(found))

    @property
    def nested(self) -> dict[str, Any]:
        """The tree as `read_tree` takes it."""
        below: dict[str, dict[str, Any]] = {node: {} for node in self.nodes}
        for node, parent in self.parents:
            below[parent][node] = below[node]
        return {node: below[node] for node in self.nodes if node not in self._parent}

    @cached_property
    def members(self) -> npt.NDArray[np.bool_]:
        """(nodes, k) which classes are below a node; a class is below itself."""
        paths = [set(self.path(name)) for name in self.classes]
        return np.array([[node in path for path in paths] for node in self.nodes])

    @cached_property
    def depths(self) -> npt.NDArray[np.int64]:
        """(nodes,) how far down each node is; those at the top are at 1."""
        return np.array([len(self.path(node)) for node in self.nodes])

    def at_depth(self, depth: int) -> npt.NDArray[np.int64]:
        """Return (k,) the number of the node above each class at a depth; its own where it is higher up."""
        paths = [self.path(name) for name in self.classes]
        return np.array([self.nodes.index(path[min(depth, len(path)) - 1]) for path in paths])


_LEAVES = "expected the classes as leaves, and names of their own for what groups them"


def read_tree(nested: Any) -> tuple[tuple[str, ...], tuple[Pair, ...]]:
    """Return the classes of a label tree, sorted, and its (node, parent) pairs.

    Parameters
    ----------
    nested : {node: what is below it}, which is such a mapping again, a list of classes and such mappings, or
        nothing (None, [], {}) below a class.

    Raises
    ------
    CorpusError : something else, a node that occurs twice, or no inner node.

    Examples
    --------
    >>> read_tree({"card": ["lost", "stolen"], "other": []})
    (('lost', 'other', 'stolen'), (('lost', 'card'), ('stolen', 'card')))
    """
    if not isinstance(nested, Mapping):
        raise CorpusError(f"label tree: expected an object such as {_EXAMPLE}, got {type(nested).__name__}")
    pairs = list(_pairs(nested, ""))
    _refuse_twice([node for node, _ in pairs])
    above = {parent for _, parent in pairs}
    classes = sorted(node for node, _ in pairs if node not in above)
    if len(above) < 2:  # the root is one
        raise CorpusError(f"label tree: nothing groups the classes {classes}; expected such as {_EXAMPLE}")
    return tuple(classes), tuple((node, parent) for node, parent in pairs if parent)


_EXAMPLE = '{"card": ["lost", "stolen"], "loan": {"new": ["car", "house"]}}'


def _pairs(below: Any, parent: str) -> Iterator[Pair]:
    if below is None:
        return
    if isinstance(below, Mapping):
        for name, more in below.items():
            yield _named(name, parent), parent
            yield from _pairs(more, name)
    elif isinstance(below, list | tuple):
        for item in below:
            if isinstance(item, Mapping):
                yield from _pairs(item, parent)
            else:
                yield _named(item, parent), parent
    else:
        raise CorpusError(f"label tree: below {parent!r} is {below!r}; expected a list or an object")


def _named(name: Any, parent: str) -> str:
    if not isinstance(name, str) or not name.strip():
        raise CorpusError(f"label tree: below {parent or 'the top'!r} is {name!r}; expected a name")
    return name


def _refuse_twice(nodes: list[str]) -> None:
    if twice := [node for node, count in Counter(nodes).items() if count > 1]:
        raise CorpusError(
            f"label tree: {twice[0]!r} occurs twice; expected one place and a name of its own for each node"
        )
