from __future__ import annotations

import numpy as np
import pytest

from textlabel.errors import CorpusError
from textlabel.trust.discrepancy import WIDTHS, median_squared_distance, mmd, vocabulary_overlap, words


def gaussian(n, d=4, move=0.0, seed=0):
    x = np.random.default_rng(seed).normal(size=(n, d))
    x[:, 0] += move
    return x


def test_mmd_is_the_double_loop_over_the_kernels_of_sklearn():
    from sklearn.metrics.pairwise import rbf_kernel

    x, y = gaussian(12), gaussian(9, move=1.0, seed=1)
    pooled = np.concatenate([x, y])
    squares = [np.sum((a - b) ** 2) for i, a in enumerate(pooled) for b in pooled[:i]]
    expected = 0.0
    for factor in WIDTHS:
        gamma = 1 / (2 * factor * np.median(squares))
        for rows in (x, y):
            kernel, n = rbf_kernel(rows, rows, gamma), len(rows)
            expected += sum(kernel[i, j] for i in range(n) for j in range(n) if i != j) / (n * (n - 1)) / 5
        expected -= 2 * rbf_kernel(x, y, gamma).mean() / 5
    assert mmd(x, y) == pytest.approx(expected, abs=1e-12)


def test_mmd_is_unbiased():
    """Of one distribution its mean is 0, so that some values are negative; another size does not matter."""
    width = 8.0
    found = np.array([mmd(gaussian(40, seed=s), gaussian(25, seed=1000 + s), width) for s in range(200)])
    assert abs(found.mean()) < 3 * found.std(ddof=1) / len(found) ** 0.5
    assert (found < 0).mean() > 0.3
    far = [mmd(gaussian(n, move=1.0, seed=n), gaussian(400, seed=1), width) for n in (200, 800)]
    assert far[0] == pytest.approx(far[1], rel=0.25)
    assert min(far) > found.max()


def test_mmd_grows_with_the_distance():
    found = [mmd(gaussian(200), gaussian(200, move=move, seed=1), 8.0) for move in (0.5, 1.0, 2.0)]
    assert found == sorted(found)


def test_rows_that_are_all_alike_are_no_distance_apart():
    assert mmd(np.ones((5, 3)), np.ones((4, 3))) == 0.0
    assert mmd(np.ones((5, 3)), np.zeros((4, 3))) > 0.5


def test_median_squared_distance_leaves_rows_themselves_out():
    assert median_squared_distance(np.array([[0.0], [1.0], [3.0]])) == pytest.approx(4.0)


@pytest.mark.parametrize(("source", "target"), [((1, 3), (5, 3)), ((5, 3), (5, 2)), ((5,), (5, 1))])
def test_mmd_needs_two_rows_of_one_width(source, target):
    with pytest.raises(CorpusError, match="n, m >= 2"):
        mmd(np.ones(source), np.ones(target))


def test_overlap_counts_words_of_the_target_as_often_as_they_occur():
    found = vocabulary_overlap(["The film was good"], ["the THE the phone", "broke"])
    assert found.known == pytest.approx(3 / 5)
    assert found.jaccard == pytest.approx(1 / 6)


def test_overlap_of_a_corpus_with_itself_is_all_and_without_words_in_common_none():
    assert vocabulary_overlap(["a film"], ["a film"]) == (1.0, 1.0)
    assert vocabulary_overlap(["a film"], ["das telefon"]) == (0.0, 0.0)
    assert vocabulary_overlap([], ["das telefon"]) == (0.0, 0.0)


def test_scripts_without_spaces_are_read_sign_by_sign():
    assert words("这部电影 ok") == ["这", "部", "电", "影", "ok"]
    assert vocabulary_overlap(["这部电影很好"], ["电影不好"]).known == pytest.approx(3 / 4)


def test_a_target_without_words_is_said():
    with pytest.raises(CorpusError, match="no word"):
        vocabulary_overlap(["a film"], ["!!", "..."])
