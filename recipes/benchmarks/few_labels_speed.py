"""How long `auto` takes beside SetFit, from texts to a classifier, in turn in one run.

    python recipes/benchmarks/few_labels_speed.py --data FOLDER --python PYTHON [--sets NAME ...]

PYTHON has setfit 1.2. Both start with libraries and weights loaded, the same rows and as many threads;
nothing comes from a cache. With a corpus `auto` also reads texts that are to be labeled, which the feature
cache then spares the labeling.
"""

from __future__ import annotations

import time

import numpy as np
from _bench import arguments, public, write
from few_labels_peers import POOL, TEST, drawn, run

from textlabel.engine.adapt import adapt
from textlabel.engine.run import Task
from textlabel.models.backbone import load_backbone
from textlabel.recipe import Recipe
from textlabel.types import LabelSchema

SETS = ["voice_intents", "subjectivity", "news_topics"]


def main() -> None:
    parser = arguments(__doc__ or "", seeds=1)
    parser.add_argument("--python", required=True, help="interpreter that has setfit")
    parser.add_argument("--backbone", default="all-MiniLM-L6-v2")
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--per-class", type=int, default=8)
    parser.add_argument("--corpus", type=int, default=1000, help="unlabeled texts")
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    if not chosen.data:
        raise SystemExit("no --data: nothing to measure")
    import torch

    torch.set_num_threads(chosen.threads)
    backbone = load_backbone(chosen.backbone)
    chosen.folder = backbone.folder
    rows = []
    for split in (s for name in chosen.sets if (s := public(name, chosen.data, (POOL, TEST))) is not None):
        for seed in range(chosen.seeds):
            texts, labels = drawn(split, chosen.per_class, seed)
            found = {"set": split.name, "seed": seed, "labels": len(texts)}
            for name, corpus in (("auto", 0), ("auto+corpus", chosen.corpus)):
                schema = LabelSchema("single", split.classes)
                task = Task(texts, labels, schema, unlabeled=split.test[:corpus])
                start = time.perf_counter()
                adapt(backbone, task, Recipe.load("auto"), seed, budget=0)
                found[name] = round(time.perf_counter() - start, 2)
            found["setfit"] = run("setfit", split, chosen.per_class, seed, chosen)["seconds"]
            rows.append(found)
            print(found, flush=True)
    ratios = {
        name: float(np.median([r["setfit"] / r[name] for r in rows])) for name in ("auto", "auto+corpus")
    }
    print("times as fast as SetFit, medians:", {name: round(ratio, 1) for name, ratio in ratios.items()})
    write(chosen.out, "few_labels_speed", {"per_class": chosen.per_class, "ratios": ratios, "rows": rows})


if __name__ == "__main__":
    main()
