"""Certificates beside what others publish: rows saved, rows accepted, promises broken, on real labels.

    python recipes/benchmarks/trust_certificates.py --data FOLDER [--audits 1000]

Human labels, an LLM's labels and its stated confidence (`pac_llm_labels`: stance, misinfo). Each audit
breaks ties anew, then draws; all methods see that order and those draws. Methods for draws with replacement
get m such draws, the distinct rows of which are the first of the rows that the others get ("same rows" goes
on drawing until m distinct rows are seen, which is more draws than published).

Finish: ``saved`` is the share of rows (%) that people need not label: accepted and not audited. A promise is
broken when more than floor(max_error * n) labels of the finished corpus are wrong. Selective: ``accepted`` is
the share of rows (%) accepted, broken when more than floor(max_error * accepted) of these are wrong, audited
ones counted. The rule for shares in `selective` was chosen on stance and made-up curves; misinfo was not
looked at.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from _bench import _rows, arguments, write
from _certificates import (
    clopper_pearson,
    exact_allowed,
    exact_brute_force,
    ltt_bonferroni,
    ltt_sequence,
    pac_labels,
    sgr,
    told,
    tuned_on_audit,
)

from textlabel.trust.certificate import Audit, ranking, tolerated
from textlabel.trust.certificates import fdr, finish, selective

ALPHA = 0.05


class Corpus:
    """A file of labels by people and by a model."""

    def __init__(self, path: Path) -> None:
        rows = list(_rows(path))
        self.wrong = np.array([row["label"] != row["noisy_label"] for row in rows])
        self.confidence = np.array([row["confidence"] for row in rows])
        self.n = len(rows)

    def audits(self, m: int, count: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
        """Yield wrong and confidence in sealed order, m distinct places, and draws with replacement."""
        for seed in range(count):
            order = ranking(self.confidence, seed=seed)
            rng = np.random.default_rng([seed, m])
            repeated = rng.integers(0, self.n, 3 * m + 50)
            _, first = np.unique(repeated, return_index=True)
            end = np.sort(first)[m - 1] + 1
            places = repeated[np.sort(first)[:m]]  # first appearances are a uniform draw without replacement
            yield self.wrong[order], self.confidence[order], places, repeated[:end]


def finishing(corpus: Corpus, m: int, max_error: float, count: int) -> dict[str, Any]:
    n, k = corpus.n, tolerated(max_error, corpus.n)
    brute = exact_allowed(n, m, str(max_error), str(ALPHA))
    saved: dict[str, list[float]] = {}
    broken: dict[str, list[bool]] = {}
    equal = 0
    for wrong, _, places, repeated in corpus.audits(m, count):
        ours = finish.certify(Audit(n, places, wrong[places]), max_error, ALPHA).accepted
        equal += ours == exact_brute_force(n, places, wrong, brute)
        found = {
            "textlabel": (ours, places),
            "pac_labels": (pac_labels(n, repeated[:m], wrong, max_error, ALPHA), repeated[:m]),
            "pac_labels_same_rows": (pac_labels(n, repeated, wrong, max_error, ALPHA), repeated),
            "clopper_pearson": (clopper_pearson(n, repeated[:m], wrong, max_error, ALPHA), repeated[:m]),
        }
        for name, (accepted, audited) in found.items():
            rest = np.ones(accepted, bool)
            rest[audited[audited < accepted]] = False
            saved.setdefault(name, []).append(100 * rest.sum() / n)
            broken.setdefault(name, []).append(bool(np.sum(wrong[:accepted] & rest) > k))
    bound = finish.tail(n, m, k, brute) if brute >= 0 else 0.0
    violations = float(np.mean(broken["textlabel"]))
    return {
        "saved": {name: told(np.array(values)) for name, values in saved.items()},
        "violations": {name: round(float(np.mean(values)), 4) for name, values in broken.items()},
        "theoretical_tail": round(bound, 4),
        "violations_within_tail_and_3_se": violations <= bound + 3 * math.sqrt(bound * (1 - bound) / count),
        "minus_pac_labels": told(np.subtract(saved["textlabel"], saved["pac_labels"])),
        "minus_pac_labels_same_rows": told(np.subtract(saved["textlabel"], saved["pac_labels_same_rows"])),
        "equal_to_brute_force": f"{equal} of {count}",
    }


def selecting(corpus: Corpus, m: int, max_error: float, delta: float, count: int) -> dict[str, Any]:
    n = corpus.n
    share: dict[str, list[float]] = {}
    broken: dict[str, list[bool]] = {}
    for wrong, confidence, places, _ in corpus.audits(m, count):
        audit = Audit(n, places, wrong[places], None, 1 - confidence)
        found = {
            "textlabel": selective.certify(audit, max_error, delta).accepted,
            "textlabel_without_confidence": selective.certify(
                Audit(n, places, wrong[places]), max_error, delta
            ).accepted,
            "sgr": sgr(n, places, wrong, max_error, delta),
            "ltt_bonferroni": ltt_bonferroni(n, places, wrong, max_error, delta),
            "ltt_fixed_sequence": ltt_sequence(n, places, wrong, max_error, delta),
            "fdr_on_average_only": fdr.certify(audit, max_error, delta).accepted,
            "tuned_on_audit_no_promise": tuned_on_audit(n, places, wrong, max_error, delta),
            "confidence_threshold_no_promise": int(np.sum(confidence >= 1 - max_error - 1e-12)),
        }
        for name, accepted in found.items():
            share.setdefault(name, []).append(100 * accepted / n)
            broken.setdefault(name, []).append(bool(wrong[:accepted].sum() > tolerated(max_error, accepted)))
    return {
        "accepted": {name: told(np.array(values)) for name, values in share.items()},
        "violations": {name: round(float(np.mean(values)), 4) for name, values in broken.items()},
        **{f"minus_{peer}": told(np.subtract(share["textlabel"], share[peer]))
           for peer in ("sgr", "ltt_bonferroni", "ltt_fixed_sequence")},
    }  # fmt: skip


def table(title: str, cells: dict[str, dict[str, Any]], value: str) -> None:
    """Print a cell a line: mean (promises broken) of each method."""
    names = list(next(iter(cells.values()))[value])
    print(f"\n{title}\n\n| cell | {' | '.join(names)} |\n|---|{'---:|' * len(names)}")
    for cell, found in cells.items():
        shown = [f"{found[value][name]['mean']:.1f} ({found['violations'][name]:.3f})" for name in names]
        print(f"| {cell} | {' | '.join(shown)} |")


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--audits", type=int, default=1000)
    chosen = parser.parse_args()
    folder = chosen.data and chosen.data / "pac_llm_labels"
    if not folder or not folder.is_dir():
        print("skipped: needs --data FOLDER with pac_llm_labels/{stance,misinfo}.jsonl.gz")
        return
    finished: dict[str, dict[str, Any]] = {}
    selected: dict[str, dict[str, Any]] = {}
    about = {}
    for name in ("stance", "misinfo"):
        corpus = Corpus(folder / f"{name}.jsonl.gz")
        about[name] = {"rows": corpus.n, "wrong": round(float(corpus.wrong.mean()), 4)}
        for m in (100, 300, 500):
            for max_error in (0.05, 0.1):
                cell = finishing(corpus, m, max_error, chosen.audits)
                finished[f"{name} e={max_error} m={m}"] = cell
            for max_error in (0.1, 0.2):
                for delta in (0.1, 0.05):
                    cell = selecting(corpus, m, max_error, delta, chosen.audits)
                    selected[f"{name} e={max_error} d={delta} m={m}"] = cell
            print(name, m, "done", flush=True)
    table("Finish, alpha = 0.05: rows saved, % (promises broken)", finished, "saved")
    for cell, found in finished.items():
        print(cell, {key: value for key, value in found.items() if key not in ("saved", "violations")})
    table("Selective: rows accepted, % (promises broken)", selected, "accepted")
    write(
        chosen.out,
        "trust_certificates",
        {
            "audits": chosen.audits,
            "alpha": ALPHA,
            "corpora": about,
            "finish": finished,
            "selective": selected,
        },
    )


if __name__ == "__main__":
    main()
