"""What a model says of texts, by any backend, in numbers that mean what the reference's mean."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from textlabel import registry
from textlabel.engine.cascade import Cascade, above, joined
from textlabel.engine.predict import Featurizer, Float32, Progress, head_logits
from textlabel.errors import BundleError, RecipeError
from textlabel.models.backend_fit import REFERENCE, BackendFit
from textlabel.types import Predictions

if TYPE_CHECKING:
    from textlabel.models.bundle import Bundle


log = logging.getLogger("textlabel")

#: a probability below it counts as this
SMALLEST = 1e-12


def choose_backend(bundle: Bundle, asked: str) -> BackendFit:
    """Return the backend that labels, and what is known of it; asked once, before row 1.

    Parameters
    ----------
    asked : plugin, or "auto": the fastest that `textlabel optimize` kept in the model, that runs here and in
        which no text's numbers depend on its batch mates; the reference if there is none.

    Raises
    ------
    BundleError : the plugin was not optimized for this model, so that nobody knows how far off it is.
    PluginError : no such plugin.
    """
    if asked == "auto":
        known = registry.plugins("backend")
        fits = (fit for fit in bundle.backends if fit.backend in known and _auto(fit))
        return next(fits, BackendFit(REFERENCE))
    if asked == REFERENCE:
        return BackendFit(REFERENCE)
    registry.load("backend", asked)
    for fit in bundle.backends:
        if fit.backend == asked:
            return fit
    kept = ", ".join(fit.backend for fit in bundle.backends) or "none"
    raise BundleError(
        f"backend {asked!r} was not tried on this model (kept: {kept}): run `textlabel optimize MODEL`, "
        "which measures how far its labels are from the reference's, and keeps it if they are near enough"
    )


def _auto(fit: BackendFit) -> bool:
    module = registry.load("backend", fit.backend)
    return bool(module.BATCH_INVARIANT and not module.lacks())


def backend_to_fit(asked: str) -> str:
    """Return the backend that reads labeled rows for a fit: "auto" is the reference.

    Raises
    ------
    RecipeError : the plugin runs a graph that is made of a fitted model.
    PluginError : no such plugin.
    """
    if asked == "auto":
        return REFERENCE
    if hasattr(registry.load("backend", asked), "prepare"):
        raise RecipeError(
            f"backend {asked!r} runs a graph that `textlabel optimize` makes of a fitted model, so nothing "
            "can be fitted with it: fit with torch or torch_bf16, and then optimize"
        )
    return asked


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
        cache: Path | None = None,
        cascade: bool = False,
    ) -> None:
        self.bundle = bundle
        self.cascade = Cascade(bundle) if cascade else None
        self.fit = choose_backend(bundle, backend)
        self._fast = Featurizer(bundle.classifier, self.fit.backend, folder=self.fit.folder, cache=cache)
        self._reference = Featurizer(bundle.classifier, REFERENCE, cache=cache) if self.fit.band else None
        #: rows of the last corpus, those that the reference computed again, those from the feature cache, and
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
        features = self._fast.features(texts, progress, alone)
        logits = self.fit.logits(head_logits(self.bundle.classifier, features))
        ood = self.fit.ood_score(self.bundle.scope.score(logits, features))
        again = np.zeros(len(texts), np.bool_)
        if self._reference is not None:
            again = self._lead(logits) < self.fit.band
            near = np.flatnonzero(again)
            if len(near):
                features[near] = self._reference.features([texts[int(i)] for i in near], alone=alone)
                logits[near] = head_logits(self.bundle.classifier, features[near])
                ood[near] = self.bundle.scope.score(logits[near], features[near])
        agreements, distances = self.bundle.against_source(features)
        if distances is not None:
            distances[~again] *= np.float32(self.fit.distance_scale)
        return Predictions(
            list(ids),
            logits,
            self.bundle.classifier.schema,
            features,
            ood,
            agreements,
            distances,
            again,
            self._fast.known,
            self._fast.windows if self.bundle.classifier.info.on_long == "window" else None,
        )

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
