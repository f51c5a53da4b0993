"""Tables grow by a row for each new token in every family of bodies, and the head that goes with them too."""

from __future__ import annotations

import pytest
import torch
from tiny import ARCHITECTURES, write_backbone

from textlabel.models.added_tokens import add_tokens
from textlabel.models.backbone import load_backbone, save_body
from textlabel.models.domain_words import Word
from textlabel.models.masked_lm import find_masked_lm

WORDS = [Word("zebra", 9, (5, 6, 7), True), Word("okapi", 4, (5, 8, 9, 9), True)]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_rows_and_biases_begin_as_the_mean_of_the_pieces(architecture, tmp_path):
    folder = write_backbone(tmp_path / "old", architecture)
    learned, _ = find_masked_lm(folder)
    if learned is not None:  # biases of random checkpoints are 0
        torch.nn.init.normal_(learned.get_output_embeddings().bias)
        learned.save_pretrained(folder)
    backbone = load_backbone(folder)
    before = backbone.body.get_input_embeddings().weight.detach().clone()
    old_head, _ = find_masked_lm(folder)
    (tmp_path / "new").mkdir()
    save_body(add_tokens(backbone, WORDS), backbone.tokenizer, backbone.info, tmp_path / "new")
    new = load_backbone(tmp_path / "new")
    after = new.body.get_input_embeddings().weight.detach()
    assert after.shape == (len(before) + 2, before.shape[1])
    assert torch.equal(after[: len(before)], before)
    # each piece counts as often as it stands there
    expected = torch.stack([before[list(word.pieces)].mean(dim=0) for word in WORDS])
    torch.testing.assert_close(after[-2:], expected, atol=1e-6, rtol=0)
    assert new.encode(["a zebra okapi"])[0][2:4] == [len(before), len(before) + 1]
    head, _ = find_masked_lm(new.folder)
    assert (head is None) == (old_head is None)
    if head is not None:
        assert head.get_output_embeddings().weight is head.get_input_embeddings().weight
        bias, was = (model.get_output_embeddings().bias.detach() for model in (head, old_head))
        assert was.std() > 0.5
        expected = torch.stack([was[list(word.pieces)].mean() for word in WORDS])
        torch.testing.assert_close(bias, torch.cat([was, expected]))
