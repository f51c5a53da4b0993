"""What every calibrator and every confidence score must do."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from textlabel import registry
from textlabel.errors import BundleError, CorpusError, RecipeError, TrainingError
from textlabel.trust.calibration import from_json, softmax
from textlabel.trust.scores import Evidence, order_score

CALIBRATORS = registry.plugins("calibrator")
LEARNING = [name for name in CALIBRATORS if name != "none"]
SCORES = registry.plugins("score")


def rows(n=400, k=3, seed=0):
    """Logits of a model that is twice too sure, and labels drawn from half of them."""
    rng = np.random.default_rng(seed)
    logits = 4 * rng.normal(size=(n, k))
    return logits, (softmax(logits / 2).cumsum(1) > rng.random(n)[:, None]).argmax(1)


def evidence(n=50, k=3, seed=0):
    rng = np.random.default_rng(seed)
    members = rng.dirichlet([0.5] * k, size=(4, n))
    neighbors = rng.integers(0, k, (n, 7))
    return Evidence(members.mean(axis=0), rng.normal(size=n).astype(np.float32), neighbors, members)


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("name", CALIBRATORS)
def test_a_calibrator_gives_probabilities_and_comes_back_from_json(name, k):
    logits, labels = rows(k=k)
    fitted = registry.load("calibrator", name).fit(logits, labels)
    again = from_json(json.loads(json.dumps(fitted.to_json(), allow_nan=False)))
    assert again == fitted
    extreme = np.concatenate([logits, 1e3 * np.eye(k), np.zeros((1, k))]).astype(np.float32)
    p = again.apply(extreme)
    assert p.dtype == np.float64
    assert ((p >= 0) & (p <= 1)).all()
    np.testing.assert_allclose(p.sum(1), 1.0, atol=1e-9)


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("name", LEARNING)
def test_a_calibrator_makes_an_oversure_model_better_on_rows_it_did_not_see(name, k):
    from textlabel.trust.metrics import ece, nll

    logits, labels = rows(4000, k)
    fresh, truth = rows(4000, k, seed=1)
    p, raw = registry.load("calibrator", name).fit(logits, labels).apply(fresh), softmax(fresh)
    assert nll(truth, p) < nll(truth, raw) - 0.04
    assert ece(p.max(1), p.argmax(1) == truth) < 0.04 < ece(raw.max(1), raw.argmax(1) == truth)


@pytest.mark.parametrize("name", LEARNING)
def test_a_calibrator_survives_few_rows_of_one_class_and_perfect_ones(name):
    plugin = registry.load("calibrator", name)
    for logits, labels in [
        ([[0.0, 9.0, 0.0]], [0]),
        (np.zeros((4, 3)), [2, 2, 2, 2]),
        (50 * np.eye(3)[[0, 1, 2] * 5], [0, 1, 2] * 5),
    ]:
        p = plugin.fit(logits, labels).apply([[1.0, 0.0, -1.0], [-800.0, 0.0, 800.0]])
        assert np.isfinite(p).all()
        np.testing.assert_allclose(p.sum(1), 1.0, atol=1e-9)


@pytest.mark.parametrize("name", LEARNING)
def test_weights_of_a_calibrator_count_rows(name):
    logits, labels = rows(60)
    plugin, weights = registry.load("calibrator", name), np.tile([1.0, 0.0], 30)
    kept = plugin.fit(logits[::2], labels[::2]).apply(logits)
    np.testing.assert_allclose(plugin.fit(logits, labels, weights).apply(logits), kept, atol=1e-9)


@pytest.mark.parametrize("name", LEARNING)
def test_a_calibrator_names_bad_input(name):
    fit = registry.load("calibrator", name).fit
    with pytest.raises(CorpusError, match=r"labels in \[0, 2\), got 0 to 2"):
        fit(np.zeros((2, 2)), [0, 2])
    with pytest.raises(TrainingError, match="row 1 are not finite"):
        fit([[0.0, 1.0], [np.nan, 1.0]], [0, 1])


@pytest.mark.parametrize("name", LEARNING)
def test_a_damaged_calibrator_is_refused(name):
    whole = registry.load("calibrator", name).fit(*rows(60)).to_json()
    for key in whole.keys() - {"name"}:
        for bad in (None, "x", [], [None], [float("nan")]):
            with pytest.raises(BundleError, match=r"^expected"):
                from_json({**whole, key: bad})


@pytest.mark.parametrize("name", SCORES)
def test_a_score_needs_what_it_says_and_no_more(name):
    plugin, whole = registry.load("score", name), evidence()
    fields = {field.name for field in dataclasses.fields(Evidence)}
    assert set(plugin.NEEDS) <= fields
    kept = {f: getattr(whole, f) for f in {*plugin.NEEDS, "probabilities"}}
    np.testing.assert_array_equal(order_score(name, Evidence(**kept)), order_score(name, whole))
    for need in set(plugin.NEEDS) - {"probabilities"}:
        with pytest.raises(RecipeError, match=f"confidence score '{name}' needs {need}"):
            order_score(name, dataclasses.replace(whole, **{need: None}))


@pytest.mark.parametrize("name", SCORES)
def test_a_score_is_higher_where_all_evidence_says_surer(name):
    sure, unsure = [0.98, 0.02], [0.52, 0.48]
    torn = [[[0.98, 0.02], [0.06, 0.94]], [sure, sure]]  # (rows, members, k)
    values = order_score(
        name,
        Evidence(
            np.array([unsure, sure]),
            np.array([9.0, 0.0]),
            np.array([[1, 0], [0, 0]]),
            np.swapaxes(torn, 0, 1),
        ),
    )
    assert values.dtype == np.float64
    assert values[1] > values[0]


@pytest.mark.parametrize("name", SCORES)
def test_a_score_looks_at_each_row_alone(name):
    whole = evidence()
    some = np.random.default_rng(1).permutation(50)[:20]
    part = Evidence(
        whole.probabilities[some], whole.ood_score[some], whole.neighbor_labels[some], whole.members[:, some]
    )
    np.testing.assert_allclose(order_score(name, part), order_score(name, whole)[some], atol=1e-12)
