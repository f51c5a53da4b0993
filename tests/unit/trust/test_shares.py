"""Shares and scores: what they promise, by simulation; what is possible; what is refused."""

import numpy as np
import pytest
from scipy import stats

from textlabel.errors import AuditError
from textlabel.trust.shares import Share, mean_score, shares

ALPHA = 0.05


def _audits(rng, n, m, repeats):
    """Return row numbers of ``repeats`` independent audits of as many copies of a corpus of n rows."""
    rows = np.argpartition(rng.random((repeats, n)), m - 1, axis=1)[:, :m]
    return (rows + n * np.arange(repeats)[:, None]).ravel()


def _copies(rng, n, m, repeats):
    return _audits(rng, n, m, repeats), np.repeat(np.arange(repeats), n)


def _share_coverage(rng, truth, predicted, k, m, repeats):
    """Return the fraction of audits whose interval holds the true share (k,)."""
    n = len(truth)
    audited, copy = _copies(rng, n, m, repeats)
    found = shares(np.tile(predicted, repeats), np.tile(truth, repeats)[audited], audited, k, by=copy)
    low, high = np.array([(s.low, s.high) for s in found]).reshape(repeats, k, 2).transpose(2, 0, 1)
    exact = np.bincount(truth, minlength=k) / n
    return ((low <= exact + 1e-12) & (exact - 1e-12 <= high)).mean(axis=0)


def _labels(rng, n, probabilities, accuracy):
    truth = rng.choice(len(probabilities), size=n, p=probabilities)
    return truth, np.where(rng.random(n) < accuracy, truth, rng.integers(0, len(probabilities), n))


def _enough(coverage, repeats):
    return np.min(coverage) >= 1 - ALPHA - 3 * np.sqrt(ALPHA * (1 - ALPHA) / repeats)


SCENARIOS = {
    "common": ([0.5, 0.3, 0.2], 0.8),
    "rare class": ([0.6, 0.399, 0.001], 0.9),
    "uncommon class": ([0.6, 0.37, 0.03], 0.9),
    "perfect model": ([0.5, 0.3, 0.2], 1.0),
    "nearly perfect model": ([0.5, 0.3, 0.2], 0.96),
    "useless model": ([0.7, 0.25, 0.05], 0.0),
}


@pytest.mark.parametrize("m", [20, 150])
@pytest.mark.parametrize("name", SCENARIOS)
def test_shares_hold_over_draws(name, m):
    rng = np.random.default_rng(7)
    truth, predicted = _labels(rng, 400, *SCENARIOS[name])
    assert _enough(_share_coverage(rng, truth, predicted, 3, m, 300), 300)


@pytest.mark.parametrize("m", [2, 5, 390, 400])
def test_shares_hold_with_hardly_any_or_nearly_all_rows(m):
    rng = np.random.default_rng(8)
    truth, predicted = _labels(rng, 400, [0.5, 0.3, 0.2], 0.8)
    assert _enough(_share_coverage(rng, truth, predicted, 3, m, 200), 200)


@pytest.mark.parametrize("m", [20, 150])
def test_classes_never_predicted_or_never_there(m):
    rng = np.random.default_rng(9)
    truth = rng.choice(4, size=400, p=[0.5, 0.44, 0.06, 0.0])
    predicted = rng.choice([0, 1, 3], size=400)  # never 2; 3 is never true
    assert _enough(_share_coverage(rng, truth, predicted, 4, m, 300), 300)


def test_without_a_model_no_number_of_rows_is_missed_much_more_often_than_promised():
    n, m = 400, 100
    x = np.arange(m + 1)  # one slice for each answer that the audit may give
    answers = (np.arange(m) < x[:, None]).astype(int).ravel()
    audited = (n * x[:, None] + np.arange(m)).ravel()
    found = shares(np.zeros(n * len(x), int), answers, audited, 2, by=np.repeat(x, n))[1::2]
    low, high = np.array([(s.low, s.high) for s in found]).T * n
    truth = np.arange(n + 1)[:, None]
    chance = stats.hypergeom.pmf(x, n, truth, m)
    missed = np.where((truth < low - 1e-9) | (high + 1e-9 < truth), chance, 0).sum(axis=1)
    assert {s.method for s in found} == {"exact", "normal"}
    assert missed.max() < ALPHA + 0.006  # what is normal is approximate


@pytest.mark.slow
@pytest.mark.parametrize("m", [10, 40, 150, 500, 950])
@pytest.mark.parametrize("name", SCENARIOS)
def test_shares_hold_over_many_draws(name, m):
    rng = np.random.default_rng(10)
    truth, predicted = _labels(rng, 1000, *SCENARIOS[name])
    assert _enough(_share_coverage(rng, truth, predicted, 3, m, 2000), 2000)


