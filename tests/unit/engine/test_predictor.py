"""What a backend says after corrections, and with close rows computed again."""

from __future__ import annotations

import numpy as np
import pytest
from tiny import snippets

from textlabel import Labeler, registry
from textlabel.engine.predict import Featurizer, head_logits
from textlabel.engine.predictor import Predictor, lead
from textlabel.models.backend_fit import BackendFit
from textlabel.models.bundle import Bundle

TEXTS = [row["text"] for row in snippets(60, seed=1)]
IDS = [str(number) for number in range(len(TEXTS))]
#: the plugin whose features differ from the reference's, and that needs no files
OTHER = "torch_bf16"
#: a plugin that is made to give the reference's own features
FINER = "openvino_bf16"


@pytest.fixture(scope="module")
def five(tiny_backbone):
    rows = [{**row, "label": "abcde"[number % 5]} for number, row in enumerate(snippets(100))]
    return Labeler(tiny_backbone).fit(rows).bundle


@pytest.fixture(scope="module")
def score(tiny_backbone):
    rows = [{"text": row["text"], "label": float(row["stars"])} for row in snippets(80)]
    return Labeler(tiny_backbone, "regression").fit(rows).bundle


@pytest.fixture
def exact(monkeypatch):
    """Let another plugin give the reference's own features."""
    reference, finer = registry.load("backend", "torch").Backend, registry.load("backend", FINER)
    monkeypatch.setattr(finer, "Backend", reference)
    monkeypatch.setattr(finer, "lacks", lambda: "")


def with_backends(bundle, *fits):
    return Bundle(**{**vars(bundle), "backends": fits})


@pytest.mark.parametrize("name", ["two", "five"])
def test_close_rows_are_the_references_and_others_are_corrected(name, request, runs_here):
    bundle = request.getfixturevalue(name)
    fast = Featurizer(bundle.classifier, OTHER).features(TEXTS)
    corrected = 0.8 * head_logits(bundle.classifier, fast)
    leads = lead(bundle.calibrator.apply(corrected.astype(np.float64)))
    band = float(np.median(leads))
    fit = BackendFit(OTHER, logit_scale=0.8, ood_scale=2.0, ood_shift=3.0, band=band, distance_scale=0.5)
    predictor = Predictor(with_backends(bundle, fit), OTHER)
    found = predictor(IDS, TEXTS)
    close = np.flatnonzero(leads < band)
    assert 20 < len(close) < 40
    exact = Featurizer(bundle.classifier).features([TEXTS[i] for i in close])
    logits = head_logits(bundle.classifier, exact)
    np.testing.assert_array_equal(found.embeddings[close], exact)
    np.testing.assert_array_equal(found.logits[close], logits)
    np.testing.assert_array_equal(found.ood_score[close], bundle.scope.score(logits, exact))
    rest = np.setdiff1d(np.arange(len(TEXTS)), close)
    np.testing.assert_allclose(found.distances[close], bundle.against_source(exact)[1], rtol=1e-5)
    np.testing.assert_allclose(found.distances[rest], 0.5 * bundle.against_source(fast)[1][rest], rtol=1e-5)
    np.testing.assert_array_equal(found.embeddings[rest], fast[rest])
    np.testing.assert_allclose(found.logits[rest], corrected[rest], rtol=1e-6)
    score = 2 * bundle.scope.score(corrected, fast) + 3
    np.testing.assert_allclose(found.ood_score[rest], score[rest], rtol=1e-5)
    assert np.abs(Featurizer(bundle.classifier).features(TEXTS)[rest] - fast[rest]).max() > 1e-4
    assert list(found.ids) == IDS


