"""Several labeled sources of one label set, and a few labeled rows of the target: one linear head.

A log-linear pool of softmax heads on one frozen body is itself such a head, with the weighted sum of their
weights, so the result is a model like any other. It stands beside all rows in one pile, the best single
source and the target rows alone. All rows stand unless the target's rows speak for another by more than two
paired standard errors. They are the rows of all sources of which a head alone tells the target's classes
better than a guess: labels that mean something else there would spoil the pile.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from textlabel.corpus.check import require_rows_per_class
from textlabel.corpus.dedup import groups as duplicate_groups
from textlabel.corpus.split import folds as make_folds
from textlabel.engine.checkpoint import rows_digest
from textlabel.engine.comparison import least_by_far, tempered_losses
from textlabel.engine.head import fit_head
from textlabel.engine.predict import predict
from textlabel.engine.run import Task
from textlabel.engine.scope import MAP_FOLDS, ScopePlan
from textlabel.engine.shared_features import Store
from textlabel.errors import CorpusError
from textlabel.models.backbone import Backbone
from textlabel.models.bundle import Bundle
from textlabel.models.classifier import Classifier
from textlabel.models.heads import Linear
from textlabel.recipe import Recipe
from textlabel.trust.choice import choose
from textlabel.trust.moments import Float32
from textlabel.trust.scope import DEFAULT_OFF_MAP, Map, Scope
from textlabel.trust.set_rule import SetPlan
from textlabel.trust.source import measure_source
from textlabel.trust.source_pool import nearest_rows, pool_factors
from textlabel.types import FloatArray, IntArray

log = logging.getLogger("textlabel")

FOLDS = 5
#: unlabeled texts of the target that source rows are compared with
NEAR_ROWS = 2000
#: the candidates: the first stands unless the target's rows speak for another by far. That it is all rows was
#: settled on four corpora (recipes/benchmarks/domain_relations.py): few rows cannot tell
ALL, POOL, SINGLE, TARGET = "all_rows", "pool", "best_single_source", "target_alone"


class Candidate(NamedTuple):
    """A head, and the logits (n, k) of the target rows by heads and weights that did not see them."""

    head: Linear
    out_of_fold: FloatArray


def folds_of(groups: IntArray) -> int:
    """Return in how many folds the target's rows judge: `FOLDS`, or as many as there are different texts."""
    return min(FOLDS, len(np.unique(groups)))


def taken(losses: Mapping[str, FloatArray]) -> str:
    """Return the candidate that is taken, by the out-of-fold losses (n,) of the target's rows."""
    return least_by_far(losses)


def combined(heads: Sequence[Linear], factors: FloatArray) -> Linear:
    """Return the head whose softmax is the log-linear pool of those of ``heads``.

    Examples
    --------
    >>> one, two = (Linear(np.full((2, 1), value), np.zeros(2)) for value in (1.0, 3.0))
    >>> combined([one, two], np.array([0.5, 0.5])).weight.tolist()
    [[2.0], [2.0]]
    """
    weight = sum(v * head.weight for v, head in zip(factors, heads, strict=True))
    bias = sum(v * head.bias for v, head in zip(factors, heads, strict=True))
    return Linear(np.asarray(weight), np.asarray(bias))


