"""Which calibrator: the simplest that unseen rows do not speak against.

Every candidate is fitted on four fifths of the calibration rows and judged by its negative log-likelihood on
the rest, in turn, so that each row is judged by a calibrator that did not see it nor a copy of it. Of those
within one standard error of the best, or within a hundredth of a nat, the simplest wins (Breiman et al. 1984,
the one standard error rule; here with the error of the *difference*, as all candidates are judged on the same
rows). The standard error takes rows as independent and folds share rows, so it is a little too small (Bengio
and Grandvalet 2004); a tie goes to the simpler one, which is what that asks for.

Folds are plain random ones. Stratified folds would give every fold the class frequencies of the sample,
so a calibrator that learns their noise would be judged by the same noise: simulated with 128 rows
of ten classes and no bias to find, that took biases in 13 % of the draws instead of 2 %.

Few rows cannot tell many parameters, so each candidate waits for its least number of rows, and one
that labels fewer unseen rows right than the model itself is out, however good its likelihood.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from textlabel.errors import CorpusError
from textlabel.registry import load
from textlabel.trust.calibration import Calibrator, Floats, Ints, checked

#: calibrators that are tried, simplest first, and the rows that each needs
LEAST_ROWS: Mapping[str, int] = {
    "temperature": 1,
    "bias_corrected": 50,
    "vector": 200,
    "beta": 200,
    "histogram": 1001,
    "isotonic": 1001,
}
FOLDS = 5
#: candidates are compared on at most this many logits, but never on fewer than so many rows
CHOOSING_LOGITS, CHOOSING_ROWS = 100_000, 2_000

#: nats; a smaller gain is not worth parameters that another corpus need not share. On films of three classes
#: `vector` gained 0.009, and made the calibration error on products .051 where the plain softmax had .039
LEAST_GAIN = 0.01

#: probabilities below this count as it, as in `textlabel.trust.metrics.nll`
_FLOOR = 1e-12


@dataclass(frozen=True)
class Candidate:
    """How one calibrator did on rows that it did not see; numbers are None where it was not tried.

    Parameters
    ----------
    name : the plugin.
    nll : mean negative log-likelihood in nats.
    above_best : by how much that exceeds the best candidate's; below 0 only where excluded.
    standard_error : of that difference.
    accuracy : share of rows whose label is right.
    excluded : why it could not win; None: it could.
    chosen : whether it won.
    """

    name: str
    nll: float | None = None
    above_best: float | None = None
    standard_error: float | None = None
    accuracy: float | None = None
    excluded: str | None = None
    chosen: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        return asdict(self)


@dataclass(frozen=True)
class Chosen:
    """A fitted calibrator and how it was chosen.

    Parameters
    ----------
    calibrator : fitted on all rows.
    table : one entry a candidate, simplest first.
    probabilities : (n, k) of the calibration rows, each from a fit of the chosen kind that did not see
        it; what must not be biased by the fit (prediction sets) is computed from these. Where rows
        are so many that only some were compared, they come from ``calibrator`` itself.
    """

    calibrator: Calibrator
    table: tuple[Candidate, ...]
    probabilities: Floats


def choose(
    logits: npt.ArrayLike,
    labels: npt.ArrayLike,
    groups: npt.ArrayLike | None = None,
    seed: int = 0,
    candidates: Sequence[str] | None = None,
    weights: npt.ArrayLike | None = None,
) -> Chosen:
    """Return the calibrator of least cross-fitted log-loss, or a simpler one as good.

    Parameters
    ----------
    logits : (n, k) of rows that the model did not train on; never of audits.
    labels : (n,) class numbers in [0, k).
    groups : (n,) equal for rows of equal text, which share a fold; None: all differ.
    seed : decides the folds.
    candidates : calibrator plugins, simplest first; None: those of `LEAST_ROWS`. A single one is
        taken as it is, whatever the number of rows.
    weights : (n,) what each row counts, in fits and in the comparison; None: all count alike. A candidate
        still needs its number of rows, not of weights.

    Raises
    ------
    CorpusError, TrainingError : as `textlabel.trust.calibration.checked`; too few rows for any candidate.
    PluginError : a candidate is not installed.

    Examples
    --------
    >>> z = np.random.default_rng(0).normal(size=(120, 2))
    >>> found = choose(z, z.argmax(axis=1))
    >>> [c.name for c in found.table if c.chosen], found.table[-1].excluded
    (['temperature'], '120 rows, needs 1,001')
    """
    checked(logits, labels, weights)
    w = None if weights is None else np.asarray(weights, dtype=np.float64)
    z, y = np.asarray(logits, dtype=np.float64), np.asarray(labels, dtype=np.int64)
    if groups is not None and np.shape(groups) != y.shape:
        raise CorpusError(f"expected groups (n,) of {len(y)} rows, got shape {np.shape(groups)}")
    names = list(LEAST_ROWS) if candidates is None else list(candidates)
    least = {name: 1 if len(names) == 1 else LEAST_ROWS.get(name, 1) for name in names}
    excluded = {n: f"{len(y):,} rows, needs {least[n]:,}" for n in names if len(y) < least[n]}
    tried = [name for name in names if name not in excluded]
    if not tried:
        raise CorpusError(f"no calibrator to fit: {excluded}; label more rows, or allow 'temperature'")
    some = drawn(len(y), max(CHOOSING_LOGITS // z.shape[1], CHOOSING_ROWS), seed)
    group = some if groups is None else np.asarray(groups)[some]
    group = np.unique(group, return_inverse=True)[1]
    fold = _folds(group, seed)
    part = None if w is None else w[some]
    found = {name: _cross_fit(name, z[some], y[some], part, fold) for name in tried}
    table, winner = _judge(names, excluded, found, z[some], y[some], part, group)
    calibrator: Calibrator = load("calibrator", winner).fit(z, y, *_given(w))
    return Chosen(calibrator, table, found[winner] if len(some) == len(y) else calibrator.apply(z))


def drawn(n: int, most: int, seed: int) -> Ints:
    """Return all row numbers, or ``most`` of them at random, rising."""
    everything = np.arange(n)
    if n <= most:
        return everything
    some: Ints = np.sort(np.random.default_rng(seed).choice(everything, most, replace=False))
    return some


def _folds(group: Ints, seed: int) -> Ints:
    """Return fold numbers (n,), groups whole."""
    count = int(group.max()) + 1
    fold: Ints = (np.random.default_rng(seed).permutation(count) % FOLDS)[group]
    return fold


def _given(w: Floats | None) -> tuple[Floats, ...]:
    return () if w is None else (w,)


def _cross_fit(name: str, z: Floats, y: Ints, w: Floats | None, fold: Ints) -> Floats:
    """Return probabilities (n, k), each row's from a fit without its fold; of a single text, from its own."""
    plugin = load("calibrator", name)
    if (fold == fold[0]).all():
        alone: Floats = plugin.fit(z, y, *_given(w)).apply(z)
        return alone
    p = np.empty_like(z)
    for held in (fold == f for f in np.unique(fold)):
        left = None if w is None else w[~held]
        p[held] = plugin.fit(z[~held], y[~held], *_given(left)).apply(z[held])
    return p


