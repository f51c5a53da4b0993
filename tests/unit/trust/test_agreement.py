"""Agreement against the krippendorff package and pairs counted one by one."""

import itertools

import krippendorff
import numpy as np
import pytest

from textlabel.errors import AuditError
from textlabel.trust.agreement import agreement, disagreement, krippendorff_alpha, limits, majority


def _codes(rng, n=200, r=4, k=5):
    truth = rng.integers(0, k, (n, 1))
    answers = np.where(rng.random((n, r)) < 0.7, truth, rng.integers(0, k, (n, r)))
    return np.where(rng.random((n, r)) < 0.4, -1, answers)


def _scores(rng, n=200, r=3):
    answers = rng.normal(100, 5, (n, 1)) + rng.normal(size=(n, r))
    return np.where(rng.random((n, r)) < 0.3, np.nan, answers)


def _pairs(row):
    return list(itertools.combinations([v for v in row if not np.isnan(v) and v != -1], 2))


@pytest.mark.parametrize("seed", range(3))
def test_alpha_is_that_of_the_krippendorff_package(seed):
    rng = np.random.default_rng(seed)
    codes, scores = _codes(rng), _scores(rng).round()  # the package is slow where values are many
    nominal = krippendorff.alpha(np.where(codes < 0, np.nan, codes).T, level_of_measurement="nominal")
    assert krippendorff_alpha(codes) == pytest.approx(nominal)
    interval = krippendorff.alpha(scores.T, level_of_measurement="interval")
    assert krippendorff_alpha(scores, "interval") == pytest.approx(interval)


def test_disagreement_counts_pairs():
    rng = np.random.default_rng(3)
    codes, scores = _codes(rng, n=60), _scores(rng, n=60)
    for found, answers, distance in (
        (disagreement(codes), codes, lambda a, b: a != b),
        (disagreement(scores, "interval"), scores, lambda a, b: (a - b) ** 2),
    ):
        pairs = [_pairs(row) for row in answers]
        expected = [np.mean([distance(a, b) for a, b in p]) if p else np.nan for p in pairs]
        np.testing.assert_allclose(found, expected, atol=1e-9)


def test_percent_agreement_and_ties():
    rng = np.random.default_rng(4)
    codes = _codes(rng)
    found = agreement(codes)
    pairs = [p for row in codes if (p := _pairs(row))]
    assert found.same == pytest.approx(np.mean([np.mean([a == b for a, b in p]) for p in pairs]))
    assert (found.rows, found.answered) == (len(pairs), (codes >= 0).any(axis=1).sum())
    assert found.tied == sum(v < 0 <= max(row) for v, row in zip(majority(codes), codes, strict=True))
    assert agreement(_scores(rng), "interval").same < 1


def test_majority_is_the_mode_where_there_is_one():
    rng = np.random.default_rng(5)
    codes = _codes(rng, k=40)
    for row, voted in zip(codes, majority(codes), strict=True):
        votes = np.bincount(row[row >= 0], minlength=1)
        best = np.flatnonzero(votes == votes.max())
        assert voted == (best[0] if len(best) == 1 and votes.max() else -1)


def test_what_cannot_disagree_has_no_alpha():
    assert np.isnan(krippendorff_alpha([[1, 1], [1, 1]]))
    assert np.isnan(krippendorff_alpha([[1, -1], [-1, 0]]))
    assert np.isnan(agreement([[1, -1], [-1, 0]]).same)
    assert majority([[-1, -1]]).tolist() == [-1]
    assert np.isnan(disagreement([[np.nan, np.nan]], "interval")).all()


@pytest.mark.parametrize("answers", [[0, 1], [[0.0, 1.0]], [["a", "b"]]])
def test_codes_of_rows_and_reviewers_are_expected(answers):
    with pytest.raises(AuditError, match="class codes of shape"):
        krippendorff_alpha(answers)


@pytest.mark.parametrize("kind", ["nominal", "interval"])
def test_limits_are_those_of_a_bootstrap_with_the_krippendorff_package(kind):
    rng = np.random.default_rng(5)
    answers = _codes(rng, n=80) if kind == "nominal" else _scores(rng, n=80)
    given = np.where(answers == -1, np.nan, answers.astype(float))
    some = given[(~np.isnan(given)).sum(axis=1) > 1]
    drawn = [
        krippendorff.alpha(some[rng.integers(0, len(some), len(some))].T, level_of_measurement=kind)
        for _ in range(200)
    ]
    found = limits(answers, kind)
    assert found.alpha == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.04)
    assert found.same[0] < agreement(answers, kind).same < found.same[1] or kind == "interval"


def test_limits_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(6)
    truth = krippendorff_alpha(_codes(rng, n=100_000, r=2, k=3))
    inside = [
        low <= truth <= high
        for low, high in (limits(_codes(rng, n=120, r=2, k=3), draws=200).alpha for _ in range(200))
    ]
    assert 0.9 < np.mean(inside) <= 0.99


def test_limits_that_are_not_defined():
    assert np.isnan(limits([[0, 0]]).alpha).all()
    same = limits([[0, 0], [0, 0], [0, -1]])
    assert np.isnan(same.alpha).all()
    assert same.same == (1.0, 1.0)
