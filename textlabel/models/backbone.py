"""A backbone: a pretrained encoder with its tokenizer, from a registered name, a path or a Hub id.

Several, joined by "+", are one whose features are those of all (`textlabel.models.joint`).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textlabel.errors import BackboneError, RecipeError, nearest
from textlabel.models.fetch import file_sha256, weights_sha256

if TYPE_CHECKING:
    from torch import nn

log = logging.getLogger("textlabel")

#: used when neither the registry, the folder nor the user says otherwise
DEFAULT_MAX_LENGTH = 256
#: how the vectors of a text's tokens become one
POOLINGS = ("mean", "cls", "max")
#: most backbones that may be joined
MOST_PARTS = 4
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


@dataclass
class Backbone:
    """Weights in memory. ``encode`` turns texts into truncated token ids without padding."""

    info: BackboneInfo
    folder: Path
    body: nn.Module
    tokenizer: Any

    @property
    def name(self) -> str:
        """The name the user gave."""
        return self.info.name

    @property
    def pad_id(self) -> int:
        """Token id used for padding (masked, so any valid id does)."""
        if self.info.kind != "transformer":
            return 0
        pad = self.tokenizer.pad_token_id
        return 0 if pad is None else int(pad)

    @property
    def depth(self) -> int:
        """How many layers it has."""
        return int(self.body.config.num_hidden_layers) if self.info.kind == "transformer" else 1  # type: ignore[union-attr,arg-type]

    @property
    def width(self) -> int:
        """How many features it gives a text."""
        return int(self.body.config.hidden_size) * self.info.layers  # type: ignore[union-attr,arg-type]

    @property
    def parts(self) -> tuple[Backbone, ...]:
        """The backbones that were joined; of one, itself."""
        from textlabel.models.joint import JointBody, reading_as

        if not isinstance(self.body, JointBody):
            return (self,)
        return tuple(reading_as(member, self.info) for member in self.body.members)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return one list of token ids a text, cut to ``max_length``."""
        return encode(self.tokenizer, self.info, texts)


def encode(tokenizer: Any, info: BackboneInfo, texts: Sequence[str]) -> list[list[int]]:
    """Return token ids of each text, special tokens included, cut to ``info.max_length``, not padded."""
    if not texts:
        return []
    if info.kind == "static":
        from textlabel.models.static import token_ids

        return token_ids(tokenizer, texts, info.max_length)
    out = tokenizer(
        list(texts), truncation=True, max_length=info.max_length, padding=False, return_attention_mask=False
    )
    return list(out["input_ids"])


def part_names(ref: str | Path) -> list[str]:
    """Return the names in "one+another", or the one that there is.

    A registered name or a folder that holds a "+" is one; as a part of several it cannot be told apart.

    Raises
    ------
    BackboneError : a name is missing or stands twice, or there are more than `MOST_PARTS`.

    Examples
    --------
    >>> part_names("all-MiniLM-L6-v2+potion-base-8M")
    ['all-MiniLM-L6-v2', 'potion-base-8M']
    """
    from textlabel.models import catalog

    name = str(ref)
    if "+" not in name or name in catalog.entries() or Path(name).expanduser().is_dir():
        return [name]
    names = [part.strip() for part in name.split("+")]
    if not all(names) or len(set(names)) < len(names) or len(names) > MOST_PARTS:
        raise BackboneError(
            f"backbone {name!r}: expected 2 to {MOST_PARTS} different backbones, such as "
            "all-MiniLM-L6-v2+potion-base-8M; a folder with a + in its path must be given alone"
        )
    return names


def locate(ref: str | Path) -> tuple[Path, str]:
    """Return the local folder of a backbone and its origin: "registered", "path" or "hub".

    A registered name wins over a folder of the same name; write ``./name`` for the folder.

    Raises
    ------
    BackboneError : nothing by that name can be had; the message lists the ways out.
    """
    from textlabel.models import catalog, fetch

    name = str(ref)
    if name in catalog.entries():
        if not fetch.present(name):
            log.info("fetching backbone %s (%s MB)", name, catalog.entry(name).megabytes)
        return fetch.get(name), "registered"
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file() and not (path / "textlabel_backbone.json").is_file():
            raise BackboneError(f"{path}: no config.json here; expected a folder that save_pretrained wrote")
        return path, "path"
    if name.count("/") == 1 and not name.startswith((".", "~", "/")):
        return download(name), "hub"
    raise BackboneError(
        f"unknown backbone {name!r}: {nearest(name, catalog.entries())}. Give a registered name "
        "(`textlabel backbones`), a local folder, or a Hub id such as 'BAAI/bge-small-en-v1.5'"
    )


