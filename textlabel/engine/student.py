"""Training the student of a cascade on the model's own labels of texts that nobody labeled.

The texts are parted at random. From the first part the head learns the model's probabilities. On the second
its strength is chosen, and its logits are scaled until its probabilities come nearest to the model's
calibrated ones: so its confidence means what the model's means. On the third the confidence is found above
which it answers (`textlabel.trust.deferral`), and what is told of it is counted.

The promise: with probability 0.95 over the draw of the texts, at most the share ``most_differ`` of all
different texts of this kind get another label by student and model together than by the model alone, both on
the reference backend. So accuracy over different texts, of which nothing is known here, falls by no more than
that, and by less where the model is wrong, too: what its own probabilities expect is told. It holds for no
other kind of text, and not for rows: a text on which the student differs may stand in many.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from textlabel.engine.cascade import student_featurizer
from textlabel.engine.optimize import Floats, Trial, logit_scale
from textlabel.engine.predict import Float32, head_logits
from textlabel.engine.predictor import Predictor
from textlabel.engine.shared_features import Store
from textlabel.engine.solvers import REFERENCE_ROWS, STRENGTHS
from textlabel.errors import BackboneError, CorpusError, RecipeError
from textlabel.models.backbone import Backbone, load_backbone
from textlabel.models.backend_fit import REFERENCE
from textlabel.models.bundle import Bundle
from textlabel.models.classifier import Classifier
from textlabel.models.heads import Linear, softmax_regression
from textlabel.models.student import Student, reads_long
from textlabel.trust.calibration import Calibrator, softmax
from textlabel.trust.deferral import deferral_threshold, fewest_rows
from textlabel.trust.moments import fit_moments
from textlabel.types import IntArray

log = logging.getLogger("textlabel")

#: probability that more labels differ than promised
ALPHA = 0.05
#: different texts that are looked at, at most and at least
MOST, FEWEST = 10_000, 500
#: shares of them that the head learns from, and that adjust it; the others tell when it may answer
LEARN, ADJUST = 0.4, 0.1
#: share of texts of the same kind that are near enough to those it learned from
NEAR = 0.99
#: a student that answers a smaller share is not kept
LEAST_ANSWERED = 0.05

NAME = "cascade"


def least_texts(most_differ: float) -> int:
    """Return how many different texts are needed, so that a student that never differs may answer.

    Examples
    --------
    >>> least_texts(0.005)
    1196
    """
    return max(int(np.ceil(fewest_rows(most_differ, ALPHA) / (1 - LEARN - ADJUST))), FEWEST)


@dataclass(frozen=True)
class Lesson:
    """What a student is to learn with: its backbone, and different texts in random order.

    Parameters
    ----------
    most_differ : share of the labels of different texts that may differ from the model's.
    """

    backbone: Backbone
    texts: list[str]
    most_differ: float

    @classmethod
    def prepare(
        cls, bundle: Bundle, texts: Sequence[str], backbone: str, most_differ: float, seed: int = 0
    ) -> Lesson:
        """Return the lesson of a student of ``bundle``, whose labels are not asked for yet.

        Parameters
        ----------
        texts : unlabeled texts of the kind that will be labeled; at most `MOST` different ones are drawn.
        backbone : a static one.

        Raises
        ------
        RecipeError : the labels are scores, long texts are refused, or ``most_differ`` is no share above 0.
        BackboneError : the backbone is not static, or cannot be had.
        CorpusError : too few different texts.
        """
        if bundle.classifier.info.on_long == "fail":
            raise RecipeError(
                "this model refuses long texts, and a student does not know what is too long: leave the "
                "cascade out, or fit with on_long = truncate or window"
            )
        if bundle.classifier.schema.kind != "single":
            raise RecipeError(
                "a cascade is for one class a row: of scores, or of several classes, nobody can tell how "
                "sure a student is; leave the cascade out"
            )
        if not 0 < most_differ < 1:
            raise RecipeError(
                f"most_differ = {most_differ}: expected the share of labels that may differ from the "
                "model's, above 0 and below 1, such as 0.005"
            )
        different, needed = list(dict.fromkeys(texts)), least_texts(most_differ)
        if len(different) < needed:
            raise CorpusError(
                f"expected at least {needed} different texts to train a student on and to count how often it "
                f"differs from the model, got {len(different)}: give more of the corpus that is to be "
                "labeled, let more labels differ, or leave the cascade out"
            )
        body = load_backbone(backbone)
        if body.info.kind != "static":
            raise BackboneError(
                f"{backbone!r} is no static backbone, so it is hardly faster than the model: name one that "
                "is, such as potion-base-8M (`textlabel backbones`)"
            )
        order = np.random.default_rng(seed).permutation(len(different))[:MOST]
        return cls(body, [different[i] for i in order], most_differ)

    def trial(self, bundle: Bundle, trials: Sequence[Trial], cache: Store | None = None) -> Trial:
        """Return what became of a student that learned the labels of the reference backend.

        Parameters
        ----------
        trials : of backends, which ``bundle`` already keeps.
        cache : folder of the feature cache; None: without.
        """
        teacher = Predictor(bundle, REFERENCE, cache)
        name, n = self.backbone.info.public_name, len(self.texts)
        log.info("optimize: labeling %d texts that %s learns from", n, name)
        logits = teacher(self.texts, self.texts).logits
        teacher.publish()
        classifier = Classifier(self.backbone, bundle.classifier.schema).eval()
        featurizer = student_featurizer(classifier)
        start = time.perf_counter()
        features = featurizer.features(self.texts)
        alone = n / (time.perf_counter() - start)
        student = fit_student(bundle, classifier, self.texts, logits, features, self.most_differ)
        model = next(trial.texts_per_second for trial in trials if trial.backend == teacher.fit.backend)
        assert model is not None
        read = reads_long(bundle.classifier.info)
        return _judged(replace(student, long_texts=read), alone, model)


def fit_student(
    bundle: Bundle,
    classifier: Classifier,
    texts: Sequence[str],
    logits: Float32,
    features: Float32,
    most_differ: float,
) -> Student:
    """Return a student with its head, and when it may answer; see the top of this file.

    Parameters
    ----------
    classifier : the student's, whose head is replaced.
    texts, logits, features : different texts in random order, what the model says of them (n, k), and what
        the student sees of them (n, d).
    """
    assert bundle.calibrator is not None
    right = bundle.calibrator.apply(logits.astype(np.float64))
    parts = [int(LEARN * len(texts)), int((LEARN + ADJUST) * len(texts))]
    learn, adjust, rest = np.split(np.arange(len(texts)), parts)
    classifier.set_head(_head(bundle.calibrator, features, logits, right, learn, adjust))
    moments = fit_moments(features[learn], np.zeros(len(learn), np.int64), 1)
    reach = float(np.quantile(moments.bulk(features[adjust]), NEAR))
    student = Student(classifier, moments, 1.0, reach, {})
    said = bundle.calibrator.apply(head_logits(classifier, features[rest]).astype(np.float64))
    sure = np.where(student.knows(features[rest]), said.max(axis=1), -np.inf)
    differs = said.argmax(axis=1) != right[rest].argmax(axis=1)
    threshold = max(deferral_threshold(sure, differs, most_differ, ALPHA), 0.0)
    told = _measured(bundle, sure > threshold, right[rest], said, [texts[i] for i in rest])
    measured = {"texts": len(rest), "differ_at_most": most_differ, "alpha": ALPHA, **told}
    return replace(student, threshold=threshold, measured=measured)


def _head(
    calibrator: Calibrator,
    features: Float32,
    logits: Float32,
    right: Floats,
    learn: IntArray,
    adjust: IntArray,
) -> Linear:
    """Return the head that comes nearest to the model's calibrated probabilities on the rows ``adjust``."""
    strengths = [l2 * REFERENCE_ROWS / len(learn) for l2 in sorted(STRENGTHS, reverse=True)]
    soft, equal = softmax(logits[learn]), np.ones(len(learn))
    tried = []
    for head in softmax_regression(features[learn], soft, equal, strengths):
        unscaled = np.asarray(head(features[adjust]), np.float64)
        scale = logit_scale(calibrator.apply, unscaled, right[adjust])
        tried.append(Linear(scale * head.weight, scale * head.bias))

    def loss(head: Linear) -> float:
        said = np.clip(calibrator.apply(head(features[adjust])), 1e-12, 1)
        return float(-(right[adjust] * np.log(said)).sum(axis=1).mean())

    return min(tried, key=loss)


