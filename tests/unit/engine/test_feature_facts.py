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
def model(tiny_backbone):
    return Classifier(load_backbone(tiny_backbone), SCHEMA).eval()


@pytest.fixture
def root(tmp_path):
    return tmp_path / "features"


def name_of(model, root, backend="torch", folder=None, device="cpu"):
    return open_cache(root, model, backend, folder, device).folder.name


def test_another_head_finds_the_same_features(model, root, tiny_backbone):
    other = Classifier(load_backbone(tiny_backbone), LabelSchema("single", ("a", "b", "c"))).eval()
    assert name_of(model, root) == name_of(other, root)


@pytest.mark.parametrize("change", [{"pooling": "cls"}, {"normalize": True}, {"max_length": 9}])
def test_another_reading_never_finds_them(model, root, tiny_backbone, change):
    other = Classifier(load_backbone(tiny_backbone, **change), SCHEMA)
    assert name_of(model, root) != name_of(other, root)


def test_other_weights_tokenizers_backends_and_devices_never_find_them(model, root, tmp_path, tiny_backbone):
    seen = {name_of(model, root)}
    other = Classifier(load_backbone(write_backbone(tmp_path / "other", seed=1)), SCHEMA)
    seen.add(name_of(other, root))
    (other.folder / "tokenizer_config.json").write_text("{}")
    seen.add(name_of(other, root))
    graph = tmp_path / "graph"
    graph.mkdir()
    for content in ("a", "b"):
        (graph / "model.bin").write_text(content)
        seen.add(name_of(model, root, "openvino_int8", graph))
    seen |= {name_of(model, root, "torch_bf16"), name_of(model, root, device="cuda")}
    assert len(seen) == 7


def test_other_versions_never_find_them(model, root, monkeypatch):
    before = name_of(model, root)
    monkeypatch.setattr(feature_cache.metadata, "version", lambda name: "99")
    assert name_of(model, root) != before


def test_the_name_of_a_backbone_is_not_what_it_is(model, root):
    before = name_of(model, root)
    model.info = replace(model.info, name="/elsewhere/renamed")
    assert name_of(model, root) == before


def test_a_trained_body_has_its_own_features(model, root):
    before = name_of(model, root)
    model.body_changed = True
    same_weights = name_of(model, root)
    next(model.body.parameters()).data[0] += 1
    assert len({before, same_weights, name_of(model, root)}) == 3


def test_a_static_body_is_not_cached(root, tmp_path):
    model = Classifier(load_backbone(write_static(tmp_path / "static")), SCHEMA)
    assert open_cache(root, model, "torch", None, "cpu") is None
    assert Featurizer(model, cache=root).features(TEXTS).any()
    assert not root.exists()


def test_a_model_whose_folder_went_is_not_cached(model, root, tmp_path, caplog):
    model.folder = tmp_path / "gone"
    assert open_cache(root, model, "torch", None, "cpu") is None
    assert "not cached" in caplog.text