def test_all_at_once_divides_alpha_among_all():
    rng = np.random.default_rng(11)
    truth, predicted = _labels(rng, 300, np.full(5, 0.2), 0.7)
    audited = rng.choice(300, 100, replace=False)
    arguments = {
        "predicted": predicted,
        "answers": truth[audited],
        "audited": audited,
        "by": np.arange(300) % 2,
    }
    found = shares(**arguments, k=5, together=True)
    alone = shares(**arguments, k=5, alpha=ALPHA / 10)
    assert [(s.low, s.high) for s in found] == [(s.low, s.high) for s in alone]
    scores = {**arguments, "predicted": predicted * 1.0, "bounds": (0, 4)}
    found, alone = mean_score(**scores, together=True), mean_score(**scores, alpha=ALPHA / 2)
    assert [(s.low, s.high) for s in found] == [(s.low, s.high) for s in alone]


def test_an_interval_never_leaves_what_is_possible():
    rng = np.random.default_rng(12)
    truth, predicted = _labels(rng, 60, [0.5, 0.4, 0.1], 0.5)
    for m in (1, 10, 30, 55, 60):
        audited = rng.choice(60, m, replace=False)
        for c, share in enumerate(shares(predicted, truth[audited], audited, 3)):
            seen = np.sum(truth[audited] == c)
            assert seen / 60 <= share.low <= share.estimate <= share.high <= (60 - m + seen) / 60
    assert share.low == share.high == np.mean(truth == 2)


def test_slices_are_corpora_of_their_own():
    rng = np.random.default_rng(13)
    truth, predicted = _labels(rng, 500, [0.6, 0.4], 0.9)
    by = np.array(["north", "south", None], dtype=object)[rng.integers(0, 3, 500)]
    audited = rng.choice(np.flatnonzero(by != "south"), 120, replace=False)
    found = shares(predicted, truth[audited], audited, 2, by=by, names=["no", "yes"])
    assert [(s.slice, s.name) for s in found[:2]] == [("None", "no"), ("None", "yes")]
    inside = np.flatnonzero(by == "north")
    mine = np.isin(audited, inside)
    alone = shares(predicted[inside], truth[audited[mine]], np.searchsorted(inside, audited[mine]), 2)
    assert [s.low for s in found if s.slice == "north"] == [s.low for s in alone]
    nobody = next(s for s in found if s.slice == "south")
    assert (nobody.low, nobody.high, nobody.audited, nobody.method) == (0.0, 1.0, 0, "none")
    assert np.isnan(nobody.estimate)


def test_nothing_audited_is_nothing_known():
    assert shares([0, 1], [], [], 2)[0].method == "none"
    assert mean_score([0.5, 1.0], [], [])[0].low == -np.inf
    assert mean_score([0.5, 1.0], [], [], bounds=(0, 5))[0].high == 5


def test_unresolved_answers_are_filled_with_the_worst():
    rng = np.random.default_rng(14)
    truth, predicted = _labels(rng, 400, [0.6, 0.4], 0.8)
    audited = rng.choice(400, 150, replace=False)
    answers = np.where(rng.random(150) < 0.1, -1, truth[audited])
    share = shares(predicted, answers, audited, 2)[1]
    open_ = np.flatnonzero(answers < 0)
    for _ in range(20):  # whatever they would have answered
        filled = answers.copy()
        filled[open_] = rng.integers(0, 2, len(open_))
        one = shares(predicted, filled, audited, 2)[1]
        assert share.low <= one.low <= one.high <= share.high
    ends = [shares(predicted, np.where(answers < 0, c, answers), audited, 2)[1] for c in (0, 1)]
    assert (share.low, share.high) == (ends[0].low, ends[1].high)


def test_beyond_the_corpus_few_counts_get_clopper_pearson():
    predicted, audited = np.zeros(1000, dtype=int), np.arange(100)
    answers = (audited < 3).astype(int)
    share = shares(predicted, answers, audited, 2, beyond=True)[1]
    expected = stats.binomtest(3, 100).proportion_ci(0.95, method="exact")
    assert (share.low, share.high) == (pytest.approx(expected.low), pytest.approx(expected.high))
    assert share.method == "exact"


def test_beyond_the_corpus_holds_for_the_source():
    rng = np.random.default_rng(15)
    held = []
    for _ in range(200):
        truth, predicted = _labels(rng, 300, [0.6, 0.4], 0.8)
        audited = np.arange(200)  # rows of a source come in random order
        share = shares(predicted, truth[audited], audited, 2, beyond=True)[1]
        held.append(share.low <= 0.4 <= share.high)
    assert _enough(np.mean(held), 200)


