"""Sets of classes as one word, where rows may carry several: what people answer, and what is compared.

A set is the names of its classes in class order, joined by ``|``, or ``(none)``. So whatever counts classes
counts sets, and a label is wrong unless the set is exactly the people's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from textlabel.corpus.check import NOTHING, UNDECIDED
from textlabel.errors import AuditError
from textlabel.types import class_names_of

if TYPE_CHECKING:
    from datasets import Dataset

SEPARATOR = "|"


def as_word(classes: Iterable[str]) -> str:
    """Return a set of classes, given in class order, as one word.

    Examples
    --------
    >>> as_word(["film", "phone"]), as_word([])
    ('film|phone', '(none)')
    """
    return SEPARATOR.join(classes) or NOTHING


def as_classes(word: str) -> list[str]:
    """Return the classes of a set that is told by one word."""
    return [] if word == NOTHING else word.split(SEPARATOR)


def read_word(answer: str, classes: Sequence[str]) -> str:
    """Return the set that a person wrote, in whatever order, case and spacing.

    Raises
    ------
    KeyError : a part of it is no class; its argument is that part.

    Examples
    --------
    >>> read_word("Phone | film", ["film", "phone"]), read_word("(None)", ["film", "phone"])
    ('film|phone', '(none)')
    """
    if answer.strip().casefold() == NOTHING:
        return NOTHING
    folded = {name.casefold(): name for name in classes}
    exact = {name: name for name in classes}
    parts = [part.strip() for part in answer.split(SEPARATOR)]
    said = {exact.get(part) or folded[part.casefold()] for part in parts}
    return as_word(name for name in classes if name in said)


def words_of(rows: Dataset) -> list[str]:
    """Return the set of each annotated row."""
    classes = class_names_of(rows.features["label"])
    words: dict[tuple[int, ...], str] = {}
    found = []
    for codes in map(tuple, rows["label"][:]):
        if codes not in words:
            words[codes] = as_word(classes[c] for c in sorted(codes))
        found.append(words[codes])
    return found


def check_classes(classes: Sequence[str]) -> None:
    """Raise an `AuditError` where names of classes could not be told apart on a sheet."""
    for name in classes:
        if SEPARATOR in name or name.strip() != name or name.casefold() in (NOTHING, *UNDECIDED):
            raise AuditError(
                f"class {name!r} would be lost on a sheet, where people join classes by {SEPARATOR!r} and "
                f"write {NOTHING!r} or one of {UNDECIDED} beside them; rename it and fit again"
            )
    if len({name.casefold() for name in classes}) < len(classes):
        raise AuditError(f"of the classes {list(classes)} two differ in case only; rename one and fit again")
