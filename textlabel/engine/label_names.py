"""A classifier before the first label: the names of the classes are all that is known of them.

A class is where its name lies among texts: the mean of the features of a few sentences that hold it. Without
a corpus that is all. With texts of a corpus two things are done, which gain six points on average over public
sets (`recipes/benchmarks/few_labels_zero.py`):

- Texts are looked at from the mean of the corpus, and names from the mean of the names: what all texts of a
  corpus share, and how names differ from texts, says nothing of classes.
- Each class is then taken halfway between its name and the mean of the texts that are likely its own,
  `ROUNDS` times: soft k-means on the sphere, which starts from the names and never leaves them.

More rounds, a correction of what is said for the shares of classes, and labels spread along neighbors were
tried, too, and gained nothing on average.

No label says how often this is right, so confidence is not calibrated. Its temperature is that at which
encoders of sentences are commonly trained: logits are cosines times twenty.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np

from textlabel import registry
from textlabel.engine.predict import predict
from textlabel.engine.run import same_on_all_processes
from textlabel.engine.shared_features import Store
from textlabel.errors import RecipeError
from textlabel.models.backbone import Backbone
from textlabel.models.bundle import Bundle
from textlabel.models.class_names import TEMPLATES, by_template, sentences
from textlabel.models.classifier import Classifier
from textlabel.models.heads import Linear, one_thread
from textlabel.progress import bar
from textlabel.recipe import Recipe, Stage
from textlabel.trust.calibration import softmax
from textlabel.trust.calibrators.none import Uncalibrated
from textlabel.trust.scope import DEFAULT_OFF_MAP, Map, Scope
from textlabel.trust.set_rule import SetPlan
from textlabel.types import FloatArray, LabelSchema

log = logging.getLogger("textlabel")

#: what a record calls this
_NAME, _TOLD = "label_names", "Prototypes of the names of classes, without a label."
#: of cosines, in logits
TEMPERATURE = 0.05
#: how often classes are moved towards the texts that are likely theirs
ROUNDS = 3
#: texts of the corpus that are read, of more so many drawn at random
MOST_TEXTS = 2000


def refuse_what_needs_labels(needs: Mapping[str, bool]) -> None:
    """Raise a `RecipeError` that names the first of the settings that were given and need labels."""
    for name in (name for name, given in needs.items() if given):
        raise RecipeError(f"{name} needs labeled rows, and there are none: leave it out, or label some rows")


def adapt_to_names(
    backbone: Backbone,
    schema: LabelSchema,
    corpus: Sequence[str],
    seed: int,
    *,
    off_map: str = DEFAULT_OFF_MAP,
    sets: SetPlan = SetPlan(),  # noqa: B008 - frozen
    backend: str = "torch",
    cache: Store | None = None,
) -> Bundle:
    """Return an uncalibrated classifier made of class names, and of a corpus without labels if there is one.

    Its map, by which texts that are far off are told, is drawn from the corpus, or from the names alone.

    Parameters
    ----------
    schema : the classes, in words (`LabelSchema.in_words`).
    corpus : texts of the target domain; none is needed.

    Raises
    ------
    RecipeError : ``off_map`` needs labeled rows.
    """
    if "reference" in registry.load("off_map", off_map).NEEDS:
        raise RecipeError(f"off_map = {off_map!r} compares with labeled rows: there are none")
    sets.check(schema.kind)
    log.warning(
        "no labels: %d classes are known by their names alone. Confidence is NOT calibrated, and every row "
        "is for review unless a min_confidence is given",
        len(schema.names),
    )
    classifier = Classifier(backbone, schema).eval()

    def read(texts: Sequence[str]) -> FloatArray:
        with bar("encode texts") as update:
            found = predict(classifier, texts, backend=backend, cache=cache, progress=update)
        return found[1].astype(np.float64)

    words = schema.in_words()
    names = by_template(read(sentences(words)))
    texts = read(_some(corpus, seed)) if corpus else None
    head = head_of_names(names, texts)
    classifier.set_head(head)
    same_on_all_processes(classifier)
    on_map = np.concatenate(names) if texts is None else texts
    width = on_map.shape[1] // backbone.info.layers  # of the last layer, which comes first
    known = Map.draw(on_map, head(on_map).argmax(axis=1), len(words), width=width)
    nothing = np.zeros((0, len(words)))
    rule = sets.fit(nothing, np.zeros(0, np.int64), [], schema.names, seed)
    record = {
        "recipe": Recipe(_NAME, (Stage.of("head", "prototype"),), _TOLD).to_dict(),
        "seed": seed,
        "labels": {"train": 0, "calibration": 0, "audit": 0},
        "off_map": {"off_map": off_map, "keep_reference": False},
        "head": {"templates": list(TEMPLATES), "corpus": 0 if texts is None else len(texts)},
    }
    scope = Scope(known, off_map, np.zeros(0, np.float32))
    return Bundle(classifier, Uncalibrated(), scope, rule, record)


@one_thread
def head_of_names(names: FloatArray, texts: FloatArray | None = None) -> Linear:
    """Return the head whose logits are cosines with the classes, over `TEMPERATURE`.

    Parameters
    ----------
    names : (t, k, d) features of the names in t templates.
    texts : (n, d) features of a corpus, or None.

    Examples
    --------
    >>> head_of_names(np.array([[[1.0, 0.0], [0.0, 1.0]]]))(np.array([[3.0, 4.0]])).round(1).tolist()
    [[60.0, 80.0]]
    """
    classes = _unit(names).mean(axis=0)
    if texts is None:
        length = float(np.linalg.norm(names, axis=2).mean())
        return Linear(_unit(classes) / (TEMPERATURE * length), np.zeros(len(classes)))
    center = texts.mean(axis=0)
    rows = texts - center
    length = float(np.linalg.norm(rows, axis=1).mean()) or 1.0
    named = moved = _unit(classes - classes.mean(axis=0))
    for _ in range(ROUNDS):
        likely = softmax(rows @ moved.T / (TEMPERATURE * length))
        moved = _unit(named + _unit(likely.T @ rows))
    weight = moved / (TEMPERATURE * length)
    return Linear(weight, -weight @ center)


def _unit(rows: FloatArray) -> FloatArray:
    """Return rows of length one; a row of zeros stays one."""
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12))


def _some(corpus: Sequence[str], seed: int) -> list[str]:
    texts = list(dict.fromkeys(corpus))
    order = np.random.default_rng(seed).permutation(len(texts))[:MOST_TEXTS]
    return [texts[i] for i in np.sort(order)]
