"""What rules, saved models and class names say of a corpus and of gold rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from textlabel.errors import CorpusError, RecipeError, nearest
from textlabel.labeler import DEFAULT_BACKBONE, Labeler
from textlabel.rules.compare import unseen_gold
from textlabel.rules.files import read_rules
from textlabel.rules.functions import Rules, encode, vote_names
from textlabel.types import IntArray

if TYPE_CHECKING:
    from datasets import Dataset

    from textlabel.rules.models import Floats

#: what the names of the classes are called as a voter
NAMES = "class names"

#: by name, what votes on all texts at once: a class name for each, None where it abstains
Voters = Mapping[str, Callable[[Sequence[str]], Sequence[str | None]]]


@dataclass(frozen=True)
class Voted:
    """What rules said of a corpus, and what people said of some of its rows.

    Parameters
    ----------
    votes : (n + g, m), rows of the corpus first, then gold rows that are not among them.
    gold : (n + g,) class numbers, -1 where nobody labeled. Of equal texts one row is gold: copies are no
        further evidence, and would tell each other's label across folds.
    given : (n,) class numbers of all rows whose text people labeled, copies too; else -1.
    rows : the n rows of the corpus.
    texts : of all n + g.
    """

    votes: IntArray
    gold: IntArray
    given: IntArray
    rows: Dataset
    texts: list[str]
    names: tuple[str, ...]
    classes: tuple[str, ...]
    _unseen: dict[str, Floats] = field(default_factory=dict, repr=False)

    def unseen(self, model: str) -> Floats:
        """Return what a label model says of gold rows (g, k), each without its own label; it is kept."""
        if model not in self._unseen:
            self._unseen[model] = unseen_gold(model, self.votes, len(self.classes), self.gold)
        return self._unseen[model]

    @property
    def judged(self) -> bool:
        """Whether any row is gold."""
        return bool((self.gold >= 0).any())


def cast_votes(
    rules: Rules | Sequence[str | Path],
    corpus: Any,
    gold: Any = None,
    voters: Voters | None = None,
    names_backbone: str = "",
    **loading: Any,
) -> Voted:
    """Return the votes of rules on a corpus and on gold rows; a gold text that is in the corpus is its row.

    Texts are the same whatever their case and blanks (`textlabel.corpus.dedup.text_key`).

    Parameters
    ----------
    rules : files, or what `read_rules` returned.
    corpus, gold : path, glob, Hub id, Dataset or list of dicts; gold rows have a column ``label``.
    voters : what votes beside the rules, such as `model_voter`.
    names_backbone : what reads the names of the classes as one more voter (`names_voter`), those that the
        rules list, or else all that rules, voters and gold name; empty: they do not vote.
    loading : options of `textlabel.load_corpus` for both, and ``label_column``.

    Raises
    ------
    RecipeError, CorpusError
    """
    from textlabel.corpus.dedup import text_key
    from textlabel.corpus.load import load_corpus

    rules = rules if isinstance(rules, Rules) else read_rules(*rules)
    label_column = loading.pop("label_column", "label")
    rows = load_corpus(corpus, **loading)
    known = None if gold is None else load_corpus(gold, label_column=label_column, **loading)
    texts = list(rows["text"])
    labels, originals = _gold(known)
    there = {text_key(text) for text in texts}
    outside = [originals[key] for key in labels if key not in there]
    said = vote_names(rules, [*texts, *outside])
    for name, voter in (voters or {}).items():
        _append(name, voter([*texts, *outside]), said)
    classes = rules.classes or _classes(rules, said, labels)
    if strange := sorted(set(labels.values()) - set(classes)):
        raise CorpusError(f"gold rows of class {strange[0]!r}: {nearest(strange[0], classes)}")
    if len(classes) < 2:
        raise RecipeError(f"rules and gold know of {list(classes)} alone: name all with classes = [...]")
    if names_backbone:
        _append(NAMES, names_voter(classes, names_backbone)([*texts, *outside]), said)
    keys = [text_key(text) for text in (*texts, *outside)]
    given = encode([[labels.get(key)] for key in keys], classes)[:, 0]
    first: dict[str, int] = {}
    for number, key in enumerate(keys):
        first.setdefault(key, number)
    gold_ = np.where([first[key] == number for number, key in enumerate(keys)], given, -1)
    names = (*rules.names, *(voters or {}), *((NAMES,) if names_backbone else ()))
    return Voted(encode(said, classes), gold_, given[: len(texts)], rows, [*texts, *outside], names, classes)


def _append(name: str, column: Sequence[str | None], said: list[list[str | None]]) -> None:
    """Add the votes of one more voter."""
    if len(column) != len(said):
        raise CorpusError(f"voter {name!r} gave {len(column)} votes; expected {len(said)}, one a text")
    for row, vote in zip(said, column, strict=True):
        row.append(vote)


def _gold(known: Dataset | None) -> tuple[dict[str, str], dict[str, str]]:
    """Return {text: label} and {text: as it is written} of gold rows, by `text_key`.

    Raises
    ------
    CorpusError : one text with two labels.
    """
    from textlabel.corpus.dedup import text_key

    labels: dict[str, str] = {}
    originals: dict[str, str] = {}
    rows = () if known is None else zip(known["text"], known["label"], strict=True)
    for text, label in rows:
        key = text_key(text)
        if labels.setdefault(key, label) != label:
            raise CorpusError(
                f"gold: the text {text[:80]!r} is labeled {labels[key]!r} and {label!r}; keep one of them "
                "(`textlabel conflicts` lists such rows)"
            )
        originals.setdefault(key, text)
    return labels, originals


def model_voter(folder: str | Path) -> Callable[[Sequence[str]], Sequence[str | None]]:
    """Return the labels of a saved model as votes; it should not have trained on the gold rows.

    When it votes it raises a `RecipeError` for a model of scores or of several classes a row.
    """

    def vote(texts: Sequence[str]) -> Sequence[str | None]:
        labeler = Labeler.from_pretrained(folder)
        if labeler.schema.kind != "single":
            raise RecipeError(
                f"voter {folder}: its labels are of kind {labeler.schema.kind!r}; expected a model that "
                "gives each row one class"
            )
        return _label_names(labeler, texts)

    return vote


def names_voter(
    classes: Sequence[str], backbone: str = DEFAULT_BACKBONE
) -> Callable[[Sequence[str]], Sequence[str | None]]:
    """Return what the names of the classes alone say of texts (zero-shot) as votes."""

    def vote(texts: Sequence[str]) -> Sequence[str | None]:
        rows = [{"text": text} for text in texts]
        return _label_names(Labeler(backbone).fit(None, rows, classes=classes), texts)

    return vote


def _label_names(labeler: Labeler, texts: Sequence[str]) -> list[str | None]:
    codes = labeler.predict([{"text": text} for text in texts]).logits.argmax(axis=1)
    return [labeler.schema.names[code] for code in codes.tolist()]


def _classes(
    rules: Rules, said: Sequence[Sequence[str | None]], labels: Mapping[str, str]
) -> tuple[str, ...]:
    voted = {name for row in said for name in row if name is not None}
    return tuple(sorted({*rules.labels, *voted, *labels.values()}))
