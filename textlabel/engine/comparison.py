"""Which of several models is better, by the losses of rows that they did not train on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from textlabel.ask.stopping.kappa import kappa
from textlabel.trust.calibration import softmax
from textlabel.types import FloatArray

Key = TypeVar("Key")


def tempered_losses(logits: FloatArray, targets: npt.NDArray[Any]) -> FloatArray:
    """Return losses (n,) at the temperature that suits the rows best: how sure a head is does not count."""
    from scipy.optimize import minimize_scalar

    def losses(log_scale: float) -> FloatArray:
        found = softmax(logits * np.exp(log_scale))[np.arange(len(targets)), targets]
        return np.asarray(-np.log(np.maximum(found, 1e-12)))

    best = minimize_scalar(lambda s: float(losses(s).mean()), bounds=(-5, 5), method="bounded")
    return losses(float(best.x))


class Agreement(NamedTuple):
    """How often two models give a text the same label, and that beyond chance (Cohen's kappa)."""

    share: float
    kappa: float


def agreement(said: npt.NDArray[Any]) -> Agreement:
    """Return how far models agree, mean over their pairs.

    Where no label is known, models that differ in their labeled rows alone tell by it how far what they have
    learned reaches (Jiang et al. 2022, arXiv 2106.13799; it takes confidence to be calibrated there). Beyond
    chance, models agree on nothing where all of them give one and the same label to all texts.

    Parameters
    ----------
    said : (models, u) classes, of two models or more.

    Examples
    --------
    >>> agreement(np.array([[0, 1, 1, 0], [0, 1, 0, 0]]))
    Agreement(share=0.75, kappa=0.5)
    >>> agreement(np.array([[0, 0], [0, 0]]))
    Agreement(share=1.0, kappa=0.0)
    """
    pairs = [(said[i], said[j]) for i in range(len(said)) for j in range(i)]
    share = float(np.mean([np.mean(one == other) for one, other in pairs]))
    return Agreement(share, float(np.mean([_beyond_chance(one, other) for one, other in pairs])))


def _beyond_chance(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> float:
    return kappa(one, other) if len(np.unique([one, other])) > 1 else 0.0


def least_by_far(losses: Mapping[Key, FloatArray], errors: float = 2.0) -> Key:
    """Return the first key, or that of losses (n,) lower than its by so many paired standard errors.

    Examples
    --------
    >>> least_by_far({0.5: np.array([1.0, 2.0, 3.0]), 0.0: np.array([0.9, 1.9, 2.8])})
    0.0
    >>> least_by_far({0.5: np.array([1.0, 2.0, 3.0]), 0.0: np.array([2.0, 0.0, 3.9])})
    0.5
    """
    first, *others = losses
    gains: dict[Key, float] = {first: 0.0}
    for key in others:
        gain = losses[first] - losses[key]
        error = gain.std(ddof=1) / np.sqrt(len(gain)) if len(gain) > 1 else np.inf
        if gain.mean() > errors * error:
            gains[key] = float(gain.mean())
    return max(gains, key=gains.__getitem__)
