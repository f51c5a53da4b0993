"""Objective ``contrastive``: texts of one class become similar, others do not.

The squared error of the cosine similarity, with 1 for two texts of a class and 0 for others (SetFit, Tunstall
et al. 2022, arXiv 2209.11055). It trains the body and leaves the head alone: fit the head in a stage after
it. Two equal texts are never a pair.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from textlabel.batching import class_batches
from textlabel.errors import RecipeError
from textlabel.objective import OverRows, cosines
from textlabel.protocols import Rows
from textlabel.types import IntArray

if TYPE_CHECKING:
    from torch import Tensor

    from textlabel.protocols import Batch, Context

NAME = "contrastive"
ROLES = frozenset({"labeled"})
LABEL_KINDS = frozenset({"single"})
NEEDS_PARTS = frozenset({"body"})


@dataclass(frozen=True)
class Options:
    """Which pairs are compared.

    Parameters
    ----------
    pairs : "batch" (all pairs within a batch in which classes are equally frequent; each text is encoded
        once) or "sampled" (partners drawn at random; a batch is half as many pairs as it has rows).
    iterations : with "sampled", partners of its class and as many of others that are drawn for each row in an
        epoch.
    template : a text in which {name} stands for a class in words, "This text is about {name}." say; each is
        one more row of its class. "": no such rows.
    """

    pairs: str = "batch"
    iterations: int = 1
    template: str = ""

    def __post_init__(self) -> None:
        if self.pairs not in ("batch", "sampled"):
            raise RecipeError(f"contrastive: pairs = {self.pairs!r}; expected 'batch' or 'sampled'")
        if self.iterations < 1:
            raise RecipeError(f"contrastive: iterations = {self.iterations}; expected at least 1")
        if self.template and "{name}" not in self.template:
            raise RecipeError(
                f"contrastive: template = {self.template!r}; expected a text with {{name}} in it"
            )


class Objective(OverRows):
    """Mean squared error of cosine similarities; pairs of a class weigh as much as the others together.

    Rows are numbered as the labeled rows are; numbers behind those are texts made of class names.
    """

    splits: ClassVar[bool] = False

    def __init__(self, options: Options, context: Context) -> None:
        self.options = options
        labeled, named = context.rows["labeled"], _named(options.template, context)
        self.context = replace(context, rows={**context.rows, "names": named})
        targets = np.concatenate([np.asarray(labeled.targets), np.asarray(named.targets)]).astype(np.int64)
        self.rows = Rows([*labeled.tokens, *named.tokens], targets)

    def batches(self, size: int, rng: np.random.Generator) -> Iterator[Mapping[str, IntArray]]:
        """Return one epoch of batches; of sampled pairs, left and right rows alternate."""
        if self.options.pairs == "batch":
            for index in class_batches(self.rows.targets, size, rng):
                yield {"labeled": index}
            return
        pairs = sampled_pairs(self.rows.targets, self.options.iterations, rng)
        step = max(size // 2, 1)
        for start in range(0, len(pairs), step):
            yield {"labeled": pairs[start : start + step].ravel()}

    def loss(self, player: str, batch: Batch) -> Tensor:
        """Return the loss of the whole batch."""
        import torch

        rows, place = np.unique(batch.index["labeled"], return_inverse=True)
        if self.options.pairs == "batch":
            left, right = np.triu_indices(len(rows), 1)
        else:
            left, right = place[0::2], place[1::2]
        groups, targets = self.rows.groups[rows], self.rows.targets[rows]
        differ = groups[left] != groups[right]
        left, right = left[differ], right[differ]
        features = self._features(rows)
        if not len(left):
            return 0.0 * features.sum()
        same = targets[left] == targets[right]
        wanted, weights = torch.from_numpy(same), torch.from_numpy(_halves(same))
        found = cosines(features)[torch.from_numpy(left), torch.from_numpy(right)]
        errors = (found - wanted.to(found)).square()
        return (errors * weights.to(found)).sum()

    def _features(self, rows: IntArray) -> Tensor:
        """Return features (len(rows), d) of rows in ascending order."""
        import torch

        labeled = len(self.context.rows["labeled"])
        own, named = rows[rows < labeled], rows[rows >= labeled] - labeled
        parts = [
            self.context.output(role, index).features
            for role, index in (("labeled", own), ("names", named))
            if len(index)
        ]
        return torch.cat(parts)


def sampled_pairs(targets: IntArray, iterations: int, rng: np.random.Generator) -> IntArray:
    """Return pairs of different rows (m, 2) in random order, drawn in a time linear in the rows.

    Each row has ``iterations`` partners of its class and as many of other classes. The only row of a class
    has none of the former; with one class only there are none of the latter.

    Parameters
    ----------
    targets : (n,) class of each row.

    Examples
    --------
    >>> sampled_pairs(np.array([0, 0, 1]), 1, np.random.default_rng(0)).tolist()
    [[0, 2], [2, 1], [1, 2], [0, 1], [1, 0]]
    """
    order = np.argsort(targets, kind="stable")
    _, starts, number, counts = np.unique(
        targets[order], return_index=True, return_inverse=True, return_counts=True
    )
    start, count = starts[number], counts[number]
    place, n = np.arange(len(order)), len(order)
    near, far = place[count > 1], place[count < n]
    found = []
    for _ in range(iterations):
        # a step around the circle of the class, which never ends where it began; then one around the others
        mates = start[near] + (near - start[near] + rng.integers(1, count[near])) % count[near]
        others = (start[far] + count[far] + rng.integers(0, n - count[far])) % n
        found += [np.stack([near, mates]), np.stack([far, others])]
    pairs: IntArray = order[np.concatenate(found, axis=1).T]
    return rng.permutation(pairs)


def _named(template: str, context: Context) -> Rows:
    """Return one row for each class, of what the template makes of it in words; none without a template."""
    from textlabel.models.backbone import encode

    words = context.schema.in_words() if template else []
    texts = [template.replace("{name}", word) for word in words]
    return Rows(encode(context.classifier.tokenizer, context.classifier.info, texts), np.arange(len(texts)))


def _halves(same: IntArray) -> IntArray:
    """Return weights (m,) of pairs, of sum 1: half to either kind if both are there."""
    kinds = [same, ~same]
    present = [kind for kind in kinds if kind.any()]
    return np.asarray(sum(kind / (kind.sum() * len(present)) for kind in present))
