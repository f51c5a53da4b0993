import numpy as np
import pytest

from textlabel.errors import CorpusError
from textlabel.trust.sets import (
    aps_misfits,
    class_quantiles,
    conformal_quantile,
    lac_misfits,
    lac_quantile,
    lac_sets,
    sets_of,
    true_misfits,
    weighted_quantiles,
)


def _rows(rng, n, k=4):
    labels = rng.integers(0, k, n)
    logits = rng.normal(size=(n, k)) + np.eye(k)[labels]
    e = np.exp(2 * logits)  # overconfident on purpose: the promise does not need calibration
    return e / e.sum(1, keepdims=True), labels


def _misfits(kind, p, rng):
    u = rng.random(len(p))
    return {
        "lac": lambda: lac_misfits(p),
        "aps": lambda: aps_misfits(p, u),
        "aps, not randomized": lambda: aps_misfits(p, np.ones(len(p))),
        "raps": lambda: aps_misfits(p, u, penalty=0.05, free=1),
    }[kind]()


def _coverage(misfits, labels, q):
    """How often the true class is let in, before the likeliest class is added."""
    return np.mean(true_misfits(misfits, labels) <= q)


@pytest.mark.parametrize("kind", ["lac", "aps", "raps"])
def test_coverage_is_exact_over_many_calibration_draws(kind):
    rng = np.random.default_rng(0)
    alpha, n, covered = 0.1, 39, []
    for _ in range(400):
        p, y = _rows(rng, n + 50)
        s = _misfits(kind, p, rng)
        q = conformal_quantile(true_misfits(s[:n], y[:n]), alpha)
        covered.append(_coverage(s[n:], y[n:], q))
        inside = sets_of(p[n:], s[n:], q)
        assert inside[np.arange(50), y[n:]].mean() >= covered[-1]
    # exact for continuous scores: 36 / 40; standard error of the mean about 0.003
    assert np.mean(covered) == pytest.approx(0.9, abs=0.012)


@pytest.mark.parametrize("kind", ["lac", "aps", "aps, not randomized", "raps"])
@pytest.mark.parametrize("world", ["ties", "always wrong", "one class"])
def test_coverage_holds_in_bad_worlds(kind, world):
    rng = np.random.default_rng(1)
    covered = []
    for _ in range(300):
        p, y = _rows(rng, 69)
        if world == "ties":
            p = np.round(p * 2) / 2 + 1e-3
        elif world == "always wrong":
            y = p.argmin(1)
        else:
            y[:] = 0
        s = _misfits(kind, p, rng)
        covered.append(_coverage(s[19:], y[19:], conformal_quantile(true_misfits(s[:19], y[:19]), 0.1)))
    assert np.mean(covered) >= 0.9 - 3 * np.std(covered) / np.sqrt(300)


def test_the_quantile_is_the_right_order_statistic():
    misfits = np.random.default_rng(1).permutation(np.arange(1, 10) / 10)
    p = np.column_stack([1 - misfits, misfits])
    assert lac_quantile(p, [0] * 9, alpha=0.3) == pytest.approx(0.7)  # rank 7 of 10 * 0.7, despite rounding


@pytest.mark.parametrize(("n", "finite"), [(0, False), (18, False), (19, True)])
def test_five_percent_needs_nineteen_rows(n, finite):
    q = lac_quantile(np.full((n, 2), 0.5), [0] * n, alpha=0.05)
    assert np.isfinite(q) == finite
    assert lac_sets([[1.0, 0.0]], q).all() != finite


@pytest.mark.parametrize("alpha", [-0.1, 1.0, 5])
def test_alpha_must_be_a_share(alpha):
    with pytest.raises(CorpusError, match="alpha in"):
        lac_quantile([[0.5, 0.5]], [0], alpha)


# --- misfits --------------------------------------------------------------------------------------


def test_aps_sums_what_goes_before():
    s = aps_misfits([[0.2, 0.5, 0.3]], [0.25])
    np.testing.assert_allclose(s, [[0.8 + 0.25 * 0.2, 0.25 * 0.5, 0.5 + 0.25 * 0.3]])
    np.testing.assert_allclose(
        aps_misfits([[0.2, 0.5, 0.3]], [0.25], penalty=0.1, free=1) - s, [[0.2, 0.0, 0.1]]
    )


def test_aps_coverage_adapts_where_lac_does_not():
    """Two kinds of rows, easy and hard: LAC's coverage differs between them, that of APS much less."""
    rng = np.random.default_rng(2)
    hard = rng.random(20_000) < 0.3
    p = np.where(hard[:, None], rng.dirichlet([2.0] * 6, 20_000), rng.dirichlet([9.0] + [0.2] * 5, 20_000))
    y = (p.cumsum(1) > rng.random(20_000)[:, None]).argmax(1)
    gap = {}
    for kind in ("lac", "aps"):
        s = _misfits(kind, p, rng)
        own = true_misfits(s, y)
        inside = own[10_000:] <= conformal_quantile(own[:10_000], 0.1)
        gap[kind] = inside[~hard[10_000:]].mean() - inside[hard[10_000:]].mean()
    assert gap["lac"] > 0.1
    assert abs(gap["aps"]) < 0.03


def test_raps_makes_the_largest_sets_smaller():
    rng = np.random.default_rng(3)
    p = rng.dirichlet([0.3] * 40, 4000)
    y = (p.cumsum(1) > rng.random(4000)[:, None]).argmax(1)
    u = rng.random(4000)
    sizes = {}
    for penalty in (0.0, 0.05):
        s = aps_misfits(p, u, penalty=penalty, free=3)
        inside = sets_of(p[2000:], s[2000:], conformal_quantile(true_misfits(s[:2000], y[:2000]), 0.1))
        assert inside[np.arange(2000), y[2000:]].mean() > 0.88
        sizes[penalty] = inside.sum(1).max()
    assert sizes[0.05] < sizes[0.0]


