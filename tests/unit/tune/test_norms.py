"""Tune norms trains layer norms and nothing else, on every family."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import ARCHITECTURES, snippets, write_backbone, write_static
from torch import nn

from textlabel import Labeler
from textlabel.errors import RecipeError
from textlabel.models.backbone import load_backbone
from textlabel.models.classifier import Classifier
from textlabel.tune.norms import Options, apply
from textlabel.types import LabelSchema

SCHEMA = LabelSchema("single", ("negative", "positive"))
TEXTS = [{"text": row["text"]} for row in snippets(30, seed=1)]
#: where it is not scale and shift of the norm of the embeddings and of two a layer: layers that are one; no
#: shifts, one norm less in the first layer and one above the last
NUMBERS = {"albert": 2 * 3, "modernbert": 1 + 3 + 1}


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_scales_and_shifts_of_layer_norms_train_and_nothing_else(architecture, tmp_path):
    classifier = Classifier(load_backbone(write_backbone(tmp_path / "body", architecture)), SCHEMA)
    apply(classifier, Options())
    trained = {name for name, p in classifier.named_parameters() if p.requires_grad}
    modules = dict(classifier.named_modules())
    assert all(isinstance(modules[name.rpartition(".")[0]], nn.LayerNorm) for name in trained)
    assert {name.rpartition(".")[2] for name in trained} <= {"weight", "bias"}
    assert len(trained) == NUMBERS.get(architecture, 2 * (1 + 2 * 2))
    assert all(p.ndim == 1 for p in classifier.parameters() if p.requires_grad)


@pytest.mark.parametrize(
    "architecture",
    ["bert", *(pytest.param(name, marks=pytest.mark.slow) for name in ("albert", "modernbert"))],
)
def test_tent_changes_layer_norms_alone_and_is_reloaded_exactly(architecture, tmp_path):
    start = Labeler(write_backbone(tmp_path / "body", architecture)).fit(snippets(40))
    adapted = start.adapt(TEXTS, "tent")
    before, after = (each.bundle.classifier.state_dict() for each in (start, adapted))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    norms = {name for name, m in start.bundle.classifier.named_modules() if isinstance(m, nn.LayerNorm)}
    assert changed
    assert {name.rpartition(".")[0] for name in changed} <= norms
    again = Labeler.load(adapted.save(tmp_path / "model"))
    np.testing.assert_array_equal(again.predict(TEXTS).logits, adapted.predict(TEXTS).logits)
    assert np.abs(again.predict(TEXTS).logits - start.predict(TEXTS).logits).max() > 1e-4


def test_a_body_without_layer_norms_is_refused(tmp_path):
    classifier = Classifier(load_backbone(write_static(tmp_path / "static")), SCHEMA)
    with pytest.raises(RecipeError, match=r"norms: backbone '.*' has no layer norms with a scale"):
        apply(classifier, Options())
