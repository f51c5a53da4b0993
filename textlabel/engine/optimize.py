"""Which backend labels fastest here, how near its labels are, and how its numbers become the reference's.

Every backend that runs here is made ready on the user's own texts, and its numbers are compared with those
of the reference (torch, float32). What corrects them is fitted on one half of the texts and measured on the
other.
Without labels nothing can be said of accuracy, only of agreement: a backend is kept if nearly no label
differs from the reference's, once the rows whose two best classes are close are computed again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from textlabel import registry
from textlabel.engine.predict import Featurizer, Float32, head_logits
from textlabel.engine.predictor import SMALLEST, lead
from textlabel.engine.process import processor
from textlabel.errors import CorpusError
from textlabel.models.backend_fit import REFERENCE, BackendFit
from textlabel.models.bundle import Bundle
from textlabel.models.student import Student
from textlabel.types import IntArray

log = logging.getLogger("textlabel")

#: distinct texts that are compared at most and at least, and of those how many are timed, how often
MOST, LEAST, TIMED, ROUNDS = 1000, 100, 200, 3
#: a backend whose labels differ more often than this from the reference's is not kept: on the whole, after
#: the close rows were computed again, and without that where the reference is sure. One label may always
#: differ, which among few texts tells nothing of so rare a thing
AGREE, AGREE_WHERE_SURE, SURE = 0.998, 0.997, 0.6
#: nor one whose probabilities differ more than this on average, or scores by more of their spread
MEAN_DIFFERENCE, SCORE_DIFFERENCE = 0.025, 0.05
#: share of all labels that may still differ, as expected, once the reference computed the rows in the band
#: again; where another backend does so first, its own band may let through as many once more
LEFT = 0.0002
#: share of all leads that are taken to be spread evenly from 0 on
SPREAD = 0.05
#: characters told of why a backend failed
MESSAGE = 160

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Trial:
    """What became of one backend.

    Parameters
    ----------
    backend : plugin.
    texts_per_second : with tokenization, and with the rows that are computed again; None if it was not tried.
    fit : what to keep, or None.
    why : why it is not kept, "" if it is.
    student : what to keep of a cascade, or None.
    """

    backend: str
    texts_per_second: float | None
    fit: BackendFit | None
    why: str = ""
    student: Student | None = None


@dataclass(frozen=True)
class _Seen:
    """What one backend says of the sample."""

    logits: Float32
    ood: Float32
    distances: Float32 | None = None


def optimize(bundle: Bundle, texts: Sequence[str], workspace: Path, seed: int = 0) -> list[Trial]:
    """Return what became of every backend, the reference first, then the fastest first.

    Parameters
    ----------
    texts : unlabeled texts of the kind that will be labeled; at most `MOST` different ones are looked at.
    workspace : folder in which backends leave the files they need.

    Raises
    ------
    CorpusError : fewer than `LEAST` different texts.
    """
    sample = _sample(texts, seed)
    reference = Featurizer(bundle.classifier, REFERENCE)
    expected = _see(bundle, reference, sample)
    ready: dict[str, Featurizer] = {REFERENCE: reference}
    refused: list[Trial] = []
    fits: dict[str, BackendFit] = {}
    found: dict[str, _Seen] = {}
    for name in registry.plugins("backend"):
        if name == REFERENCE:
            continue
        try:
            ready[name], fits[name], found[name] = _compared(bundle, name, sample, expected, workspace / name)
        except _RefusedError as reason:
            refused.append(Trial(name, None, None, str(reason)))
    speeds = _speeds(ready, sample[:TIMED])
    trials = [_judged(bundle, fits[name], speeds) for name in fits]
    if bundle.calibrator is not None:
        trials = _together(bundle, trials, expected, found)
    best_first = sorted(trials, key=lambda trial: -(trial.texts_per_second or 0))
    return [Trial(REFERENCE, speeds[REFERENCE], BackendFit(REFERENCE)), *best_first, *refused]


class _RefusedError(Exception):
    """A backend that does not run here, or not with this model."""


def _sample(texts: Sequence[str], seed: int) -> list[str]:
    different = list(dict.fromkeys(texts))
    if len(different) < LEAST:
        raise CorpusError(
            f"expected at least {LEAST} different texts to compare backends on, got {len(different)}: give "
            "more of the corpus that is to be labeled"
        )
    order = np.random.default_rng(seed).permutation(len(different))[:MOST]
    return [different[i] for i in order]


def _compared(
    bundle: Bundle, name: str, sample: list[str], expected: _Seen, folder: Path
) -> tuple[Featurizer, BackendFit, _Seen]:
    try:
        module = registry.load("backend", name)
        prepare: Callable[..., None] | None = getattr(module, "prepare", None)
        to_prepare = getattr(module, "lacks_to_prepare", str)
        if lacks := module.lacks() or to_prepare():
            raise _RefusedError(f"needs {lacks}")
        if prepare:
            log.info("optimize: making %s ready", name)
            prepare(bundle.classifier, sample, folder)
        files = folder if prepare else None
        featurizer = Featurizer(bundle.classifier, name, folder=files)
        log.info("optimize: comparing %s", name)
        found = _see(bundle, featurizer, sample)
        return featurizer, replace(fit_backend(bundle, name, expected, found), folder=files), found
    except _RefusedError:
        raise
    except Exception as error:  # exporters raise whatever they like for a family they do not know
        said = next(iter(str(error).splitlines()), "")[:MESSAGE]
        raise _RefusedError(f"does not take this model ({type(error).__name__}: {said})") from error


def _see(bundle: Bundle, featurizer: Featurizer, sample: list[str]) -> _Seen:
    features = featurizer.features(sample)
    logits = head_logits(bundle.classifier, features)
    return _Seen(logits, bundle.scope.score(logits, features), bundle.against_source(features)[1])


def _speeds(ready: dict[str, Featurizer], sample: list[str]) -> dict[str, float]:
    """Return texts/s of each, the median of rounds in which all take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in ready}
    for _ in range(ROUNDS):
        for name, featurizer in ready.items():
            start = time.perf_counter()
            featurizer.features(sample)
            seconds[name].append(time.perf_counter() - start)
    return {name: len(sample) / float(np.median(times)) for name, times in seconds.items()}


