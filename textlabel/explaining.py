"""Why texts have their labels, for a person to read, or as columns beside them."""

from __future__ import annotations

import itertools
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textlabel.attribution import DEFAULT_ATTRIBUTION
from textlabel.corpus.check import NOTHING
from textlabel.errors import RecipeError
from textlabel.labeler import Labeler

if TYPE_CHECKING:
    from datasets import Dataset

    from textlabel.engine.explain import Explainer
    from textlabel.rules.functions import Rules
    from textlabel.types import LabelKind

log = logging.getLogger("textlabel")

#: rows of a corpus that are explained unless more are asked for: each takes a look a word
ROWS = 100
#: words and labeled rows that are told of each text
TOP, NEAR = 5, 3


@dataclass(frozen=True)
class Why:
    """Tell why texts have the labels that a model gives them.

    Parameters
    ----------
    corpus : rows whose labels are explained: a csv, tsv, jsonl or parquet file, a folder or glob of them, a
        saved dataset such as an annotated one, or a Hub dataset id. Empty: ``texts`` are.
    texts : texts whose labels are explained, in place of a corpus.
    model : folder that `fit` wrote, or Hub id of a published one.
    out : file for the columns, .csv or .jsonl; none is replaced. Empty: none is written.
    method : way of attribution (`textlabel plugins attribution`).
    neighbors : labeled rows, such as those of `fit`; those nearest to a text, by the model's features, are
        told with it.
    rules : files of rules (TOML, or Python, which is run); those that fire on a text are told with it, and
        the class for which each votes.
    text_column, label_column : columns of corpus and neighbors.
    rows : how many of the corpus are explained, the first ones.
    top : words told of each text, those that moved the label most.
    seed : decides random words that the strongest are compared with.
    """

    corpus: str = ""
    texts: tuple[str, ...] = ()
    model: str = ""
    out: str = ""
    method: str = DEFAULT_ATTRIBUTION
    neighbors: str = ""
    rules: tuple[str, ...] = ()
    text_column: tuple[str, ...] = ("text",)
    label_column: str = "label"
    rows: int = ROWS
    top: int = TOP
    seed: int = 0

    def run(self) -> list[dict[str, Any]]:
        """Return one entry a text, and write them if they are asked for.

        Raises
        ------
        RecipeError : neither a corpus nor texts, or both; no model; less than one row or word asked for;
            rules that cannot be read, or that fail.
        PluginError : an attribution that needs a gradient, of a model that has none.
        ExportError : the file cannot be written there.
        """
        from textlabel.audit.draws import check_sheet, write_sheet

        self._check()
        if self.out:
            check_sheet(Path(self.out))
        labeler = Labeler.from_pretrained(self.model)
        told = why(
            labeler,
            self._rows(),
            method=self.method,
            neighbors=self._neighbors(labeler.schema.kind),
            rules=self.rules,
            top=self.top,
            seed=self.seed,
        )
        if self.out:
            write_sheet(Path(self.out), _flat(told) if self.out.lower().endswith(".csv") else told)
        return told

    def _check(self) -> None:
        if bool(self.corpus) == bool(self.texts):
            raise RecipeError("expected a corpus or texts (--text), one of the two")
        if not self.model:
            raise RecipeError("whose labels? give the model (--model), a folder that `textlabel fit` wrote")
        if self.rows < 1 or self.top < 1:
            raise RecipeError(f"rows and top must be at least 1, got {self.rows} and {self.top}")

    def _rows(self) -> Any:
        if self.texts:
            return [{"text": text} for text in self.texts]
        from textlabel.corpus.load import load_corpus

        found = load_corpus(self.corpus, text_column=self.text_column)
        return found.select(range(min(self.rows, len(found))))

    def _neighbors(self, kind: LabelKind) -> Dataset | None:
        if not self.neighbors:
            return None
        return _labeled(self.neighbors, kind, self.text_column, self.label_column)


