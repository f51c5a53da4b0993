"""Episodes have no text on both sides, and what cannot be in one is left out and told."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from textlabel.episodes import Pool, places
from textlabel.errors import TrainingError


def pool_of(texts, targets, tasks=None, least=2):
    tasks = np.zeros(len(texts), int) if tasks is None else np.asarray(tasks)
    return Pool.of(np.asarray(texts), np.asarray(targets), tasks, least)


def test_no_text_is_twice_in_a_task_and_texts_of_two_classes_are_left_out():
    texts = np.array([0, 0, 1, 2, 3, 3, 4, 5])
    pool = pool_of(texts, [0, 0, 0, 0, 0, 1, 1, 1])
    rows = np.concatenate(pool.tasks[0])
    assert sorted(texts[rows]) == [0, 1, 2, 4, 5]


def test_episodes_of_many_seeds_have_no_text_on_both_sides():
    rng = np.random.default_rng(0)
    texts, targets, tasks = rng.integers(0, 60, 300), rng.integers(0, 3, 300), np.arange(300) % 3
    targets = targets + 3 * tasks
    pool = pool_of(texts, targets, tasks, least=2)
    for seed in range(50):
        rows = pool.draw(seed % len(pool.tasks), 3, 4, np.random.default_rng(seed))
        support = places(targets[rows]) < 2
        assert not set(texts[rows[support]]) & set(texts[rows[~support]])
        assert len(set(tasks[rows])) == 1


def test_small_classes_and_tasks_are_left_out_with_a_warning(caplog):
    targets = [0, 0, 0, 1, 1, 1, 2, 3, 3, 3, 4]
    with caplog.at_level(logging.WARNING):
        pool = pool_of(np.arange(11), targets, [0] * 7 + [1] * 4, least=3)
    assert [len(classes) for classes in pool.tasks] == [2]
    assert "2 classes have less than 3 different texts, 1 of 2 tasks fewer than two" in caplog.text


def test_nothing_to_draw_is_an_error():
    with pytest.raises(TrainingError, match="two classes of 3 or more different texts"):
        pool_of(np.arange(4), [0, 0, 1, 1], least=3)


def test_a_draw_has_so_many_ways_and_rows_at_most_and_depends_on_the_seed():
    targets = np.arange(80) // 10
    pool = pool_of(np.arange(80), targets)
    drawn = [pool.draw(0, 5, 4, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert [np.bincount(np.unique(targets[d], return_inverse=True)[1]).tolist() for d in drawn] == [
        [4] * 5
    ] * 3
    assert (drawn[0] == drawn[1]).all()
    assert (drawn[0] != drawn[2]).any()
    assert len(pool.draw(0, 50, 50, np.random.default_rng(0))) == 80
