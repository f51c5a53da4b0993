"""A static backbone: known tokens averaged, nothing else counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from textlabel.errors import BackboneError
from textlabel.models.static import StaticModel, load_static, token_ids

VOCABULARY = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "good": 4, "film": 5}
TABLE = torch.arange(12, dtype=torch.float32).reshape(6, 2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tokenizer = Tokenizer(models.WordPiece(VOCABULARY, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    save_file({"embeddings": TABLE}, tmp_path / "model.safetensors")
    return tmp_path


def test_no_special_and_no_unknown_token_is_counted(folder: Path) -> None:
    _, tokenizer = load_static(folder)
    assert tokenizer.encode("good film").tokens == ["good", "film"]
    texts = ["good zzz film", "zzz", "", "film " * 9]
    assert token_ids(tokenizer, texts, 4) == [[4, 5], [1], [1], [5, 5, 5, 5]]
    assert token_ids(tokenizer, ["zzz good"], 1) == [[1]]
    assert token_ids(tokenizer, [], 4) == []


def test_the_masked_mean_is_the_mean_of_the_rows(folder: Path) -> None:
    model, _ = load_static(folder)
    ids = torch.tensor([[4, 5], [5, 0], [1, 0]])
    mask = torch.tensor([[1, 1], [1, 0], [1, 0]])
    states = model(input_ids=ids, attention_mask=mask, token_type_ids=mask).last_hidden_state
    means = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    assert torch.equal(means, torch.stack([(TABLE[4] + TABLE[5]) / 2, TABLE[5], torch.zeros(2)]))
    assert (model.config.hidden_size, model.config.vocab_size) == (2, 6)


def test_the_unknown_vector_stays_zero_in_training(folder: Path) -> None:
    model, _ = load_static(folder)
    model(torch.tensor([[1, 4]])).last_hidden_state.sum().backward()
    gradient = model.embeddings.weight.grad
    assert gradient is not None
    assert gradient.abs().sum(1).tolist() == [0, 0, 0, 0, 2, 0]
    again = StaticModel(torch.zeros(6, 2), unknown=1)
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.embeddings.weight, model.embeddings.weight)


def test_a_folder_of_another_kind_is_an_error(folder: Path) -> None:
    weights = folder / "model.safetensors"
    save_file({"embeddings": TABLE[:5].contiguous()}, weights)
    with pytest.raises(BackboneError, match=r"shape \(5, 2\) for a vocabulary of 6"):
        load_static(folder)
    save_file({"other": TABLE}, weights)
    with pytest.raises(BackboneError, match="with a tensor 'embeddings'"):
        load_static(folder)
    weights.write_bytes(b"cut")
    with pytest.raises(BackboneError, match="not a static backbone"):
        load_static(folder)
    weights.unlink()
    with pytest.raises(BackboneError, match="not a static backbone"):
        load_static(folder)


def test_a_tokenizer_that_does_not_fit_is_an_error(folder: Path) -> None:
    path = folder / "tokenizer.json"
    spec = json.loads(path.read_text())
    spec["model"]["unk_token"] = "[GONE]"
    path.write_text(json.dumps(spec))
    with pytest.raises(BackboneError, match="no unknown token"):
        load_static(folder)
    spec["model"] = {"type": "Imaginary"}
    path.write_text(json.dumps(spec))
    with pytest.raises(BackboneError, match="not a static backbone"):
        load_static(folder)
    path.write_text("{ cut")
    with pytest.raises(BackboneError, match="not a static backbone"):
        load_static(folder)
