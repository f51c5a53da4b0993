"""Which labeled corpus to learn from, for texts of another: distances, and what few labels tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from textlabel.choose.rows import mean_and_error, sample
from textlabel.errors import CorpusError, RecipeError
from textlabel.labeler import DEFAULT_BACKBONE
from textlabel.progress import bar
from textlabel.recipe import Recipe
from textlabel.trust.calibrators.temperature import fit as fit_temperature
from textlabel.trust.discrepancy import median_squared_distance, mmd, vocabulary_overlap
from textlabel.trust.domain_shift import domain_shift
from textlabel.trust.transferability import leep, leep_terms, nce
from textlabel.types import LabelSchema

if TYPE_CHECKING:
    from collections.abc import Callable

    from textlabel.engine.run import Task
    from textlabel.engine.solvers import Head
    from textlabel.trust.calibrators.temperature import Temperature

    Encode = Callable[[Sequence[str]], npt.NDArray[np.float64]]

Floats = npt.NDArray[np.float64]

#: random rows of each corpus by default
ROWS = 500
#: with fewer rows of each corpus distances are mostly noise
LEAST_ROWS = 20


@dataclass(frozen=True)
class SourceScore:
    """How one source compares with the target.

    Parameters
    ----------
    source : as it was named.
    rows : how many of its rows were looked at.
    mmd : unbiased squared maximum mean discrepancy of the features, all sources at one width of the kernels.
    distance, distance_error : proxy A-distance of the features, 0 to 2, and its standard error.
    jaccard, known_words : different words in common, and words of the target that the source has; shares.
    leep, nce : of the source's classifier on the target's labels, nats a row; None without labels.
    accuracy, likelihood : of that classifier on the target's labels, and the mean log probability of
        these (nats); None without labels, and where classes have other names.
    """

    source: str
    rows: int
    mmd: float
    distance: float
    distance_error: float
    jaccard: float
    known_words: float
    leep: float | None = None
    nce: float | None = None
    accuracy: float | None = None
    likelihood: float | None = None


@dataclass(frozen=True)
class SourceChoice:
    """The sources, best first, which scores put them in this order, and why the first is the first."""

    rows: tuple[SourceScore, ...]
    decided_by: str
    reason: str

    @property
    def best(self) -> str:
        """The source to take."""
        return self.rows[0].source

    def to_json(self) -> dict[str, Any]:
        """Return what `textlabel choose-source --json` prints."""
        told = {"best": self.best, "decided_by": self.decided_by, "reason": self.reason}
        return {**told, "sources": [asdict(row) for row in self.rows]}


@dataclass(frozen=True)
class Compared:
    """A source's score, and of each labeled row of the target the ``leep_terms`` and the log probability."""

    score: SourceScore
    leep: Floats | None = None
    likelihood: Floats | None = None


