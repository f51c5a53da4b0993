import itertools
from fractions import Fraction

import numpy as np
import pytest

from textlabel.trust.certificate import Audit
from textlabel.trust.certificates.fdr import certify


def share_wrong(n, audited, wrong, accepted):
    rest = [rank for rank in range(accepted) if rank not in audited]
    return float(np.mean(wrong[rest])) if rest else 0.0


def accepted(n, audited, bad, max_error, in_scope=None):
    return certify(Audit(n, np.array(audited), np.array(bad, bool), in_scope), max_error, 0.05).accepted


def mean_share(n, m, wrong, max_error, said=None, in_scope=None):
    """Return the expected share over all draws; ``said(audited)`` are the rows that count as errors."""
    said = said or (lambda audited: wrong[list(audited)])
    shares = [
        share_wrong(n, audited, wrong, accepted(n, audited, said(audited), max_error, in_scope))
        for audited in itertools.combinations(range(n), m)
    ]
    return float(np.mean(shares))


def benjamini_hochberg(n, ranks, bad, max_error):
    """Return the unaudited rows accepted: conformal p-values one by one, then the step-up rule."""
    tested = [rank for rank in range(n) if rank not in set(ranks)]
    p = [
        Fraction(1 + sum(b and r < rank for r, b in zip(ranks, bad, strict=True)), len(ranks) + 1)
        for rank in tested
    ]
    passed = [k for k in range(1, len(p) + 1) if sorted(p)[k - 1] <= Fraction(str(max_error)) * k / len(p)]
    return [rank for rank, one in zip(tested, p, strict=True) if passed and one <= sorted(p)[passed[-1] - 1]]


def test_equals_benjamini_hochberg_on_conformal_p_values():
    rng = np.random.default_rng(0)
    sizes = set()
    for _ in range(200):
        n = int(rng.integers(5, 60))
        m = int(rng.integers(1, n))
        ranks = rng.choice(n, m, replace=False)
        bad = rng.random(m) < 0.5 * ranks / n
        max_error = float(rng.choice([0.15, 0.23, 0.4]))
        limit = accepted(n, ranks, bad, max_error)
        mine = [rank for rank in range(limit) if rank not in set(ranks.tolist())]
        assert mine == benjamini_hochberg(n, ranks.tolist(), bad.tolist(), max_error)
        sizes.add(limit)
    assert len(sizes) > 20


@pytest.mark.parametrize("in_scope", [None, 4])
@pytest.mark.parametrize("m", [2, 3, 4])
def test_over_all_draws_the_mean_share_is_within_what_is_tolerated(m, in_scope):
    """Exact: every placement of errors in six rows, every draw."""
    for wrong in np.array(list(itertools.product([False, True], repeat=6))):
        assert mean_share(6, m, wrong, 0.4, in_scope=in_scope) <= 0.4 + 1e-12


def test_answers_missing_because_people_stopped_half_way_break_it():
    """Three rows of six are wrong; of four audited ones only the three least sure were answered."""
    wrong = np.array([True, False, True, False, False, True])

    def stopped(audited):
        return [i == 0 or wrong[rank] for i, rank in enumerate(audited)]

    assert mean_share(6, 4, wrong, 0.4) <= 0.4
    assert mean_share(6, 4, wrong, 0.4, stopped) == pytest.approx(0.46667, abs=1e-4)


def test_rows_that_nobody_can_answer_are_conservative():
    """Having no answer is then a property of the row, whether drawn or not: "wrong or without" is small."""
    rng = np.random.default_rng(1)
    for _ in range(60):
        wrong, hopeless = rng.random((2, 6)) < 0.4
        either = wrong | hopeless
        assert mean_share(6, 4, wrong, 0.4, lambda audited, e=either: e[list(audited)]) <= 0.4 + 1e-12


def test_in_a_single_corpus_the_share_is_often_larger():
    """Which is why the promise says "on average": at the margin about every second corpus has more."""
    rng = np.random.default_rng(2)
    n, m, max_error, rounds = 1000, 200, 0.1, 200
    wrong = rng.random(n) < np.linspace(0, 0.4, n)
    shares = []
    for _ in range(rounds):
        audited = rng.choice(n, m, replace=False)
        limit = accepted(n, audited, wrong[audited], max_error)
        shares.append(share_wrong(n, set(audited.tolist()), wrong, limit))
    assert np.mean(shares) <= max_error + 3 * np.std(shares) / rounds**0.5
    assert 0.2 < np.mean(np.array(shares) > max_error) < 0.8


def test_alpha_plays_no_part():
    audit = Audit(100, np.arange(0, 100, 2), np.arange(50) > 40)
    assert certify(audit, 0.1, 0.01) == certify(audit, 0.1, 0.5)
