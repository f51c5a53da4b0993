"""Which backbone suits labeled rows: heads on the features of each, judged on rows that they did not see."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from textlabel.choose.rows import mean_and_error, sample
from textlabel.errors import BackboneError, CorpusError, RecipeError, nearest
from textlabel.progress import bar
from textlabel.recipe import Recipe
from textlabel.trust.calibration import softmax
from textlabel.trust.transferability import h_score, logme
from textlabel.types import FloatArray, IntArray

if TYPE_CHECKING:
    from textlabel.engine.run import Task
    from textlabel.models.classifier import Classifier

Floats = npt.NDArray[np.float64]

#: rows looked at by default: the standard error of an accuracy is then at most 0.016
ROWS = 1000
#: with fewer rows the standard error of an accuracy is up to 0.17
LEAST_ROWS = 10
#: what decides between candidates that are within the noise
PREFER = ("accuracy", "speed")
#: texts that are timed where the feature cache knew the others
TIMED = 64
#: a backbone is as fast as another up to this factor: less is the noise of a short measurement
AS_FAST = 1.25


@dataclass(frozen=True)
class BackboneScore:
    """How one backbone did.

    Parameters
    ----------
    backbone : as it was named.
    accuracy, accuracy_error : of the head recipe on rows out of fold, in [0, 1], and its standard error.
    nll, nll_error : negative log-likelihood of the labels there, nats a row, before calibration.
    behind, behind_error : accuracy that the most accurate has more, paired row by row, with standard error.
    logme, h_score : `textlabel.trust.transferability`, of the features of all rows.
    texts_per_second : of the pass that made the features, on this machine.
    megabytes : of the weights as they lie on the disk, 10^6 bytes.
    """

    backbone: str
    accuracy: float
    accuracy_error: float
    nll: float
    nll_error: float
    behind: float
    behind_error: float
    logme: float
    h_score: float
    texts_per_second: float
    megabytes: float


@dataclass(frozen=True)
class BackboneChoice:
    """The candidates as they were named, the one to take, and why."""

    rows: tuple[BackboneScore, ...]
    best: str
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Return what `textlabel choose-backbone --json` prints."""
        return {"best": self.best, "reason": self.reason, "backbones": [asdict(row) for row in self.rows]}


@dataclass(frozen=True)
class Judged:
    """A candidate, row by row: whether it was right and its loss, (n,), and what `BackboneScore` has."""

    backbone: str
    right: npt.NDArray[np.bool_]
    loss: Floats
    logme: float
    h_score: float
    texts_per_second: float
    megabytes: float


def choose_backbone(
    train: Any,
    candidates: Sequence[str] = (),
    *,
    text_column: str | Sequence[str] = "text",
    label_column: str = "label",
    on_bad_row: str = "fail",
    max_rows: int = ROWS,
    prefer: str = PREFER[0],
    cache: bool = True,
    seed: int = 0,
) -> BackboneChoice:
    """Return which backbone to take for labeled rows, and how each candidate did.

    Each encodes the rows once, and the recipe `head` is fitted on the features by cross-validation. The
    choice is among the candidates whose accuracy out of fold is within one standard error of the best one's,
    paired row by row. Of these the highest LogME is taken, at a tie the highest H-score; or the fastest,
    where speed is preferred, and then LogME decides among equally fast ones. With few labels that standard
    error is wide, and the fastest is taken for mere lack of evidence against it.

    Measured with the five registered backbones on eight sets, 8 and 64 labels a class, as accuracy lost to
    the best of them: 1.0 and 1.4 points by this rule, 8.2 and 2.2 where speed is preferred, 1.9 and 2.2 with
    the default backbone everywhere (recipes/benchmarks/results/few_labels_choose.json).

    Parameters
    ----------
    train : labeled rows: a csv, tsv, jsonl or parquet file, a folder or glob of them, a saved dataset, or a
        Hub dataset id.
    candidates : registered names (`textlabel backbones`), local folders or Hub ids; those that are not on
        this machine are fetched. By default the registered ones that are.
    text_column : column that holds the text; several are joined.
    label_column : column that holds the label, a class.
    on_bad_row : fail stops at the first unusable row, skip leaves such rows out.
    max_rows : random rows that are looked at, of rare classes more than their share.
    prefer : what decides between candidates that are within the noise: accuracy (by LogME) or speed.
    cache : look features up in the feature cache (`textlabel cache`), and keep them there.
    seed : decides rows and folds.

    Raises
    ------
    CorpusError : rows that cannot be read, of one class only, or fewer than 10 that can be held out.
    BackboneError : a candidate that cannot be had, or none on this machine.
    RecipeError : ``prefer`` is neither of the two.
    """
    from textlabel.corpus.dedup import groups
    from textlabel.engine.feature_cache import cache_folder
    from textlabel.engine.task import load_task
    from textlabel.models.backbone import load_backbone
    from textlabel.models.classifier import Classifier

    if prefer not in PREFER:
        raise RecipeError(f"prefer = {prefer!r} is unknown: {nearest(prefer, PREFER)}")
    names = _candidates(candidates)
    columns: dict[str, Any] = {"text_column": text_column, "label_column": label_column}
    task, _ = load_task(train, None, None, "single", on_bad_row=on_bad_row, id_column=False, **columns)
    task = sample(task, max_rows, seed)
    same, folder = groups(task.texts), cache_folder(cache)
    judged = []
    for name in names:
        classifier = Classifier(load_backbone(name), task.schema).eval()
        features, speed = _encode(classifier, task.texts, folder)
        right, loss = _out_of_fold(features, task, same, seed)
        scores = logme(features, task.targets), h_score(features, task.targets)
        judged.append(
            Judged(
                name, right, loss, *scores, speed, sum(_megabytes(part.folder) for part in classifier.parts)
            )
        )
    return decide(judged, prefer)


