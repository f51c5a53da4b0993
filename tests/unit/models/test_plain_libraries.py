"""A saved model is read by plain transformers and peft: nobody needs textlabel to use what it learned."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from tiny import snippets
from transformers import AutoModel, AutoTokenizer

from textlabel import Labeler

TEXTS = [row["text"] for row in snippets(6, seed=3)]


@pytest.fixture(scope="module", params=["lora", "full"])
def saved(request, tiny_backbone, tmp_path_factory):
    labeler = Labeler(str(tiny_backbone), request.param, cache=False).fit(snippets(24))
    folder = Path(labeler.save(tmp_path_factory.mktemp("plain") / "model"))
    return request.param, folder, labeler.predict([{"text": text} for text in TEXTS]).logits


def logits(body, folder):
    """Return what a body and the head beside it say, in a few lines that anybody can write."""
    read = json.loads((folder / "textlabel.json").read_text())["backbone"]
    assert (read["pooling"], read["normalize"], read["layers"]) == ("mean", False, 1)
    tokenizer = AutoTokenizer.from_pretrained(folder / "body")
    tokens = tokenizer(
        TEXTS, padding=True, truncation=True, max_length=read["max_length"], return_tensors="pt"
    )
    head = load_file(folder / "head.safetensors")
    with torch.no_grad():
        hidden = body.eval()(**tokens).last_hidden_state
    mask = tokens["attention_mask"][..., None]
    pooled = (hidden * mask).sum(1) / mask.sum(1)
    return (pooled @ head["head.weight"].T + head["head.bias"]).numpy()


@pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing`:FutureWarning"
)  # peft asks transformers for it
def test_what_was_trained_is_a_folder_of_transformers_or_an_adapter_of_peft(saved, tiny_backbone):
    recipe, folder, expected = saved
    body = AutoModel.from_pretrained(folder / "body")
    if recipe == "lora":
        body = PeftModel.from_pretrained(body, folder / "adapter-0")
    np.testing.assert_allclose(logits(body, folder), expected, atol=1e-4)
    untrained = logits(AutoModel.from_pretrained(tiny_backbone), folder)
    assert np.abs(untrained - expected).max() > 1e-3
