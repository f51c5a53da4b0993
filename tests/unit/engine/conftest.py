"""What tests of the engine share."""

from __future__ import annotations

import pytest

from textlabel.models.backbone import load_backbone
from textlabel.models.classifier import Classifier
from textlabel.types import LabelSchema


@pytest.fixture
def classifier(tiny_backbone):
    """A tiny body under a head of two classes, neither of them trained."""
    return Classifier(load_backbone(tiny_backbone), LabelSchema("single", ("negative", "positive"))).eval()
