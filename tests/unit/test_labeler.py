from __future__ import annotations

import json
import logging
import subprocess
import sys

import numpy as np
import pytest
from datasets import ClassLabel, Dataset
from tiny import snippets

from textlabel import Labeler
from textlabel.engine import predict as predict_module
from textlabel.engine.predict import predict
from textlabel.errors import BackboneError, BundleError, CorpusError, ExportError, RecipeError
from textlabel.models.bundle import Bundle

TRAIN = snippets(60)
CORPUS = [{k: v for k, v in row.items() if k != "label"} for row in snippets(50, seed=1)]


@pytest.fixture(scope="module")
def labeler(tiny_backbone):
    # cached features of other tests' batches would differ in their last bits
    return Labeler(tiny_backbone, "head", cache=False).fit(TRAIN)


def test_the_exported_row(labeler):
    out = labeler.annotate(CORPUS)
    assert out.column_names == [
        "id",
        "text",
        "label",
        "confidence",
        "probabilities",
        "margin",
        "prediction_set",
        "ood_score",
        "decision",
        "source",
        "stars",
    ]
    assert out["id"][:] == [row["id"] for row in CORPUS]
    assert out["text"][:] == [row["text"] for row in CORPUS]
    assert out["stars"][:] == [row["stars"] for row in CORPUS]
    assert out.features["label"] == ClassLabel(names=["negative", "positive"])
    p = np.array(out["probabilities"][:])
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(p.argmax(axis=1), out["label"][:])
    np.testing.assert_allclose(p.max(axis=1), out["confidence"][:], atol=1e-6)
    np.testing.assert_allclose(np.ptp(p, axis=1), out["margin"][:], atol=1e-6)
    assert set(out["source"][:]) == {"model"}
    sure = np.array(out["confidence"][:]) >= 0.9
    assert [d == "accepted" for d in out["decision"][:]] == sure.tolist()
    assert 0 < sure.sum() < len(sure)


def test_it_learned_something(labeler):
    gold = [{"id": r["id"], "text": r["text"], "label": r["label"]} for r in snippets(50, seed=1)]
    assert labeler.evaluate(labeler.annotate(CORPUS), gold).metrics["accuracy"] > 0.6


def test_columns_of_our_names_are_carried_under_input(labeler):
    rows = [{"id": "a", "text": "good film", "label": "mine", "confidence": 3, "input_label": "x"}]
    out = labeler.annotate(rows)
    assert out[0]["input_confidence"] == 3
    assert out[0]["input_input_label"] == "mine"
    assert out[0]["input_label"] == "x"
    assert out.features["label"].names == ["negative", "positive"]


def test_same_seed_same_labels_and_confidences(tiny_backbone, labeler):
    again = Labeler(tiny_backbone, "head", cache=False).fit(Dataset.from_list(TRAIN)).annotate(CORPUS)
    first = labeler.annotate(CORPUS)
    for name in first.column_names:
        assert first[name][:] == again[name][:], name


def test_batch_size_and_row_order_do_not_matter(labeler):
    texts = [row["text"] for row in CORPUS]
    logits, features = predict(labeler.bundle.classifier, texts)
    for budget in (1, 64, 100_000):
        np.testing.assert_allclose(
            predict(labeler.bundle.classifier, texts, token_budget=budget)[0], logits, atol=1e-5
        )
    order = np.random.default_rng(0).permutation(len(texts))
    shuffled = predict(labeler.bundle.classifier, [texts[i] for i in order])
    np.testing.assert_allclose(shuffled[0], logits[order], atol=1e-5)
    np.testing.assert_allclose(shuffled[1], features[order], atol=1e-5)


def test_windows_keep_input_order(labeler, monkeypatch):
    texts = [row["text"] for row in CORPUS]
    whole, _ = predict(labeler.bundle.classifier, texts)
    monkeypatch.setattr(predict_module, "WINDOW", 7)
    seen = []
    parts, _ = predict(
        labeler.bundle.classifier, texts, progress=lambda done, total: seen.append((done, total))
    )
    np.testing.assert_allclose(parts, whole, atol=1e-5)
    assert seen[-1] == (50, 50)
    assert seen == sorted(seen)


def test_an_empty_corpus_is_an_error_not_a_crash(labeler):
    with pytest.raises(CorpusError):
        labeler.annotate([])


