"""Which recipe: those in question are tried in order of cost, on rows that they did not train on.

First the head that a recipe solves on the frozen backbone, on several readings of it: one pass of the
backbone is enough for all. The reading that does best in `recipes/benchmarks/few_labels_auto.py` comes first,
and stands unless the labeled rows speak for another by more than twice the paired standard error of the
difference. Then recipes that train the backbone, as far as the time allows: each must be better than what
stands by more than that error once, for it costs more. What is compared is the loss of each labeled row by a
model that did not train on it (negative log-likelihood at the best temperature), which tells more than
whether the label is right.

Where a classifier tells the unlabeled texts from the labeled ones, a recipe that trains the backbone on both
(`ELSEWHERE`) is tried before the others. Labeled rows cannot tell what it is worth on the other domain, so it
stands if they do not speak against it by more than twice the error, and if its models of the folds agree on
texts of the other domain at least as often, and as far beyond chance, as heads that know nothing of it: where
adapting finds classes that are not there, which ones depends on the rows it began with. The others are tried
only if it does not stand. What it gains, and what the agreement tells, is measured in
`recipes/benchmarks/domain_trained.py` and `domain_agreement.py`.

Beside them stands a floor: TF-IDF of characters, which knows nothing but the labeled rows. Where it is better
than the readings by more than that error, the backbone probably does not read the language, which is told,
and the floor is what training the backbone must beat. Where the backbone's vocabulary lacks a fifth of the
tokens, it is the floor that stands unless the rows speak against it by more than twice that error.

The winner's own figures are slightly too good, as it was chosen by them; what calibrates it is the same rows.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from textlabel.engine.comparison import agreement, least_by_far, tempered_losses
from textlabel.engine.lexical import MOST_ROWS, floor_fit
from textlabel.engine.predict import predict
from textlabel.engine.process import of_main_process
from textlabel.engine.run import Run, Task
from textlabel.errors import RecipeError
from textlabel.models.backbone import Backbone
from textlabel.models.classifier import Classifier
from textlabel.models.ngrams import without_ngrams
from textlabel.models.propagation import told_apart
from textlabel.models.vocabulary import UNREAD, unknown_share
from textlabel.recipe import Recipe, Stage, options_of
from textlabel.types import FloatArray, IntArray

log = logging.getLogger("textlabel")

#: parts of the rows that a recipe which trains the backbone leaves out in turn
FOLDS = 3
#: a step of training takes as long as so many forward passes
TRAINING_PASSES = 3.0
#: rows by which a pass is timed
TIMED_ROWS = 64
FLOOR = "TF-IDF (no transfer)"
#: what is tried first where the unlabeled texts are of another domain
ELSEWHERE = "mcc"
#: texts of that domain on which models of folds are compared
COMPARED = 500

#: makes a run of a recipe on a backbone, whose checkpoints lie in a folder of that name
Start = Callable[[Backbone, Recipe, str], Run]
#: returns what has ``logits`` (n, k) of all rows, each by a run that lacks its fold, and what these runs
#: ``said`` of some texts
ByFolds = Callable[[Run, int, Sequence[str]], Any]


def seconds_of(budget: str | float) -> float:
    """Return a time in seconds, given as a number of them or as text such as "90s", "10m" or "1h".

    Raises
    ------
    RecipeError : it is no time.

    Examples
    --------
    >>> seconds_of("10m"), seconds_of(0)
    (600.0, 0.0)
    """
    text = str(budget).strip()
    unit = {"s": 1, "m": 60, "h": 3600}.get(text[-1:], 0)
    try:
        found = float(text[:-1] if unit else text) * (unit or 1)
    except ValueError:
        found = -1.0
    if not 0 <= found < float("inf"):
        raise RecipeError(f"budget = {budget!r}: expected a time such as 90s, 10m or 1h, or 0")
    return found


@dataclass(frozen=True)
class Trial:
    """One recipe that was tried, or left out.

    Parameters
    ----------
    name : of the recipe; features come of the uppermost ``layers`` of the backbone.
    accuracy, error : share of labeled rows that models which did not train on them label rightly, and its
        standard error.
    nll : mean loss of these rows, nats, at the best temperature.
    seconds : that it took, or would take where it was left out.
    learned_from : what its head learned from beside labeled rows.
    verdict : what became of it, in words.
    """

    name: str
    layers: int
    accuracy: float | None
    error: float | None
    nll: float | None
    seconds: float
    learned_from: str = ""
    verdict: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the trial with rounded numbers."""
        return {k: round(v, 4) if isinstance(v, float) else v for k, v in asdict(self).items()}


class Choice(NamedTuple):
    """A run of the recipe that is to be used, all trials in their order, and, where it trained, its folds."""

    run: Run
    trials: list[Trial]
    folds: Any = None


