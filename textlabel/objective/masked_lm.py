"""Objective ``masked_lm``: which tokens stood at masked places of the unlabeled texts.

BERT's own task (Devlin et al. 2018, arXiv 1810.04805), on texts of the target domain: the body learns its
words before it learns labels (Gururangan et al. 2020, arXiv 2004.10964) or while it does (UDALM, Karouzos et
al. 2021, arXiv 2104.07078). It trains the body and leaves the classifier's head alone. What scores the tokens
is a language head beside it: the checkpoint's own where it holds one, else a new one. It goes on from stage
to stage, and is not saved with the classifier.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from textlabel.errors import RecipeError, TrainingError
from textlabel.objective import OverRows
from textlabel.types import IntArray

if TYPE_CHECKING:
    from torch import Tensor, nn

    from textlabel.protocols import Batch, Context

NAME = "masked_lm"
ROLES = frozenset({"unlabeled"})
LABEL_KINDS = frozenset({"single", "multi", "score"})
NEEDS_PARTS = frozenset({"body"})

log = logging.getLogger("textlabel")

#: of the places chosen, how many get the mask, and how many another token; the rest stay as they are
MASK, REPLACE = 0.8, 0.1


@dataclass(frozen=True)
class Options:
    """How much is masked, and how a language head without weights begins.

    Parameters
    ----------
    share : share of a text's tokens whose places are chosen, in (0, 1); one at least is.
    head_first : share of the stage's steps, in [0, 1), in which a new language head learns alone: what it
        says is random at first, and the body would follow it. A head of the checkpoint, or one that has
        learned in a stage before, does not wait.
    times : unlabeled rows of a batch for each of the stage's ``batch_size``. Where objectives are summed,
        give this one as much ``weight``, and rows of both kinds count the same, as in UDALM.
    """

    share: float = 0.15
    head_first: float = 0.2
    times: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise RecipeError(f"masked_lm: share = {self.share}; expected a share in (0, 1), such as 0.15")
        if not 0 <= self.head_first < 1:
            raise RecipeError(
                f"masked_lm: head_first = {self.head_first}; expected a share of the steps in [0, 1)"
            )
        if self.times < 1:
            raise RecipeError(f"masked_lm: times = {self.times}; expected at least 1")


class Vocabulary(NamedTuple):
    """What masking must know of a tokenizer: the mask, ids never masked, and ids that may replace one."""

    mask: int
    special: IntArray
    words: IntArray

    @classmethod
    def of(cls, tokenizer: Any) -> Vocabulary:
        """Return the vocabulary of a tokenizer that has a mask token; what it does not know is special."""
        special = np.array(sorted(set(tokenizer.all_special_ids)))
        known = np.array(sorted(set(tokenizer.get_vocab().values())))
        return cls(int(tokenizer.mask_token_id), special, np.setdiff1d(known, special))


class Objective(OverRows):
    """Mean cross-entropy over the masked tokens of a global batch.

    How many places of a row are masked depends on its tokens alone, so that each process knows how many
    there are in the batch. Which ones, and what stands there, is drawn from numbers made of the run's seed,
    the step and the row: new each time, the same after a kill, and however a batch is split.
    """

    #: nothing that frozen layers gave for a row may be used again: it is masked differently each time
    fresh: ClassVar[bool] = True

    def __init__(self, options: Options, context: Context) -> None:
        import torch

        from textlabel.models.language_head import language_head

        super().__init__(options, context)
        # of the generator that the loop has seeded for new weights, the same in every process
        self.seed = int(torch.randint(1 << 62, ()))
        classifier = context.classifier
        before = classifier.carried.get(NAME)
        self.head, self.new = (before, False) if before is not None else language_head(classifier)
        classifier.carried[NAME] = self.head
        self.vocabulary = Vocabulary.of(classifier.tokenizer)
        self.counts = self._counts()
        _warn_of_unknown(context)

    def modules(self) -> Mapping[str, nn.Module]:
        """Return the language head, which steps together with the body."""
        return {"model": self.head}

    def batches(self, size: int, rng: np.random.Generator) -> Iterator[Mapping[str, IntArray]]:
        """Return shuffled unlabeled rows grouped by length: once, and again until labeled rows had a turn.

        Beside labeled rows an epoch ends with the shorter of both, and labels are not what should be missed.
        """
        from textlabel.batching import shuffled

        lengths, step = self.context.rows["unlabeled"].lengths, size * self.options.times
        labeled = math.ceil(len(self.context.rows.get("labeled", ())) / size)
        for _ in range(max(1, math.ceil(labeled / math.ceil(len(lengths) / step)))):
            for index in shuffled(lengths, step, rng):
                yield {"unlabeled": index}

    def loss(self, player: str, batch: Batch) -> Tensor:
        """Return this share of the mean over the masked tokens of the global batch."""
        from torch.nn.functional import cross_entropy

        from textlabel.models.language_head import token_table

        index = batch.index["unlabeled"]
        table = token_table(self.context.classifier.body)
        learns_alone = self.new and batch.progress < self.options.head_first
        vectors, targets = self._masked_vectors(index, batch.progress, not learns_alone)
        scores = self.head(vectors, table.detach() if learns_alone else table)
        total = self.counts[batch.rows.get("unlabeled", index)].sum()
        return cross_entropy(scores, targets, reduction="sum") / max(int(total), 1)

    def _masked_vectors(self, index: IntArray, progress: float, with_body: bool) -> tuple[Tensor, Tensor]:
        """Return vectors (m, d) of the masked places of some rows, and the tokens (m,) that stood there."""
        import torch

        from textlabel.batching import pad

        tokens = [np.asarray(self.context.rows["unlabeled"].tokens[row]) for row in index]
        drawn = [self._masked(row, some, progress) for row, some in zip(index.tolist(), tokens, strict=True)]
        ids, mask = pad([changed.tolist() for changed, _ in drawn], self.context.classifier.pad_id)
        rows = np.repeat(np.arange(len(drawn)), [len(places) for _, places in drawn])
        columns = np.concatenate([places for _, places in drawn])
        targets = np.concatenate([some[places] for some, (_, places) in zip(tokens, drawn, strict=True)])
        with torch.set_grad_enabled(with_body and torch.is_grad_enabled()):
            hidden = self.context.vectors(self._placed(ids), self._placed(mask))
        return hidden[self._placed(rows), self._placed(columns)], self._placed(targets)

    def _masked(self, row: int, tokens: IntArray, progress: float) -> tuple[IntArray, IntArray]:
        step = int(progress * (1 << 53))  # exact: another number for each step of a stage
        rng = np.random.default_rng((self.seed, step, row))
        return masked(tokens, int(self.counts[row]), self.vocabulary, rng)

    def _placed(self, array: npt.NDArray[np.int64]) -> Tensor:
        import torch

        return torch.from_numpy(array).to(self.context.device)

    def _counts(self) -> IntArray:
        """Return how many places of each row (n,) are masked each time."""
        rows = self.context.rows["unlabeled"]
        owners = np.repeat(np.arange(len(rows)), rows.lengths)
        flat = np.fromiter((token for row in rows.tokens for token in row), np.int64, len(owners))
        maskable = np.bincount(owners[~np.isin(flat, self.vocabulary.special)], minlength=len(rows))
        if not maskable.any():
            raise TrainingError(
                f"masked_lm: none of the {len(rows)} unlabeled texts has a token that the backbone knows; "
                "expected texts in a language that it reads"
            )
        return masked_places(maskable, self.options.share)


def masked_places(maskable: IntArray, share: float) -> IntArray:
    """Return how many of each row's maskable tokens (n,) are masked: a share, rounded, but at least one.

    Examples
    --------
    >>> masked_places(np.array([0, 1, 6, 10, 100]), 0.15).tolist()
    [0, 1, 1, 2, 15]
    """
    counts: IntArray = np.floor(share * maskable + 0.5).astype(np.int64).clip(1)
    return np.minimum(counts, maskable)


def masked(
    tokens: IntArray, count: int, vocabulary: Vocabulary, rng: np.random.Generator
) -> tuple[IntArray, IntArray]:
    """Return a row (t,) with ``count`` of its tokens changed as BERT does, and their places (count,).

    Of the places chosen 80 % get the mask, 10 % a token drawn from the vocabulary, and 10 % keep theirs: a
    text that is read later has no masks, and a body that looked at masks alone would make little of it.
    """
    maskable = np.flatnonzero(~np.isin(tokens, vocabulary.special))
    places = np.sort(rng.choice(maskable, count, replace=False))
    luck = rng.random(count)
    others = vocabulary.words[rng.integers(len(vocabulary.words), size=count)]
    changed = tokens.copy()
    changed[places] = np.select(
        [luck < MASK, luck < MASK + REPLACE], [vocabulary.mask, others], tokens[places]
    )
    return changed, places


def _warn_of_unknown(context: Context) -> None:
    from textlabel.models.vocabulary import UNREAD, unknown_share

    unknown = unknown_share(context.classifier.tokenizer, context.rows["unlabeled"].tokens)
    if unknown > UNREAD:
        log.warning(
            "the backbone's vocabulary lacks %.0f %% of the tokens of the unlabeled texts: masked_lm cannot "
            "teach it words that it has no token for; try another backbone (`textlabel choose-backbone`)",
            100 * unknown,
        )
