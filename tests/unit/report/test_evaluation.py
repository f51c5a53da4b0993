import json

import datasets
import numpy as np
import pytest
import sklearn.metrics

from textlabel.errors import CorpusError
from textlabel.report.evaluation import evaluate_labels
from textlabel.types import LabelSchema

NAMES = ["neg", "neu", "pos"]


def _corpus(n=300, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, n)
    logits = rng.normal(size=(n, 3)) + 2 * np.eye(3)[truth]
    p = (np.exp(logits) / np.exp(logits).sum(1, keepdims=True)).astype(np.float32)
    features = datasets.Features(
        {
            "id": datasets.Value("string"),
            "label": datasets.ClassLabel(names=NAMES),
            "confidence": datasets.Value("float32"),
            "probabilities": datasets.List(datasets.Value("float32")),
        }
    )
    columns = {
        "id": [f"r{i}" for i in range(n)],
        "label": p.argmax(1),
        "confidence": p.max(1),
        "probabilities": p,
    }
    return datasets.Dataset.from_dict(columns, features=features), truth


@pytest.fixture(scope="module")
def corpus():
    return _corpus()


def test_numbers_agree_with_sklearn_whatever_the_order_of_gold(corpus):
    annotated, truth = corpus
    order = np.random.default_rng(1).permutation(len(truth))
    evaluation = evaluate_labels(annotated, {f"r{i}": NAMES[truth[i]] for i in order})
    said, p = np.array(annotated["label"]), np.array(annotated["probabilities"])
    p /= p.sum(1, keepdims=True)
    assert (evaluation.n, evaluation.rows) == (300, 300)
    m = evaluation.metrics
    assert m["accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(truth, said))
    assert m["macro_f1"] == pytest.approx(sklearn.metrics.f1_score(truth, said, average="macro"))
    assert m["nll"] == pytest.approx(sklearn.metrics.log_loss(truth, p), rel=1e-6)
    assert m["ece_low"] <= m["ece"] <= m["ece_high"]
    assert 0 < m["ece_if_perfect"] < 0.1
    assert m["fraction_accepted_at_99"] <= m["fraction_accepted_at_95"]
    recall = sklearn.metrics.recall_score(truth, said, average=None)
    assert [c["recall"] for c in evaluation.per_class.values()] == pytest.approx(list(recall))


def test_gold_as_dataset_with_other_class_order_on_part_of_the_rows(corpus):
    annotated, truth = corpus
    features = datasets.Features(
        {"id": datasets.Value("string"), "label": datasets.ClassLabel(names=NAMES[::-1])}
    )
    columns = {"id": [f"r{i}" for i in range(100)], "label": [NAMES[t] for t in truth[:100]]}
    gold = datasets.Dataset.from_dict(columns, features=features)
    evaluation = evaluate_labels(annotated, gold)
    assert (evaluation.n, evaluation.rows) == (100, 300)
    assert evaluation.metrics["accuracy"] == pytest.approx(
        np.mean(np.array(annotated["label"][:100]) == truth[:100])
    )


def test_json_and_table(corpus):
    annotated, truth = corpus
    evaluation = evaluate_labels(annotated, {f"r{i}": NAMES[t] for i, t in enumerate(truth)})
    record = json.loads(json.dumps(evaluation.to_json(), allow_nan=False))
    assert record["accuracy"] == evaluation.metrics["accuracy"]
    assert record["per_class"]["pos"]["support"] == int((truth == 2).sum())
    table = evaluation.render()
    assert "300 of 300" in table
    assert f"{record['macro_f1']:.3f}" in table
    assert "if confidence were exact" in table
    assert all(name in table for name in NAMES)
    assert sum(one["n"] for one in record["reliability"]) == 300
    assert record["ks"] == evaluation.metrics["ks"]
    assert f"{record['calibration_rms']:.3f}" in table
    assert len(table.split("95 % interval\n")[1].splitlines()) == len(record["reliability"]) == 10


def test_the_reliability_table_marks_bins_whose_confidence_is_off():
    rows = {"id": range(200), "label": ["a"] * 200, "confidence": [0.9] * 100 + [0.6] * 100}
    gold = {str(i): "a" if i < 90 or i >= 180 else "b" for i in range(200)}
    table = evaluate_labels(rows, gold).render().splitlines()[-2:]
    assert table[0].startswith("     0.600      100  0.200")
    assert table[0].endswith("off")
    assert table[1].startswith("     0.900      100  0.900")
    assert not table[1].endswith("off")


def test_labels_alone_are_enough():
    evaluation = evaluate_labels({"id": [1, 2], "label": ["a", "b"]}, {"1": "a", "2": "a"})
    assert set(evaluation.metrics) == {"accuracy", "macro_f1"}
    assert list(evaluation.per_class) == ["a", "b"]


def test_scores():
    rows = {"id": ["a", "b", "c"], "label": np.array([1.0, 2.0, 4.0], dtype=np.float32)}
    evaluation = evaluate_labels(rows, {"a": 1, "b": "2.5", "c": 3})
    assert evaluation.metrics["mae"] == pytest.approx(0.5)
    assert evaluation.metrics["spearman"] == pytest.approx(1.0)
    assert "Pearson" in evaluation.render()
    assert "per_class" not in evaluation.to_json()


def test_an_undefined_correlation_is_null_in_json():
    evaluation = evaluate_labels({"id": ["a", "b"], "label": [1.0, 1.0]}, {"a": 1, "b": 2})
    assert evaluation.to_json()["pearson"] is None


ROWS = {"id": ["a", "b", "c"], "label": ["x", "y", "x"], "confidence": [0.9, 0.8, 0.7]}


@pytest.mark.parametrize(
    ("annotated", "gold", "message"),
    [
        (ROWS, {"id": ["a"]}, "gold ids"),
        (ROWS, {"q": "x", "r": "x", "a": "x"}, r"2 gold ids \(q, r\) are not among the 3 annotated rows"),
        (ROWS | {"id": ["a", "a", "c"]}, {"a": "x"}, r"annotated rows must have unique ids; 1 ids \(a\)"),
        (ROWS, {"id": ["a", "a"], "label": ["x", "y"]}, "gold rows must have unique ids"),
        (ROWS, {}, "gold has no rows"),
        ({"id": ["a"], "lable": ["x"]}, {"a": "x"}, "no column 'label': did you mean 'lable'"),
        (ROWS | {"confidence": [None, 0.8, 0.7]}, {"a": "x"}, r"1 confidence values \(None \(id a\)\)"),
        (ROWS | {"probabilities": [[1.0]] * 3}, {"a": "x"}, "class order of 'probabilities' is unknown"),
        ({"id": ["a"], "label": [1.5]}, {"a": "good"}, r"1 gold values \('good' \(id a\)\) are not numbers"),
    ],
)
def test_bad_input_is_named(annotated, gold, message):
    with pytest.raises(CorpusError, match=message):
        evaluate_labels(annotated, gold)


def test_unknown_labels_are_counted_with_examples(corpus):
    annotated, _ = corpus
    with pytest.raises(
        CorpusError, match=r"4 gold labels \('bad' \(id r0\), .*\.\.\.\) are none of the classes"
    ):
        evaluate_labels(annotated, {f"r{i}": "bad" for i in range(4)})


def test_probabilities_of_another_width_are_refused():
    rows = ROWS | {"probabilities": [[0.5, 0.5]] * 3}
    with pytest.raises(CorpusError, match="expected 3 probabilities a row"):
        evaluate_labels(rows, {"a": "x"}, names=["x", "y", "z"])


def test_ordered_classes_tell_how_many_steps_labels_are_off(corpus):
    annotated, truth = corpus
    gold = {f"r{i}": NAMES[y] for i, y in enumerate(truth)}
    schema = LabelSchema("single", tuple(NAMES), ordered=True)
    evaluation = evaluate_labels(annotated, gold, schema=schema)
    said = np.array(annotated["label"])
    kappa = sklearn.metrics.cohen_kappa_score(truth, said, weights="quadratic")
    assert evaluation.metrics["quadratic_kappa"] == pytest.approx(kappa)
    steps = sklearn.metrics.mean_absolute_error(truth, said)
    assert evaluation.metrics["steps_off"] == pytest.approx(steps)
    assert "mean absolute error (steps of the scale)" in evaluation.render()
    assert "steps_off" not in evaluate_labels(annotated, gold).metrics


def test_a_tree_tells_the_accuracy_at_each_depth_and_of_nodes():
    parents = (("a", "x"), ("b", "x"), ("x", "y"), ("c", "y"))
    schema = LabelSchema("single", ("a", "b", "c", "d"), parents=parents)
    rows = {"id": ["1", "2", "3", "4"], "label": ["a", "b", "c", "d"], "node": ["a", "x", None, "y"]}
    gold = {"1": "b", "2": "a", "3": "a", "4": "d"}
    evaluation = evaluate_labels(rows, gold, names=schema.names, schema=schema)
    m = evaluation.metrics
    assert (m["accuracy"], m["accuracy_at_depth_1"], m["accuracy_at_depth_2"]) == (0.25, 1.0, 0.75)
    assert "accuracy_at_depth_3" not in m  # it is that of the classes
    assert (m["share_with_node"], m["node_accuracy"]) == (0.75, pytest.approx(1 / 3))
    assert "accuracy at depth 2 of the label tree" in evaluation.render()
    mine = {**rows, "node": ["my", "own", "notes", None]}
    assert "node_accuracy" not in evaluate_labels(mine, gold, names=schema.names, schema=schema).metrics
