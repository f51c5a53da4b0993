from __future__ import annotations

import pytest

from textlabel import registry
from textlabel.cli.keys import keys
from textlabel.demo import Demo
from textlabel.gap import Gap
from textlabel.job import STEPS
from textlabel.label_check import CheckLabels
from textlabel.recipe import Stage, Training

OPTIONS = [
    registry.load(kind, name).Options
    for kind in ("tune", "objective", "augment")
    for name in registry.plugins(kind)
]


@pytest.mark.parametrize(
    "cls",
    [Stage, Training, Demo, Gap, CheckLabels, *STEPS.values(), *OPTIONS],
    ids=lambda c: c.__module__ + c.__name__,
)
def test_every_key_is_explained(cls):
    for key in keys(cls):
        assert len(key.meaning) > 8, key
        assert "``" not in key.meaning


def test_defaults_are_written_as_toml_writes_them():
    written = {key.name: key.default for step in STEPS.values() for key in keys(step)}
    assert written["corpus"] == "required"
    assert written["train"] == '""'
    assert written["recipe"] == '"head"'
    assert written["text_column"] == '["text"]'
    assert written["private"] == "true"
    assert written["min_confidence"] == "unset"
