"""The step that labels a corpus by rules alone, and the rows that it writes."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from textlabel import __version__, registry
from textlabel.rule_steps.check import CheckRules, judged
from textlabel.rule_steps.votes import Voted
from textlabel.rules.compare import MAJORITY
from textlabel.types import COLUMNS, IntArray, LabelSchema, Summary

if TYPE_CHECKING:
    from datasets import Dataset

    from textlabel.rules.fusion import Fusion, Sources


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
        from textlabel.rules.fusion import fuse

        voted = self.voted()
        sources, labels = self.sources(voted), voted.gold[voted.gold >= 0]
        found = fuse(sources.names, sources.unseen, labels)
        rows = rows_by_rules(voted, found.apply(sources.said))
        registry.load("export", self.format).write(rows, Path(self.out), self._record(voted, rows, found))
        return {
            "annotations": self.out,
            "rows": len(rows),
            "covered": int((voted.votes[: len(rows)] >= 0).any(axis=1).sum()),
            "confidence": found.told,
            **self.compared(sources, found, labels),
            "label_models": judged(voted, (MAJORITY, self.label_model)),
        }

    def sources(self, voted: Voted) -> Sources:
        """Return what the label model says of the corpus and, without their own labels, of gold rows."""
        from textlabel.rules.fusion import Sources

        k, n = len(voted.classes), len(voted.rows)
        model = registry.load("label_model", self.label_model)
        said = model.fit_predict(voted.votes, k, voted.gold).probabilities
        unseen = said[:0]
        if voted.judged:
            unseen = voted.unseen(self.label_model)
        return Sources((self.label_model,), unseen[None], said[None, :n])

    def compared(self, sources: Sources, found: Fusion, labels: IntArray) -> Summary:
        """Return what there is to tell of several sources; of one there is nothing."""
        return {}

    def _record(self, voted: Voted, rows: Dataset, found: Fusion) -> Summary:
        from textlabel.audit.seal import seal
        from textlabel.report.record import FORMAT, versions

        gold = int((voted.gold >= 0).sum())
        factors = dict(zip(found.names, found.factors.round(4).tolist(), strict=True))
        return {
            "format": FORMAT,
            "textlabel": __version__,
            "created": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
            # rules stand where a model's backbone would
            "backbone": {"name": "rules", "sha256": digest(self.rules), "source": "rules", "license": None},
            "recipe": {"name": "rules", "files": list(self.rules), "label_model": self.label_model},
            "seed": 0,
            "calibrator": {"name": "log_linear_pool" if found.calibrated else "none"},
            "pool": factors,
            "certificate": None,
            "evaluation": None,
            "schema": LabelSchema("single", voted.classes).to_json(),
            "labels": {"train": gold, "calibration": gold if found.calibrated else 0, "audit": 0},
            "confidence": found.told,
            "versions": versions(),
            "seal": seal(rows),
        }


def rows_by_rules(voted: Voted, probabilities: npt.NDArray[np.float64]) -> Dataset:
    """Return the corpus with the columns of annotated rows; ``source`` is "rule", or "human" on gold rows.

    All rows that people did not label are for review: what rules say is not certified by gold alone.
    """
    from datasets import ClassLabel, Dataset, Features, List, Value, concatenate_datasets

    from textlabel.engine.annotate import carry

    n, gold = len(voted.rows), voted.given
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
