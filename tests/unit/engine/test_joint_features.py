"""Features of several backbones, side by side, and what may be done with them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from tiny import several, snippets, write_backbone, write_sentence_piece, write_static

from textlabel import Labeler, MultiLabeler
from textlabel.backbone_training import train_backbone
from textlabel.choose import choose_backbone
from textlabel.engine import lexical
from textlabel.engine.augmentation import copies_of
from textlabel.engine.predict import Featurizer, JointFeaturizer, predict
from textlabel.errors import BackboneError, CorpusError, RecipeError
from textlabel.models.backbone import load_backbone
from textlabel.models.classifier import Classifier
from textlabel.recipe import Recipe, Stage
from textlabel.types import LabelSchema

SCHEMA = LabelSchema("single", ("negative", "positive"))
ROWS = snippets(50, seed=1)
TEXTS = [row["text"] for row in ROWS]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Three backbones, no two of which have one tokenizer."""
    home = tmp_path_factory.mktemp("parts")
    made = write_backbone(home / "bert"), write_sentence_piece(home / "pieces", "albert")
    return *made, write_static(home / "table")


@pytest.fixture(scope="module")
def name(folders):
    return "+".join(map(str, folders))


@pytest.fixture(scope="module")
def labeler(name):
    return Labeler(name).fit(snippets(60))


def classifier(name, **chosen):
    return Classifier(load_backbone(name, **chosen), SCHEMA).eval()


def unit(features):
    return features / np.linalg.norm(features, axis=1, keepdims=True)


