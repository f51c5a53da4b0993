"""Certificate ``fdr``: the share of wrong labels among accepted rows is small *on average* over draws.

Promise. Over draws of the audit, the expected share of wrong labels among the accepted rows that were not
audited (0 where none is accepted) is at most ``max_error``. This is an average: in any single corpus the
share may be larger, and with a few hundred audited rows it often is; ``alpha`` plays no part. Assumed: labels
and order were fixed before the draw, which is uniform without replacement.

Rule. A row that was not audited and has ``b`` audited errors before it in the order has the conformal p-value
``(1 + b) / (m + 1)``; Benjamini-Hochberg at level ``max_error`` accepts a prefix (Jin and Candès 2023, arXiv
2210.01408; Gui, Jin, Ren 2024, arXiv 2405.10301). Ties were broken once, in the sealed order.

Proof. Among the first ``j`` errors of the order let ``B`` be audited and ``U`` not. Go up from the last row
in scope: given how many are audited, which ones is uniform, so ``U / (1 + B)`` is a supermartingale, and
where it starts its mean is at most ``(n - m) / (m + 1)`` (sum the hypergeometric terms). The rule stops at
the first prefix with ``(1 + B) / (m + 1) <= max_error * R / (n - m)`` for its ``R`` rows that were not
audited, which only what lies behind it decides. There ``U / R <= max_error * (m + 1) / (n - m) * U / (1 +
B)``: on average at most ``max_error``. Where the scope ends plays no part.

Unanswered rows count as errors. Here that is *not* always conservative: the share of wrong labels is not
monotone in what is accepted. It is where having no answer is a property of the row ("nobody could tell"):
then "wrong or without answer" is a property of rows like "wrong", its expected share is at most
``max_error``, and the wrong ones are a part of it. It is not where people stopped half way. So callers refuse
a sheet with rows that nobody looked at, and count rows marked unsure.
"""

from __future__ import annotations

import numpy as np

from textlabel.trust.certificate import Audit, Outcome, check_levels, tolerated

NAME = "fdr"
SPENDS = "max_error"
PROMISE = (
    "On average over draws of the audit, at most {percent} of the accepted rows bear a wrong label. In this "
    "one corpus the share can be larger, and often is: the promise is about the average only."
)


def certify(audit: Audit, max_error: float, alpha: float) -> Outcome:
    """Return how many of the surest rows are accepted; see this module's promise. ``alpha`` is not used.

    Examples
    --------
    >>> import numpy as np
    >>> ranks = np.arange(0, 1000, 5)
    >>> certify(Audit(1000, ranks, ranks >= 700), max_error=0.05, alpha=0.05).accepted
    730
    """
    check_levels(max_error, alpha)
    limit = audit.n if audit.in_scope is None else audit.in_scope
    ends = np.minimum(np.append(audit.errors, audit.n), limit)  # the prefix that ends before error b + 1
    inside = ends - np.searchsorted(np.sort(audit.ranks), ends)  # its rows that were not audited
    p = (1 + np.arange(len(ends))) / (audit.m + 1)
    rejected = np.flatnonzero((p <= max_error * inside / max(audit.n - audit.m, 1)) & (inside > 0))
    if not len(rejected):
        return Outcome(0, 0, 0.0, "too few audited rows, or too many of the surest rows may be wrong")
    accepted = int(ends[rejected[-1]])
    return Outcome(accepted, tolerated(max_error, accepted), max_error)
