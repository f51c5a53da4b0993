import numpy as np
import pytest

from textlabel.batching import by_length, class_batches, pad, share, shuffled


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


def test_shuffled_is_one_epoch_and_repeats_with_its_seed():
    lengths = np.array([3, 9, 4, 1, 1, 7, 5, 8, 2, 6])
    first = list(shuffled(lengths, 4, np.random.default_rng(3)))
    again = list(shuffled(lengths, 4, np.random.default_rng(3)))
    other = list(shuffled(lengths, 4, np.random.default_rng(4)))
    assert sorted(len(b) for b in first) == [2, 4, 4]
    assert sorted(np.concatenate(first).tolist()) == list(range(10))
    assert [b.tolist() for b in first] == [b.tolist() for b in again]
    assert [b.tolist() for b in first] != [b.tolist() for b in other]


@pytest.mark.parametrize("n", [0, 1, 8, 63, 64, 65, 3000])
def test_shuffled_has_the_number_of_batches_that_the_rows_need(n):
    batches = list(shuffled(np.ones(n, dtype=np.int64), 8, np.random.default_rng(0)))
    assert len(batches) == -(-n // 8)
    assert sorted(row for batch in batches for row in batch) == list(range(n))


def test_rows_of_a_batch_are_of_similar_length_and_meet_others_each_epoch():
    rng = np.random.default_rng(0)
    lengths = rng.integers(10, 256, 2000)

    def padded(batches):
        return sum(len(batch) * lengths[batch].max() for batch in batches) / lengths.sum()

    epochs = [list(shuffled(lengths, 16, rng)) for _ in range(2)]
    order = rng.permutation(2000)
    assert padded([order[i : i + 16] for i in range(0, 2000, 16)]) > 1.7
    assert max(padded(batches) for batches in epochs) < 1.1
    mates = [{frozenset((b[0], other)) for b in batches for other in b[1:]} for batches in epochs]
    assert len(mates[0] & mates[1]) < 0.15 * len(mates[0])


def test_long_rows_do_not_come_first():
    lengths = np.random.default_rng(0).integers(10, 256, 2000)
    means = [lengths[batch].mean() for batch in shuffled(lengths, 16, np.random.default_rng(1))]
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.25


def test_padding_is_masked_whatever_the_pad_id():
    ids, mask = pad([[1, 2, 3], [4]], pad_id=9)
    assert ids.tolist() == [[1, 2, 3], [4, 9, 9]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]


def test_no_tokens_at_all_still_makes_a_column():
    ids, mask = pad([[]], pad_id=0)
    assert ids.shape == mask.shape == (1, 1)
    assert mask.sum() == 0


@pytest.mark.parametrize(
    ("counts", "size"),
    [
        ((8, 8), 16),
        ((8, 8), 6),
        ((3, 40), 16),
        ((1, 9, 4), 16),
        ((5,) * 30, 8),
        ((1,) * 7, 4),
        ((6,), 4),
        ((3, 3), 1),
    ],
)
def test_class_batches(counts, size):
    targets = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    epochs = [list(class_batches(targets, size, np.random.default_rng(seed))) for seed in (0, 0, 1)]
    assert all(np.array_equal(a, b) for a, b in zip(epochs[0], epochs[1], strict=True))
    assert len(epochs[2]) == len(epochs[0])  # as many batches in every epoch
    assert not all(np.array_equal(a, b) for a, b in zip(epochs[0], epochs[2], strict=True))
    batches = epochs[0]
    assert max(map(len, batches)) <= max(size, 6)
    read = np.bincount(np.concatenate(batches), minlength=len(targets))
    assert read.min() >= 1
    for batch in batches:
        assert len(set(batch.tolist())) == len(batch)
        found = np.bincount(targets[batch], minlength=len(counts))
        drawn = found[found > 0]
        # equally frequent, but for classes of fewer rows; and everybody has a mate who can have one
        each = max(size // len(counts), 2)
        assert [int(n) for n in drawn] == [min(each, counts[c]) for c in np.flatnonzero(found)]
        if len(counts) > 1:
            assert len(drawn) > 1
    rows_read = np.array([read[targets == c].sum() for c in range(len(counts))])
    able = np.array(counts) >= max(size // len(counts), 2)
    assert len(set(rows_read[able].tolist())) <= 1
