"""Rules that label texts: labeling functions vote or abstain, and label models weigh their votes. numpy only.

What a rule says of a text is a class or nothing. Votes are integers (n, m), a class number or `ABSTAIN`, of
n texts and m rules, whatever cast them: a rule here, or another model whose labels come as arrays from above.
"""

from __future__ import annotations

#: the vote of a rule that says nothing of a text
ABSTAIN = -1
