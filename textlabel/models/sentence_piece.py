"""What a SentencePiece model says of normalization, where transformers' own tokenizer forgets it.

A SentencePiece model carries a table of characters that are written in one way before pieces are looked up:
full-width letters become plain ones, marks of zero width go. DeBERTa's tokenizer in transformers 5 is made
without that table, whatever the files say, and such characters are then unknown.
"""

from __future__ import annotations

import json
from base64 import b64decode
from pathlib import Path
from typing import Any

#: what `tokenizers` calls a normalizer that is such a table
TABLE = "Precompiled"


def restore_normalization(tokenizer: Any, folder: Path) -> None:
    """Give a tokenizer of Unigram pieces the table that its files in ``folder`` have, if it has none."""
    inner = getattr(tokenizer, "backend_tokenizer", None)
    if inner is None or type(inner.model).__name__ != "Unigram" or TABLE in repr(inner.normalizer):
        return
    if table := _table(folder):
        from tokenizers import normalizers

        rest = [] if inner.normalizer is None else [inner.normalizer]
        inner.normalizer = normalizers.Sequence([normalizers.Precompiled(table), *rest])


def _table(folder: Path) -> bytes:
    """Return the table in tokenizer.json, or in the SentencePiece model beside it; empty if there is none."""
    path = folder / "tokenizer.json"
    if path.is_file():
        found = json.loads(path.read_text(encoding="utf-8"))["normalizer"] or {}
        for part in [found, *found.get("normalizers", ())]:
            if part["type"] == TABLE:
                return b64decode(part["precompiled_charsmap"])
    return b"".join(_table_of_model(path) for path in sorted(folder.glob("*.model"))[:1])


def _table_of_model(path: Path) -> bytes:
    from sentencepiece import sentencepiece_model_pb2

    model = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]
    model.ParseFromString(path.read_bytes())
    return bytes(model.normalizer_spec.precompiled_charsmap)
