"""Objective ``tsdae``: whole unlabeled texts, written again from the vector of what is left of their tokens.

A denoising auto-encoder of sentence vectors (TSDAE, Wang, Reimers & Gurevych 2021, arXiv 2104.06979): most
tokens of a text are deleted, the body makes one vector of the rest, and a decoder that sees this vector alone
writes the text. So the vector must tell what the text is about, where ``masked_lm`` asks each token only for
what stands near it. The vector is of the last layer, pooled as the backbone pools (the paper takes the first
token). The decoder is small and new, and its token vectors are the body's (in the paper all its weights are).
It goes on from stage to stage, and is not saved with the classifier.
"""

from __future__ import annotations

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

NAME = "tsdae"
ROLES = frozenset({"unlabeled"})
LABEL_KINDS = frozenset({"single", "multi", "score"})
NEEDS_PARTS = frozenset({"body"})


@dataclass(frozen=True)
class Options:
    """How much is deleted, and what writes the text again.

    Parameters
    ----------
    share : probability, in (0, 1), with which each token of a text is deleted; one at least stays.
    layers : of the decoder.
    decoder_first : share of the stage's steps, in [0, 1), in which a new decoder learns alone: what it says
        is random at first, and the body would follow it. One that has learned in a stage before does not
        wait.
    """

    share: float = 0.6
    layers: int = 1
    decoder_first: float = 0.2

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise RecipeError(f"tsdae: share = {self.share}; expected a share in (0, 1), such as 0.6")
        if self.layers < 1:
            raise RecipeError(f"tsdae: layers = {self.layers}; expected at least 1")
        if not 0 <= self.decoder_first < 1:
            raise RecipeError(
                f"tsdae: decoder_first = {self.decoder_first}; expected a share of the steps in [0, 1)"
            )


class Signs(NamedTuple):
    """What deleting must know of a tokenizer.

    Parameters
    ----------
    fixed : (m,) ids that frame texts, or stand for none of their words; they are never deleted.
    unknown : id of what the vocabulary lacks, -1 where there is none; deleted as words are, but nobody
        learns to write it.
    """

    fixed: IntArray
    unknown: int

    @classmethod
    def of(cls, tokenizer: Any) -> Signs:
        """Return the signs of a tokenizer, in some of which one token is unknown and the end of texts."""
        names = ("cls", "sep", "bos", "eos", "pad", "mask")
        frame = {getattr(tokenizer, f"{name}_token_id", None) for name in names}
        unknown = tokenizer.unk_token_id
        unknown = -1 if unknown is None or unknown in frame else int(unknown)
        return cls(np.array(sorted(set(tokenizer.all_special_ids) - {unknown}), np.int64), unknown)


class Objective(OverRows):
    """Mean cross-entropy over the tokens of the texts of a global batch, the first of each text being given.

    Which tokens are deleted is drawn from numbers made of the run's seed, the step and the row: new each
    time, the same after a kill, and however a batch is split.
    """

    #: nothing that frozen layers gave for a row may be used again: other tokens are deleted each time
    fresh: ClassVar[bool] = True

    def __init__(self, options: Options, context: Context) -> None:
        import torch

        from textlabel.models.sentence_decoder import sentence_decoder

        super().__init__(options, context)
        # of the generator that the loop has seeded for new weights, the same in every process
        self.seed = int(torch.randint(1 << 62, ()))
        classifier = context.classifier
        before = classifier.carried.get(NAME)
        self.new = before is None
        self.decoder: Any = sentence_decoder(classifier, options.layers) if before is None else before
        classifier.carried[NAME] = self.decoder
        self.signs = Signs.of(classifier.tokenizer)
        self.counts = self._counts()

    def modules(self) -> Mapping[str, nn.Module]:
        """Return the decoder, which steps together with the body."""
        return {"model": self.decoder}

    def batches(self, size: int, rng: np.random.Generator) -> Iterator[Mapping[str, IntArray]]:
        """Return one shuffled epoch of unlabeled rows grouped by length."""
        from textlabel.batching import shuffled

        for index in shuffled(self.context.rows["unlabeled"].lengths, size, rng):
            yield {"unlabeled": index}

    def loss(self, player: str, batch: Batch) -> Tensor:
        """Return this share of the mean over the tokens of the global batch."""
        import torch

        from textlabel.models.language_head import token_table

        index = batch.index["unlabeled"]
        alone = self.new and batch.progress < self.options.decoder_first
        table = token_table(self.context.classifier.body)
        table = table.detach() if alone else table
        with torch.set_grad_enabled(not alone and torch.is_grad_enabled()):
            vectors = self._vectors(index, batch.progress)
        ids, mask = self.context.inputs("unlabeled", index)
        targets = ids[:, 1:]
        written = (mask[:, 1:] > 0) & (targets != self.signs.unknown)
        if not written.any():
            return 0.0 * vectors.sum()
        with torch.autocast(ids.device.type, enabled=False):
            made = self.decoder(ids[:, :-1], vectors, table)
            loss: Tensor = self.decoder.loss(made[written], targets[written], table)
        total = self.counts[batch.rows.get("unlabeled", index)].sum()
        return loss / max(int(total), 1)

    def _vectors(self, index: IntArray, progress: float) -> Tensor:
        """Return one vector (b, d) a row, of what is left of it, as the backbone pools, in float32."""
        import torch

        from textlabel.batching import pad
        from textlabel.models.classifier import pool

        rows, info = self.context.rows["unlabeled"], self.context.classifier.info
        kept = [self._thinned(row, np.asarray(rows.tokens[row]), progress).tolist() for row in index.tolist()]
        ids, mask = map(self._placed, pad(kept, self.context.classifier.pad_id))
        hidden = self.context.vectors(ids, mask)
        with torch.autocast(hidden.device.type, enabled=False):
            return pool(hidden.float(), mask, info.pooling, info.normalize)

    def _thinned(self, row: int, tokens: IntArray, progress: float) -> IntArray:
        step = int(progress * (1 << 53))  # exact: another number for each step of a stage
        rng = np.random.default_rng((self.seed, step, row))
        return thinned(tokens, self.options.share, self.signs.fixed, rng)

    def _placed(self, array: npt.NDArray[np.int64]) -> Tensor:
        import torch

        return torch.from_numpy(array).to(self.context.device)

    def _counts(self) -> IntArray:
        """Return how many tokens of each row (n,) are written again."""
        tokens = [np.asarray(row) for row in self.context.rows["unlabeled"].tokens]
        others = np.append(self.signs.fixed, self.signs.unknown)
        if all(np.isin(row, others).all() for row in tokens):
            raise TrainingError(
                f"tsdae: none of the {len(tokens)} unlabeled texts has a token that the backbone knows; "
                "expected texts in a language that it reads"
            )
        return np.array([int((row[1:] != self.signs.unknown).sum()) for row in tokens], np.int64)


def thinned(tokens: IntArray, share: float, fixed: IntArray, rng: np.random.Generator) -> IntArray:
    """Return a row (t,) in which each token was deleted with probability ``share``, in the old order.

    Tokens of ``fixed`` stay, and one of the others at least.

    Examples
    --------
    >>> thinned(np.array([2, 7, 8, 9, 3]), 0.999, np.array([2, 3]), np.random.default_rng(0)).tolist()
    [2, 7, 3]
    """
    words = np.flatnonzero(~np.isin(tokens, fixed))
    if not len(words):
        return tokens
    deleted = rng.random(len(words)) < share
    if deleted.all():
        deleted[rng.integers(len(words))] = False
    return np.delete(tokens, words[deleted])