def why(
    labeler: Labeler,
    corpus: Any,
    *,
    method: str = DEFAULT_ATTRIBUTION,
    neighbors: Any = None,
    rules: Rules | Sequence[str | Path] = (),
    text_column: str | Sequence[str] = "text",
    label_column: str = "label",
    top: int = TOP,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return why each text of a corpus has its label: one dict a row, ready for `Dataset.from_list`.

    Parameters
    ----------
    labeler : a fitted one.
    corpus : path, glob, Hub id, Dataset or list of dicts.
    rules : files, or what `textlabel.rules.files.read_rules` returned.
    method, neighbors, text_column, label_column, top, seed : as `Why`.

    Each has ``id``, ``text``, ``label``, ``words`` and their ``word_scores`` (log-odds of the label, in nats;
    of several labels a row the logit of the likeliest; of scores the score), ``without``, the words without
    which the label is ``becomes``, ``faithful`` (`textlabel.engine.explain.Explanation`), with neighbors
    ``neighbors``: text, label and cosine similarity, and with rules ``rules``: those that fired, by name, and
    the label for which each votes.
    """
    from textlabel.corpus.load import load_corpus
    from textlabel.engine.explain import Explainer, columns
    from textlabel.progress import bar

    fired = fired_rules(rules)
    rows = load_corpus(corpus, text_column=text_column)
    explainer = Explainer(labeler.bundle, method, seed)
    near: Iterator[list[dict[str, Any]] | None] = itertools.repeat(None)
    if neighbors is not None:
        known = _labeled(neighbors, labeler.schema.kind, text_column, label_column)
        near = iter(labeled_near(explainer, rows["text"][:], known))
    told = []
    with bar("explain") as update:
        for number, one in enumerate(explainer.explain(rows["text"][:])):
            update(number + 1, len(rows))
            entry = {"id": rows[number]["id"], "text": one.text, "label": one.label, **columns(one, top)}
            if (found := next(near)) is not None:
                entry["neighbors"] = found
            if fired is not None:
                entry["rules"] = fired(one.text)
            told.append(entry)
    return told


def _labeled(source: Any, kind: LabelKind, text_column: str | Sequence[str], label_column: str) -> Dataset:
    """Return labeled rows; in a file of text, ``|`` parts the classes of a row."""
    from textlabel.corpus.load import load_corpus

    return load_corpus(
        source,
        text_column=text_column,
        label_column=label_column,
        label_kind=kind,
        label_separator="|" if kind == "multi" else None,
    )


def fired_rules(rules: Rules | Sequence[str | Path]) -> Callable[[str], list[dict[str, str]]] | None:
    """Return what tells which rules fire on a text; None: there are none."""
    from textlabel.rules.files import read_rules
    from textlabel.rules.functions import Rules, vote_names

    if not isinstance(rules, Rules):
        if not rules:
            return None
        rules = read_rules(*rules)
    known = rules

    def fired(text: str) -> list[dict[str, str]]:
        [votes] = vote_names(known, [text])
        pairs = zip(known.names, votes, strict=True)
        return [{"rule": name, "label": vote} for name, vote in pairs if vote is not None]

    return fired


def _flat(told: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows for csv: a list is JSON, which spreadsheets and programs can read again."""
    return [
        {k: json.dumps(v, ensure_ascii=False) if isinstance(v, list) else v for k, v in row.items()}
        for row in told
    ]


def labeled_near(explainer: Explainer, texts: Sequence[str], known: Dataset) -> list[list[dict[str, Any]]]:
    """Return the labeled rows nearest to each text, which are never the text itself."""
    return Near(explainer, known).of(texts)


class Near:
    """Labeled rows, whose features are made once."""

    def __init__(self, explainer: Explainer, known: Dataset) -> None:
        self._explainer, self._texts, self._labels = explainer, known["text"][:], known["label"][:]
        self._copies, self._features = Counter(self._texts), explainer.features(self._texts)

    def of(self, texts: Sequence[str]) -> list[list[dict[str, Any]]]:
        """Return the rows nearest to each text, which are never the text itself."""
        from textlabel.engine.explain import nearest

        count = min(NEAR + max((self._copies[text] for text in texts), default=0), len(self._texts))
        index, alike = nearest(self._explainer.features(texts), self._features, count)
        found = []
        for text, row, similar in zip(texts, index.tolist(), alike.tolist(), strict=True):
            near = [
                {"text": self._texts[i], "label": self._labels[i], "similarity": round(s, 4)}
                for i, s in zip(row, similar, strict=True)
                if self._texts[i] != text
            ]
            found.append(near[:NEAR])
        return found


def teller(
    model: str, neighbors: str = "", rules: Sequence[str] = (), **more: Any
) -> Callable[[str], dict[str, Any]]:
    """Return what tells of one text why it has its label; the model is read when it is asked first.

    Parameters
    ----------
    model : folder that `fit` wrote, or Hub id.
    neighbors, rules : as of `Why`.
    more : ``annotations``, the folder whose labels are explained, and ``text_column`` and ``label_column`` of
        neighbors.

    Told are ``words``, (start, end, score) of each, and ``lines`` in words: what would have changed the
    label, rules that fired, and labeled rows that are near.

    Raises
    ------
    RecipeError : rules that cannot be read.
    """
    fired, known = fired_rules(rules), cache(partial(_asked, model, neighbors, **more))

    def tell(text: str) -> dict[str, Any]:
        explainer, near = known()
        [one] = explainer.explain([text])
        lines = []
        if one.becomes:
            lines.append(f"without {', '.join(one.removed)}: {one.becomes}")
        lines += [f"rule {vote['rule']} says {vote['label']}" for vote in (fired(text) if fired else ())]
        for row in near.of([text])[0] if near else ():
            label = "|".join(row["label"]) or NOTHING if isinstance(row["label"], list) else row["label"]
            lines.append(f"near ({row['similarity']:.2f}), {label}: {row['text']}")
        words = [(*span, float(score)) for span, score in zip(one.spans, one.scores, strict=True)]
        return {"words": words, "lines": lines}

    return tell


def explainer_of(model: str, annotations: str | Path = "") -> Explainer:
    """Return what explains the labels of a saved model, and warn if it is not that of the annotations."""
    from textlabel.engine.explain import Explainer
    from textlabel.export._read import read_record
    from textlabel.report.record import differing

    bundle = Labeler.from_pretrained(model).bundle
    if annotations and (other := differing(bundle, read_record(annotations))):
        log.warning(
            "%s is not the model that labeled %s (%s differ): it may tell why another label would be right",
            model,
            annotations,
            ", ".join(other),
        )
    return Explainer(bundle)


def _asked(
    model: str,
    neighbors: str,
    annotations: str = "",
    text_column: str | Sequence[str] = "text",
    label_column: str = "label",
) -> tuple[Explainer, Near | None]:
    """Return the explainer of a model, and the labeled rows, if any are given."""
    explainer = explainer_of(model, annotations)
    if not neighbors:
        return explainer, None
    return explainer, Near(explainer, _labeled(neighbors, explainer.schema.kind, text_column, label_column))
