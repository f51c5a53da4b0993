"""Give a backbone tokens for the words of a domain: a folder that `fit` takes as its backbone."""

from __future__ import annotations

import datetime
import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from textlabel.backbone_training import free_folder, write_backbone
from textlabel.errors import CorpusError, RecipeError
from textlabel.labeler import DEFAULT_BACKBONE
from textlabel.types import Summary

if TYPE_CHECKING:
    from textlabel.models.backbone_info import BackboneInfo
    from textlabel.models.domain_words import Word

#: what a folder tells of its tokens
RECORD = "extend_vocabulary.json"
#: texts that are looked at, at most; of more, a random part
MOST_TEXTS = 100_000
#: texts by which tokens a word are told
TOLD_TEXTS = 2000


def extend_vocabulary(
    texts: Any,
    *,
    out: str | Path,
    backbone: str | Path = DEFAULT_BACKBONE,
    tokens: int = 200,
    text_column: str | Sequence[str] = "text",
    on_bad_row: str = "fail",
) -> Summary:
    """Give a backbone tokens for words of a domain, write it as a folder, and return what there is to tell.

    SentencePiece, trained on the texts, finds the words. Those that the tokenizer breaks into three pieces or
    more become one token, those first that save the most pieces. A new token begins as the mean of its
    pieces; all else stays, and texts without such a word have the features that they had. The folder is for
    `fit --backbone`. Tokenizer and record hold the words, which are of your texts, and so do models that are
    fitted on it.

    Parameters
    ----------
    texts : unlabeled rows in any form that `load_corpus` takes.
    out : folder for the backbone; it must not exist, or be empty.
    backbone : whose vocabulary grows: registered name (`textlabel backbones`), local folder, or Hub id.
    tokens : how many are added at most.
    text_column : column that holds the text; several are joined.
    on_bad_row : fail stops at the first unusable row, skip leaves such rows out.

    Raises
    ------
    CorpusError : the texts cannot be read, or hold no word that is broken into three pieces.
    RecipeError : fewer than one token wanted.
    BackboneError : ``out`` is taken, the backbone cannot be had, or its vocabulary cannot grow.
    """
    from textlabel.models.added_tokens import add_tokens, require_growing
    from textlabel.models.backbone import load_backbone
    from textlabel.models.domain_words import LEAST_PIECES, domain_words
    from textlabel.models.vocabulary import vocabulary_gap

    if tokens < 1:
        raise RecipeError(f"tokens = {tokens}: expected 1 or more to add")
    target, started = free_folder(out), time.monotonic()
    start = load_backbone(backbone)
    require_growing(start)
    read = _texts(texts, text_column, on_bad_row)
    told = read[:TOLD_TEXTS]
    before = vocabulary_gap(start.tokenizer, told).tokens_per_word
    words = domain_words(start.tokenizer, read, tokens)
    if not words:
        raise CorpusError(
            f"none of the words of {len(read)} texts that SentencePiece finds is broken into {LEAST_PIECES} "
            f"pieces or more by backbone {start.info.public_name!r}: it needs no new tokens; use it as it is"
        )
    body = add_tokens(start, words)
    after = vocabulary_gap(start.tokenizer, told).tokens_per_word
    fit = {"before": round(before, 3), "after": round(after, 3)}
    record = _record(start.info, read, tokens, words, start.tokenizer, fit)
    write_backbone(target, body, start.tokenizer, start.info, {RECORD: record})
    summary = {"out": str(target), "backbone": start.info.public_name, "tokens": len(words)}
    examples = ", ".join(word.text for word in words[:5])
    seconds = round(time.monotonic() - started, 1)
    return {**summary, "first": examples, "tokens_per_word": fit, "seconds": seconds}


def _texts(source: Any, text_column: str | Sequence[str], on_bad_row: str) -> list[str]:
    """Return the texts, or a random part of many, in random order, which is the same each time."""
    from textlabel.corpus.load import load_with_rejects

    rows, _ = load_with_rejects(
        source,
        text_column=text_column,
        id_column=False,
        on_bad_row=on_bad_row,  # type: ignore[arg-type] # checked there
    )
    order = np.random.default_rng(0).permutation(len(rows))[:MOST_TEXTS]
    texts: list[str] = rows["text"][:]
    return [texts[i] for i in order]


def _record(
    info: BackboneInfo, texts: list[str], asked: int, words: list[Word], tokenizer: Any, fit: dict[str, float]
) -> dict[str, Any]:
    """Return what the folder tells of its tokens."""
    from textlabel.report.record import versions

    digest = hashlib.sha256("".join(f"{text}\x1e" for text in sorted(texts)).encode())
    return {
        "format": 1,
        "created": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "backbone": {"name": info.public_name, "sha256": info.sha256, "license": info.license},
        "texts": {"rows": len(texts), "sha256": digest.hexdigest()},
        "asked": asked,
        "tokens": [
            {"token": w.text, "id": int(tokenizer.convert_tokens_to_ids(w.text)), "count": w.times}
            | {"pieces": list(w.pieces), "word": w.spaced}
            for w in words
        ],
        "tokens_per_word": fit,
        "versions": versions(),
    }
