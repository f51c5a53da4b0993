import numpy as np
import pytest

from textlabel.batching import by_length, micro, pad, share, shuffled


def test_every_row_is_in_exactly_one_batch_within_the_budget():
    lengths = np.random.default_rng(0).integers(1, 300, 500)
    batches = list(by_length(lengths, 1024))
    assert sorted(np.concatenate(batches).tolist()) == list(range(500))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * lengths[batch].max() <= 1024


def test_a_row_over_the_budget_is_a_batch_of_its_own():
    assert [b.tolist() for b in by_length([5, 50, 5], 10)] == [[1], [0, 2]]


@pytest.mark.parametrize("n", [0, 1, 7, 8])
@pytest.mark.parametrize("world", [1, 2, 3, 9])
def test_shares_partition_a_batch(n, world):
    parts = [share(np.arange(n), rank, world) for rank in range(world)]
    assert sorted(np.concatenate(parts).tolist()) == list(range(n))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_micro_batches_keep_every_row():
    assert [m.tolist() for m in micro(np.arange(5), 2)] == [[0, 1], [2, 3], [4]]
    assert [m.tolist() for m in micro(np.arange(5), 0)] == [[0, 1, 2, 3, 4]]


def test_shuffled_is_one_epoch_and_repeats_with_its_seed():
    first = list(shuffled(10, 4, np.random.default_rng(3)))
    again = list(shuffled(10, 4, np.random.default_rng(3)))
    assert [len(b) for b in first] == [4, 4, 2]
    assert sorted(np.concatenate(first).tolist()) == list(range(10))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))


def test_padding_is_masked_whatever_the_pad_id():
    ids, mask = pad([[1, 2, 3], [4]], pad_id=9)
    assert ids.tolist() == [[1, 2, 3], [4, 9, 9]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]


def test_no_tokens_at_all_still_makes_a_column():
    ids, mask = pad([[]], pad_id=0)
    assert ids.shape == mask.shape == (1, 1)
    assert mask.sum() == 0
