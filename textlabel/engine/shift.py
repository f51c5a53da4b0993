"""How class shares of a corpus differ from those of the labeled rows, by what a model keeps of these."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from textlabel.engine.cascade import refuse_cascade
from textlabel.engine.order import CHUNK
from textlabel.errors import BundleError, CorpusError
from textlabel.trust.label_shift import Cells, Refused, label_shift
from textlabel.trust.stated_shares import read_shares, to_shares

if TYPE_CHECKING:
    from collections.abc import Mapping

    from textlabel.models.bundle import Bundle
    from textlabel.trust.label_shift import Floats, LabelShift
    from textlabel.types import Predictions

NEED = "a correction for class shares"


def shift_of(
    predictions: Predictions, bundle: Bundle, out_of_scope_rate: float = 0.0
) -> LabelShift | Refused:
    """Return the label shift of a corpus, or why nobody can tell; see `textlabel.trust.label_shift`.

    Where the labeled rows were placed by heads that each lack a fold, so are the rows of the corpus: by all
    of these heads, on average.

    Parameters
    ----------
    predictions : of the corpus: all of its rows are read, also those that people labeled.
    out_of_scope_rate : where not 0, rows that are called out of scope at this rate are not read. So goes this
        share of the rows in scope, too, which are not the surest ones.

    Raises
    ------
    BundleError : no labeled row calibrated this model, so there is nothing to compare with.
    CorpusError : the student of a cascade answered some of the rows, or features are missing, which the heads
        of the folds read.
    """
    refuse_cascade(predictions, NEED)
    calibrator, source = bundle.measured(NEED)
    if calibrator.to_json()["name"] == "none":
        return Refused(
            "probabilities of this model are not calibrated, and of one that is too sure the shares come "
            "out wrong: fit with another calibrator than 'none'"
        )
    if (bundle.record.get("row_weights") or {}).get("applied"):
        return Refused(
            "this model was fitted on rows weighed toward other texts (weigh_rows), which assumes that like "
            "texts have like labels in both corpora; a label shift assumes that texts of a class are alike: "
            "fit without weights"
        )
    inside = _in_scope(predictions, bundle, out_of_scope_rate)
    probabilities = calibrator.apply(predictions.logits[inside])
    if bundle.members:
        counts = _by_members(source.cells, predictions, bundle, inside)
    else:
        counts = source.cells.count(probabilities).astype(np.float64)
    return label_shift(source.cells, source.unbiased(probabilities), counts)


def shift_to_shares(
    predictions: Predictions, bundle: Bundle, shares: Floats, out_of_scope_rate: float = 0.0
) -> LabelShift | Refused:
    """Return the shift by which the rows of a corpus have these class shares (k,), or why there is none.

    More of this: `textlabel.trust.stated_shares`. Other arguments, and what is raised: `shift_of`.
    """
    refuse_cascade(predictions, NEED)
    assert bundle.calibrator is not None
    inside = _in_scope(predictions, bundle, out_of_scope_rate)
    return to_shares(bundle.calibrator.apply(predictions.logits[inside]), shares)


def shares_of(stated: str | Mapping[str, float], bundle: Bundle) -> Floats:
    """Return the stated share (k,) of each class of a model.

    Raises
    ------
    BundleError : this model gives a row several classes, or a score.
    CorpusError : these are no shares of its classes (`textlabel.trust.stated_shares.read_shares`).
    """
    if bundle.classifier.schema.kind != "single":
        raise BundleError(f"{NEED} is for one class a row, and this model gives a row several, or a score")
    prior = None if bundle.source is None else bundle.source.cells.prior
    return read_shares(stated, bundle.classifier.schema.names, prior)


def _in_scope(predictions: Predictions, bundle: Bundle, rate: float) -> npt.NDArray[np.bool_]:
    """Return which rows (n,) are not called out of scope at a rate; all of them where it is 0."""
    if not rate:
        return np.ones(len(predictions.logits), dtype=np.bool_)
    assert predictions.ood_score is not None
    return ~bundle.scope.out_of_scope(predictions.ood_score, rate)


def _by_members(
    cells: Cells, predictions: Predictions, bundle: Bundle, inside: npt.NDArray[np.bool_]
) -> Floats:
    """Return the rows in each cell (m,), as a mean over the heads of the folds."""
    if predictions.embeddings is None:
        raise CorpusError(
            f"{NEED} of this model reads features, which these predictions lack: predict again with them"
        )
    counts = np.zeros(len(cells.counts))
    for start in range(0, len(inside), CHUNK):
        part = slice(start, start + CHUNK)
        for said in bundle.by_members(predictions.embeddings[part][inside[part]]):
            counts += cells.count(said)
    return counts / len(bundle.members)
