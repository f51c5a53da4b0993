"""What test_hub.py runs in a process of its own, because the Hub's address is read at import."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import datasets
import pytest
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from tiny import snippets, write_backbone

from textlabel import Labeler, registry
from textlabel.errors import BackboneError, ExportError
from textlabel.export import hub
from textlabel.models.backend_fit import BackendFit

RECORD = {
    "format": 1,
    "textlabel": "0.1.0",
    "created": "2026-11-21",
    "schema": {"kind": "single", "names": ["no", "yes"]},
    "backbone": {"name": "tiny", "sha256": "0" * 64, "source": "local", "license": "mit"},
    "recipe": {"name": "head"},
    "seed": 0,
    "versions": {},
    "labels": {"train": 8, "calibration": "out-of-fold 5", "audit": 0},
    "calibrator": {"name": "temperature", "temperature": 1.5},
    "certificate": None,
    "evaluation": None,
}


def _rows() -> datasets.Dataset:
    text = datasets.Value("string")
    features = datasets.Features(
        {"id": text, "text": text, "label": datasets.ClassLabel(names=["no", "yes"])}
    )
    columns = {"id": ["a", "b"], "text": ["eins", "zwei"], "label": [1, 0]}
    return datasets.Dataset.from_dict(columns, features=features)


def push_dataset(_: Path) -> None:
    rows, repo = _rows(), "tester/reviews"
    hub.push(rows.select([0]), repo, RECORD)
    address = hub.push(rows, repo, RECORD)  # the second push replaces the rows of the first
    assert address.endswith("/datasets/tester/reviews"), address
    again = datasets.load_dataset(repo, split="train")
    assert again.features == rows.features, again.features
    assert again.to_list() == rows.to_list()

    def read(name: str) -> str:
        return Path(hf_hub_download(repo, name, repo_type="dataset")).read_text(encoding="utf-8")

    assert json.loads(read("textlabel.json")) == {**RECORD, "rows": 2}
    card = read("README.md")
    assert "given by a model, not by people" in card, card
    assert "machine-labeled" in card, card
    assert "dataset_info" in card, card


def push_branch(_: Path) -> None:
    rows, repo = _rows(), "tester/branches"
    hub.push(rows, repo, RECORD)
    hub.push(rows.select([1]), repo, RECORD, revision="trial")
    assert datasets.load_dataset(repo, split="train", revision="trial")["id"][:] == ["b"]
    assert datasets.load_dataset(repo, split="train")["id"][:] == ["a", "b"]
    assert {ref.name for ref in HfApi().list_repo_refs(repo, repo_type="dataset").branches} == {
        "main",
        "trial",
    }


def push_folder(folder: Path) -> None:
    folder.mkdir()
    (folder / "README.md").write_text("---\nlicense: mit\n---\na card")
    (folder / "model.safetensors").write_bytes(bytes(range(256)))
    hub.push_folder(folder, "tester/model")
    again = Path(snapshot_download("tester/model"))
    held = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert {file.name: file.read_bytes() for file in again.iterdir()} == held


def labeler(folder: Path) -> None:
    """Backbone, corpus and classifier, each by its Hub id."""
    backbone = write_backbone(folder / "backbone")
    hub.push_folder(backbone, "tester/backbone")
    datasets.Dataset.from_list(snippets(40)).push_to_hub("tester/corpus")
    made = Labeler("tester/backbone", "head").fit("tester/corpus", split="train")
    before = made.annotate("tester/corpus", split="train")
    graph = folder / "graph"
    registry.load("backend", "openvino_bf16").prepare(made.bundle.classifier, [], graph)
    made.bundle.backends = [BackendFit("openvino_bf16", band=0.1, folder=graph)]
    assert made.push_to_hub("tester/classifier").endswith("tester/classifier")
    again = Labeler.from_pretrained("tester/classifier").annotate("tester/corpus", split="train")
    assert again.to_list() == before.to_list()
    auto = Labeler.from_pretrained("tester/classifier", backend="auto")
    assert auto.predictor.fit.backend == "openvino_bf16"
    assert auto.annotate("tester/corpus", split="train")["label"][:] == before["label"][:]
    assert again["input_label"][:] == [row["label"] for row in snippets(40)]
    with pytest.raises(BackboneError, match="the Hub did not give it"):
        Labeler("tester/nothing").fit(snippets(40))


def refused(_: Path) -> None:
    with pytest.raises(ExportError, match=r"cannot push to 'tester/bad name': .*hf auth login"):
        hub.push(_rows(), "tester/bad name", RECORD)


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(sys.argv[2]))
