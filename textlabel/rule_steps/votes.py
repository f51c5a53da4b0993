"""What rules, saved models and class names say of a corpus and of gold rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textlabel.errors import CorpusError, RecipeError
from textlabel.labeler import DEFAULT_BACKBONE, Labeler
from textlabel.rules.functions import Rules, encode, read_rules, vote_names
from textlabel.types import IntArray

if TYPE_CHECKING:
    from datasets import Dataset

#: by name, what votes on all texts at once: a class name for each, None where it abstains
Voters = Mapping[str, Callable[[Sequence[str]], Sequence[str | None]]]


@dataclass(frozen=True)
class Voted:
    """What rules said of a corpus, and what people said of some of its rows.

    Parameters
    ----------
    votes : (n + g, m), rows of the corpus first, then gold rows that are not among them.
    gold : (n + g,) class numbers, -1 where nobody labeled.
    rows : the n rows of the corpus.
    texts : of all n + g.
    """

    votes: IntArray
    gold: IntArray
    rows: Dataset
    texts: list[str]
    names: tuple[str, ...]
    classes: tuple[str, ...]

    @property
    def judged(self) -> bool:
        """Whether any row is gold."""
        return bool((self.gold >= 0).any())


def cast_votes(
    rules: Rules | Sequence[str | Path],
    corpus: Any,
    gold: Any = None,
    voters: Voters | None = None,
    **loading: Any,
) -> Voted:
    """Return the votes of rules on a corpus and on gold rows; a gold text that is in the corpus is its row.

    Parameters
    ----------
    rules : files, or what `read_rules` returned.
    corpus, gold : path, glob, Hub id, Dataset or list of dicts; gold rows have a column ``label``.
    voters : what votes beside the rules, such as `model_voter` and `names_voter`.
    loading : options of `textlabel.load_corpus` for both, and ``label_column``.

    Raises
    ------
    RecipeError, CorpusError
    """
    from textlabel.corpus.load import load_corpus

    rules = rules if isinstance(rules, Rules) else read_rules(*rules)
    label_column = loading.pop("label_column", "label")
    rows = load_corpus(corpus, **loading)
    known = None if gold is None else load_corpus(gold, label_column=label_column, **loading)
    texts = list(rows["text"])
    labels: dict[str, str] = {} if known is None else dict(zip(known["text"], known["label"], strict=True))
    outside = [text for text in labels if text not in set(texts)]
    said = vote_names(rules, [*texts, *outside])
    for name, voter in (voters or {}).items():
        column = voter([*texts, *outside])
        if len(column) != len(said):
            raise CorpusError(f"voter {name!r} gave {len(column)} votes; expected {len(said)}, one a text")
        for row, vote in zip(said, column, strict=True):
            row.append(vote)
    classes = rules.classes or _classes(rules, said, labels)
    if len(classes) < 2:
        raise RecipeError(f"rules and gold know of {list(classes)} alone: name all with classes = [...]")
    answers = [[labels.get(text)] for text in (*texts, *outside)]
    names = (*rules.names, *(voters or {}))
    return Voted(
        encode(said, classes), encode(answers, classes)[:, 0], rows, [*texts, *outside], names, classes
    )


def model_voter(folder: str | Path) -> Callable[[Sequence[str]], Sequence[str | None]]:
    """Return the labels of a saved model as votes; it should not have trained on the gold rows."""

    def vote(texts: Sequence[str]) -> Sequence[str | None]:
        return _label_names(Labeler.from_pretrained(folder), texts)

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
