"""How fast recipes train, beside transformers.Trainer with peft on the same rows.

    python recipes/benchmarks/fit_speed.py --data FOLDER [--rounds 1] [--epochs 3] [--rows 512]

Real sentiment texts of mixed lengths: book and film reviews, snippets, long film reviews. Every contender has
the same rows and epochs in a round, in shuffled order, each time in a process of its own that is warm, and is
timed with tokenization but without loading. Training loss (mean over all rows, after training) and
accuracy on rows that none has seen come from the same run. CPU seconds are reported beside seconds: where the
machine has other work, they say more.

Peers: Trainer with its defaults (batch 8, padded to the longest row of a batch) and peft's LoRA defaults (r =
8 on query and value), at a rate that suits LoRA; the same with rows grouped by length and bf16; Trainer on a
frozen backbone with a linear head. Ours: the shipped recipes with as many epochs, without calibration.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from _bench import Split, _rows, arguments, write
from head_speed import frozen_model

from textlabel.engine.checkpoint import NoCheckpoint
from textlabel.engine.predict import predict
from textlabel.engine.run import Run, Task
from textlabel.engine.solvers import risk
from textlabel.models.backbone import Backbone, load_backbone
from textlabel.models.classifier import Classifier
from textlabel.recipe import Recipe, Stage
from textlabel.types import LabelSchema

#: files and their share of the rows
SOURCES = {
    "blitzer_amazon/books": 0.25,
    "blitzer_amazon/dvd": 0.25,
    "mr_movie_snippets/all": 0.25,
    "movie_reviews_long/all": 0.25,
}
NAMES = ["trainer_lora", "trainer_lora_grouped_bf16", "trainer_head"]
NAMES += ["lora", "lora_top2", "partial_top2", "head", "head_bf16"]
CLASSES = ("negative", "positive")
TEST_ROWS = 400

#: seconds and CPU seconds, logits of the training rows, logits of the test rows
Result = tuple[tuple[float, float], np.ndarray, np.ndarray]


def clock() -> np.ndarray:
    return np.array([time.perf_counter(), time.process_time()])


def read(data: Path, rows: int) -> Split | None:
    """Return training and test rows, the same mix in both; None with a message where files are absent."""
    rng = np.random.default_rng(0)
    sides: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
    for name, share in SOURCES.items():
        path = data / f"{name}.jsonl.gz"
        if not path.is_file():
            print(f"skipped: no {path}")
            return None
        found = list({r["text"]: r for r in _rows(path) if r.get("label") in CLASSES}.values())
        drawn = [found[i] for i in rng.permutation(len(found))]
        train = round(share * rows)
        sides[0].extend(drawn[:train])
        sides[1].extend(drawn[train : train + round(share * TEST_ROWS)])
    (pool, y), (test, z) = (
        ([r["text"] for r in side], np.array([CLASSES.index(r["label"]) for r in side])) for side in sides
    )
    return Split("mixed_sentiment", pool, y, test, z, CLASSES)


def recipe(name: str, epochs: int, **tune: Any) -> Recipe:
    """Return a shipped recipe with that many epochs, and with options of its tune."""
    found = Recipe.load(name)

    def changed(stage: Stage) -> Stage:
        chosen = stage.tune
        if chosen.name == name:
            chosen = replace(chosen, options={**chosen.options, **tune})
        return replace(stage, tune=chosen, training=replace(stage.training, epochs=epochs))

    return replace(found, stages=tuple(map(changed, found.stages)))


def ours(backbone: Backbone, split: Split, chosen: Recipe, backend: str, seed: int) -> Result:
    task = Task(split.pool, split.pool_labels, LabelSchema("single", split.classes))
    start = clock()
    run = Run(backbone, task, chosen, seed, backend, NoCheckpoint())
    model = run.fit(np.arange(len(split.pool)), "final")
    wall, cpu = clock() - start
    return (wall, cpu), predict(model, split.pool)[0], predict(model, split.test)[0]


def trainer(
    backbone: Backbone,
    split: Split,
    make: Callable[[], Any],
    rate: float,
    epochs: int,
    seed: int,
    **more: Any,
) -> Result:
    import torch
    from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

    model = make()
    labels = split.pool_labels.tolist()
    with tempfile.TemporaryDirectory() as folder:
        options = TrainingArguments(
            folder,
            num_train_epochs=epochs,
            per_device_train_batch_size=8,
            learning_rate=rate,
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            seed=seed,
            **more,
        )
        start = clock()
        tokens = backbone.encode(split.pool)
        rows = [{"input_ids": ids, "labels": y} for ids, y in zip(tokens, labels, strict=True)]
        collator = DataCollatorWithPadding(backbone.tokenizer)
        Trainer(model, options, data_collator=collator, train_dataset=rows).train()
        wall, cpu = clock() - start
    model.eval()

    def logits(texts: list[str]) -> np.ndarray:
        """Rows one length at a time would be faster; this is not timed."""
        tokens = backbone.encode(texts)
        order = np.argsort([len(row) for row in tokens])
        found = np.zeros((len(texts), 2))
        for start in range(0, len(order), 16):
            some = order[start : start + 16]
            batch = backbone.tokenizer.pad([{"input_ids": tokens[i]} for i in some], return_tensors="pt")
            with torch.inference_mode():
                out = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
            found[some] = (out["logits"] if isinstance(out, dict) else out.logits).float().numpy()
        return found

    return (wall, cpu), logits(split.pool), logits(split.test)


def peft_model(backbone: Backbone) -> Any:
    """Return what transformers and peft make of the backbone for two classes, their defaults."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(backbone.folder, num_labels=2)
    return get_peft_model(model, LoraConfig(task_type="SEQ_CLS", r=8))


