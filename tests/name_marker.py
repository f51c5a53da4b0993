"""A token-classification model that marks certain words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tiny import write_tokenizer

#: words that the model below takes for names, of those that its tokenizer knows
NAMES = ("plot", "screen")


def write_marker(folder: Path, labels: Sequence[str] = ("O", "B-PER", "I-PER", "B-LOC")) -> Path:
    """Write a model without layers, so that what it says is known beforehand, and return the folder."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForTokenClassification

    folder.mkdir()
    write_tokenizer(folder)
    vocabulary = AutoTokenizer.from_pretrained(folder).get_vocab()
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=8,
        num_hidden_layers=0,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=64,
        id2label=dict(enumerate(labels)),
        label2id={name: i for i, name in enumerate(labels)},
    )
    model = BertForTokenClassification(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.bert.embeddings.LayerNorm.weight.fill_(1)
        words = model.bert.embeddings.word_embeddings.weight
        words[:, 0] = 1
        for name in NAMES:
            words[vocabulary[name]] = torch.eye(8)[1]
        model.classifier.weight[0, 0] = 1  # O
        model.classifier.weight[1, 1] = 1  # the second label
    model.save_pretrained(folder)
    return folder
