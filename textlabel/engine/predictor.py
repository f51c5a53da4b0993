"""What a model says of texts, by any backend, in numbers that mean what the reference's mean."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from textlabel.engine.backend_choice import choose_backend, passes
from textlabel.engine.cascade import Cascade, above, joined
from textlabel.engine.predict import (
    Featurizer,
    Float32,
    JointFeaturizer,
    Progress,
    featurizer_of,
    head_logits,
)
from textlabel.engine.shared_features import Store
from textlabel.models.backend_fit import REFERENCE, BackendFit
from textlabel.types import Predictions

if TYPE_CHECKING:
    from textlabel.engine.feature_cache import FeatureCache
    from textlabel.engine.shared_features import SharedSpace
    from textlabel.models.bundle import Bundle


log = logging.getLogger("textlabel")

#: a probability below it counts as this
SMALLEST = 1e-12


class Predictor:
    """A model and a backend, ready for texts.

    Parameters
    ----------
    backend : as `choose_backend`.
    cache : folder of the feature cache; None: without.
    cascade : whether the model's student answers the texts that it is sure of.

    Raises
    ------
    BundleError, PluginError : as `choose_backend`, or there is no student.
    """

    def __init__(
        self,
        bundle: Bundle,
        backend: str = REFERENCE,
        cache: Store | None = None,
        cascade: bool = False,
    ) -> None:
        self.bundle = bundle
        self.cascade = Cascade(bundle) if cascade else None
        self.fit = choose_backend(bundle, backend)
        self._passes = [
            (fit, featurizer_of(bundle.classifier, fit.backend, folder=fit.folder, cache=cache))
            for fit in passes(self.fit, bundle.backends)
        ]
        #: rows of the last corpus, those that were computed again, those from the feature cache, and
        #: those that the student answered and those that are longer than the body reads at once
        self.rows = self.recomputed = self.from_cache = self.by_student = self.long = 0

    def __call__(
        self,
        ids: Sequence[str],
        texts: Sequence[str],
        progress: Progress | None = None,
        alone: bool = False,
    ) -> Predictions:
        """Return logits, features and off-the-map scores of texts, in their order.

        Parameters
        ----------
        alone : as `Featurizer.features`.
        """
        if self.cascade is None:
            found = self._above(ids, texts, progress, alone)
        else:
            answered, logits = self.cascade.answer(texts, alone)
            up = np.flatnonzero(~answered).tolist()
            counting = above(progress, len(texts) - len(up))
            rest = self._above([ids[i] for i in up], [texts[i] for i in up], counting, alone)
            found = joined(ids, answered, logits, rest)
        self.count(found)
        return found

    def _above(
        self, ids: Sequence[str], texts: Sequence[str], progress: Progress | None, alone: bool
    ) -> Predictions:
        """Return what the model itself says."""
        (fit, first), n = self._passes[0], len(texts)
        features, logits, ood = self._numbers(fit, first, texts, progress, alone)
        again, scale = np.zeros(n, np.bool_), np.full(n, fit.distance_scale, np.float32)
        rows = np.arange(n)
        for (before, _), (fit, finer) in pairwise(self._passes):
            rows = rows[self._lead(logits[rows]) < before.band]
            if not len(rows):
                break
            part = [texts[i] for i in rows.tolist()]
            features[rows], logits[rows], ood[rows] = self._numbers(fit, finer, part, None, alone)
            again[rows], scale[rows] = True, fit.distance_scale
        agreements, distances = self.bundle.against_source(features)
        if distances is not None:
            distances *= scale
        return Predictions(
            list(ids),
            logits,
            self.bundle.classifier.schema,
            features,
            ood,
            agreements,
            distances,
            again,
            first.known,
            first.windows if self.bundle.classifier.info.on_long == "window" else None,
        )

    def _numbers(
        self,
        fit: BackendFit,
        featurizer: Featurizer | JointFeaturizer,
        texts: Sequence[str],
        progress: Progress | None,
        alone: bool,
    ) -> tuple[Float32, Float32, Float32]:
        """Return features (n, d), logits (n, k) and off-the-map scores (n,) by one backend, corrected."""
        features = featurizer.features(texts, progress, alone)
        logits = fit.logits(head_logits(self.bundle.classifier, features))
        return features, logits, fit.ood_score(self.bundle.scope.score(logits, features))

    def count(self, found: Predictions) -> None:
        """Tell from now on of these predictions how they were made."""
        self.rows = len(found.ids)
        self.recomputed, self.from_cache, self.by_student = (
            0 if rows is None else int(rows.sum())
            for rows in (found.recomputed, found.from_cache, found.by_student)
        )
        self.long = 0 if found.windows is None else int(np.sum(found.windows > 1))

    @property
    def tokens(self) -> int:
        """Tokens that went through the body in this process so far."""
        return sum(featurizer.tokens for featurizer in self._featurizers)

    @property
    def _featurizers(self) -> list[Featurizer | JointFeaturizer]:
        return [featurizer for _, featurizer in self._passes]

    @property
    def _caches(self) -> list[FeatureCache | SharedSpace]:
        return [cache for featurizer in self._featurizers for cache in featurizer.caches]

    @property
    def again_by(self) -> list[str]:
        """Backends that compute close rows again, in their order."""
        return [fit.backend for fit, _ in self._passes[1:]]

    def snapshot(self) -> list[str]:
        """Return the names of the segments of the feature cache in which this finds features."""
        return sorted(name for cache in self._caches for name in cache.snapshot)

    def pin(self, names: Sequence[str]) -> None:
        """Look features up in these segments only, and warn where some are gone: last digits may differ."""
        for cache in self._caches:
            cache.pin(names)
        if set(names) - set(self.snapshot()):
            log.warning(
                "features that this run found in the cache when it began are gone; they are computed again, "
                "and may differ in their last digits"
            )

    def publish(self) -> None:
        """Let the feature cache find what was added; a run that may be resumed calls this when it is done."""
        for each in self._featurizers:
            each.publish()

    def to_json(self) -> dict[str, Any]:
        """Return what labeled, for the record."""
        return {
            **self.fit.to_json(),
            "rows": self.rows,
            "recomputed": self.recomputed,
            "recomputed_by": self.again_by,
            "from_cache": self.from_cache,
            "on_long": self.bundle.classifier.info.on_long,
            "in_windows": self.long,
            "cascade": None if self.cascade is None else self.cascade.to_json(self.by_student),
        }

    def _lead(self, logits: Float32) -> npt.NDArray[np.float64]:
        assert self.bundle.calibrator is not None
        return lead(self.bundle.calibrator.apply(logits.astype(np.float64)))


def lead(probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return by how much the likeliest class leads the next, (n,), in nats: the logarithm of their ratio.

    Noise in features moves it about as far in sure rows as in unsure ones, unlike the difference of the two.
    """
    second, first = np.log(np.clip(np.partition(probabilities, -2, axis=1)[:, -2:], SMALLEST, 1)).T
    found: npt.NDArray[np.float64] = first - second
    return found
