"""Which given labels are likely wrong: a list for a person to look through before anything is learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from textlabel.labeler import DEFAULT_BACKBONE
from textlabel.trust.label_errors import LabelErrors
from textlabel.types import IntArray, LabelSchema

if TYPE_CHECKING:
    from datasets import Dataset

    from textlabel.corpus.check import OnBadRow

#: of the list
COLUMNS = ("id", "text", "label", "suggested_label", "self_confidence")


@dataclass(frozen=True)
class CheckLabels:
    """List the rows whose label is likely wrong.

    Parameters
    ----------
    train : labeled rows: a csv, tsv, jsonl or parquet file, a folder or glob of them, a saved dataset, or a
        Hub dataset id.
    out : file for the list, .csv or .jsonl, the most suspicious row first; none is replaced.
    backbone : whose features the heads see: registered name (`textlabel backbones`), local folder, or Hub id.
    text_column : column that holds the text; several are joined.
    label_column : column that holds the label.
    id_column : column that names the row; by default `id` if there is one, else its position.
    seed : decides folds.
    cache : look features up in the feature cache (`textlabel cache`), and keep them there.
    on_bad_row : fail stops at the first unusable row, skip leaves such rows out.
    reject_file : with skip, JSON lines of the rows left out.
    """

    train: str
    out: str
    backbone: str = DEFAULT_BACKBONE
    text_column: tuple[str, ...] = ("text",)
    label_column: str = "label"
    id_column: str = ""
    seed: int = 0
    cache: bool = True
    on_bad_row: str = "fail"
    reject_file: str = ""

    def run(self) -> dict[str, Any]:
        """Write the list and return what there is to tell.

        ``heads_agree`` is the share of given labels that heads which did not train on the row give, too.
        Where heads are poor, ``wrong_share`` is little but what is missing there.

        Raises
        ------
        RecipeError : cleanlab is not installed.
        ExportError : the list cannot be written there.
        CorpusError : rows that cannot be used, or one class only.
        """
        from textlabel.audit.draws import check_sheet, write_sheet
        from textlabel.engine.task import targets
        from textlabel.trust.label_errors import require_cleanlab

        require_cleanlab("check-labels")
        check_sheet(Path(self.out))
        rows, schema = self._rows()
        labels, names = targets(rows, schema), schema.names
        errors = self.errors(rows["text"][:], labels, schema)
        listed = [
            {
                **{column: rows[i][column] for column in ("id", "text", "label")},
                "suggested_label": names[errors.likely[i]],
                "self_confidence": round(float(errors.self_confidence[i]), 4),
            }
            for i in errors.ranked().tolist()
        ]
        write_sheet(Path(self.out), listed, COLUMNS)
        return {
            "rows": len(rows),
            "likely_wrong": len(listed),
            "heads_agree": round(float(np.mean(errors.likely == labels)), 4),
            "wrong_share": round(errors.wrong_share, 4),
            "confusion": _confusion(errors, names),
            "out": self.out,
        }

    def errors(self, texts: Sequence[str], labels: IntArray, schema: LabelSchema) -> LabelErrors:
        """Return what confident learning says of the labels (n,) of texts."""
        from textlabel.corpus.dedup import groups
        from textlabel.engine.feature_cache import cache_folder
        from textlabel.engine.noise import out_of_fold_probabilities
        from textlabel.engine.predict import predict
        from textlabel.models.backbone import load_backbone
        from textlabel.models.classifier import Classifier
        from textlabel.progress import bar
        from textlabel.trust.label_errors import find_label_errors

        classifier = Classifier(load_backbone(self.backbone), schema).eval()
        with bar("encode rows") as update:
            features = predict(classifier, texts, cache=cache_folder(self.cache), progress=update)[1]
        wide, same = features.astype(np.float64), groups(texts)
        found = out_of_fold_probabilities(wide, labels, same, schema.outputs, self.seed)
        return find_label_errors(labels, found)

    def _rows(self) -> tuple[Dataset, LabelSchema]:
        """Return the rows and their classes."""
        from textlabel.corpus.check import infer_schema, write_rejects
        from textlabel.corpus.load import load_with_rejects

        rows, rejects = load_with_rejects(
            self.train,
            text_column=self.text_column,
            label_column=self.label_column,
            label_kind="single",
            id_column=self.id_column or None,
            on_bad_row=cast("OnBadRow", self.on_bad_row),  # checked there
        )
        if self.reject_file and self.on_bad_row == "skip":
            write_rejects(rejects, self.reject_file)
        return rows, infer_schema(rows, "single")


def _confusion(errors: LabelErrors, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return the pairs of given and likely class, with the estimated share of all rows, the largest first."""
    off = errors.joint * (1 - np.eye(len(names)))
    pairs = np.argwhere(off > 0)
    order = np.argsort(-off[tuple(pairs.T)], kind="stable")
    return [
        {"given": names[i], "likely": names[j], "share": round(float(off[i, j]), 4)}
        for i, j in pairs[order].tolist()
    ]