def choose_source(
    target: Any,
    sources: Sequence[Any],
    target_labels: Any | None = None,
    *,
    text_column: str | Sequence[str] = "text",
    label_column: str = "label",
    backbone: str = DEFAULT_BACKBONE,
    on_bad_row: str = "fail",
    max_rows: int = ROWS,
    cache: bool = True,
    seed: int = 0,
) -> SourceChoice:
    """Return the order of labeled corpora in which to try them as the source for a target.

    Without labels of the target the smallest MMD decides. With some, a head is fitted on each source, and of
    the sources within one standard error of the best, paired row by row, the smallest MMD decides; others
    follow. The best is that of the highest likelihood of the labels, or of the highest LEEP where some
    source's classes have other names. The other scores are told and decide nothing.

    Measured over 11 sentiment corpora, each the target of the others, as Kendall's tau with the accuracy
    after transfer and accuracy lost to the best source: MMD .28 and 1.1 points, A-distance .18 and 1.4, share
    of known words .22 and 2.9; LEEP alone with 64 labels a class .31 and 1.5, likelihood alone .47 and 1.5,
    this rule .46 and 1.0. With 8 a class the rule has .30 and 1.9: no gain over MMD. A source at random
    loses 4.1 (recipes/benchmarks/results/few_labels_choose.json).

    Parameters
    ----------
    target : texts to label, in any form that `load_corpus` takes; labels in it are not read.
    sources : labeled corpora, each in any such form; without ``target_labels`` their labels are not read.
    target_labels : rows of the target with labels, perhaps a few rows of it; it may be the target itself.
    text_column : column that holds the text, in all of them; several are joined.
    label_column : column that holds the label, a class, in the sources and in ``target_labels``.
    backbone : whose features are compared: registered name (`textlabel backbones`), local folder, or Hub id.
    on_bad_row : fail stops at the first unusable row of any corpus, skip leaves such rows out.
    max_rows : random rows of each corpus that are looked at.
    cache : look features up in the feature cache (`textlabel cache`), and keep them there.
    seed : decides rows and folds.

    Raises
    ------
    CorpusError : a corpus that cannot be read, has fewer than 20 rows or, where labels are read, one class.
    RecipeError : no source, or fewer than 20 rows wanted.
    """
    if not sources:
        raise RecipeError("no sources; expected one labeled corpus or more to choose from")
    if max_rows < LEAST_ROWS:
        raise RecipeError(f"max_rows = {max_rows}: expected {LEAST_ROWS} or more")
    reading: dict[str, Any] = {"text_column": text_column, "on_bad_row": on_bad_row}
    read = partial(_read, reading, max_rows, seed, label_column if target_labels is not None else None)
    rows = _read(reading, max_rows, seed, None, "the target", target)
    labels = None if target_labels is None else _labeled(reading, max_rows, seed, label_column, target_labels)
    corpora = [read(_name(corpus, i), corpus) for i, corpus in enumerate(sources)]
    encode = _encoder(backbone, cache)
    features = encode(rows.texts)
    labeled = None if labels is None else encode(labels.texts)
    known = _Target(rows.texts, features, median_squared_distance(features), labels, labeled)
    return rank([_compare(corpus, known, encode, seed) for corpus in corpora])


def rank(compared: Sequence[Compared]) -> SourceChoice:
    """Return the order of sources that were compared with the same rows, as `choose_source` makes it."""
    by_mmd = sorted(compared, key=lambda one: one.score.mmd)
    if any(one.leep is None for one in compared):
        reason = "its texts are the nearest to the target's by MMD; no labels of the target were given"
        return _choice(by_mmd, "mmd", reason)
    named = all(one.likelihood is not None for one in compared)
    terms = {id(one): cast("Floats", one.likelihood if named else one.leep) for one in compared}
    by_terms = sorted(by_mmd, key=lambda one: -terms[id(one)].mean())
    top = terms[id(by_terms[0])]
    near = [one for one in by_mmd if one is by_terms[0] or _within(top - terms[id(one)])]
    score = "likelihood" if named else "leep"
    order = [*near, *(one for one in by_terms if one not in near)]
    words = "likelihood" if named else "LEEP"
    if len(near) == 1:
        reason = f"its classifier has the highest {words} on the target's labels, beyond one standard error"
    else:
        reason = (
            f"of the {len(near)} within one standard error of the highest {words} on the target's labels, "
            "its texts are the nearest by MMD"
        )
    return _choice(order, f"{score}, then mmd", reason)


def _choice(order: Sequence[Compared], decided_by: str, reason: str) -> SourceChoice:
    best = order[0].score.source
    return SourceChoice(tuple(one.score for one in order), decided_by, f"{best}: {reason}")


def _within(behind: Floats) -> bool:
    mean, error = mean_and_error(behind)
    return mean <= error


@dataclass(frozen=True)
class _Rows:
    """A corpus: what it is called, its texts, and where labels are read its labeled rows."""

    name: str
    texts: Sequence[str]
    task: Task | None


@dataclass(frozen=True)
class _Target:
    """The target's texts and features (n, d), the kernels' width, and its labeled rows and their features."""

    texts: Sequence[str]
    features: Floats
    width: float
    labels: Task | None
    labeled: Floats | None


