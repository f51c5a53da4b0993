"""Which backend labels, and what it says after corrections and with close rows computed again."""

from __future__ import annotations

import numpy as np
import pytest
from tiny import snippets

from textlabel import Labeler, registry
from textlabel.engine.predict import Featurizer, head_logits
from textlabel.engine.predictor import Predictor, choose_backend, lead
from textlabel.errors import BundleError, PluginError, RecipeError
from textlabel.models.backend_fit import BackendFit
from textlabel.models.bundle import Bundle

TEXTS = [row["text"] for row in snippets(60, seed=1)]
IDS = [str(number) for number in range(len(TEXTS))]
#: the plugin whose features differ from the reference's, and that needs no files
OTHER = "torch_bf16"


@pytest.fixture(scope="module")
def two(tiny_backbone):
    return Labeler(tiny_backbone).fit(snippets(80)).bundle


@pytest.fixture(scope="module")
def five(tiny_backbone):
    rows = [{**row, "label": "abcde"[number % 5]} for number, row in enumerate(snippets(100))]
    return Labeler(tiny_backbone).fit(rows).bundle


@pytest.fixture(scope="module")
def score(tiny_backbone):
    rows = [{"text": row["text"], "label": float(row["stars"])} for row in snippets(80)]
    return Labeler(tiny_backbone, "regression").fit(rows).bundle


@pytest.fixture
def runs_here(monkeypatch):
    """Let torch_bf16 run whatever the processor, slowly, maybe, but rightly, and be taken by "auto"."""
    monkeypatch.setattr(registry.load("backend", OTHER), "lacks", lambda: "")
    monkeypatch.setattr(registry.load("backend", OTHER), "BATCH_INVARIANT", True)


def with_backends(bundle, *fits):
    return Bundle(**{**vars(bundle), "backends": fits})


# --- which one --------------------------------------------------------------------------------------


def test_auto_is_the_reference_where_none_was_kept(two):
    assert choose_backend(two, "auto") == choose_backend(two, "torch") == BackendFit("torch")


def test_auto_is_the_first_that_was_kept(two, runs_here):
    fits = BackendFit(OTHER, 1.1), BackendFit("openvino_int8", 0.9)
    assert choose_backend(with_backends(two, *fits), "auto") is fits[0]
    assert choose_backend(with_backends(two, *fits[::-1]), "auto") is fits[1]
    assert choose_backend(with_backends(two, *fits), "openvino_int8") is fits[1]
    assert choose_backend(with_backends(two, *fits), "torch") == BackendFit("torch")


def test_auto_takes_none_in_which_batch_mates_matter(two, runs_here, monkeypatch):
    monkeypatch.setattr(registry.load("backend", OTHER), "BATCH_INVARIANT", False)
    kept = with_backends(two, BackendFit(OTHER), BackendFit("openvino_bf16"))
    assert choose_backend(kept, "auto").backend == "openvino_bf16"
    assert choose_backend(kept, OTHER).backend == OTHER  # who names it wants it
    assert choose_backend(with_backends(two, BackendFit(OTHER)), "auto") == BackendFit("torch")


@pytest.mark.parametrize("name", ["openvino_int8", "openvino_bf16", "onnxruntime_int8"])
def test_nothing_is_fitted_with_a_graph_of_what_is_fitted(tiny_backbone, name):
    with pytest.raises(RecipeError, match=f"backend '{name}' runs a graph that `textlabel optimize` makes"):
        Labeler(tiny_backbone, backend=name).fit(snippets(20))


def test_auto_goes_on_where_one_does_not_run_here(two, runs_here, monkeypatch):
    monkeypatch.setattr(registry.load("backend", "openvino_int8"), "lacks", lambda: "something")
    kept = with_backends(two, BackendFit("openvino_int8"), BackendFit(OTHER))
    assert choose_backend(kept, "auto").backend == OTHER
    monkeypatch.setattr(registry.load("backend", OTHER), "lacks", lambda: "something")
    assert choose_backend(kept, "auto").backend == "torch"
    with pytest.raises(PluginError, match="does not run here, it needs something"):
        Predictor(kept, "openvino_int8")


def test_auto_goes_on_where_a_plugin_is_not_installed(two, runs_here):
    kept = with_backends(two, BackendFit("of_somebody_else"), BackendFit(OTHER))
    assert choose_backend(kept, "auto").backend == OTHER


def test_one_asked_for_but_not_kept_is_refused(two):
    with pytest.raises(BundleError, match=r"not tried on this model \(kept: none\): run `textlabel optimize"):
        choose_backend(two, OTHER)
    kept = with_backends(two, BackendFit("openvino_int8"), BackendFit("onnxruntime_int8"))
    with pytest.raises(BundleError, match=r"kept: openvino_int8, onnxruntime_int8"):
        choose_backend(kept, OTHER)


def test_an_unknown_one_is_a_plugin_error(two):
    with pytest.raises(PluginError, match="did you mean 'openvino_int8'"):
        choose_backend(two, "openvino_int")


# --- what it says -----------------------------------------------------------------------------------


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
