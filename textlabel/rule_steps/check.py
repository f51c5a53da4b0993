"""The step that tells what each rule covers, and whether it is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from textlabel.labeler import DEFAULT_BACKBONE
from textlabel.rule_steps.votes import Voted, cast_votes, model_voter
from textlabel.rules.compare import MAJORITY, beside_majority, verdict
from textlabel.rules.files import read_rules
from textlabel.rules.table import rule_table
from textlabel.types import Summary


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
    voters : folders of saved models that vote beside the rules, such as `fit` wrote; none may have learned
        from the gold rows, or it is trusted too much.
    names_vote : whether the names of the classes vote, too (zero-shot).
    backbone : registered name (`textlabel backbones`), local folder, or Hub id; it reads texts where anything
        beside rules does.
    """

    rules: tuple[str, ...]
    on: Any
    gold: Any = ""
    label_model: str = "anchored"
    text_column: tuple[str, ...] = ("text",)
    label_column: str = "label"
    voters: tuple[str, ...] = ()
    names_vote: bool = False
    backbone: str = DEFAULT_BACKBONE

    def voted(self) -> Voted:
        """Return the votes."""
        rules = read_rules(*self.rules)
        return cast_votes(
            rules,
            self.on,
            None if isinstance(self.gold, str) and not self.gold else self.gold,
            {folder: model_voter(folder) for folder in self.voters},
            names_backbone=self.backbone if self.names_vote else "",
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
    labels = voted.gold[voted.gold >= 0]
    right = {
        name: round(float((voted.unseen(name).argmax(axis=1) == labels).mean()), 4)
        for name in dict.fromkeys(models)
    }
    plain = voted.unseen(MAJORITY)
    clever = [name for name in right if name != MAJORITY]
    said = [verdict(name, beside_majority(voted.unseen(name), plain, labels)) for name in clever]
    return {"gold": len(labels), "accuracy": right, "verdict": "; ".join(said)}
