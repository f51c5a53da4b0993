"""What tests of objectives share: rows over a tiny body under a random head."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import snippets

from textlabel.models.backbone import load_backbone
from textlabel.models.classifier import Classifier
from textlabel.protocols import Batch, Context, Rows
from textlabel.types import LabelSchema


@pytest.fixture
def context_of(tiny_backbone):
    """Return a function from class numbers, and texts if they matter, to a context of such rows."""

    def make(targets, texts=None, names=None):
        targets = np.asarray(targets)
        schema = LabelSchema(
            "single", tuple(names or [f"class_{k}" for k in range(max(targets.max() + 1, 2))])
        )
        classifier = Classifier(load_backbone(tiny_backbone), schema).eval()
        torch.nn.init.normal_(classifier.head.weight, generator=torch.Generator().manual_seed(0))
        texts = texts or [row["text"] for row in snippets(len(targets))]
        rows = Rows(classifier.tokenizer(texts)["input_ids"], targets)
        return Context({"labeled": rows}, schema, classifier, torch.device("cpu"))

    return make


@pytest.fixture
def whole():
    """Return a function from row numbers to the global batch of them."""

    def make(index):
        index = np.asarray(index)
        return Batch({"labeled": index}, {"labeled": len(index)})

    return make
