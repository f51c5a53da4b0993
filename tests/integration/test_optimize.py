"""The default backbone on the shipped reviews: what `optimize` keeps labels as torch does."""

from __future__ import annotations

import numpy as np
import pytest

from textlabel import Labeler
from textlabel.corpus.load import load_corpus
from textlabel.registry import load
from textlabel.resources import resource
from textlabel.trust.metrics import ece

CLASSES = ("negative", "positive")


def reviews(name, seed, rows):
    """Return reviews of two classes in random order."""
    found = load_corpus(str(resource(f"data/reviews/{name}.jsonl")), label_column="label")
    found = found.filter(lambda label: label in CLASSES, input_columns="label")
    return found.select(np.random.default_rng(seed).permutation(len(found))[:rows].tolist())


@pytest.mark.slow
def test_auto_labels_as_torch_does(tmp_path):
    corpus = reviews("product", 0, 1600)
    made = Labeler(seed=0).fit(reviews("movie", 1, 600))
    trials = {trial.backend: trial for trial in made.optimize(corpus.select(range(600)))}
    for name, trial in trials.items():
        assert (trial.fit is None) == bool(trial.why), name
    int8 = trials["openvino_int8"]
    assert int8.fit is not None or int8.why == "slower than the reference", int8.why  # near enough anyway
    made.save(tmp_path / "model")
    rest = corpus.select(range(600, 1600)).remove_columns("label")
    truth = np.array([CLASSES.index(label) for label in corpus["label"][600:]])
    plain = Labeler.load(tmp_path / "model").annotate(rest)
    for name in ["auto", *(name for name, trial in trials.items() if trial.fit and name != "torch")]:
        labeler = Labeler.load(tmp_path / "model", backend=name)
        found = labeler.annotate(rest)
        told = labeler.record()["backend"]
        agree = np.mean(np.array(found["label"]) == np.array(plain["label"]))
        calibration = [
            ece(np.array(rows["confidence"]), np.array(rows["label"]) == truth) for rows in (found, plain)
        ]
        assert agree >= (0.998 if load("backend", told["backend"]).BATCH_INVARIANT else 0.996), name
        assert abs(calibration[0] - calibration[1]) <= 0.005, name
        assert told["recomputed"] <= 0.25 * told["rows"], name
