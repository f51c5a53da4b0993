"""Values of a dataset as text formats hold them: class names, ISO dates, short floats; and back."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from textlabel.errors import ExportError

Convert = Callable[[Any], Any]


def plain(feature: Any, column: str) -> Convert:
    """Return the function that turns a value of ``feature`` into what JSON holds.

    Class numbers become names, dates ISO text; what JSON has no number for (NaN, infinity) becomes
    null. Float32 values get the shortest text that reads back as the same float32.

    Raises
    ------
    ExportError : ``column`` holds bytes, images or another thing that text cannot.
    """
    import datasets

    if isinstance(feature, datasets.ClassLabel):
        return _unless_none(lambda y: feature.names[y] if y >= 0 else None)
    if isinstance(feature, datasets.List | datasets.LargeList):
        item = plain(feature.feature, column)
        return _unless_none(lambda values: [item(value) for value in values])
    if isinstance(feature, dict):
        fields = {key: plain(value, column) for key, value in feature.items()}
        return _unless_none(lambda value: {key: convert(value[key]) for key, convert in fields.items()})
    if isinstance(feature, datasets.Json):
        return _same
    dtype = feature.dtype if isinstance(feature, datasets.Value) else type(feature).__name__
    for start, convert in _PLAIN.items():
        if dtype.startswith(start):
            return _unless_none(convert)
    raise ExportError(
        f"column {column!r} holds {dtype}, which text cannot: use format 'parquet' or 'dataset'"
    )


def restored(feature: Any) -> Convert:
    """Return the function that turns what JSON held into what `datasets.Features` encode."""
    import datasets

    if isinstance(feature, datasets.List | datasets.LargeList):
        item = restored(feature.feature)
        return _unless_none(lambda values: [item(value) for value in values])
    if isinstance(feature, dict):
        fields = {key: restored(value) for key, value in feature.items()}
        return _unless_none(lambda value: {key: convert(value[key]) for key, convert in fields.items()})
    if isinstance(feature, datasets.Json):
        return json.dumps  # a text that is JSON is taken as it is
    dtype = getattr(feature, "dtype", "")
    if dtype.startswith("timestamp"):
        return _unless_none(datetime.datetime.fromisoformat)
    return _unless_none(datetime.date.fromisoformat) if dtype.startswith("date") else _same


def _same(value: Any) -> Any:
    return value


def _unless_none(convert: Convert) -> Convert:
    return lambda value: None if value is None else convert(value)


def _short(value: float) -> float | None:
    return float(str(np.float32(value))) if math.isfinite(value) else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


#: start of a dtype's name -> how JSON holds it
_PLAIN: dict[str, Convert] = {
    "string": _same,
    "large_string": _same,
    "bool": _same,
    "null": _same,
    "int": _same,
    "uint": _same,
    "float32": _short,
    "float": _finite,
    "timestamp": lambda moment: moment.isoformat(),
    "date": lambda day: day.isoformat(),
}
