"""What a solved head learns from beside labeled rows: names of classes, copies, unlabeled texts."""

from __future__ import annotations

import numpy as np
import pytest

from textlabel.engine.comparison import least_by_far, tempered_losses
from textlabel.engine.fitter import Aside
from textlabel.engine.head import fit_head
from textlabel.recipe import Stage

D = 12


def draw(n, seed, spread=1.0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    return rng.normal(size=(n, D)) * spread + 2.0 * np.eye(3, D)[y], y


def stage(**options):
    rows = "both" if "spread" in options else "labeled"
    return Stage.of({"name": "head", "folds": 3, **options}, "cross_entropy", rows)


NAMES = Aside(2.0 * np.eye(3, D)[None])


def right(fitted, seed=99):
    x, y = draw(3000, seed)
    return np.mean(fitted.head(x).argmax(axis=1) == y)


def test_good_names_help_and_wrong_ones_are_not_listened_to():
    gains, losses = [], []
    for seed in range(8):
        x, y = draw(9, seed)
        plain = fit_head(x, y, np.arange(9), 3, stage(), 0)
        good = fit_head(x, y, np.arange(9), 3, stage(name_weights=[0, 3]), 0, None, NAMES)
        wrong = Aside(2.0 * np.roll(np.eye(3, D), 1, axis=0)[None])
        misled = fit_head(x, y, np.arange(9), 3, stage(name_weights=[0, 3]), 0, None, wrong)
        gains.append(right(good) - right(plain))
        losses.append(right(plain) - right(misled))
    assert np.mean(gains) > 0.03
    assert np.mean(losses) < 0.01


def test_names_are_rows_of_their_classes():
    x, y = draw(30, 0)
    read = np.random.default_rng(1).normal(size=(2, 3, D))  # in two templates
    asked = fit_head(x, y, np.arange(30), 3, stage(name_weights=[2], l2=0.1), 0, None, Aside(read))
    names = x.mean(axis=0) + read.mean(axis=0) - read.mean(axis=(0, 1))
    more = np.concatenate([x, names, names])
    labels = np.concatenate([y, np.arange(3), np.arange(3)])
    other = fit_head(more, labels, np.arange(36), 3, stage(l2=0.1 * 36 / 30), 0)
    np.testing.assert_allclose(asked.head.weight, other.head.weight, atol=1e-3)
    assert asked.name_weight == 2


def test_what_names_share_and_where_they_lie_is_not_learned():
    x, y = draw(12, 0)
    shared = np.random.default_rng(1).normal(size=(1, 1, D)) * 9
    found = [
        fit_head(x, y, np.arange(12), 3, stage(name_weights=[3], l2=0.1), 0, None, Aside(names)).head.weight
        for names in (NAMES.names, NAMES.names + shared)
    ]
    np.testing.assert_allclose(found[0], found[1], atol=1e-8)


def test_a_copy_is_in_no_head_that_lacks_its_row():
    x, y = draw(30, 0)
    copies = np.random.default_rng(1).normal(size=(30, D)) * 3

    def members(moved):
        changed = copies.copy()
        changed[moved] += 5
        return fit_head(
            x, y, np.arange(30), 3, stage(l2=0.1), 0, None, Aside(copies=changed, owners=np.arange(30))
        ).members

    before, after = members([]), members([7])
    assert [np.allclose(a.weight, b.weight) for a, b in zip(before, after, strict=True)].count(True) == 1


def test_unlabeled_rows_that_cluster_help_and_others_are_not_listened_to():
    gains, harm = [], []
    for seed in range(8):
        x, y = draw(9, seed)
        plain = fit_head(x, y, np.arange(9), 3, stage(), 0)
        corpus = Aside(unlabeled=draw(400, 50 + seed, 0.6)[0])
        fitted = fit_head(x, y, np.arange(9), 3, stage(spread=[0.8, 0.0]), 0, None, corpus)
        gains.append(right(fitted) - right(plain))
        rng = np.random.default_rng(seed)
        # two lumps that cut across the classes
        lumps = rng.normal(size=(400, D)) + 6 * np.eye(1, D, 8) * rng.choice([-1, 1], 400)[:, None]
        x = x + 6 * np.eye(1, D, 8) * rng.choice([-1, 1], 9)[:, None]
        misled = fit_head(x, y, np.arange(9), 3, stage(spread=[0.0, 0.8]), 0, None, Aside(unlabeled=lumps))
        harm.append(misled.spread)
    assert np.mean(gains) > 0.02
    assert np.mean(np.array(harm) > 0) <= 0.25  # the first is kept unless labels speak for another


def test_out_of_fold_logits_do_not_know_the_rows_label():
    x, y = draw(30, 0)
    corpus = Aside(np.eye(3, D)[None], unlabeled=draw(60, 5)[0])
    asked = stage(name_weights=[1], spread=[0.8], l2=0.1)
    before = fit_head(x, y, np.arange(30), 3, asked, 0, None, corpus)
    fold = [k for k, m in enumerate(before.members) if np.allclose(m(x[:1]), before.out_of_fold[:1])]
    assert len(fold) == 1  # by one member, which the row's label did not reach
    held = before.members[fold[0]]
    same_fold = [i for i in range(30) if np.allclose(held(x[i : i + 1])[0], before.out_of_fold[i])]
    pair = next(i for i in same_fold if y[i] != y[0])
    swapped = y.copy()
    swapped[0], swapped[pair] = y[pair], y[0]
    from textlabel.engine.fitter import Fitter, Kind

    one = Fitter(x, y, np.arange(30), 3, asked, 0, None, corpus)
    two = Fitter(x, swapped, np.arange(30), 3, asked, 0, None, corpus)
    two.fold = one.fold
    k = one.fold[0]
    heads = [next(f.by_fold(f.everything, Kind(1, 0.0), [0.1])) for f in (one, two)]
    spread = [f.spread([0.8], h[0], h)[2][k] for f, h in zip((one, two), heads, strict=True)]
    np.testing.assert_allclose(spread[0].weight, spread[1].weight)


def test_tempered_losses_forget_the_scale():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 500)
    logits = rng.normal(size=(500, 3)) + np.eye(3)[y]
    np.testing.assert_allclose(tempered_losses(7 * logits, y), tempered_losses(logits, y), atol=1e-3)


@pytest.mark.parametrize(("gain", "expected"), [(0.5, 1.0), (0.01, 0.0)])
def test_the_first_stands_within_noise(gain, expected):
    rng = np.random.default_rng(0)
    first, noise = rng.normal(size=200), rng.normal(size=200)
    noise -= noise.mean()
    assert least_by_far({0.0: first, 1.0: first - gain + noise}) == expected
