"""What a model says of texts, by any backend, in numbers that mean what the reference's mean."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from textlabel import registry
from textlabel.engine.predict import Featurizer, Float32, Progress, head_logits
from textlabel.errors import BundleError
from textlabel.models.backend_fit import REFERENCE, BackendFit
from textlabel.types import Predictions

if TYPE_CHECKING:
    from textlabel.models.bundle import Bundle


log = logging.getLogger("textlabel")


def choose_backend(bundle: Bundle, asked: str) -> BackendFit:
    """Return the backend that labels, and what is known of it; asked once, before row 1.

    Parameters
    ----------
    asked : plugin, or "auto": the fastest that `textlabel optimize` kept in the model and that runs here, and
        the reference if there is none.

    Raises
    ------
    BundleError : the plugin was not optimized for this model, so that nobody knows how far off it is.
    PluginError : no such plugin.
    """
    if asked == "auto":
        here = [fit for fit in bundle.backends if fit.backend in registry.plugins("backend")]
        runs = (fit for fit in here if not registry.load("backend", fit.backend).lacks())
        return next(runs, BackendFit(REFERENCE))
    if asked == REFERENCE:
        return BackendFit(REFERENCE)
    registry.load("backend", asked)
    for fit in bundle.backends:
        if fit.backend == asked:
            return fit
    known = ", ".join(fit.backend for fit in bundle.backends) or "none"
    raise BundleError(
        f"backend {asked!r} was not tried on this model (kept: {known}): run `textlabel optimize MODEL`, "
        "which measures how far its labels are from the reference's, and keeps it if they are near enough"
    )


class Predictor:
    """A model and a backend, ready for texts.

    Parameters
    ----------
    backend : as `choose_backend`.
    cache : folder of the feature cache; None: without.
    """

    def __init__(self, bundle: Bundle, backend: str = REFERENCE, cache: Path | None = None) -> None:
        self.bundle = bundle
        self.fit = choose_backend(bundle, backend)
        self._fast = Featurizer(bundle.classifier, self.fit.backend, folder=self.fit.folder, cache=cache)
        self._reference = Featurizer(bundle.classifier, REFERENCE, cache=cache) if self.fit.band else None
        #: rows of the last corpus, those that the reference computed again, and those from the feature cache
        self.rows = self.recomputed = self.from_cache = 0

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
        features = self._fast.features(texts, progress, alone)
        logits = self.fit.logits(head_logits(self.bundle.classifier, features))
        ood = self.fit.ood_score(self.bundle.scope.score(logits, features))
        again = np.zeros(len(texts), np.bool_)
        if self._reference is not None:
            again = self._margin(logits) < self.fit.band
            near = np.flatnonzero(again)
            if len(near):
                features[near] = self._reference.features([texts[int(i)] for i in near], alone=alone)
                logits[near] = head_logits(self.bundle.classifier, features[near])
                ood[near] = self.bundle.scope.score(logits[near], features[near])
        agreements, distances = self.bundle.against_source(features)
        if distances is not None:
            distances[~again] *= np.float32(self.fit.distance_scale)
        found = Predictions(
            list(ids),
            logits,
            self.bundle.classifier.schema,
            features,
            ood,
            agreements,
            distances,
            again,
            self._fast.known,
        )
        self.count(found)
        return found

    def count(self, found: Predictions) -> None:
        """Tell from now on of these predictions how they were made."""
        self.rows = len(found.ids)
        self.recomputed, self.from_cache = (
            0 if rows is None else int(rows.sum()) for rows in (found.recomputed, found.from_cache)
        )

    @property
    def tokens(self) -> int:
        """Tokens that went through the body in this process so far."""
        return sum(featurizer.tokens for featurizer in self._featurizers)

    @property
    def _featurizers(self) -> list[Featurizer]:
        return [self._fast] if self._reference is None else [self._fast, self._reference]

    def snapshot(self) -> list[str]:
        """Return the names of the segments of the feature cache in which this finds features."""
        return sorted(name for each in self._featurizers if each.cache for name in each.cache.snapshot)

    def pin(self, names: Sequence[str]) -> None:
        """Look features up in these segments only, and warn where some are gone: last digits may differ."""
        for each in self._featurizers:
            if each.cache:
                each.cache.pin(names)
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
            "from_cache": self.from_cache,
        }

    def _margin(self, logits: Float32) -> npt.NDArray[np.float64]:
        assert self.bundle.calibrator is not None
        return margin(self.bundle.calibrator.apply(logits.astype(np.float64)))


def margin(probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the lead of the likeliest class over the next, (n,)."""
    second, first = np.partition(probabilities, -2, axis=1)[:, -2:].T
    lead: npt.NDArray[np.float64] = first - second
    return lead
