"""The `evaluate` way in: no network, and the numbers of textlabel.trust.metrics."""

import json

import evaluate
import numpy as np
import pytest

from textlabel.report import metrics as ours
from textlabel.trust import metrics


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 200)
    p = rng.dirichlet([1, 1, 1], 200) * 0.5 + 0.5 * np.eye(3)[labels]
    return labels, p


@pytest.mark.parametrize(
    ("factory", "expected"),
    [
        (ours.accuracy, lambda y, p: metrics.accuracy(y, p.argmax(1))),
        (ours.macro_f1, lambda y, p: metrics.macro_f1(y, p.argmax(1), 3)),
        (ours.quadratic_kappa, lambda y, p: metrics.quadratic_kappa(y, p.argmax(1), 3)),
        (ours.steps_off, lambda y, p: metrics.mae(y, p.argmax(1))),
        (ours.calibration_error, lambda y, p: metrics.ece(p.max(1), p.argmax(1) == y)),
        (ours.brier, metrics.brier),
        (ours.negative_log_likelihood, metrics.nll),
        (ours.area_under_risk_coverage, lambda y, p: metrics.risk_coverage(p.max(1), p.argmax(1) == y).aurc),
    ],
)
def test_batches_give_the_number_of_the_whole(rows, factory, expected):
    labels, p = rows
    metric = factory()
    column = "probabilities" if "probabilities" in metric.features else "predictions"
    values = p if column == "probabilities" else p.argmax(1)
    for part in np.array_split(np.arange(200), 3):
        metric.add_batch(references=labels[part], **{column: values[part]})
    assert metric.compute() == {factory.__name__: pytest.approx(expected(labels, p))}
    assert isinstance(metric, evaluate.Metric)
    assert metric.name == factory.__name__


def test_they_combine_and_save(rows, tmp_path):
    labels, p = rows
    combined = evaluate.combine([ours.accuracy(), ours.brier(), ours.calibration_error()])
    result = combined.compute(predictions=p.argmax(1), references=labels, probabilities=p)
    assert set(result) == {"accuracy", "brier", "calibration_error"}
    evaluate.save(tmp_path / "result.json", **result)
    assert json.loads((tmp_path / "result.json").read_text())["brier"] == result["brier"]


def test_options_reach_evaluate(rows, tmp_path):
    labels, p = rows
    metric = ours.accuracy(keep_in_memory=False, cache_dir=str(tmp_path))
    metric.add_batch(predictions=p.argmax(1), references=labels)
    assert list(tmp_path.rglob("*.arrow"))
    assert metric.compute()["accuracy"] == metrics.accuracy(labels, p.argmax(1))
