"""The demo: from labeled reviews of films to labels for reviews of products, on real text.

Sentences of product reviews are labeled by a classifier that learned from sentences of film reviews and
from a few of products. The bundled data has labels for all of them; those of the annotated rows are
read only afterwards, to tell how well it went.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from textlabel.errors import RecipeError
from textlabel.labeler import DEFAULT_BACKBONE, Labeler
from textlabel.recipe import Recipe
from textlabel.resources import resource
from textlabel.steps import Summary, require_free
from textlabel.types import LabelSchema

Row = dict[str, Any]

#: film sentences to learn from; fewer where the backbone trains, which takes minutes instead of seconds
FILMS, FILMS_IF_BODY_TRAINS = 2000, 400
#: product sentences a class to learn from
PRODUCTS = 32


@dataclass(frozen=True)
class Demo:
    """What the demo runs.

    Parameters
    ----------
    recipe : shipped name (`textlabel recipes`), or path of a TOML file.
    classes : 2 (negative, positive) or 3 (neutral as well).
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
        """
        from textlabel.engine.annotate import annotate
        from textlabel.engine.process import accelerator

        recipe = Recipe.load(self.recipe)
        if "single" not in recipe.kinds or self.classes not in (2, 3):
            raise RecipeError("the demo takes a recipe for classes, and classes = 2 or 3")
        data, model = (require_free(Path(self.out) / name, RecipeError) for name in ("dataset", "model"))
        train, corpus, gold = draw(self.classes, recipe.trains_body, self.seed)
        start = time.monotonic()
        labeler = Labeler(self.backbone, recipe, seed=self.seed).fit(train)
        fitted = time.monotonic()
        predictions = labeler.predict(corpus)
        predicted = time.monotonic()
        rows = annotate(as_dataset(corpus), predictions, labeler.bundle)
        labeler.save(model)
        if accelerator().is_main_process:
            from textlabel.export.dataset import write

            write(rows, data, labeler.record(len(rows)))
        accelerator().wait_for_everyone()
        return {
            "learned_from": {
                "films": len(train) - PRODUCTS * self.classes,
                "products": PRODUCTS * self.classes,
            },
            "rows": len(rows),
            "classes": list(labeler.schema.names),
            "known_only_because_this_demo_has_the_answers": judge(
                labeler.schema,
                predictions.logits,
                labeler.bundle.calibrator,
                [gold.get(i) for i in predictions.ids],
            ),
            "texts_per_second": len(rows) / (predicted - fitted),
            "fit_seconds": fitted - start,
            "dataset": str(data),
            "model": str(model),
        }
