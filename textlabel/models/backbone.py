"""A backbone: a pretrained encoder with its tokenizer, from a registered name, a path or a Hub id.

Several, joined by "+", are one whose features are those of all (`textlabel.models.joint`).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textlabel.errors import BackboneError, nearest
from textlabel.models.backbone_info import BackboneInfo, describe

if TYPE_CHECKING:
    from torch import nn

log = logging.getLogger("textlabel")

#: most backbones that may be joined
MOST_PARTS = 4


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
