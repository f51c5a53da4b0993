"""A model of ours on text of another kind: what a certificate brings, beside thresholds and MAPIE.

    python recipes/benchmarks/trust_real_run.py [--audits 300] [--repeats 200]

The head recipe learns sentences of film reviews and labels sentences of product reviews (both come with
textlabel; no product label is learned from). Its labels are sealed once; then 300 rows are drawn and
checked, 200 times. All methods get the same draws. For each: rows accepted (%), wrong among the accepted (%),
wrong in the finished corpus (%, when people label the rest and the audited rows), and how often either is
more than was tolerated. Only `finish` promises the latter; `selective` and MAPIE promise the former; `fdr`
promises the former on average.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from _bench import arguments, write
from _certificates import told, tuned_on_audit

from textlabel.demo import NAMES, PRODUCTS, draw
from textlabel.labeler import DEFAULT_BACKBONE, Labeler
from textlabel.trust.calibration import softmax
from textlabel.trust.certificate import Audit, ranking, tolerated
from textlabel.trust.certificates import fdr, finish, selective

ALPHA = 0.05
#: MAPIE tries as thresholds the confidence at every 2.5 % of the rows, from this one of the 40 on
FROM = {"bonferroni_holm": 1, "fixed_sequence": 8}
COLUMNS = ("accepted", "wrong_among_accepted", "wrong_in_finished")
#: places of an audit, wrong (n,), confidence (n,), max_error -> rows accepted
Method = Callable[[np.ndarray, np.ndarray, np.ndarray, float], int]


def sealed(backbone: str, seed: int) -> dict[str, np.ndarray]:
    """Return what the model says of the product sentences that have an answer, in sealed order."""
    train, corpus, answers = draw(NAMES[2], films=2000, seed=seed)
    labeler = Labeler(backbone, "head", seed=seed).fit(train[: -2 * PRODUCTS])  # films only
    rows = [row for row in corpus if row["id"] in answers]
    logits = labeler.predict(rows).logits.astype(np.float64)
    calibrator = labeler.bundle.calibrator
    assert calibrator is not None
    raw, p = softmax(logits), calibrator.apply(logits)
    truth = np.array([answers[row["id"]] for row in rows])
    order = ranking(p.max(axis=1), seed=seed)
    return {
        "wrong": (p.argmax(axis=1) != truth)[order],
        "confidence": p.max(axis=1)[order],
        "raw": raw.max(axis=1)[order],
    }


def ours(module: Any) -> Method:
    def accept(places: np.ndarray, wrong: np.ndarray, confidence: np.ndarray, max_error: float) -> int:
        audit = Audit(len(wrong), places, wrong[places], None, 1 - confidence)
        return int(module.certify(audit, max_error, ALPHA).accepted)

    return accept


def mapie_controller(fwer: str) -> Method | None:
    """Return MAPIE's control of precision by a threshold on confidence; None where it is not installed."""
    try:
        from mapie.risk_control import BinaryClassificationController, precision
    except ImportError:
        print("skipped MAPIE: it is not installed")
        return None

    def accept(places: np.ndarray, wrong: np.ndarray, confidence: np.ndarray, max_error: float) -> int:
        sizes = np.ceil(len(wrong) * np.arange(FROM[fwer], 41) / 40).astype(int)
        controller = BinaryClassificationController(
            lambda x: np.column_stack([1 - x, x]),
            precision,
            target_level=1 - max_error,
            confidence_level=1 - ALPHA,
            list_predict_params=confidence[sizes - 1],
            fwer_method=fwer,
        )
        with warnings.catch_warnings():  # "no threshold controls the risk" is an answer here
            warnings.simplefilter("ignore", UserWarning)
            controller.calibrate(confidence[places], (~wrong[places]).astype(int))
        best = controller.best_predict_param
        return 0 if best is None else int(np.sum(confidence >= best))

    return accept


def scored(
    method: Method, audits: list[np.ndarray], wrong: np.ndarray, confidence: np.ndarray, max_error: float
) -> dict[str, Any]:
    n = len(wrong)
    accepted = np.array([method(places, wrong, confidence, max_error) for places in audits])
    total = np.append(0, np.cumsum(wrong))[accepted]
    left = total - np.array([np.sum(wrong[p[p < a]]) for p, a in zip(audits, accepted, strict=True)])
    allowed = np.array([tolerated(max_error, int(a)) for a in accepted])
    return {
        "accepted_percent": told(100 * accepted / n, 2),
        "wrong_among_accepted_percent": told(100 * total / np.maximum(accepted, 1), 2),
        "wrong_in_finished_percent": told(100 * left / n, 2),
        "too_many_among_accepted": round(float(np.mean(total > allowed)), 4),
        "too_many_in_finished": round(float(np.mean(left > tolerated(max_error, n))), 4),
        "nothing_accepted": round(float(np.mean(accepted == 0)), 4),
    }


def show(title: str, found: dict[str, dict[str, Any]]) -> None:
    """Print a method a line."""
    print(f"\n{title}\n\n| method | accepted % | wrong among them % | too many | wrong in all % | too many |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, cell in found.items():
        accepted, among, left = (cell[f"{key}_percent"]["mean"] for key in COLUMNS)
        more, more_left = cell["too_many_among_accepted"], cell["too_many_in_finished"]
        print(f"| {name} | {accepted:.1f} | {among:.1f} | {more:.3f} | {left:.1f} | {more_left:.3f} |")


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--audits", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--backbone", default=DEFAULT_BACKBONE)
    chosen = parser.parse_args()
    model = sealed(chosen.backbone, seed=0)
    wrong, confidence, raw = model["wrong"], model["confidence"], model["raw"]
    n = len(wrong)
    audits = [
        np.random.default_rng(seed).choice(n, chosen.audits, replace=False) for seed in range(chosen.repeats)
    ]
    methods: dict[str, Method | None] = {
        "finish": ours(finish),
        "selective": ours(selective),
        "fdr": ours(fdr),
        "threshold_on_raw_softmax": lambda p, w, c, e: int(np.sum(raw >= 1 - e)),
        "threshold_on_calibrated": lambda p, w, c, e: int(np.sum(c >= 1 - e)),
        "tuned_on_the_audit": lambda p, w, c, e: tuned_on_audit(n, p, w, e, ALPHA),
        "mapie_bonferroni_holm": mapie_controller("bonferroni_holm"),
        "mapie_fixed_sequence": mapie_controller("fixed_sequence"),
    }
    results: dict[str, dict[str, Any]] = {}
    for max_error in (0.05, 0.1):
        found = {
            name: scored(method, audits, wrong, confidence, max_error)
            for name, method in methods.items()
            if method is not None
        }
        results[f"e={max_error}"] = found
        show(f"e = {max_error}: {n} rows, {100 * wrong.mean():.1f} % wrong", found)
    write(
        chosen.out,
        "trust_real_run",
        {
            "backbone": chosen.backbone,
            "rows": n,
            "wrong": round(float(wrong.mean()), 4),
            "expected_wrong": round(float(1 - confidence.mean()), 4),
            "audited": chosen.audits,
            "repeats": chosen.repeats,
            "alpha": ALPHA,
            "methods": results,
        },
    )


if __name__ == "__main__":
    main()