@pytest.mark.parametrize("bad", [{"u": [2.0]}, {"u": [0.5, 0.5]}, {"u": [0.5], "penalty": -1.0}])
def test_bad_draws_are_refused(bad):
    with pytest.raises(CorpusError, match=r"expected u \(n,\) in"):
        aps_misfits([[0.5, 0.5]], **bad)


def test_labels_outside_the_classes_are_refused():
    with pytest.raises(CorpusError, match=r"labels \(n,\) in \[0, k\)"):
        lac_quantile([[0.5, 0.5]], [2], 0.1)


def test_a_misfit_that_is_no_number_is_refused():
    with pytest.raises(CorpusError, match="or NaN among them"):
        conformal_quantile([0.1, np.nan], 0.1)


# --- quantiles ------------------------------------------------------------------------------------


def test_each_class_is_covered_by_its_own_quantile():
    rng = np.random.default_rng(4)
    alpha, covered, plain = 0.1, [], []
    for _ in range(300):
        p, y = _rows(rng, 400, k=3)
        p[:, 2] *= 0.3  # a class that the model neglects
        p /= p.sum(1, keepdims=True)
        own = true_misfits(lac_misfits(p), y)
        q = class_quantiles(own[:200], y[:200], 3, alpha)
        third = y[200:] == 2
        covered.append(np.mean(own[200:][third] <= q[2]))
        plain.append(np.mean(own[200:][third] <= conformal_quantile(own[:200], alpha)))
    assert np.mean(covered) >= 0.9 - 3 * np.std(covered) / np.sqrt(300)
    assert np.mean(covered) < 0.93
    assert np.mean(plain) < 0.85


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.2, 0.3])
def test_a_class_of_too_few_rows_is_in_every_set(alpha):
    least = int(np.ceil(1 / alpha - 1e-9)) - 1
    y = np.repeat([0, 1, 2], [least, least - 1, 0])
    q = class_quantiles(np.zeros(len(y)), y, 3, alpha)
    assert np.isfinite(q).tolist() == [True, False, False]
    p = np.array([[1.0, 0.0, 0.0]])
    assert sets_of(p, lac_misfits(p), q).tolist() == [[True, True, True]]


def test_even_weights_give_the_plain_quantile():
    rng = np.random.default_rng(5)
    for n in (5, 9, 19, 20, 137):
        misfits = rng.random(n)
        for alpha in (0.05, 0.1, 0.3):
            q = weighted_quantiles(misfits, np.full(n, 0.7), [0.7, 0.7], alpha)
            assert q.tolist() == [conformal_quantile(misfits, alpha)] * 2


def test_weights_count_as_repeated_rows():
    rng = np.random.default_rng(6)
    misfits, weights = rng.random(60), rng.integers(0, 4, 60)
    repeated = conformal_quantile(np.repeat(misfits, weights), 0.1)
    assert weighted_quantiles(misfits, weights, [1], 0.1).tolist() == [repeated]


def test_weighted_quantile_is_the_definition():
    """Sum the weights of misfits up to each candidate, one by one, infinity last."""
    rng = np.random.default_rng(7)
    misfits, w, new = rng.integers(0, 5, 30).astype(float), rng.random(30), rng.random(20) * 5
    for alpha in (0.1, 0.25):
        for weight, q in zip(new, weighted_quantiles(misfits, w, new, alpha), strict=True):
            share = {s: w[misfits <= s].sum() / (w.sum() + weight) for s in sorted(set(misfits))}
            assert q == next((s for s, mass in share.items() if mass >= 1 - alpha), np.inf)


def test_coverage_under_covariate_shift_needs_the_weights():
    """x moves to where the model errs; P(y | x) stays. True ratios restore coverage, and only they do."""
    rng = np.random.default_rng(8)
    weighted, plain, atoms = [], [], 0
    for _ in range(300):
        x = np.concatenate([rng.random(150), np.sqrt(rng.random(150))])  # densities 1 and 2x
        right = rng.random(300) < 1 - 0.45 * x**2
        own = np.where(right, 0.3 * rng.random(300), 0.4 + 0.6 * rng.random(300))  # misfit at the truth
        ratio = 2 * x
        q = weighted_quantiles(own[:150], ratio[:150], ratio[150:], 0.2)
        atoms += np.isinf(q).sum()
        weighted.append(np.mean(own[150:] <= q))
        plain.append(np.mean(own[150:] <= conformal_quantile(own[:150], 0.2)))
    assert np.mean(weighted) >= 0.8 - 3 * np.std(weighted) / np.sqrt(300)
    assert np.mean(weighted) < 0.83
    assert np.mean(plain) < 0.77
    assert atoms == 0


def test_a_row_that_outweighs_all_others_gets_every_class():
    q = weighted_quantiles(np.zeros(100), np.ones(100), [1.0, 20.0, 0.0], 0.1)
    assert q.tolist() == [0.0, np.inf, 0.0]
    assert weighted_quantiles(np.zeros(3), np.zeros(3), [0.0], 0.1).tolist() == [np.inf]


@pytest.mark.parametrize(("weights", "new"), [([1.0], [1.0]), ([1.0, -1.0], [1.0]), ([1.0, 1.0], [np.inf])])
def test_bad_weights_are_refused(weights, new):
    with pytest.raises(CorpusError, match="one finite weight"):
        weighted_quantiles([0.1, 0.2], weights, new, 0.1)
