"""What every backend must do; a new file in the folder is tested by being there."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from tiny import (
    SENTENCE_PIECE,
    SMALL,
    WORDS,
    snippets,
    write_backbone,
    write_sentence_piece,
    write_tokenizer,
    write_weights,
)

from textlabel import registry
from textlabel.batching import pad
from textlabel.engine.predict import Featurizer
from textlabel.engine.process import multiplies_int8
from textlabel.errors import BundleError, PluginError
from textlabel.models.backbone import load_backbone
from textlabel.models.classifier import Classifier
from textlabel.types import LabelSchema

#: what backends run on, and what `pip install textlabel` does not bring
EXTRAS = ("openvino", "nncf", "onnx", "onnxruntime", "onnxscript")
NAMES = sorted(registry.plugins("backend"))
INVARIANT = [name for name in NAMES if registry.load("backend", name).BATCH_INVARIANT]
#: of lengths from 2 tokens to more than the backbone reads, one of them twice
TEXTS = [row["text"] for row in snippets(40)]
TEXTS += [
    "",
    "good",
    " ".join(WORDS) + " was not",
    "the film was not bad " * 9,
    "it is very good " * 30,
    TEXTS[3],
]


def cosines(a, b):
    return (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def assert_same(name, found, expected):
    """In bfloat16 a last bit is 2^-8: one that turns over in few rows is rounding, in many it is not."""
    off = np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)
    assert off.max(initial=0) <= (2**-8 if name in INVARIANT else 0.1)
    assert name not in INVARIANT or (off > 1e-3).sum() <= 0.1 * len(off)


def made(name, classifier, texts, folder):
    """Return a featurizer on a backend made ready on texts; skip where it cannot run."""
    module = registry.load("backend", name)
    if lacks := module.lacks():
        pytest.skip(f"{name} needs {lacks}")
    if hasattr(module, "prepare"):
        module.prepare(classifier, texts, folder)
    return Featurizer(classifier, name, folder=folder if hasattr(module, "prepare") else None)


@pytest.fixture(scope="module")
def classifier(tiny_backbone):
    return Classifier(load_backbone(tiny_backbone), LabelSchema("single", ("a", "b"))).eval()


@pytest.fixture(scope="module")
def expected(classifier):
    return Featurizer(classifier).features(TEXTS)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Return where `ready` leaves the files of each backend."""
    return tmp_path_factory.mktemp("backends")


@pytest.fixture(scope="module")
def ready(classifier, root):
    """Return a function that makes each backend ready but once."""
    known = {}

    def get(name):
        if name not in known:
            known[name] = made(name, classifier, TEXTS, root / name)
        return known[name]

    return get


@pytest.mark.parametrize("name", NAMES)
def test_it_says_what_it_needs_and_does(name):
    module = registry.load("backend", name)
    assert isinstance(module.lacks(), str)
    assert isinstance(module.BATCH_INVARIANT, bool)
    assert module.__doc__
    assert module.Backend.__doc__


@pytest.mark.parametrize("name", NAMES)
def test_features_are_near_the_reference_in_input_order(name, ready, expected):
    found = ready(name).features(TEXTS)
    assert found.dtype == np.float32
    assert found.shape == expected.shape
    assert cosines(found, expected).min() > 0.99
    others = cosines(expected[:-1], np.roll(expected[:-1], 1, axis=0))
    assert others.mean() < 0.99  # so a text in another's place would be noticed
    np.testing.assert_allclose(found, expected, atol=0.25, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_no_length_is_worse_than_the_others(name, tmp_path):
    """OpenVINO's int8 was wrong where texts were as long as a head is wide, on processors with AMX alone."""
    wide = {**SMALL, "hidden_size": 64, "num_attention_heads": 2, "intermediate_size": 64}
    write_weights(tmp_path / "wide", "BertConfig", wide, masked=False, seed=0)
    write_tokenizer(tmp_path / "wide")
    classifier = Classifier(load_backbone(tmp_path / "wide"), LabelSchema("score")).eval()
    lengths = (16, 31, 32, 33, 48, 64)
    texts = [" ".join(WORDS[(k + i) % len(WORDS)] for i in range(t - 2)) for t in lengths for k in range(8)]
    found = made(name, classifier, texts, tmp_path / "files").features(texts)
    near = cosines(found, Featurizer(classifier).features(texts)).reshape(len(lengths), 8).mean(axis=1)
    assert near.min() > 0.95
    assert 1 - near.min() < 4 * (1 - np.median(near)) + 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_equal_texts_have_equal_features(name, ready):
    found = ready(name).features(TEXTS)
    assert (found[3] == found[len(TEXTS) - 1]).all()
    assert (found[3] != found[4]).any()


@pytest.mark.parametrize("name", NAMES)
def test_no_text_and_one_text(name, ready, expected):
    assert ready(name).features([]).shape == (0, expected.shape[1])
    np.testing.assert_allclose(ready(name).features(TEXTS[:1]), expected[:1], atol=0.25, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_again(name, ready):
    assert (ready(name).features(TEXTS) == ready(name).features(TEXTS)).all()


@pytest.mark.parametrize("name", INVARIANT)
def test_features_do_not_depend_on_batch_mates(name, ready):
    among_all = ready(name).features(TEXTS)
    rng = np.random.default_rng(0)
    for size in (1, 2, 7, len(TEXTS)):
        chosen = rng.permutation(len(TEXTS))[:size]
        among_others = ready(name).features([*(TEXTS[i] for i in chosen), *(["the plot was fine"] * 5)])
        assert_same(name, among_others[:size], among_all[chosen])


def test_where_they_do_depend_it_is_told():
    others = [registry.load("backend", name) for name in NAMES if name not in INVARIANT]
    assert {module.NAME for module in others} == {"onnxruntime_int8", "torch_bf16"}
    assert all("batch mates" in module.__doc__.replace("\n", " ") for module in others)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("budget", [8, 100_000])
def test_the_size_of_batches_changes_little(name, budget, ready):
    known = ready(name)
    other = object.__new__(Featurizer)
    other.__dict__.update(known.__dict__, budget=budget)
    assert_same(name, other.features(TEXTS), known.features(TEXTS))


@pytest.mark.parametrize("name", NAMES)
def test_without_its_files_it_says_what_to_do(name, classifier, tmp_path):
    module = registry.load("backend", name)
    if lacks := module.lacks():
        pytest.skip(f"{name} needs {lacks}")
    if not hasattr(module, "prepare"):
        assert Featurizer(classifier, name).features(TEXTS[:1]).shape[0] == 1
        return
    for folder in (None, tmp_path, tmp_path / "nowhere"):
        with pytest.raises(BundleError, match="run `textlabel optimize`"):
            Featurizer(classifier, name, folder=folder)


@pytest.mark.parametrize("name", NAMES)
def test_making_it_ready_leaves_the_classifier_alone_and_no_text_behind(name, classifier, tmp_path):
    before = {key: value.clone() for key, value in classifier.state_dict().items()}
    made(name, classifier, [f"{text} zanzibar" for text in TEXTS[:20]], tmp_path / "files")
    after = classifier.state_dict()
    assert before.keys() == after.keys()
    assert all((before[key] == after[key]).all() for key in before)
    assert not classifier.training
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {".xml", ".bin", ".onnx"}  # nothing pickled
    assert all(b"zanzibar" not in path.read_bytes() for path in files)


@pytest.mark.parametrize("name", NAMES)
def test_one_that_does_not_run_here_is_refused_with_what_it_needs(name, classifier, monkeypatch):
    monkeypatch.setattr(registry.load("backend", name), "lacks", lambda: "a quantum computer")
    with pytest.raises(PluginError, match=f"'{name}' does not run here, it needs a quantum computer"):
        Featurizer(classifier, name)


def test_without_the_extras_every_backend_can_be_imported_and_says_what_it_lacks():
    code = f"""
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {EXTRAS!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hidden())
import importlib.util
spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name in {EXTRAS!r} else spec(name, package)
from textlabel import registry
for name in registry.plugins("backend"):
    module = registry.load("backend", name)
    print(name, "|", module.lacks())
    print(name, "to prepare", "|", getattr(module, "lacks_to_prepare", str)())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = dict(line.split(" | ") for line in done.stdout.splitlines() if " | " in line)
    assert told["openvino_int8"] == told["openvino_bf16"] == "OpenVINO: pip install 'textlabel[openvino]'"
    assert told["openvino_int8 to prepare"] == "NNCF: pip install 'textlabel[openvino]'"
    assert told["onnxruntime_int8"] == "onnxruntime: pip install 'textlabel[onnx]'"
    assert told["onnxruntime_int8 to prepare"] == "onnx, onnxscript: pip install 'textlabel[onnx]'"


def test_with_everything_there_backends_import_nothing_of_it_until_they_run():
    code = f"""
import sys
from textlabel import registry
for name in registry.plugins("backend"):
    registry.load("backend", name).lacks()
assert not set({EXTRAS!r}) & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_openvino_reports_nothing_and_nothing_is_printed(tiny_backbone, tmp_path):
    """Its packages send analytics when they are imported, and leave an identity in the user's folder."""
    code = f"""
import logging, sys
from pathlib import Path
from textlabel import registry
from textlabel.engine.predict import Featurizer
from textlabel.models.backbone import load_backbone
from textlabel.models.classifier import Classifier
from textlabel.types import LabelSchema
classifier = Classifier(load_backbone({str(tiny_backbone)!r}), LabelSchema("score")).eval()
for name in ("onnxruntime_int8", "openvino_int8"):
    module, folder = registry.load("backend", name), Path({str(tmp_path)!r}) / name
    module.prepare(classifier, {TEXTS[:20]!r}, folder)
    Featurizer(classifier, name, folder=folder).features(["good"])
assert sys.modules["openvino_telemetry"] is None
assert logging.getLogger().handlers == []
"""
    home = tmp_path / "home"
    home.mkdir()
    env = {key: value for key, value in os.environ.items() if key != "CI"} | {"HOME": str(home)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=300)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert not (home / "intel").exists()


@pytest.mark.parametrize("name", NAMES)
def test_it_can_be_freed_as_soon_as_it_has_answered(name, ready, classifier, root):
    """Threads that still had to do with Python when their model is freed would wait for it forever."""
    ready(name)
    folder = root / name if (root / name).is_dir() else None
    for _ in range(12):
        assert len(Featurizer(classifier, name, folder=folder).features(["good"])) == 1


@pytest.mark.parametrize("name", NAMES)
def test_batches_that_nobody_waits_for_are_left_in_peace(name, ready):
    batches = [pad([[2, 6, 3]] * 3, 0) for _ in range(9)]
    backend = ready(name).backend
    for features in backend.features(batches):
        assert features.shape[0] == 3
        break
    sizes = [len(features) for features in backend.features(pad([[2, 6, 3]] * n, 0) for n in range(1, 9))]
    assert sizes == list(range(1, 9))


def least(name):
    """Return how near a text's features must be: 7 bits, where int8 has no more, are coarse."""
    return 0.94 if name.endswith("int8") and not multiplies_int8() else 0.98


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("pooling", ["cls", "mean", "max"])
def test_roberta_too(name, pooling, tmp_path):
    folder = write_backbone(tmp_path / "roberta", "roberta", seed=1)
    classifier = Classifier(
        load_backbone(folder, pooling=pooling, normalize=True), LabelSchema("score")
    ).eval()
    expected = Featurizer(classifier).features(TEXTS)
    found = made(name, classifier, TEXTS, tmp_path / "files").features(TEXTS)
    assert cosines(found, expected).min() > least(name)
    assert cosines(found, expected).mean() > (0.995 if least(name) == 0.98 else 0.99)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("family", sorted(SENTENCE_PIECE))
def test_sentence_piece_families_too(name, family, tmp_path):
    folder = write_sentence_piece(tmp_path / family, family, seed=1)
    classifier = Classifier(load_backbone(folder, normalize=True), LabelSchema("score")).eval()
    expected = Featurizer(classifier).features(TEXTS)
    found = made(name, classifier, TEXTS, tmp_path / "files").features(TEXTS)
    assert cosines(found, expected).min() > least(name)
    assert cosines(found, expected).mean() > (0.995 if least(name) == 0.98 else 0.99)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_on_the_real_backbone(name, tmp_path):
    from textlabel.corpus.load import load_corpus
    from textlabel.labeler import DEFAULT_BACKBONE
    from textlabel.resources import resource

    rows = load_corpus(str(resource("data/reviews/product.jsonl")))
    texts = [rows["text"][i] for i in np.random.default_rng(0).permutation(len(rows))[:600].tolist()]
    classifier = Classifier(load_backbone(DEFAULT_BACKBONE), LabelSchema("score")).eval()
    featurizer = made(name, classifier, texts[300:], tmp_path / "files")
    found, expected = featurizer.features(texts[:300]), Featurizer(classifier).features(texts[:300])
    assert cosines(found, expected).mean() > 0.97
    assert cosines(found, expected).min() > 0.93
    chosen = np.random.default_rng(1).permutation(300)[:40]
    again = featurizer.features([texts[i] for i in chosen])
    if name in INVARIANT:
        assert_same(name, again, found[chosen])
