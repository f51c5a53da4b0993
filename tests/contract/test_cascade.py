"""A student's logits go through the model's calibrator, whichever that is."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from tiny import write_static

from textlabel import registry
from textlabel.engine.predict import head_logits
from textlabel.engine.student import fit_student
from textlabel.models.backbone import load_backbone
from textlabel.models.classifier import Classifier
from textlabel.trust.set_rule import SetRule
from textlabel.types import LabelSchema

N, WIDTH = 4000, 16
MOST = 0.02


@pytest.mark.parametrize("k", [2, 4])
@pytest.mark.parametrize("name", sorted(registry.plugins("calibrator")))
def test_a_student_learns_through_any_calibrator(name, k, tmp_path):
    """Labels and confidence are those after calibration, which may be other than before it."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(2 * N, WIDTH)).astype(np.float32)
    logits = features @ rng.normal(size=(WIDTH, k)) + 0.5 * rng.normal(size=(2 * N, k))
    truth = (1.5 * logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    calibrator = registry.load("calibrator", name).fit(logits[:1500], truth[:1500])
    model = SimpleNamespace(calibrator=calibrator, sets=SetRule("lac", 0.1, (0.8,)))
    schema = LabelSchema("single", tuple("abcd"[:k]))
    classifier = Classifier(load_backbone(write_static(tmp_path / "words")), schema).eval()
    texts = [str(i) for i in range(N)]
    student = fit_student(model, classifier, texts, logits[:N].astype(np.float32), features[:N], MOST)
    right = calibrator.apply(logits[N:])
    said = calibrator.apply(head_logits(student.classifier, features[N:]).astype(np.float64))
    answered, best = student.answers(said, features[N:]), said.argmax(axis=1)
    assert 0.2 < answered.mean() < 1
    assert (answered & (best != right.argmax(axis=1))).mean() < 1.5 * MOST
    meant = right[np.arange(N), best][answered].mean()
    assert said[answered].max(axis=1).mean() == pytest.approx(meant, abs=0.03)
