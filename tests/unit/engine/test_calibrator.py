"""Which calibrator a fit ends with, and that labels, confidence and record follow from it."""

from __future__ import annotations

import numpy as np
import pytest
from tiny import snippets

from textlabel import Labeler
from textlabel.engine.adapt import adapt
from textlabel.engine.head import fit_head
from textlabel.engine.run import Run, Task
from textlabel.errors import PluginError, RecipeError
from textlabel.models.backbone import load_backbone
from textlabel.recipe import Recipe
from textlabel.trust.calibration import softmax
from textlabel.trust.calibrators import temperature
from textlabel.trust.choice import LEAST_ROWS
from textlabel.trust.sets import lac_quantile
from textlabel.types import LabelSchema

SCHEMA = LabelSchema("single", ("negative", "positive"))
HEAD = {"tune": {"name": "head", "folds": 3}, "objective": "cross_entropy"}


def recipe(*stages):
    return Recipe.from_dict({"name": "test", "stage": list(stages)})


def task(n=60):
    rows = snippets(n)
    return Task([r["text"] for r in rows], np.array([SCHEMA.index(r["label"]) for r in rows]), SCHEMA)


def test_auto_chooses_and_the_record_keeps_the_table(tiny_backbone):
    bundle = adapt(load_backbone(tiny_backbone), task(), recipe(HEAD), 0)
    table = bundle.record["calibrators"]
    assert [entry["name"] for entry in table] == list(LEAST_ROWS)
    [chosen] = [entry for entry in table if entry["chosen"]]
    assert bundle.calibrator.to_json()["name"] == chosen["name"]
    assert table[2]["excluded"] == "60 rows, needs 200"


def test_a_calibrator_asked_for_by_name_makes_labels_confidence_and_record(tiny_backbone, tmp_path):
    labeler = Labeler(tiny_backbone, "head", calibrator="bias_corrected").fit(snippets(60))
    calibrator = labeler.bundle.calibrator
    record = labeler.record()
    assert record["calibrator"] == {"name": "bias_corrected", "temperature": calibrator.temperature}
    assert [entry["name"] for entry in record["calibrators"]] == ["bias_corrected"]
    moved = type(calibrator)(calibrator.temperature, (5.0, -5.0))  # whatever the logits say: negative
    labeler.bundle.calibrator = moved
    rows = [{"text": r["text"]} for r in snippets(80)[60:]]
    out = labeler.annotate(rows)
    p = moved.apply(labeler.predict(rows).logits)
    assert set(out["label"][:]) == {0}
    np.testing.assert_allclose(out["confidence"][:], p[:, 0], rtol=1e-6)
    labeler.save(tmp_path / "model")
    assert "bias\\_corrected" in (tmp_path / "model" / "README.md").read_text()
    assert Labeler.load(tmp_path / "model").bundle.calibrator == moved


@pytest.mark.parametrize(
    ("name", "calibration", "error", "message"),
    [
        ("temprature", "auto", PluginError, "did you mean 'temperature'"),
        ("vector", "none", RecipeError, "calibration = 'none' does not give"),
    ],
)
def test_an_impossible_calibrator_is_refused_before_training(
    tiny_backbone, monkeypatch, name, calibration, error, message
):
    monkeypatch.setattr(Run, "fit", lambda *_: pytest.fail("it trained"))
    backbone = load_backbone(tiny_backbone)
    with pytest.raises(error, match=message):
        adapt(backbone, task(), recipe(HEAD), 0, calibrator=name, calibration=calibration)


def test_scores_have_no_calibrator(tiny_backbone):
    rows = Task([r["text"] for r in snippets(30)], np.linspace(0, 1, 30), LabelSchema("score"))
    with pytest.raises(RecipeError, match="scores have no confidence"):
        adapt(load_backbone(tiny_backbone), rows, Recipe.load("regression"), 0, calibrator="temperature")


def test_prediction_sets_come_from_probabilities_of_fits_without_the_row(tiny_backbone, monkeypatch):
    from textlabel.engine import adapt as module

    found = []

    def spy(*args):
        found.append(module_choose(*args))
        return found[-1]

    module_choose = module.choose
    monkeypatch.setattr(module, "choose", spy)
    given = task()
    bundle = adapt(load_backbone(tiny_backbone), given, recipe(HEAD), 0, calibrator="isotonic")
    assert bundle.sets.quantiles == (lac_quantile(found[0].probabilities, given.targets, 0.1),)


def test_equal_texts_share_a_fold_of_the_choice(tiny_backbone, monkeypatch):
    from textlabel.engine import adapt as module

    groups = []
    real = module.choose
    monkeypatch.setattr(module, "choose", lambda z, y, g, *rest: groups.append(g) or real(z, y, g, *rest))
    rows = snippets(30)
    twice = Task([r["text"] for r in rows] * 2, np.tile([0, 1], 30), SCHEMA)
    adapt(load_backbone(tiny_backbone), twice, recipe(HEAD), 0)
    np.testing.assert_array_equal(groups[0][:30], groups[0][30:])


# --- leakage: what the rows may come from ---------------------------------------------------------


def _simulated(seed, n=80, d=60):
    """Few rows, many features: heads that know their rows by heart."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n + 2000)
    x = rng.normal(size=(n + 2000, d)) + 0.35 * (2 * y[:, None] - 1) * (np.arange(d) < 8)
    return x, y, n


def test_a_temperature_from_trained_rows_is_far_too_low():
    stage = recipe({"tune": {"name": "head", "l2": 1e-4}, "objective": "cross_entropy"}).stages[0]
    for seed in range(2):
        x, y, n = _simulated(seed)
        fitted = fit_head(x[:n], y[:n], np.arange(n), 2, stage, seed)
        leaked = temperature.fit(fitted.head(x[:n]), y[:n]).temperature
        best = temperature.fit(fitted.head(x[n:]), y[n:]).temperature
        ours = temperature.fit(fitted.out_of_fold, y[:n]).temperature
        assert leaked < best / 3
        assert best / 2 < ours < best * 2


def test_the_mean_of_fold_models_is_not_the_final_model_and_wants_its_own_temperature():
    """Averaging overfitted models cools them: one temperature cannot serve both."""
    stage = recipe({"tune": {"name": "head", "l2": 1e-4}, "objective": "cross_entropy"}).stages[0]
    wanted = []
    for seed in range(2):
        x, y, n = _simulated(seed)
        final = fit_head(x[:n], y[:n], np.arange(n), 2, stage, seed)
        fold = np.random.default_rng(seed).permutation(n) % 3
        members = []
        for k in range(3):
            rows = np.flatnonzero(fold != k)
            members.append(fit_head(x[rows], y[rows], np.arange(len(rows)), 2, stage, seed).head(x[n:]))
        mean = np.log(np.mean([softmax(z) for z in members], axis=0))
        ensemble = temperature.fit(mean, y[n:]).temperature
        single = temperature.fit(final.head(x[n:]), y[n:]).temperature
        wanted.append(ensemble / single)
    print(wanted)
    assert np.mean(wanted) < 0.9