def download(ref: str, revision: str | None = None) -> Path:
    """Return the local folder of a Hub repository: safetensors, JSON, vocabularies and graphs, no code.

    Raises
    ------
    BackboneError : the Hub did not give it; the message says why and what works without it.
    """
    from huggingface_hub import snapshot_download

    repo, _, tag = ref.partition("@")
    wanted = ["*.json", "*.safetensors", "*.txt", "*.model", "*.md", "backends/*"]
    unwanted = ["onnx/*", "openvino/*"]
    try:
        found = snapshot_download(
            repo, revision=revision or tag or None, allow_patterns=wanted, ignore_patterns=unwanted
        )
    except Exception as error:  # the client raises a dozen unrelated types: offline, 404, gated, disk
        raise BackboneError(
            f"{ref}: not a folder here, and the Hub did not give it ({type(error).__name__}: {error}). "
            "Without the Hub, use a registered backbone (`textlabel backbones`) or a local folder"
        ) from error
    return Path(found)


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


def load_backbone(ref: str | Path, **chosen: Any) -> Backbone:
    """Return a backbone in fp32 and eval mode.

    Parameters
    ----------
    ref : registered name, local folder, or Hub id (``owner/name`` or ``owner/name@revision``), or several,
        joined by "+" (`textlabel.models.joint`).
    chosen : pooling, normalize, max_length, on_long, window_pooling, layers, for every part; None keeps what
        the backbone says of itself. Of several, a static one has one layer whatever is chosen.

    Raises
    ------
    BackboneError : it cannot be had, or its weights do not belong to its configuration.
    """
    names = part_names(ref)
    if len(names) == 1:
        folder, origin = locate(ref)
        return open_folder(folder, describe(folder, ref, origin, **chosen))
    from textlabel.models.joint import joint

    return joint([_part(name, chosen) for name in names])


def _part(name: str, chosen: Mapping[str, Any]) -> Backbone:
    folder, origin = locate(name)
    info = describe(folder, name, origin, **chosen)
    return open_folder(folder, replace(info, layers=1) if info.kind == "static" else info)


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


def open_folder(folder: Path, info: BackboneInfo) -> Backbone:
    """Return the backbone that lies in ``folder``, read as ``info`` says."""
    if info.kind == "static":
        from textlabel.models.static import load_static

        body, tokenizer = load_static(folder)
        backbone = Backbone(info, folder, body.eval(), tokenizer)
    else:
        backbone = Backbone(info, folder, _load_body(folder).eval(), _load_tokenizer(folder))
    if not 1 <= info.layers <= backbone.depth:
        raise BackboneError(
            f"layers = {info.layers}: expected 1 to {backbone.depth}, as many as {info.public_name} has"
        )
    return backbone


def _load_tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    from textlabel.models.sentence_piece import restore_normalization

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise BackboneError(f"{folder}: its tokenizer cannot be loaded: {error}") from error
    # without its files it comes up all the same, and every word is unknown
    if set(tokenizer.get_vocab()) <= set(tokenizer.all_special_tokens):
        file = tokenizer.vocab_files_names.get("vocab_file", "vocab.txt")
        raise BackboneError(
            f"{folder}: its tokenizer knows no word; expected tokenizer.json, or the vocabulary by the name "
            f"that {type(tokenizer).__name__} gives it: {file}"
        )
    restore_normalization(tokenizer, folder)
    return tokenizer


def _load_body(folder: Path) -> nn.Module:
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModel

    quiet = Quiet()
    try:
        with quiet:
            # fp32 whatever the checkpoint holds: transformers 5 would keep fp16 even on a CPU
            body, report = AutoModel.from_pretrained(
                folder,
                dtype=torch.float32,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
            )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise BackboneError(f"{folder}: cannot be loaded as an encoder: {error}") from error
    # Only a pooler may be missing: we never use it. Anything else would be random weights.
    missing = sorted(key for key in report["missing_keys"] if "pooler" not in key)
    if missing:
        raise BackboneError(
            f"{folder}: the checkpoint lacks {len(missing)} weights of its own encoder, first "
            f"{missing[0]!r}; they would be random. Expected an encoder that save_pretrained wrote"
        )
    return drop_pooler(body)


def drop_pooler(body: nn.Module) -> nn.Module:
    """Remove a pooler that features never pass through, so that it is neither trained nor saved."""
    for name in ("pooler", "pooler_activation"):
        if getattr(body, name, None) is not None:
            setattr(body, name, None)
    return body


def save_body(body: nn.Module, tokenizer: Any, info: BackboneInfo, folder: Path) -> None:
    """Write a trained body with its tokenizer, as `open_folder` reads them."""
    if info.kind == "static":
        from textlabel.models.static import save_static

        save_static(body, tokenizer, folder)
        return
    with Quiet():
        body.save_pretrained(folder)  # type: ignore[operator]
    tokenizer.save_pretrained(folder)


class Quiet:
    """Silences transformers' table of missing and unexpected keys; we check them ourselves."""

    def __enter__(self) -> None:
        from transformers.utils import logging

        self.level = logging.get_verbosity()
        self.bar = logging.is_progress_bar_enabled()
        logging.set_verbosity_error()
        logging.disable_progress_bar()

    def __exit__(self, *exc: object) -> None:
        from transformers.utils import logging

        logging.set_verbosity(self.level)
        if self.bar:
            logging.enable_progress_bar()
