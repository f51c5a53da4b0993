"""Labeled rows weighed toward the texts that are to be labeled: where that can be had, and by what."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from textlabel.engine.process import derive_seed
from textlabel.engine.solvers import solver, takes_row_weights
from textlabel.errors import RecipeError, nearest
from textlabel.recipe import Recipe, options_of
from textlabel.trust.row_weights import Refused, RowWeights, density_ratio, kmm
from textlabel.types import FloatArray, IntArray

log = logging.getLogger("textlabel")

#: what may be said of the weights of rows
WEIGH_ROWS = ("none", "density_ratio", "kmm")
#: unlabeled texts that are looked at; more take longer and change little
TARGET_ROWS = 2000


def check_weigh_rows(method: str, recipe: Recipe, kind: str, unlabeled: Sequence[str]) -> None:
    """Raise a `RecipeError` where rows cannot be weighed so.

    Parameters
    ----------
    kind : of the labels.
    unlabeled : texts toward which rows are weighed.
    """
    if method not in WEIGH_ROWS:
        raise RecipeError(f"weigh_rows = {method!r} is unknown: {nearest(method, WEIGH_ROWS)}")
    if method == "none":
        return
    if kind != "single":
        raise RecipeError(f"weigh_rows = {method!r} is for one class a row, and these are {kind} labels")
    if not _weighs(recipe):
        raise RecipeError(
            f"weigh_rows = {method!r} is for the head on fixed features with cross_entropy, and recipe "
            f"{recipe.name!r} has something else: use recipe 'head', or leave it out"
        )
    told = [options_of("tune", s.tune).from_unlabeled for s in recipe.stages]
    if ways := " and ".join(way for ways in told for way in ways):
        raise RecipeError(
            f"weigh_rows = {method!r} and {ways}: what a head learns from unlabeled texts is not weighed; "
            "leave one of the two out"
        )
    if not unlabeled:
        raise RecipeError(
            f"weigh_rows = {method!r} weighs rows toward the texts that are to be labeled: give them "
            "(--unlabeled CORPUS)"
        )


def _weighs(recipe: Recipe) -> bool:
    """Return whether all that a recipe learns are heads whose solver can weigh rows."""
    if recipe.features != "backbone" or recipe.alternatives or recipe.trains_body:
        return False
    solvers = [solver(stage) for stage in recipe.stages]
    return all(found is not None and takes_row_weights(found[0]) for found in solvers)


def target_rows(texts: Sequence[str], seed: int) -> list[str]:
    """Return at most `TARGET_ROWS` of the texts, drawn at random, as often as they occur.

    Texts that are labeled, too, stay among them: without these the target would seem further off than it is.
    """
    order = np.random.default_rng(derive_seed(seed, "target rows")).permutation(len(texts))
    return [texts[i] for i in np.sort(order[:TARGET_ROWS])]


def weigh(
    method: str, source: FloatArray, target: FloatArray, groups: IntArray, seed: int
) -> RowWeights | Refused:
    """Return the weights of source rows by this method, or why there are none, after a warning.

    Parameters
    ----------
    source, target : (n, d) and (m, d) features.
    groups : (n + m,) equal where texts are equal.
    """
    found = density_ratio(source, target, seed, groups) if method == "density_ratio" else kmm(source, target)
    if isinstance(found, Refused):
        log.warning("weigh_rows = %r is refused, all rows count alike: %s", method, found.reason)
    else:
        log.info(
            "weigh_rows = %r: %d labeled rows are worth %.0f of equal weight",
            *(method, len(source), found.effective_rows),
        )
    return found
