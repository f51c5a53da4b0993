"""Propose, answer, fit again, propose: rows of a corpus that it pays to label, round after round.

    DIR/loop.json         what was asked for at the start
    DIR/corpus/           the rows that may be asked, each text once
    DIR/labeled.jsonl     rows that were labeled before
    DIR/round-1.json      which rows were proposed, and why
    DIR/answers.jsonl     append-only: who answered what

None of this is ever rewritten, so a kill loses nothing: what was proposed or answered is on disk, and the
rest is computed again. Sheets (DIR/round-1.csv) are written again, but not over labels that were not taken
in. Rows of an audit are left out at the start, and audit sheets are refused.
"""

from textlabel.asking.loop import Loop
from textlabel.asking.start import Start

__all__ = ["Loop", "Start"]
