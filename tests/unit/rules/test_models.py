from __future__ import annotations

import numpy as np
import pytest

from textlabel import registry
from textlabel.errors import CorpusError
from textlabel.rules import confusions
from textlabel.rules.compare import beside_majority, unseen_gold, verdict
from textlabel.rules.cut import cut_scores, kept_by_cut
from textlabel.rules.fusion import fuse, unseen_fusion
from textlabel.rules.models import anchored, dawid_skene, majority, weighted_majority
from textlabel.rules.table import rule_table


def world(accuracies, n=2000, k=3, says=0.7, seed=0):
    """Return votes of independent rules that are right so often, and the truth."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(k, size=n)
    right = rng.random((n, len(accuracies))) < np.array(accuracies)
    votes = np.where(right, truth[:, None], (truth[:, None] + rng.integers(1, k, right.shape)) % k)
    votes[rng.random(votes.shape) >= says] = -1
    return votes, truth


def few(truth, per_class=10):
    gold = np.full(len(truth), -1)
    for c in np.unique(truth):
        gold[np.flatnonzero(truth == c)[:per_class]] = c
    return gold


def accuracy(found, truth):
    return float(np.mean(found.probabilities.argmax(axis=1) == truth))


@pytest.mark.parametrize("name", registry.plugins("label_model"))
def test_every_label_model_returns_probabilities_also_where_nothing_is_said(name):
    model = registry.load("label_model", name)
    votes, truth = world([0.9, 0.8, 0.6], n=300)
    votes[:5] = -1
    for v, gold in ((votes, None), (votes, few(truth)), (np.full((4, 2), -1), None), (votes[:0], None)):
        p = model.fit_predict(v, 3, gold).probabilities
        assert p.shape == (len(v), 3)
        assert np.isfinite(p).all()
        np.testing.assert_allclose(p.sum(axis=1), 1)
    for wrong in ([0, 1], [[3]], [[-2]]):
        with pytest.raises(CorpusError):
            model.fit_predict(wrong, 3)
    with pytest.raises(CorpusError, match="gold"):
        model.fit_predict(votes, 3, [1])


def test_weights_and_tables_beat_the_majority_where_rules_differ_much():
    votes, truth = world([0.95, 0.45, 0.45, 0.45, 0.45], says=0.9)
    plain = accuracy(majority.fit_predict(votes, 3), truth)
    gold = few(truth)
    for model in (weighted_majority, dawid_skene, anchored):
        assert accuracy(model.fit_predict(votes, 3, gold), truth) > plain + 0.05


def test_gold_says_which_class_is_which_where_most_rules_are_worse_than_chance():
    rng = np.random.default_rng(1)
    truth = rng.integers(2, size=1000)
    votes = np.where(rng.random((1000, 3)) < 0.2, truth[:, None], 1 - truth[:, None])
    assert accuracy(dawid_skene.fit_predict(votes, 2), truth) < 0.2  # it swaps classes
    assert accuracy(anchored.fit_predict(votes, 2, few(truth, 15)), truth) > 0.8


def test_that_a_rule_of_one_class_abstains_tells_something():
    rng = np.random.default_rng(0)
    truth = rng.integers(2, size=1000)
    fires = rng.random((1000, 4)) < np.where(truth[:, None] == 1, 0.7, 0.05)
    votes = np.concatenate([np.where(fires, 1, -1), np.where(rng.random((1000, 1)) < 0.3, 0, -1)], axis=1)
    assert accuracy(dawid_skene.fit_predict(votes, 2), truth) > 0.95


def test_many_rules_do_not_underflow_and_an_absent_class_lives():
    votes = np.tile(np.array([[0], [1]]), (20, 3000))
    for model in (dawid_skene, anchored, weighted_majority):
        p = model.fit_predict(votes, 3).probabilities
        assert np.isfinite(p).all()
        assert p.argmax(axis=1)[:2].tolist() == [0, 1]


def test_ties_go_to_the_class_that_gold_has_more_often():
    votes = [[0, 1], [-1, -1], [-1, -1], [-1, -1]]
    tied = majority.fit_predict(votes, 2, [-1, 1, 1, 0]).probabilities
    assert tied[0].round(3).tolist() == [0.5, 0.5]
    assert tied[0, 1] > tied[0, 0]
    np.testing.assert_allclose(tied[1], [0.4, 0.6])
    assert majority.fit_predict(votes, 2).probabilities[0].argmax() == 0


def crowd_kit(votes, name, **options):
    """Return what crowd-kit says of votes that all rules gave, (n, k)."""
    import pandas as pd
    from crowdkit import aggregation

    rows = [(i, j, votes[i, j]) for i, j in np.ndindex(*votes.shape)]
    known = getattr(aggregation, name)(**options)
    known.fit(pd.DataFrame(rows, columns=["task", "worker", "label"]))
    return known.probas_.loc[range(len(votes)), range(3)].to_numpy()


@pytest.mark.filterwarnings("ignore")  # of pandas, in crowd-kit
def test_majority_is_crowd_kits():
    votes, _ = world([0.8, 0.7, 0.6, 0.75, 0.65], n=200, says=1.1)
    found = majority.fit_predict(votes, 3).probabilities
    np.testing.assert_allclose(found, crowd_kit(votes, "MajorityVote"), atol=1e-4)


@pytest.mark.filterwarnings("ignore")  # of pandas, in crowd-kit
@pytest.mark.parametrize("rounds", [1, 5, 30])
def test_dawid_skene_is_crowd_kits_round_by_round(rounds, monkeypatch):
    """Where both stop is their own affair: such votes move for hundreds of rounds."""
    votes, _ = world([0.8, 0.7, 0.6, 0.75, 0.65], n=200, says=1.1)
    monkeypatch.setattr(confusions, "ROUNDS", rounds)
    monkeypatch.setattr(confusions, "_TOLERANCE", 0.0)
    found = dawid_skene.fit_predict(votes, 3, smoothing=1e-9).probabilities
    np.testing.assert_allclose(found, crowd_kit(votes, "DawidSkene", n_iter=rounds, tol=0), atol=1e-6)


def test_gold_rows_do_not_see_their_own_label():
    votes, truth = world([0.6, 0.5], n=200)
    gold = few(truth, 20)
    unseen = unseen_gold("anchored", votes, 3, gold)
    assert (anchored.fit_predict(votes, 3, gold).probabilities.argmax(axis=1) == truth)[gold >= 0].all()
    assert (unseen.argmax(axis=1) == gold[gold >= 0]).mean() < 0.9


def beside(model, votes, gold):
    own, plain = (unseen_gold(name, votes, 3, gold) for name in (model, "majority"))
    return beside_majority(own, plain, gold[gold >= 0])


def test_the_verdict_says_when_the_clever_model_does_not_beat_the_majority():
    votes, truth = world([0.8, 0.8, 0.8], n=300)
    found = beside("weighted_majority", votes, few(truth, 20))
    assert "does not beat the majority on 60 gold rows" in verdict("weighted_majority", found)
    votes, truth = world([0.97, 0.4, 0.4, 0.4, 0.4], n=1000, says=1.1)
    assert " beats " in verdict("anchored", beside("anchored", votes, few(truth, 60)))


def test_the_table_counts_by_hand():
    votes = [[0, 0, -1], [0, 1, -1], [-1, 1, -1], [-1, -1, -1]] * 5
    one, two, dead = rule_table(votes, ["a", "b", "c"], ["x", "y"], [1, 1, 1, -1] * 5)
    assert (one.rule_coverage, one.overlap, one.conflict) == (0.5, 0.5, 0.25)
    assert (two.rule_coverage, two.overlap, two.conflict) == (0.75, 0.5, 0.25)
    assert one.finding == "worse than chance"
    assert one.accuracy == 0
    assert one.gold_votes == 10
    assert two.accuracy == pytest.approx(2 / 3)
    assert two.low < 2 / 3 < two.high
    assert two.finding == ""
    assert dead.finding == "dead"
    assert dead.accuracy is None
    assert dead.classes == ()


def test_the_cut_statistic_finds_flipped_labels():
    rng = np.random.default_rng(0)
    truth = rng.integers(2, size=400)
    features = rng.normal(size=(400, 5)) + 4 * truth[:, None]
    flipped = rng.random(400) < 0.15
    labels = np.where(flipped, 1 - truth, truth)
    scores = cut_scores(features, labels)
    assert scores[flipped].min() > scores[~flipped].max()
    kept = kept_by_cut(features, labels, 0.5)
    assert not flipped[kept].any()
    assert set(labels[kept]) == {0, 1}


def test_fusion_weighs_what_is_right_and_falls_back_to_the_first_where_gold_is_scarce():
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=400)
    noise, good = rng.normal(size=(400, 2)), rng.normal(size=(400, 2)) + 2 * np.eye(2)[y]
    p = np.stack([np.exp(z) / np.exp(z).sum(axis=1, keepdims=True) for z in (noise, good)])
    found = fuse(["rules", "model"], p, y)
    assert found.calibrated
    assert found.factors[1] > 4 * found.factors[0] >= 0
    unseen = unseen_fusion(p, y)
    assert (unseen.argmax(axis=1) == y).mean() > (p[0].argmax(axis=1) == y).mean() + 0.2
    scarce = fuse(["rules", "model"], p[:, :10], y[:10])
    assert not scarce.calibrated
    assert "rules alone, NOT calibrated" in scarce.told
    np.testing.assert_allclose(scarce.apply(p), p[0])


def test_where_no_source_tells_anything_the_first_one_stands_and_is_not_called_calibrated():
    y = np.arange(40) % 2
    worse = np.where(np.eye(2)[1 - y] > 0, 0.9, 0.1)
    found = fuse(["rules"], worse[None], y)
    assert "no source tells" in found.told
    assert not found.calibrated
    np.testing.assert_allclose(found.apply(worse[None]), worse)


@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize("name", registry.plugins("label_model"))
def test_what_is_only_a_matter_of_order_changes_nothing(name, told):
    """Rows, rules and classes in another order; a tenth of a thousandth is what rounding makes of ties."""
    model, rng = registry.load("label_model", name), np.random.default_rng(3)
    votes, truth = world([0.9, 0.8, 0.6, 0.7], n=300)
    gold = few(truth) if told else np.full(300, -1)
    p = model.fit_predict(votes, 3, gold).probabilities
    rows, rules, classes = rng.permutation(300), rng.permutation(4), np.array([2, 0, 1])
    there = model.fit_predict(votes[rows], 3, gold[rows]).probabilities
    np.testing.assert_allclose(there, p[rows], atol=1e-4)
    np.testing.assert_allclose(model.fit_predict(votes[:, rules], 3, gold).probabilities, p, atol=1e-4)
    other, other_gold = (np.where(x < 0, -1, classes[x]) for x in (votes, gold))
    found = model.fit_predict(other, 3, other_gold).probabilities
    np.testing.assert_allclose(found[:, classes], p, atol=1e-4)


@pytest.mark.parametrize("name", registry.plugins("label_model"))
def test_one_voter_is_believed_and_says_nothing_of_what_it_left_out(name):
    model = registry.load("label_model", name)
    votes = np.array([[0], [1], [0], [1], [-1], [-1]] * 5)
    p = model.fit_predict(votes, 2).probabilities
    assert p[:4].argmax(axis=1).tolist() == [0, 1, 0, 1]
    np.testing.assert_allclose(p[4], [0.5, 0.5], atol=1e-3)


@pytest.mark.parametrize("name", registry.plugins("label_model"))
def test_two_that_differ_as_often_as_they_agree_leave_a_tie(name):
    votes = np.array([[0, 1], [1, 0], [0, 0], [1, 1]] * 10)
    p = registry.load("label_model", name).fit_predict(votes, 2).probabilities
    np.testing.assert_allclose(p[:2], 0.5, atol=1e-3)
    assert p[2:4].argmax(axis=1).tolist() == [0, 1]


@pytest.mark.parametrize("name", registry.plugins("label_model"))
def test_a_class_that_nobody_votes_for_wins_no_row_with_votes(name):
    votes, _ = world([0.9, 0.8, 0.7], n=200, k=2, says=1.1)
    p = registry.load("label_model", name).fit_predict(votes, 3).probabilities
    assert (p.argmax(axis=1) < 2).all()
