"""`textlabel optimize`, and what `--backend` does afterwards, through the commands."""

from __future__ import annotations

import csv
import json
import subprocess
import sys

import pytest
from commands import run
from tiny import snippets

from textlabel import Labeler, registry
from textlabel.models.backend_fit import BackendFit

CORPUS = snippets(160, seed=1)


@pytest.fixture(scope="module")
def files(tmp_path_factory, tiny_backbone):
    """Return a folder with train.jsonl, corpus.jsonl, the same as user.csv in other columns, and a model."""
    folder = tmp_path_factory.mktemp("user")
    unlabeled = [{"id": row["id"], "text": row["text"]} for row in CORPUS]
    few = [{"text": row["text"]} for row in CORPUS[:99] * 3]
    for name, rows in (("train", snippets(80)), ("corpus", unlabeled), ("few", few)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with (folder / "user.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("review",), *((row["text"],) for row in CORPUS)])
    run("fit", folder / "train.jsonl", "--backbone", tiny_backbone, "--out", folder / "model")
    return folder


@pytest.fixture(scope="module")
def optimized(files):
    """Return a self-contained model that was optimized, and what was printed.

    Tiny models are not faster anywhere, and far off: here all that runs is kept, to see what becomes of it.
    """
    model = Labeler.load(files / "model").save(files / "optimized", self_contained=True)
    words = ("optimize", model, "--on", files / "user.csv", "--text-column", "review")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("textlabel.engine.optimize.too_far", lambda measured: "")
        patch.setattr(
            "textlabel.engine.optimize._speeds",
            lambda ready, _: {name: 100.0 + n for n, name in enumerate(sorted(ready))} | {"torch": 1.0},
        )
        return model, run(*words).stdout


def test_people_get_a_table_and_the_model_keeps_what_it_says(files, optimized):
    model, told = optimized
    lines = told.splitlines()
    assert lines[0].split()[:2] == ["backend", "texts/s"]
    names = [line.split()[0] for line in lines[1:]]
    assert names[0] == "torch"
    assert set(names) == set(registry.plugins("backend"))
    kept = [line.split()[0] for line in lines[2:] if line.endswith("kept")]
    assert kept == [fit.backend for fit in Labeler.load(model).bundle.backends]
    assert {"openvino_int8", "openvino_bf16", "onnxruntime_int8"} <= set(kept)
    assert (model / "README.md").is_file()


def test_the_rest_of_the_model_stays_as_it_is(files, optimized):
    model, _ = optimized
    plain = Labeler.load(files / "model").save(files / "plain", self_contained=True)
    before, after = (
        {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
        for folder in (plain, model)
    )
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert {name for name in changed if not name.startswith("backends/")} == {"textlabel.json"}
    assert "body/model.safetensors" in after


@pytest.mark.slow
def test_json_is_all_that_the_real_process_prints(files, tmp_path):
    model = Labeler.load(files / "model").save(tmp_path / "model")
    words = ["optimize", str(model), "--on", str(files / "corpus.jsonl"), "--json"]
    done = subprocess.run([sys.executable, "-m", "textlabel", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["model"] == str(model)
    assert {entry["backend"] for entry in told["backends"]} == set(registry.plugins("backend"))
    for entry in told["backends"]:
        assert entry["kept"] == (not entry["why_not"]) == (entry["fit"] is not None)
    reference = told["backends"][0]
    assert (reference["backend"], reference["kept"]) == ("torch", True)
    assert reference["texts_per_second"] > 0
    said = done.stderr.splitlines()
    assert "Traceback" not in done.stderr
    assert "WARNING" not in done.stderr
    assert sum(line == "optimize: making openvino_int8 ready" for line in said) == 1


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["{folder}/nowhere", "--on", "{folder}/corpus.jsonl"], 1, "textlabel.json"),
        (
            ["somebody/model", "--on", "{folder}/corpus.jsonl"],
            1,
            "expected a folder that `textlabel fit --out`",
        ),
        (["{model}", "--on", "{folder}/few.jsonl"], 1, "expected at least 100 different texts"),
        (["{model}", "--on", "{folder}/user.csv"], 1, "no column 'text'"),
        (["{model}", "--on", "{folder}/none.csv"], 1, "none.csv"),
        (["{model}", "--text-column", "review"], 2, "give --on CORPUS"),
        ([], 2, "MODEL"),
    ],
)
def test_what_cannot_work_is_refused_and_the_model_untouched(files, words, code, message):
    before = (files / "model" / "textlabel.json").read_bytes()
    places = {"folder": files, "model": files / "model"}
    done = run("optimize", *(word.format(**places) for word in words), code=code)
    assert message in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert (files / "model" / "textlabel.json").read_bytes() == before


def annotated(files, model, out, *words):
    done = run(
        *("annotate", files / "corpus.jsonl", "--model", model, "--out", out, "--json", *words),
        *("--format", "jsonl"),
    )
    rows = [json.loads(line) for line in (out / "annotations.jsonl").read_text().splitlines()]
    record = json.loads((out / "textlabel.json").read_text())
    return json.loads(done.stdout), rows, record, (out / "README.md").read_text()


def test_auto_names_the_backend_everywhere(files, optimized, tmp_path):
    model, _ = optimized
    kept = [fit.backend for fit in Labeler.load(model).bundle.backends]
    fastest = next(name for name in kept if registry.load("backend", name).BATCH_INVARIANT)
    told, _, record, card = annotated(files, model, tmp_path / "out", "--backend", "auto")
    assert told["backend"] == record["backend"]["backend"] == fastest != "torch"
    assert record["backend"]["rows"] == len(CORPUS)
    again = record["backend"]["recomputed"]
    assert 0 <= again <= len(CORPUS)
    assert record["backend"]["measured"]["texts"] == 80
    name = fastest.replace("_", r"\_")
    close = f"; {again:,} of 160 rows computed again by torch" if record["backend"]["band"] else ""
    assert f"| backend | {name}{close} |" in card


@pytest.mark.slow
def test_without_the_option_it_is_torch_to_the_bit(files, optimized, tmp_path):
    told, rows, record, card = annotated(files, optimized[0], tmp_path / "out")
    assert told["backend"] == record["backend"]["backend"] == "torch"
    assert "| backend | torch |" in card
    _, plain, _, _ = annotated(files, files / "model", tmp_path / "plain")
    assert rows == plain


def test_close_rows_have_the_labels_of_torch(files, tmp_path, monkeypatch):
    """With a band that holds every row, all are."""
    monkeypatch.setattr(registry.load("backend", "torch_bf16"), "lacks", lambda: "")  # slow, but right
    labeler = Labeler.load(files / "model")
    labeler.bundle.backends = [BackendFit("torch_bf16", band=99.0)]
    model = labeler.save(tmp_path / "model")
    told, rows, record, card = annotated(files, model, tmp_path / "out", "--backend", "torch_bf16")
    _, plain, _, _ = annotated(files, files / "model", tmp_path / "plain", "--backend", "torch")
    assert told["backend"] == "torch_bf16"
    assert record["backend"]["recomputed"] == 160
    assert "160 of 160 rows computed again by torch" in card
    assert rows == plain


@pytest.mark.parametrize(
    ("backend", "message"),
    [
        ("openvino_int", "did you mean 'openvino_int8'"),
        ("openvino_int8", "run `textlabel optimize MODEL`"),
    ],
)
def test_what_cannot_label_is_refused_before_a_row_is_read(files, tmp_path, backend, message):
    words = ("annotate", "nowhere.csv", "--model", files / "model", "--out", tmp_path / "out")
    done = run(*words, "--backend", backend, code=1)
    assert message in done.stderr
    assert not (tmp_path / "out").exists()


def test_auto_on_a_model_that_was_not_optimized_is_torch(files, tmp_path):
    told, _, record, _ = annotated(files, files / "model", tmp_path / "out", "--backend", "auto")
    assert told["backend"] == record["backend"]["backend"] == "torch"


@pytest.mark.slow
def test_fit_with_auto_is_fit_with_torch(files, tiny_backbone, tmp_path):
    for name, backend in (("auto", ["--backend", "auto"]), ("plain", [])):
        run(*("fit", files / "train.jsonl", "--backbone", tiny_backbone, "--out", tmp_path / name), *backend)
    weights = [(tmp_path / name / "head.safetensors").read_bytes() for name in ("auto", "plain")]
    assert weights[0] == weights[1]


def test_fit_with_what_needs_a_model_says_so(files, tiny_backbone, tmp_path):
    words = ("fit", files / "train.jsonl", "--backbone", tiny_backbone, "--out", tmp_path / "model")
    done = run(*words, "--backend", "openvino_int8", code=1)
    assert "runs a graph that `textlabel optimize` makes of a fitted model" in done.stderr
    assert not (tmp_path / "model").exists()


@pytest.mark.slow
def test_without_a_corpus_the_shipped_reviews_are_looked_at(files, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "textlabel.engine.optimize.optimize", lambda bundle, texts, folder, seed: seen.extend(texts) or []
    )
    model = Labeler.load(files / "model").save(tmp_path / "model")
    run("optimize", model)
    assert len(set(seen)) > 1000
