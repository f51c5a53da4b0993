"""Confident learning: thresholds, joint and pruning against loops that say what they do."""

from __future__ import annotations

import numpy as np
import pytest

from textlabel.errors import RecipeError
from textlabel.trust import label_errors
from textlabel.trust.label_errors import LabelErrors, find_label_errors, require_cleanlab, soft_targets


def sample(n=400, k=3, wrong=0.2, seed=0, sharp=4.0):
    """Return given labels, right ones and probabilities of a model that is mostly right."""
    rng = np.random.default_rng(seed)
    right = rng.integers(0, k, n)
    given = np.where(rng.random(n) < wrong, (right + rng.integers(1, k, n)) % k, right)
    logits = sharp * np.eye(k)[right] + rng.normal(0, 1, (n, k))
    p = np.exp(logits)
    return given, right, p / p.sum(axis=1, keepdims=True)


def counted(labels, p):
    """Return the confident joint of Northcutt et al., equations 1 and 2, by loops."""
    n, k = p.shape
    threshold = [p[labels == j, j].mean() if (labels == j).any() else 2.0 for j in range(k)]
    counts = np.zeros((k, k))
    for i in range(n):
        sure = [j for j in range(k) if p[i, j] >= threshold[j]]
        if sure:
            counts[labels[i], max(sure, key=lambda j: p[i, j])] += 1
    return counts


def calibrated(labels, counts):
    """Return the joint: rows scaled to the counts of given labels, the whole to 1 (equation 3)."""
    k = len(counts)
    given = np.bincount(labels, minlength=k)
    rows = counts.copy()
    np.fill_diagonal(rows, np.maximum(rows.diagonal(), 1))  # as cleanlab: no class is all wrong
    rows = rows / rows.sum(axis=1, keepdims=True) * given[:, None]
    return rows / rows.sum()


@pytest.mark.parametrize(("k", "seed"), [(2, 0), (3, 1), (5, 2)])
def test_the_joint_is_that_of_the_paper(k, seed):
    labels, _, p = sample(k=k, seed=seed)
    np.testing.assert_allclose(
        find_label_errors(labels, p).joint, calibrated(labels, counted(labels, p)), atol=0.01
    )


@pytest.mark.parametrize("seed", range(3))
def test_rows_of_each_pair_are_those_of_the_largest_margin(seed):
    """Prune by noise rate: for each pair of classes as many rows as were counted."""
    labels, _, p = sample(seed=seed)
    errors = find_label_errors(labels, p)
    counts = np.rint(calibrated(labels, counted(labels, p)) * len(labels)).astype(int)
    expected = np.zeros(len(labels), np.bool_)
    for i in range(3):
        rows = np.flatnonzero(labels == i)
        for j in range(3):
            if i != j:
                margin = p[rows, j] - p[rows, i]
                chosen = rows[np.argsort(-margin)[: counts[i, j]]]
                expected[chosen] = True
    expected &= p.argmax(axis=1) != labels
    assert (errors.found != expected).sum() <= 2  # what is rounded so that counts of a class stay whole
    assert errors.found.sum() > 30


def test_wrong_labels_are_found_by_a_good_model_and_none_by_a_sure_one():
    labels, right, p = sample(n=2000, sharp=8.0)
    errors = find_label_errors(labels, p)
    wrong = labels != right
    assert (errors.found & wrong).sum() / errors.found.sum() > 0.95
    assert (errors.found & wrong).sum() / wrong.sum() > 0.9
    assert errors.wrong_share == pytest.approx(wrong.mean(), abs=0.03)
    assert (errors.likely[errors.found & wrong] == right[errors.found & wrong]).mean() > 0.95
    clean = find_label_errors(right, 0.94 * np.eye(3)[right] + 0.02)
    assert not clean.found.any()
    assert clean.wrong_share == pytest.approx(0)


def test_the_list_starts_with_the_least_believed():
    labels, _, p = sample()
    errors = find_label_errors(labels, p)
    ranked = errors.ranked()
    assert set(ranked.tolist()) == set(np.flatnonzero(errors.found).tolist())
    assert (np.diff(p[ranked, labels[ranked]]) >= 0).all()
    np.testing.assert_array_equal(errors.self_confidence, p[np.arange(len(labels)), labels])


def test_a_class_without_rows_is_nobody_s_true_class():
    labels, _, p = sample()
    wide = np.concatenate([p, np.zeros((len(p), 1))], axis=1)
    errors = find_label_errors(labels, wide)
    assert errors.joint.shape == (4, 4)
    assert errors.joint[3].sum() == errors.joint[:, 3].sum() == 0
    np.testing.assert_array_equal(errors.found, find_label_errors(labels, p).found)


def test_one_class_has_nothing_to_be_confused_with():
    errors = find_label_errors(np.ones(5, np.int64), np.full((5, 3), 1 / 3))
    assert not errors.found.any()
    assert errors.wrong_share == 0
    assert errors.joint[1, 1] == pytest.approx(1)


def test_a_class_keeps_two_rows():
    labels = np.array([0] * 40 + [1] * 4)
    p = np.full((44, 2), 0.02)
    p[:, 0] = 0.98
    p[40:, 1] = [0.1, 0.3, 0.02, 0.2]
    p[40:, 0] = 1 - p[40:, 1]
    p[:2] = [[0.1, 0.9], [0.2, 0.8]]  # so that the rare class is believed somewhere
    found = label_errors._leave_some(labels == 1, labels, p[np.arange(44), labels])
    assert np.flatnonzero(found).tolist() == [40, 42]
    errors = find_label_errors(labels, p)
    assert (~errors.found[40:]).sum() >= 2


def test_soft_labels_differ_only_where_a_label_is_likely_wrong():
    labels, p = np.array([0, 1, 1]), np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]])
    errors = LabelErrors(
        np.array([False, True, False]), p.argmax(axis=1), p[[0, 1, 2], labels], np.eye(2) / 2
    )
    assert soft_targets(labels, p, errors).tolist() == [[1, 0], [0.8, 0.2], [0, 1]]


def test_without_cleanlab_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setattr(label_errors, "find_spec", lambda name: None)
    with pytest.raises(RecipeError, match=r"this needs cleanlab: pip install 'textlabel\[cleanlab\]'"):
        require_cleanlab("this")