def _score_coverage(rng, truth, predicted, m, repeats, **options):
    audited, copy = _copies(rng, len(truth), m, repeats)
    found = mean_score(
        np.tile(predicted, repeats), np.tile(truth, repeats)[audited], audited, by=copy, **options
    )
    return np.mean([s.low <= truth.mean() <= s.high for s in found]), {s.method for s in found}


SCORES = {
    "spread": lambda rng, n: rng.beta(0.6, 1.5, n),
    "skewed": lambda rng, n: np.minimum(rng.exponential(0.1, n), 1),
    "stars": lambda rng, n: rng.choice(5, n, p=[0.02, 0.03, 0.05, 0.2, 0.7]) / 4,
    "rare": lambda rng, n: (rng.random(n) < 0.04) * 1.0,
}


@pytest.mark.parametrize("noise", [0.03, 0.3])
@pytest.mark.parametrize("m", [8, 40, 200])
@pytest.mark.parametrize("name", SCORES)
def test_mean_scores_hold_over_draws(name, m, noise):
    rng = np.random.default_rng(16)
    truth = SCORES[name](rng, 500)
    predicted = truth + rng.normal(scale=noise, size=500)
    held, methods = _score_coverage(rng, truth, predicted, m, 300, bounds=(0, 1))
    assert "bounded" in methods or m > 8
    assert "normal" in methods or m < 200
    assert _enough(held, 300)


def test_a_model_that_is_right_but_for_a_few_rows_does_not_fool_the_mean():
    rng = np.random.default_rng(17)
    predicted = rng.integers(1, 6, 500).astype(float)
    truth = np.where(np.arange(500) < 10, 6 - predicted, predicted)
    held, methods = _score_coverage(rng, truth, predicted, 60, 300, bounds=(1, 5))
    assert methods == {"bounded"}
    assert _enough(held, 300)


def test_unresolved_scores_are_filled_with_the_ends_of_the_scale():
    rng = np.random.default_rng(18)
    predicted = rng.random(300)
    audited = rng.choice(300, 100, replace=False)
    answers = predicted[audited] + rng.normal(scale=0.1, size=100)
    answers = np.clip(answers, 0, 1)
    whole = mean_score(predicted, answers, audited, bounds=(0, 1))[0]
    answers[:4] = np.nan
    some = mean_score(predicted, answers, audited, bounds=(0, 1))[0]
    assert some.low < whole.low < whole.high < some.high
    with pytest.raises(AuditError, match="bounds"):
        mean_score(predicted, answers, audited)


def test_all_scores_seen_leave_no_doubt():
    y = np.arange(40.0)
    share = mean_score(np.zeros(40), y, np.arange(40))[0]
    assert share.low == pytest.approx(share.high) == pytest.approx(y.mean())
    assert share.method == "exact"


def test_a_million_rows_are_quick():
    rng = np.random.default_rng(19)
    truth, predicted = _labels(rng, 1_000_000, np.full(10, 0.1), 0.9)
    audited = rng.choice(1_000_000, 500, replace=False)
    found = shares(predicted, truth[audited], audited, 10)
    assert all(isinstance(s, Share) and s.low < s.high for s in found)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"audited": [0, 0]}, "audited twice"),
        ({"audited": [0, 9]}, r"in \[0, 4\)"),
        ({"audited": [0]}, "row numbers"),
        ({"answers": [0, 2]}, "answers: expected class numbers from -1 to 1"),
        ({"answers": [0.0, 1.0]}, "answers: expected class numbers"),
        ({"predicted": [0, 1, -1, 0]}, "predicted: expected class numbers from 0"),
        ({"predicted": []}, "n >= 1"),
        ({"alpha": 1.5}, "alpha = 1.5"),
        ({"by": [1, 2]}, "one slice a row"),
    ],
)
def test_what_does_not_fit_is_refused(change, said):
    arguments = {"predicted": [0, 1, 1, 0], "answers": [0, 1], "audited": [0, 1], "k": 2, **change}
    with pytest.raises(AuditError, match=said):
        shares(**arguments)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"predicted": [0.5, np.nan, 0.5]}, "row 1 has no finite"),
        ({"answers": [0.5, 7.0], "bounds": (0, 5)}, "answer 1 is 7.0"),
        ({"answers": [0.5, np.inf]}, "answer 1 is inf"),
        ({"bounds": (5, 0)}, "lowest and the highest"),
    ],
)
def test_scores_that_do_not_fit_are_refused(change, said):
    arguments = {"predicted": [0.5, 0.5, 0.5], "answers": [0.5, 1.0], "audited": [0, 1], **change}
    with pytest.raises(AuditError, match=said):
        mean_score(**arguments)
