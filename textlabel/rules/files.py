"""Files of rules: TOML tables, or Python with labeling functions.

A rules file::

    classes = ["ham", "spam"]        # may be left out

    [[rule]]
    name = "prize"
    label = "spam"
    keywords = ["free prize", "winner"]

    [[rule]]
    name = "link"
    label = "spam"
    regex = 'https?://'              # case_sensitive = true, if case matters (keywords never mind it)

    [[rule]]
    name = "tone"
    label = "positive"               # words weigh `threshold` or more
    label_below = "negative"         # they weigh -threshold or less; may be left out
    lexicon = { good = 1, bad = -1 } # or a file: one word a line, a tab, its weight (1 if there is none)
    threshold = 1
"""

from __future__ import annotations

import importlib.util
import math
import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from textlabel.errors import RecipeError, nearest
from textlabel.rules.functions import LabelingFunction, Rules
from textlabel.rules.matching import folded, regex_pattern, weigh, words_pattern

#: what finds something in a text, of which a rule has one, and the keys that go with it
_FINDERS: dict[str, tuple[str, ...]] = {
    "keywords": (),
    "regex": ("case_sensitive",),
    "lexicon": ("label_below", "threshold"),
}
_KEYS = ("name", "label", *_FINDERS, *(key for keys in _FINDERS.values() for key in keys))


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _are_words(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_word, value))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_lexicon(value: Any) -> bool:
    if isinstance(value, Mapping):
        return bool(value) and all(_is_word(word) and _is_number(weight) for word, weight in value.items())
    return _is_word(value) or _are_words(value)


#: what a value must be, and that in words
_EXPECTED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "name": (_is_word, "a name"),
    "label": (_is_word, "the name of a class"),
    "keywords": (_are_words, "a list of words, none empty"),
    "regex": (_is_word, "a pattern"),
    "lexicon": (_is_lexicon, "a file, a list of words, or a table of words with finite weights, none empty"),
    "case_sensitive": (lambda value: isinstance(value, bool), "true or false"),
    "label_below": (_is_word, "the name of a class"),
    "threshold": (lambda value: _is_number(value) and value > 0, "a weight above 0"),
}


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


def _python(path: Path) -> Rules:
    spec = importlib.util.spec_from_file_location(f"textlabel_rules_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where a dataclass looks for what its annotations mean
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise RecipeError(f"{path}: importing it failed: {error!r}; correct the file") from error
    finally:
        del sys.modules[spec.name]
    found = tuple(value for value in vars(module).values() if isinstance(value, LabelingFunction))
    if not found:
        raise RecipeError(f"{path}: no rule in it; put @labeling_function above the functions that are rules")
    return Rules(found)


def _toml(path: Path) -> Rules:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: not a TOML file: {error}") from error
    unknown = next((key for key in data if key not in ("classes", "rule")), None)
    if unknown is not None:
        raise RecipeError(f"{path}: unknown key {unknown!r}; {nearest(unknown, ('classes', 'rule'))}")
    tables, classes = data.get("rule", []), data.get("classes", ())
    if not isinstance(tables, list) or not tables:
        raise RecipeError(f"{path}: no rule in it; expected tables [[rule]]")
    if classes != () and (not _are_words(classes) or len(set(classes)) != len(classes) or len(classes) < 2):
        raise RecipeError(
            f"{path}: expected classes = a list of two different names or more; got {classes!r}"
        )
    classes = tuple(classes)
    functions = tuple(_rule(table, path, number) for number, table in enumerate(tables, 1))
    for function in functions:
        wrong = next((c for c in function.labels if classes and c not in classes), None)
        if wrong is not None:
            raise RecipeError(f"{path}: rule {function.name!r}: label {wrong!r}: {nearest(wrong, classes)}")
    return Rules(functions, classes)


def _rule(table: Any, path: Path, number: int) -> LabelingFunction:
    if not isinstance(table, Mapping):
        raise RecipeError(f"{path}: rule {number}: expected a table [[rule]]; got {table!r}")
    name = table.get("name", f"rule {number}")
    where = f"{path}: rule {name!r}"
    has = _checked(table, where)
    if has == "lexicon":
        return _lexicon(name, table, where, path.parent)
    if has == "regex":
        return _regex(name, table, where)
    pattern, label = words_pattern(table["keywords"]), table["label"]
    return LabelingFunction(name, lambda text: label if pattern.search(folded(text)) else None, (label,))


def _checked(table: Mapping[str, Any], where: str) -> str:
    """Return what the rule finds by; a `RecipeError` for a key or value that does not fit."""
    unknown = next((key for key in table if key not in _KEYS), None)
    if unknown is not None:
        raise RecipeError(f"{where}: unknown key {unknown!r}; {nearest(unknown, _KEYS)}")
    has = [key for key in _FINDERS if key in table]
    if len(has) != 1:
        raise RecipeError(f"{where}: expected one of {', '.join(_FINDERS)}; got {', '.join(has) or 'none'}")
    for key, (fits, expected) in _EXPECTED.items():
        if (key in table or key == "label") and not fits(table.get(key)):
            raise RecipeError(f"{where}: expected {key} = {expected}; got {table.get(key)!r}")
    for finder, keys in _FINDERS.items():
        if wrong := [key for key in keys if key in table and finder not in table]:
            raise RecipeError(f"{where}: {wrong[0]} goes with {finder}, and this rule has {has[0]}")
    return has[0]


def _regex(name: str, table: Mapping[str, Any], where: str) -> LabelingFunction:
    label = table["label"]
    pattern = regex_pattern(table["regex"], table.get("case_sensitive", False), where)
    return LabelingFunction(name, lambda text: label if pattern.search(text) else None, (label,))


def _lexicon(name: str, table: Mapping[str, Any], where: str, folder: Path) -> LabelingFunction:
    words = table["lexicon"]
    weights = _weights(words if isinstance(words, Mapping) else _words_of(folder, words, where))
    least, label, below = float(table.get("threshold", 1.0)), table["label"], table.get("label_below")
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
    path = folder / name
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{where}: the lexicon {path} cannot be read: {error}") from error
    found: dict[str, float] = {}
    for number, line in enumerate(lines, 1):
        word, _, weight = line.partition("\t")
        if not line.strip() or line.startswith("#"):
            continue
        try:
            found[word] = float(weight.strip() or 1.0)
        except ValueError:
            found[word] = math.nan
        if not word.strip() or not math.isfinite(found[word]):
            raise RecipeError(
                f"{where}: the lexicon {path}, row {number}: expected a word, a tab and its weight, a finite "
                f"number, or a word alone; got {line!r}"
            )
    if not found:
        raise RecipeError(f"{where}: the lexicon {path} has no word")
    return found


def _weights(words: Mapping[str, Any]) -> dict[str, float]:
    return {" ".join(folded(word).split()): float(weight) for word, weight in words.items()}
