"""Labels corrected for the class shares of a corpus: what follows, what stays, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from tiny import snippets

from textlabel import Labeler
from textlabel.errors import BundleError, CorpusError, RecipeError
from textlabel.trust.label_shift import LabelShift, Refused, corrected

#: of the negative snippets every sixth is left: six in seven texts are positive
SHIFTED = [row for i, row in enumerate(snippets(1200, seed=1)) if i % 2 or i % 12 == 0]
TEXTS = [{"id": row["id"], "text": row["text"]} for row in SHIFTED]
TRUTH = np.array([row["label"] == "positive" for row in SHIFTED])
#: words of neither mood: nothing that class shares could explain
OTHER = [{"text": f"the film was not very {i}"} for i in range(300)]
#: far off the map
NOISE = [{"id": f"n{i}", "text": f"{20 * 'awful '}{i}"} for i in range(175)]


@pytest.fixture(scope="module")
def labeler(tiny_backbone):
    return Labeler(tiny_backbone, "head").fit(snippets(400))


@pytest.fixture(scope="module")
def predictions(labeler):
    return labeler.predict(TEXTS)


@pytest.fixture(scope="module")
def shift(labeler, predictions):
    return labeler.label_shift(predictions)


@pytest.fixture(scope="module")
def plain(labeler, predictions):
    return labeler.annotate(TEXTS, predictions=predictions)


@pytest.fixture(scope="module")
def mended(labeler, predictions):
    return labeler.annotate(TEXTS, predictions=predictions, correct_label_shift=True)


def test_the_shares_are_near_the_truth_and_labels_get_better(shift, plain, mended):
    assert isinstance(shift, LabelShift)
    assert abs(shift.shares[1] - TRUTH.mean()) < 0.05
    right = [np.mean(np.array(rows["label"][:]) == TRUTH) for rows in (plain, mended)]
    assert right[1] > right[0] + 0.05


def test_everything_but_the_sets_follows_from_the_corrected_probabilities(shift, plain, mended):
    p = corrected(np.array(plain["probabilities"][:]), shift.weights)
    np.testing.assert_allclose(mended["probabilities"][:], p, atol=1e-6)
    np.testing.assert_array_equal(mended["label"][:], p.argmax(axis=1))
    np.testing.assert_allclose(mended["confidence"][:], p.max(axis=1), atol=1e-6)
    np.testing.assert_allclose(mended["margin"][:], np.ptp(p, axis=1), atol=1e-6)
    sure = np.array(mended["confidence"][:]) >= 0.9
    assert [d == "accepted" for d in mended["decision"][:]] == sure.tolist()
    assert mended["ood_score"][:] == plain["ood_score"][:]


def test_a_set_is_that_of_the_uncorrected_probabilities_and_the_label(labeler, plain, mended):
    names = labeler.schema.names
    moved = 0
    for before, after in zip(plain, mended, strict=True):
        assert set(after["prediction_set"]) == {*before["prediction_set"], names[after["label"]]}
        moved += after["prediction_set"] != before["prediction_set"]
    assert moved


def test_what_was_found_before_gives_the_same_rows(labeler, predictions, shift, mended):
    again = labeler.annotate(TEXTS, predictions=predictions, correct_label_shift=shift)
    assert again[:] == mended[:]


def test_another_shift_is_warned_of_and_nothing_is_lost(labeler, caplog):
    found = labeler.label_shift(labeler.predict(OTHER))
    assert isinstance(found, Refused)
    assert found.p_value < 0.05
    rows = labeler.annotate(OTHER, correct_label_shift=True)
    assert "labels are not corrected for class shares: class shares alone do not explain" in caplog.text
    assert f"p = {found.p_value:.2g}" in caplog.text
    assert rows[:] == labeler.annotate(OTHER)[:]


def test_a_handful_of_rows_tells_no_shares(labeler, caplog):
    rows = labeler.annotate(TEXTS[:99], correct_label_shift=True)
    assert "99 rows are too few to estimate shares of 2 classes, which needs 100" in caplog.text
    assert rows[:] == labeler.annotate(TEXTS[:99])[:]


def test_uncalibrated_probabilities_are_refused(tiny_backbone):
    raw = Labeler(tiny_backbone, "head", calibrator="none").fit(snippets(200))
    found = raw.label_shift(raw.predict(TEXTS))
    assert "fit with another calibrator than 'none'" in str(found)


def test_what_people_labeled_stands(labeler, mended):
    gold = [{"text": row["text"], "label": "negative"} for row in SHIFTED[:5]]
    rows = labeler.annotate(TEXTS, gold=gold, correct_label_shift=True)
    assert rows["label"][:5] == [0] * 5
    assert rows["source"][:6] == ["human"] * 5 + ["model"]
    assert rows.select(range(5, len(rows)))[:] == mended.select(range(5, len(mended)))[:]


@pytest.mark.parametrize("kind", ["single", "score"])
def test_a_model_without_source_statistics_is_told_before_any_text_is_read(tiny_backbone, monkeypatch, kind):
    from textlabel.engine import predict

    rows = [{**row, "label": len(row["text"]) / 30} for row in snippets(60)]
    blind = (
        Labeler(tiny_backbone, "regression").fit(rows)
        if kind == "score"
        else Labeler(tiny_backbone, "head", calibration="none").fit(snippets(60))
    )
    monkeypatch.setattr(predict, "predict", lambda *_, **__: pytest.fail("it predicted"))
    with pytest.raises(
        BundleError, match="no statistics of labeled rows, which a correction for class shares"
    ):
        blind.annotate(TEXTS, correct_label_shift=True)


def test_shares_of_other_classes_are_refused(labeler, predictions):
    three = LabelShift(np.full(3, 1 / 3), np.ones(3), 0.5)
    with pytest.raises(CorpusError, match="a weight of 0 or more for each of 2 classes"):
        labeler.annotate(TEXTS, predictions=predictions, correct_label_shift=three)


def test_rows_called_out_of_scope_are_not_read(labeler):
    """A fifth of the corpus is nothing but noise: with it shares explain nothing, without it they do."""
    predictions = labeler.predict([*TEXTS, *NOISE])
    assert isinstance(labeler.label_shift(predictions), Refused)
    found = labeler.label_shift(predictions, out_of_scope_rate=0.05)
    assert isinstance(found, LabelShift)
    assert abs(found.shares[1] - TRUTH.mean()) < 0.05
    rows = labeler.annotate([*TEXTS, *NOISE], correct_label_shift=True, out_of_scope_rate=0.05)
    assert (
        rows["probabilities"][:]
        == labeler.annotate([*TEXTS, *NOISE], predictions=predictions, correct_label_shift=found)[
            "probabilities"
        ][:]
    )


def test_stated_shares_correct_as_estimated_ones_do(labeler, predictions, plain):
    share = float(TRUTH.mean())
    found = labeler.stated_shares(predictions, {"positive": share})
    assert found.p_value is None
    rows = labeler.annotate(TEXTS, predictions=predictions, class_shares=f"positive={share}")
    p = corrected(np.array(plain["probabilities"][:]), found.weights)
    np.testing.assert_allclose(rows["probabilities"][:], p, atol=1e-6)
    np.testing.assert_allclose(p.mean(axis=0), [1 - share, share], atol=1e-3)
    right = [np.mean(np.array(some["label"][:]) == TRUTH) for some in (plain, rows)]
    assert right[1] > right[0] + 0.05


def test_the_shares_of_the_labeled_rows_can_be_meant(labeler, predictions):
    found = labeler.stated_shares(predictions, "labeled")
    np.testing.assert_allclose(found.shares, labeler.bundle.source.cells.prior)


def test_stated_shares_are_of_rows_in_scope(labeler):
    predictions = labeler.predict([*TEXTS, *NOISE])
    rows = labeler.annotate(
        [*TEXTS, *NOISE], predictions=predictions, class_shares={"positive": 0.8}, out_of_scope_rate=0.05
    )
    inside = np.array(rows["decision"][:]) != "out_of_scope"
    assert 0 < inside.sum() < len(inside)
    assert np.array(rows["probabilities"][:])[inside, 1].mean() == pytest.approx(0.8, abs=1e-3)


def test_stated_shares_that_make_no_sense_fail_before_any_row_is_read(labeler, tiny_backbone, monkeypatch):
    from textlabel.engine import predict

    monkeypatch.setattr(predict, "predict", lambda *_, **__: pytest.fail("it predicted"))
    with pytest.raises(RecipeError, match="leave one of the two out"):
        labeler.annotate(TEXTS, correct_label_shift=True, class_shares="labeled")
    with pytest.raises(CorpusError, match="no class 'positve'"):
        labeler.annotate(TEXTS, class_shares="positve=.5")


def test_stated_shares_need_neither_calibration_nor_labeled_rows(tiny_backbone):
    blind = Labeler(tiny_backbone, "head", calibration="none").fit(snippets(60))
    rows = blind.annotate(TEXTS, class_shares="positive=0.7")
    assert np.array(rows["probabilities"][:])[:, 1].mean() == pytest.approx(0.7, abs=1e-3)
    with pytest.raises(CorpusError, match="no labeled row that calibrated it"):
        blind.annotate(TEXTS, class_shares="labeled")


def test_scores_have_no_class_shares(tiny_backbone):
    scores = [{"text": row["text"], "label": float(i)} for i, row in enumerate(snippets(40))]
    model = Labeler(tiny_backbone, "regression").fit(scores)
    with pytest.raises(BundleError, match="for one class a row"):
        model.annotate(TEXTS[:10], class_shares="labeled")
