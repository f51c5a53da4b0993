"""Runs inside each process of a launcher: a fit's first gradients, a whole fit, an annotation; as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from tiny import snippets

from textlabel import Labeler
from textlabel.engine import loop
from textlabel.engine.process import accelerator
from textlabel.recipe import Recipe


def main(backbone: str, out: str) -> None:
    rank, world = accelerator().process_index, accelerator().num_processes
    gradients: list[list[float]] = []
    add = loop.add_gradients

    def spy(player, loss):  # the summed gradient of each step, as every process is about to use it
        total = add(player, loss)
        if len(gradients) < 8:
            gradients.append(
                np.concatenate([p.grad.numpy().ravel() for p in player.parameters.values()]).tolist()
            )
        return total

    loop.add_gradients = spy
    stage = {"tune": "full", "objective": "cross_entropy", "epochs": 3, "batch_size": 8, "dropout": 0.0}
    stage |= {"learning_rate": 1e-3, "optimizer": "sgd"}
    labeler = Labeler(backbone, Recipe.from_dict({"name": "x", "stage": [stage]}), calibration="none")
    labeler.fit(
        snippets(45)
    )  # 45 rows: the last global batch has 5, three in one process and two in the other
    labels = labeler.annotate(snippets(101, seed=1))
    labeler.save(Path(out) / f"model-{world}")
    result = {
        "world": world,
        "gradients": gradients,
        "ids": labels["id"][:],
        "label": labels["label"][:],
        "confidence": labels["confidence"][:],
    }
    (Path(out) / f"{world}-{rank}.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