def test_what_a_finer_backend_leaves_close_the_reference_computes(two, runs_here, exact):
    """Rows of the wide band go to the finer backend, and of those the ones of its narrow band on."""
    fast = Featurizer(two.classifier, OTHER).features(TEXTS)
    logits = head_logits(two.classifier, fast)
    leads = lead(two.calibrator.apply(logits.astype(np.float64)))
    wide, narrow = np.quantile(leads, [0.7, 0.3])
    first = BackendFit(OTHER, band=float(wide), again_by=FINER)
    finer = BackendFit(FINER, 1.25, 2.0, 3.0, float(narrow), distance_scale=0.5)
    found = (predictor := Predictor(with_backends(two, first, finer), OTHER))(IDS, TEXTS)
    assert predictor.to_json()["recomputed_by"] == [FINER, "torch"]
    near = leads < wide
    np.testing.assert_array_equal(found.recomputed, near)
    np.testing.assert_array_equal(found.logits[~near], logits[~near])
    right = Featurizer(two.classifier).features(TEXTS)  # of which toy features are a copy, here
    scaled = np.float32(1.25) * head_logits(two.classifier, right)
    still = near & (lead(two.calibrator.apply(scaled.astype(np.float64))) < narrow)
    assert 0 < still.sum() < near.sum() < len(TEXTS)
    settled = near & ~still
    np.testing.assert_allclose(found.logits[settled], scaled[settled], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.logits[still], scaled[still] / 1.25, rtol=1e-4, atol=1e-6)
    score = two.scope.score(scaled, right)
    np.testing.assert_allclose(found.ood_score[settled], 2 * score[settled] + 3, rtol=1e-4)
    score = two.scope.score(scaled / np.float32(1.25), right)
    np.testing.assert_allclose(found.ood_score[still], score[still], rtol=1e-4)
    distances = two.against_source(right)[1]
    np.testing.assert_allclose(found.distances[settled], 0.5 * distances[settled], rtol=1e-4)
    np.testing.assert_allclose(found.distances[still], distances[still], rtol=1e-4)


def test_the_counts_are_of_the_last_call(two, runs_here):
    predictor = Predictor(with_backends(two, BackendFit(OTHER, band=99.0)), "auto")  # no lead is 99
    for rows in (len(TEXTS), 10):
        found = predictor(IDS[:rows], TEXTS[:rows])
        told = predictor.to_json()
        assert (told["backend"], told["rows"], told["recomputed"]) == (OTHER, rows, rows)
        assert found.recomputed.all()


def test_nothing_is_computed_again_by_the_reference_itself(two):
    predictor = Predictor(two)
    found = predictor(IDS, TEXTS)
    features = Featurizer(two.classifier).features(TEXTS)
    np.testing.assert_array_equal(found.logits, head_logits(two.classifier, features))
    np.testing.assert_array_equal(found.ood_score, two.scope.score(found.logits, features))
    assert (predictor.rows, predictor.recomputed) == (len(TEXTS), 0)


def test_where_no_row_is_close_none_is_computed_again(two, runs_here):
    predictor = Predictor(with_backends(two, BackendFit(OTHER, band=1e-9)), OTHER)
    predictor(IDS, TEXTS)
    assert (predictor.rows, predictor.recomputed) == (len(TEXTS), 0)


def test_scores_have_no_band(score, runs_here):
    predictor = Predictor(with_backends(score, BackendFit(OTHER, ood_shift=1.0)), OTHER)
    found = predictor(IDS, TEXTS)
    fast = Featurizer(score.classifier, OTHER).features(TEXTS)
    np.testing.assert_array_equal(found.logits, head_logits(score.classifier, fast))
    assert predictor.recomputed == 0


def test_no_text(two, runs_here):
    found = Predictor(with_backends(two, BackendFit(OTHER, band=0.5)), OTHER)([], [])
    assert found.logits.shape == (0, 2)


def test_lead():
    leads = lead(np.array([[0.5, 0.2, 0.3], [0.1, 0.1, 0.8], [1 / 3, 1 / 3, 1 / 3], [1, 0, 0]]))
    np.testing.assert_allclose(leads, [np.log(5 / 3), np.log(8), 0.0, np.log(1e12)], atol=1e-12)


def test_the_labeler_counts_each_corpus_by_itself(tiny_backbone, runs_here):
    labeler = Labeler(tiny_backbone, backend="auto").fit(snippets(80))
    labeler.bundle.backends = [BackendFit(OTHER, band=99.0)]
    for rows in (snippets(30, seed=2), snippets(20, seed=3)):
        labeler.annotate(rows)
        told = labeler.record(len(rows))["backend"]
        assert (told["backend"], told["rows"], told["recomputed"]) == (OTHER, len(rows), len(rows))
