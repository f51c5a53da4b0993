"""What an order of the classes, a tree over them, and rows that bear an inner node of it do to a fit."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import trees
from tiny import snippets, write_static

from textlabel import Labeler
from textlabel.engine.fitter import Aside
from textlabel.engine.head import fit_head
from textlabel.engine.twins import twin_heads
from textlabel.errors import CorpusError, RecipeError
from textlabel.label_tree import LabelTree, read_tree
from textlabel.models.structure import mixings, scale_mixing
from textlabel.recipe import Recipe
from textlabel.trust.calibration import softmax
from textlabel.types import COLUMNS, LabelSchema

STAGE = Recipe.load("head").stages[0]
ORDERED = LabelSchema("single", tuple("abcde"), ordered=True)
D = 10


def scale(n, seed, bend=0.0):
    """Return rows of five classes along a line, or where ``bend`` is not 0 in all directions."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 5
    centers = np.outer(np.arange(5) - 2, np.eye(D)[0]) + bend * np.eye(5, D, k=2)
    return rng.normal(size=(n, D)) + centers[y], y


@pytest.fixture(scope="module")
def static(tmp_path_factory):
    return write_static(tmp_path_factory.mktemp("structure") / "static")


@pytest.fixture(scope="module")
def labeler(static):
    return Labeler(static, label_tree=trees.TREE).fit(trees.leaves(48, inner=24))


@pytest.fixture(scope="module")
def corpus():
    return [{"id": row["id"], "text": row["text"], "node": "mine"} for row in trees.leaves(60, seed=1)]


def test_an_order_helps_and_is_dropped_where_there_is_none():
    gains = []
    test, truth = scale(2000, 99)
    for seed in range(3):
        x, y = scale(40, seed)
        free = fit_head(x, y, np.arange(40), 5, STAGE, 0)
        ours = fit_head(x, y, np.arange(40), 5, STAGE, 0, mixings=mixings(ORDERED))
        assert ours.share == 1.0
        assert len(np.unique(np.diff(ours.head.weight, axis=0).round(9), axis=0)) == 1
        gains.append(
            np.mean(ours.head(test).argmax(1) == truth) - np.mean(free.head(test).argmax(1) == truth)
        )
    assert np.mean(gains) > 0.02
    x, y = scale(200, 0, bend=4.0)
    assert fit_head(x, (3 * y) % 5, np.arange(200), 5, STAGE, 0, mixings=mixings(ORDERED)).share == 0.0


def test_a_tree_that_says_nothing_true_is_dropped():
    rng = np.random.default_rng(0)
    centers = 2 * np.eye(8, D)
    centers[1::2] = -centers[::2]  # the two below one node are each other's contrary
    y = np.arange(40) % 8
    x = rng.normal(size=(40, D)) + centers[y]
    names = tuple(f"c{i}" for i in range(8))
    schema = LabelSchema("single", names, parents=tuple((name, f"p{i // 2}") for i, name in enumerate(names)))
    fitted = fit_head(x, y, np.arange(40), 8, STAGE, 0, mixings=mixings(schema))
    plain = fit_head(x, y, np.arange(40), 8, STAGE, 0)
    assert fitted.share == 0.0
    np.testing.assert_allclose(fitted.head.weight, plain.head.weight, atol=1e-6)


def test_rows_of_which_only_a_node_is_known_tell_nodes_apart():
    rng = np.random.default_rng(0)
    centers = np.array([[1.0, 1, 0], [1, -1, 0], [-1, 0, 1], [-1, 0, -1]]) @ np.eye(3, D)
    y = np.arange(400) % 4
    x = 1.2 * rng.normal(size=(400, D)) + centers[y]
    test, truth = 1.2 * rng.normal(size=(2000, D)) + centers[np.arange(2000) % 4], np.arange(2000) % 4
    aside = Aside(partial=x[12:], candidates=(y[12:, None] < 2) == (np.arange(4) < 2))
    alone = fit_head(x[:12], y[:12], np.arange(12), 4, STAGE, 0)
    more = fit_head(x[:12], y[:12], np.arange(12), 4, STAGE, 0, aside=aside)
    assert len(more.out_of_fold) == 12  # nobody is judged by them

    def of_node(fitted):
        return np.mean((fitted.head(test).argmax(axis=1) < 2) == (truth < 2))

    assert of_node(more) > of_node(alone) + 0.05


