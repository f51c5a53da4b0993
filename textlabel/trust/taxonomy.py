"""A change of classes as a map: what becomes of labels, probabilities and promises. numpy only.

Classes are renamed, merged, split or dropped; all changes speak of the old classes and happen at once. So an
old class has one of three fates: a new class (kept, renamed, merged), several new classes of which a person
must choose (split), or none (dropped).

What a promise is worth afterwards. Let f map old classes to new ones, with no split and no drop among them.
A row with old label y and truth t is wrong afterwards if f(y) != f(t). That implies y != t, for f is a
function: what was right stays right. So the rows that are wrong afterwards are among those that were wrong
before, row by row, and any upper bound on their number, in the corpus or in any set of its rows, holds as it
was, at the same level. It says nothing better: only errors between classes that were merged vanish, and a new
audit may count how many. The same holds for sets of classes, whose image is a function of the set, and for
prediction sets, since t in S implies f(t) in f(S).

A split voids the promise. f has no value for rows of the split class: nothing that was checked says which
part is right, and a row that is wrong among its old class's parts was never looked at as such. The other rows
keep their errors, but are fewer: e errors in N rows may all be among the N - s that are left, a share of up
to e / (N - s), which is more than e / N. So no bound on the share is carried over a split or a drop.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from textlabel.errors import RecipeError, nearest

#: joins the classes of a row, so no class may hold it
SEPARATOR = "|"
EXPECTED = "expected tables rename, merge and split, and a list drop"


@dataclass(frozen=True)
class Taxonomy:
    """Changes of classes.

    Parameters
    ----------
    rename : {old class: its new name}.
    merge : {new class: old classes that it is made of}.
    split : {old class: new classes, of which one is chosen for each row}.
    drop : old classes that nothing becomes of.

    Raises
    ------
    RecipeError : nothing changes; a class has two fates; a merge of one, a split in one; a name twice, empty,
        or with ``|`` in it.

    Examples
    --------
    >>> change = Taxonomy(rename={"sport": "sports"}, merge={"news": ["politics", "economy"]})
    >>> change.fates(["economy", "sport", "politics", "art"])
    {'economy': ('news',), 'sport': ('sports',), 'politics': ('news',), 'art': ('art',)}
    """

    rename: Mapping[str, str] = field(default_factory=dict)
    merge: Mapping[str, Sequence[str]] = field(default_factory=dict)
    split: Mapping[str, Sequence[str]] = field(default_factory=dict)
    drop: Sequence[str] = ()

    def __post_init__(self) -> None:
        old = [
            *self.rename,
            *(name for names in self.merge.values() for name in names),
            *self.split,
            *self.drop,
        ]
        if not old:
            raise RecipeError(f"nothing changes; {EXPECTED}")
        if twice := [name for name, count in Counter(old).items() if count > 1]:
            raise RecipeError(f"class {twice[0]!r} is changed twice; give each class one change")
        new = [*self.rename.values(), *self.merge, *(name for names in self.split.values() for name in names)]
        if twice := [name for name, count in Counter(new).items() if count > 1]:
            raise RecipeError(
                f"new class {twice[0]!r} is made twice; to make one class of several, merge them"
            )
        if bad := [name for name in new if not name.strip() or SEPARATOR in name]:
            raise RecipeError(
                f"new class {bad[0]!r}: expected a name that is not empty and without {SEPARATOR!r}"
            )
        for what, groups in (("merge", self.merge), ("split", self.split)):
            for name, names in groups.items():
                if len(names) < 2:
                    raise RecipeError(f"{what} of {name!r}: expected two classes or more, got {list(names)}")

    @property
    def keeps_promises(self) -> bool:
        """Whether every old class becomes one new one, so that bounds on errors hold as they were."""
        return not self.split and not self.drop

    def fates(self, classes: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Return what each old class becomes: one new class, several to choose from, or none.

        Raises
        ------
        RecipeError : a change of a class that is not there; a new class that is one of those that stay.
        """
        classes = list(classes)
        changed: dict[str, tuple[str, ...]] = {old: (new,) for old, new in self.rename.items()}
        changed |= {old: (new,) for new, names in self.merge.items() for old in names}
        changed |= {old: tuple(names) for old, names in self.split.items()} | {old: () for old in self.drop}
        for old in changed:
            if old not in classes:
                raise RecipeError(f"unknown class {old!r}: {nearest(old, classes)}")
        stay = set(classes) - set(changed)
        for old, names in changed.items():
            if both := stay.intersection(names):
                raise RecipeError(
                    f"{old!r} shall become {min(both)!r}, a class that is there already and stays; to make "
                    "one class of both, merge them"
                )
        return {old: changed.get(old, (old,)) for old in classes}

    def classes(self, before: Iterable[str]) -> list[str]:
        """Return the new classes, each in the place of the first old one that it comes from.

        Raises
        ------
        RecipeError : fewer than two, or as of `fates`.
        """
        found = list(dict.fromkeys(new for names in self.fates(before).values() for new in names))
        if len(found) < 2:
            raise RecipeError(f"these changes leave the classes {found}; expected two classes or more")
        return found


def taxonomy_of(found: Mapping[str, Any]) -> Taxonomy:
    """Return the changes that a TOML or JSON file states.

    Raises
    ------
    RecipeError : an unknown key, a value of another type, or changes that `Taxonomy` refuses.
    """
    known = ("rename", "merge", "split", "drop")
    for key, value in found.items():
        if key not in known:
            raise RecipeError(f"unknown key {key!r}: {nearest(key, known)}; {EXPECTED}")
        if key == "drop":
            _names(value, "drop")
        elif not isinstance(value, dict):
            raise RecipeError(f"{key}: expected a table, got {value!r}; {EXPECTED}")
        elif key == "rename":
            _names(list(value.values()), "rename")
        else:
            for name, names in value.items():
                _names(names, f"{key}.{name}")
    return Taxonomy(**found)


def _names(value: Any, where: str) -> None:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise RecipeError(f"{where}: expected names of classes in quotes, got {value!r}")


def merged(
    probabilities: npt.ArrayLike, fates: Sequence[Sequence[str]], classes: Sequence[str], *, exclusive: bool
) -> npt.NDArray[np.float32]:
    """Return probabilities (n, new classes) of those (n, old classes): merged ones add.

    Where rows may carry several classes, they do not add: that one of two holds is at least as likely as the
    likelier of both, which is what is returned.

    Parameters
    ----------
    fates : of each old class, as `Taxonomy.fates` has them, each one new class.
    exclusive : whether a row has exactly one class.

    Examples
    --------
    >>> merged([[0.5, 0.25, 0.25]], [["a"], ["b"], ["a"]], ["a", "b"], exclusive=True).tolist()
    [[0.75, 0.25]]
    >>> merged([[0.5, 0.25, 0.25]], [["a"], ["b"], ["a"]], ["a", "b"], exclusive=False).tolist()
    [[0.5, 0.25]]
    """
    p = np.asarray(probabilities, dtype=np.float64)
    found = np.zeros((len(p), len(classes)))
    for column, names in zip(p.T, fates, strict=True):
        c = list(classes).index(names[0])
        found[:, c] = found[:, c] + column if exclusive else np.maximum(found[:, c], column)
    return np.minimum(found, 1).astype(np.float32)
