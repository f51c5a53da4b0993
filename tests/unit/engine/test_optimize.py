"""Which backends are kept, out of plugins made for the purpose and out of the real ones."""

from __future__ import annotations

import dataclasses
import sys
import types

import numpy as np
import pytest
from tiny import snippets

from textlabel import Labeler, registry
from textlabel.engine import optimize as module
from textlabel.engine.optimize import (
    LEAST,
    MOST,
    optimize,
)
from textlabel.errors import CorpusError
from textlabel.models.backend_fit import BackendFit


@pytest.fixture(scope="module")
def bundle(tiny_backbone):
    return Labeler(tiny_backbone).fit(snippets(80)).bundle


@pytest.fixture
def plugins(monkeypatch):
    """Return a function that puts toy backends in the place of all others but the reference."""

    known, reference = registry.plugins, registry.plugins("backend")["torch"]

    def put(**toys):
        for name, toy in toys.items():
            toy.NAME = name
            monkeypatch.setitem(sys.modules, f"toy_{name}", toy)
        found = {"torch": reference, **{name: f"toy_{name}" for name in toys}}
        monkeypatch.setattr(registry, "plugins", lambda kind: found if kind == "backend" else known(kind))

    return put


def toy(change=lambda features: features, lacks="", prepare=None):
    """Return a backend module: the reference with its features changed."""
    reference = registry.load("backend", "torch")

    class Backend(reference.Backend):
        def features(self, batches):
            return map(change, super().features(batches))

    made = types.ModuleType("toy")
    made.Backend, made.lacks, made.BATCH_INVARIANT = Backend, lambda: lacks, True
    if prepare:
        made.prepare = prepare
    return made


@pytest.fixture
def speeds(monkeypatch):
    """Fix what would be timed: the reference 100 texts/s."""

    def fix(**known):
        monkeypatch.setattr(
            module,
            "_speeds",
            lambda ready, _: {"torch": 100.0, **{n: known[n] for n in ready if n != "torch"}},
        )

    return fix


CORPUS = [row["text"] for row in snippets(200, seed=5)]


def test_a_backend_that_is_faster_and_near_enough_is_kept(bundle, plugins, speeds, tmp_path):
    def prepare(classifier, texts, folder):
        folder.mkdir(parents=True)
        (folder / "graph").write_text("made")

    plugins(quick=toy(), quicker=toy(prepare=prepare))
    speeds(quick=200.0, quicker=300.0)
    reference, first, second = optimize(bundle, CORPUS, tmp_path)
    assert (reference.backend, reference.texts_per_second) == ("torch", 100.0)
    assert (first.backend, second.backend) == ("quicker", "quick")
    assert first.why == second.why == ""
    assert first.fit.folder == tmp_path / "quicker"
    assert second.fit.folder is None
    assert first.fit.measured["texts_per_second_alone"] == 300
    assert first.fit.measured["reference_texts_per_second"] == 100
    assert second.texts_per_second == pytest.approx(200, rel=0.05)


@pytest.mark.parametrize(
    ("backend", "why"),
    [
        (lambda: toy(lambda f: -f), "too far from the reference"),
        (lambda: toy(lacks="a quantum computer"), "needs a quantum computer"),
        (lambda: toy(prepare=broken), "does not take this model (ValueError: no such operator)"),
        (lambda: toy(lambda f: f * np.nan), "does not take this model (TrainingError"),
        (lambda: toy(unlucky), "does not take this model (MemoryError"),
    ],
)
def test_one_that_fails_is_refused_with_the_reason(backend, why, bundle, plugins, speeds, tmp_path):
    plugins(bad=backend(), good=toy())
    speeds(bad=900.0, good=200.0)
    trials = {trial.backend: trial for trial in optimize(bundle, CORPUS, tmp_path)}
    assert trials["bad"].fit is None
    assert why in trials["bad"].why
    assert len(trials["bad"].why) < 300
    assert "\n" not in trials["bad"].why
    assert trials["good"].fit is not None


def broken(classifier, texts, folder):
    raise ValueError("no such operator\n" + "and a page of hints\n" * 99)


