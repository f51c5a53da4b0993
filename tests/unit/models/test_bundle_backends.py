"""What `textlabel optimize` kept travels with the model, and no further."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from tiny import snippets

from textlabel import Labeler, registry
from textlabel.errors import BundleError
from textlabel.models.backend_fit import BackendFit

TEXTS = [{"text": row["text"]} for row in snippets(40, seed=1)]
MEASURED = {"texts": 500, "agreement": 0.99, "agreement_with_band": 0.999, "computed_again": 0.05}


@pytest.fixture(scope="module")
def kept(tiny_backbone, tmp_path_factory):
    """Return a fitted labeler that holds a backend with files and one without."""
    labeler = Labeler(tiny_backbone).fit(snippets(80))
    folder = tmp_path_factory.mktemp("made") / "graph"
    module = registry.load("backend", "openvino_bf16")
    module.prepare(labeler.bundle.classifier, [row["text"] for row in TEXTS], folder)
    labeler.bundle.backends = [
        BackendFit("openvino_bf16", 1.01, 0.9, 0.1, 0.05, MEASURED, folder),
        BackendFit("torch_bf16", 0.99, 1.1, -0.1, 0.04, MEASURED),
    ]
    return labeler


@pytest.fixture
def model(kept, tmp_path):
    return kept.save(tmp_path / "model")


def numbers(fits):
    return [fit.to_json() for fit in fits]


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_reloading_changes_nothing(kept, model):
    again = Labeler.load(model, backend="auto")
    assert numbers(again.bundle.backends) == numbers(kept.bundle.backends)
    assert [fit.folder for fit in again.bundle.backends] == [model / "backends" / "openvino_bf16", None]
    kept.backend, kept._predictor = "openvino_bf16", None
    before, after = kept.predict(TEXTS), again.predict(TEXTS)
    assert again.record()["backend"]["backend"] == "openvino_bf16"
    np.testing.assert_array_equal(before.logits, after.logits)
    np.testing.assert_array_equal(before.ood_score, after.ood_score)
    assert (before.logits != Labeler.load(model).predict(TEXTS).logits).any()


def test_hashes_cover_the_files(model):
    listed = json.loads((model / "textlabel.json").read_text())["files"]
    assert {"backends/openvino_bf16/model.xml", "backends/openvino_bf16/model.bin"} <= set(listed)
    path = model / "backends" / "openvino_bf16" / "model.bin"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(BundleError, match=r"model\.bin was changed or damaged since the model was saved"):
        Labeler.load(model)
    path.unlink()
    with pytest.raises(BundleError, match=r"model\.bin is missing"):
        Labeler.load(model)


def test_saving_over_itself(model):
    before = contents(model)
    labeler = Labeler.load(model)
    assert labeler.save(model) == model
    assert contents(model) == before
    labeler.save(model)  # its files are where they were, in the new folder
    assert contents(model) == before
    assert [path.name for path in model.parent.iterdir()] == ["model"]


def test_what_is_no_longer_kept_goes_from_the_folder(model):
    labeler = Labeler.load(model)
    labeler.bundle.backends = []
    labeler.save(model)
    assert not (model / "backends").exists()
    assert Labeler.load(model, backend="auto").predictor.fit.backend == "torch"


@pytest.mark.slow
def test_the_folder_of_an_earlier_optimize_outlives_a_failed_one(tiny_backbone, tmp_path, monkeypatch):
    from textlabel.errors import CorpusError

    monkeypatch.setattr("textlabel.engine.optimize.too_far", lambda measured: "")
    monkeypatch.setattr(
        "textlabel.engine.optimize._speeds", lambda ready, _: dict.fromkeys(ready, 2.0) | {"torch": 1.0}
    )
    labeler = Labeler(tiny_backbone).fit(snippets(80))
    labeler.optimize([{"text": row["text"]} for row in snippets(150, seed=2)])
    kept = {fit.backend for fit in labeler.bundle.backends}
    assert {"openvino_int8", "openvino_bf16", "onnxruntime_int8"} <= kept
    with pytest.raises(CorpusError, match="at least 100 different"):
        labeler.optimize(TEXTS)
    again = Labeler.load(labeler.save(tmp_path / "model"))
    assert {fit.backend for fit in again.bundle.backends} == kept
    for name in kept:
        Labeler.load(tmp_path / "model", backend=name).predict(TEXTS)


def test_a_second_fit_forgets_them(tiny_backbone, kept, tmp_path):
    labeler = Labeler.load(kept.save(tmp_path / "model"), backend="auto")
    assert len(labeler.bundle.backends) == 2
    labeler.backbone = tiny_backbone
    labeler.fit(snippets(80, seed=3))
    assert list(labeler.bundle.backends) == []
    labeler.predict(TEXTS)
    assert labeler.record()["backend"]["backend"] == "torch"


def test_a_model_from_before_backends_still_loads(model):
    data = json.loads((model / "textlabel.json").read_text())
    del data["backends"]
    (model / "textlabel.json").write_text(json.dumps(data))
    assert Labeler.load(model, backend="auto").predictor.fit.backend == "torch"


def test_what_another_version_measured_is_forgotten_with_a_word(model, caplog):
    """Its band was a difference of probabilities, which nobody must take for nats."""
    record = json.loads((model / "textlabel.json").read_text())
    del record["backends"][1]["band_unit"]
    (model / "textlabel.json").write_text(json.dumps(record))
    assert [fit.backend for fit in Labeler.load(model).bundle.backends] == ["openvino_bf16"]
    assert "run `textlabel optimize` again" in caplog.text


@pytest.mark.parametrize("name", ["../../elsewhere", "/etc", "..", "a/b", ""])
def test_a_backend_whose_name_leads_elsewhere_is_refused(model, name):
    data = json.loads((model / "textlabel.json").read_text())
    data["backends"][0]["backend"] = name
    (model / "textlabel.json").write_text(json.dumps(data))
    with pytest.raises(BundleError, match="is no backend"):
        Labeler.load(model)


@pytest.mark.slow
def test_on_a_machine_without_openvino_it_loads_and_labels(kept, model):
    code = f"""
import importlib.util, json, sys
for name in ("openvino", "nncf"):
    sys.modules[name] = None
from textlabel import Labeler
from textlabel.errors import PluginError
rows = {TEXTS!r}
plain = Labeler.load({str(model)!r}).annotate(rows)["label"][:]
labeler = Labeler.load({str(model)!r}, backend="auto")
assert labeler.predictor.fit.backend in ("torch", "torch_bf16"), labeler.predictor.fit
auto = labeler.annotate(rows)["label"][:]
assert plain == auto
assert {{fit.backend for fit in labeler.bundle.backends}} == {{"openvino_bf16", "torch_bf16"}}
labeler.save({str(model)!r})
try:
    Labeler.load({str(model)!r}, backend="openvino_bf16").predictor
except PluginError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "does not run here, it needs OpenVINO: pip install 'textlabel[openvino]'" in done.stdout
    assert (model / "backends" / "openvino_bf16" / "model.xml").is_file()
