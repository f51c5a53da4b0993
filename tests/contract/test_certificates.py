"""What every certificate must do; a new file in `trust/certificates` is tested by being there."""

from __future__ import annotations

import numpy as np
import pytest

from textlabel import registry
from textlabel.errors import AuditError
from textlabel.trust.certificate import Audit, Outcome, ranking, tolerated

MODES = [registry.load("certificate", name) for name in registry.plugins("certificate")]

pytestmark = pytest.mark.parametrize("mode", MODES, ids=lambda module: module.NAME)


def cases(count=20, seed=0):
    """Return audits of populations of all sizes, with few errors and many, in scope or not."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        n = int(rng.integers(1, 400))
        m = int(rng.integers(0, n + 1))
        ranks = rng.choice(n, m, replace=False)
        wrong = rng.random(m) < rng.choice([0.0, 0.02, 0.2, 1.0]) * (ranks + 1) / n
        scope = None if rng.random() < 0.5 else int(rng.integers(0, n + 1))
        expected = None if rng.random() < 0.5 else np.sort(rng.random(n))
        found.append(Audit(n, ranks, wrong, scope, expected))
    return found


def test_says_what_it_promises(mode):
    assert set(registry.plugins("certificate")) >= {"fdr", "finish", "selective"}
    assert "Promise." in mode.__doc__
    assert "Unanswered" in mode.__doc__
    words = {"percent": "5 %", "count": 7, "level": 0.95, "n": 100, "accepted": 50}
    assert "5 %" in mode.PROMISE.format(**words)
    assert mode.SPENDS in ("alpha", "max_error")


@pytest.mark.parametrize("levels", [(1.0, 0.05), (-0.01, 0.05), (0.05, 0.0), (0.05, 1.0)])
def test_impossible_levels_are_refused(mode, levels):
    with pytest.raises(AuditError, match="expected"):
        mode.certify(cases(1)[0], *levels)


def test_nothing_audited_is_not_yet(mode):
    found = mode.certify(Audit(500, np.array([], int), np.array([], bool)), 0.05, 0.05)
    assert (found.accepted, found.bound) == (0, 0.0)
    assert found.reason


def test_an_empty_population_is_not_yet(mode):
    assert mode.certify(Audit(0, np.array([], int), np.array([], bool)), 0.05, 0.05).accepted == 0


def test_an_outcome_is_in_range_and_the_same_each_time(mode):
    for audit in cases():
        for max_error, alpha in ((0.0, 0.05), (0.05, 0.05), (0.2, 0.3)):
            found = mode.certify(audit, max_error, alpha)
            assert isinstance(found, Outcome)
            assert found == mode.certify(audit, max_error, alpha)
            assert 0 <= found.accepted <= audit.n
            assert 0 <= found.allowed <= tolerated(max_error, audit.n)
            assert 0 <= found.bound <= max(alpha, max_error) * (1 + 1e-9)
            assert bool(found.accepted) != bool(found.reason)


def test_the_order_of_the_answers_does_not_matter(mode):
    audit = cases(8)[-1]
    other = np.random.default_rng(0).permutation(audit.m)
    again = Audit(audit.n, audit.ranks[other], audit.wrong[other], audit.in_scope, audit.expected_error)
    assert mode.certify(again, 0.1, 0.1) == mode.certify(audit, 0.1, 0.1)


def test_an_extra_wrong_answer_never_accepts_more(mode):
    rng = np.random.default_rng(1)
    for audit in cases(12, seed=2):
        for max_error in (0.1, 0.3):
            before = mode.certify(audit, max_error, 0.2).accepted
            for i in rng.permutation(np.flatnonzero(~audit.wrong))[:4]:
                wrong = audit.wrong.copy()
                wrong[i] = True
                worse = Audit(audit.n, audit.ranks, wrong, audit.in_scope, audit.expected_error)
                assert mode.certify(worse, max_error, 0.2).accepted <= before


def test_enough_right_answers_certify_and_all_wrong_ones_do_not(mode):
    ranks = np.arange(0, 1000, 2)
    assert mode.certify(Audit(1000, ranks, np.zeros(500, bool)), 0.05, 0.05).accepted == 1000
    assert mode.certify(Audit(1000, ranks + 1, np.ones(500, bool)), 0.05, 0.05).accepted <= 100


def test_rows_out_of_scope_are_only_accepted_where_people_finish(mode):
    ranks = np.arange(0, 1000, 2)
    found = mode.certify(Audit(1000, ranks, np.zeros(500, bool), in_scope=640), 0.05, 0.05)
    assert found.accepted == (1000 if mode.NAME == "finish" else 640)


def test_an_audit_of_every_row_leaves_nothing_to_chance(mode):
    """With all rows right all are accepted; with many wrong ones no mode but finish publishes them all."""
    for wrong in (np.zeros(40, bool), np.arange(40) % 2 == 0):
        accepted = mode.certify(Audit(40, np.arange(40), wrong), 0.1, 0.05).accepted
        if mode.NAME == "finish":  # every row bears the people's answer
            assert accepted == 40
        elif mode.NAME == "selective":
            assert accepted == (0 if wrong.any() else 40)
        else:  # no row is left that nobody audited
            assert accepted == 0


def test_tied_rows_in_another_order_are_another_population(mode):
    """Ties are broken before the draw: the same rows and answers give one outcome for one seed."""
    confidence, wrong = np.full(300, 0.7), np.arange(300) < 75
    max_error = 0.3 if mode.NAME == "selective" else 0.1
    drawn = np.random.default_rng(3).choice(300, 150, replace=False)

    def accepted(seed):
        rank = np.argsort(ranking(confidence, seed=seed))
        return mode.certify(Audit(300, rank[drawn], wrong[drawn]), max_error, 0.3).accepted

    assert accepted(5) == accepted(5)
    assert len({accepted(seed) for seed in range(12)}) > 1
