"""A cascade: who answers, what is there of which row, and who refuses such rows."""

from __future__ import annotations

import numpy as np
import pytest
from tiny import snippets, write_static

from textlabel import Labeler, registry
from textlabel.engine import shards
from textlabel.engine import student as lessons
from textlabel.engine.optimize import Trial
from textlabel.engine.order import model_score, told_by_probabilities
from textlabel.engine.predict import Featurizer, head_logits
from textlabel.engine.predictor import Predictor
from textlabel.engine.student import Lesson
from textlabel.errors import BundleError, CorpusError, ExportError
from textlabel.models.backend_fit import BackendFit
from textlabel.trust.scores import Evidence, order_score

OTHER = "torch_bf16"
TEXTS = [row["text"] for row in snippets(90, seed=1)]
TEXTS += ["film plot screen phone " * 9, "nobody knows these words", ""]
IDS = [str(number) for number in range(len(TEXTS))]
ROWS = [{"id": i, "text": text} for i, text in zip(IDS, TEXTS, strict=True) if text]


@pytest.fixture(scope="module")
def labeler(tiny_backbone, tmp_path_factory):
    """Return a labeler whose model keeps a student that takes itself to be sure of half of the texts."""
    static = write_static(tmp_path_factory.mktemp("static") / "words")
    made = Labeler(tiny_backbone, keep_reference=True, cache=False).fit(snippets(80))
    lesson = Lesson.prepare(made.bundle, [row["text"] for row in snippets(1300, seed=5)], str(static), 0.005)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lessons, "LEAST_ANSWERED", 0)
        trial = lesson.trial(made.bundle, [Trial("torch", 1.0, BackendFit("torch"))])
    found = vars(trial.student)
    features = Featurizer(trial.student.classifier).features(TEXTS)
    sure = made.bundle.calibrator.apply(head_logits(trial.student.classifier, features)).max(axis=1)
    made.bundle.student = type(trial.student)(**{**found, "threshold": float(np.median(sure))})
    return made


@pytest.fixture
def bundle(labeler):
    return labeler.bundle


@pytest.fixture
def cascading(labeler, tmp_path):
    """Return the same model, in a labeler that uses the student."""
    return Labeler.load(labeler.save(tmp_path / "model"), cascade=True, cache=False)


# --- who answers ------------------------------------------------------------------------------------


def test_sure_rows_are_the_students_and_the_others_the_models_to_the_bit(bundle):
    cascade = Predictor(bundle, cascade=True)
    found = cascade(IDS, TEXTS)
    student = bundle.student
    features = Featurizer(student.classifier, token_budget=16_384).features(TEXTS)
    logits = head_logits(student.classifier, features)
    probabilities = bundle.calibrator.apply(logits.astype(np.float64))
    near = (student.moments.bulk(features) <= student.reach) & features.any(axis=1)
    answered = (probabilities.max(axis=1) > student.threshold) & near
    assert 30 < answered.sum() < 60
    np.testing.assert_array_equal(found.by_student, answered)
    np.testing.assert_array_equal(found.logits[answered], logits[answered])
    up = np.flatnonzero(~answered)
    above = Predictor(bundle)([IDS[i] for i in up], [TEXTS[i] for i in up])
    for name, array in above.arrays().items():
        np.testing.assert_array_equal(getattr(found, name)[up], array)
    assert list(found.ids) == IDS


def test_of_the_students_rows_there_is_nothing_else(bundle):
    found = Predictor(bundle, cascade=True)(IDS, TEXTS)
    for name in ("embeddings", "ood_score", "agreements", "distances"):
        array = getattr(found, name)
        assert np.isnan(array[found.by_student]).all()
        assert not np.isnan(array[~found.by_student]).any()
    for name in ("recomputed", "from_cache"):
        assert not getattr(found, name)[found.by_student].any()


def test_junk_goes_up(bundle):
    """Texts unlike its own, and such as hold no word that it knows, however sure it is."""
    found = Predictor(bundle, cascade=True)(IDS, TEXTS)
    assert not found.by_student[-3:].any()


