"""How the vectors of a text's tokens become one."""

from __future__ import annotations

import pytest
import torch

from textlabel.models.classifier import pool

MASK = torch.tensor([[1, 1, 0], [1, 0, 0], [1, 1, 1]])
HIDDEN = torch.tensor(
    [[[-3.0, -1], [-2, -4], [9, 9]], [[-5, -6], [0, 0], [7, 7]], [[-1, 2], [3, -8], [1, 1]]]
)


def test_max_is_over_real_tokens_and_padding_never_wins_over_negative_features():
    assert pool(HIDDEN, MASK, "max", False).tolist() == [[-2, -1], [-5, -6], [3, 2]]


@pytest.mark.parametrize("pooling", ["cls", "mean", "max"])
def test_a_text_of_a_batch_has_the_features_that_it_has_alone(pooling):
    together = pool(HIDDEN, MASK, pooling, True)
    for row, vectors, mask in zip(together, HIDDEN, MASK, strict=True):
        alone = vectors[mask == 1][None]
        torch.testing.assert_close(pool(alone, torch.ones(alone.shape[:2]), pooling, True)[0], row)


def test_layers_side_by_side_are_each_of_one_length_under_max_too():
    found = pool(torch.cat([HIDDEN, 100 * HIDDEN], dim=-1), MASK, "max", True, layers=2)
    torch.testing.assert_close(found[:, :2], found[:, 2:])
    torch.testing.assert_close(found.norm(dim=1), torch.ones(3))


def test_each_feature_trains_through_the_token_that_has_it():
    hidden = HIDDEN.clone().requires_grad_()
    pool(hidden, MASK, "max", False).sum().backward()
    assert hidden.grad is not None
    assert hidden.grad[0].tolist() == [[0, 1], [1, 0], [0, 0]]
