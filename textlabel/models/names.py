"""Names of people in texts, as a token-classification model sees them: no better than that model is.

It is a model of the person's choice, from a folder or the Hub; none comes with textlabel. Only safetensors
are read, and no code of the repository is run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from textlabel.corpus.personal_data import Found
from textlabel.errors import BackboneError
from textlabel.models.backbone import download
from textlabel.models.backbone_info import position_limit
from textlabel.models.words import Span, words
from textlabel.types import IntArray

#: kind of what is found
NAME = "name"
#: what models call a person, without the mark of its place in the name (B-, I- and so on)
PERSON = frozenset(
    {"PER", "PERSON", "NAME", "GIVENNAME", "SURNAME", "FIRSTNAME", "LASTNAME", "FIRST_NAME", "LAST_NAME"}
)
_PLACES = ("B-", "I-", "E-", "L-", "S-", "U-")
#: windows a batch, and tokens that two windows of a long text share
_BATCH, _SHARED = 16, 32
#: what may stand between two words of one name; characters of Chinese are words of their own
_JOINTS = frozenset({"", " ", "-", ". ", ".", "\u00a0"})


class People:
    """Finds names of people.

    Parameters
    ----------
    ref : folder of a token-classification model, or Hub id (``user/name``, ``user/name@revision``).

    Raises
    ------
    BackboneError : it cannot be loaded, marks no person, or its tokens do not tell where they lie.
    """

    def __init__(self, ref: str | Path) -> None:
        import torch

        folder = Path(ref).expanduser()
        if not folder.is_dir():
            folder = download(str(ref))
        self.model, self.tokenizer = _load(folder)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model.to(self.device)
        kinds: dict[int, str] = self.model.config.id2label
        self.person = np.array([_bare(kinds[i]) in PERSON for i in range(len(kinds))])
        if not self.person.any():
            raise BackboneError(
                f"{ref}: marks no names of people; expected a label such as PER or B-PER, got "
                f"{', '.join(kinds.values())}"
            )
        self.longest = position_limit(folder)

    def find(self, texts: Sequence[str]) -> list[list[Found]]:
        """Return where names stand in each text, in their order; words that follow each other are one name.

        A word is of a name where one of its tokens is, in any window of a long text.
        """
        said = self._tokens(texts)
        return [
            [Found(NAME, start, end) for start, end in _names(text, spans)]
            for text, spans in zip(texts, said, strict=True)
        ]

    def _tokens(self, texts: Sequence[str]) -> list[list[Span]]:
        """Return (start, end) of the tokens of names in each text."""
        found: list[list[Span]] = [[] for _ in texts]
        if not texts:
            return found
        read = self.tokenizer(
            list(texts),
            truncation=True,
            max_length=self.longest,
            stride=min(_SHARED, self.longest // 4),
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        for windows, marks in self._windows(read):
            for window, inside in zip(windows, marks, strict=True):
                row, spans = read["overflow_to_sample_mapping"][window], read["offset_mapping"][window]
                hits = [(a, b) for (a, b), hit in zip(spans, inside, strict=False) if hit and b > a]
                found[row].extend(hits)
        return found

    def _windows(self, read: Any) -> Iterator[tuple[Sequence[int], Any]]:
        """Yield numbers of windows of about the same length, and which of their tokens are of names."""
        import torch

        lengths = np.array([len(ids) for ids in read["input_ids"]])
        order: IntArray = np.argsort(lengths, kind="stable")
        names = [name for name in ("input_ids", "attention_mask", "token_type_ids") if name in read]
        for start in range(0, len(order), _BATCH):
            some = order[start : start + _BATCH].tolist()
            batch = {name: [read[name][i] for i in some] for name in names}
            given = self.tokenizer.pad(batch, return_tensors="pt").to(self.device)
            with torch.inference_mode():
                best = self.model(**given).logits.argmax(dim=-1).cpu().numpy()
            yield some, self.person[best]


def _load(folder: Path) -> tuple[Any, Any]:
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    try:
        model, report = AutoModelForTokenClassification.from_pretrained(
            folder,
            dtype=torch.float32,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise BackboneError(
            f"{folder}: cannot be loaded as a token-classification model in safetensors: {error}"
        ) from error
    if missing := sorted(report["missing_keys"]):
        raise BackboneError(
            f"{folder}: the checkpoint lacks weights, first {missing[0]!r}, which would be random; expected "
            "a model that was trained to mark names"
        )
    if not tokenizer.is_fast:
        raise BackboneError(
            f"{folder}: its tokenizer does not tell where its tokens lie; expected a fast one"
        )
    return model.eval(), tokenizer


def _bare(label: str) -> str:
    """Return a label without the mark of its place.

    Examples
    --------
    >>> _bare("B-PER"), _bare("person")
    ('PER', 'PERSON')
    """
    label = label.upper()
    return label[2:] if label.startswith(_PLACES) else label


def _names(text: str, tokens: Sequence[Span]) -> list[Span]:
    """Return whole words that tokens of names lie in, joined where they follow each other.

    Examples
    --------
    >>> text = "by Ann-Marie O. Miller, Berlin"
    >>> [text[a:b] for a, b in _names(text, [(3, 5), (7, 12), (13, 14), (16, 22)])]
    ['Ann-Marie O. Miller']
    """
    joined: list[Span] = []
    for start, end in words(text):
        if not text[start].isalnum() or not any(a < end and start < b for a, b in tokens):
            continue
        if joined and text[joined[-1][1] : start] in _JOINTS:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined
