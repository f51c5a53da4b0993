"""What decides features: where it differs, none of another model are found."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tiny import snippets, write_backbone, write_static

from textlabel.engine import feature_cache
from textlabel.engine.feature_cache import open_cache
from textlabel.engine.predict import Featurizer
from textlabel.models.backbone import load_backbone
from textlabel.models.classifier import Classifier
from textlabel.types import LabelSchema

SCHEMA = LabelSchema("single", ("negative", "positive"))
TEXTS = [row["text"] for row in snippets(60)]


@pytest.fixture
def root(tmp_path):
    return tmp_path / "features"


def name_of(classifier, root, backend="torch", folder=None, device="cpu"):
    return open_cache(root, classifier, backend, folder, device).folder.name


def test_another_head_finds_the_same_features(classifier, root, tiny_backbone):
    other = Classifier(load_backbone(tiny_backbone), LabelSchema("single", ("a", "b", "c"))).eval()
    assert name_of(classifier, root) == name_of(other, root)


@pytest.mark.parametrize(
    "change", [{"pooling": "cls"}, {"pooling": "max"}, {"normalize": True}, {"max_length": 9}]
)
def test_another_reading_never_finds_them(classifier, root, tiny_backbone, change):
    other = Classifier(load_backbone(tiny_backbone, **change), SCHEMA)
    assert name_of(classifier, root) != name_of(other, root)


def test_other_weights_tokenizers_backends_and_devices_never_find_them(
    classifier, root, tmp_path, tiny_backbone
):
    seen = {name_of(classifier, root)}
    other = Classifier(load_backbone(write_backbone(tmp_path / "other", seed=1)), SCHEMA)
    seen.add(name_of(other, root))
    (other.folder / "tokenizer_config.json").write_text("{}")
    seen.add(name_of(other, root))
    graph = tmp_path / "graph"
    graph.mkdir()
    for content in ("a", "b"):
        (graph / "model.bin").write_text(content)
        seen.add(name_of(classifier, root, "openvino_int8", graph))
    seen |= {name_of(classifier, root, "torch_bf16"), name_of(classifier, root, device="cuda")}
    assert len(seen) == 7


def test_other_versions_never_find_them(classifier, root, monkeypatch):
    before = name_of(classifier, root)
    monkeypatch.setattr(feature_cache.metadata, "version", lambda name: "99")
    assert name_of(classifier, root) != before


def test_the_name_of_a_backbone_is_not_what_it_is(classifier, root):
    before = name_of(classifier, root)
    classifier.info = replace(classifier.info, name="/elsewhere/renamed")
    assert name_of(classifier, root) == before


def test_a_trained_body_has_its_own_features(classifier, root):
    before = name_of(classifier, root)
    classifier.body_changed = True
    same_weights = name_of(classifier, root)
    next(classifier.body.parameters()).data[0] += 1
    assert len({before, same_weights, name_of(classifier, root)}) == 3


def test_a_static_body_is_not_cached(root, tmp_path):
    static = Classifier(load_backbone(write_static(tmp_path / "static")), SCHEMA)
    assert open_cache(root, static, "torch", None, "cpu") is None
    assert Featurizer(static, cache=root).features(TEXTS).any()
    assert not root.exists()


def test_a_model_whose_folder_went_is_not_cached(classifier, root, tmp_path, caplog):
    classifier.folder = tmp_path / "gone"
    assert open_cache(root, classifier, "torch", None, "cpu") is None
    assert "not cached" in caplog.text