def test_close_rows_of_a_faster_backend_are_still_computed_again(bundle, monkeypatch):
    monkeypatch.setattr(registry.load("backend", OTHER), "lacks", lambda: "")  # slow, but right
    monkeypatch.setattr(registry.load("backend", OTHER), "BATCH_INVARIANT", True)
    kept = type(bundle)(**{**vars(bundle), "backends": [BackendFit(OTHER, band=99.0)]})  # no lead is 99
    cascade = Predictor(kept, "auto", cascade=True)
    found = cascade(IDS, TEXTS)
    np.testing.assert_array_equal(found.recomputed, ~found.by_student)
    plain = Predictor(bundle, cascade=True)(IDS, TEXTS)
    np.testing.assert_allclose(found.logits, plain.logits, rtol=1e-4, atol=1e-5)
    told = cascade.to_json()
    assert told["recomputed"] + told["cascade"]["answered"] == told["rows"] == len(TEXTS)


def test_progress_counts_all_texts(bundle):
    told = []
    found = Predictor(bundle, cascade=True)(IDS, TEXTS, lambda *numbers: told.append(numbers))
    assert told[-1] == (len(TEXTS), len(TEXTS))
    assert all(found.by_student.sum() <= done <= rows == len(TEXTS) for done, rows in told)


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_all_or_nothing(bundle, threshold):
    student = type(bundle.student)(**{**vars(bundle.student), "threshold": threshold, "reach": np.inf})
    predictor = Predictor(type(bundle)(**{**vars(bundle), "student": student}), cascade=True)
    found = predictor(IDS[:50], TEXTS[:50])
    assert found.by_student.all() == (threshold == 0)
    assert found.by_student.any() == (threshold == 0)
    assert predictor([], []).logits.shape == (0, 2)


def test_without_the_option_nothing_changes(labeler, tiny_backbone):
    bundle = labeler.bundle
    plain = Predictor(type(bundle)(**{**vars(bundle), "student": None}))(IDS, TEXTS)
    found = Predictor(bundle)(IDS, TEXTS)
    assert plain.arrays().keys() == found.arrays().keys()
    for name, array in plain.arrays().items():
        np.testing.assert_array_equal(found.arrays()[name], array)
    assert found.by_student is None
    assert Predictor(bundle).to_json()["cascade"] is None


def test_a_model_without_a_student_says_how_to_get_one(tiny_backbone):
    plain = Labeler(tiny_backbone, cascade=True, cache=False).fit(snippets(80))
    with pytest.raises(BundleError, match=r"keeps no student .* --cascade potion-base-8M"):
        plain.predict(ROWS)


@pytest.mark.parametrize(("on_long", "pooling"), [("window", "mean"), ("fail", None)])
def test_a_model_that_reads_long_texts_otherwise_is_another_one(cascading, on_long, pooling):
    cascading.read_long(on_long, pooling)
    with pytest.raises(BundleError, match=f"by 'truncate', and now it is '{on_long}"):
        cascading.predict(ROWS)


def test_a_student_of_a_model_that_reads_windows_is_as_good_as_any(cascading):
    student = cascading.bundle.student
    cascading.read_long("window", "max")
    cascading.bundle.student = type(student)(**{**vars(student), "long_texts": "window, max"})
    long = [*ROWS, {"id": "long", "text": "film plot screen was very not really i it the " * 30}]
    found = cascading.predict(long)
    np.testing.assert_array_equal(found.windows == 0, found.by_student)
    assert found.windows[-1] > 1


def test_fitting_anew_forgets_the_student(labeler, tiny_backbone, tmp_path):
    other = Labeler.load(labeler.save(tmp_path / "model"), cache=False)
    other.backbone = tiny_backbone
    assert other.fit(snippets(60)).bundle.student is None


# --- rows -------------------------------------------------------------------------------------------


def test_rows_of_the_student_have_no_ood_score_and_are_never_out_of_scope(cascading):
    found = cascading.predict(ROWS)
    rows = cascading.annotate(ROWS, predictions=found, out_of_scope_rate=0.5)
    assert [score is None for score in rows["ood_score"]] == found.by_student.tolist()
    outside = np.array(rows["decision"]) == "out_of_scope"
    assert outside.any()
    assert not (outside & found.by_student).any()
    p = cascading.bundle.calibrator.apply(found.logits.astype(np.float64))
    np.testing.assert_allclose(rows["confidence"], p.max(axis=1))
    assert set(rows["source"]) == {"model"}