def choose_recipe(
    backbone: Backbone,
    task: Task,
    recipe: Recipe,
    budget: float,
    start: Start,
    by_folds: ByFolds,
    fixed_layers: bool = False,
) -> Choice:
    """Return which recipe is to be used, and why.

    Parameters
    ----------
    recipe : its own stages are tried first, then its ``alternatives``.
    budget : seconds for all trials; the head and the floor are tried in any case.
    fixed_layers : whether features come of as many layers as the backbone gives now, and of no other number.
    """
    began = time.monotonic()
    own = replace(recipe, stages=tuple(_readable(stage, task) for stage in recipe.stages), alternatives=())
    trials: list[Trial] = []
    losses: dict[int, FloatArray] = {}
    runs: dict[int, Run] = {}
    for layers in readings(backbone, fixed_layers):
        before, number = time.monotonic(), len(trials)
        runs[number] = start(replace(backbone, info=replace(backbone.info, layers=layers)), own, "own")
        logits = _solved(runs[number], runs[0])
        losses[number] = tempered_losses(logits, task.targets)
        told = _learned_from(runs[number])
        trials.append(_trial(own.name, layers, logits, task, time.monotonic() - before, told))
    reading = _agreed(least_by_far(losses))
    floor, some, floor_losses = _floor(runs[0], task)
    number = len(trials)
    trials.append(floor)
    losses = {reading: losses[reading][some], number: floor_losses}
    # of several backbones, by the one that reads most
    unknown = min(unknown_share(one.tokenizer, one.encode(task.texts)) for one in backbone.parts)
    best = _agreed(_standing(losses, unknown)) if runs[0].noisy_labels == "keep" else reading
    if best == number:
        runs[number] = start(without_ngrams(), Recipe.load("tfidf"), "floor")
    pass_seconds = _pass_seconds(runs[reading]) if budget else 0.0
    folds = {}
    elsewhere = bool(budget) and _elsewhere(runs[reading])
    for name in ((ELSEWHERE,) if elsewhere else ()) + recipe.alternatives:
        if best in runs and runs[best].recipe.name == ELSEWHERE:
            break  # the others know nothing of the other domain
        before, number = time.monotonic(), len(trials)
        texts = _some(runs[reading].spread_texts) if name == ELSEWHERE else ()
        other = start(runs[reading].backbone, Recipe.load(name), str(number))
        layers, seconds = other.backbone.info.layers, _estimate(other, pass_seconds)
        if not budget or _agreed(before - began + seconds > budget):
            trials.append(Trial(name, layers, None, None, None, seconds, verdict="no time"))
            continue
        try:
            folds[number] = by_folds(other, FOLDS, texts)
        except RecipeError as error:
            trials.append(Trial(name, layers, None, None, None, 0.0, verdict=f"cannot be: {error}"))
            continue
        logits = folds[number].logits
        losses[number], runs[number] = tempered_losses(logits, task.targets)[some], other
        trials.append(_trial(name, layers, logits, task, time.monotonic() - before))
        if name == ELSEWHERE:
            plain = start(runs[reading].backbone, Recipe.load("head"), "plain")
            doubt = _doubt(folds[number].said, by_folds(plain, FOLDS, texts).said)
            trials[-1] = replace(trials[-1], verdict=doubt)
            if not _agreed(bool(doubt)):
                best = _agreed(least_by_far({number: losses[number], best: losses[best]}))
        else:
            best = _agreed(least_by_far({best: losses[best], number: losses[number]}, errors=1.0))
    return Choice(runs[best], _with_verdicts(trials, best, unknown), folds.get(best))


def _elsewhere(run: Run) -> bool:
    """Return whether the unlabeled texts are of another domain than the labeled rows, of one class each."""
    if not run.task.unlabeled or run.task.schema.kind != "single" or not len(run.base_unlabeled):
        return False
    return bool(_agreed(int(told_apart(run.base_features, run.base_unlabeled))))


