"""Changed copies of training rows, with the row that each comes from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from textlabel import registry
from textlabel.engine.process import derive_seed
from textlabel.models.backbone import Backbone
from textlabel.recipe import Stage, options_of
from textlabel.types import IntArray


class Copies(NamedTuple):
    """Changed texts, and for each the number of the row (m,) whose label, and fold, it shares."""

    texts: list[str]
    owners: IntArray


def copies_of(texts: Sequence[str], stage: Stage, backbone: Backbone, seed: int) -> Copies:
    """Return what a stage's ``augment`` makes of ``texts``, which must be training rows only.

    Where several backbones were joined, what asks a backbone asks the first.

    A copy that came out like its original is left out: it would only count the row twice.
    """
    made: list[str] = []
    owners: list[int] = []
    for number, plugin in enumerate(stage.augment):
        module, options = registry.load("augment", plugin.name), options_of("augment", plugin)
        rng = np.random.default_rng(derive_seed(seed, "augment", number))
        repeated = [row for row in range(len(texts)) for _ in range(options.copies)]
        changed = module.augment([texts[row] for row in repeated], rng, backbone.parts[0], options)
        for row, text in zip(repeated, changed, strict=True):
            if text != texts[row]:
                made.append(text)
                owners.append(row)
    return Copies(made, np.array(owners, dtype=np.int64))
