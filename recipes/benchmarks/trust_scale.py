"""What the trust half costs for a million rows of ten classes: seconds and peak memory of each step.

    OMP_NUM_THREADS=2 python recipes/benchmarks/trust_scale.py [--rows 1000000] [--only shares]

Made-up rows from a seed. Every step runs in a process of its own; seconds are those of the step, after its
imports and the making of its input; the peak memory is that of the whole process, input included.

- ``calibrate``: choose a calibrator by cross-fitting, fit it, apply it to all rows;
- ``certify``: rank all rows, then finish, selective and FDR mode from 500 audited rows;
- ``shares``: of all classes, whole and in ten slices, from 500 audited rows;
- ``out_of_scope``: the decision from stored scores;
- ``relative_mahalanobis``: the scores themselves, over 384 features a row, in blocks of 50,000 rows.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from _bench import arguments, write

CLASSES, AUDITED, FEATURES, BLOCK = 10, 500, 384, 50_000
TARGETS = {"calibrate": 5, "certify": 5, "shares": 5, "out_of_scope": 5, "relative_mahalanobis": 20}


def labels(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return logits (n, 10), the predicted and the true class (n,); three labels in ten are wrong or so."""
    from textlabel.trust.calibration import softmax

    rng = np.random.default_rng(0)
    logits = (3 * rng.normal(size=(n, CLASSES))).astype(np.float32)
    truth = (softmax(logits / 1.7).cumsum(axis=1) > rng.random(n)[:, None]).argmax(axis=1)
    return logits, logits.argmax(axis=1), truth


def calibrate(n: int) -> Callable[[], object]:
    from textlabel.trust.choice import choose

    logits, _, truth = labels(n)
    choose(logits[:2000], truth[:2000])  # imports
    return lambda: choose(logits, truth).calibrator.apply(logits)


def certify(n: int) -> Callable[[], object]:
    from textlabel.trust.calibration import softmax
    from textlabel.trust.certificate import Audit, ranking
    from textlabel.trust.certificates import fdr, finish, selective

    logits, predicted, truth = labels(n)
    confidence = softmax(logits).max(axis=1)
    drawn = np.random.default_rng(1).choice(n, AUDITED, replace=False)

    def step() -> object:
        order = ranking(confidence, seed=0)
        place = np.empty(n, dtype=np.int64)
        place[order] = np.arange(n)
        audit = Audit(n, place[drawn], predicted[drawn] != truth[drawn], expected_error=1 - confidence[order])
        return [mode.certify(audit, 0.1, 0.05) for mode in (finish, selective, fdr)]

    finish.errors_allowed(1000, 100, 50, 0.05)  # imports
    return step


def class_shares(n: int) -> Callable[[], object]:
    from textlabel.trust.shares import shares

    _, predicted, truth = labels(n)
    drawn = np.random.default_rng(1).choice(n, AUDITED, replace=False)
    by = np.random.default_rng(2).integers(0, 10, n)
    shares(predicted[:1000], truth[:9], np.arange(9), CLASSES)  # imports
    return lambda: [shares(predicted, truth[drawn], drawn, CLASSES, by=cut) for cut in (None, by)]


def _scope() -> tuple[Any, np.ndarray]:
    from textlabel.trust.scope import Map, Scope

    rng = np.random.default_rng(3)
    features = rng.normal(size=(5_000, FEATURES)).astype(np.float32)
    classes = rng.integers(0, CLASSES, len(features))
    known = Map.draw(features, classes, CLASSES)
    name = "relative_mahalanobis"
    return Scope(known, name, known.score(name, np.zeros((5_000, CLASSES)), features)), features


def out_of_scope(n: int) -> Callable[[], object]:
    scope, _ = _scope()
    scores = np.random.default_rng(4).normal(size=n).astype(np.float32)
    return lambda: scope.out_of_scope(scores, rate=0.05)


def relative_mahalanobis(n: int) -> Callable[[], object]:
    scope, _ = _scope()
    block = np.random.default_rng(5).normal(size=(min(n, BLOCK), FEATURES)).astype(np.float32)
    logits = np.zeros((len(block), CLASSES), dtype=np.float32)

    def step() -> object:
        starts = range(0, n, len(block))
        return [scope.score(logits[: n - i], block[: n - i]) for i in starts]

    return step


STEPS: dict[str, Callable[[int], Callable[[], object]]] = {
    "calibrate": calibrate,
    "certify": certify,
    "shares": class_shares,
    "out_of_scope": out_of_scope,
    "relative_mahalanobis": relative_mahalanobis,
}


def timed(name: str, n: int) -> dict[str, float]:
    step = STEPS[name](n)
    start = time.perf_counter()
    step()
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {"seconds": round(seconds, 2), "peak_gb": round(peak / 1e9, 2)}


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--only", choices=list(STEPS), help="run one step in this process, and print it")
    chosen = parser.parse_args()
    if chosen.only:
        print(json.dumps(timed(chosen.only, chosen.rows)))
        return
    found = {}
    for name in STEPS:
        command = [sys.executable, __file__, "--only", name, "--rows", str(chosen.rows)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found[name] = {**json.loads(done.stdout.splitlines()[-1]), "target_seconds": TARGETS[name]}
        print(name, found[name], flush=True)
    write(chosen.out, "trust_scale", {"rows": chosen.rows, "classes": CLASSES, "steps": found})


if __name__ == "__main__":
    main()
