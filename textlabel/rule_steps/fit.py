"""The step that fits a model on what rules say."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from textlabel.labeler import Labeler
from textlabel.rule_steps.check import CheckRules, judged
from textlabel.rule_steps.votes import Voted
from textlabel.rules.compare import MAJORITY
from textlabel.types import LabelSchema, Summary


@dataclass(frozen=True)
class FitRules(CheckRules):
    """Fit a model on what rules say of a corpus, and on gold rows beside.

    Parameters
    ----------
    out : folder for the model, which `annotate` takes.
    seed : decides folds, and which rows of a large corpus are read.
    cache : look features up in the feature cache (`textlabel cache`), and keep them there.
    """

    out: str = field(default="")
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
