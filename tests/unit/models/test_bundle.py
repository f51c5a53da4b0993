"""Saving and reloading changes no logit, on every architecture and with every kind of trained part."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest
from tiny import ARCHITECTURES, snippets, write_backbone, write_static

from textlabel import Labeler
from textlabel.errors import BackboneError, BundleError, PluginError, RecipeError
from textlabel.recipe import Recipe

TRAIN = snippets(40)
TEXTS = [{"text": row["text"]} for row in snippets(30, seed=1)]


def recipe(tune):
    head = {"tune": {"name": "head", "folds": 2}, "objective": "cross_entropy"}
    if tune == "head":
        return Recipe.from_dict({"name": "head", "stage": [head]})
    stage = {"tune": tune, "objective": "cross_entropy", "epochs": 1, "learning_rate": 1e-2}
    return Recipe.from_dict({"name": str(tune), "stage": [head, stage]})


def fitted(backbone, tune="head", **options):
    return Labeler(backbone, recipe(tune), calibration="none", **options).fit(TRAIN)


def same_after_reload(labeler, folder):
    before = labeler.predict(TEXTS)
    after = Labeler.load(labeler.save(folder)).predict(TEXTS)
    np.testing.assert_array_equal(before.logits, after.logits)
    np.testing.assert_array_equal(before.ood_score, after.ood_score)
    return before


@pytest.mark.parametrize("tune", ["head", "lora", "full"])
@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_reloading_changes_no_logit(architecture, tune, tmp_path):
    backbone = write_backbone(tmp_path / "backbone", architecture)
    labeler = fitted(backbone, tune)
    trained = same_after_reload(labeler, tmp_path / "model")
    if tune != "head":  # something beside the head was trained, or the comparison would mean little
        assert np.abs(trained.logits - fitted(backbone).predict(TEXTS).logits).max() > 1e-3


@pytest.mark.parametrize("tune", ["partial", {"name": "lora", "targets": "attention", "rslora": True}])
def test_reloading_other_parts(tiny_backbone, tune, tmp_path):
    same_after_reload(fitted(tiny_backbone, tune), tmp_path / "model")


def test_two_adapters_one_after_the_other(tiny_backbone, tmp_path):
    stage = {"tune": "lora", "objective": "cross_entropy", "epochs": 1}
    plan = Recipe.from_dict({"name": "two", "stage": [stage, {**stage, "learning_rate": 1e-3}]})
    labeler = Labeler(tiny_backbone, plan, calibration="none").fit(TRAIN)
    assert len(labeler.bundle.classifier.adapters) == 2
    same_after_reload(labeler, tmp_path / "model")
    assert (tmp_path / "model/adapter-1/adapter_model.safetensors").is_file()


def test_a_second_generation_saves_the_same(tiny_backbone, tmp_path):
    labeler = fitted(tiny_backbone, "lora")
    labeler.save(tmp_path / "one")
    again = Labeler.load(tmp_path / "one")
    again.save(tmp_path / "two")
    for name in ("head.safetensors", "adapter-0/adapter_model.safetensors", "textlabel.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_cls_pooling_and_normalization_survive(tiny_backbone, tmp_path):
    labeler = fitted(tiny_backbone, pooling="cls", normalize=True, max_length=5)
    same_after_reload(labeler, tmp_path / "model")
    info = Labeler.load(tmp_path / "model").bundle.classifier.info
    assert (info.pooling, info.normalize, info.max_length) == ("cls", True, 5)


def test_no_training_row_is_in_the_bundle(tiny_backbone, tmp_path):
    rows = [
        {**row, "id": f"secret-id-{i}", "text": f"{row['text']} zanzibar{i}"} for i, row in enumerate(TRAIN)
    ]
    folder = Labeler(tiny_backbone, recipe("head"), calibration="none").fit(rows).save(tmp_path / "model")
    assert [p.name for p in folder.rglob("*.pt")] == [p.name for p in folder.rglob("*.pkl")] == []
    for path in folder.rglob("*"):
        if path.is_file():
            assert b"zanzibar" not in path.read_bytes()
            assert b"secret-id" not in path.read_bytes()


def features_of(labeler):
    return labeler.predict([{"text": row["text"]} for row in TRAIN]).embeddings


def test_no_row_of_features_is_in_the_bundle_unless_asked_for(tiny_backbone, tmp_path):
    """Of any tensor of the width of features, no row points where a training row points."""
    from safetensors.numpy import load_file

    def leaked(labeler, folder):
        rows = features_of(labeler)
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        tensors = [
            t for path in labeler.save(folder).rglob("*.safetensors") for t in load_file(path).values()
        ]
        d = rows.shape[1]
        wide = [t.astype(np.float64).reshape(-1, d) for t in tensors if t.ndim > 1 and t.shape[-1] == d]
        cosines = [rows @ (t / np.linalg.norm(t, axis=1, keepdims=True).clip(1e-9)).T for t in wide]
        assert wide
        return int(sum((c.max(axis=1) > 1 - 1e-6).sum() for c in cosines))

    plan = recipe("head")
    assert leaked(Labeler(tiny_backbone, plan).fit(TRAIN), tmp_path / "model") == 0
    kept = Labeler(tiny_backbone, plan, keep_reference=True).fit(TRAIN)
    assert leaked(kept, tmp_path / "kept") == len(TRAIN)  # so the search would have found them
    assert not (tmp_path / "model/reference.safetensors").exists()


def test_a_reference_that_the_model_does_not_list_is_not_read(tiny_backbone, tmp_path):
    plain, kept = fitted(tiny_backbone), fitted(tiny_backbone, keep_reference=True)
    for name, labeler in (("plain", plain), ("kept", kept)):
        labeler.save(tmp_path / name)
    shutil.copy(tmp_path / "kept/reference.safetensors", tmp_path / "plain")
    assert Labeler.load(tmp_path / "plain").bundle.scope.known.reference is None
    assert Labeler.load(tmp_path / "kept").bundle.scope.known.reference is not None


@pytest.mark.parametrize("off_map", ["knn", "energy"])
def test_another_score_and_its_reference_survive(tiny_backbone, off_map, tmp_path):
    labeler = Labeler(tiny_backbone, recipe("head"), off_map=off_map, keep_reference=off_map == "knn").fit(
        TRAIN
    )
    same_after_reload(labeler, tmp_path / "model")
    again = Labeler.load(tmp_path / "model")
    assert (again.off_map, again.keep_reference) == (off_map, off_map == "knn")
    assert again.bundle.scope.threshold(0.2) == labeler.bundle.scope.threshold(0.2) < np.inf
    if off_map == "knn":
        reference = again.bundle.scope.known.reference
        np.testing.assert_array_equal(reference.features, labeler.bundle.scope.known.reference.features)
        assert reference.labels.tolist() == [int(row["label"] == "positive") for row in TRAIN]
        assert "embedding and the class of every training row" in (tmp_path / "model/README.md").read_text()
        data = bytearray((tmp_path / "model/reference.safetensors").read_bytes())
        data[-1] ^= 1
        (tmp_path / "model/reference.safetensors").write_bytes(data)
        with pytest.raises(BundleError, match=r"reference\.safetensors was changed or damaged"):
            Labeler.load(tmp_path / "model")


def test_a_model_from_before_the_decision_out_of_scope_still_labels(tiny_backbone, tmp_path):
    from safetensors.numpy import load_file, save_file

    from textlabel.models.bundle import hashes

    labeler = fitted(tiny_backbone)
    folder = labeler.save(tmp_path / "model")
    tensors = load_file(folder / "head.safetensors")
    del tensors["in_scope"]
    save_file(tensors, folder / "head.safetensors")
    data = json.loads((folder / "textlabel.json").read_text())
    del data["off_map"], data["record"]["off_map"]
    (folder / "textlabel.json").write_text(json.dumps({**data, "files": hashes(folder)}))
    old = Labeler.load(folder)
    np.testing.assert_array_equal(old.predict(TEXTS).ood_score, labeler.predict(TEXTS).ood_score)
    with pytest.raises(BundleError, match="fit again with this version"):
        old.annotate(TEXTS, out_of_scope_rate=0.1)


@pytest.mark.parametrize(("kind", "sets"), [("single", "lac"), ("score", "interval")])
def test_a_model_from_before_there_were_kinds_of_sets_gives_the_same_ones(
    tiny_backbone, tmp_path, kind, sets
):
    rows = [{**row, "label": len(row["text"]) / 30} for row in TRAIN] if kind == "score" else TRAIN
    labeler = Labeler(tiny_backbone, "regression" if kind == "score" else "head").fit(rows)
    folder = labeler.save(tmp_path / "model")
    data = json.loads((folder / "textlabel.json").read_text())
    [quantile] = data.pop("sets")["quantiles"]
    record = {**data["record"], "set_alpha": 0.1}
    del record["sets"]
    old_style = {**data, "set_quantile": quantile, "record": record}
    (folder / "textlabel.json").write_text(json.dumps(old_style))
    old = Labeler.load(folder)
    assert (old.bundle.sets.kind, old.bundle.sets.alpha) == (sets, 0.1)
    assert np.isfinite(old.bundle.sets.quantiles[0])
    assert old.annotate(TEXTS)["prediction_set"][:] == labeler.annotate(TEXTS)["prediction_set"][:]
    card = old.export(old.annotate(TEXTS), tmp_path / "out") / "README.md"
    assert "in 90 % of the texts" in card.read_text()


@pytest.mark.parametrize("sets", ["aps", "class"])
def test_the_rule_of_the_sets_survives(tiny_backbone, tmp_path, sets):
    labeler = Labeler(tiny_backbone, recipe("head"), sets=sets, set_alpha=0.25, seed=3).fit(TRAIN)
    again = Labeler.load(labeler.save(tmp_path / "model"))
    assert again.bundle.sets == labeler.bundle.sets
    assert (again.sets.kind, again.sets.alpha) == (sets, 0.25)
    assert len(again.bundle.sets.quantiles) == (2 if sets == "class" else 1)
    assert again.annotate(TEXTS)["prediction_set"][:] == labeler.annotate(TEXTS)["prediction_set"][:]
    assert f'"kind": "{sets}"' in (tmp_path / "model/README.md").read_text().replace("\\", "")


def test_the_bundle_stands_alone_without_its_backbone_folder(tmp_path):
    backbone = write_backbone(tmp_path / "backbone")
    labeler = fitted(backbone)
    before = labeler.predict(TEXTS).logits
    folder = labeler.save(tmp_path / "model")
    (tmp_path / "backbone").rename(tmp_path / "gone")
    np.testing.assert_array_equal(before, Labeler.load(folder).predict(TEXTS).logits)


def test_a_foreign_folder_is_not_overwritten(tiny_backbone, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years of work")
    with pytest.raises(BundleError, match="is not a textlabel model; choose another folder"):
        fitted(tiny_backbone).save(tmp_path / "mine")
    assert (tmp_path / "mine/thesis.txt").read_text() == "years of work"


def test_saving_again_replaces_the_old_model_whole(tiny_backbone, tmp_path):
    fitted(tiny_backbone, "lora").save(tmp_path / "here/model")
    fitted(tiny_backbone).save(tmp_path / "here/model")
    assert not (tmp_path / "here/model/adapter-0").exists()
    assert [p.name for p in (tmp_path / "here").iterdir()] == ["model"]


def test_what_is_no_model_or_damaged_is_said(tiny_backbone, tmp_path):
    with pytest.raises(BundleError, match=r"no textlabel\.json here"):
        Labeler.load(tmp_path)
    folder = fitted(tiny_backbone).save(tmp_path / "model")
    record = folder / "textlabel.json"
    good = record.read_text()
    record.write_text(good[:50])
    with pytest.raises(BundleError, match="is damaged"):
        Labeler.load(folder)
    record.write_text(json.dumps({**json.loads(good), "format": 99}))
    with pytest.raises(BundleError, match="expected a model of format 1, found 99"):
        Labeler.load(folder)


def test_another_backbone_under_the_same_name_is_refused(tiny_backbone, tmp_path):
    folder = fitted(tiny_backbone).save(tmp_path / "model")
    shutil.rmtree(folder / "body")
    record = json.loads((folder / "textlabel.json").read_text())
    record["files"] = {k: v for k, v in record["files"].items() if not k.startswith("body/")}
    for seed, what in ((5, "weights"), (0, "tokenizer")):
        other = write_backbone(tmp_path / what, seed=seed)
        if what == "tokenizer":
            text = (other / "tokenizer.json").read_text()
            (other / "tokenizer.json").write_text(text.replace('"phone"', '"phono"'))
        record["backbone"]["name"] = str(other)
        (folder / "textlabel.json").write_text(json.dumps(record))
        with pytest.raises(BundleError, match=f"but the {what} in .* are not the same; its labels"):
            Labeler.load(folder)


@pytest.mark.parametrize(
    "file", ["head.safetensors", "body/model.safetensors", "adapter-0/adapter_model.safetensors"]
)
def test_a_changed_cut_or_missing_file_is_refused(tiny_backbone, file, tmp_path):
    folder = fitted(tiny_backbone, "lora").save(tmp_path / "model")
    good = (folder / file).read_bytes()
    for bad in (good[:-1] + bytes([good[-1] ^ 1]), good[: len(good) // 2]):
        (folder / file).write_bytes(bad)
        with pytest.raises(BundleError, match="was changed or damaged since the model was saved"):
            Labeler.load(folder)
    (folder / file).unlink()
    with pytest.raises(BundleError, match="is missing since the model was saved"):
        Labeler.load(folder)


def test_an_adapter_with_other_tensors_is_refused(tiny_backbone):
    model = fitted(tiny_backbone, "lora").bundle.classifier
    adapter = model.adapters[0]
    renamed = {key.replace("lora_A", "lora_X"): value for key, value in adapter.tensors.items()}
    with pytest.raises(BundleError, match="other tensors than its configuration asks for"):
        model.add_adapter(dataclasses.replace(adapter, tensors=renamed))


def test_no_local_path_is_in_the_bundle(tiny_backbone, tmp_path):
    folder = fitted(tiny_backbone, "lora").save(tmp_path / "model")
    for path in folder.rglob("*"):
        if path.is_file():
            assert str(tiny_backbone.parent).encode() not in path.read_bytes(), path


def test_others_may_read_a_model_as_the_umask_says(tiny_backbone, tmp_path):
    folder = fitted(tiny_backbone).save(tmp_path / "model")
    (tmp_path / "plain").mkdir()
    assert folder.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_bundle_loads_where_its_training_plugins_are_absent(tiny_backbone, tmp_path):
    folder = fitted(tiny_backbone, max_length=9).save(tmp_path / "model")
    record = json.loads((folder / "textlabel.json").read_text())
    record["record"]["recipe"]["stage"][0]["objective"][0]["name"] = "theirs"
    (folder / "textlabel.json").write_text(json.dumps(record))
    loaded = Labeler.load(folder)
    assert len(loaded.annotate(TEXTS)) == len(TEXTS)
    with pytest.raises(PluginError, match="unknown objective 'theirs'"):
        loaded.fit(TRAIN)
    record["record"]["recipe"]["stage"][0]["objective"][0]["name"] = "cross_entropy"
    (folder / "textlabel.json").write_text(json.dumps(record))
    loaded = Labeler.load(folder)
    loaded.backbone = tiny_backbone
    assert loaded.fit(TRAIN).bundle.classifier.info.max_length == 9


@pytest.mark.parametrize("tune", ["head", "full"])
def test_a_static_backbone_is_trained_saved_and_reloaded(tmp_path, tune):
    same_after_reload(fitted(write_static(tmp_path / "static"), tune), tmp_path / "model")


@pytest.mark.parametrize("tune", ["lora", "partial"])
def test_what_a_static_backbone_has_not_is_refused(tmp_path, tune):
    with pytest.raises(RecipeError, match=r"has no (linear|numbered) layers"):
        fitted(write_static(tmp_path / "static"), tune)


def test_a_checkpoint_with_missing_layers_is_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    folder = write_backbone(tmp_path / "broken")
    tensors = load_file(folder / "model.safetensors")
    lost = next(key for key in tensors if "layer.1.output.dense.weight" in key)
    del tensors[lost]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(BackboneError, match="lacks 1 weights of its own encoder"):
        fitted(folder)
