"""What tests of the engine share."""

from __future__ import annotations

import fsspec
import pytest
from tiny import snippets

from textlabel import Labeler, registry
from textlabel.models.backbone import load_backbone
from textlabel.models.classifier import Classifier
from textlabel.types import LabelSchema


@pytest.fixture
def classifier(tiny_backbone):
    """A tiny body under a head of two classes, neither of them trained."""
    return Classifier(load_backbone(tiny_backbone), LabelSchema("single", ("negative", "positive"))).eval()


@pytest.fixture(scope="module")
def two(tiny_backbone):
    """A model of two classes."""
    return Labeler(tiny_backbone).fit(snippets(80)).bundle


@pytest.fixture(params=["disk", "memory"])
def place(request, tmp_path):
    """A folder on a disk, and one in an object store."""
    if request.param == "disk":
        yield str(tmp_path / "run")
        return
    yield f"memory://{tmp_path.name}/run"
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
def runs_here(monkeypatch):
    """Let torch_bf16 run whatever the processor, slowly, maybe, but rightly, and be taken by "auto"."""
    monkeypatch.setattr(registry.load("backend", "torch_bf16"), "lacks", lambda: "")
    monkeypatch.setattr(registry.load("backend", "torch_bf16"), "BATCH_INVARIANT", True)