def _measured(
    bundle: Bundle, answered: npt.NDArray[np.bool_], right: Floats, said: Floats, texts: Sequence[str]
) -> dict[str, float]:
    """Return what the texts that the student did not learn from tell of it, for the record."""
    rows, own, best = np.arange(len(said)), said.argmax(axis=1), right.argmax(axis=1)
    lost = np.where(answered, right[rows, best] - right[rows, own], 0)
    lacks = (bundle.sets.sets(right, texts) & ~bundle.sets.sets(said, texts)).any(axis=1)
    shares = {
        "answered": answered.mean(),
        "differ": (answered & (own != best)).mean(),
        "expected_accuracy_cost": lost.mean(),
        "sets_that_lack_a_class": (answered & lacks).mean(),
    }
    if answered.any():
        shares["confidence"] = said[answered].max(axis=1).mean()
        shares["model_confidence_in_its_label"] = right[rows, own][answered].mean()
    return {name: round(float(share), 5) for name, share in shares.items()}


def _judged(student: Student, alone: float, model: float) -> Trial:
    """Return whether a student is kept, and how fast model and student are together."""
    answered = student.measured["answered"]
    speed = 1 / (1 / alone + (1 - answered) / model)
    measured = {
        **student.measured,
        "texts_per_second": round(speed, 1),
        "texts_per_second_alone": round(alone, 1),
        "model_texts_per_second": round(model, 1),
    }
    why = "" if speed > model else "slower than the model alone"
    if answered < LEAST_ANSWERED:
        most = student.measured["differ_at_most"]
        why = f"may answer {answered:.1%} of the texts only, if {most:.1%} of labels may differ"
    return Trial(NAME, speed, None, why, None if why else replace(student, measured=measured))
