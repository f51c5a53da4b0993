"""How a student learns a model's labels, and when it may answer, on features whose truth is known."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from tiny import snippets, write_backbone, write_static

from textlabel import Labeler
from textlabel.engine import student as module
from textlabel.engine.optimize import Trial
from textlabel.engine.predict import Featurizer, head_logits
from textlabel.engine.student import ALPHA, LEARN, Lesson, fit_student, least_texts
from textlabel.errors import BackboneError, CorpusError, RecipeError
from textlabel.models.backbone import load_backbone
from textlabel.models.backend_fit import BackendFit
from textlabel.models.classifier import Classifier
from textlabel.trust.calibrators.none import Uncalibrated
from textlabel.trust.calibrators.temperature import Temperature
from textlabel.trust.set_rule import SetRule
from textlabel.types import LabelSchema

WIDTH = 16
MOST_DIFFER = 0.005
TEXTS = [row["text"] for row in snippets(1300, seed=5)]


@pytest.fixture(scope="module")
def static(tmp_path_factory):
    return write_static(tmp_path_factory.mktemp("static") / "words")


@pytest.fixture(scope="module")
def labeler(static):
    """Return a model that a student can learn from 500 texts."""
    return Labeler(static, cache=False).fit(snippets(80))


def judge(calibrator=None):
    """Return as much of a model as a student's lesson needs."""
    return SimpleNamespace(calibrator=calibrator or Uncalibrated(), sets=SetRule("lac", 0.1, (0.8,)))


class World:
    """Features, and a model whose logits are linear in them but for what a student cannot see."""

    def __init__(self, k=2, size=3.0, hidden=1.0, wrong=0.0, seed=0):
        self.k, self.hidden, self.wrong = k, hidden, wrong
        self.rng = np.random.default_rng(seed)
        self.weight = size * self.rng.normal(size=(WIDTH, k)) / np.sqrt(WIDTH)

    def draw(self, n):
        features = self.rng.normal(size=(n, WIDTH)).astype(np.float32)
        logits = features @ self.weight + self.hidden * self.rng.normal(size=(n, self.k))
        turned = self.rng.random(n) < self.wrong
        logits[turned] = -logits[turned]
        return features, logits.astype(np.float32)


def learned(static, world, n=3000, calibrator=None, most_differ=MOST_DIFFER):
    classes = tuple("abcdefgh"[: world.k])
    classifier = Classifier(load_backbone(static), LabelSchema("single", classes)).eval()
    features, logits = world.draw(n)
    return fit_student(
        judge(calibrator), classifier, [str(i) for i in range(n)], logits, features, most_differ
    )


def said(student, features, calibrator=None):
    logits = head_logits(student.classifier, features).astype(np.float64)
    return (calibrator or Uncalibrated()).apply(logits)


def realized(student, world, n=20_000, calibrator=None):
    """Return the share of new rows that the student answers, and of those that it answers otherwise."""
    features, logits = world.draw(n)
    own = said(student, features, calibrator)
    answered = student.answers(own, features)
    return answered.mean(), (answered & (own.argmax(axis=1) != logits.argmax(axis=1))).mean()


# --- what it learns ---------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [2, 5])
def test_it_learns_what_it_can_see(static, k):
    world = World(k, hidden=0.0)
    student = learned(static, world)
    answered, differ = realized(student, world)
    assert answered > 0.85
    assert differ < MOST_DIFFER


@pytest.mark.parametrize("k", [2, 5])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_its_confidence_means_what_the_models_means(static, k, temperature):
    """Where it answers as where it does not: the mean of the model's probabilities of its label."""
    calibrator = Temperature(temperature)
    world = World(k, hidden=1.0)
    student = learned(static, world, 6000, calibrator)
    features, logits = world.draw(20_000)
    own, right = said(student, features, calibrator), calibrator.apply(logits.astype(np.float64))
    best = own.argmax(axis=1)
    order = np.argsort(own.max(axis=1))
    for part in np.array_split(order, 5):
        assert right[part, best[part]].mean() == pytest.approx(own[part].max(axis=1).mean(), abs=0.04)


