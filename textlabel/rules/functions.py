"""Labeling functions: the decorator for a person's own, rules files in TOML, and the votes of all.

A rules file::

    classes = ["ham", "spam"]        # may be left out

    [[rule]]
    name = "prize"
    label = "spam"
    keywords = ["free prize", "winner"]

    [[rule]]
    name = "link"
    label = "spam"
    regex = 'https?://'              # case_sensitive = true, if case matters

    [[rule]]
    name = "tone"
    label = "positive"               # words weigh `threshold` or more
    label_below = "negative"         # they weigh -threshold or less; may be left out
    lexicon = { good = 1, bad = -1 } # or a file: one word a line, a tab, its weight (1 if there is none)
    threshold = 1
"""

from __future__ import annotations

import importlib.util
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

import numpy as np

from textlabel.errors import RecipeError, nearest
from textlabel.rules import ABSTAIN
from textlabel.rules.matching import folded, regex_pattern, weigh, words_pattern
from textlabel.types import IntArray

Vote = Callable[[str], str | None]

#: what finds something in a text; a rule has one of them
_FINDERS = ("keywords", "regex", "lexicon")
_KEYS = ("name", "label", *_FINDERS, "case_sensitive", "label_below", "threshold")


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


def read_rules(*paths: str | Path) -> Rules:
    """Return the rules of TOML files, and the labeling functions of Python files.

    A Python file is imported, so its code runs, with your rights: give only files that you trust. Nothing
    else than the files named here is imported.

    Raises
    ------
    RecipeError : a file cannot be read, a key is unknown, a pattern does not compile, or there is no rule.
    """
    functions: list[LabelingFunction] = []
    classes: dict[str, None] = {}
    for path in map(Path, paths):
        if not path.is_file():
            raise RecipeError(
                f"{path}: no such rules file; expected a .toml, or a .py with labeling functions"
            )
        found = _python(path) if path.suffix == ".py" else _toml(path)
        functions.extend(found.functions)
        classes |= dict.fromkeys(found.classes)
    return Rules(tuple(functions), tuple(classes))


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


def _python(path: Path) -> Rules:
    spec = importlib.util.spec_from_file_location(f"textlabel_rules_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise RecipeError(f"{path}: importing it failed: {error!r}; correct the file") from error
    found = tuple(value for value in vars(module).values() if isinstance(value, LabelingFunction))
    if not found:
        raise RecipeError(f"{path}: no rule in it; put @labeling_function above the functions that are rules")
    return Rules(found)


def _toml(path: Path) -> Rules:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: not a TOML file: {error}") from error
    unknown = next((key for key in data if key not in ("classes", "rule")), None)
    if unknown is not None:
        raise RecipeError(f"{path}: unknown key {unknown!r}; {nearest(unknown, ('classes', 'rule'))}")
    tables = data.get("rule", [])
    if not isinstance(tables, list) or not tables:
        raise RecipeError(f"{path}: no rule in it; expected tables [[rule]]")
    classes = tuple(data.get("classes", ()))
    functions = tuple(_rule(table, path, number) for number, table in enumerate(tables, 1))
    for function in functions:
        wrong = next((c for c in function.labels if classes and c not in classes), None)
        if wrong is not None:
            raise RecipeError(f"{path}: rule {function.name!r}: label {wrong!r}: {nearest(wrong, classes)}")
    return Rules(functions, classes)


def _rule(table: Mapping[str, Any], path: Path, number: int) -> LabelingFunction:
    name = str(table.get("name", f"rule {number}"))
    where = f"{path}: rule {name!r}"
    unknown = next((key for key in table if key not in _KEYS), None)
    if unknown is not None:
        raise RecipeError(f"{where}: unknown key {unknown!r}; {nearest(unknown, _KEYS)}")
    has = [key for key in _FINDERS if key in table]
    if len(has) != 1:
        raise RecipeError(f"{where}: expected one of {', '.join(_FINDERS)}; got {', '.join(has) or 'none'}")
    if not isinstance(table.get("label"), str) or not table["label"]:
        raise RecipeError(f"{where}: expected label = the name of a class; got {table.get('label')!r}")
    if has == ["lexicon"]:
        return _lexicon(name, table, where, path.parent)
    if has == ["regex"]:
        return _regex(name, table, where)
    words = table["keywords"]
    if not isinstance(words, list) or not words or not all(isinstance(w, str) and w.strip() for w in words):
        raise RecipeError(f"{where}: expected keywords = a list of words, none empty; got {words!r}")
    pattern, label = words_pattern(words), table["label"]
    return LabelingFunction(name, lambda text: label if pattern.search(folded(text)) else None, (label,))


def _regex(name: str, table: Mapping[str, Any], where: str) -> LabelingFunction:
    label, text = table["label"], table["regex"]
    if not isinstance(text, str) or not text:
        raise RecipeError(f"{where}: expected regex = a pattern; got {text!r}")
    pattern = regex_pattern(text, bool(table.get("case_sensitive", False)), where)
    return LabelingFunction(name, lambda text: label if pattern.search(text) else None, (label,))


def _lexicon(name: str, table: Mapping[str, Any], where: str, folder: Path) -> LabelingFunction:
    words = table["lexicon"]
    weights = _weights(words if isinstance(words, Mapping) else _words_of(folder, words, where), where)
    least, label, below = float(table.get("threshold", 1.0)), table["label"], table.get("label_below")
    if not least > 0:
        raise RecipeError(f"{where}: threshold = {least:g}: expected a weight above 0")
    pattern = words_pattern(weights)

    def vote(text: str) -> str | None:
        weight = weigh(text, pattern, weights)
        if weight >= least:
            return str(label)
        return str(below) if below and weight <= -least else None

    return LabelingFunction(name, vote, (label, below) if below else (label,))


def _words_of(folder: Path, name: Any, where: str) -> dict[str, Any]:
    if isinstance(name, list):
        return dict.fromkeys(name, 1.0)
    path = folder / str(name)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{where}: the lexicon {path} cannot be read: {error}") from error
    pairs = (line.partition("\t") for line in lines if line.strip() and not line.startswith("#"))
    return {word: weight.strip() or 1.0 for word, _, weight in pairs}


def _weights(words: Mapping[str, Any], where: str) -> dict[str, float]:
    try:
        found = {" ".join(folded(word).split()): float(weight) for word, weight in words.items()}
    except ValueError as error:
        raise RecipeError(f"{where}: expected a number as the weight of each word: {error}") from error
    if not found or "" in found or not np.isfinite(list(found.values())).all():
        raise RecipeError(
            f"{where}: expected a lexicon of words with finite weights, none empty; got {words!r}"
        )
    return found
