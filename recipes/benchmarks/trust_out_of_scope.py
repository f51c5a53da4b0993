"""How well texts off the map are told, and what the decision out_of_scope keeps of its promise: CLINC150.

    python recipes/benchmarks/trust_out_of_scope.py --data FOLDER [--backbones NAME ...]
    python recipes/benchmarks/trust_out_of_scope.py --speed        # a million made-up rows instead

The head recipe learns from the training rows of all intents; out-of-scope rows are seen by the final count
alone. Out-of-scope is the positive class: `fpr95` is the share of test rows in scope that score above
the threshold which finds 95 % of the others.

The promise on false alarms is for rows drawn like the labeled ones. `decision` is for CLINC's own test rows,
which are not: they lie further off than training rows held out. `redealt` mixes training and test rows, of
which some a class are labeled and all others are new, and so shows what cross-fitting alone does.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from _bench import _rows, arguments, draw, write

from textlabel.engine.checkpoint import NoCheckpoint
from textlabel.engine.predict import predict
from textlabel.engine.run import Run, Task
from textlabel.engine.scope import ScopePlan
from textlabel.models.backbone import load_backbone
from textlabel.models.catalog import entries
from textlabel.models.classifier import Classifier
from textlabel.recipe import Recipe
from textlabel.registry import plugins
from textlabel.trust.scope import DEFAULT_OFF_MAP, Map, Scope
from textlabel.types import LabelSchema

RATES = (0.01, 0.05)
PER_CLASS = (8, 32, 96)


@dataclass(frozen=True)
class Outputs:
    """Logits and features of some rows."""

    logits: np.ndarray
    features: np.ndarray


@dataclass(frozen=True)
class Pool:
    """All rows in scope and their features."""

    task: Task
    features: np.ndarray


def read(folder: Path) -> tuple[Task, list[str], np.ndarray, list[str]]:
    """Return the training task, test texts with their classes, and the out-of-scope test texts."""
    train, test = list(_rows(folder / "train.jsonl.gz")), list(_rows(folder / "test.jsonl.gz"))
    oos = [r["text"] for r in _rows(folder / "oos.jsonl.gz") if r["split"] == "test"]
    schema = LabelSchema("single", tuple(sorted({r["label"] for r in train})))

    def classes(rows: list[dict[str, Any]]) -> np.ndarray:
        return np.array([schema.index(r["label"]) for r in rows])

    task = Task([r["text"] for r in train], classes(train), schema)
    return task, [r["text"] for r in test], classes(test), oos


def detection(inside: np.ndarray, outside: np.ndarray) -> dict[str, float]:
    from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

    truth = np.repeat([0, 1], [len(inside), len(outside)])
    scores = np.concatenate([inside, outside])
    fpr, tpr, _ = roc_curve(truth, scores)
    return {
        "auroc": round(float(roc_auc_score(truth, scores)), 4),
        "aupr": round(float(average_precision_score(truth, scores)), 4),
        "fpr95": round(float(fpr[tpr >= 0.95].min()), 4),
    }


def decisions(scope: Scope, inside: np.ndarray, outside: np.ndarray) -> dict[str, Any]:
    """Return the share of rows called out of scope, in scope (false alarms) and out of it (found)."""
    return {
        str(rate): {
            "false_alarms": round(float(scope.out_of_scope(inside, rate).mean()), 4),
            "found": round(float(scope.out_of_scope(outside, rate).mean()), 4),
        }
        for rate in RATES
    }


def every_score(run: Run, classifier: Classifier, test: Outputs, oos: Outputs) -> dict[str, Any]:
    assert run.solved is not None
    everything, found = np.arange(len(run.task.targets)), {}
    for name in plugins("off_map"):
        plan = ScopePlan(name, keep_reference=True)
        in_scope = np.sort(plan.cross_fit(run, classifier, run.solved.out_of_fold).scores)
        scope = Scope(plan.map(run, classifier, everything), name, in_scope)
        inside, outside = (scope.score(rows.logits, rows.features) for rows in (test, oos))
        found[name] = detection(inside, outside) | {"decision": decisions(scope, inside, outside)}
    return found


def redealt(run: Run, classifier: Classifier, pool: Pool, oos: Outputs, seeds: int) -> dict[str, Any]:
    """Return false alarms and found rows by the default score at some labels a class, means over draws."""
    found: dict[str, Any] = {}
    plan = ScopePlan(DEFAULT_OFF_MAP)
    for per_class in PER_CLASS:
        each = []
        for seed in range(seeds):
            index = draw(pool.task.targets, per_class, seed)
            task = replace(pool.task, texts=pool.task.texts[index], targets=pool.task.targets[index])
            part = Run(run.backbone, task, run.recipe, seed, run.backend, run.checkpoint)
            part.base_features = pool.features[index]
            logits = np.zeros((len(index), task.schema.outputs))
            in_scope = np.sort(plan.cross_fit(part, classifier, logits).scores)
            scope = Scope(plan.map(part, classifier, np.arange(len(index))), plan.off_map, in_scope)
            new = scope.score(np.empty(0), np.delete(pool.features, index, axis=0))
            each.append(decisions(scope, new, scope.score(oos.logits, oos.features)))
        found[str(per_class)] = {
            rate: {key: round(float(np.mean([e[rate][key] for e in each])), 4) for key in each[0][rate]}
            for rate in each[0]
        }
    return found


def measure(name: str, folder: Path, seeds: int) -> dict[str, Any]:
    task, texts, classes, others = read(folder)
    run = Run(load_backbone(name), task, Recipe.load("head"), 0, "torch", NoCheckpoint())
    classifier = run.fit(np.arange(len(task.targets)), "final")
    test, oos = (Outputs(*predict(classifier, part)) for part in (texts, others))
    pool = Pool(
        replace(task, texts=np.array([*task.texts, *texts]), targets=np.concatenate([task.targets, classes])),
        np.concatenate([run.base_features, test.features]),
    )
    result = {
        "accuracy_in_scope": round(float(np.mean(test.logits.argmax(axis=1) == classes)), 4),
        "scores": every_score(run, classifier, test, oos),
        "redealt": redealt(run, classifier, pool, oos, seeds),
    }
    print(name, json.dumps(result))
    return result


def speed(rows: int = 1_000_000, width: int = 384, classes: int = 10, part: int = 20_000) -> dict[str, Any]:
    """Return seconds for scoring a stream of features by the default score, and for the decision."""
    rng = np.random.default_rng(0)
    labels = np.arange(part) % classes
    centers, scatter = rng.normal(size=(classes, width)), rng.normal(size=(width, width)) / np.sqrt(width)

    def features() -> np.ndarray:
        return (centers[labels] + rng.normal(size=(part, width)) @ scatter).astype(np.float32)

    known = Map.draw(features(), labels, classes)
    scope = Scope(known, DEFAULT_OFF_MAP, np.sort(known.score(DEFAULT_OFF_MAP, np.empty(0), features())))
    scores, seconds = [], np.zeros(2)
    for _ in range(rows // part):
        batch = features()
        start = np.array([time.perf_counter(), time.process_time()])
        scores.append(scope.score(np.empty(0), batch))
        seconds += np.array([time.perf_counter(), time.process_time()]) - start
    begin = time.perf_counter()
    flagged = scope.out_of_scope(np.concatenate(scores), RATES[0])
    return {
        "rows": rows,
        "width": width,
        "classes": classes,
        "score_seconds": round(float(seconds[0]), 2),
        "score_processor_seconds": round(float(seconds[1]), 2),
        "decision_seconds": round(time.perf_counter() - begin, 4),
        "false_alarms_at_1_percent": round(float(flagged.mean()), 4),
    }


def table(found: dict[str, Any]) -> str:
    lines = [
        "| backbone | accuracy in scope | score | AUROC | AUPR | FPR at 95 % |",
        "|---|---|---|---|---|---|",
    ]
    for backbone, result in found.items():
        for name, score in result["scores"].items():
            cells = f"{100 * score['auroc']:.1f} | {100 * score['aupr']:.1f} | {100 * score['fpr95']:.1f}"
            lines.append(f"| {backbone} | {100 * result['accuracy_in_scope']:.1f} | {name} | {cells} |")
    return "\n".join(lines)


def main() -> None:
    parser = arguments(__doc__ or "", seeds=5)
    parser.add_argument("--backbones", nargs="+", default=list(entries()))
    parser.add_argument("--speed", action="store_true")
    chosen = parser.parse_args()
    if chosen.speed:
        return write(chosen.out, "trust_out_of_scope_speed", speed())
    folder = None if chosen.data is None else Path(chosen.data) / "clinc150"
    if folder is None or not folder.is_dir():
        print("nothing measured: give --data FOLDER that holds clinc150/*.jsonl.gz")
        return None
    found = {name: measure(name, folder, chosen.seeds) for name in chosen.backbones}
    print(table(found))
    return write(chosen.out, "trust_out_of_scope", {"seeds": chosen.seeds, "backbones": found})


if __name__ == "__main__":
    main()