def fit_backend(bundle: Bundle, name: str, expected: Any, found: Any) -> BackendFit:
    """Return the corrections fitted on the even rows, with what the odd rows say of them.

    Parameters
    ----------
    expected, found : ``logits`` (n, k), ``ood`` (n,) and ``distances``, (n,) or None, of the reference and of
        the backend.
    """
    fit, measure = slice(0, None, 2), slice(1, None, 2)
    ood_scale = float(np.std(expected.ood[fit]) / max(np.std(found.ood[fit]), 1e-12))
    ood_shift = float(np.mean(expected.ood[fit]) - ood_scale * np.mean(found.ood[fit]))
    if bundle.calibrator is None:
        off = np.abs(found.logits[measure] - expected.logits[measure])
        spread = max(float(np.std(expected.logits[measure])), 1e-12)
        measured: dict[str, Any] = {"difference": round(float(np.quantile(off, 0.99)) / spread, 4)}
        return BackendFit(name, 1.0, ood_scale, ood_shift, 0.0, measured)
    apply = bundle.calibrator.apply
    right = apply(expected.logits.astype(np.float64))
    scale = logit_scale(apply, found.logits[fit].astype(np.float64), right[fit])
    said = apply(scale * found.logits.astype(np.float64))
    band = fit_band(lead(said[fit]), _errors(right[fit], said[fit]))
    near = lead(said[measure]) < band
    same = right[measure].argmax(axis=1) == said[measure].argmax(axis=1)
    sure = right[measure].max(axis=1) > SURE
    measured = {
        "texts": len(same),
        "agreement": round(float(same.mean()), 4),
        "texts_where_sure": int(sure.sum()),
        "agreement_where_sure": round(float(same[sure].mean()), 4) if sure.any() else None,
        "agreement_with_band": round(float((same | near).mean()), 4),
        "computed_again": round(float(near.mean()), 4),
        "mean_difference": round(float(np.abs(said[measure] - right[measure]).max(axis=1).mean()), 5),
    }
    distance_scale = _distance_scale(expected.distances, found.distances, fit)
    return BackendFit(name, scale, ood_scale, ood_shift, band, measured, distance_scale=distance_scale)


