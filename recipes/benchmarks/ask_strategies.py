"""Which rows it pays to ask: each strategy replayed on labeled sets, and how fast it proposes.

    python recipes/benchmarks/ask_strategies.py --data FOLDER [--seeds 5] [--budget 100] [--speed]

Of each set 1,000 rows may be asked and 500 others are scored; every replay begins without a label, asks ten
rows a round and fits the head on the frozen backbone anew. Told are the area under the curve (mean accuracy
from the first round to the budget), accuracy at 50 labels, and both against random and against margin
alone, paired by seed, with 95 % intervals over sets and seeds. `--speed` proposes 5,000 of 100,000 random
rows with 384 features instead.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from typing import Any

import numpy as np
from _bench import Split, arguments, hierarchical_interval, public, write

from textlabel import registry
from textlabel.ask import DEFAULT_STRATEGY, Pool, propose
from textlabel.corpus.dedup import groups
from textlabel.engine.predict import predict
from textlabel.engine.replay import replay
from textlabel.models.backbone import load_backbone
from textlabel.models.classifier import Classifier
from textlabel.types import LabelSchema

SETS = (
    "movie_snippets",
    "product_sentences",
    "subjectivity",
    "developer_sentiment",
    "sms_spam",
    "voice_intents",
    "arxiv_fields",
)
STRATEGIES = ("random", "margin", "entropy", "class_balanced_margin", "typiclust", DEFAULT_STRATEGY)
BASES = ("random", "margin")
AT = 50


def curves(split: Split, chosen: Any) -> list[dict[str, Any]]:
    """Return the replays of one set."""
    schema = LabelSchema("single", split.classes)
    classifier = Classifier(load_backbone(chosen.backbone), schema).eval()
    x, z = (predict(classifier, texts)[1].astype(np.float64) for texts in (split.pool, split.test))
    same, rows = groups(split.pool), []
    for seed in range(chosen.seeds):
        for name in chosen.strategies:
            began = time.perf_counter()
            found = replay(
                *(x, split.pool_labels, same, (z, split.test_labels), name),
                budget=chosen.budget,
                batch=10,
                seed=seed,
            )
            at = dict(zip(found.labeled, found.accuracy, strict=True))
            rows.append({"set": split.name, "seed": seed, "strategy": name, "area": round(found.area, 4)})
            rows[-1] |= {"at_50": round(at.get(AT, found.accuracy[-1]), 4), "accuracy": found.accuracy}
            print(rows[-1], round(time.perf_counter() - began, 1), flush=True)
    return rows


def report(rows: list[dict[str, Any]], names: list[str]) -> list[dict[str, Any]]:
    """Return, for each strategy, area and accuracy at 50 labels with paired differences."""
    told = []
    for name in names:
        mine = {(r["set"], r["seed"]): r for r in rows if r["strategy"] == name}
        one: dict[str, Any] = {"strategy": name}
        for key in ("area", "at_50"):
            by_set: dict[str, list[float]] = defaultdict(list)
            for (of, _), row in mine.items():
                by_set[of].append(row[key])
            one[key] = round(float(np.mean([np.mean(values) for values in by_set.values()])), 4)
            for base in BASES:
                theirs = {(r["set"], r["seed"]): r for r in rows if r["strategy"] == base}
                gains: dict[str, list[float]] = defaultdict(list)
                for (of, seed), row in mine.items():
                    gains[of].append(100 * (row[key] - theirs[of, seed][key]))
                mean, low, high = hierarchical_interval(gains)
                worst = min(gains, key=lambda of: float(np.mean(gains[of])))
                many = {of: v for of, v in gains.items() if len(v) > 1}
                errors = {of: float(np.std(v, ddof=1) / np.sqrt(len(v))) for of, v in many.items()}
                one[f"{key} above {base}"] = {
                    "points": round(mean, 2),
                    "low": round(low, 2),
                    "high": round(high, 2),
                    "worst": worst,
                    "worst_points": round(float(np.mean(gains[worst])), 2),
                    "worst_standard_error": round(errors.get(worst, float("nan")), 2),
                }
        told.append(one)
        print(one, flush=True)
    return told


def speed() -> list[dict[str, Any]]:
    """Return the seconds that each strategy takes for 5,000 of 100,000 rows, before and after 200 labels."""
    rng = np.random.default_rng(0)
    n, k = 100_000, 5
    x = rng.normal(size=(n, 384)).astype(np.float32)
    p = rng.dirichlet(np.ones(k), size=n)
    known, none = np.full(n, -1), np.full(n, -1)
    known[:200] = rng.integers(k, size=200)
    cold, warm = Pool(x, none, k), Pool(x, known, k, p, np.stack([p, p[::-1]]))
    told = []
    for name in registry.plugins("strategy"):
        seconds = []
        for pool in (cold, warm):
            began = time.perf_counter()
            propose(pool, 5000, name)
            seconds.append(round(time.perf_counter() - began, 2))
        told.append({"strategy": name, "seconds_cold": seconds[0], "seconds": seconds[1]})
        print(told[-1], flush=True)
    return told


def main() -> None:
    parser = arguments(__doc__ or "", seeds=5)
    parser.add_argument("--backbone", default="all-MiniLM-L6-v2")
    parser.add_argument("--budget", type=int, default=100)
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    parser.add_argument("--strategies", nargs="+", default=list(STRATEGIES))
    parser.add_argument("--speed", action="store_true")
    chosen = parser.parse_args()
    path = chosen.out / "ask_strategies.json"
    kept = json.loads(path.read_text()) if path.exists() else {}
    facts = {name: kept[name] for name in ("backbone", "budget", "told", "rows", "speed") if name in kept}
    if chosen.speed:
        write(chosen.out, "ask_strategies", facts | {"speed": speed()})
        return
    if not chosen.data:
        raise SystemExit("no --data: nothing to measure")
    rows: list[dict[str, Any]] = []
    for name in chosen.sets:
        split = public(name, chosen.data, (1000, 500))
        if split is None:
            continue
        rows += curves(split, chosen)
        told = report(rows, chosen.strategies)
        facts |= {"backbone": chosen.backbone, "budget": chosen.budget, "told": told, "rows": rows}
        write(chosen.out, "ask_strategies", facts)


if __name__ == "__main__":
    main()
