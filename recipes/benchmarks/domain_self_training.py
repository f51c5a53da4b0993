"""What self-training of a head, alignment and weights of rows change on a domain that no label is of.

    python recipes/benchmarks/domain_self_training.py --data FOLDER [--train 300] [--balance 0 0.8]

Pairs, rows and draws are those of `domain_pairs.py`, those of two classes only. The contenders have a head on
the frozen backbone: on the source alone; with labels that spread among the target's texts; with self-training
of each kind, kept in any case, and kept where heads of halves of the labels agree on 90 % of the target
(`gate`), over the head that spread; with rows aligned; and with labeled rows weighed toward the target
(`--weigh-rows`; where that is refused, all rows count alike). "prior, true shares" is told the target's class
shares. With a balance the target is drawn so that this share of it is positive.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from _bench import arguments, hierarchical_interval, write
from domain_pairs import CORPORA, PAIRS, POLES, Domain, read

from textlabel.engine.adapt import adapt
from textlabel.engine.predict import predict
from textlabel.engine.run import Task
from textlabel.models.backbone import load_backbone
from textlabel.recipe import Recipe, Stage
from textlabel.types import LabelSchema

SPREAD = {"spread": [0.5, 0.0, 0.8]}
ALWAYS = {"least_agreement": 0.0}
#: options of the head, by contender
OPTIONS: dict[str, dict[str, Any]] = {
    "source alone": {},
    "spread": SPREAD,
    "balanced": {"self_train": "balanced", **ALWAYS},
    "prior, labeled shares": {"self_train": "prior", **ALWAYS},
    "prior, true shares": {"self_train": "prior", **ALWAYS},
    "uncertain": {"self_train": "uncertain", **ALWAYS},
    "spread, then prior, labeled shares, gate": {"self_train": "prior", **SPREAD},
    "coral": {"align": "coral"},
    "subspace": {"align": "subspace"},
    "density_ratio": {},
    "kmm": {},
}
#: contenders that weigh rows, each named as its way
WEIGHING = ("density_ratio", "kmm")


def one_fit(
    name: str, source: Domain, target: Domain, seed: int, chosen: argparse.Namespace, backbone: Any
) -> dict[str, Any]:
    """Return accuracy and mean confidence of a contender on the rows that are only scored."""
    options = dict(OPTIONS[name])
    if "true" in name:
        positive = float(np.mean(target.labels))
        options["class_shares"] = f"negative={1 - positive},positive={positive}"
    index = np.random.default_rng(seed).permutation(len(source.labels))
    index = index[: min(chosen.train, len(source.labels) * 4 // 5)]
    stage = Stage.of({"name": "head", **options}, "cross_entropy", "both" if options else "labeled")
    weigh = name if name in WEIGHING else "none"
    unlabeled = target.texts if options or name in WEIGHING else ()
    schema = LabelSchema("single", source.classes)
    task = Task([source.texts[i] for i in index], source.labels[index], schema, unlabeled)
    before = time.monotonic()
    bundle = adapt(backbone, task, Recipe(name, (stage,)), seed, cache=chosen.cache, weigh_rows=weigh)
    seconds = time.monotonic() - before
    assert bundle.calibrator is not None
    logits = predict(bundle.classifier, target.test, cache=chosen.cache)[0].astype(np.float64)
    p = bundle.calibrator.apply(logits)
    found: dict[str, Any] = {
        "accuracy": round(float(np.mean(p.argmax(axis=1) == target.test_labels)), 4),
        "confidence": round(float(p.max(axis=1).mean()), 4),
        "uncalibrated": round(float(np.mean(logits.argmax(axis=1) == target.test_labels)), 4),
        "seconds": round(seconds, 1),
    }
    if "row_weights" in bundle.record:
        found["weighed"] = bundle.record["row_weights"]["applied"]
    return found | (bundle.record["head"].get("self_training") or {})


def one_pair(unit: tuple[int, float, tuple[str, str]], chosen: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the scores of one draw of a pair, if there is one, in a process with one thread."""
    import torch

    torch.set_num_threads(1)
    seed, balance, pair = unit
    source, target = read(pair[0], chosen.data, 0), read(pair[1], chosen.data, balance)
    if source is None or target is None or target.classes != POLES:
        return []
    row: dict[str, Any] = {"source": pair[0], "target": pair[1], "balance": balance, "seed": seed}
    backbone = load_backbone(chosen.backbone)
    row["scores"] = {
        name: one_fit(name, source, target, seed, chosen, backbone) for name in chosen.contenders
    }
    print(row, flush=True)
    return [row]


def report(rows: list[dict[str, Any]], balance: float) -> list[dict[str, Any]]:
    """Return, and print, how far each contender is above the source alone: in all, by pair, and at worst."""
    found = []
    there = [row for row in rows if row["balance"] == balance]
    for name in there[0]["scores"] if there else ():
        gains: dict[str, list[float]] = defaultdict(list)
        for row in there:
            above = row["scores"][name]["accuracy"] - row["scores"]["source alone"]["accuracy"]
            gains[f"{row['source']} -> {row['target']}"].append(100 * above)
        mean, low, high = hierarchical_interval(gains)
        means = {pair: float(np.mean(gain)) for pair, gain in gains.items()}
        worst = min(means, key=means.__getitem__)
        found.append(
            {"balance": balance, "contender": name, "pairs": len(gains)}
            | {"accuracy": round(float(np.mean([row["scores"][name]["accuracy"] for row in there])), 4)}
            | {"gain": round(mean, 2), "low": round(low, 2), "high": round(high, 2)}
            | {"better": sum(gain > 0 for gain in means.values())}
            | {"worse": sum(gain < 0 for gain in means.values())}
            | {"worst": worst, "worst_gain": round(means[worst], 2)}
            | {"seconds": round(float(np.mean([row["scores"][name]["seconds"] for row in there])), 1)}
        )
        print(found[-1], flush=True)
    return found


def main() -> None:
    parser = arguments(__doc__ or "", seeds=1)
    parser.add_argument("--backbone", default="all-MiniLM-L6-v2")
    parser.add_argument("--train", type=int, default=300, help="labeled rows")
    parser.add_argument("--corpora", nargs="+", default=list(CORPORA), help="pairs of these only")
    parser.add_argument("--balance", type=float, nargs="+", default=[0, 0.8])
    parser.add_argument("--contenders", nargs="+", default=list(OPTIONS), choices=list(OPTIONS))
    parser.add_argument("--cache", type=Path, help="folder of features that are kept; left out: for this run")
    parser.add_argument("--jobs", type=int, default=1, help="pairs measured at a time, one thread each")
    chosen = parser.parse_args()
    if not chosen.data:
        raise SystemExit("no --data: nothing to measure")
    os.environ["TEXTLABEL_CACHE_GB"] = "8"
    pairs = [pair for pair in PAIRS if set(pair) <= set(chosen.corpora)]
    units = [(s, balance, pair) for s in range(chosen.seeds) for balance in chosen.balance for pair in pairs]
    rows: list[dict[str, Any]] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(chosen.jobs, get_context("spawn")) as pool,
    ):
        chosen.cache = chosen.cache or Path(folder)
        for part in pool.map(partial(one_pair, chosen=chosen), units):
            rows += part
            there = [balance for balance in chosen.balance if any(row["balance"] == balance for row in rows)]
            gains = [one for balance in there for one in report(rows, balance)]
            facts = {"backbone": chosen.backbone, "train": chosen.train, "gains": gains, "rows": rows}
            write(chosen.out, "domain_self_training", facts)


if __name__ == "__main__":
    main()