def _distance_scale(expected: Float32 | None, found: Float32 | None, rows: slice) -> float:
    """Return the factor that brings the mean of the distances to the reference's, 1 where there are none."""
    if expected is None or found is None:
        return 1.0
    return float(np.mean(expected[rows])) / max(float(np.mean(found[rows])), 1e-12)


def logit_scale(apply: Callable[[Floats], Floats], logits: Floats, expected: Floats) -> float:
    """Return the factor on logits at which calibrated probabilities come nearest to the expected, in nats.

    Parameters
    ----------
    apply : the calibrator.
    logits, expected : (n, k) of the backend, and probabilities of the reference.
    """
    from scipy.optimize import minimize_scalar

    def loss(scale: float) -> float:
        return float(-np.mean((expected * np.log(np.clip(apply(scale * logits), 1e-12, 1))).sum(axis=1)))

    found = minimize_scalar(loss, bounds=(0.5, 2.0), method="bounded", options={"xatol": 1e-4})
    return float(found.x)


def fit_band(leads: Floats, errors: Floats) -> float:
    """Return the lead from which on at most `LEFT` of all labels are expected to differ, in nats.

    A label differs where its lead is overstated by more than itself. Leads and errors are taken to be
    independent, so each lead is held against the errors of all rows; and an error is as likely to overstate a
    lead as to understate it. Of few rows hardly one has a lead as small as the errors of a good backend, so
    the smallest leads are spread evenly: next to 0 leads of either sign are equally dense.

    Parameters
    ----------
    leads, errors : (n,) found leads of the best class over the next, and how far off each is.

    Examples
    --------
    >>> fit_band(np.arange(1000) / 1000, np.full(1000, 0.02))
    0.0205
    >>> fit_band(np.arange(1000) / 1000, np.zeros(1000))
    0.0
    """
    rising, sizes = np.sort(leads), np.sort(errors)
    few = max(round(SPREAD * len(rising)), 1)
    rising[:few] = (np.arange(few) + 0.5) / few * rising[few]
    turned = 0.5 * (1 - np.searchsorted(sizes, rising, side="right") / len(sizes))
    outside = turned[::-1].cumsum()[::-1] / len(rising)  # with the band ending just below each lead
    enough = np.flatnonzero(outside <= LEFT)
    if not len(enough):
        return float(rising[-1]) + 1  # of these rows, none is outside
    return float(rising[enough[0]]) if enough[0] else 0.0


def _errors(expected: Floats, found: Floats) -> Floats:
    """Return how far off the lead of each row's found label is, (n,); that turns labels."""
    rows, best = np.arange(len(found)), found.argmax(axis=1)
    logs = np.log(np.clip(expected, SMALLEST, 1))
    others = logs.copy()
    others[rows, best] = -np.inf
    off: Floats = lead(found) - (logs[rows, best] - others.max(axis=1))
    return np.abs(off)


def _judged(bundle: Bundle, fit: BackendFit, speeds: dict[str, float]) -> Trial:
    """Return whether a backend is kept, and how fast it is with the rows that are computed again."""
    alone, measured = speeds[fit.backend], dict(fit.measured)
    speed = 1 / (1 / alone + measured.get("computed_again", 0.0) / speeds[REFERENCE])
    measured |= {
        "texts_per_second": round(speed, 1),
        "texts_per_second_alone": round(alone, 1),
        "reference_texts_per_second": round(speeds[REFERENCE], 1),
        "processor": processor(),
    }
    why = too_far(measured) or ("" if speed > speeds[REFERENCE] else "slower than the reference")
    return Trial(fit.backend, speed, None if why else replace(fit, measured=measured), why)


