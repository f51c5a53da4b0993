"""Runs inside each process of a launcher: a fit's first gradients, a whole fit, an annotation; as JSON."""

from __future__ import annotations

import json
import sys
import time
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from tiny import snippets

from textlabel import Labeler, registry
from textlabel.engine import auto, loop
from textlabel.engine.process import accelerator
from textlabel.models.backbone import load_backbone
from textlabel.models.classifier import Classifier
from textlabel.protocols import Context, Rows
from textlabel.recipe import Recipe, Stage
from textlabel.types import LabelSchema


def train_on_pairs(backbone: str) -> None:
    """An objective whose rows must meet each other: see tests/unit/engine/toys.py."""
    spec = spec_from_file_location("toys", Path(__file__).parents[1] / "unit/engine/toys.py")
    toys = module_from_spec(spec)
    sys.modules["toys"] = toys
    spec.loader.exec_module(toys)
    toys.Objective = toys.Pairs
    real = registry.load
    registry.load = lambda kind, name: toys if name == "toy" else real(kind, name)
    schema = LabelSchema("single", ("negative", "positive"))
    model = Classifier(load_backbone(backbone), schema)
    data = snippets(30)
    tokens = model.tokenizer([row["text"] for row in data])["input_ids"]
    rows = Rows(tokens, np.array([schema.index(row["label"]) for row in data]))
    plan = Stage.of(
        "full",
        "toy",
        epochs=1,
        batch_size=8,
        dropout=0.0,
        optimizer="sgd",
        learning_rate=1e-3,
        mixed_precision="no",
    )
    loop.train(model, plan, Context({"labeled": rows}, schema, model, accelerator().device), seed=0)
    registry.load = real


def choose(backbone: str, rank: int) -> dict[str, object]:
    """`auto`, while the clock of the second process says that there is no time for anything."""
    real = time.monotonic
    auto.time = SimpleNamespace(monotonic=lambda: real() * (1 + 1e6 * rank))
    recipe = Recipe.from_dict({**Recipe.load("auto").to_dict(), "alternatives": ["partial"]})
    labeler = Labeler(backbone, recipe, budget=600)
    labeler.fit(snippets(45), [{"text": row["text"]} for row in snippets(40, seed=2)])
    auto.time = time
    told = ("name", "layers", "accuracy", "learned_from", "verdict")
    tried = [[trial[key] for key in told] for trial in labeler.record()["tried"]]
    return {"tried": tried, "chosen": labeler.annotate(snippets(60, seed=1))["label"][:]}


def join(backbone: str, out: str) -> dict[str, object]:
    """A head on two backbones, one of them without a feature cache, and their labels again from the cache."""
    labeler = Labeler(f"{backbone}+{out}/table", cache=Path(out) / "features").fit(snippets(45))
    found = [labeler.predict(snippets(101, seed=1)) for _ in range(2)]
    assert found[1].from_cache is not None
    told = {"from_cache": int(found[1].from_cache.sum()), "again": found[1].logits.tolist()}
    return {"joined": found[0].logits.tolist(), **told}


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
    stage |= {"learning_rate": 1e-3, "optimizer": "sgd", "mixed_precision": "no"}
    labeler = Labeler(backbone, Recipe.from_dict({"name": "x", "stage": [stage]}), calibration="none")
    labeler.fit(
        snippets(45)
    )  # 45 rows: the last global batch has 5, three in one process and two in the other
    first = list(gradients)
    gradients.clear()
    train_on_pairs(backbone)
    pairs = list(gradients)
    gradients.clear()
    top = stage | {
        "tune": {"name": "partial", "layers": 1}
    }  # the layer below is run once, each process a share
    Labeler(backbone, Recipe.from_dict({"name": "y", "stage": [top]}), calibration="none").fit(snippets(45))
    frozen = list(gradients)
    labels = labeler.annotate(snippets(101, seed=1))
    labeler.save(Path(out) / f"model-{world}")
    result = {
        "world": world,
        "gradients": first,
        "pairs": pairs,
        "frozen": frozen,
        "ids": labels["id"][:],
        "label": labels["label"][:],
        "confidence": labels["confidence"][:],
        **join(backbone, out),
        **choose(backbone, rank),
    }
    (Path(out) / f"{world}-{rank}.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