def test_the_record_tells_who_answered(cascading, tmp_path):
    rows = cascading.annotate(ROWS)
    told = cascading.record(len(rows))["backend"]["cascade"]
    assert told["answered"] == cascading.predictor.by_student > 30
    assert told["backbone"]["name"] == "words"
    assert {"threshold", "reach", "measured"} <= told.keys()
    folder = cascading.export(rows, tmp_path / "out")
    card = (folder / "README.md").read_text()
    assert f"{told['answered']} of {len(ROWS)} rows answered by a student (words)" in card
    assert "empty where a student answered" in card
    assert "those of a student lack a class of the model's own in" in card


def test_sealed_rows_can_be_opened_again(cascading, tmp_path):
    from textlabel.audit.seal import open_sealed

    for form in ("dataset", "parquet", "jsonl", "csv"):
        folder = cascading.export(cascading.annotate(ROWS), tmp_path / form, form)
        assert open_sealed(folder).n == len(ROWS)


# --- who refuses ------------------------------------------------------------------------------------


def test_what_reads_the_model_of_every_row_is_refused(cascading):
    found = cascading.predict(ROWS)
    n = int(found.by_student.sum())
    for call in (cascading.estimate, cascading.label_shift):
        with pytest.raises(CorpusError, match=rf"a student answered {n} of these {len(ROWS)} rows"):
            call(found)
    with pytest.raises(CorpusError, match=f"order_by = 'knn' reads .* a student answered {n}"):
        cascading.annotate(ROWS, predictions=found, order_by="knn")
    probabilities = cascading.bundle.calibrator.apply(found.logits)
    with pytest.raises(CorpusError, match="a student answered"):
        model_score("ensemble", probabilities, found, cascading.bundle)


def test_predictions_in_which_no_row_is_the_students_are_as_good_as_any(labeler, tmp_path):
    student = labeler.bundle.student
    strict = type(student)(**{**vars(student), "threshold": 1.0})
    bundle = type(labeler.bundle)(**{**vars(labeler.bundle), "student": strict})
    found = Predictor(bundle, cascade=True)(IDS, TEXTS)
    assert labeler.estimate(found) == labeler.estimate(Predictor(bundle)(IDS, TEXTS))


def test_orders_that_a_student_can_make_are_those_of_probabilities():
    p = np.array([[0.6, 0.4], [0.2, 0.8]])
    for name in registry.plugins("score"):
        plugin = registry.load("score", name)
        assert told_by_probabilities(name) == told_by_probabilities(f"-{name}")
        if told_by_probabilities(name):
            assert order_score(name, Evidence(p)).shape == (2,)
        else:
            assert set(plugin.NEEDS) - {"probabilities"}
    assert told_by_probabilities("confidence")
    assert told_by_probabilities("stars")
    assert not told_by_probabilities("-ood_score")


# --- long runs --------------------------------------------------------------------------------------


def test_a_run_in_shards_remembers_who_answered(cascading, tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "LEAST_ROWS", 8)
    whole = cascading.predict(ROWS)
    found = cascading.predict(ROWS, checkpoint=tmp_path / "run")
    np.testing.assert_array_equal(found.by_student, whole.by_student)
    np.testing.assert_allclose(found.logits, whole.logits, rtol=1e-4, atol=1e-5)
    assert cascading.predictor.by_student == whole.by_student.sum()
    again = Labeler.load(tmp_path / "model", cascade=True, cache=False)
    monkeypatch.setattr(again.predictor, "cascade", None)  # nobody is asked a second time
    again.predictor.cascade = cascading.predictor.cascade
    monkeypatch.setattr(type(again.predictor.cascade), "answer", None)
    read = again.predict(ROWS, checkpoint=tmp_path / "run")
    np.testing.assert_array_equal(read.logits, found.logits)
    assert again.predictor.by_student == whole.by_student.sum()


def test_a_run_with_a_cascade_is_another_run(cascading, tmp_path):
    cascading.predict(ROWS, checkpoint=tmp_path / "run")
    plain = Labeler.load(tmp_path / "model", cache=False)
    with pytest.raises(ExportError, match=r"differs in its cascade \(True; now False\)"):
        plain.predict(ROWS, checkpoint=tmp_path / "run")
    student = cascading.bundle.student
    other = type(student)(**{**vars(student), "threshold": 0.123})
    cascading._bundle = type(cascading.bundle)(**{**vars(cascading.bundle), "student": other})
    cascading._predictor = None
    with pytest.raises(ExportError, match="differs in its model"):
        cascading.predict(ROWS, checkpoint=tmp_path / "run")
