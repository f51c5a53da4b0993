from __future__ import annotations

import json
import shutil

import pytest
import torch

from textlabel.errors import BackboneError
from textlabel.models.backbone import load_backbone
from textlabel.models.backbone_info import describe, position_limit
from textlabel.models.classifier import pool


@pytest.fixture
def folder(tiny_backbone, tmp_path):
    return shutil.copytree(tiny_backbone, tmp_path / "backbone")


def write(path, data):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(data))


def test_sentence_transformers_files_say_how_features_are_read(folder):
    write(
        folder / "1_Pooling/config.json", {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    )
    write(folder / "modules.json", [{"type": "x.models.Transformer"}, {"type": "x.models.Normalize"}])
    write(folder / "sentence_bert_config.json", {"max_seq_length": 12})
    info = describe(folder, folder, "path")
    assert (info.pooling, info.normalize, info.max_length) == ("cls", True, 12)
    chosen = describe(folder, folder, "path", pooling="mean", normalize=False, max_length=20)
    assert (chosen.pooling, chosen.normalize, chosen.max_length) == ("mean", False, 20)


def test_a_pooling_that_we_have_not_is_refused_unless_another_is_chosen(folder):
    write(folder / "1_Pooling/config.json", {"pooling_mode_lasttoken": True})
    with pytest.raises(BackboneError, match="pooling = 'lasttoken': expected 'mean', 'cls' or 'max'; choose"):
        describe(folder, folder, "path")
    assert describe(folder, folder, "path", pooling="mean").pooling == "mean"


@pytest.mark.parametrize(
    ("mode", "pooling"), [("cls_token", "cls"), ("mean_tokens", "mean"), ("max_tokens", "max")]
)
def test_each_pooling_is_read_by_its_name_there(folder, mode, pooling):
    write(folder / "1_Pooling/config.json", {f"pooling_mode_{mode}": True})
    assert describe(folder, folder, "path").pooling == pooling


@pytest.mark.parametrize("length", [-5, 1, 1000])
def test_a_length_that_cannot_be_read_is_refused(folder, length):
    with pytest.raises(BackboneError, match=f"max_length = {length}: expected 3 to 66 tokens"):
        describe(folder, folder, "path", max_length=length)


def test_the_public_name_has_no_folders(folder):
    assert describe(folder, folder, "path").public_name == "backbone"
    assert describe(folder, "owner/name", "hub").public_name == "owner/name"


@pytest.mark.parametrize(("kind", "limit"), [("bert", 66), ("roberta", 65), ("mpnet", 64)])
def test_some_position_tables_start_after_the_pad(tmp_path, kind, limit):
    write(tmp_path / "config.json", {"model_type": kind, "max_position_embeddings": 66, "pad_token_id": 0})
    assert position_limit(tmp_path) == limit


def test_half_precision_weights_are_read_in_fp32(folder):
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    save_file({k: v.half() for k, v in load_file(path).items()}, path, {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    write(folder / "config.json", {**config, "dtype": "float16"})
    assert {p.dtype for p in load_backbone(folder).body.parameters()} == {torch.float32}


def test_damaged_weights_are_one_message(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(BackboneError, match="cannot be loaded as an encoder"):
        load_backbone(folder)


def test_masked_tokens_never_count():
    hidden = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [100.0, 100.0]]])
    mask = torch.tensor([[1, 1, 0]])
    torch.testing.assert_close(pool(hidden, mask, "mean", False), torch.tensor([[2.0, 3.0]]))
    torch.testing.assert_close(pool(hidden, mask, "cls", False), torch.tensor([[1.0, 2.0]]))
    assert pool(hidden, mask, "mean", True).norm() == pytest.approx(1.0)
    assert torch.isfinite(pool(hidden, mask * 0, "mean", True)).all()
