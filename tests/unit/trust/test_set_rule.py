"""The rule that a model keeps: every kind covers at its level, and a row's set depends on its text alone."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import kstest

from textlabel.errors import RecipeError
from textlabel.trust.set_rule import KINDS, SetPlan, SetRule, draws
from textlabel.trust.sets import aps_misfits, true_misfits

NAMES = ("a", "b", "c")
REPEATS, HALF = 150, 150  # rows that calibrate, and as many new ones


def rows(rng, n, k=3):
    """Return probabilities of a model that is not quite right, and labels drawn from the true ones."""
    logits = 1.5 * rng.normal(size=(n, k))
    truth = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    said = truth ** rng.uniform(0.5, 2, (n, 1)) * [1.0, 1.0, 0.4]
    return said / said.sum(axis=1, keepdims=True), (truth.cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)


def texts(n, start=0):
    return [f"text {start + i}" for i in range(n)]


# --- draws ----------------------------------------------------------------------------------------


def test_draws_are_uniform_and_another_seed_draws_anew():
    first, second = draws(texts(5000), 0), draws(texts(5000), 1)
    for found in (first, second):
        assert kstest(found, "uniform").pvalue > 0.01
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.05
    assert abs(np.corrcoef(first[1:], first[:-1])[0, 1]) < 0.05


def test_a_draw_depends_on_text_and_seed_only():
    some = [*texts(20), "", "\ud800", "\u00c4", "A\u0308"]
    together = draws(some, 7)
    assert together.tolist() == [draws([text], 7)[0] for text in some]
    assert together[-2] != together[-1]  # composed or not: to the letter
    assert ((together >= 0) & (together < 1)).all()


def test_a_row_does_not_depend_on_its_neighbors():
    p, y = rows(np.random.default_rng(0), 300)
    for kind in KINDS:
        rule = SetPlan(kind).fit(p[:200], y[:200], texts(200), NAMES, 3)
        whole = rule.sets(p[200:], texts(100, 200))
        order = np.random.default_rng(1).permutation(100)[:37]
        part = rule.sets(p[200:][order], [texts(100, 200)[i] for i in order])
        np.testing.assert_array_equal(part, whole[order], err_msg=kind)


def test_only_the_kinds_that_draw_read_the_texts():
    p, y = rows(np.random.default_rng(0), 100)
    assert {
        kind: (
            SetPlan(kind).fit(p, y, texts(100), NAMES, 0).sets(p, texts(100))
            != SetPlan(kind).fit(p, y, texts(100), NAMES, 1).sets(p, texts(100))
        ).any()
        for kind in KINDS
    } == {"lac": False, "aps": True, "raps": True, "class": False}


# --- coverage -------------------------------------------------------------------------------------


def covered(kind, alpha, words=texts):
    """Return the share of new rows whose set holds the truth: by repeat (150,), and by class (150, 3)."""
    overall, by_class = [], []
    for seed in range(REPEATS):
        p, y = rows(np.random.default_rng(seed), 2 * HALF)
        text = words(2 * HALF, 1000 * seed)
        rule = SetPlan(kind, alpha).fit(p[:HALF], y[:HALF], text[:HALF], NAMES, seed)
        hit = SetRule.from_json(json.loads(json.dumps(rule.to_json()))).sets(p[HALF:], text[HALF:])
        hit = hit[np.arange(HALF), y[HALF:]]
        overall.append(hit.mean())
        by_class.append([hit[y[HALF:] == c].mean() for c in range(3)])
    return np.array(overall), np.array(by_class)


def error(shares):
    return 3 * shares.std() / np.sqrt(len(shares))


@pytest.mark.parametrize("alpha", [0.1, 0.3])
@pytest.mark.parametrize("kind", ["lac", "aps", "raps"])
def test_sets_cover_at_their_level(kind, alpha):
    overall, _ = covered(kind, alpha)
    assert overall.mean() >= 1 - alpha - error(overall)
    assert overall.mean() < 1 - alpha / 2  # above the level only as the likeliest class is in every set


def test_with_draws_of_their_texts_misfits_cover_hardly_above_the_level():
    hits = []
    for seed in range(REPEATS):
        p, y = rows(np.random.default_rng(seed), 2 * HALF)
        rule = SetPlan("aps", 0.3).fit(p[:HALF], y[:HALF], texts(HALF), NAMES, seed)
        misfits = aps_misfits(p[HALF:], draws(texts(HALF, HALF), seed))
        hits.append(np.mean(true_misfits(misfits, y[HALF:]) <= rule.quantiles))
    assert 0.7 - error(np.array(hits)) <= np.mean(hits) <= 0.7 + 1 / (HALF + 1) + error(np.array(hits))


def test_sets_of_the_kind_class_cover_each_class_and_the_others_do_not():
    _, each = covered("class", 0.1)
    _, lac = covered("lac", 0.1)
    for own in each.T:
        assert 0.9 - error(own) <= own.mean() < 0.95
    assert lac[:, 2].mean() < 0.85
    assert lac[:, :2].mean() > 0.93


def test_where_class_shares_change_only_sets_of_the_kind_class_keep_their_promise():
    last = {"class": [], "lac": []}
    overall = {"class": [], "lac": []}
    for seed in range(REPEATS):
        rng = np.random.default_rng(seed)
        p, y = rows(rng, 4 * HALF)
        kept = rng.random(4 * HALF) < np.where(
            y == 2, 1.0, 0.1
        )  # of the new rows: most are of the last class
        kept[:HALF] = False
        for kind, hits in last.items():
            rule = SetPlan(kind).fit(p[:HALF], y[:HALF], texts(HALF), NAMES, seed)
            hit = rule.sets(p[kept], texts(int(kept.sum())))[np.arange(kept.sum()), y[kept]]
            hits.append(hit[y[kept] == 2].mean())
            overall[kind].append(hit.mean())
    assert np.mean(last["class"]) >= 0.9 - error(np.array(last["class"]))
    assert np.mean(overall["class"]) >= 0.9 - error(np.array(overall["class"]))
    assert np.mean(overall["lac"]) < 0.85


def test_copies_of_a_text_share_a_draw_and_lose_no_coverage():
    """Twenty texts, drawn again and again: rows are exchangeable, and most draws are ties."""

    def few(n, start):
        return [f"text {i}" for i in np.random.default_rng(start).integers(0, 20, n)]

    overall, _ = covered("aps", 0.2, words=few)
    assert 0.8 - error(overall) <= overall.mean() < 0.9  # ties add to it


def test_intervals_of_scores_cover():
    hits = []
    for seed in range(REPEATS):
        residuals = np.random.default_rng(seed).standard_t(4, 2 * HALF)
        ends = SetPlan(alpha=0.2).fit_interval(np.abs(residuals[:HALF])).intervals(np.zeros(HALF))
        hits.append(np.mean((ends[:, 0] <= residuals[HALF:]) & (residuals[HALF:] <= ends[:, 1])))
    assert abs(np.mean(hits) - 0.8) < 1 / (HALF + 1) + error(np.array(hits))


# --- the rest -------------------------------------------------------------------------------------


def test_a_class_of_too_few_rows_is_in_every_set_and_named(caplog):
    p, y = rows(np.random.default_rng(0), 200)
    y[y == 1] = 0
    rule = SetPlan("class", 0.1).fit(p, y, texts(200), NAMES, 0)
    assert rule.sets(p, texts(200))[:, 1].all()
    assert not rule.sets(p, texts(200))[:, 0].all()
    assert "fewer than 9 rows that calibrate, which are in every prediction set: b" in caplog.text


def test_without_rows_every_set_holds_every_class():
    p = np.array([[0.9, 0.05, 0.05]])
    for kind in KINDS:
        rule = SetPlan(kind).fit(np.zeros((0, 3)), [], [], NAMES, 0)
        assert rule.sets(p, ["a"]).all()
        assert SetRule.from_json(json.loads(json.dumps(rule.to_json(), allow_nan=False))) == rule


def test_raps_keeps_sets_smaller_where_there_are_many_classes():
    rng = np.random.default_rng(0)
    p = rng.dirichlet([0.2] * 40, 600)
    y = (p.cumsum(axis=1) > rng.random((600, 1))).argmax(axis=1)
    sizes = {}
    for kind in ("aps", "raps"):
        rule = SetPlan(kind).fit(p[:300], y[:300], texts(300), [str(i) for i in range(40)], 0)
        sizes[kind] = rule.sets(p[300:], texts(300, 300)).sum(axis=1).max()
    assert sizes["raps"] < sizes["aps"]


@pytest.mark.parametrize(
    ("plan", "kind", "message"),
    [
        (SetPlan("apps"), "single", "sets = 'apps' is unknown: did you mean 'aps'"),
        (SetPlan("interval"), "single", "sets = 'interval' is unknown"),
        (SetPlan("aps"), "score", "sets = 'aps' are sets of classes, and these labels are scores"),
        (SetPlan("lac", 0.0), "single", "set_alpha = 0.0: expected the share of sets"),
        (SetPlan("lac", 1.0), "score", "set_alpha = 1.0"),
        (SetPlan("lac", float("nan")), "single", "set_alpha = nan"),
    ],
)
def test_sets_that_cannot_be_had_are_refused(plan, kind, message):
    with pytest.raises(RecipeError, match=message):
        plan.check(kind)


def test_what_can_be_had_is_not_refused():
    for kind in KINDS:
        SetPlan(kind, 0.05).check("single")
    SetPlan("lac", 0.2).check("score")
