"""Whether models of folds that agree on another domain are the ones that adapting did good.

    python recipes/benchmarks/domain_agreement.py --data FOLDER [--keep]

`auto --budget` takes recipe `mcc` only where its models of three folds agree on texts of the target at least
as often, and as far beyond chance (kappa), as heads of the same folds on the frozen backbone do. Here both
are fitted on the folds of 300 labeled rows of a source and 800 texts of a target, on pairs as they are, with
20 % positive rows in the target, and made so that adapting may harm (`domain_deciding.py`). Told are the
agreement on these texts and the accuracy on rows that nothing has seen; the worst is that of a single model.
One draw, one thread; labels of the target are read by the score alone.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any

os.environ["TEXTLABEL_CACHE_GB"] = "0"

import numpy as np
from _bench import arguments, write
from domain_deciding import MADE, Unit
from domain_pairs import read
from domain_trained import PAIRS

from textlabel.engine.adapt import adapt
from textlabel.engine.auto import ELSEWHERE, FOLDS
from textlabel.engine.comparison import Agreement, agreement
from textlabel.engine.predict import predict
from textlabel.engine.run import Task
from textlabel.models.backbone import load_backbone
from textlabel.recipe import Recipe
from textlabel.types import LabelSchema

UNITS = (
    *(Unit(*pair, 0.0, "as they are") for pair in PAIRS),
    *(Unit(*pair, 0.2, "20% positive") for pair in PAIRS),
    *MADE,
)


def one_pair(unit: Unit, chosen: argparse.Namespace) -> dict[str, Any] | None:
    """Return agreement and accuracy of one pair, in a process with one thread."""
    import torch

    torch.set_num_threads(1)
    source, target = read(unit.source, chosen.data, 0), read(unit.target, chosen.data, unit.share)
    if source is None or target is None:
        return None
    truth = 1 - target.test_labels if unit.kind == "opposite classes" else target.test_labels
    rng = np.random.default_rng(unit.seed)
    index = rng.permutation(len(source.labels))[: chosen.train]
    texts = [target.texts[i] for i in rng.permutation(len(target.texts))[: chosen.texts]]
    fold = np.random.default_rng(7).permutation(len(index)) % FOLDS
    row: dict[str, Any] = {**unit._asdict(), "texts": len(texts), "test_rows": len(target.test)}
    for name in ("head", ELSEWHERE):
        began, said, right = time.perf_counter(), [], []
        for k in range(FOLDS):
            kept = index[fold != k]
            rows = [source.texts[i] for i in kept], source.labels[kept]
            task = Task(*rows, LabelSchema("single", source.classes), texts if name == ELSEWHERE else ())
            backbone = load_backbone(chosen.backbone)
            made = adapt(backbone, task, Recipe.load(name), unit.seed, calibration="none", budget=0.0)
            said.append(predict(made.classifier, texts)[0].argmax(axis=1))
            right.append(float(np.mean(predict(made.classifier, target.test)[0].argmax(axis=1) == truth)))
        row[name] = told(np.array(said), right, time.perf_counter() - began)
    print(row, flush=True)
    return row


def told(said: np.ndarray, right: list[float], seconds: float) -> dict[str, Any]:
    """Return what is kept of the models of one recipe."""
    found = {name: round(value, 4) for name, value in agreement(said)._asdict().items()}
    return {**found, "accuracy": [round(one, 4) for one in right], "seconds": round(seconds, 1)}


def report(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the gain of always adapting, and of adapting where models agree, over never, in points."""
    ours, theirs = (np.array([row[name]["accuracy"] for row in rows]) for name in (ELSEWHERE, "head"))
    gains = 100 * (ours - theirs)
    agreed = [[row[ELSEWHERE][name] >= row["head"][name] for name in Agreement._fields] for row in rows]
    taken = np.array(agreed).all(axis=1)
    decided = np.where(taken[:, None], gains, 0.0)
    found: dict[str, Any] = {"pairs": len(rows), "taken": int(taken.sum())}
    for name, gain in (("always", gains), ("where they agree", decided)):
        found[name] = {"gain": round(float(gain.mean()), 2), "worst": round(float(gain.min()), 2)}
    print(found, flush=True)
    return found


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--backbone", default="all-MiniLM-L6-v2")
    parser.add_argument("--train", type=int, default=300, help="labeled rows of the source")
    parser.add_argument("--texts", type=int, default=800, help="texts of the target that may be read")
    parser.add_argument("--jobs", type=int, default=1, help="pairs measured at a time, one thread each")
    parser.add_argument("--keep", action="store_true", help="measure what the result file lacks")
    chosen = parser.parse_args()
    if not chosen.data:
        raise SystemExit("no --data: nothing to measure")
    path = chosen.out / "domain_agreement.json"
    rows: list[dict[str, Any]] = (
        json.loads(path.read_text())["rows"] if chosen.keep and path.is_file() else []
    )
    known = {(row["source"], row["target"], row["share"], row["kind"]) for row in rows}
    units = [unit for unit in UNITS if (unit.source, unit.target, unit.share, unit.kind) not in known]
    with ProcessPoolExecutor(chosen.jobs, get_context("spawn")) as pool:
        for row in pool.map(partial(one_pair, chosen=chosen), units):
            rows += [] if row is None else [row]
            facts = {"backbone": chosen.backbone, "train": chosen.train, "decided": report(rows)}
            write(chosen.out, "domain_agreement", facts | {"rows": rows})


if __name__ == "__main__":
    main()
