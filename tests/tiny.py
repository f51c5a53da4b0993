"""Tiny random backbones of many architectures, written to disk as save_pretrained writes real ones."""

from __future__ import annotations

import io
import json
from functools import cache
from pathlib import Path
from typing import Any

WORDS = [
    "good",
    "great",
    "fine",
    "bad",
    "awful",
    "poor",
    "film",
    "phone",
    "plot",
    "screen",
    "the",
    "a",
    "was",
    "is",
    "very",
    "not",
    "really",
    "it",
    "i",
]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SMALL = {
    "vocab_size": len(WORDS) + len(SPECIAL),
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 66,
    "pad_token_id": 0,
    "cls_token_id": 2,
    "sep_token_id": 3,
    "bos_token_id": 2,
    "eos_token_id": 3,
}
DISTILBERT = {"vocab_size": SMALL["vocab_size"], "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32}
#: name -> (config class, settings, whether the checkpoint is of the masked-language model: no pooler)
ARCHITECTURES = {
    "bert_without_pooler": ("BertConfig", SMALL, True),
    "bert": ("BertConfig", SMALL, False),
    "roberta": ("RobertaConfig", SMALL, True),
    "deberta_v2": (
        "DebertaV2Config",
        {**SMALL, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
        True,
    ),
    "albert": ("AlbertConfig", {**SMALL, "embedding_size": 8}, True),
    "distilbert": ("DistilBertConfig", {**DISTILBERT, "max_position_embeddings": 66}, True),
    "mpnet": ("MPNetConfig", SMALL, True),
    "electra": ("ElectraConfig", {**SMALL, "embedding_size": 8}, True),
    "modernbert": (
        "ModernBertConfig",
        {**SMALL, "global_attn_every_n_layers": 2, "local_attention": 8},
        True,
    ),
}

PIECES = 300
DEBERTA_PIECES = {"pad_id": 0, "bos_id": 1, "eos_id": 2, "unk_id": 3, "pad_piece": "[PAD]"}
DEBERTA_PIECES |= {"bos_piece": "[CLS]", "eos_piece": "[SEP]", "unk_piece": "[UNK]"}
#: name -> (config class, settings, the file that its tokenizer is made of, how SentencePiece numbers pieces)
SENTENCE_PIECE = {
    "albert": (
        "AlbertConfig",
        {**SMALL, "vocab_size": PIECES, "embedding_size": 8},
        "spiece.model",
        {"pad_id": 0, "unk_id": 1, "bos_id": -1, "eos_id": -1, "control_symbols": "[CLS],[SEP],[MASK]"},
    ),
    "xlm_roberta": (
        "XLMRobertaConfig",
        {
            **SMALL,
            "vocab_size": PIECES + 2,
            "pad_token_id": 1,
            "bos_token_id": 0,
            "cls_token_id": 0,
            "eos_token_id": 2,
            "sep_token_id": 2,
            "type_vocab_size": 1,
        },
        "sentencepiece.bpe.model",
        {"unk_id": 0, "bos_id": 1, "eos_id": 2},
    ),
    "deberta_v3": (
        "DebertaV2Config",
        {
            **SMALL,
            "vocab_size": PIECES + 20,  # the real one has more rows than its tokenizer has pieces, too
            "relative_attention": True,
            "position_buckets": 8,
            "max_relative_positions": -1,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_biased_input": False,
            "type_vocab_size": 0,
        },
        "spm.model",
        DEBERTA_PIECES,
    ),
}


@cache
def sentence_piece(family: str) -> bytes:
    """Return a SentencePiece model trained on the bundled reviews, as that family numbers its pieces."""
    import sentencepiece

    from textlabel.resources import resource

    with resource("data/reviews/product.jsonl").open(encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line, _ in zip(file, range(400), strict=False)]
    made = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=made,
        vocab_size=PIECES,
        num_threads=1,
        minloglevel=2,
        **SENTENCE_PIECE[family][3],
    )
    return made.getvalue()


def write_sentence_piece(folder: Path, family: str, seed: int = 0) -> Path:
    """Write a random checkpoint whose tokenizer is a SentencePiece model alone, as many are published."""
    config, settings, name, _ = SENTENCE_PIECE[family]
    write_weights(folder, config, settings, masked=True, seed=seed)
    (folder / name).write_bytes(sentence_piece(family))
    return folder


def write_tokenizer(folder: Path) -> None:
    """Write a word-level fast tokenizer over `WORDS`."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: i for i, token in enumerate([*SPECIAL, *WORDS])}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = dict(
        zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True)
    )
    PreTrainedTokenizerFast(tokenizer_object=inner, **names).save_pretrained(folder)


def write_backbone(folder: Path, architecture: str = "bert", seed: int = 0) -> Path:
    """Write a random checkpoint with its tokenizer and return the folder."""
    write_weights(folder, *ARCHITECTURES[architecture], seed=seed)
    write_tokenizer(folder)
    return folder


def write_weights(
    folder: Path, config_name: str, settings: dict[str, object], masked: bool, seed: int
) -> None:
    """Write random weights and their configuration."""
    import torch
    import transformers

    config = getattr(transformers, config_name)(**settings)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        maker = transformers.AutoModelForMaskedLM if masked else transformers.AutoModel
        model = maker.from_config(config)
        for parameter in model.parameters():  # larger than the usual .02, so that differences show
            if parameter.ndim > 1:
                parameter.data.normal_(0, 0.3)
    model.save_pretrained(folder)


def write_static(folder: Path, seed: int = 0) -> Path:
    """Write a random static backbone: one vector a token, a WordPiece vocabulary over `WORDS`."""
    import json

    import torch
    from safetensors.torch import save_file
    from tokenizers import Tokenizer, models, pre_tokenizers

    folder.mkdir()
    vocabulary = {token: i for i, token in enumerate([*SPECIAL, *WORDS])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    (folder / "tokenizer.json").write_text(tokenizer.to_str())
    table = torch.randn(len(vocabulary), 16, generator=torch.Generator().manual_seed(seed))
    save_file({"embeddings": table}, folder / "model.safetensors")
    (folder / "textlabel_backbone.json").write_text(json.dumps({"kind": "static"}))
    return folder


def snippets(n: int = 40, seed: int = 0) -> list[dict[str, str]]:
    """Return n labeled texts over `WORDS` that a linear head can tell apart."""
    import numpy as np

    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        label = ("negative", "positive")[i % 2]
        mood = rng.choice(WORDS[:3] if label == "positive" else WORDS[3:6], 2)
        rest = rng.choice(WORDS[6:], rng.integers(1, 8))
        words = rng.permutation([*mood, *rest])
        rows.append({"id": f"r{i}", "text": " ".join(words) + f" {i}", "label": label, "stars": str(i % 5)})
    return rows


#: a class of `several` and the word that tells it
TOLD_BY = {"praise": "great", "film": "film", "phone": "phone"}


def several(n: int = 60, seed: int = 0) -> list[dict[str, Any]]:
    """Return n texts over `WORDS` that carry any number of three classes, each told by a word of its own."""
    import numpy as np

    rng = np.random.default_rng(seed)
    others = [word for word in WORDS if word not in TOLD_BY.values()]
    rows = []
    for i in range(n):
        label = [name for name in TOLD_BY if rng.random() < 0.4]
        words = rng.permutation([*rng.choice(others, rng.integers(1, 3)), *(TOLD_BY[name] for name in label)])
        rows.append({"id": f"r{i}", "text": " ".join(words) + f" {i}", "label": label})
    return rows
