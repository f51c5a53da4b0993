"""Label shift by what a model keeps: rows of the corpus are placed as the labeled rows were."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tiny import snippets

from textlabel import Labeler
from textlabel.engine import shift as engine_shift
from textlabel.engine.head import fit_head
from textlabel.engine.shift import shift_of
from textlabel.errors import CorpusError
from textlabel.recipe import Recipe
from textlabel.trust.calibrators import temperature
from textlabel.trust.label_shift import Refused, bbse, count_cells, label_shift

ROWS, FEATURES, NEW = 250, 180, 8000
#: nearly as many features as rows and hardly a penalty: heads of fewer rows are less sure than the final one
WEAK = {"tune": {"name": "head", "l2": 1e-5}, "objective": "cross_entropy"}
CORPUS = [{"text": row["text"]} for row in snippets(300, seed=1)]


def points(rng, n, share):
    y = (rng.random(n) < share).astype(int)
    x = rng.normal(size=(n, FEATURES))
    x[np.arange(n), y] += 2
    return x, y


def refused(cells, heads, calibrator, x):
    """Return whether points that are placed by these heads, on average, are refused."""
    counts = np.mean([cells.count(calibrator.apply(head(x))) for head in heads], axis=0)
    return isinstance(bbse(cells, counts), Refused)


@pytest.mark.slow
def test_a_true_label_shift_is_seldom_refused_where_heads_of_folds_place_it():
    stage = Recipe.from_dict({"name": "weak", "stage": [WEAK]}).stages[0]
    by_members, by_final, other = [], [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        x, y = points(rng, ROWS, 0.5)
        fitted = fit_head(x, y, np.arange(ROWS), 2, stage, seed)
        calibrator = temperature.fit(fitted.out_of_fold, y)
        cells = count_cells(calibrator.apply(fitted.out_of_fold), y)
        target, _ = points(rng, NEW, 0.8)
        by_members.append(refused(cells, fitted.members, calibrator, target))
        by_final.append(refused(cells, [fitted.head], calibrator, target))
        between = (
            np.abs(target[:, 0] - target[:, 1]) < 2
        )  # covariate shift: only points that are hard to tell
        other.append(refused(cells, fitted.members, calibrator, target[between]))
    assert np.mean(by_members) <= 0.1
    assert np.mean(by_final) >= 0.25  # what the heads of the folds are for
    assert np.mean(other) >= 0.9


@pytest.fixture(scope="module")
def labeler(tiny_backbone):
    return Labeler(tiny_backbone, "head").fit(snippets(200))


def test_heads_of_the_folds_place_the_rows_that_are_in_scope(labeler, monkeypatch):
    bundle, predictions = labeler.bundle, labeler.predict(CORPUS)
    inside = ~bundle.scope.out_of_scope(predictions.ood_score, 0.1)
    x, source = predictions.embeddings[inside], bundle.source
    counts = np.mean(
        [source.cells.count(bundle.calibrator.apply(head(x))) for head in bundle.members], axis=0
    )
    assert 0 < inside.sum() < 300
    assert counts.sum() == pytest.approx(inside.sum())
    p = source.unbiased(bundle.calibrator.apply(predictions.logits[inside]))
    expected = label_shift(source.cells, p, counts)
    monkeypatch.setattr(engine_shift, "CHUNK", 7)
    found = shift_of(predictions, bundle, 0.1)
    assert found.p_value == pytest.approx(expected.p_value)
    np.testing.assert_allclose(found.shares, expected.shares)
    assert found.p_value != pytest.approx(shift_of(predictions, bundle.forget_rows(), 0.1).p_value)


def test_predictions_without_features_are_refused_where_heads_of_folds_read_them(labeler):
    bare = replace(labeler.predict(CORPUS), embeddings=None)
    with pytest.raises(CorpusError, match="reads features, which these predictions lack"):
        labeler.label_shift(bare)
    shift_of(bare, labeler.bundle.forget_rows())


@pytest.mark.parametrize("through_command", [False, True])
def test_a_long_run_keeps_the_features_that_a_correction_reads(labeler, tmp_path, through_command):
    if through_command:
        from textlabel.steps import Annotate

        (tmp_path / "corpus.csv").write_text("text\n" + "".join(row["text"] + "\n" for row in CORPUS))
        model = str(labeler.save(tmp_path / "model"))
        step = Annotate(str(tmp_path / "corpus.csv"), model, str(tmp_path / "out"), correct_label_shift=True)
        assert step.run()["label_shift"]["p_value"] is not None
    else:
        rows = labeler.annotate(CORPUS, correct_label_shift=True, checkpoint=tmp_path / "run")
        plain = labeler.annotate(CORPUS, correct_label_shift=True)
        np.testing.assert_allclose(rows["confidence"][:], plain["confidence"][:], atol=1e-6)
