"""How fast the head recipe trains, beside the same head through transformers.Trainer.

    python recipes/benchmarks/head_speed.py [--rounds 5] [--backbone NAME]

Two classes x 64 short snippets from the bundled product reviews, after loading. The peer is
transformers.Trainer with the backbone frozen (and recomputed every epoch), mean or first-token pooling
and a linear head, 3 epochs and batch 8 (its defaults), AdamW at 1e-3 and 1e-2 (both reported). Rounds are
interleaved; every contender gets the same rows, and the test rows are seen by neither.
"""

from __future__ import annotations

import tempfile
import time
from typing import Any

import numpy as np
from _bench import Split, arguments, bundled, draw, write

from textlabel.labeler import DEFAULT_BACKBONE
from textlabel.models.backbone import Backbone, load_backbone
from textlabel.models.classifier import Classifier
from textlabel.types import LabelSchema


def ours(backbone: Backbone, texts: list[str], labels: np.ndarray, test: Split) -> tuple[float, float]:
    from textlabel.engine.adapt import adapt
    from textlabel.engine.predict import predict
    from textlabel.engine.run import Task
    from textlabel.recipe import Recipe

    start = time.perf_counter()
    task = Task(texts, labels, LabelSchema("single", test.classes))
    bundle = adapt(backbone, task, Recipe.load("head"), seed=0)
    seconds = time.perf_counter() - start
    logits, _ = predict(bundle.classifier, test.test)
    return seconds, float(np.mean(logits.argmax(axis=1) == test.test_labels))


def frozen_model(classifier: Classifier) -> Any:
    """Return a classifier as Trainer takes it, with only the head to train."""
    import torch

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = classifier
            self.inner.body.requires_grad_(False)

        def forward(self, input_ids: Any, attention_mask: Any, labels: Any = None) -> dict[str, Any]:
            logits = self.inner(input_ids, attention_mask).logits
            loss = None if labels is None else torch.nn.functional.cross_entropy(logits, labels)
            return {"loss": loss, "logits": logits}

    return Model()


def trainer(
    backbone: Backbone, texts: list[str], labels: np.ndarray, test: Split, rate: float
) -> tuple[float, float]:
    from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

    def rows(some: list[str], y: np.ndarray) -> list[dict[str, Any]]:
        return [
            {"input_ids": ids, "labels": int(label)}
            for ids, label in zip(backbone.encode(some), y, strict=True)
        ]

    model = frozen_model(Classifier(backbone, LabelSchema("single", test.classes)))
    with tempfile.TemporaryDirectory() as folder:
        options = TrainingArguments(
            folder,
            num_train_epochs=3,
            per_device_train_batch_size=8,
            per_device_eval_batch_size=32,
            learning_rate=rate,
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            seed=0,
        )
        runner = Trainer(model, options, data_collator=DataCollatorWithPadding(backbone.tokenizer))
        start = time.perf_counter()
        runner.train_dataset = rows(texts, labels)
        runner.train()
        seconds = time.perf_counter() - start
        predicted = runner.predict(rows(test.test, test.test_labels)).predictions
    return seconds, float(np.mean(predicted.argmax(axis=1) == test.test_labels))


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--backbone", default=DEFAULT_BACKBONE)
    chosen = parser.parse_args()
    split = bundled("product", cap=(2000, 300))
    backbone = load_backbone(chosen.backbone)
    contenders = {
        "textlabel": lambda x, y: ours(backbone, x, y, split),
        "trainer_1e-3": lambda x, y: trainer(backbone, x, y, split, 1e-3),
        "trainer_1e-2": lambda x, y: trainer(backbone, x, y, split, 1e-2),
    }
    found: dict[str, dict[str, list[float]]] = {name: {"seconds": [], "accuracy": []} for name in contenders}
    for seed in range(-1, chosen.rounds):  # the first round warms up and is not counted
        index = draw(split.pool_labels, 64, seed + 1)
        texts, labels = [split.pool[i] for i in index], split.pool_labels[index]
        for name in np.random.default_rng(seed + 1).permutation(list(contenders)):
            seconds, accuracy = contenders[str(name)](texts, labels)
            if seed >= 0:
                found[str(name)]["seconds"].append(round(seconds, 3))
                found[str(name)]["accuracy"].append(round(accuracy, 4))
                print(seed, name, round(seconds, 2), round(accuracy, 3), flush=True)
    medians = {name: float(np.median(r["seconds"])) for name, r in found.items()}
    ratios = {name: round(s / medians["textlabel"], 1) for name, s in medians.items()}
    print("median seconds", medians, "ratio to textlabel", ratios)
    print("mean accuracy", {name: round(float(np.mean(r["accuracy"])), 3) for name, r in found.items()})
    write(
        chosen.out,
        "head_speed",
        {"backbone": chosen.backbone, "rows": 128, "median_ratio": ratios, "rounds": found},
    )


if __name__ == "__main__":
    main()
