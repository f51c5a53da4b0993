"""What looks like personal data in rows that are to be published: counts, masked examples, redaction."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from textlabel.corpus.personal_data import KINDS, Found, find, masked, redacted
from textlabel.errors import CorpusError, ExportError

if TYPE_CHECKING:
    from datasets import Dataset

    from textlabel.models.names import People

#: masked examples of each kind that are told
EXAMPLES = 3
#: types of columns that may hold personal data
_LOOKED_AT = ("string", "large_string", "int", "uint", "json")
#: least whole number that may be a phone number or a card
_LONG = 10**8
#: rows looked at in one go
ROWS = 10_000


def scan(rows: Dataset, people: People | None = None) -> dict[str, Any]:
    """Return in how many rows of a dataset each kind of personal data is found, with masked examples.

    All columns are looked at: texts, whole numbers, and what lists and mappings hold of them. ``rows``,
    ``rows_with_any``, ``rows_with``: {kind: rows}, ``examples``: {kind: masked}; ``ids``: rows whose ``id``
    holds some. With ``people`` (`textlabel.models.names.People`) ``name`` is a kind, too.
    """
    kinds_ = (*KINDS, *(("name",) if people else ()))
    counts, examples, any_, ids = dict.fromkeys(kinds_, 0), {kind: dict[str, None]() for kind in kinds_}, 0, 0
    for texts in _by_row(rows, people):
        kinds, in_id = set(), False
        for column, text, found in texts:
            in_id |= column == "id" and bool(found)
            for one in found:
                kinds.add(one.kind)
                if len(examples[one.kind]) < EXAMPLES:
                    examples[one.kind][masked(text[one.start : one.end])] = None
        any_, ids = any_ + bool(kinds), ids + in_id
        for kind in kinds:
            counts[kind] += 1
    return {
        "rows": len(rows),
        "rows_with_any": any_,
        "rows_with": counts,
        "ids": ids,
        "examples": {kind: list(found) for kind, found in examples.items() if found},
    }


def without_personal_data(rows: Dataset, people: People | None = None) -> Dataset:
    """Return a dataset with its texts redacted, but for ``id``; with ``people`` names, too.

    A whole number that looks like personal data becomes null: a column of numbers cannot say what was there.
    """
    names = [name for name in looked_at(rows) if name != "id"]

    def change(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        values = [batch[name] for name in names]
        texts = [text for value in values for text in _texts(value)]
        told = zip(texts, _find(texts, people), strict=True)
        clean = (redacted(text, found) if found else text for text, found in told)
        return {name: _replaced(value, clean) for name, value in zip(names, values, strict=True)}

    if not names:
        return rows
    # a name of its own, for what is made with a model cannot be named by its content
    unseen = uuid.uuid4().hex
    return rows.map(change, batched=True, batch_size=ROWS, new_fingerprint=unseen, features=rows.features)


def _texts(value: Any) -> Iterator[str]:
    """Yield texts, and long whole numbers as such, wherever they stand in a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, int) and abs(value) >= _LONG:
        yield str(value)
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)


def _replaced(value: Any, clean: Iterator[str]) -> Any:
    """Return the value with the next of the clean texts in place of each that `_texts` gave."""
    if isinstance(value, str):
        return next(clean)
    if isinstance(value, int) and abs(value) >= _LONG:
        return value if next(clean) == str(value) else None
    if isinstance(value, Mapping):
        return {name: _replaced(inner, clean) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_replaced(inner, clean) for inner in value]
    return value


def _find(texts: Sequence[str], people: People | None) -> list[list[Found]]:
    """Return what is found in each text; where a name overlaps with something of another kind that stays."""
    known = [find(text) for text in texts]
    if people is None:
        return known
    return [
        [*first, *(one for one in more if all(one.end <= o.start or o.end <= one.start for o in first))]
        for first, more in zip(known, people.find(texts), strict=True)
    ]


def looked_at(rows: Dataset) -> list[str]:
    """Return the columns that may hold texts or whole numbers: no classes, no numbers with a fraction."""
    from datasets import ClassLabel

    def may(feature: Any) -> bool:
        if isinstance(feature, ClassLabel):
            return False
        if isinstance(feature, dict):
            return any(map(may, feature.values()))
        inner = getattr(feature, "feature", None)
        if inner is not None:
            return may(inner)
        return str(getattr(feature, "dtype", "")).startswith(_LOOKED_AT)

    return [name for name, feature in rows.features.items() if may(feature)]


def _by_row(rows: Dataset, people: People | None = None) -> Iterator[Sequence[tuple[str, str, list[Found]]]]:
    """Yield column, text and what is found in it, of each text of each row."""
    names = looked_at(rows)
    for batch in rows.select_columns(names).iter(batch_size=ROWS) if names else ():
        texts = [
            [(name, text) for name, value in zip(names, values, strict=True) for text in _texts(value)]
            for values in zip(*(batch[name] for name in names), strict=True)
        ]
        found = iter(_find([text for row in texts for _, text in row], people))
        for row in texts:
            yield [(name, text, next(found)) for name, text in row]


def refuse_personal_data(rows: Dataset, share: float, where: str) -> None:
    """Raise an `ExportError` where more than ``share`` of the rows seem to hold personal data.

    Raises
    ------
    CorpusError : ``share`` is no share.
    """
    if not 0 <= share <= 1:
        raise CorpusError(f"the share of rows that may hold personal data is between 0 and 1, got {share}")
    if share == 1:
        return
    told = scan(rows)
    if told["rows_with_any"] <= share * len(rows):
        return
    kinds = ", ".join(f"{kind} in {count}" for kind, count in told["rows_with"].items() if count)
    shown = ", ".join(example for found in told["examples"].values() for example in found)
    raise ExportError(
        f"{told['rows_with_any']} of {len(rows)} rows seem to hold personal data ({kinds}; such as {shown}), "
        f"so nothing was sent to {where}: look with `textlabel scan`, take them out with its --redact, or "
        f"allow them (--allow-personal-data SHARE){_of_ids(told)}"
    )


def _of_ids(told: Mapping[str, Any]) -> str:
    return f". Ids of {told['ids']} rows hold some: rename them, for ids are kept" if told["ids"] else ""
