"""A cascade: a student answers what it is sure of, and only the other texts go up to the model.

What is read off the model's own features (off-the-map scores, agreement of twin heads, distances) is not
there for rows that the student answered: it is NaN. Who needs it of every row must do without the cascade.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from textlabel.engine.predict import Featurizer, Float32, Progress, head_logits
from textlabel.errors import BundleError, CorpusError
from textlabel.models.backend_fit import REFERENCE
from textlabel.models.student import reads_long
from textlabel.types import Predictions

if TYPE_CHECKING:
    from textlabel.models.bundle import Bundle
    from textlabel.models.classifier import Classifier

#: padded tokens a batch: a table of vectors has no layers whose results fill the processor's caches
BUDGET = 16_384

Bools = npt.NDArray[np.bool_]


def student_featurizer(classifier: Classifier) -> Featurizer:
    """Return what turns texts into a student's features; looking them up in a cache would take longer."""
    return Featurizer(classifier, REFERENCE, token_budget=BUDGET)


class Cascade:
    """The student of a model, ready for texts.

    Raises
    ------
    BundleError : the model keeps none, or now reads long texts in another way than when they were compared.
    """

    def __init__(self, bundle: Bundle) -> None:
        if bundle.student is None or bundle.calibrator is None:
            raise BundleError(
                "this model keeps no student that could answer before it: run `textlabel optimize MODEL --on "
                "CORPUS --cascade potion-base-8M`, which trains one on the model's own labels, or leave the "
                "cascade out"
            )
        now = reads_long(bundle.classifier.info)
        if now != bundle.student.long_texts or now == "fail":
            raise BundleError(
                "the student was compared with the model when that read long texts by "
                f"{bundle.student.long_texts!r}, and now it is {now!r}: read them as then ('fail' is never "
                "possible: a student does not know what is too long), or leave the cascade out"
            )
        self.student = bundle.student
        self._calibrator = bundle.calibrator
        self._featurizer = student_featurizer(bundle.student.classifier)

    def answer(self, texts: Sequence[str], alone: bool = False) -> tuple[Bools, Float32]:
        """Return which texts (n,) the student answers, and its logits (n, k) of all of them.

        Parameters
        ----------
        alone : as `Featurizer.features`.
        """
        features = self._featurizer.features(texts, alone=alone)
        logits = head_logits(self.student.classifier, features)
        probabilities = self._calibrator.apply(logits.astype(np.float64))
        return self.student.answers(probabilities, features), logits

    def to_json(self, answered: int) -> dict[str, Any]:
        """Return who answered how many rows, for the record."""
        return {**self.student.to_json(), "answered": answered}


def above(progress: Progress | None, answered: int) -> Progress | None:
    """Return what tells progress of the texts that go up as that of all texts."""
    if progress is None:
        return None
    return lambda done, rows: progress(answered + done, answered + rows)


def joined(ids: Sequence[str], answered: Bools, logits: Float32, rest: Predictions) -> Predictions:
    """Return the predictions of all rows.

    Parameters
    ----------
    answered : (n,) rows of the student, of which ``logits`` (n, k) stand.
    rest : what the model says of the other rows, in their order.
    """
    arrays = {name: _spread(array, ~answered) for name, array in rest.arrays().items()}
    arrays["logits"] = np.where(answered[:, None], logits, arrays["logits"])
    return Predictions(list(ids), schema=rest.schema, **arrays, by_student=answered)


def refuse_cascade(predictions: Predictions, what: str) -> None:
    """Raise a `CorpusError` where a student answered rows of which ``what`` must know what the model says."""
    if predictions.by_student is not None and predictions.by_student.any():
        raise CorpusError(
            f"{what} reads what only the model itself says of a row, and a student answered "
            f"{int(predictions.by_student.sum())} of these {len(predictions.ids)} rows: predict without the "
            "cascade"
        )


def _spread(array: npt.NDArray[Any], rows: Bools) -> npt.NDArray[Any]:
    """Return an array of all rows that holds ``array`` at ``rows``, and nothing (NaN, False) elsewhere."""
    nothing = np.nan if array.dtype.kind == "f" else 0
    whole = np.full((len(rows), *array.shape[1:]), nothing, array.dtype)
    whole[rows] = array
    return whole
