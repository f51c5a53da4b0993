"""Sealed annotations without a model: rows of a made-up corpus with labels, confidence and known truth."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from datasets import ClassLabel, Dataset, Features, List, Value

from textlabel import registry
from textlabel.audit.seal import seal
from textlabel.types import class_names_of, kind_of

NAMES = ("bad", "good")
FEATURES = Features(
    {
        "id": Value("string"),
        "text": Value("string"),
        "label": ClassLabel(names=list(NAMES)),
        "confidence": Value("float64"),
        "probabilities": List(Value("float32")),
        "margin": Value("float64"),
        "prediction_set": List(Value("string")),
        "ood_score": Value("float32"),
        "decision": Value("string"),
        "source": Value("string"),
        "shop": Value("string"),
    }
)
RECORD: dict[str, Any] = {
    "format": 1,
    "textlabel": "0.1.0",
    "created": "2026-01-01",
    "schema": {"kind": "single", "names": list(NAMES)},
    "backbone": {"name": "tiny", "sha256": "0" * 64, "source": "test", "license": "mit"},
    "recipe": {"name": "head", "stages": []},
    "seed": 0,
    "versions": {},
    "labels": {"train": 8, "calibration": 8, "audit": 0},
    "calibrator": None,
    "certificate": None,
    "evaluation": None,
}


def corpus(n: int = 400, error: float = 0.1, seed: int = 0, copies: int = 1) -> tuple[Dataset, list[str]]:
    """Return annotated rows, wrong more often where less sure, and the truth as class names."""
    rng = np.random.default_rng(seed)
    confidence = np.sort(rng.uniform(0.5, 1, n))[::-1].round(3)
    wrong = rng.random(n) < 4 * error * (1 - confidence)
    truth = rng.integers(0, 2, n)
    text = [f"text {i // copies}" for i in range(n)]
    if copies > 1:  # one text has one truth and one label
        first = np.arange(n) // copies * copies
        truth, wrong, confidence = truth[first], wrong[first], confidence[first]
    label = np.where(wrong, 1 - truth, truth)
    p = np.where(label[:, None] == np.arange(2), confidence[:, None], 1 - confidence[:, None])
    rows = {
        "id": [f"r{i}" for i in range(n)],
        "text": text,
        "label": label,
        "confidence": confidence,
        "probabilities": p.astype(np.float32),
        "margin": 2 * confidence - 1,
        "prediction_set": [[NAMES[i]] for i in label],
        "ood_score": np.zeros(n, np.float32),
        "decision": ["accepted"] * n,
        "source": ["model"] * n,
        "shop": [f"shop {i % 3}" for i in range(n)],
    }
    return Dataset.from_dict(rows, features=FEATURES), [NAMES[i] for i in truth]


def scores(n: int = 200, off: float = 0.05) -> tuple[Dataset, list[float]]:
    """Return annotated scores, of which a share ``off`` is wrong by 2, and the truth."""
    truth = np.arange(n, dtype=np.float64)
    said = truth + 2.0 * (np.arange(n) % round(1 / off) == 0)
    rows, _ = corpus(n)
    features = Features({**FEATURES, "label": Value("float64"), "prediction_set": List(Value("float64"))})
    columns = {name: rows[name][:] for name in rows.column_names}
    columns |= {"label": said, "confidence": [None] * n, "margin": [None] * n}
    columns |= {"probabilities": [[]] * n, "prediction_set": [[v, v] for v in said]}
    return Dataset.from_dict(columns, features=features), truth.tolist()


def write(rows: Dataset, folder: Path, form: str = "dataset", **sealing: Any) -> Path:
    """Write sealed annotations and return their folder."""
    record = {**RECORD, "seal": seal(rows, **sealing)}
    feature = rows.features["label"]
    record["schema"] = {"kind": kind_of(feature), "names": list(class_names_of(feature))}
    return Path(registry.load("export", form).write(rows, folder, record))


def fill(sheet: Path, truth: dict[str, Any], blank: int = 0) -> Path:
    """Answer a csv sheet by the truth of each id, but for the first ``blank`` rows."""
    with sheet.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows[blank:]:
        row["label"] = truth[row["id"]]
    with sheet.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return sheet