def combine_sources(
    backbone: Backbone,
    sources: Mapping[str, Task],
    target: Task,
    seed: int,
    *,
    nearest: float = 1.0,
    backend: str = "torch",
    cache: Store | None = None,
) -> Bundle:
    """Return a calibrated model of a few target rows and of several sources of the same label set.

    Rows of a source whose text is among the target rows are left out: they would be judged by themselves.
    The record's ``sources`` tells weights, candidates with their loss out of fold, and what was chosen.

    Parameters
    ----------
    nearest : share of each source's rows that is used, those nearest to texts of the target, which are its
        unlabeled ones where there are any (`textlabel.trust.source_pool.nearest_rows`).

    Raises
    ------
    CorpusError : no source, another label set, a class with fewer than two distinct texts, or one without
        two rows among the nearest.
    """
    names = target.schema.names
    _check(sources, target)
    if target.unlabeled and nearest == 1:
        log.warning("unlabeled texts are not used: they tell which rows are nearest, and all rows are taken")
    classifier = Classifier(backbone, target.schema).eval()
    texts = [*target.texts, *(text for task in sources.values() for text in task.texts)]
    groups = duplicate_groups(texts)
    features = predict(classifier, texts, backend=backend, cache=cache)[1].astype(np.float64)
    y = np.concatenate([target.targets, *(task.targets for task in sources.values())])
    of = np.repeat(
        np.arange(len(sources) + 1), [len(target.texts), *(len(t.texts) for t in sources.values())]
    )
    kept = (of == 0) | ~np.isin(groups, groups[of == 0])
    features, y, of, groups = features[kept], y[kept], of[kept], groups[kept]
    for number, (name, task) in enumerate(sources.items(), start=1):
        _require_two(name, task, y[of == number], "of other texts than the target rows")
    if nearest != 1:
        near = _near(features, y, of, nearest, _target_features(classifier, target, backend, cache), sources)
        features, y, of, groups = features[near], y[near], of[near], groups[near]
    found, weights = candidates(features, y, groups, of, len(names), seed)
    truth, n = target.targets, len(target.targets)
    losses = {name: tempered_losses(one.out_of_fold, truth) for name, one in found.items()}
    chosen = taken(losses)
    logits = found[chosen].out_of_fold
    fit = choose(logits, truth, groups[:n], seed)
    plan = SetPlan()
    rule = plan.fit(fit.probabilities, truth, target.texts, names, seed)
    classifier.set_head(found[chosen].head)
    width = features.shape[1] // backbone.info.layers  # of the last layer, which comes first
    known = Map.draw(features[:n], truth, len(names), width=width)
    told = {
        "nearest": nearest,
        "pool_weights": dict(zip([*sources, TARGET], np.round(weights, 4).tolist(), strict=True)),
        "candidates": _table(losses, found, truth),
        "chosen": chosen,
        "rows": {name: int((of == s).sum()) for s, name in enumerate(sources, start=1)},
        "sha256": {name: rows_digest(task.texts, task.targets) for name, task in sources.items()},
    }
    log.info("sources: %s is taken; weights of the pool: %s", chosen, told["pool_weights"])
    useless = [name for name, weight in zip(sources, weights, strict=False) if not weight]
    if useless:
        log.info("the pool gives no weight to %s: look at what their labels mean", useless)
    record = {
        "recipe": Recipe.load("head").to_dict(),
        "seed": seed,
        "labels": {
            "train": n + int((of > 0).sum()),
            "calibration": f"out-of-fold ({folds_of(groups[:n])}) on {n} rows of the target",
            "audit": 0,
        },
        "off_map": asdict(ScopePlan()),
        "head": None,
        "calibrators": [candidate.to_json() for candidate in fit.table],
        "sources": told,
    }
    measured = measure_source(fit.calibrator.apply(logits), truth, None, None)
    scope = Scope(known, DEFAULT_OFF_MAP, _in_scope(features[:n], truth, groups[:n], logits, width, seed))
    return Bundle(classifier, fit.calibrator, scope, rule, record, measured)


def _in_scope(
    features: FloatArray, y: IntArray, groups: IntArray, logits: FloatArray, width: int, seed: int
) -> Float32:
    """Return the off-the-map scores (n,) of target rows, ascending, each by a map that lacks its fold."""
    scores = np.empty(len(y), np.float32)
    fold = make_folds(y, groups, min(MAP_FOLDS, len(np.unique(groups))), seed)
    for held in (fold == number for number in np.unique(fold)):
        known = Map.draw(features[~held], y[~held], logits.shape[1], width=width)
        scores[held] = known.score(DEFAULT_OFF_MAP, logits[held], features[held])
    return np.sort(scores)


def _target_features(
    classifier: Classifier, target: Task, backend: str, cache: Store | None
) -> FloatArray | None:
    """Return features of some unlabeled texts of the target; None: there are none."""
    texts = list(dict.fromkeys(target.unlabeled))[:NEAR_ROWS]
    return predict(classifier, texts, backend=backend, cache=cache)[1].astype(np.float64) if texts else None


def _near(
    features: FloatArray,
    y: IntArray,
    of: IntArray,
    share: float,
    unlabeled: FloatArray | None,
    sources: Mapping[str, Task],
) -> npt.NDArray[np.bool_]:
    """Return which rows (n,) are of the target, or among the rows of their source nearest to it."""
    kept: npt.NDArray[np.bool_] = of == 0
    target = features[kept] if unlabeled is None else unlabeled
    for number, (name, task) in enumerate(sources.items(), start=1):
        rows = np.flatnonzero(of == number)
        kept[rows] = nearest_rows(features[rows], target, share)
        _require_two(name, task, y[rows][kept[rows]], f"among the nearest {share:.0%}")
    return kept


