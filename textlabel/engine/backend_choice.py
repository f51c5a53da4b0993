"""Which backend labels, and which ones compute a row again whose two best classes are close."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from textlabel import registry
from textlabel.engine.predict import require_torch
from textlabel.engine.process import processor
from textlabel.errors import BundleError, RecipeError
from textlabel.models.backend_fit import REFERENCE, BackendFit

if TYPE_CHECKING:
    from textlabel.models.bundle import Bundle

log = logging.getLogger("textlabel")


def choose_backend(bundle: Bundle, asked: str) -> BackendFit:
    """Return the backend that labels, and what is known of it; asked once, before row 1.

    Parameters
    ----------
    asked : plugin, or "auto": the fastest that `textlabel optimize` kept in the model, that runs here, was
        measured on such a processor, and in which no text's numbers depend on its batch mates; the reference
        if there is none.

    Raises
    ------
    BundleError : the plugin was not optimized for this model, so that nobody knows how far off it is.
    PluginError : no such plugin.
    RecipeError : several backbones were joined, which the reference alone runs.
    """
    if asked == "auto":
        found = next(filter(_runs, bundle.backends), BackendFit(REFERENCE))
        if found.backend == REFERENCE and bundle.backends:
            _warn_of(bundle.backends[0], "so the reference labels")
        return found
    if asked == REFERENCE:
        return BackendFit(REFERENCE)
    registry.load("backend", asked)
    require_torch(bundle.classifier.info, asked)
    for fit in bundle.backends:
        if fit.backend == asked:
            _warn_of(fit, "so more labels may differ from the reference's than it tells")
            return fit
    kept = ", ".join(fit.backend for fit in bundle.backends) or "none"
    raise BundleError(
        f"backend {asked!r} was not tried on this model (kept: {kept}): run `textlabel optimize MODEL`, "
        "which measures how far its labels are from the reference's, and keeps it if they are near enough"
    )


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


def passes(first: BackendFit, kept: Iterable[BackendFit]) -> list[BackendFit]:
    """Return the backends that compute a row, in order, each only those that the one before leaves close.

    Parameters
    ----------
    first : the backend that computes every row.
    kept : what `textlabel optimize` kept, among which may be the one that it found to do so next.
    """
    if not first.band:
        return [first]
    finer = [fit for fit in kept if fit.backend == first.again_by and _runs(fit)]
    settled = bool(finer) and not finer[0].band
    return [first, *finer] if settled else [first, *finer, BackendFit(REFERENCE)]


def _runs(fit: BackendFit) -> bool:
    """Return whether a backend may be taken without having been asked for."""
    if fit.backend not in registry.plugins("backend"):
        return False
    module = registry.load("backend", fit.backend)
    return bool(module.BATCH_INVARIANT and not module.lacks() and _measured_here(fit))


def _measured_here(fit: BackendFit) -> bool:
    """Return whether errors were measured on such a processor; without VNNI, say, int8 has others."""
    return bool(fit.measured.get("processor", processor()) == processor())


def _warn_of(fit: BackendFit, therefore: str) -> None:
    if not _measured_here(fit):
        log.warning(
            "backend %s was optimized on a processor of another kind (%s, and this is %s), %s: run "
            "`textlabel optimize MODEL` here",
            fit.backend,
            fit.measured["processor"],
            processor(),
            therefore,
        )