def _compare(source: _Rows, target: _Target, encode: Encode, seed: int) -> Compared:
    """Return the scores of one source."""
    from textlabel.corpus.dedup import groups

    features = encode(source.texts)
    apart = mmd(features, target.features, target.width)
    shift = domain_shift(features, target.features, groups([*source.texts, *target.texts]), seed=seed)
    overlap = vocabulary_overlap(source.texts, target.texts)
    distances = (apart, shift.distance, shift.standard_error, overlap.jaccard, overlap.known)
    score = SourceScore(source.name, len(source.texts), *distances)
    if target.labels is None or target.labeled is None or source.task is None:
        return Compared(score)
    head, calibrator = _classifier(source.name, source.task, features, target.labels, seed)
    p, y = calibrator.apply(head(target.labeled)), target.labels.targets
    score = replace(score, leep=leep(p, y), nce=nce(p, y))
    place = {name: i for i, name in enumerate(source.task.schema.names)}
    if not set(target.labels.schema.names) <= set(place):
        return Compared(score, leep_terms(p, y))
    said = np.array([place[name] for name in target.labels.schema.names])[y]
    likelihood = np.log(np.maximum(p[np.arange(len(p)), said], 1e-12))
    right = float(np.mean(p.argmax(axis=1) == said))
    score = replace(score, accuracy=right, likelihood=float(likelihood.mean()))
    return Compared(score, leep_terms(p, y), likelihood)


def _classifier(name: str, rows: Task, features: Floats, labels: Task, seed: int) -> tuple[Head, Temperature]:
    """Return a head of the source and its temperature; texts among the target's labeled rows are left out."""
    from textlabel.corpus.dedup import groups, text_key
    from textlabel.engine.head import fit_head

    seen = {text_key(text) for text in labels.texts}
    fresh = [i for i, text in enumerate(rows.texts) if text_key(text) not in seen]
    if len(fresh) < LEAST_ROWS:
        raise CorpusError(
            f"{name}: only {len(fresh)} of its rows are not among the labeled rows of the target; expected "
            f"{LEAST_ROWS} or more. A source of the target's own rows tells nothing: leave it out"
        )
    y, same = rows.targets[fresh], groups([rows.texts[i] for i in fresh])
    stage = Recipe.load("head").stages[0]
    fitted = fit_head(features[fresh], y, same, rows.schema.outputs, stage, seed)
    return fitted.head, fit_temperature(fitted.out_of_fold, y)


def _read(
    reading: Mapping[str, Any], most: int, seed: int, label_column: str | None, name: str, corpus: Any
) -> _Rows:
    """Return a sample of a corpus, with labels where their column is given."""
    from textlabel.corpus.load import load_corpus

    if label_column is None:
        texts = list(load_corpus(corpus, id_column=False, **reading)["text"])
        kept = np.sort(np.random.default_rng(seed).permutation(len(texts))[:most])
        rows = _Rows(name, [texts[i] for i in kept], None)
    else:
        task = _labeled(reading, most, seed, label_column, corpus)
        rows = _Rows(name, task.texts, task)
    if len(rows.texts) < LEAST_ROWS:
        raise CorpusError(f"{name}: {len(rows.texts)} rows; expected {LEAST_ROWS} or more to compare")
    return rows


def _labeled(reading: Mapping[str, Any], most: int, seed: int, label_column: str, corpus: Any) -> Task:
    from textlabel.engine.task import load_task

    task, _ = load_task(corpus, None, None, "single", label_column=label_column, id_column=False, **reading)
    return sample(task, most, seed)


def _name(corpus: Any, position: int) -> str:
    return str(corpus) if isinstance(corpus, str | Path) else f"source {position + 1}"


def _encoder(backbone: str, cache: bool) -> Encode:
    from textlabel.engine.feature_cache import cache_folder
    from textlabel.engine.predict import predict
    from textlabel.models.backbone import load_backbone
    from textlabel.models.classifier import Classifier

    classifier = Classifier(load_backbone(backbone), LabelSchema("score")).eval()
    folder = cache_folder(cache)

    def encode(texts: Sequence[str]) -> Floats:
        with bar("encode rows") as update:
            return predict(classifier, texts, cache=folder, progress=update)[1].astype(np.float64)

    return encode
