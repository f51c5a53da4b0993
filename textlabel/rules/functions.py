"""Labeling functions: the decorator for a person's own, and the votes of all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import overload

import numpy as np

from textlabel.errors import RecipeError, nearest
from textlabel.rules import ABSTAIN
from textlabel.types import IntArray

Vote = Callable[[str], str | None]


@dataclass(frozen=True)
class LabelingFunction:
    """A rule by its name: a text in, a class name or None (it abstains) out.

    Parameters
    ----------
    labels : classes that it is known to vote for, if it says so.
    """

    name: str
    vote: Vote
    labels: tuple[str, ...] = field(default=())

    def __call__(self, text: str) -> str | None:
        """Return the class of a text, or None."""
        return self.vote(text)


@overload
def labeling_function(function: Vote, /) -> LabelingFunction: ...
@overload
def labeling_function(
    *, name: str = "", labels: Sequence[str] = ()
) -> Callable[[Vote], LabelingFunction]: ...
def labeling_function(
    function: Vote | None = None, /, *, name: str = "", labels: Sequence[str] = ()
) -> LabelingFunction | Callable[[Vote], LabelingFunction]:
    """Return a function of a text as a rule; it is used as a decorator, with or without arguments.

    Examples
    --------
    >>> @labeling_function
    ... def shouts(text):
    ...     return "spam" if text.isupper() else None
    >>> shouts.name, shouts("BUY"), shouts("hello")
    ('shouts', 'spam', None)
    """

    def made(vote: Vote) -> LabelingFunction:
        return LabelingFunction(name or getattr(vote, "__name__", "rule"), vote, tuple(labels))

    return made if function is None else made(function)


@dataclass(frozen=True)
class Rules:
    """Labeling functions of different names, and the classes that the rules file lists, if it does."""

    functions: tuple[LabelingFunction, ...]
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = [function.name for function in self.functions]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice or not names:
            raise RecipeError(
                f"expected rules of different names; {twice[0]!r} is there twice: rename one"
                if twice
                else "expected at least one rule; got none"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the rules."""
        return tuple(function.name for function in self.functions)

    @property
    def labels(self) -> tuple[str, ...]:
        """Classes that are known before any text is read, in the order in which they are named."""
        return tuple(dict.fromkeys((*self.classes, *(c for f in self.functions for c in f.labels))))


def vote_names(rules: Rules, texts: Sequence[str]) -> list[list[str | None]]:
    """Return of each text what each rule says: a class name, or None.

    Raises
    ------
    RecipeError : a rule failed on a text, or returned something else.
    """
    return [[_said(function, text, row) for function in rules.functions] for row, text in enumerate(texts)]


def encode(said: Sequence[Sequence[str | None]], classes: Sequence[str]) -> IntArray:
    """Return votes (n, m) of what rules said, class numbers or `ABSTAIN`.

    Raises
    ------
    RecipeError : a rule voted for a class that is not one of ``classes``.

    Examples
    --------
    >>> encode([["b", None]], ["a", "b"]).tolist()
    [[1, -1]]
    """
    code: dict[str | None, int] = {name: i for i, name in enumerate(classes)} | {None: ABSTAIN}
    unknown = next((name for row in said for name in row if name not in code), None)
    if unknown is not None:
        raise RecipeError(f"a rule votes for {unknown!r}, which is no class: {nearest(unknown, classes)}")
    width = len(said[0]) if len(said) else 0
    return np.array([[code[name] for name in row] for row in said], np.int64).reshape(len(said), width)


def _said(function: LabelingFunction, text: str, row: int) -> str | None:
    try:
        found = function(text)
    except Exception as error:  # it is a person's own code
        raise RecipeError(
            f"rule {function.name!r} failed on row {row}: {error!r}; correct the rule"
        ) from error
    if found is not None and not isinstance(found, str):
        raise RecipeError(
            f"rule {function.name!r} returned {found!r} of row {row}; expected a class name or None"
        )
    return found
