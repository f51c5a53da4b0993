import json
import time
from types import SimpleNamespace

import numpy as np
import pytest

from textlabel.errors import CorpusError, PluginError
from textlabel.registry import load
from textlabel.trust import choice
from textlabel.trust.calibration import softmax
from textlabel.trust.choice import LEAST_ROWS, choose
from textlabel.trust.metrics import nll


def rows(n, k=3, seed=0, bias=0.0):
    """Logits whose right calibration is a temperature of 2 and ``bias`` for the first class."""
    rng = np.random.default_rng(seed)
    z = 4 * rng.normal(size=(n, k))
    p = softmax(z / 2 + bias * np.eye(k)[0])
    return z, (p.cumsum(1) > rng.random(n)[:, None]).argmax(1)


def winner(found):
    [name] = [candidate.name for candidate in found.table if candidate.chosen]
    return name


@pytest.mark.parametrize(
    ("n", "tried"),
    [(2, 1), (49, 1), (50, 2), (199, 2), (200, 4), (1000, 4), (1001, 6)],
)
def test_each_candidate_waits_for_its_rows(n, tried):
    found = choose(*rows(n))
    assert [c.name for c in found.table] == list(LEAST_ROWS)
    waiting = [c for c in found.table if c.nll is None]
    assert len(waiting) == 6 - tried
    assert all(f"{n:,} rows, needs" in c.excluded for c in waiting)
    assert sum(c.chosen for c in found.table) == 1


def test_a_pure_temperature_is_left_alone_and_a_bias_is_found():
    plain = [winner(choose(*rows(150, seed=s), seed=s)) for s in range(15)]
    biased = [winner(choose(*rows(150, seed=s, bias=2.0), seed=s)) for s in range(15)]
    assert plain.count("temperature") >= 13
    assert biased.count("bias_corrected") >= 13


def test_a_curve_that_no_few_numbers_follow_is_found_with_many_rows():
    rng = np.random.default_rng(0)
    z = np.stack([np.zeros(6000), 4 * rng.normal(size=6000)], axis=1)
    true = np.where(z[:, 1] > 3, 0.65, np.where(z[:, 1] > 0, 0.6, np.where(z[:, 1] > -3, 0.3, 0.02)))
    assert winner(choose(z, (rng.random(6000) < true).astype(int))) == "isotonic"


def test_the_table_holds_cross_fitted_numbers():
    z, y = rows(400, bias=1.0)
    found = choose(z, y)
    chosen = next(c for c in found.table if c.chosen)
    assert chosen.nll == pytest.approx(nll(y, found.probabilities))
    assert chosen.accuracy == np.mean(found.probabilities.argmax(1) == y)
    best = min((c for c in found.table if c.excluded is None), key=lambda c: c.nll)
    assert best.above_best == best.standard_error == 0
    assert chosen.above_best <= chosen.standard_error
    assert found.calibrator == load("calibrator", chosen.name).fit(z, y)  # fitted on all rows
    json.dumps([c.to_json() for c in found.table], allow_nan=False)


def test_no_row_and_no_copy_of_it_is_judged_by_a_fit_that_saw_it(monkeypatch):
    """The plugin remembers what it was fitted on; logits carry row and text numbers."""
    n = 60
    text = np.random.default_rng(0).integers(0, 25, n)
    z = np.stack([np.arange(n), text], axis=1).astype(float)

    def fit(logits, labels):
        def apply(held):
            assert not set(logits[:, 0]) & set(held[:, 0])
            assert not set(logits[:, 1]) & set(held[:, 1])
            judged.extend(held[:, 0].astype(int).tolist())
            return np.full(held.shape, 0.5)

        return SimpleNamespace(apply=apply)

    judged: list[int] = []
    monkeypatch.setattr(choice, "load", lambda kind, name: SimpleNamespace(fit=fit))
    found = choose(z, np.arange(n) % 2, groups=text, candidates=["toy"])
    assert sorted(judged) == list(range(n))
    assert (found.probabilities == 0.5).all()


def test_a_calibrator_that_costs_labels_is_out(monkeypatch):
    z, y = rows(300)
    flipped = SimpleNamespace(apply=lambda held: 1e-9 + 0.5 * (1 - np.eye(3)[held.argmax(1)]))
    real = choice.load
    liar = SimpleNamespace(fit=lambda logits, labels: flipped)
    monkeypatch.setattr(choice, "load", lambda kind, name: liar if name == "liar" else real(kind, name))
    table = {c.name: c for c in choose(z, y, candidates=["temperature", "liar"]).table}
    assert "labels fewer rows right" in table["liar"].excluded
    assert table["temperature"].chosen


def test_the_standard_error_is_that_of_a_paired_difference_and_counts_copies_once():
    rng = np.random.default_rng(0)
    gap = rng.normal(size=200)
    alone = choice._standard_error(gap, np.arange(200))
    assert alone == pytest.approx(gap.std(ddof=1) / np.sqrt(200))
    copied = choice._standard_error(np.repeat(gap, 4), np.repeat(np.arange(200), 4))
    assert copied == pytest.approx(alone)


def test_one_candidate_is_taken_as_asked_even_with_few_rows():
    found = choose(*rows(30), candidates=["isotonic"])
    assert winner(found) == "isotonic"
    assert found.table[0].nll is not None


def test_a_single_text_still_gives_a_calibrator():
    found = choose(np.tile([2.0, 0.0], (3, 1)), [0, 0, 1], groups=[7, 7, 7])
    assert winner(found) == "temperature"
    assert found.probabilities.shape == (3, 2)


def test_very_many_rows_are_compared_on_some(monkeypatch):
    monkeypatch.setattr(choice, "CHOOSING_LOGITS", 900)
    monkeypatch.setattr(choice, "CHOOSING_ROWS", 100)
    z, y = rows(2000)
    found = choose(z, y)
    np.testing.assert_array_equal(found.probabilities, found.calibrator.apply(z))
    assert found.table[0].nll is not None


def test_the_same_seed_gives_the_same_table():
    z, y = rows(120)
    assert choose(z, y, seed=3).table == choose(z, y, seed=3).table != choose(z, y, seed=4).table


def test_a_fit_of_few_rows_is_instantaneous():
    choose(*rows(128))  # imports
    start = time.perf_counter()
    choose(*rows(128))
    assert time.perf_counter() - start < 0.25  # 0.02 on an idle core


def test_bad_requests_are_named():
    z, y = rows(60)
    with pytest.raises(PluginError, match="did you mean 'isotonic'"):
        choose(z, y, candidates=["isotonc"])
    with pytest.raises(CorpusError, match=r"no calibrator to fit.*60 rows, needs 1,001"):
        choose(z, y, candidates=["histogram", "isotonic"])
    with pytest.raises(CorpusError, match=r"groups \(n,\) of 60 rows"):
        choose(z, y, groups=[0])


@pytest.mark.slow
def test_biases_are_not_taken_for_the_noise_of_class_counts():
    """Stratified folds would take them in 13 % of these draws; the right answer is a temperature."""
    taken = [winner(choose(*rows(128, 10, seed=s), seed=s)) == "bias_corrected" for s in range(200)]
    assert np.mean(taken) < 0.06
