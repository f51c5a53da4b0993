from __future__ import annotations

import numpy as np
import pytest

from textlabel.errors import CorpusError
from textlabel.trust.domain_shift import DomainShift, domain_shift


def gaussian(n, d=10, move=0.0, seed=0):
    x = np.random.default_rng(seed).normal(size=(n, d))
    x[:, 0] += move
    return x


def test_one_corpus_in_two_parts_shows_no_difference():
    found = [domain_shift(gaussian(600, seed=s), gaussian(600, seed=100 + s), seed=s) for s in range(20)]
    z = np.array([f.distance / f.standard_error for f in found])
    assert np.std(z) < 1.4 * 1.4  # the root of 2, and 20 draws
    assert abs(z.mean()) < 1
    assert abs(np.mean([f.auc for f in found]) - 0.5) < 0.03
    assert sum(f.verdict.startswith("no difference found") for f in found) >= 18


@pytest.mark.parametrize("move", [0.5, 1.0, 2.0])
def test_distance_is_that_of_the_best_classifier(move):
    from scipy.stats import norm

    found = domain_shift(gaussian(4000), gaussian(3000, move=move, seed=1))
    best = norm.cdf(-move / 2)
    assert found.error == pytest.approx(best, abs=0.02)
    assert found.distance == pytest.approx(2 * (1 - 2 * best), abs=4 * found.standard_error)
    assert found.auc == pytest.approx(norm.cdf(move / np.sqrt(2)), abs=0.02)


def test_auc_and_error_agree_with_sklearn():
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.metrics import balanced_accuracy_score, roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    source, target = gaussian(500), gaussian(300, move=1.0, seed=1)
    x, side = np.concatenate([source, target]), np.repeat([0, 1], [500, 300])
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=[0.5, 0.5])
    found = [domain_shift(source, target, seed=seed) for seed in range(10)]
    auc, right = [], []
    for seed in range(10):  # folds alone move one figure by .01: the means over ten splits are compared
        folds = StratifiedKFold(5, shuffle=True, random_state=seed)
        scores = cross_val_predict(model, x, side, cv=folds, method="decision_function")
        auc.append(roc_auc_score(side, scores))
        right.append(balanced_accuracy_score(side, scores > 0))
    assert np.mean([f.auc for f in found]) == pytest.approx(np.mean(auc), abs=0.01)
    assert 1 - np.mean([f.error for f in found]) == pytest.approx(np.mean(right), abs=0.01)


def test_sizes_of_the_corpora_do_not_matter():
    """Where one corpus is ten times the other, saying always the large one must not look like knowledge."""
    found = domain_shift(gaussian(3000), gaussian(300, seed=1))
    assert abs(found.distance) < 4 * found.standard_error


def test_standard_error_is_the_spread_over_samples():
    found = [domain_shift(gaussian(300, 3, seed=s), gaussian(200, 3, 1.0, 100 + s)) for s in range(20)]
    spread = np.std([f.distance for f in found], ddof=1)
    assert spread == pytest.approx(np.mean([f.standard_error for f in found]), rel=0.5)


def test_equal_texts_share_a_fold():
    """Both corpora hold the same texts. Held apart, a copy is called by the side of its twin in training."""
    x = gaussian(60, 200)
    source, target = np.concatenate([x, x]), np.concatenate([x, x])
    found = domain_shift(source, target, np.tile(np.arange(60), 4))
    assert found.error == pytest.approx(0.5, abs=1e-9)


def test_copies_within_a_corpus_do_not_help():
    """Each text three times in its corpus, no difference between the two: held apart, copies give it away."""
    a, b = gaussian(40, 100, seed=1), gaussian(40, 100, seed=2)
    source, target = np.repeat(a, 3, axis=0), np.repeat(b, 3, axis=0)
    leaking = domain_shift(source, target)
    fair = domain_shift(source, target, np.repeat(np.arange(80), 3))
    assert leaking.auc > 0.95
    assert fair.auc < 0.75


def test_words_follow_the_distance():
    near, far = (domain_shift(gaussian(1000), gaussian(1000, move=m, seed=1)) for m in (0.35, 6.0))
    assert near.verdict.startswith("close")
    assert far.verdict.startswith("nearly separable")
    assert str(far).startswith("A-distance 1.99 ± 0.0") or str(far).startswith("A-distance 2.00 ± 0.0")


def test_few_rows_do_not_look_alike():
    found = domain_shift(gaussian(30), gaussian(30, seed=1))
    assert found.distance < 2.9 * found.standard_error
    assert found.verdict.startswith("too few rows to tell")


@pytest.mark.parametrize("distance", [0.0, 0.3, 1.0, 1.9])
def test_verdicts_are_about_texts(distance):
    said = DomainShift(distance, 0.5, 0.01, 0.5, (9, 9)).verdict
    assert "text" in said
    assert not [word for word in ("label", "accuracy", "worse", "hold", "measured") if word in said]


def test_large_corpora_are_sampled(monkeypatch):
    monkeypatch.setattr("textlabel.trust.domain_shift.ROWS", 100)
    assert domain_shift(gaussian(1000), gaussian(50, seed=1)).rows == (100, 50)


@pytest.mark.parametrize(
    ("source", "target", "groups", "says"),
    [
        (np.ones((9, 2)), np.ones((9, 3)), None, "expected features"),
        (np.ones((9, 2)), np.ones((9, 2)), np.arange(3), "expected features"),
        (gaussian(9), gaussian(9), np.repeat([0, 1], 9), "distinct texts of each corpus"),
    ],
)
def test_what_cannot_be_compared_is_refused(source, target, groups, says):
    with pytest.raises(CorpusError, match=says):
        domain_shift(source, target, groups)