def contenders(backbone: Backbone, split: Split, epochs: int) -> dict[str, Callable[[int], Result]]:
    from textlabel.engine.process import multiplies_bf16

    half = multiplies_bf16()
    features = "torch_bf16" if half else "torch"
    grouped = {"train_sampling_strategy": "group_by_length", "bf16": half}

    def lora(seed: int, **more: Any) -> Result:
        return trainer(backbone, split, lambda: peft_model(backbone), 5e-4, epochs, seed, **more)

    def head(seed: int) -> Result:
        schema = LabelSchema("single", split.classes)
        return trainer(
            backbone, split, lambda: frozen_model(Classifier(backbone, schema)), 1e-2, epochs, seed
        )

    every = {
        "trainer_lora": lora,
        "trainer_lora_grouped_bf16": lambda seed: lora(seed, **grouped),
        "trainer_head": head,
        "lora": lambda seed: ours(backbone, split, recipe("lora", epochs), features, seed),
        "lora_top2": lambda seed: ours(backbone, split, recipe("lora", epochs, layers=2), features, seed),
        "partial_top2": lambda seed: ours(backbone, split, recipe("partial", epochs), features, seed),
        "head": lambda seed: ours(backbone, split, recipe("head", epochs), "torch", seed),
        "head_bf16": lambda seed: ours(backbone, split, recipe("head", epochs), features, seed),
    }
    assert list(every) == NAMES
    return every


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--backbone", default="all-MiniLM-L6-v2")
    parser.add_argument("--only", nargs="+", help="contenders to run")
    chosen = parser.parse_args()
    split = None if chosen.data is None else read(Path(chosen.data), chosen.rows)
    if split is None:
        print("nothing measured: these texts are not bundled, give --data FOLDER")
        return
    names = chosen.only or NAMES
    found: dict[str, dict[str, list[float]]] = {
        name: {"seconds": [], "cpu_seconds": [], "loss": [], "accuracy": [], "load": []} for name in names
    }
    for seed in range(chosen.rounds):
        for name in map(str, np.random.default_rng(seed).permutation(names)):
            with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                measured = pool.submit(one, name, chosen.backbone, split, chosen.epochs, seed).result()
            for key, value in measured.items():
                found[name][key].append(round(float(value), 4))
            print(seed, name, measured, flush=True)
    report(chosen, load_backbone(chosen.backbone), split, found)


def one(name: str, backbone_name: str, split: Split, epochs: int, seed: int) -> dict[str, float]:
    """Return what is measured of one contender, in this process."""
    backbone = load_backbone(backbone_name)
    step = max(len(split.pool) // 32, 1)
    small = replace(
        split, pool=split.pool[::step], pool_labels=split.pool_labels[::step], test=split.test[:4]
    )
    contenders(backbone, small, 1)[name](0)  # kernels are chosen and modules imported at first use
    (wall, cpu), train, test = contenders(backbone, split, epochs)[name](seed)
    return {
        "seconds": wall,
        "cpu_seconds": cpu,
        "loss": float(risk(train.astype(np.float64), split.pool_labels)),
        "accuracy": float(np.mean(test.argmax(axis=1) == split.test_labels)),
        "load": os.getloadavg()[0],
    }


def report(
    chosen: argparse.Namespace, backbone: Backbone, split: Split, found: dict[str, dict[str, list[float]]]
) -> None:
    lengths = [len(row) for row in backbone.encode(split.pool)]
    ratios: dict[str, dict[str, dict[str, float]]] = {}
    for measure in ("seconds", "cpu_seconds"):
        medians = {name: float(np.median(record[measure])) for name, record in found.items()}
        for peer in ("trainer_lora", "trainer_head"):
            if peer in medians:
                row = {name: round(medians[peer] / medians[name], 2) for name in medians if name != peer}
                ratios.setdefault(measure, {})[peer] = row
                print(f"{measure} of {peer} over those of:", row)
    facts = {
        "backbone": chosen.backbone,
        "rows": len(split.pool),
        "epochs": chosen.epochs,
        "token_percentiles": np.percentile(lengths, [5, 25, 50, 75, 95]).round().tolist(),
    }
    write(chosen.out, "fit_speed", {**facts, "ratios": ratios, "contenders": found})


if __name__ == "__main__":
    main()