def decide(judged: Sequence[Judged], prefer: str = PREFER[0]) -> BackboneChoice:
    """Return the choice among candidates that were judged on the same rows, as `choose_backbone` makes it.

    Examples
    --------
    >>> right, loss = np.arange(50) > 4, np.zeros(50)
    >>> slow = Judged("slow", right, loss, 0.1, 0.9, texts_per_second=40, megabytes=440)
    >>> fast = Judged("fast", right, loss, 0.0, 0.8, texts_per_second=9000, megabytes=30)
    >>> decide([slow, fast]).best, decide([slow, fast], prefer="speed").best
    ('slow', 'fast')
    """
    top = max(judged, key=lambda one: (one.right.mean(), one.logme, one.h_score))
    rows = tuple(_score(one, top) for one in judged)
    near = [row for row in rows if row.behind <= row.behind_error or row.backbone == top.backbone]
    fastest = max(row.texts_per_second for row in near)
    fair = [row for row in near if prefer == PREFER[0] or AS_FAST * row.texts_per_second >= fastest]
    best = max(fair, key=lambda row: (row.logme, row.h_score))
    return BackboneChoice(rows, best.backbone, _reason(best, top, len(near), len(fair), prefer))


def _reason(best: BackboneScore, top: Judged, near: int, fair: int, prefer: str) -> str:
    """Return a sentence; ``fair`` of the ``near`` candidates within the noise were left to LogME."""
    most = f"{top.backbone} ({top.right.mean():.3f})"
    if near == 1:
        return f"{most} is the most accurate, and no other is within one standard error of it"
    if best.backbone == top.backbone:
        which = f"is the most accurate ({top.right.mean():.3f}), and of the {near} within one standard error"
    else:
        which = f"is, of the {near} within one standard error of the most accurate, {most},"
    if prefer == PREFER[0]:
        return f"{best.backbone} {which} the one that LogME prefers"
    tied = f"; {fair} are about as fast, and LogME prefers it among them" if fair > 1 else ""
    return f"{best.backbone} {which} the fastest{tied}"


def _score(one: Judged, top: Judged) -> BackboneScore:
    lost = top.right.astype(np.float64) - one.right
    return BackboneScore(
        one.backbone,
        *mean_and_error(one.right),
        *mean_and_error(one.loss),
        *mean_and_error(lost),
        one.logme,
        one.h_score,
        one.texts_per_second,
        one.megabytes,
    )


def _candidates(names: Sequence[str]) -> list[str]:
    """Return the names without repetition, each of a backbone that is on this machine by now."""
    from textlabel.models import catalog, fetch
    from textlabel.models.backbone import locate, part_names

    known = list(dict.fromkeys(names)) or [name for name in catalog.entries() if fetch.present(name)]
    if not known:
        raise BackboneError(
            "no registered backbone is on this machine; name candidates, which are then fetched, or run "
            "`textlabel backbones get NAME`"
        )
    for name in known:
        for part in part_names(name):
            locate(part)  # an unknown name is an error before anything is computed
    return known


def _encode(classifier: Classifier, texts: Sequence[str], folder: Path | None) -> tuple[FloatArray, float]:
    """Return features (n, d) and texts/s; of a sample where most came from the cache."""
    from textlabel.engine.predict import featurizer_of

    bare = featurizer_of(classifier)
    bare.features(texts[:1])  # the first pass of a body is slow
    featurizer = featurizer_of(classifier, cache=folder)
    start = time.perf_counter()
    with bar(f"encode with {classifier.info.public_name}") as update:
        features = featurizer.features(texts, update).astype(np.float64)
    seconds, computed = time.perf_counter() - start, len(texts) - featurizer.from_cache
    featurizer.publish()
    if featurizer.from_cache:
        start = time.perf_counter()
        computed = len(bare.features(texts[:TIMED]))
        seconds = time.perf_counter() - start
    return features, computed / seconds


def _out_of_fold(
    features: FloatArray, task: Task, same: IntArray, seed: int
) -> tuple[npt.NDArray[np.bool_], Floats]:
    """Return for each row that can be held out whether the head without it is right, and its loss (nats)."""
    from textlabel.corpus.split import splittable
    from textlabel.engine.head import fit_head

    judged = splittable(task.targets, same)
    if judged.sum() < LEAST_ROWS:
        raise CorpusError(
            f"{judged.sum()} rows are of a class with two distinct texts, so that one can be held out; "
            f"expected {LEAST_ROWS} or more to compare backbones: label more rows"
        )
    stage = Recipe.load("head").stages[0]
    fitted = fit_head(features, task.targets, same, task.schema.outputs, stage, seed)
    p, y = softmax(fitted.out_of_fold[judged]), task.targets[judged]
    return p.argmax(axis=1) == y, -np.log(np.maximum(p[np.arange(len(y)), y], 1e-12))


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.glob("*.safetensors")) / 1e6
