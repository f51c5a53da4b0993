"""What a labeled row costs in a stage that reads two domains, against the same stage on labels alone.

    python recipes/benchmarks/domain_speed.py --data FOLDER [--rows 128] [--rounds 5]

Only the last stage of a recipe is timed, from the fitted head to the trained body: of `dann`, `cdan`, `mmd`,
`coral`, `mcc`, `adda` and `gan` against `lora` with their batch size, of `udalm` against `full` with its own.
Stages take turns, each once a round, so that a busy machine slows all of them alike; what is told is the
median over rounds of the ratio within a round. Seconds a row are of one thread.
"""

from __future__ import annotations

import copy
import os
import time
from dataclasses import replace
from typing import Any

os.environ["TEXTLABEL_CACHE_GB"] = "0"  # what is timed must be computed

import numpy as np
from _bench import arguments, write
from domain_pairs import read

from textlabel.engine.checkpoint import NoCheckpoint
from textlabel.engine.loop import train
from textlabel.engine.process import accelerator
from textlabel.engine.run import Run, Task
from textlabel.models.backbone import Backbone, load_backbone
from textlabel.protocols import Context, Rows
from textlabel.recipe import Recipe, Stage
from textlabel.types import LabelSchema

#: a recipe of two domains -> the recipe of labels alone that differs from it by the objective
AGAINST = {name: "lora" for name in ("dann", "cdan", "mmd", "coral", "mcc", "adda", "gan")} | {
    "udalm": "full"
}
PAIR = ("film_snippets", "product_sentences")


def last_stage(name: str, batch_size: int | None = None) -> Stage:
    """Return the last stage of a recipe, for one epoch, with another batch size if that is given."""
    stage = Recipe.load(name).stages[-1]
    size = batch_size or stage.training.batch_size
    return replace(stage, training=replace(stage.training, epochs=1, min_steps=0, batch_size=size))


def seconds(backbone: Backbone, task: Task, stage: Stage) -> float:
    """Return how long one epoch of a stage takes, from a fitted head."""
    run = Run(
        replace(backbone, body=copy.deepcopy(backbone.body)),
        task,
        Recipe.load("head"),
        0,
        "torch",
        NoCheckpoint(),
    )
    classifier = run.fit(np.arange(len(task.texts)), "final")
    rows = {"labeled": Rows(run.tokens, task.targets), "unlabeled": run.unlabeled}
    context = Context(rows, task.schema, classifier, accelerator().device)
    began = time.perf_counter()
    train(classifier, stage, context, 0)
    return time.perf_counter() - began


def main() -> None:
    import torch

    parser = arguments(__doc__ or "")
    parser.add_argument("--backbone", default="all-MiniLM-L6-v2")
    parser.add_argument("--rows", type=int, default=128, help="labeled rows, and as many texts of the target")
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    if not chosen.data:
        raise SystemExit("no --data: nothing to measure")
    torch.set_num_threads(1)
    source, target = (read(name, chosen.data, 0) for name in PAIR)
    if source is None or target is None:
        raise SystemExit("nothing to measure")
    schema = LabelSchema("single", source.classes)
    count = chosen.rows
    task = Task(source.texts[:count], source.labels[:count], schema, target.texts[:count])
    backbone = load_backbone(chosen.backbone)
    stages: dict[str, Stage] = {}
    for name, base in AGAINST.items():
        stages[name] = last_stage(name)
        stages[f"{base}, batches of {stages[name].training.batch_size}"] = last_stage(
            base, stages[name].training.batch_size
        )
    took: dict[str, list[float]] = {name: [] for name in stages}
    for number in range(chosen.rounds):
        for name, stage in stages.items():
            took[name].append(seconds(backbone, task, stage))
            print(number, name, round(took[name][-1], 2), flush=True)
    found: list[dict[str, Any]] = []
    for name, base in AGAINST.items():
        alone = f"{base}, batches of {stages[name].training.batch_size}"
        ratio = np.array(took[name]) / np.array(took[alone])
        found.append(
            {
                "recipe": name,
                "against": alone,
                "times": round(float(np.median(ratio)), 2),
                "from": round(float(ratio.min()), 2),
                "to": round(float(ratio.max()), 2),
                "ms_a_labeled_row": round(1000 * float(np.median(took[name])) / count, 1),
            }
        )
        print(found[-1], flush=True)
    facts = {"backbone": chosen.backbone, "pair": " -> ".join(PAIR), "rows": count, "rounds": chosen.rounds}
    write(chosen.out, "domain_speed", facts | {"stages": found, "seconds": took})


if __name__ == "__main__":
    main()
