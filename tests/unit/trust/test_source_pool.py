"""Factors of a log-linear pool: the right classifier gets them, a poisoned one gets none."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.special import log_softmax

from textlabel.errors import CorpusError
from textlabel.trust.source_pool import nearest_rows, pool_factors


def outputs(seed, n=120, k=3):
    """Return classes, and logits of a good, a mediocre, a useless and a poisoned classifier."""
    rng = np.random.default_rng(seed)
    y = rng.integers(k, size=n)
    truth = np.eye(k)[y]
    scales = (2.5, 1.0, 0.0, -2.0)
    return y, np.stack([scale * truth + rng.normal(size=(n, k)) for scale in scales])


def loss(factors, z, y):
    """Return what the factors minimize: the loss of the pool, and a prior on their sum worth one row."""
    nats = -log_softmax(np.tensordot(factors, z, axes=1), axis=1)[np.arange(len(y)), y].mean()
    return nats + factors.sum() / len(y)


@pytest.mark.parametrize("seed", range(3))
def test_no_other_weights_do_better_and_a_poisoned_source_gets_none(seed):
    y, z = outputs(seed)
    found = pool_factors(z, y)
    assert found.min() >= 0
    assert found[0] == found.max()
    assert found[3] == 0
    others = np.random.default_rng(seed).gamma(1.0, size=(2000, 4))
    near = found * np.random.default_rng(seed).uniform(0.95, 1.05, size=(200, 4))
    assert loss(found, z, y) <= min(loss(v, z, y) for v in [*others, *near, *np.eye(4)]) + 1e-7


def test_a_poisoned_source_gets_nothing_for_making_a_sure_one_less_sure():
    y, z = outputs(0)
    sure = 20 * z[1]
    assert pool_factors(np.stack([sure, -sure]), y)[1] == 0


def test_rows_that_are_all_right_leave_the_factors_finite():
    y = np.arange(12) % 3
    assert 0 < pool_factors(5 * np.eye(3)[y][None], y).sum() < 20


def test_one_source_is_enough_and_shapes_are_checked():
    y, z = outputs(0)
    assert pool_factors(z[:1], y).shape == (1,)
    for wrong in (z[0], z[:0], z[:, :5]):
        with pytest.raises(CorpusError, match="expected logits"):
            pool_factors(wrong, y)


def test_the_nearest_rows_are_those_of_another_computation():
    rng = np.random.default_rng(5)
    source, target = rng.normal(size=(60, 4)), rng.normal(size=(30, 4)) + 1.0
    center = target.mean(axis=0)
    away = cdist(source - center, target - center, "cosine")
    mean = np.sort(away, axis=1)[:, :5].mean(axis=1)
    kept = nearest_rows(source, target, 0.25)
    assert sorted(np.flatnonzero(kept)) == sorted(np.argsort(mean)[:15])
    assert nearest_rows(source, target, 1.0).all()
    assert nearest_rows(source, target, 1e-6).sum() == 1


@pytest.mark.parametrize(("share", "rows"), [(0.0, 5), (1.5, 5), (0.5, 0)])
def test_a_share_that_is_none_is_refused(share, rows):
    with pytest.raises(CorpusError, match="expected a share"):
        nearest_rows(np.ones((rows, 2)), np.ones((3, 2)), share)
