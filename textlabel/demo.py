"""The demo: from labeled reviews of films to labels for reviews of products, on real text.

Sentences of product reviews are labeled by a classifier that learned from sentences of film reviews and
from a few of products. The bundled data has labels for all of them; those of the annotated rows are
read only afterwards, to tell how well it went.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from textlabel.errors import ExportError, RecipeError
from textlabel.labeler import DEFAULT_BACKBONE, Labeler
from textlabel.recipe import Recipe
from textlabel.resources import resource
from textlabel.steps import Summary, require_free
from textlabel.trust import metrics
from textlabel.trust.calibration import Calibrator, softmax
from textlabel.types import FloatArray

if TYPE_CHECKING:
    from datasets import Dataset

Row = dict[str, Any]

NAMES = {2: ("negative", "positive"), 3: ("negative", "neutral", "positive")}
#: film sentences to learn from; fewer where the backbone trains, which takes minutes instead of seconds
FILMS, FILMS_IF_BODY_TRAINS = 2000, 200
#: rows that people would check, and what they want certified
AUDITED, MAX_ERROR, ALPHA = 300, 0.1, 0.05
#: product sentences a class to learn from
PRODUCTS = 32


@dataclass(frozen=True)
class Demo:
    """Label sentences of product reviews with what was learned from films and a few products.

    Parameters
    ----------
    recipe : shipped name (`textlabel recipes`), or path of a TOML file.
    classes : 2 (negative, positive) or 3 (neutral, too).
    out : folder for the labeled rows and the classifier.
    backbone : registered name (`textlabel backbones`), local folder, or Hub id.
    seed : decides which rows are learned from, and everything random in training.
    """

    recipe: str = "head"
    classes: int = 2
    out: str = "demo-output"
    backbone: str = DEFAULT_BACKBONE
    seed: int = 0

    def run(self) -> Summary:
        """Fit, annotate, write, and return what there is to tell.

        Raises
        ------
        RecipeError : the recipe learns scores, or ``classes`` is neither 2 nor 3.
        ExportError : ``out`` holds something else, or cannot be written.
        """
        recipe = Recipe.load(self.recipe)
        if "single" not in recipe.kinds or self.classes not in NAMES:
            raise RecipeError(f"the demo has 2 or 3 classes; it cannot run {recipe.name} with {self.classes}")
        dataset, model = (require_free(Path(self.out) / name, ExportError) for name in ("dataset", "model"))
        films = FILMS_IF_BODY_TRAINS if recipe.trains_body else FILMS
        train, corpus, answers = draw(NAMES[self.classes], films, self.seed)

        from textlabel.corpus.load import load_corpus
        from textlabel.engine.annotate import annotate
        from textlabel.engine.process import accelerator

        start = time.monotonic()
        labeler = Labeler(self.backbone, recipe, seed=self.seed, cache=False).fit(train)  # it is timed
        fitted = time.monotonic()
        loaded = load_corpus(corpus)
        predictions = labeler.predict(loaded)
        predicted = time.monotonic()
        rows = annotate(loaded, predictions, labeler.bundle)
        labeler.save(model)
        if accelerator().is_main_process:
            labeler.export(rows, dataset)
        accelerator().wait_for_everyone()

        calibrator = labeler.bundle.calibrator
        assert calibrator is not None  # classes have one
        truth = np.array([answers.get(i, -1) for i in predictions.ids])
        return {
            "films": len(train) - PRODUCTS * self.classes,
            "products": PRODUCTS * self.classes,
            "rows": len(rows),
            "labels": {n: rows["label"][:].count(c) for c, n in enumerate(NAMES[self.classes])},
            "with_answers": judge(predictions.logits.astype(np.float64), truth, calibrator),
            "certificate": audited(rows, truth, self.seed),
            "texts_per_second": len(rows) / (predicted - fitted),
            "seconds": time.monotonic() - start,
            "dataset": str(dataset),
            "model": str(model),
        }


def draw(names: Sequence[str], films: int, seed: int) -> tuple[list[Row], list[Row], dict[str, int]]:
    """Return rows to learn from, rows to annotate (id and text only), and the class of each of those.

    Learned from are rows whose label is one of ``names``: ``films`` of the films, `PRODUCTS` a class of
    the products. All other products are annotated. With two classes the answer is the sign of the mean
    human rating; a row rated exactly 0 has none.

    Examples
    --------
    >>> train, corpus, answers = draw(("negative", "positive"), films=100, seed=0)
    >>> len(train), len(corpus), sorted(corpus[0])
    (164, 3622, ['id', 'text'])
    """
    rng = np.random.default_rng(seed)
    movie, product = _read("movie"), _read("product")
    shuffled = [product[i] for i in rng.permutation(len(product))]
    few = [row for name in names for row in [r for r in shuffled if r["label"] == name][:PRODUCTS]]
    clear = [row for row in movie if row["label"] in names]
    known = [clear[i] for i in rng.permutation(len(clear))[:films]] + few
    used = {row["id"] for row in few}
    rest = [row for row in product if row["id"] not in used]
    answers = {row["id"]: _answer(row, names) for row in rest}
    return (
        [{key: row[key] for key in ("id", "text", "label")} for row in known],
        [{key: row[key] for key in ("id", "text")} for row in rest],
        {name: answer for name, answer in answers.items() if answer is not None},
    )


def judge(logits: FloatArray, truth: Any, calibrator: Calibrator) -> dict[str, float]:
    """Return how well the labels of rows with an answer (``truth >= 0``) did, before and after calibration.

    Examples
    --------
    >>> from textlabel.trust.calibrators.temperature import Temperature
    >>> told = judge(np.array([[2.0, 0.0], [0.0, 3.0]]), np.array([0, -1]), Temperature(0.5))
    >>> told["rows"], told["accuracy"], round(told["ece_before"], 2), round(told["ece_after"], 2)
    (1, 1.0, 0.12, 0.02)
    """
    known = truth >= 0
    logits, truth = logits[known], truth[known]
    raw, calibrated = softmax(logits), calibrator.apply(logits)
    right = raw.argmax(axis=1) == truth
    return {
        "rows": int(known.sum()),
        "majority": float(np.bincount(truth).max() / len(truth)),
        "accuracy": float(right.mean()),
        "ece_before": metrics.ece(raw.max(axis=1), right),
        "ece_after": metrics.ece(calibrated.max(axis=1), right),
        "accepted_at_95": metrics.fraction_accepted_at(0.95, calibrated.max(axis=1), right),
    }


def audited(rows: Dataset, truth: Any, seed: int) -> dict[str, Any]:
    """Return what `textlabel certify` would promise if people answered `AUDITED` rows as the answers say.

    A row without an answer (``truth < 0``) counts as an error, like one that people are unsure about.
    """
    from textlabel.audit.seal import TIE_SEED
    from textlabel.trust.certificate import Audit, price, ranking
    from textlabel.trust.certificates.finish import PROMISE, certify

    order = ranking(rows["confidence"][:], seed=TIE_SEED)
    wrong = np.array(rows["label"][:])[order] != truth[order]
    ranks = np.random.default_rng(seed).choice(len(order), AUDITED, replace=False)
    outcome = certify(Audit(len(order), ranks, wrong[ranks]), MAX_ERROR, price(1, ALPHA))
    left = np.setdiff1d(np.arange(outcome.accepted), ranks)
    return {
        "promise": PROMISE.format(
            level=1 - ALPHA, count=outcome.allowed, n=len(order), percent=f"{100 * MAX_ERROR:g} %"
        ),
        "audited": AUDITED,
        "kept": len(left),
        "for_people": len(order) - len(left),
        "wrong_in_finished": int(wrong[left].sum()),
        "allowed": outcome.allowed,
    }


def _read(name: str) -> list[Row]:
    lines = resource(f"data/reviews/{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def _answer(row: Mapping[str, Any], names: Sequence[str]) -> int | None:
    if len(names) == 3:
        return names.index(row["label"])
    return None if row["score"] == 0 else int(row["score"] > 0)