@pytest.mark.parametrize("chosen", [{}, {"normalize": True}, {"pooling": "max", "layers": 2}])
def test_they_are_those_of_each_alone_of_one_length_side_by_side(name, folders, chosen):
    found = predict(classifier(name, **chosen), TEXTS)[1]
    alone = []
    for folder in folders:
        mine = chosen if folder != folders[2] else {k: v for k, v in chosen.items() if k != "layers"}
        alone.append(unit(predict(classifier(folder, **mine), TEXTS)[1]))
    np.testing.assert_allclose(found, np.concatenate(alone, axis=1) / 3**0.5, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


def test_a_part_of_longer_vectors_counts_no_more_and_all_cosines_count_alike(folders, tmp_path):
    long = write_static(tmp_path / "long")
    table = load_file(long / "model.safetensors")["embeddings"]
    save_file({"embeddings": 1000 * table}, long / "model.safetensors")
    found = predict(classifier(f"{folders[0]}+{long}"), TEXTS)[1]
    alone = [unit(predict(classifier(folder), TEXTS)[1]) for folder in (folders[0], folders[2])]
    np.testing.assert_allclose(found @ found.T, sum(x @ x.T for x in alone) / 2, atol=1e-5)


def test_a_text_that_a_part_does_not_know_is_nothing_there(folders):
    joined = classifier(f"{folders[0]}+{folders[2]}")
    found = predict(joined, ["xyzzy", "good film"])[1]
    assert np.isfinite(found).all()
    assert (found[0, 16:] == 0).all()
    assert np.linalg.norm(found[0, :16]) == pytest.approx(0.5**0.5, abs=1e-6)


def test_a_part_that_was_read_alone_is_not_read_again(folders, tmp_path):
    first = Featurizer(classifier(folders[0]), cache=tmp_path / "cache")
    first.features(TEXTS)
    first.publish()
    joined = JointFeaturizer(classifier(f"{folders[0]}+{folders[1]}+{folders[2]}"), cache=tmp_path / "cache")
    fresh = joined.features(TEXTS)
    assert [one.from_cache for one in joined.members] == [50, 0, 0]
    assert joined.members[0].tokens == 0 < joined.members[1].tokens
    assert joined.tokens == joined.members[1].tokens + joined.members[2].tokens
    assert (joined.from_cache, joined.known.any()) == (0, False)  # a row counts once all parts know it
    joined.publish()
    again = joined.features(TEXTS)
    assert (joined.from_cache, joined.known.all()) == (50, True)
    np.testing.assert_array_equal(again, fresh)


def test_progress_ends_once_at_the_end(folders):
    told = []
    JointFeaturizer(classifier(f"{folders[0]}+{folders[1]}")).features(TEXTS, lambda *done: told.append(done))
    assert told == sorted(told)
    assert told[-1] == (50, 50)
    assert sum(done == 50 for done, _ in told) == 1


def test_long_texts_are_read_in_windows_of_each_part(folders):
    long = [" ".join(["good film bad plot"] * 8), "good film"]
    joined = JointFeaturizer(classifier(f"{folders[0]}+{folders[2]}", max_length=12, on_long="window"))
    found = joined.features(long)
    assert joined.windows[0] > 2
    assert joined.windows[1] == 1
    alone = predict(classifier(folders[0], max_length=12, on_long="window"), long)[1]
    np.testing.assert_allclose(found[:, :16], unit(alone) / 2**0.5, atol=1e-6)


def test_a_text_too_long_for_a_part_is_named(folders, tmp_path):
    labeler = Labeler(f"{folders[2]}+{folders[0]}", max_length=30).fit(snippets(40)).read_long("fail")
    rows = [{"id": "short", "text": "good"}, {"id": "long", "text": "good film " * 20}]
    with pytest.raises(CorpusError, match="row long: the text that begins with 'good film"):
        labeler.predict(rows, checkpoint=tmp_path / "run")
    with pytest.raises(CorpusError, match="42 tokens, and this model reads 30"):
        labeler.predict(rows)
    assert labeler.read_long("window").predict(rows).windows.tolist() == [1, 2]


@pytest.mark.parametrize(
    "recipe", ["lda", "ridge", "prototype", "knn", pytest.param("mlp", marks=pytest.mark.slow)]
)
def test_recipes_that_solve_a_head_label_and_come_back_alike(name, tmp_path, recipe):
    labeler = Labeler(name, recipe).fit(snippets(60))
    labels = labeler.annotate(ROWS)
    right = np.array(labels["label"]) == [SCHEMA.index(row["label"]) for row in ROWS]
    assert right.mean() > 0.6
    labeler.save(tmp_path / "model")
    again = Labeler.load(tmp_path / "model").annotate(ROWS)
    for column in ("label", "confidence", "ood_score", "prediction_set"):
        assert again[column][:] == labels[column][:]


def test_scores_and_several_classes_too(name):
    rows = [{"text": row["text"], "label": float(row["stars"])} for row in snippets(60)]
    assert Labeler(name, "regression").fit(rows).predict(ROWS).logits.shape == (50, 1)
    assert Labeler(name, "multilabel").fit(several(60)).predict(ROWS).logits.shape == (50, 3)


def test_names_alone_are_enough(name):
    labeler = Labeler(name).fit(None, ROWS, classes=["good film", "bad phone"])
    assert labeler.annotate(ROWS).features["label"].names == ["good film", "bad phone"]


@pytest.mark.slow
def test_tasks_share_them(name, tmp_path):
    rows = [{**row, "length": "long" if len(row["text"]) > 30 else "short"} for row in snippets(60)]
    made = MultiLabeler({"mood": "label", "length": "length"}, backbone=name)
    made.fit(rows).save(tmp_path / "both")
    for task in ("mood", "length"):
        before, after = (
            one.labelers[task].predict(ROWS).logits for one in (made, MultiLabeler.load(tmp_path / "both"))
        )
        np.testing.assert_array_equal(before, after)


def test_a_run_that_is_repeated_goes_on_and_looks_in_the_caches_of_all_parts(labeler, tmp_path):
    plain = labeler.predict(ROWS).logits
    assert len(labeler.predictor.snapshot()) >= 2
    for _ in range(2):
        found = labeler.predict(ROWS, checkpoint=tmp_path / "run")
        np.testing.assert_allclose(found.logits, plain, atol=1e-5)


@pytest.fixture
def weak_floor(monkeypatch):
    """TF-IDF that learns next to nothing, as random backbones do."""
    monkeypatch.setattr(lexical, "STRENGTHS", (1e6,))


@pytest.mark.usefixtures("weak_floor")
def test_auto_reads_one_number_of_layers_and_trains_none_of_them(folders):
    name = f"{folders[0]}+{folders[2]}"
    labeler = Labeler(name, "auto", layers=2).fit(snippets(30), snippets(30, seed=3))
    tried = labeler.record()["tried"]
    assert [(t["name"], t["verdict"]) for t in tried[:1]] == [("auto", "chosen")]
    assert all("trains by gradient, through one backbone" in t["verdict"] for t in tried[2:])
    assert "corpus" in tried[0]["learned_from"]
    assert [part.layers for part in labeler.bundle.classifier.info.parts] == [2, 1]


@pytest.mark.slow
@pytest.mark.usefixtures("weak_floor")
def test_a_language_that_one_part_reads_is_read(folders, caplog):
    rows = [{"text": f"mto {i} " + ("nzuri" if i % 2 else "mbaya"), "label": "ab"[i % 2]} for i in range(40)]
    # the first lacks nearly all of it, as tests of `auto` tell
    Labeler(f"{folders[0]}+{folders[1]}", "auto", budget=0).fit(rows)
    assert "vocabulary lacks" not in caplog.text


def test_changed_copies_are_made_by_the_first_part(folders):
    stage = Stage.of("head", "cross_entropy", augment=["neighbors"])

    def copies(*some):
        return copies_of(TEXTS, stage, load_backbone("+".join(map(str, some))), 0).texts

    bert, _, table = folders
    assert copies(bert, table) == copies(bert) != copies(table) == copies(table, bert)


@pytest.mark.parametrize("recipe", ["lora", "full", "partial", "contrastive", "mixup"])
def test_recipes_that_train_by_gradient_are_refused(name, recipe):
    with pytest.raises(
        RecipeError, match=rf"recipe '{recipe}' trains by gradient, through one backbone.*head"
    ):
        Labeler(name, recipe).fit(snippets(40))


def test_what_reads_one_backbone_is_refused(labeler, name, tmp_path):
    with pytest.raises(RecipeError, match="pooling = 'best' reads one backbone"):
        Labeler(name, pooling="best").fit(snippets(40))
    with pytest.raises(RecipeError, match=r"backend 'torch_bf16' runs one backbone.*use backend torch"):
        Labeler(name, backend="torch_bf16").fit(snippets(40))
    labeler.save(tmp_path / "model")
    with pytest.raises(RecipeError, match=r"backend 'openvino_int8' runs one backbone.*use backend torch"):
        Labeler.load(tmp_path / "model", backend="openvino_int8").predict(ROWS)
    assert len(Labeler.load(tmp_path / "model", backend="auto").predict(ROWS).ids) == 50
    for cascade in ("", "potion-base-8M"):
        with pytest.raises(RecipeError, match="optimize speeds up one backbone"):
            labeler.optimize(snippets(200), cascade=cascade)
    for recipe in ("shot", "tent"):
        with pytest.raises(RecipeError, match="adapting moves one backbone"):
            labeler.adapt(ROWS, recipe)
    tasks = {"mood": snippets(60)}
    with pytest.raises(RecipeError, match="this trains one backbone"):
        train_backbone(tasks, out=tmp_path / "out", backbone=name)


def test_a_student_is_of_one_static_backbone(folders):
    labeler = Labeler(folders[0]).fit(snippets(40))
    with pytest.raises(BackboneError, match="no static backbone"):
        labeler.optimize(snippets(1300, seed=2), cascade=f"{folders[2]}+{folders[0]}")


def test_they_can_be_a_candidate(folders):
    pair = f"{folders[0]}+{folders[2]}"
    found = choose_backbone(snippets(60), [str(folders[2]), pair])
    size = {row.backbone: row.megabytes for row in found.rows}
    assert size[pair] > size[str(folders[2])]


def test_a_loaded_model_reads_alike_when_it_is_fitted_again(labeler, name, tmp_path):
    labeler.save(tmp_path / "model")
    loaded = Labeler.load(tmp_path / "model")
    info = labeler.bundle.classifier.info
    assert replace(load_backbone(name, **loaded._reading).info, name="") == replace(info, name="")
    assert loaded.recipe.name == Recipe.load("head").name