def _require_two(name: str, task: Task, y: IntArray, which: str) -> None:
    """Raise a `CorpusError` where a class of a source has fewer than two rows left."""
    counts = np.bincount(y, minlength=len(task.schema.names))
    if counts.min() < 2:
        raise CorpusError(
            f"source {name!r}: of class {task.schema.names[int(counts.argmin())]!r} {counts.min()} rows are "
            f"{which}; expected two or more: give more rows, or leave this source out"
        )


def _check(sources: Mapping[str, Task], target: Task) -> None:
    if TARGET in sources:
        raise CorpusError(f"a source cannot be called {TARGET!r}, which stands for the target's own rows")
    if not sources:
        raise CorpusError("expected one labeled source or more, got none; `textlabel fit` needs no source")
    for name, task in sources.items():
        if task.schema.names != target.schema.names:
            raise CorpusError(
                f"source {name!r} has the classes {sorted(task.schema.names)}, the target rows "
                f"{sorted(target.schema.names)}; expected the same: map the labels first "
                "(`textlabel map-labels`)"
            )
    for task in (target, *sources.values()):
        require_rows_per_class(task.targets, duplicate_groups(task.texts), task.schema)


def candidates(
    features: FloatArray, y: IntArray, groups: IntArray, of: IntArray, k: int, seed: int
) -> tuple[dict[str, Candidate], FloatArray]:
    """Return the candidates, and the weights of sources and, last, of the target's own head.

    Parameters
    ----------
    features, y, groups : (n, d), (n,) classes in [0, k), and (n,) equal where texts are equal.
    of : (n,) 0 for rows of the target, which come first, s from 1 on for those of a source.
    """
    stage = Recipe.load("head").stages[0]
    target = of == 0

    def fit(rows: Any) -> Any:
        return fit_head(features[rows], y[rows], groups[rows], k, stage, seed)

    @functools.cache
    def pile(sources: tuple[int, ...]) -> Any:
        """Return the head of the target's rows and those of some sources, which are always a few sets."""
        return fit(np.isin(of, (0, *sources)))

    alone = fit(target)
    heads = [fit(of == s).head for s in range(1, int(of.max()) + 1)]
    truth = y[target]
    outputs = np.stack([*(head(features[target]) for head in heads), alone.out_of_fold])
    fold = make_folds(truth, groups[target], folds_of(groups[target]), seed)
    single, pool, every = np.zeros((3, len(truth), k))
    for held in (fold == number for number in np.unique(fold)):
        single[held] = outputs[_best(outputs[:-1, ~held], truth[~held])][held]
        pool[held] = np.tensordot(pool_factors(outputs[:, ~held], truth[~held]), outputs[:, held], axes=1)
        every[held] = pile(_telling(outputs[:-1, ~held], truth[~held])).out_of_fold[: len(truth)][held]
    factors = pool_factors(outputs, truth)
    found = {
        ALL: Candidate(pile(_telling(outputs[:-1], truth)).head, every),
        POOL: Candidate(combined([*heads, alone.head], factors), pool),
        SINGLE: Candidate(heads[_best(outputs[:-1], truth)], single),
        TARGET: Candidate(alone.head, alone.out_of_fold),
    }
    return found, factors / max(factors.sum(), 1e-12)


def _telling(outputs: FloatArray, truth: IntArray) -> tuple[int, ...]:
    """Return the numbers, from 1 on, of the sources whose heads are better than a guess among the classes.

    That keeps out labels that mean something else. Labels that mean nothing it lets in half of the time, and
    nearly always where classes are uneven and so a head of class shares beats a guess. To compare with class
    shares instead costs 0.9 points on four corpora with 32 target rows, with a standard error more 2.2.
    """
    guess = np.log(outputs.shape[2])
    losses = [float(tempered_losses(one, truth).mean()) for one in outputs]
    return tuple(number for number, loss in enumerate(losses, start=1) if loss < guess)


def _best(outputs: FloatArray, truth: IntArray) -> int:
    """Return which of (s, n, k) outputs has the least loss at its best temperature."""
    return int(np.argmin([tempered_losses(one, truth).mean() for one in outputs]))


def _table(
    losses: Mapping[str, FloatArray], found: Mapping[str, Candidate], truth: IntArray
) -> dict[str, dict[str, float]]:
    """Return out-of-fold loss, its gain over the target rows alone with a standard error, and accuracy."""
    told = {}
    for name, one in losses.items():
        gain = losses[TARGET] - one
        told[name] = {
            "nats": round(float(one.mean()), 4),
            "gain": round(float(gain.mean()), 4),
            "standard_error": round(float(gain.std(ddof=1) / np.sqrt(len(gain))), 4),
            "accuracy": round(float((found[name].out_of_fold.argmax(axis=1) == truth).mean()), 4),
        }
    return told
