"""How far apart two corpora are for a backbone: asked before labels of the one are trusted on the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from textlabel.errors import CorpusError, RecipeError
from textlabel.labeler import DEFAULT_BACKBONE, Labeler
from textlabel.trust.domain_shift import ROWS as MOST_ROWS
from textlabel.trust.domain_shift import DomainShift, domain_shift
from textlabel.types import LabelSchema

if TYPE_CHECKING:
    from textlabel.corpus.check import OnBadRow, Reject
    from textlabel.models.classifier import Classifier

#: rows of each corpus by default: the standard error of the distance is then at most 0.032
ROWS = 2000
#: with fewer rows of each corpus the standard error of a small distance is above 0.3 of 2
LEAST_ROWS = 20
SIDES = ("source", "target")


@dataclass(frozen=True)
class Gap:
    """Tell how far apart two corpora are, by how well a classifier tells their texts apart.

    Parameters
    ----------
    source : one corpus, such as the labeled rows: a csv, tsv, jsonl or parquet file, a folder or glob of
        them, a saved dataset, or a Hub dataset id.
    target : the other one, such as the rows to label.
    backbone : whose features the classifier sees: registered name (`textlabel backbones`), local folder, or
        Hub id; by default the one that `fit` takes by default.
    model : folder that `fit` wrote, or Hub id of a published one, instead of a backbone.
    text_column : column that holds the text, in both; several are joined.
    source_split, target_split : split of a Hub dataset or of a saved `DatasetDict`.
    source_config, target_config : configuration of a Hub dataset.
    on_bad_row : fail stops at the first unusable row of either, skip leaves such rows out.
    reject_file : with skip, JSON lines of the rows left out.
    max_rows : random rows of each that are looked at; more than 5,000 are never.
    seed : decides which rows, and folds.
    """

    source: str
    target: str
    backbone: str = ""
    model: str = ""
    text_column: tuple[str, ...] = ("text",)
    source_split: str = ""
    target_split: str = ""
    source_config: str = ""
    target_config: str = ""
    on_bad_row: str = "fail"
    reject_file: str = ""
    max_rows: int = ROWS
    seed: int = 0

    def run(self) -> dict[str, Any]:
        """Return the numbers and what they mean."""
        self._check()
        texts, classifier = self._samples(), self._classifier()
        found = self._between(classifier, *texts)
        return {
            "distance": found.distance,
            "standard_error": found.standard_error,
            "auc": found.auc,
            "verdict": found.verdict,
            "rows": dict(zip(SIDES, found.rows, strict=True)),
            **_vocabulary(classifier, texts),
            "features": self.model or self.backbone or DEFAULT_BACKBONE,
        }

    def shift(self) -> DomainShift:
        """Return the `DomainShift` of a sample of both corpora.

        Raises
        ------
        RecipeError : a backbone and a model, or fewer than 20 rows wanted.
        CorpusError : a corpus that cannot be read, or has fewer than 20 rows.
        """
        self._check()
        texts = self._samples()
        return self._between(self._classifier(), *texts)

    def _check(self) -> None:
        """Refuse what makes no sense before a row is read."""
        if self.backbone and self.model:
            raise RecipeError("backbone and model: both have features; give one of the two")
        if self.max_rows < LEAST_ROWS:
            raise RecipeError(f"max_rows = {self.max_rows}: expected {LEAST_ROWS} or more")

    def _between(self, classifier: Classifier, source: list[str], target: list[str]) -> DomainShift:
        from textlabel.corpus.dedup import groups

        features = _features(classifier, [*source, *target])
        n = len(source)
        return domain_shift(features[:n], features[n:], groups([*source, *target]), seed=self.seed)

    def _samples(self) -> tuple[list[str], list[str]]:
        """Return texts of each corpus, and tell the rows that were left out."""
        from textlabel.corpus.check import write_rejects

        source, bad = self._texts(self.source, self.source_split, self.source_config)
        target, more = self._texts(self.target, self.target_split, self.target_config)
        if self.reject_file and self.on_bad_row == "skip":
            write_rejects([*bad, *more], self.reject_file)
        return source, target

    def _texts(self, corpus: str, split: str, config: str) -> tuple[list[str], list[Reject]]:
        """Return a sample, of equal corpora the same, so that they are told to be equal; and bad rows."""
        from textlabel.corpus.load import load_with_rejects

        rows, rejects = load_with_rejects(
            corpus,
            text_column=self.text_column,
            id_column=False,  # two rows of one id are two texts
            split=split or None,
            config=config or None,
            on_bad_row=cast("OnBadRow", self.on_bad_row),  # checked there
        )
        texts: list[str] = rows["text"][:]
        if len(texts) < LEAST_ROWS:
            raise CorpusError(f"{corpus}: {len(texts)} rows; expected {LEAST_ROWS} or more to compare")
        order = np.random.default_rng(self.seed).permutation(len(texts))
        return [texts[i] for i in np.sort(order[: min(self.max_rows, MOST_ROWS)])], rejects

    def _classifier(self) -> Classifier:
        from textlabel.models.backbone import load_backbone
        from textlabel.models.classifier import Classifier

        if self.model:
            return Labeler.from_pretrained(self.model).bundle.classifier
        return Classifier(load_backbone(self.backbone or DEFAULT_BACKBONE), LabelSchema("score")).eval()


def _vocabulary(classifier: Classifier, texts: Sequence[Sequence[str]]) -> dict[str, dict[str, float]]:
    """Return what the tokenizer of a transformer makes of the texts of each corpus; else nothing."""
    if classifier.info.kind != "transformer":
        return {}
    from textlabel.models.vocabulary import vocabulary_gap

    found = dict(zip(SIDES, (vocabulary_gap(classifier.tokenizer, some) for some in texts), strict=True))
    return {
        "tokens_per_word": {side: round(one.tokens_per_word, 3) for side, one in found.items()},
        "unknown_tokens": {side: round(one.unknown, 4) for side, one in found.items()},
    }


def _features(classifier: Classifier, texts: Sequence[str]) -> npt.NDArray[np.float32]:
    from textlabel.engine.predict import predict
    from textlabel.progress import bar

    with bar("encode rows") as update:
        return predict(classifier, texts, progress=update)[1]