def _some(texts: Sequence[str]) -> Sequence[str]:
    """Return at most `COMPARED` texts from all parts of a corpus, which may be sorted."""
    return texts[:: -(-len(texts) // COMPARED)]


def _doubt(adapted: IntArray, plain: IntArray) -> str:
    """Return why what adapted models say of the other domain, (folds, u), is in doubt; empty: it is not.

    They must agree at least as often as heads of the same folds do that know nothing of it, also beyond
    chance: giving all texts one label is no agreement.
    """
    ours, theirs = agreement(adapted), agreement(plain)
    if ours.share >= theirs.share and ours.kappa >= theirs.kappa:
        return ""
    return (
        f"its folds agree on {ours.share:.0%} of the other domain (kappa {ours.kappa:.2f}), plain heads on "
        f"{theirs.share:.0%} ({theirs.kappa:.2f})"
    )


def _agreed(choice: int) -> int:
    """Return process 0's choice: clocks and rounding may lead the others to another."""
    return int(of_main_process(np.array([float(choice)]))[0])


def _standing(losses: dict[int, FloatArray], unknown: float) -> int:
    """Return the number of the reading or of the floor, of which the losses are, in this order."""
    if unknown < UNREAD:
        return least_by_far(losses, errors=1.0)
    return least_by_far(dict(reversed(losses.items())))


def readings(backbone: Backbone, fixed: bool) -> list[int]:
    """Return how many layers are tried: the upper half, then the last alone.

    Several backbones are read one way only, with the layers that were asked for (else the last of each): the
    features of fewer layers are not the first columns of those of more.
    """
    if fixed or backbone.depth == 1:
        return [backbone.info.layers]
    return [backbone.depth // 2 + 1, 1]


def _readable(stage: Stage, task: Task) -> Stage:
    """Return the stage without what it reads of unlabeled texts, where there are none."""
    if task.unlabeled or stage.rows == "labeled":
        return stage
    reads = options_of("tune", stage.tune).from_unlabeled
    options = {k: v for k, v in stage.tune.options.items() if k not in reads}
    return replace(stage, tune=replace(stage.tune, options=options), rows="labeled")


def _solved(run: Run, whole: Run) -> FloatArray:
    """Return out-of-fold logits of the head of ``run``, which reads no more layers than ``whole`` does."""
    if run is whole:
        len(run.base_features)  # computed for all readings
    else:
        run.share_features(whole)
    run.fit(np.arange(len(run.task.targets)), "final")
    assert run.solved is not None
    return run.solved.out_of_fold


def _learned_from(run: Run) -> str:
    """Return what the head learned from beside labeled rows, in words."""
    assert run.solved is not None
    names, spread = run.solved.name_weight, run.solved.spread
    told = [f"names x{names:g}"] if names else []
    return ", ".join(told + ([f"corpus, spread {spread:g}"] if spread else []))


def _trial(
    name: str, layers: int, logits: FloatArray, task: Task, seconds: float, learned_from: str = ""
) -> Trial:
    right = logits.argmax(axis=1) == task.targets
    error = float(right.std() / np.sqrt(len(right)))
    nll = float(tempered_losses(logits, task.targets).mean())
    return Trial(name, layers, float(right.mean()), error, nll, seconds, learned_from)


def _floor(run: Run, task: Task) -> tuple[Trial, IntArray, FloatArray]:
    """Return the trial of the floor, the rows that it looks at, and the losses of these."""
    before = time.monotonic()
    some = np.sort(np.random.default_rng(run.seed).permutation(len(task.texts))[:MOST_ROWS])
    part = replace(task, texts=[task.texts[i] for i in some], targets=task.targets[some])
    found = floor_fit(part.texts, part.targets, run.groups[some], task.schema.outputs, run.seed)
    losses = tempered_losses(found.logits, part.targets)
    return _trial(FLOOR, 0, found.logits, part, time.monotonic() - before), some, losses


def _pass_seconds(run: Run) -> float:
    """Return about how long the backbone takes to read all labeled rows once, nothing being known before."""
    texts = run.task.texts[:TIMED_ROWS]
    classifier = Classifier(run.backbone, run.task.schema)
    predict(classifier, texts[:8], backend=run.backend)  # what is made at the first call is not of a pass
    before = time.monotonic()
    predict(classifier, texts, backend=run.backend)
    return (time.monotonic() - before) * len(run.task.texts) / len(texts)


def _estimate(run: Run, pass_seconds: float) -> float:
    """Return about how many seconds a recipe takes: its folds, and the final run.

    Objectives in which rows meet read rare classes as often as the largest.
    """
    counts = np.bincount(run.task.targets)
    uneven = len(counts) * counts.max() / counts.sum()
    epochs = sum(stage.training.epochs for stage in run.recipe.stages if stage.tune.name != "head")
    # each of the folds trains on all rows but its own, and the final run on all; with each row another text,
    # if a recipe reads those
    read = 2.0 if run.recipe.reads_unlabeled else 1.0
    return FOLDS * pass_seconds * epochs * TRAINING_PASSES * float(uneven) * read


def _with_verdicts(trials: list[Trial], best: int, unknown: float) -> list[Trial]:
    """Return the trials, each with what became of it, and warn where the backbone does not beat the floor."""
    place, floor = next((i, trial) for i, trial in enumerate(trials) if trial.name == FLOOR)
    read = min((t for t in trials[:place] if t.nll is not None), key=lambda t: float(t.nll or 0))
    assert read.nll is not None
    assert floor.nll is not None
    if unknown >= UNREAD:
        log.warning(
            "the backbone's vocabulary lacks %.0f %% of the tokens: it does not read this language%s; try "
            "another (`textlabel choose-backbone`)",
            100 * unknown,
            ", and TF-IDF of the labeled texts is taken" if best == place else "",
        )
    elif floor.nll <= read.nll:
        log.warning(
            "TF-IDF of the labeled texts alone %s the backbone (%.3f and %.3f right): the backbone may not "
            "read this language; try another (`textlabel choose-backbone`)",
            "is better than" if best == place else "does no worse than",
            floor.accuracy,
            read.accuracy,
        )

    def verdict(number: int, trial: Trial) -> str:
        if number == best:
            return "chosen"
        if trial.name == FLOOR:
            return "the floor"
        # a reading of an unread language may be better than the floor, and not by enough
        hardly = number > best or (trial.nll or 0.0) < (trials[best].nll or 0.0)
        return trial.verdict or ("not better by more than the noise" if hardly else "worse")

    return [replace(trial, verdict=verdict(i, trial)) for i, trial in enumerate(trials)]
