"""A linear body over points in place of texts, and shifts of two classes of them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

from textlabel.models.backbone import Backbone
from textlabel.models.backbone_info import BackboneInfo
from textlabel.models.classifier import Classifier
from textlabel.protocols import Context, Rows
from textlabel.types import LabelSchema


class Points(nn.Module):
    """A linear body over points instead of texts: the only token of a row is its number."""

    def __init__(self, points, width):
        super().__init__()
        self.config = SimpleNamespace(hidden_size=width)
        self.register_buffer("points", torch.tensor(points, dtype=torch.float32))
        self.layer = nn.Linear(points.shape[1], width)

    def forward(self, input_ids, attention_mask):
        return SimpleNamespace(last_hidden_state=self.layer(self.points[input_ids]))


def context_of(source, classes, target, width=16, normalize=False):
    """Return a context of points (n, d) of known classes, and points (m, d) of another domain."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        body = Points(np.concatenate([source, target]), width)
        info = BackboneInfo("points", "", "transformer", "mean", normalize, 8, "path")
        backbone = Backbone(info, Path(), body, SimpleNamespace(pad_token_id=0))
        names = tuple(f"class_{k}" for k in range(max(classes) + 1))
        classifier = Classifier(backbone, LabelSchema("single", names)).eval()
        nn.init.normal_(classifier.head.weight, std=0.3)
    numbers = [[i] for i in range(len(source) + len(target))]
    rows = {"labeled": Rows(numbers[: len(source)], np.asarray(classes))}
    rows["unlabeled"] = Rows(numbers[len(source) :])
    return Context(rows, classifier.schema, classifier, torch.device("cpu"))


def points(kind, rng, n=200):
    """Return points (n, 2) of two classes: in the source, each coordinate tells the class.

    In the target, the first still does. The second is "moved" by 3, is "noise" without a class, or some of
    both ("mixed"). "near": the first alone tells the class, and it is moved by 0.8, so that the boundary of
    the source cuts off a part of a class.
    """
    classes = np.arange(n) % 2
    signs = 2 * classes - 1
    source, target = (np.stack([signs, signs], axis=1) + 0.3 * rng.normal(size=(n, 2)) for _ in range(2))
    if kind == "moved":
        target[:, 1] += 3
    elif kind == "noise":
        target[:, 1] = 4 * rng.normal(size=n)
    elif kind == "mixed":
        target[:, 1] = 1.5 + 1.5 * rng.normal(size=n)
    else:
        source[:, 1], target[:, 1] = rng.normal(size=(2, n))
        target[:, 0] += 0.8
    return source, classes, target
