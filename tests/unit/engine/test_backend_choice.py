"""Which backend labels, and which ones compute close rows again."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tiny import snippets

from textlabel import Labeler, registry
from textlabel.engine.backend_choice import choose_backend, passes
from textlabel.engine.predictor import Predictor
from textlabel.engine.process import processor
from textlabel.errors import BundleError, PluginError, RecipeError
from textlabel.models.backend_fit import BackendFit
from textlabel.models.bundle import Bundle

#: the plugin whose features differ from the reference's, and that needs no files
OTHER = "torch_bf16"


def with_backends(bundle, *fits):
    return Bundle(**{**vars(bundle), "backends": fits})


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


def test_errors_measured_on_another_processor_do_not_count_here(two, runs_here, monkeypatch, caplog):
    kept = with_backends(two, BackendFit(OTHER, measured={"processor": processor()}))
    assert choose_backend(kept, "auto").backend == OTHER
    assert not caplog.text
    monkeypatch.setattr("textlabel.engine.backend_choice.processor", lambda: "another")
    assert choose_backend(kept, "auto") == BackendFit("torch")
    assert (
        f"({processor()}, and this is another), so the reference labels: run `textlabel optimize"
        in caplog.text
    )
    caplog.clear()
    assert choose_backend(kept, OTHER).backend == OTHER
    assert "so more labels may differ" in caplog.text


def test_one_asked_for_but_not_kept_is_refused(two):
    with pytest.raises(BundleError, match=r"not tried on this model \(kept: none\): run `textlabel optimize"):
        choose_backend(two, OTHER)
    kept = with_backends(two, BackendFit("openvino_int8"), BackendFit("onnxruntime_int8"))
    with pytest.raises(BundleError, match=r"kept: openvino_int8, onnxruntime_int8"):
        choose_backend(kept, OTHER)


def test_an_unknown_one_is_a_plugin_error(two):
    with pytest.raises(PluginError, match="did you mean 'openvino_int8'"):
        choose_backend(two, "openvino_int")


# --- which ones compute close rows again ------------------------------------------------------------

FIRST = BackendFit("openvino_int8", band=0.5, again_by=OTHER)
FINER = BackendFit(OTHER, band=0.05)


def names(first, *kept):
    return [fit.backend for fit in passes(first, [first, *kept])]


def test_the_one_that_optimize_found_stands_between(runs_here):
    assert names(FIRST, BackendFit("onnxruntime_int8", band=0.01), FINER) == [FIRST.backend, OTHER, "torch"]
    assert names(replace(FIRST, again_by=""), FINER) == [FIRST.backend, "torch"]
    assert names(FINER) == [OTHER, "torch"]
    assert names(replace(FINER, band=0.0)) == [OTHER]


def test_the_last_is_one_that_leaves_nothing_close(runs_here):
    assert names(FIRST, replace(FINER, band=0.0)) == [FIRST.backend, OTHER]


def test_one_that_is_not_there_any_more_is_left_out(runs_here, monkeypatch):
    assert names(FIRST) == [FIRST.backend, "torch"]
    gone = "of_somebody_else"
    assert names(replace(FIRST, again_by=gone), BackendFit(gone, band=0.01)) == [FIRST.backend, "torch"]
    with monkeypatch.context() as patch:
        patch.setattr(registry.load("backend", OTHER), "BATCH_INVARIANT", False)
        assert names(FIRST, FINER) == [FIRST.backend, "torch"]
    elsewhere = replace(FINER, measured={"processor": "another"})
    assert names(FIRST, elsewhere) == [FIRST.backend, "torch"]
    monkeypatch.setattr(registry.load("backend", OTHER), "lacks", lambda: "something")
    assert names(FIRST, FINER) == [FIRST.backend, "torch"]
