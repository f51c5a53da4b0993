"""What a backbone is and how its features are read: from what the user chose, the registry and its files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from textlabel.errors import BackboneError, RecipeError, nearest
from textlabel.models.fetch import file_sha256, weights_sha256

#: used when neither the registry, the folder nor the user says otherwise
DEFAULT_MAX_LENGTH = 256
#: how the vectors of a text's tokens become one
POOLINGS = ("mean", "cls", "max")
#: what may be done with a text that is too long, and how its windows become one
ON_LONG = ("truncate", "window", "fail")
WINDOW_POOLING = ("mean", "weighted", "max")


@dataclass(frozen=True)
class BackboneInfo:
    """Which backbone this is, and how its features are read.

    Parameters
    ----------
    name : registered name, local path or Hub id, as the user gave it.
    sha256 : of the weights file.
    kind : "transformer", "static" (one vector a token, no context) or "joint" (several backbones).
    pooling : "mean" or "max" (over real tokens, each feature by itself) or "cls" (first token).
    normalize : whether the pooled vector is scaled to unit length.
    max_length : tokens kept of a text, special tokens included.
    origin : "registered", "path", "hub", or "data" (made of the labeled texts).
    license : licence of the weights as far as known.
    tokenizer_sha256 : of tokenizer.json, else of the SentencePiece model, "" where the folder has neither.
    revision : commit of a Hub repository, else "".
    on_long : what is done with a longer text: "truncate", "window" or "fail" (`textlabel.models.windows`).
        Training of the body reads its first tokens either way.
    window_pooling : how windows of a text become one: "mean", "weighted" or "max".
    layers : how many layers give a vector each, counted from the top, laid side by side, the last one
        first. Layers below the last keep what its own training made it forget, such as sentiment.
    parts : of several backbones joined, each of them, in the order of their features; else empty. How long
        texts are read is what the whole says.
    """

    name: str
    sha256: str
    kind: str
    pooling: str
    normalize: bool
    max_length: int
    origin: str
    license: str = "unknown"
    tokenizer_sha256: str = ""
    revision: str = ""
    on_long: str = "truncate"
    window_pooling: str = "mean"
    layers: int = 1
    parts: tuple[BackboneInfo, ...] = ()

    @property
    def public_name(self) -> str:
        """The name without the folders above a local path, which are nobody else's business."""
        if self.parts:
            return "+".join(part.public_name for part in self.parts)
        return Path(self.name).name if self.origin == "path" else self.name

    @property
    def reading(self) -> dict[str, Any]:
        """What to choose for `load_backbone` to read it so again; None: what each part says of itself."""
        parts = self.parts or (self,)
        same = {key: {getattr(part, key) for part in parts} for key in ("pooling", "normalize", "max_length")}
        found = {key: values.pop() if len(values) == 1 else None for key, values in same.items()}
        layers = max(part.layers for part in parts)  # static ones have one, whatever was chosen
        return {**found, "on_long": self.on_long, "window_pooling": self.window_pooling, "layers": layers}

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads, with public names."""
        told = {**asdict(self), "name": self.public_name}
        del told["parts"]
        return told | ({"parts": [part.to_json() for part in self.parts]} if self.parts else {})

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> BackboneInfo:
        """Return what `to_json` wrote."""
        return cls(**{**data, "parts": tuple(map(cls.from_json, data.get("parts", ())))})


def require_one(info: BackboneInfo, what: str, instead: str) -> None:
    """Raise a `RecipeError` if there are several backbones, which ``what`` cannot read.

    Parameters
    ----------
    instead : what to do in place of that, as the end of a sentence.
    """
    if info.parts:
        raise RecipeError(
            f"{what} one backbone, and {info.public_name!r} are {len(info.parts)} whose features lie side by "
            f"side: {instead}"
        )


def describe(folder: Path, ref: str | Path, origin: str, **chosen: Any) -> BackboneInfo:
    """Return how to read the backbone in ``folder``; ``chosen`` (as `load_backbone` has it) wins.

    The order is: what the user chose, the registry's record, sentence-transformers' own files,
    mean pooling without normalization and 256 tokens.
    """
    found: dict[str, Any] = {
        "kind": "transformer",
        "pooling": "mean",
        "normalize": False,
        "license": "unknown",
    }
    found |= _sentence_transformers(folder)
    record = folder / "textlabel_backbone.json"
    if record.is_file():
        saved = json.loads(record.read_text(encoding="utf-8"))
        known = ("kind", "pooling", "normalize", "max_length", "layers", "license")
        found |= {k: saved[k] for k in known if k in saved}
    found |= {k: v for k, v in chosen.items() if v is not None}
    check_long(**{name: found[name] for name in ("on_long", "window_pooling") if name in found})
    if found["pooling"] not in POOLINGS:
        raise BackboneError(
            f"pooling = {found['pooling']!r}: expected 'mean', 'cls' or 'max'; choose one of them"
        )
    limit = position_limit(folder) if found["kind"] == "transformer" else 1 << 20
    asked = chosen.get("max_length")
    if asked is not None and not 3 <= asked <= limit:
        raise BackboneError(f"max_length = {asked}: expected 3 to {limit} tokens, as {ref} can read")
    found["max_length"] = min(int(found.get("max_length", DEFAULT_MAX_LENGTH)), limit)
    return BackboneInfo(
        name=str(ref),
        sha256=weights_sha256(folder),
        origin=origin,
        tokenizer_sha256=tokenizer_sha256(folder),
        revision=folder.name if origin == "hub" else "",
        **found,
    )


def check_long(on_long: str = ON_LONG[0], window_pooling: str = WINDOW_POOLING[0]) -> None:
    """Raise a `BackboneError` unless both are known words, and there are windows where they are pooled."""
    words = {"on_long": (on_long, ON_LONG), "window_pooling": (window_pooling, WINDOW_POOLING)}
    for name, (value, known) in words.items():
        if value not in known:
            raise BackboneError(f"{name} = {value!r} is unknown: {nearest(value, known)}")
    if window_pooling != WINDOW_POOLING[0] and on_long != "window":
        raise BackboneError(
            f"window_pooling = {window_pooling!r} is about windows, and long texts are read by {on_long!r}: "
            "choose on_long = window, or leave it out"
        )


def tokenizer_sha256(folder: Path) -> str:
    """Return the sha256 (hex) of tokenizer.json, else of the SentencePiece model, "" if there is neither."""
    found = [*folder.glob("tokenizer.json"), *sorted(folder.glob("*.model"))]
    return file_sha256(found[0]) if found else ""


def _sentence_transformers(folder: Path) -> dict[str, Any]:
    """Return pooling, normalization and length from sentence-transformers' files, where a folder has them."""
    found: dict[str, Any] = {}
    pooling = folder / "1_Pooling" / "config.json"
    if pooling.is_file():
        config = json.loads(pooling.read_text(encoding="utf-8"))
        modes = [key.removeprefix("pooling_mode_") for key, on in config.items() if on is True]
        modes = [mode for mode in modes if mode != "include_prompt"]
        known = {"cls_token": "cls", "mean_tokens": "mean", "max_tokens": "max"}
        # another mode is left as its own name, for `describe` to refuse unless the user chose one of ours
        found["pooling"] = known.get(modes[0], modes[0]) if len(modes) == 1 else " and ".join(modes)
    modules = folder / "modules.json"
    if modules.is_file():
        kinds = [module.get("type", "") for module in json.loads(modules.read_text(encoding="utf-8"))]
        found["normalize"] = any(kind.endswith("Normalize") for kind in kinds)
    length = folder / "sentence_bert_config.json"
    if length.is_file() and (tokens := json.loads(length.read_text(encoding="utf-8")).get("max_seq_length")):
        found["max_length"] = tokens
    return found


def position_limit(folder: Path) -> int:
    """Return how many tokens the position table bears; RoBERTa's family starts counting at pad + 1."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    positions = int(config.get("max_position_embeddings") or 512)
    if config.get("model_type") in ("roberta", "xlm-roberta", "camembert", "mpnet", "longformer"):
        fixed = config["model_type"] == "mpnet"  # which does not ask its configuration
        pad = 1 if fixed else config.get("pad_token_id", 1)
        positions -= int(pad) + 1
    return positions
