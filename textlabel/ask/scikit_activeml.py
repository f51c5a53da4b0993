"""Strategies of scikit-activeml (Kottke et al. 2021, doi 10.20944/preprints202103.0194.v1), as ones of ours.

``skactiveml:NAME`` is any of its pool-based query strategies for classes that asks no more than the rows and
a model: `CoreSet`, `Badge`, `ProbabilisticAL` and so on, each with its own defaults. Where it asks a model,
that is logistic regression on the features; for `ProbabilisticAL`, which counts labels that are near, it is a
kernel classifier; a committee has five of bootstrapped rows. At most `MOST_ROWS` random open rows are looked
at: some of these strategies take time that grows with their square.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from textlabel.ask import Ints, Pool, some_of
from textlabel.errors import RecipeError, nearest

PREFIX = "skactiveml:"
MOST_ROWS = 2000
#: what a query may ask for, by the name of its argument, beside rows and labels
_MODELS = ("clf", "ensemble", "estimator", "discriminator")
#: strategies that need a model of their own, wrap others, know two classes only, or fit a model for each row
#: and each label that it may have
_LEFT_OUT = (
    "EpistemicUncertaintySampling",
    *("FourDs", "DropQuery", "ContrastiveAL", "SubSamplingWrapper", "ParallelUtilityEstimationWrapper"),
    *("SingleAnnotatorWrapper", "IntervalEstimationThreshold", "CostEmbeddingAL"),
    *("ExpectedErrorReduction", "MonteCarloEER", "ValueOfInformationEER"),
)


@dataclass(frozen=True)
class Wrapped:
    """A query strategy with the methods of a plugin."""

    name: str
    query: Any

    @property
    def NEEDS(self) -> tuple[str, ...]:  # noqa: N802 - as modules have it
        """A model is only of use where some rows have labels."""
        return ("probabilities",) if self._model else ()

    def propose(self, pool: Pool, count: int, rng: np.random.Generator) -> Ints:
        """Return rows, the most wanted first."""
        rows = np.concatenate([pool.labeled, some_of(pool.open(), max(MOST_ROWS, count), rng)])
        x = np.asarray(pool.features[rows], np.float64)
        y = np.where(pool.labels[rows] >= 0, pool.labels[rows], np.nan).astype(np.float64)
        seed = int(rng.integers(2**31))
        given = {"missing_label": np.nan, "random_state": seed, "classes": range(pool.classes)}
        given |= {"n_classes": pool.classes, "cluster_algo_dict": {"random_state": seed, "n_init": 1}}
        takes = inspect.signature(self.query).parameters
        query = self.query(**{name: value for name, value in given.items() if name in takes})
        model = {self._model: self._made(pool.classes, seed)} if self._model else {}
        candidates = np.arange(len(pool.labeled), len(rows))
        found = query.query(x, y, candidates=candidates, batch_size=min(count, len(candidates)), **model)
        return np.asarray(rows[found], np.int64)

    @property
    def _model(self) -> str:
        takes = _asks(self.query)
        return next((name for name in _MODELS if name in takes), "")

    def _made(self, classes: int, seed: int) -> Any:
        from skactiveml.classifier import ParzenWindowClassifier, SklearnClassifier
        from sklearn.ensemble import BaggingClassifier
        from sklearn.linear_model import LogisticRegression

        if self.name == "ProbabilisticAL":
            return ParzenWindowClassifier(classes=range(classes), random_state=seed)
        model: Any = LogisticRegression(max_iter=1000)
        if self._model == "ensemble":
            model = BaggingClassifier(model, 5, random_state=seed)
        return SklearnClassifier(model, classes=range(classes), random_state=seed)


def wrapped(name: str) -> Wrapped:
    """Return a strategy of scikit-activeml by its name.

    Raises
    ------
    RecipeError : scikit-activeml is not installed, or has no such strategy that can be used here.
    """
    known = _known()
    if name not in known:
        raise RecipeError(f"strategy {PREFIX + name!r}: {nearest(name, sorted(known))}")
    return Wrapped(name, known[name])


def _known() -> dict[str, Any]:
    """Return the strategies that ask no more than rows, labels and a model."""
    try:
        from skactiveml import pool
        from skactiveml.base import SingleAnnotatorPoolQueryStrategy
    except ImportError:
        raise RecipeError(
            f"strategies {PREFIX}NAME are those of scikit-activeml, which is not installed: "
            "pip install -e '.[skactiveml]'"
        ) from None
    found: dict[str, Any] = {}
    for name in pool.__all__:
        query: Any = getattr(pool, name)
        if not (inspect.isclass(query) and issubclass(query, SingleAnnotatorPoolQueryStrategy)):
            continue
        if name not in _LEFT_OUT and "reg" not in _asks(query):
            found[name] = query
    return found


def _asks(query: Any) -> Collection[str]:
    """Return the names of what a strategy is given when it is asked."""
    return inspect.signature(query.query).parameters
