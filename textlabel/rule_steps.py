"""Rules on a corpus: what they say of it, and a labeled corpus made of their votes."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from textlabel import __version__, registry
from textlabel.errors import CorpusError, RecipeError
from textlabel.labeler import DEFAULT_BACKBONE, Labeler
from textlabel.rules.compare import MAJORITY, beside_majority, unseen_gold, verdict
from textlabel.rules.functions import Rules, encode, read_rules, vote_names
from textlabel.rules.models import Floats
from textlabel.rules.table import rule_table
from textlabel.types import COLUMNS, IntArray, LabelSchema, Summary

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


@dataclass(frozen=True)
class CheckRules:
    """Tell of each rule what it covers, where it is in conflict, and how often gold proves it right.

    Parameters
    ----------
    rules : rules files, .toml, or .py whose functions are decorated by @labeling_function (their code runs).
    on : corpus: a csv, tsv, jsonl or parquet file, a folder or glob of them, a saved dataset, or a Hub id.
    gold : labeled rows to judge rules by; they need not be in the corpus.
    label_model : which label model is set beside the majority (`textlabel plugins label_model`).
    text_column : column that holds the text; several are joined.
    label_column : column of gold that holds the label.
    voters : folders of saved models that vote beside the rules, such as `fit` wrote.
    names_vote : whether the names of the classes vote, too (zero-shot).
    """

    rules: tuple[str, ...]
    on: Any
    gold: Any = ""
    label_model: str = "anchored"
    text_column: tuple[str, ...] = ("text",)
    label_column: str = "label"
    voters: tuple[str, ...] = ()
    names_vote: bool = False

    def voted(self) -> Voted:
        """Return the votes."""
        rules = read_rules(*self.rules)
        others = {folder: model_voter(folder) for folder in self.voters}
        if self.names_vote:
            others["class names"] = names_voter(rules.labels)
        return cast_votes(
            rules,
            self.on,
            None if isinstance(self.gold, str) and not self.gold else self.gold,
            others,
            text_column=self.text_column,
            label_column=self.label_column,
        )

    def run(self) -> Summary:
        """Return the table and, with gold, whether the label model beats the majority."""
        voted = self.voted()
        n = len(voted.rows)
        table = rule_table(voted.votes, voted.names, voted.classes, voted.gold)
        return {
            "rows": n,
            "classes": list(voted.classes),
            "covered": round(float((voted.votes[:n] >= 0).any(axis=1).mean()), 4) if n else 0.0,
            "rules": [asdict(row) for row in table],
            "label_models": judged(voted, (MAJORITY, self.label_model)),
        }


def judged(voted: Voted, models: Sequence[str]) -> Summary | None:
    """Return the share of gold rows that label models have right without seeing them, and the verdict."""
    if not voted.judged:
        return None
    k, labels = len(voted.classes), voted.gold[voted.gold >= 0]
    right = {
        name: round(float((unseen_gold(name, voted.votes, k, voted.gold).argmax(axis=1) == labels).mean()), 4)
        for name in dict.fromkeys(models)
    }
    clever = [name for name in right if name != MAJORITY]
    said = [verdict(name, beside_majority(name, voted.votes, k, voted.gold)) for name in clever]
    return {"gold": len(labels), "accuracy": right, "verdict": "; ".join(said)}


@dataclass(frozen=True)
class LabelByRules(CheckRules):
    """Label a corpus by rules alone: a folder that can be audited and certified.

    Parameters
    ----------
    out : folder for the labeled corpus.
    format : dataset, parquet, jsonl or csv.
    """

    out: str = field(default="")
    format: str = "dataset"

    def run(self) -> Summary:
        """Write the labeled corpus and return what there is to tell."""
        from textlabel.audit.seal import seal
        from textlabel.report.record import FORMAT, versions

        voted = self.voted()
        model = registry.load("label_model", self.label_model)
        found = model.fit_predict(voted.votes, len(voted.classes), voted.gold)
        p, told, calibrated = _calibrated(voted, found.probabilities, self.label_model)
        rows = rows_by_rules(voted, p)
        record = {
            "format": FORMAT,
            "textlabel": __version__,
            "created": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
            # no model read a text: what stands in its place is the rules
            "backbone": {"name": "rules", "sha256": digest(self.rules), "source": "rules", "license": None},
            "recipe": {"name": "rules", "files": list(self.rules), "label_model": self.label_model},
            "seed": 0,
            "calibrator": {"name": "temperature"} if calibrated else {"name": "none"},
            "certificate": None,
            "evaluation": None,
            "schema": LabelSchema("single", voted.classes).to_json(),
            "labels": {"train": int((voted.gold >= 0).sum()), "calibration": 0, "audit": 0},
            "confidence": told,
            "versions": versions(),
            "seal": seal(rows),
        }
        registry.load("export", self.format).write(rows, Path(self.out), record)
        return {
            "annotations": self.out,
            "rows": len(rows),
            "covered": int((voted.votes[: len(rows)] >= 0).any(axis=1).sum()),
            "confidence": told,
            "label_models": judged(voted, (MAJORITY, self.label_model)),
        }


def _calibrated(voted: Voted, p: Floats, model: str) -> tuple[Floats, str, bool]:
    """Return probabilities of the corpus, tempered by gold where it suffices, and what was done."""
    from textlabel.rules.fusion import fuse

    n, known = len(voted.rows), voted.gold >= 0
    unseen = unseen_gold(model, voted.votes, len(voted.classes), voted.gold) if known.any() else p[:0]
    found = fuse([model], unseen[None], voted.gold[known])
    return found.apply(p[None, :n]), found.told, found.calibrated


def rows_by_rules(voted: Voted, probabilities: npt.NDArray[np.float64]) -> Dataset:
    """Return the corpus with the columns of annotated rows; ``source`` is "rule", or "human" on gold rows.

    All rows that people did not label are for review: what rules say is not certified by gold alone.
    """
    from datasets import ClassLabel, Dataset, Features, List, Value, concatenate_datasets

    from textlabel.engine.annotate import carry

    n, gold = len(voted.rows), voted.gold[: len(voted.rows)]
    label = np.where(gold >= 0, gold, probabilities.argmax(axis=1))
    top = np.sort(probabilities, axis=1)[:, ::-1]
    human = gold >= 0
    features = Features(
        {
            "label": ClassLabel(names=list(voted.classes)),
            "confidence": Value("float64"),
            "probabilities": List(Value("float32")),
            "margin": Value("float64"),
            "prediction_set": List(Value("string")),
            "ood_score": Value("float32"),
            "decision": Value("string"),
            "source": Value("string"),
        }
    )
    made = Dataset.from_dict(
        {
            "label": label.tolist(),
            "confidence": probabilities[np.arange(n), label].tolist(),
            "probabilities": probabilities.astype(np.float32).tolist(),
            "margin": (top[:, 0] - top[:, 1]).tolist(),
            "prediction_set": [None] * n,
            "ood_score": [None] * n,
            "decision": np.where(human, "accepted", "review").tolist(),
            "source": np.where(human, "human", "rule").tolist(),
        },
        features=features,
    )
    rows = carry(voted.rows, keep=("id", "text"), ours=COLUMNS)
    both = concatenate_datasets([rows, made], axis=1)
    rest = [name for name in rows.column_names if name not in ("id", "text")]
    return both.select_columns(["id", "text", *features, *rest])


def digest(paths: Sequence[str | Path]) -> str:
    """Return the sha256 of the bytes of rules files, one after the other."""
    return hashlib.sha256(b"".join(Path(path).read_bytes() for path in paths)).hexdigest()


@dataclass(frozen=True)
class FitRules(CheckRules):
    """Fit a model on what rules say of a corpus, and on gold rows beside.

    Parameters
    ----------
    out : folder for the model, which `annotate` takes.
    backbone : registered name (`textlabel backbones`), local folder, or Hub id.
    seed : decides folds, and which rows of a large corpus are read.
    cache : look features up in the feature cache (`textlabel cache`), and keep them there.
    """

    out: str = field(default="")
    backbone: str = DEFAULT_BACKBONE
    seed: int = 0
    cache: bool = True

    def fit(self) -> tuple[Labeler, Voted]:
        """Return the fitted labeler, and the votes that it learned from."""
        from textlabel.engine.feature_cache import cache_folder
        from textlabel.engine.rule_head import fit_on_rules
        from textlabel.models.backbone import load_backbone
        from textlabel.report.record import complete_record

        voted = self.voted()
        known = np.flatnonzero(voted.gold >= 0)
        texts = voted.texts
        bundle = fit_on_rules(
            load_backbone(self.backbone),
            LabelSchema("single", voted.classes),
            list(voted.rows["text"]),
            voted.votes[: len(voted.rows)],
            ([texts[i] for i in known], voted.votes[known], voted.gold[known]),
            model=self.label_model,
            seed=self.seed,
            cache=cache_folder(self.cache),
        )
        bundle.record = complete_record(bundle)
        return Labeler.of_bundle(bundle), voted

    def run(self) -> Summary:
        """Write the model and return what there is to tell."""
        labeler, voted = self.fit()
        labeler.save(self.out)
        head = labeler.bundle.record["head"]
        return {
            "model": self.out,
            "gold": int((voted.gold >= 0).sum()),
            "rows_of_rules": head["rules"],
            "rules_count": f"{head['ratio']:g} times the gold rows",
            "calibrated": labeler.bundle.record["labels"]["calibration"] != 0,
            "label_models": judged(voted, (MAJORITY, self.label_model)),
        }
