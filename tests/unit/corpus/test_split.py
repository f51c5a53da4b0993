"""Splits keep duplicates together and classes on both sides, on many random draws."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from textlabel.corpus.split import folds, holdout
from textlabel.errors import CorpusError

DRAWS = 40
Draw = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]


def splits_groups(groups: npt.NDArray[np.int64], side: npt.NDArray[np.generic]) -> bool:
    pairs = np.unique(np.stack([groups, side.astype(np.int64)], axis=1), axis=0)
    return len(pairs) > len(np.unique(groups))


def distinct(rng: np.random.Generator, k: int) -> Draw:
    """Return imbalanced classes of at least k distinct texts, one of them of exactly k."""
    sizes = np.r_[k, k + rng.geometric(0.02, size=rng.integers(1, 6))]
    labels = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    return labels, np.arange(len(labels))


def repeated(rng: np.random.Generator, k: int) -> Draw:
    """Return classes of at least k distinct texts, most of which occur several times."""
    labels, groups = distinct(rng, k)
    copies = np.minimum(rng.geometric(0.4, size=len(labels)), 30)
    order = rng.permutation(copies.sum())
    return np.repeat(labels, copies)[order], np.repeat(groups, copies)[order]


def contradictory(rng: np.random.Generator, k: int) -> Draw:
    """Return repeated texts a tenth of whose rows bear another class."""
    labels, groups = repeated(rng, k)
    wrong = rng.random(len(labels)) < 0.1
    changed = np.where(wrong, rng.integers(0, labels.max() + 1, len(labels)), labels)
    spans = [len(np.unique(groups[changed == c])) > k for c in range(labels.max() + 1)]
    return (changed if all(spans) else labels), groups


KINDS: list[Callable[[np.random.Generator, int], Draw]] = [distinct, repeated, contradictory]


@pytest.mark.parametrize("kind", KINDS)
def test_folds_hold_on_random_draws(kind: Callable[[np.random.Generator, int], Draw]) -> None:
    for seed in range(DRAWS):
        rng = np.random.default_rng(seed)
        k = int(rng.integers(2, 8))
        labels, groups = kind(rng, k)
        fold = folds(labels, groups, k, seed)
        assert sorted(set(fold.tolist())) == list(range(k))
        assert not splits_groups(groups, fold)
        for f in range(k):
            assert set(labels[fold != f]) == set(labels)
            if kind is not contradictory:
                assert set(labels[fold == f]) == set(labels)
        assert (fold == folds(labels, groups, k, seed)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_holdout_holds_on_random_draws(kind: Callable[[np.random.Generator, int], Draw]) -> None:
    for seed in range(DRAWS):
        rng = np.random.default_rng(seed)
        labels, groups = kind(rng, 2)
        fraction = float(rng.uniform(0.02, 0.98))
        held = holdout(labels, groups, fraction, seed)
        assert not splits_groups(groups, held)
        assert set(labels[held]) == set(labels[~held]) == set(labels)
        assert (held == holdout(labels, groups, fraction, seed)).all()


def test_distinct_texts_are_stratified_to_the_row() -> None:
    for seed in range(DRAWS):
        rng = np.random.default_rng(seed)
        k = int(rng.integers(2, 8))
        labels, groups = distinct(rng, k)
        fold = folds(labels, groups, k, seed)
        sizes = np.array([[np.sum((labels == c) & (fold == f)) for c in np.unique(labels)] for f in range(k)])
        assert np.ptp(sizes, axis=0).max() <= 1
        assert np.ptp(sizes.sum(axis=1)) <= 2
        held = holdout(labels, groups, 0.3, seed)
        for c in np.unique(labels):
            assert abs(held[labels == c].sum() - 0.3 * np.sum(labels == c)) <= 1


def test_repeated_texts_are_stratified_about_as_well() -> None:
    for seed in range(DRAWS):
        labels, groups = repeated(np.random.default_rng(seed), 5)
        shares = np.bincount(folds(labels, groups, 5, seed)) / len(labels)
        largest = np.bincount(groups).max() / len(labels)
        assert np.abs(shares - 0.2).max() <= largest + 0.02


def test_seeds_differ() -> None:
    labels, groups = distinct(np.random.default_rng(0), 5)
    assert (folds(labels, groups, 5, 0) != folds(labels, groups, 5, 1)).any()
    assert (holdout(labels, groups, 0.2, 0) != holdout(labels, groups, 0.2, 1)).any()


def test_names_are_labels_too() -> None:
    assert len(set(folds(["a", "b"] * 3, np.arange(6), 3, 0).tolist())) == 3


def test_scores_are_spread_by_quantile() -> None:
    rng = np.random.default_rng(0)
    scores = rng.exponential(size=500)
    groups = np.r_[np.arange(450), np.arange(50)]
    fold = folds(scores, groups, 5, 0)
    assert not splits_groups(groups, fold)
    assert np.ptp([np.median(scores[fold == f]) for f in range(5)]) < 0.15
    held = holdout(scores, groups, 0.2, 0)
    assert abs(held.mean() - 0.2) < 0.03
    assert abs(np.median(scores[held]) - np.median(scores[~held])) < 0.1


def test_a_few_scores() -> None:
    assert sorted(folds(np.array([1.0, 1.0, 1.0]), np.arange(3), 3, 0).tolist()) == [0, 1, 2]
    assert holdout(np.array([1.0, 2.0]), np.arange(2), 0.01, 0).sum() == 1


def test_a_large_split_is_fast() -> None:
    rng = np.random.default_rng(0)
    assert len(folds(rng.integers(0, 20, 50_000), np.arange(50_000), 5, 0)) == 50_000


def test_messages() -> None:
    two = np.arange(2)
    with pytest.raises(CorpusError, match="expected at least 2 folds, got 1"):
        folds(["a", "b"], two, 1, 0)
    with pytest.raises(CorpusError, match=r"to hold out a fraction between 0 and 1, got 1\.0"):
        holdout(["a", "b"], two, 1.0, 0)
    with pytest.raises(
        CorpusError, match="2 distinct texts cannot make 3 parts; label more rows or use fewer folds"
    ):
        folds(["a", "b"], two, 3, 0)
    with pytest.raises(
        CorpusError, match="class 'b' has only one distinct text, which cannot be on both sides"
    ):
        folds(["a", "a", "b", "b"], np.array([0, 1, 2, 2]), 2, 0)


def test_texts_labeled_in_contradictory_ways() -> None:
    labels, groups = ["a", "b", "b", "c", "c", "a"], np.array([0, 0, 1, 1, 2, 2])
    assert len(set(folds(labels, groups, 3, 0).tolist())) == 3
    with pytest.raises(CorpusError, match=r"no split found that leaves class '.' on both sides: some texts"):
        folds(labels, groups, 2, 0)


# ---- rows of several classes ------------------------------------------------------------------------


def test_rows_of_several_classes_are_stratified_by_each() -> None:
    rng = np.random.default_rng(0)
    answers = (rng.random((400, 5)) < [0.02, 0.05, 0.2, 0.5, 0.9]).astype(np.int64)
    answers[:40] = 0
    groups = rng.integers(0, 380, 400)
    fold = folds(answers, groups, 5, 0)
    assert not splits_groups(groups, fold)
    for carried in [*answers.T, ~answers.any(axis=1)]:
        counts = np.bincount(fold[carried.astype(bool)], minlength=5)
        assert counts.max() - counts.min() <= max(3, 0.3 * counts.mean())
    held = holdout(answers, groups, 0.2, 0)
    assert (answers[held].any(axis=0) & answers[~held].any(axis=0)).all()


def test_classes_that_overlap_without_a_way_out_are_split_all_the_same() -> None:
    pairs = np.array([[1, 1, 0], [0, 1, 1], [1, 0, 1]])
    assert 0 < holdout(pairs, np.arange(3), 0.5, 0).sum() < 3


def test_a_class_of_one_text_is_wherever_it_falls() -> None:
    answers = np.zeros((12, 3), np.int64)
    answers[:6, 0], answers[6:11, 1], answers[11, 2] = 1, 1, 1
    fold = folds(answers, np.arange(12), 3, 0)
    assert set(np.bincount(fold).tolist()) <= {3, 4, 5}
