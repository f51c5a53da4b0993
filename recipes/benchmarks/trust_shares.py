"""Class shares and mean scores of a corpus: ours beside the audit alone and ppi_py, at the same draws.

    python recipes/benchmarks/trust_shares.py --data FOLDER [--seeds 1000]

GPT-4o labels with people's labels for every row (pac_llm_labels: stance, misinformation, sentiment and its
score). The people's labels of all rows are the truth; ``--seeds`` audits of 50, 100 and 300 rows are drawn
from them. At 95 %:

- ``ours``: `textlabel.trust.shares`, normal where errors are enough, else exact;
- ``audit_normal``: mean of the audited answers, normal, with the finite-population correction;
- ``audit_exact``: the same, by inversion of the hypergeometric test;
- ``ppi_py``: ``ppi_mean_ci`` with power tuning, the rows that were not audited as unlabeled data. It is about
  the source of the corpus, so it has no finite-population correction.

When errors are enough for a normal interval was settled on made-up counts, after a look at 20 of these draws.

Interval coverage is the fraction of draws whose interval holds the truth; ``width_ratio`` the mean width of
ours over that of the other.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _bench import _rows, arguments, write

from textlabel.trust.exact import at_least, at_most
from textlabel.trust.shares import mean_score, shares

ALPHA = 0.05
AUDITS = (50, 100, 300)
Interval = tuple[float, float]


def load(data: Path, name: str) -> list[dict[str, Any]]:
    path = data / "pac_llm_labels" / f"{name}.jsonl.gz"
    if not path.is_file():
        print(f"skipped {name}: no {path}")
        return []
    return list(_rows(path))


def audit_normal(y: np.ndarray, n: int) -> Interval:
    from scipy.stats import norm

    reach = norm.ppf(1 - ALPHA / 2) * y.std(ddof=1) * np.sqrt((1 - len(y) / n) / len(y))
    return float(y.mean() - reach), float(y.mean() + reach)


def audit_exact(y: np.ndarray, n: int) -> Interval:
    low, high = (limit(n, len(y), int(y.sum()), ALPHA / 2).item() / n for limit in (at_least, at_most))
    return low, high


def ppi(y: np.ndarray, f: np.ndarray, drawn: np.ndarray) -> Interval:
    import ppi_py

    low, high = ppi_py.ppi_mean_ci(y, f[drawn], f[~drawn], alpha=ALPHA)
    return float(low[0]), float(high[0])


def classes(predicted: np.ndarray, truth: np.ndarray, k: int, rows: np.ndarray) -> list[dict[str, Any]]:
    """Return for each class the interval of every method from one audit."""
    n, drawn = len(truth), np.isin(np.arange(len(truth)), rows)
    rows, found = np.flatnonzero(drawn), []
    for c, share in enumerate(shares(predicted, truth[rows], rows, k, alpha=ALPHA)):
        y, f = (truth[rows] == c).astype(float), (predicted == c).astype(float)
        found.append(
            {
                "ours": (share.low, share.high),
                "audit_normal": audit_normal(y, n),
                "audit_exact": audit_exact(y, n),
                "ppi_py": ppi(y, f, drawn),
                "method": share.method,
            }
        )
    return found


def score(predicted: np.ndarray, truth: np.ndarray, rows: np.ndarray) -> list[dict[str, Any]]:
    n, drawn = len(truth), np.isin(np.arange(len(truth)), rows)
    rows = np.flatnonzero(drawn)
    ours = mean_score(predicted, truth[rows], rows, bounds=(0, 1), alpha=ALPHA)[0]
    return [
        {
            "ours": (ours.low, ours.high),
            "audit_normal": audit_normal(truth[rows], n),
            "ppi_py": ppi(truth[rows], predicted, drawn),
            "method": ours.method,
        }
    ]


def summary(found: list[dict[str, Any]], truth: float) -> dict[str, Any]:
    def of(name: str) -> tuple[float, float]:
        low, high = np.array([one[name] for one in found]).T
        return float(np.mean((low <= truth) & (truth <= high))), float(np.mean(high - low))

    methods = {name: of(name) for name in found[0] if name != "method"}
    used = [one["method"] for one in found]
    return {
        "truth": round(truth, 4),
        "interval_coverage": {name: round(c, 3) for name, (c, _) in methods.items()},
        "mean_width": {name: round(w, 4) for name, (_, w) in methods.items()},
        "width_ratio": {name: round(methods["ours"][1] / w, 3) for name, (_, w) in methods.items()},
        "ours_used": {name: round(used.count(name) / len(used), 3) for name in sorted(set(used))},
    }


def measure(
    n: int, m: int, repeats: int, once: Callable[[np.ndarray], list[dict[str, Any]]], truths: dict[str, float]
) -> dict[str, Any]:
    draws = [once(np.random.default_rng(seed).choice(n, m, replace=False)) for seed in range(repeats)]
    columns = zip(truths.items(), zip(*draws, strict=True), strict=True)
    return {name: summary(list(found), truth) for (name, truth), found in columns}


def main() -> None:
    chosen = arguments(__doc__ or "", seeds=1000).parse_args()
    if chosen.data is None:
        print("skipped: no --data with pac_llm_labels")
        return
    results: dict[str, Any] = {}
    for name in ("stance", "misinfo", "sentiment"):
        if not (rows := load(chosen.data, name)):
            continue
        names = sorted({r["label"] for r in rows})
        truth, predicted = (np.array([names.index(r[key]) for r in rows]) for key in ("label", "noisy_label"))
        true_shares = {label: float(np.mean(truth == c)) for c, label in enumerate(names)}
        once = partial(classes, predicted, truth, len(names))
        for m in AUDITS:
            found = measure(len(rows), m, chosen.seeds, once, true_shares)
            if "score" in rows[0]:
                y, f = (np.array([float(r[key]) for r in rows]) for key in ("score", "noisy_score"))
                means = {"mean score": float(y.mean())}
                found |= measure(len(rows), m, chosen.seeds, partial(score, f, y), means)
            results[f"{name}, {m} audits"] = found
            for label, one in found.items():
                print(
                    name, m, label, one["interval_coverage"], one["width_ratio"], one["ours_used"], flush=True
                )
    if results:
        write(chosen.out, "trust_shares", {"alpha": ALPHA, "draws": chosen.seeds, "results": results})


if __name__ == "__main__":
    main()
