"""Rules on a corpus: what they say of it, and a labeled corpus made of their votes."""

from textlabel.rule_steps.check import CheckRules, judged
from textlabel.rule_steps.fit import FitRules
from textlabel.rule_steps.fuse import FuseRules
from textlabel.rule_steps.label import LabelByRules, rows_by_rules
from textlabel.rule_steps.votes import Voted, cast_votes, model_voter, names_voter

__all__ = [
    "CheckRules",
    "FitRules",
    "FuseRules",
    "LabelByRules",
    "Voted",
    "cast_votes",
    "judged",
    "model_voter",
    "names_voter",
    "rows_by_rules",
]
