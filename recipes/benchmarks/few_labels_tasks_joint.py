"""One backbone trained on two tasks at once against one that stays as it is, and one trained for each task.

    python recipes/benchmarks/few_labels_tasks_joint.py --data FOLDER [--seeds 3]

The reviews of `few_labels_tasks.py`: sentiment and product, 16 rows a class of each. "frozen" is
`MultiLabeler`; "joint" trains the body by recipe multi_task, 5 epochs, on the drawn rows and then fits
`MultiLabeler` on it, on the same rows, so its calibration error tells what confidence is worth that was
calibrated on rows which the body learned from; "lora" trains a body for each task by recipe lora, without
calibration. 200 rows of the test.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from _bench import arguments, write
from few_labels_tasks import BACKBONE, TOKENS, drawn, measured, reviews, timed

from textlabel import Labeler, MultiLabeler, Recipe, train_backbone

TASKS = ("sentiment", "product")
EPOCHS = 5


def longer(recipe: Recipe) -> Recipe:
    [stage] = recipe.stages
    return replace(recipe, stages=(replace(stage, training=replace(stage.training, epochs=EPOCHS)),))


def one_draw(train: list[dict[str, str]], test: list[dict[str, str]], seed: int) -> dict[str, Any]:
    told: dict[str, Any] = {}

    def together(backbone: str | Path, way: str, before: float = 0.0) -> None:
        labeler = MultiLabeler({t: t for t in TASKS}, backbone, cache=False, seed=seed, max_length=TOKENS)
        _, seconds = timed(lambda: labeler.fit(train))
        found = {task: measured(one) for task, one in labeler.evaluate(test).items()}
        told[way] = {**found, "fit_seconds": round(before + seconds, 1)}

    together(BACKBONE, "frozen")
    with tempfile.TemporaryDirectory() as folder:
        sources = {t: [{"text": row["text"], "label": row[t]} for row in train] for t in TASKS}
        recipe = longer(Recipe.load("multi_task"))
        _, seconds = timed(
            lambda: train_backbone(
                sources,
                out=Path(folder) / "body",
                backbone=BACKBONE,
                recipe=recipe,
                seed=seed,
                max_length=TOKENS,
            )
        )
        together(Path(folder) / "body", "joint", seconds)
    told["lora"], total = {}, 0.0
    for task in TASKS:
        labeler = Labeler(
            BACKBONE, "lora", cache=False, seed=seed, max_length=TOKENS, calibration="none", sets="lac"
        )
        total += timed(lambda labeler=labeler, task=task: labeler.fit(train, label_column=task))[1]
        texts = [{"id": str(i), "text": row["text"]} for i, row in enumerate(test)]
        gold = [{"id": str(i), "text": row["text"], "label": row[task]} for i, row in enumerate(test)]
        told["lora"][task] = measured(labeler.evaluate(labeler.annotate(texts), gold))
    told["lora"]["fit_seconds"] = round(total, 1)
    return told


def main() -> None:
    options = arguments(__doc__.splitlines()[0], seeds=3).parse_args()
    if options.data is None:
        raise SystemExit("this benchmark needs --data FOLDER with blitzer_amazon")
    pool, test = reviews(options.data)
    draws = []
    for seed in range(options.seeds):
        draws.append(one_draw(drawn(pool, TASKS, 8, seed), test[:200], seed))
        print(draws[-1], flush=True)
    mean = {
        way: {
            task: {
                name: round(float(np.mean([d[way][task][name] for d in draws])), 4)
                for name in ("accuracy", "ece")
            }
            for task in TASKS
        }
        for way in ("frozen", "joint", "lora")
    }
    result = {"backbone": BACKBONE, "tokens": TOKENS, "epochs": EPOCHS, "test_rows": 200, "mean": mean}
    write(options.out, "few_labels_tasks_joint", {**result, "draws": draws})


if __name__ == "__main__":
    main()