def test_it_does_not_answer_what_is_unlike_its_texts(static):
    student = learned(static, World(hidden=0.0))
    near = World(hidden=0.0, seed=1).draw(5000)[0]
    assert student.knows(near).mean() == pytest.approx(0.99, abs=0.01)
    far = 4 * near
    assert student.knows(far).mean() < 0.01
    assert not student.answers(said(student, far), far)[~student.knows(far)].any()
    assert said(student, far).max(axis=1).mean() > 0.9  # it would be sure of them


def test_a_text_without_a_known_word_goes_up(static):
    student = learned(static, World(hidden=0.0))
    nothing = np.zeros((1, WIDTH), np.float32)
    assert student.moments.bulk(nothing)[0] < student.reach
    assert not student.knows(nothing).any()


# --- what it promises -------------------------------------------------------------------------------

#: the model, as far as a student can know it: nearly as sure as it is right, or turned around at random in
#: rows of which the student is as sure as of others
WORLDS = {
    "hidden": {"hidden": 1.5},
    "many classes": {"k": 6, "hidden": 1.0},
    "confidently wrong": {"hidden": 0.0, "size": 20.0, "wrong": 0.03},
    "nothing to learn": {"size": 0.0, "hidden": 3.0},
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", WORLDS)
def test_labels_differ_more_often_than_promised_in_few_draws(static, kind):
    """5 % of 40 draws are two; six or more have a chance of 1.4 %."""
    broken, answers = 0, []
    for seed in range(40):
        world = World(**WORLDS[kind], seed=seed)
        answered, differ = realized(learned(static, world, 2000), world)
        broken += differ > MOST_DIFFER
        answers.append(answered)
    assert broken <= 5
    assert (np.mean(answers) > 0.02) == (kind != "nothing to learn")
    if kind == "confidently wrong":  # it may answer a sixth, and does not know which sixth is right
        assert np.mean(answers) < 0.3


def test_the_more_labels_may_differ_the_more_it_answers(static):
    shares, differ = zip(
        *(
            realized(learned(static, World(hidden=1.5), most_differ=most), World(hidden=1.5))
            for most in (0.005, 0.02, 0.05)
        ),
        strict=True,
    )
    assert shares[0] + 0.05 < shares[1] < shares[2] - 0.05
    assert differ[0] < 0.005 < differ[1] < 0.02 < differ[2] < 0.05


def test_what_is_told_is_counted_on_texts_that_it_did_not_learn_from(static):
    world = World(3, hidden=1.0)
    student = learned(static, world)
    told = student.measured
    assert told["texts"] == 1500
    assert (told["differ_at_most"], told["alpha"]) == (MOST_DIFFER, ALPHA)
    world = World(3, hidden=1.0)  # the same rows once more
    features, logits = (array[1500:] for array in world.draw(3000))
    own, right = said(student, features), Uncalibrated().apply(logits.astype(np.float64))
    answered = other = cost = lacks = sure = model = 0.0
    for row in range(1500):
        best, theirs = int(own[row].argmax()), int(right[row].argmax())
        if own[row].max() > student.threshold and student.knows(features[row : row + 1])[0]:
            answered += 1
            other += best != theirs
            cost += right[row, theirs] - right[row, best]
            sets = [{int(p.argmax()), *np.flatnonzero(1 - p <= 0.8)} for p in (own[row], right[row])]
            lacks += bool(sets[1] - sets[0])
            sure += own[row].max()
            model += right[row, best]
    assert answered > 100
    assert other > 0
    assert told["answered"] == round(answered / 1500, 5)
    assert told["differ"] == round(other / 1500, 5)
    assert told["expected_accuracy_cost"] == pytest.approx(cost / 1500, abs=1e-5)
    assert told["sets_that_lack_a_class"] == round(lacks / 1500, 5)
    assert told["confidence"] == pytest.approx(sure / answered, abs=1e-5)
    assert told["model_confidence_in_its_label"] == pytest.approx(model / answered, abs=1e-5)


# --- the whole --------------------------------------------------------------------------------------

REFERENCE = Trial("torch", 10.0, BackendFit("torch"))


def test_a_student_of_a_real_model_is_kept_and_reported(labeler, static):
    trial = Lesson.prepare(labeler.bundle, TEXTS, str(static), MOST_DIFFER).trial(labeler.bundle, [REFERENCE])
    assert (trial.backend, trial.fit, trial.why) == ("cascade", None, "")
    told = trial.student.measured
    assert told["model_texts_per_second"] == 10
    assert told["texts_per_second"] == pytest.approx(trial.texts_per_second, abs=0.1)
    together = 1 / (1 / told["texts_per_second_alone"] + (1 - told["answered"]) / 10)
    assert trial.texts_per_second == pytest.approx(together, rel=0.01)
    texts = [row["text"] for row in snippets(2000, seed=9)]
    features = Featurizer(trial.student.classifier).features(texts)
    theirs = labeler.bundle.calibrator
    own = theirs.apply(head_logits(trial.student.classifier, features).astype(np.float64))
    answered = trial.student.answers(own, features)
    right = labeler.predict([{"text": text} for text in texts]).logits
    differ = answered & (own.argmax(axis=1) != theirs.apply(right).argmax(axis=1))
    assert answered.mean() == pytest.approx(told["answered"], abs=0.05)
    assert differ.mean() < 2 * MOST_DIFFER


def test_the_same_again(labeler, static):
    lessons = [Lesson.prepare(labeler.bundle, TEXTS, str(static), MOST_DIFFER, seed) for seed in (0, 0, 1)]
    assert lessons[0].texts == lessons[1].texts != lessons[2].texts
    students = [lesson.trial(labeler.bundle, [REFERENCE]).student for lesson in lessons[:2]]
    for name, array in students[0].arrays().items():
        np.testing.assert_array_equal(array, students[1].arrays()[name])
    assert students[0].threshold == students[1].threshold


def test_one_that_may_answer_hardly_anything_is_not_kept(labeler, static, monkeypatch):
    monkeypatch.setattr(module, "deferral_threshold", lambda *_: 1.0)
    trial = Lesson.prepare(labeler.bundle, TEXTS, str(static), MOST_DIFFER).trial(labeler.bundle, [REFERENCE])
    assert trial.student is None
    assert trial.why == "may answer 0.0% of the texts only, if 0.5% of labels may differ"


def test_one_that_is_slower_than_the_model_is_not_kept(labeler, static):
    fast = Trial("torch", 1e9, BackendFit("torch"))
    trial = Lesson.prepare(labeler.bundle, TEXTS, str(static), MOST_DIFFER).trial(labeler.bundle, [fast])
    assert (trial.student, trial.why) == (None, "slower than the model alone")


def test_texts_are_different_and_no_more_than_needed(labeler, static, monkeypatch):
    monkeypatch.setattr(module, "MOST", 1250)
    lesson = Lesson.prepare(labeler.bundle, TEXTS * 2, str(static), MOST_DIFFER)
    assert len(lesson.texts) == len(set(lesson.texts)) == 1250
    assert set(lesson.texts) <= set(TEXTS)


def test_what_cannot_work_is_refused_before_a_text_is_labeled(labeler, static, tiny_backbone, tmp_path):
    few = TEXTS[: least_texts(MOST_DIFFER) - 1]
    with pytest.raises(
        CorpusError, match=f"at least {least_texts(MOST_DIFFER)} different texts .* got {len(few)}"
    ):
        Lesson.prepare(labeler.bundle, few * 3, str(static), MOST_DIFFER)
    with pytest.raises(BackboneError, match="is no static backbone"):
        Lesson.prepare(labeler.bundle, TEXTS, str(write_backbone(tmp_path / "bert")), MOST_DIFFER)
    with pytest.raises(BackboneError, match="unknown backbone"):
        Lesson.prepare(labeler.bundle, TEXTS, "potion", MOST_DIFFER)
    rows = [{"text": row["text"], "label": float(row["stars"])} for row in snippets(80)]
    scores = Labeler(tiny_backbone, "regression", cache=False).fit(rows).bundle
    with pytest.raises(RecipeError, match="a cascade is for one class a row: of scores"):
        Lesson.prepare(scores, TEXTS, str(static), MOST_DIFFER)
    for share in (0.0, 1.0, -0.1):
        with pytest.raises(RecipeError, match=f"most_differ = {share}: expected the share"):
            Lesson.prepare(labeler.bundle, TEXTS, str(static), share)


def test_fewest_texts_leave_enough_to_promise_anything(static):
    assert least_texts(0.3) == module.FEWEST
    n = least_texts(MOST_DIFFER)
    assert n - int((LEARN + module.ADJUST) * n) == 598
    student = learned(static, World(hidden=0.0, size=20.0), n)
    assert student.measured["answered"] > 0