def unlucky(features):
    raise MemoryError("x" * 5000)


def test_interrupting_is_not_refusing(bundle, plugins, tmp_path):
    def stop(classifier, texts, folder):
        raise KeyboardInterrupt

    plugins(slow=toy(prepare=stop))
    with pytest.raises(KeyboardInterrupt):
        optimize(bundle, CORPUS, tmp_path)


def test_too_few_different_texts_are_refused(bundle, tmp_path):
    few = [f"text {number}" for number in range(LEAST - 1)]
    with pytest.raises(
        CorpusError, match="expected at least 100 different texts to compare backends on, got 99"
    ):
        optimize(bundle, few * 20, tmp_path)


def test_the_sample_is_different_texts_by_the_seed():
    texts = [f"text {number % 1500}" for number in range(4000)]
    sample = module._sample(texts, 0)
    assert len(sample) == len(set(sample)) == MOST
    assert sample == module._sample(texts, 0) != module._sample(texts, 1)
    assert set(module._sample(texts[:300], 0)) == set(texts[:300])


def test_the_same_again(bundle, plugins, speeds, tmp_path):
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(1, 16)).astype(np.float32) * 0.02
    plugins(near=toy(lambda features: features + noise))
    speeds(near=200.0)
    fits = [optimize(bundle, CORPUS, tmp_path / str(n), seed=1)[1].fit for n in range(2)]
    assert fits[0] == fits[1]
    assert fits[0].band > 0


def test_a_backend_may_ask_a_finer_one_about_close_rows(bundle, plugins, speeds, tmp_path):
    """Its speed then counts that, and may put it before another."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(1, 16)).astype(np.float32)
    plugins(near=toy(lambda f: f + 0.002 * noise), far=toy(lambda f: f + 0.02 * noise))
    found = []
    for near in (101.0, 400.0):
        speeds(near=near, far=4000.0)
        trials = optimize(bundle, CORPUS, tmp_path, seed=1)
        assert [trial.backend for trial in trials] == ["torch", "far", "near"]
        measured = trials[1].fit.measured
        found.append(1 / trials[1].texts_per_second - 1 / 4000)
        assert measured["texts_per_second"] == round(trials[1].texts_per_second, 1)
    share, still = measured["computed_again"], trials[2].fit.measured["computed_again"]
    assert share > 1.5 * still
    assert found == pytest.approx([min(share / 100, share / 101 + still / 100), share / 400 + still / 100])
    assert found[1] < found[0]


def test_scores_too(tiny_backbone, plugins, speeds, tmp_path):
    rows = [{"text": row["text"], "label": float(row["stars"])} for row in snippets(80)]
    bundle = Labeler(tiny_backbone, "regression").fit(rows).bundle
    plugins(near=toy(), far=toy(lambda features: features * 1.5))
    speeds(near=200.0, far=300.0)
    trials = {trial.backend: trial for trial in optimize(bundle, CORPUS, tmp_path)}
    assert trials["near"].fit.band == 0
    assert trials["near"].texts_per_second == 200
    assert trials["far"].why.startswith("scores differ")


@pytest.mark.slow
def test_every_real_backend_is_tried_on_a_tiny_model(bundle, tmp_path):
    trials = {trial.backend: trial for trial in optimize(bundle, CORPUS, tmp_path)}
    assert set(trials) == set(registry.plugins("backend"))
    for name, trial in trials.items():
        lacks = registry.load("backend", name).lacks()
        assert (trial.texts_per_second is None) == bool(lacks), trial.why
        assert bool(trial.fit) == (not trial.why)


def test_a_fit_survives_json(tmp_path):
    fit = BackendFit("x", 1.25, 0.5, -2.0, 0.125, {"agreement": 0.99}, tmp_path, 0.75)
    assert BackendFit.from_json(fit.to_json(), tmp_path) == fit
    older = {key: value for key, value in fit.to_json().items() if key != "distance_scale"}
    assert BackendFit.from_json(older, tmp_path).distance_scale == 1
    assert BackendFit.from_json(fit.to_json(), tmp_path / "nowhere") == dataclasses.replace(fit, folder=None)