def _together(bundle: Bundle, trials: list[Trial], expected: Any, found: Mapping[str, Any]) -> list[Trial]:
    """Return trials in which each backend kept asks another one about close rows, if that is best.

    Parameters
    ----------
    expected, found : logits of the reference, and of each backend.
    """
    odd = slice(1, None, 2)
    right = _labels(bundle, BackendFit(REFERENCE), expected.logits[odd])[0]
    said = {
        trial.backend: _labels(bundle, trial.fit, found[trial.backend].logits[odd])
        for trial in trials
        if trial.fit
    }
    finer = [
        trial.fit for trial in trials if trial.fit and registry.load("backend", trial.backend).BATCH_INVARIANT
    ]

    def best(trial: Trial) -> Trial:
        if trial.fit is None:
            return trial
        ways = [trial, *(_asking(trial, fit, right, said) for fit in finer if fit.band < trial.fit.band)]
        return max((way for way in ways if way.fit), key=lambda way: way.texts_per_second or 0)

    return [best(trial) for trial in trials]


def _asking(
    trial: Trial, finer: BackendFit, right: IntArray, said: Mapping[str, tuple[IntArray, Bools]]
) -> Trial:
    """Return the trial of a backend that asks a finer one about close rows, refused where labels differ.

    Parameters
    ----------
    right : labels of the reference.
    said : labels of each backend, and which rows it leaves close.
    """
    assert trial.fit is not None
    (first, near), (second, still) = said[trial.backend], said[finer.backend]
    still = near & still
    agreement = float(np.mean(still | (np.where(near, second, first) == right)))
    known = trial.fit.measured
    seconds = (
        1 / known["texts_per_second_alone"]
        + near.mean() / finer.measured["texts_per_second_alone"]
        + still.mean() / known["reference_texts_per_second"]
    )
    measured = {
        **known,
        "agreement_with_band": round(agreement, 4),
        "computed_again_by_reference": round(float(still.mean()), 4),
        "texts_per_second": round(1 / seconds, 1),
    }
    fit = replace(trial.fit, again_by=finer.backend, measured=measured)
    return replace(trial, texts_per_second=1 / seconds, fit=None if too_far(measured) else fit)


def _labels(bundle: Bundle, fit: BackendFit, logits: Float32) -> tuple[IntArray, Bools]:
    """Return the labels (n,) that a backend gives, and which rows (n,) it leaves close."""
    assert bundle.calibrator is not None
    said = bundle.calibrator.apply(fit.logit_scale * logits.astype(np.float64))
    return said.argmax(axis=1), lead(said) < fit.band


def too_far(measured: dict[str, Any]) -> str:
    """Return why a backend's labels are too far from the reference's, "" if they are not.

    Examples
    --------
    >>> too_far({"difference": 0.01})
    ''
    >>> too_far({"difference": 0.2})
    'scores differ by 0.2 of their spread, more than 0.05'
    """
    if "difference" in measured:
        off: float = measured["difference"]
        return f"scores differ by {off} of their spread, more than {SCORE_DIFFERENCE}" * (
            off > SCORE_DIFFERENCE
        )
    banded, sure = measured["agreement_with_band"], measured["agreement_where_sure"]
    checks = (
        (_too_many(banded, measured["texts"], AGREE), f"labels agree in {banded:.1%}"),
        (
            sure is not None and _too_many(sure, measured["texts_where_sure"], AGREE_WHERE_SURE),
            f"labels agree in {sure or 0:.1%} where it is sure",
        ),
        (
            measured["mean_difference"] > MEAN_DIFFERENCE,
            f"probabilities differ by {measured['mean_difference']}",
        ),
    )
    return next((f"{text}, too far from the reference" for wrong, text in checks if wrong), "")


def _too_many(agreement: float, texts: int, least: float) -> bool:
    """Return whether labels agree too seldom; one that differs never tells, among however few."""
    return round((1 - agreement) * texts) > max(1.0, (1 - least) * texts)