def test_twins_are_heads_of_the_same_structure():
    x, y = scale(60, 0)
    twins = twin_heads(x, y, np.arange(60), 5, STAGE, 1.0, 0, scale_mixing(5))
    steps = np.diff(twins.weight, axis=2)
    np.testing.assert_allclose(steps, np.broadcast_to(steps[:, :, :1], steps.shape), atol=1e-6)


def test_a_model_with_a_tree_backs_off_to_it_and_so_does_a_loaded_one(labeler, corpus, tmp_path):
    rows = labeler.annotate(corpus, back_off=0.9)
    assert rows.column_names == [*COLUMNS, "node", "node_confidence", "input_node"]
    tree = LabelTree(labeler.schema.names, labeler.schema.parents)
    assert tree.inner == ("film", "phone")
    for row in rows:
        below = {node: sum(p for p, inside in zip(row["probabilities"], some, strict=True) if inside)
                 for node, some in zip(tree.nodes, tree.members, strict=True)}  # fmt: skip
        if row["node"] is None:
            assert row["node_confidence"] is None
            assert max(below.values()) < 0.9 + 1e-6
            continue
        assert row["node_confidence"] >= 0.9 - 1e-6
        assert row["node_confidence"] == pytest.approx(below[row["node"]], abs=1e-6)
        best = labeler.schema.names[row["label"]]
        assert (row["node"] == best) == (row["confidence"] >= 0.9)
    assert {"film", "phone"} & set(rows["node"])
    again = Labeler.load(labeler.save(tmp_path / "model"))
    assert again.schema == labeler.schema
    assert again.annotate(corpus, back_off=0.9).to_list() == rows.to_list()
    plain = labeler.annotate(corpus)
    assert plain.column_names == [*COLUMNS, "input_node"]
    assert rows.select_columns(list(COLUMNS)).to_list() == plain.select_columns(list(COLUMNS)).to_list()


def test_rows_with_an_inner_node_are_counted_and_calibrate_nothing(labeler, static):
    record = labeler.record()
    assert record["labels"]["train"] == 48
    assert record["labels"]["inner_nodes"] == 24
    assert record["head"]["share"] in mixings(labeler.schema)
    again = [{"id": f"{i}", "text": row["text"], "label": "film"} for i, row in enumerate(trees.leaves(8))]
    twice = [*trees.leaves(48), *again]
    known = Labeler(static, label_tree=trees.TREE).fit(twice)  # the class is known of the same texts
    assert known.record()["labels"]["inner_nodes"] == 0


def test_what_people_say_of_a_row_is_its_node(labeler, corpus):
    said = [{"text": row["text"], "label": "film bad"} for row in corpus[:3]]
    rows = labeler.annotate(corpus, back_off=0.9, gold=said)
    assert rows["node"][:3] == ["film bad"] * 3
    assert rows["node_confidence"][:3] == rows["confidence"][:3]
    assert rows[3]["node"] == labeler.annotate(corpus, back_off=0.9)[3]["node"]


def test_backing_off_is_refused_without_a_tree_and_beyond_probabilities(labeler, static, corpus):
    for level in (0.0, -1.0, 1.5):
        with pytest.raises(RecipeError, match="expected a probability in"):
            labeler.annotate(corpus, back_off=level)
    flat = Labeler(static).fit(snippets(40))
    with pytest.raises(RecipeError, match="knows no label tree to back off in"):
        flat.annotate(corpus, back_off=0.9)


def test_prediction_sets_of_ordered_classes_have_no_gaps(static):
    labeler = Labeler(static, ordered=trees.SCALE, sets="aps", set_alpha=0.1).fit(trees.steps(48))
    assert labeler.schema.names == tuple(trees.SCALE)
    corpus = [{"text": row["text"]} for row in trees.steps(80, seed=1)]
    predictions = labeler.predict(corpus)
    rows = labeler.annotate(corpus, predictions=predictions)
    places = [[trees.SCALE.index(name) for name in some] for some in rows["prediction_set"]]
    assert all(some == list(range(some[0], some[-1] + 1)) for some in places)
    assert any(1 < len(some) < 4 for some in places)
    probabilities = labeler.bundle.calibrator.apply(predictions.logits.astype(np.float64))
    bare = labeler.bundle.sets.sets(probabilities, [row["text"] for row in corpus])
    assert all(set(np.flatnonzero(of)) <= set(some) for of, some in zip(bare, places, strict=True))