def test_before_fit_every_use_says_what_to_do():
    with pytest.raises(BundleError, match=r"call fit\(train\) or Labeler\.load"):
        Labeler().annotate(CORPUS)


def test_bad_settings_are_refused_by_name(tiny_backbone, labeler, tmp_path):
    with pytest.raises(RecipeError, match="unknown recipe 'haed': did you mean 'head'"):
        Labeler(recipe="haed")
    with pytest.raises(
        BackboneError, match="unknown backbone 'all-MiniLM-L6': did you mean 'all-MiniLM-L6-v2'"
    ):
        Labeler("all-MiniLM-L6").fit(TRAIN)
    with pytest.raises(BackboneError, match=r"no config\.json here"):
        Labeler(tmp_path).fit(TRAIN)
    with pytest.raises(BackboneError, match="pooling = 'median'"):
        Labeler(tiny_backbone, pooling="median").fit(TRAIN)
    with pytest.raises(RecipeError, match=r"min_confidence = 1.5: expected a probability"):
        labeler.annotate(CORPUS, min_confidence=1.5)


def test_a_hub_id_that_cannot_be_had_says_what_works(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(BackboneError, match=r"the Hub did not give it .* use a registered backbone"):
        Labeler("some-owner/some-model").fit(TRAIN)


@pytest.mark.parametrize("ref", ["nowhere", "./no/where", "/no/where"])
def test_a_model_that_is_not_there_is_said_without_asking_the_hub(ref):
    with pytest.raises(BundleError, match="no such folder; expected one that `textlabel fit --out` wrote"):
        Labeler.from_pretrained(ref)


def test_long_texts_are_cut_at_the_position_table(labeler):
    assert labeler.bundle.classifier.info.max_length == 66
    out = labeler.annotate([{"text": "good " * 500}])
    assert np.isfinite(out["confidence"][0])


@pytest.mark.slow
def test_a_killed_fit_resumes_from_its_checkpoint(tiny_backbone, tmp_path, caplog):
    """kill -9 in the middle of training; the repeated command ends as an uninterrupted one."""
    script = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
import os, signal
from textlabel.engine import loop
from textlabel import Labeler
from tiny import snippets
def train(*a, **k):
    k["progress"] = lambda step, *_: os.kill(os.getpid(), signal.SIGKILL) if step == 9 else None
    return loop.train(*a, **k)
from textlabel.engine import run
run.train = train
import textlabel.engine.checkpoint as c
c.Checkpoint.__init__.__defaults__ = (0.0, *c.Checkpoint.__init__.__defaults__[1:])
from textlabel.engine import adapt
adapt.adapt.__kwdefaults__["checkpoint_seconds"] = 0.0
labeler = Labeler({str(tiny_backbone)!r}, "lora", calibration="none")
labeler.fit(snippets(60), checkpoint={str(tmp_path / "saved")!r})
"""
    import os
    from pathlib import Path

    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    killed = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True)
    assert killed.returncode == -9, killed.stderr
    assert [p.name for p in (tmp_path / "saved").iterdir()] == ["final-1.safetensors"]
    caplog.set_level(logging.INFO, "textlabel")
    resumed = Labeler(tiny_backbone, "lora", calibration="none").fit(
        snippets(60), checkpoint=tmp_path / "saved"
    )
    straight = Labeler(tiny_backbone, "lora", calibration="none").fit(snippets(60))
    assert "resumed" in caplog.text
    np.testing.assert_array_equal(resumed.predict(CORPUS).logits, straight.predict(CORPUS).logits)


def test_the_record_says_what_was_done(labeler, tmp_path):
    record = labeler.record(rows=50)
    assert record["labels"] == {"train": 60, "calibration": "out-of-fold (5)", "audit": 0}
    assert record["recipe"]["name"] == "head"
    assert record["certificate"] is None
    assert len(record["backbone"]["sha256"]) == 64
    json.dumps(record)
    folder = labeler.save(tmp_path / "model")
    assert "out-of-fold" in (folder / "README.md").read_text()
    assert Bundle.load(folder).record == labeler.bundle.record


def test_a_url_is_no_folder_to_export_to(labeler, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = labeler.annotate(snippets(3))
    with pytest.raises(ExportError, match=r"hf://datasets/user/name is a URL.*`textlabel push`"):
        labeler.export(rows, "hf://datasets/user/name")
    assert not list(tmp_path.iterdir())
