"""Texts are read in windows, perhaps ahead of the windows that are computed."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from tiny import snippets

from textlabel import Labeler
from textlabel.engine import predict as module
from textlabel.engine.predict import Featurizer, ahead

TEXTS = [row["text"] for row in snippets(60, seed=1)]


def test_items_come_in_order_and_one_is_made_ahead():
    made, threads = [], set()

    def make(item):
        threads.add(threading.current_thread().name)
        made.append(item)
        return 10 * item

    for number, found in enumerate(ahead(make, range(5))):
        assert found == 10 * number
        assert len(made) <= number + 2
    assert made == [0, 1, 2, 3, 4]
    assert threading.current_thread().name not in threads
    assert list(ahead(make, [])) == []


def test_what_fails_ahead_fails_here():
    def make(item):
        if item == 2:
            raise ValueError("no such text")
        return item

    found = ahead(make, range(9))
    assert [next(found), next(found)] == [0, 1]
    with pytest.raises(ValueError, match="no such text"):
        next(found)


@pytest.mark.parametrize("window", [7, 60])
def test_reading_ahead_changes_nothing(tiny_backbone, monkeypatch, window):
    classifier = Labeler(tiny_backbone).fit(snippets(80)).bundle.classifier
    monkeypatch.setattr(module, "WINDOW", window)
    plain = Featurizer(classifier).features(TEXTS)
    monkeypatch.setattr(Featurizer, "_encoded", lambda self, windows: ahead(self.read, windows))
    np.testing.assert_array_equal(Featurizer(classifier).features(TEXTS), plain)