def test_gradients_ignore_rows_with_an_inner_node_and_say_so(tiny_backbone, tmp_path, caplog):
    (tmp_path / "gradient.toml").write_text(
        '[[stage]]\ntune = "lora"\nobjective = "cross_entropy"\nepochs = 1\n'
    )
    recipe = Recipe.load(tmp_path / "gradient.toml")
    caplog.set_level(logging.WARNING, "textlabel")
    Labeler(tiny_backbone, recipe, label_tree=trees.TREE, calibration="none").fit(trees.leaves(12, inner=4))
    assert "4 rows labeled with inner nodes are not used" in caplog.text


@pytest.mark.parametrize("recipe", ["lda", "tfidf"])
def test_heads_that_know_no_tree_say_so(static, caplog, recipe):
    labeler = Labeler(static, recipe, label_tree=trees.TREE).fit(trees.leaves(24, inner=4))
    assert "makes no use of the tree of the classes, and 4 rows labeled" in caplog.text
    assert "inner_nodes" not in labeler.record()["labels"]


def test_a_model_that_is_loaded_and_fitted_again_keeps_its_tree_or_order(static, labeler, tmp_path):
    loaded = Labeler.load(labeler.save(tmp_path / "tree"))
    assert LabelTree(*read_tree(loaded.label_tree)) == labeler.schema.tree
    ordered = Labeler(static, ordered=trees.SCALE).fit(trees.steps(24))
    assert Labeler.load(ordered.save(tmp_path / "order")).ordered == tuple(trees.SCALE)


def test_people_may_have_labeled_with_inner_nodes(static, labeler, corpus):
    """Gold may be the very rows of `fit`, of which some bear inner nodes, and so may validation rows."""
    gold = [{"text": corpus[0]["text"], "label": "film bad"}, {"text": corpus[1]["text"], "label": "phone"}]
    rows = labeler.annotate(corpus, gold=gold)
    assert rows["source"][:2] == ["human", "model"]
    Labeler(static, label_tree=trees.TREE).fit(trees.leaves(24), None, trees.leaves(8, seed=5, inner=2))


def test_backing_off_without_calibration_is_warned_of(static, corpus, caplog):
    Labeler(static, label_tree=trees.TREE, calibration="none").fit(trees.leaves(24)).annotate(
        corpus, back_off=0.9
    )
    assert "node_confidence is not calibrated" in caplog.text


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"label_tree": {"film": ["film good"], "phone": ["phone good"]}}, "unknown label"),
        ({"label_tree": {**trees.TREE, "more": ["new"]}}, "class 'new' has 0 rows"),
        ({"label_tree": trees.TREE, "ordered": ["a", "b"]}, "either ordered or in a label tree"),
        ({"ordered": ["film good", "film bad", "phone good"]}, "unknown label 'phone bad'"),
        ({"ordered": ["film good", "film good"]}, "class names must be unique"),
        ({"ordered": ["film good"]}, "expected at least two classes"),
        ({"ordered": ["0", "1"], "recipe": "regression"}, "for one class a row"),
    ],
)
def test_what_does_not_fit_the_rows_is_refused(static, options, told):
    with pytest.raises(CorpusError, match=told):
        Labeler(static, **options).fit(trees.leaves(16))


def test_an_order_of_numbers_is_one_of_their_names(static):
    rows = [{"text": row["text"], "label": trees.SCALE.index(row["label"])} for row in trees.steps(24)]
    assert Labeler(static, ordered=[0, 1, 2, 3]).fit(rows).schema.names == ("0", "1", "2", "3")


def test_probabilities_of_nodes_are_sums_for_every_strength():
    """A softmax over leaves is one over the leaves of each node, times that of the node."""
    tree = LabelTree(*read_tree(trees.TREE))
    p = softmax(np.random.default_rng(0).normal(size=(50, 4)))
    of_node = p @ tree.members.T
    np.testing.assert_allclose(of_node[:, :2].sum(axis=1), 1)
    np.testing.assert_allclose(of_node[:, 2:], p)


@pytest.mark.slow
def test_auto_takes_trees_and_reads_rows_with_an_inner_node_once(tiny_backbone, monkeypatch):
    from textlabel.engine import lexical, run

    monkeypatch.setattr(lexical, "STRENGTHS", (1e6,))  # or TF-IDF beats a backbone of random weights
    read = []
    predict = run.predict
    monkeypatch.setattr(
        run, "predict", lambda c, texts, **more: read.append(len(texts)) or predict(c, texts, **more)
    )
    labeler = Labeler(tiny_backbone, "auto", label_tree=trees.TREE, budget=0, cache=False)
    labeler.fit(trees.leaves(40, inner=13))
    assert read.count(13) == 1
    assert labeler.record()["labels"]["inner_nodes"] == 13
    assert len(labeler.record()["tried"]) >= 3