def _judge(
    names: Sequence[str],
    excluded: Mapping[str, str],
    found: Mapping[str, Floats],
    z: Floats,
    y: Ints,
    w: Floats | None,
    group: Ints,
) -> tuple[tuple[Candidate, ...], str]:
    """Return the table and the name of the winner."""
    rows, counts = np.arange(len(y)), 1.0 if w is None else w / w.mean()
    losses = {name: -np.log(np.maximum(p[rows, y], _FLOOR)) * counts for name, p in found.items()}
    accuracy = {name: float(np.mean((p.argmax(axis=1) == y) * counts)) for name, p in found.items()}
    own = float(np.mean((z.argmax(axis=1) == y) * counts))
    worse = {
        name: f"labels fewer rows right: {accuracy[name]:.4f}, the model itself {own:.4f}"
        for name in found
        if accuracy[name] < own and len(found) > 1
    }
    able = [name for name in found if name not in worse] or list(found)
    best = min(able, key=lambda name: float(losses[name].mean()))
    gaps = {name: losses[name] - losses[best] for name in found}
    errors = {name: _standard_error(gap, group) for name, gap in gaps.items()}
    winner = next(name for name in able if gaps[name].mean() <= max(errors[name], LEAST_GAIN))
    table = [
        Candidate(
            name,
            float(losses[name].mean()),
            float(gaps[name].mean()),
            errors[name],
            accuracy[name],
            worse.get(name),
            name == winner,
        )
        if name in found
        else Candidate(name, excluded=excluded[name])
        for name in names
    ]
    return tuple(table), winner


def _standard_error(gap: Floats, group: Ints) -> float:
    """Return the standard error of the mean of ``gap`` (n,), rows of a group taken as one observation."""
    sums = np.bincount(group, weights=gap - gap.mean())
    several = len(sums) / max(len(sums) - 1, 1)
    return float(np.sqrt(several * np.sum(sums**2)) / len(gap))
