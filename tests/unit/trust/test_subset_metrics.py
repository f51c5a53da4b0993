import numpy as np
import pytest
import sklearn.metrics

from textlabel.trust.metrics import ece
from textlabel.trust.subset_metrics import macro_ece, subset_metrics, subset_report


@pytest.fixture
def answers():
    rng = np.random.default_rng(0)
    truth = rng.random((200, 4)) < [0.1, 0.3, 0.5, 0.8]
    return truth, truth ^ (rng.random(truth.shape) < 0.2)


def test_numbers_are_those_of_scikit_learn(answers):
    found = subset_metrics(*answers)
    assert found["subset_accuracy"] == sklearn.metrics.accuracy_score(*answers)
    assert found["hamming_loss"] == pytest.approx(sklearn.metrics.hamming_loss(*answers))
    for average in ("micro", "macro"):
        expected = sklearn.metrics.f1_score(*answers, average=average)
        assert found[f"{average}_f1"] == pytest.approx(expected)
    report = subset_report(*answers)
    expected = sklearn.metrics.precision_recall_fscore_support(*answers)
    found = (report.precision, report.recall, report.f1, report.support)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs)


def test_where_nobody_carries_anything():
    nothing = np.zeros((3, 2), bool)
    assert subset_metrics(nothing, nothing) == {
        "subset_accuracy": 1.0,
        "hamming_loss": 0.0,
        "micro_f1": 0.0,
        "macro_f1": 0.0,
    }


def test_the_macro_calibration_error_is_the_mean_of_classes(answers):
    p = np.random.default_rng(1).random((200, 4))
    assert macro_ece(p, answers[0]) == pytest.approx(
        np.mean([ece(p[:, c], answers[0][:, c]) for c in range(4)])
    )
