"""What recipes that train the backbone on two domains gain on texts of the other, and what they cost.

    python recipes/benchmarks/domain_trained.py --data FOLDER [--balance 0.8 | --made]

Each is fitted on labeled rows of a source, most of them also on texts of a target, and labels rows of the
target that nothing has seen. Beside them stand the head on the frozen backbone, with the source's rows alone
and as `auto` with the target's texts, and LoRA on the source's rows alone, which the two-domain recipes are
timed against: their second stage is the same but for the objective. `shot` and `tent` go on from that head
with the target's texts alone. One thread; the labels of the target are read by the score only, and, with a
balance other than 0, by the draw of its rows, of which this share is then positive. `--made` takes the pairs
of `domain_deciding.py` on which adapting may well harm.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any

os.environ["TEXTLABEL_CACHE_GB"] = "0"  # what is timed must be computed

import numpy as np
from _bench import arguments, hierarchical_interval, write
from domain_deciding import MADE, Unit
from domain_pairs import read

from textlabel.engine.adapt import adapt
from textlabel.engine.predict import predict
from textlabel.engine.run import Task
from textlabel.engine.source_free import adapt_to_texts
from textlabel.models.backbone import load_backbone
from textlabel.recipe import Recipe
from textlabel.types import LabelSchema

#: pairs of short texts, far apart and near
PAIRS = (
    ("imdb", "phones"),
    ("film_snippets", "product_sentences"),
    ("pros_cons", "product_sentences"),
    ("film_snippets", "developers"),
)
SOURCE = ("head", "lora")
BOTH = ("auto", "dann", "cdan", "mmd", "coral", "mcc", "adda", "tapt", "udalm")
ONWARD = ("shot", "tent")
#: second stages that differ from that of `lora` by the objective alone
TIMED = ("dann", "cdan", "mmd", "coral", "mcc", "adda")


def one_draw(unit: Unit, known: dict[str, Any], chosen: argparse.Namespace) -> dict[str, Any] | None:
    """Return the scores of one draw of a pair, in a process with one thread; ``known`` ones are kept."""
    import torch

    torch.set_num_threads(1)
    seed = unit.seed
    source, target = read(unit.source, chosen.data, 0), read(unit.target, chosen.data, unit.share)
    if source is None or target is None:
        return None
    truth = 1 - target.test_labels if unit.kind == "opposite classes" else target.test_labels
    rng = np.random.default_rng(seed)
    index = rng.permutation(len(source.labels))[: chosen.train]
    theirs, labels = [source.texts[i] for i in index], source.labels[index]
    texts = [target.texts[i] for i in rng.permutation(len(target.texts))[: chosen.texts]]
    schema = LabelSchema("single", source.classes)
    row: dict[str, Any] = {**unit._asdict(), "labels": len(theirs)}
    row |= {"texts": len(texts), "test_rows": len(target.test), "scores": known}

    def score(name: str, bundle: Any, began: float) -> None:
        seconds = time.perf_counter() - began
        logits = predict(bundle.classifier, target.test)[0]
        right = float(np.mean(logits.argmax(axis=1) == truth))
        row["scores"][name] = {"accuracy": round(right, 4), "seconds": round(seconds, 1)}
        print(*unit, name, row["scores"][name], flush=True)

    def fitted(name: str) -> Any:
        task = Task(theirs, labels, schema, texts if name in BOTH else ())
        backbone = load_backbone(chosen.backbone)  # a trained body is no start for the next
        return adapt(backbone, task, Recipe.load(name), seed, calibration=_how(name), budget=0.0)

    for name in chosen.recipes:
        if name in known:
            continue
        start = fitted("head") if name in ONWARD else None
        began = time.perf_counter()
        found = adapt_to_texts(start, texts, Recipe.load(name), seed) if start else fitted(name)
        score(name, found, began)
    return row


def _how(name: str) -> str:
    """Only labels are scored, so nothing is calibrated; `auto` judges by its folds as ever."""
    return "auto" if name == "auto" else "none"


def report(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return, and print, how far each recipe is above the head and above LoRA on the source, and its cost."""
    found = []
    for name in (*SOURCE, *BOTH, *ONWARD):
        there = [row for row in rows if {name, *SOURCE} <= row["scores"].keys()]
        if not there:
            continue
        one: dict[str, Any] = {"recipe": name, "draws": len(there)}
        one["accuracy"] = round(float(np.mean([row["scores"][name]["accuracy"] for row in there])), 4)
        for base in SOURCE:
            gains: dict[str, list[float]] = defaultdict(list)
            for row in there:
                above = row["scores"][name]["accuracy"] - row["scores"][base]["accuracy"]
                gains[f"{row['source']} -> {row['target']} ({row['kind']})"].append(100 * above)
            mean, low, high = hierarchical_interval(gains)
            worst = min(gains, key=lambda pair: float(np.mean(gains[pair])))
            told = {"gain": round(mean, 2), "low": round(low, 2), "high": round(high, 2), "worst": worst}
            one[f"above {base}"] = told | {"worst_gain": round(float(np.mean(gains[worst])), 2)}
        cost = [row["scores"][name]["seconds"] / row["scores"]["lora"]["seconds"] for row in there]
        if name in TIMED:
            one["times lora"] = [round(f(cost), 2) for f in (np.median, np.min, np.max)]
        found.append(one)
        print(one, flush=True)
    return found


def main() -> None:
    parser = arguments(__doc__ or "", seeds=2)
    parser.add_argument("--backbone", default="all-MiniLM-L6-v2")
    parser.add_argument("--train", type=int, default=300, help="labeled rows of the source")
    parser.add_argument("--texts", type=int, default=800, help="texts of the target that may be read")
    parser.add_argument("--balance", type=float, default=0.0, help="share of positive rows of the target")
    parser.add_argument("--made", action="store_true", help="take pairs on which adapting may well harm")
    parser.add_argument("--recipes", nargs="+", default=[*SOURCE, *BOTH, *ONWARD], help="these only")
    parser.add_argument("--jobs", type=int, default=1, help="draws measured at a time, one thread each")
    parser.add_argument("--keep", action="store_true", help="measure what the result file lacks")
    chosen = parser.parse_args()
    if not chosen.data:
        raise SystemExit("no --data: nothing to measure")
    end = "_made" if chosen.made else f"_{chosen.balance:g}" if chosen.balance else ""
    name = f"domain_trained{end}"
    path = chosen.out / f"{name}.json"
    kept = json.loads(path.read_text())["rows"] if chosen.keep and path.is_file() else []
    known = {(row["seed"], row["source"], row["target"], row["kind"]): row["scores"] for row in kept}
    kind = f"{chosen.balance:.0%} positive" if chosen.balance else "as they are"
    pairs = MADE if chosen.made else [Unit(*pair, chosen.balance, kind) for pair in PAIRS]
    units = [unit._replace(seed=seed) for seed in range(chosen.seeds) for unit in pairs]
    rows: list[dict[str, Any]] = []
    with ProcessPoolExecutor(chosen.jobs, get_context("spawn")) as pool:
        scores = [known.get((unit.seed, unit.source, unit.target, unit.kind), {}) for unit in units]
        for row in pool.map(partial(one_draw, chosen=chosen), units, scores):
            if row is None:
                continue
            rows.append(row)  # written as they come: all of them take hours
            facts = {"backbone": chosen.backbone, "train": chosen.train, "recipes": report(rows)}
            write(chosen.out, name, facts | {"rows": rows})


if __name__ == "__main__":
    main()
