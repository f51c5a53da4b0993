"""What is minimized: one file, one loss. Here is what several losses share."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from textlabel.batching import by_length
from textlabel.episodes import Pool, places
from textlabel.errors import RecipeError
from textlabel.types import FloatArray, IntArray

if TYPE_CHECKING:
    from torch import Tensor, nn

    from textlabel.models.classifier import Classifier, Output
    from textlabel.protocols import Batch, Context

#: padded tokens that one pass over rows of a domain has: rows of a batch are of all lengths
DOMAIN_TOKENS = 1024


class OverRows:
    """What losses over labeled rows share: no modules, and epochs that read each row once."""

    players: ClassVar[tuple[str, ...]] = ("model",)
    splits: ClassVar[bool] = True

    def __init__(self, options: Any, context: Context) -> None:
        self.options = options
        self.context = context

    def modules(self) -> Mapping[str, nn.Module]:
        """Return no extra modules."""
        return {}

    def batches(self, size: int, rng: np.random.Generator) -> Iterator[Mapping[str, IntArray]]:
        """Return one shuffled epoch of rows grouped by length."""
        from textlabel.batching import shuffled

        for index in shuffled(self.context.rows["labeled"].lengths, size, rng):
            yield {"labeled": index}


def balanced_weights(targets: IntArray, classes: int, row_weights: FloatArray | None = None) -> FloatArray:
    """Return one weight a class (classes,) with which each class counts the same in total; mean 1 over rows.

    Rows count as ``row_weights`` (n,) say; None: as one each.

    Examples
    --------
    >>> balanced_weights(np.array([0, 0, 0, 1]), 2).round(3).tolist()
    [0.667, 2.0]
    """
    counts = np.bincount(targets, row_weights, minlength=classes)
    present = counts > 0
    weights = np.ones(classes)
    weights[present] = counts.sum() / (present.sum() * counts[present])
    return weights


def cosines(features: Tensor) -> Tensor:
    """Return the cosine similarity (b, b) of features (b, d), in float32 whatever the pass around it has."""
    import torch
    from torch.nn.functional import normalize

    with torch.autocast(features.device.type, enabled=False):
        unit = normalize(features.float(), dim=-1)
        found: Tensor = unit @ unit.T
        return found


class Episode(NamedTuple):
    """Rows that teach a head and rows that it must label: features, and class numbers within the episode."""

    support: Tensor
    taught: Tensor
    queries: Tensor
    asked: Tensor


class OverEpisodes:
    """What losses over episodes share: in each of a batch's tasks, the first rows of a class teach."""

    players: ClassVar[tuple[str, ...]] = ("model",)
    splits: ClassVar[bool] = False

    def __init__(self, options: Any, context: Context) -> None:
        rows, tasks = context.rows["tasks"], context.tasks
        assert tasks is not None
        self.options, self.context, self.tasks = options, context, tasks
        self.targets = np.asarray(rows.targets)
        self.pool = Pool.of(rows.groups, self.targets, tasks, options.shots + 1)

    def modules(self) -> Mapping[str, nn.Module]:
        """Return no extra modules."""
        return {}

    def batches(self, size: int, rng: np.random.Generator) -> Iterator[Mapping[str, IntArray]]:
        """Return an epoch of about as many rows as there are; every task is drawn equally often."""
        each = self.options.shots + self.options.queries
        rows = self.options.ways * each
        together = min(max(size // rows, 1), len(self.pool.tasks))
        for _ in range(-(-len(self.targets) // (together * rows))):
            chosen = rng.permutation(len(self.pool.tasks))[:together]
            drawn = [self.pool.draw(task, self.options.ways, each, rng) for task in chosen]
            yield {"tasks": np.concatenate(drawn)}

    def features(self, batch: Batch) -> Tensor:
        """Return features (b, d) of the rows of a batch."""
        return self.context.output("tasks", batch.index["tasks"]).features

    def episodes(self, batch: Batch, features: Tensor) -> Iterator[Episode]:
        """Yield the episodes of a batch, one a task, of its features."""
        import torch

        index = batch.index["tasks"]
        teaches = places(self.targets[index]) < self.options.shots
        for task in np.unique(self.tasks[index]):
            own = self.tasks[index] == task
            sides = []
            for some in (np.flatnonzero(own & teaches), np.flatnonzero(own & ~teaches)):
                way = np.searchsorted(np.unique(self.targets[index[own]]), self.targets[index[some]])
                sides += [features[torch.from_numpy(some).to(features.device)]]
                sides += [torch.from_numpy(way).to(features.device)]
            yield Episode(*sides)


def check_episode(name: str, ways: int, shots: int, queries: int) -> None:
    """Raise a `RecipeError` unless an episode has two classes, with rows on both sides."""
    if ways < 2 or shots < 1 or queries < 1:
        raise RecipeError(
            f"{name}: ways = {ways}, shots = {shots}, queries = {queries}; expected 2 or more ways, and 1 or "
            "more of the others"
        )


class OverDomains:
    """What losses over a labeled source and an unlabeled target share: cross-entropy plus `transfer`.

    A batch has as many target rows as source rows, both drawn whatever their length: were batches of one
    length, the domains that they compare would differ by length alone.
    """

    players: ClassVar[tuple[str, ...]] = ("model",)
    splits: ClassVar[bool] = False
    #: whether a domain has no loss by a single row, but only by rows that meet
    compares: ClassVar[bool] = False

    def __init__(self, options: Any, context: Context) -> None:
        if not len(context.rows.get("unlabeled", ())):
            raise RecipeError(
                "the objective reads unlabeled rows, such as those of a target domain, beside labeled rows: "
                "expected 1 or more of these, got none"
            )
        self.options, self.context = options, context
        # rows of unit length have small numbers: the wider they are, the smaller
        unit = context.classifier.info.normalize
        self.scale = context.classifier.head.in_features**0.5 if unit else 1.0

    def modules(self) -> Mapping[str, nn.Module]:
        """Return no extra modules."""
        return {}

    def batches(self, size: int, rng: np.random.Generator) -> Iterator[Mapping[str, IntArray]]:
        """Return one epoch of source rows, in batches as equal as can be, with as many target rows each.

        Raises
        ------
        RecipeError : the loss compares rows, and a batch would be of one row, or have one twice.
        """
        rows = {role: len(self.context.rows[role]) for role in ("labeled", "unlabeled")}
        if self.compares and (size < 3 or rows["labeled"] < 2):
            raise RecipeError(
                "the objective compares rows of a batch: expected batch_size = 3 or more and 2 labeled rows "
                f"or more, got batch_size = {size} and {rows['labeled']} labeled rows"
            )
        source = rng.permutation(rows["labeled"])
        batches = np.array_split(source, -(-len(source) // size))
        if self.compares and rows["unlabeled"] < len(batches[0]):
            raise RecipeError(
                "the objective compares rows of a batch, which must not be the same row: expected batch_size "
                f"= {max(rows['unlabeled'], 3)} or less, or more than {rows['unlabeled']} unlabeled rows"
            )
        order = np.zeros(0, dtype=np.int64)
        for some in batches:
            while len(order) < len(some):
                rest = order[:0] if self.compares else order  # a row must not stand beside itself
                order = np.concatenate([rest, rng.permutation(rows["unlabeled"])])
            yield {"labeled": some, "unlabeled": order[: len(some)]}
            order = order[len(some) :]

    def loss(self, player: str, batch: Batch) -> Tensor:
        """Return this share of the cross-entropy of source rows plus what `transfer` finds."""
        from torch.nn.functional import cross_entropy

        found = {role: self._read(role, index) for role, index in batch.index.items() if len(index)}
        loss = self.transfer(found, batch)
        if "labeled" in found:
            targets = self.context.targets("labeled", batch.index["labeled"])
            logits = found["labeled"].logits.float()
            loss = loss + cross_entropy(logits, targets, reduction="sum") / batch.total["labeled"]
        return loss

    def transfer(self, found: Mapping[str, Output], batch: Batch) -> Tensor:
        """Return this share of what draws the domains together (scalar).

        Parameters
        ----------
        found : float32 logits and scaled features by role; a share of a batch may lack one.
        """
        raise NotImplementedError

    def _read(self, role: str, index: IntArray) -> Output:
        """Return what the model says of some rows, with scaled features."""
        found = read_rows(self.context, role, index)
        return found._replace(features=self.scale * found.features)


class OverTexts:
    """What losses over unlabeled rows alone share: a head that stays says what the body learns from.

    Rows of a batch meet in what it says of all of them, so a batch is computed as a whole, and they are drawn
    whatever their length.
    """

    players: ClassVar[tuple[str, ...]] = ("model",)
    splits: ClassVar[bool] = False

    def __init__(self, options: Any, context: Context) -> None:
        if not len(context.rows.get("unlabeled", ())):
            raise RecipeError("the objective learns from unlabeled rows: expected 1 or more, got none")
        self.options, self.context = options, context

    def modules(self) -> Mapping[str, nn.Module]:
        """Return no extra modules."""
        return {}

    def batches(self, size: int, rng: np.random.Generator) -> Iterator[Mapping[str, IntArray]]:
        """Return one epoch of unlabeled rows, in batches as equal as can be."""
        rows = rng.permutation(len(self.context.rows["unlabeled"]))
        for index in np.array_split(rows, -(-len(rows) // size)):
            yield {"unlabeled": index}


class Adversarial(OverDomains):
    """What losses share in which the body works against a discriminator of the domains.

    The discriminator is of the same player as the model: with a reversal layer between them, one backward
    pass gives each its own gradient, and rows are read once. A player of its own would read them again.
    """

    def __init__(self, options: Any, context: Context) -> None:
        from textlabel.models.domains import Discriminator

        super().__init__(options, context)
        self.discriminator = Discriminator(self.width(), options.hidden)

    def width(self) -> int:
        """Return how many numbers of a row the discriminator sees."""
        return self.context.classifier.head.in_features

    def modules(self) -> Mapping[str, nn.Module]:
        """Return the discriminator."""
        return {"model": self.discriminator}

    def told_apart(self, role: str, seen: Tensor, batch: Batch) -> Tensor:
        """Return the loss (b,) of telling rows (b, width) of one role from the other's, in float32.

        The discriminator gets its whole gradient; only what goes on to ``seen`` is reversed, by a factor that
        rises with the progress of the stage.
        """
        import torch
        from torch.nn.functional import binary_cross_entropy_with_logits

        from textlabel.models.domains import reverse

        factor = self.options.reversal * ramp(batch.progress, self.options.warm)
        with torch.autocast(seen.device.type, enabled=False):
            odds = self.discriminator(reverse(seen, factor))
            return binary_cross_entropy_with_logits(
                odds, torch.full_like(odds, float(role == "labeled")), reduction="none"
            )


class Alternating(OverDomains):
    """What losses share in which another player learns, in a step of its own, from what the model read.

    The model steps first and leaves the features that it read, without their graph, to the next player: so
    the body reads each row but once a step, and no gradient of the other player can reach it.
    """

    def __init__(self, options: Any, context: Context) -> None:
        super().__init__(options, context)
        self._left: dict[tuple[str, bytes], Tensor] = {}

    def leave(self, role: str, index: IntArray, features: Tensor) -> None:
        """Keep scaled features (b, d) of some rows until they are taken."""
        self._left[role, index.tobytes()] = features.detach()

    def taken(self, role: str, index: IntArray) -> Tensor:
        """Return features (b, d) of some rows, without a graph: those left, once, or those of now."""
        import torch

        found = self._left.pop((role, index.tobytes()), None)
        if found is None:
            with torch.no_grad():
                found = self._read(role, index).features
        return found


def read_rows(context: Context, role: str, index: IntArray) -> Output:
    """Return what the model says of some rows, in passes of rows of similar length, in float32."""
    import torch

    from textlabel.models.classifier import Output

    parts = list(by_length(context.rows[role].lengths[index], DOMAIN_TOKENS))
    outputs = [context.output(role, index[part]) for part in parts]
    back = torch.from_numpy(np.argsort(np.concatenate(parts))).to(outputs[0].logits.device)
    logits, features = (torch.cat(some)[back].float() for some in zip(*outputs, strict=True))
    return Output(logits, features)


@contextmanager
def without_dropout(classifier: Classifier) -> Iterator[None]:
    """Let the model say within a block what it will say when it labels: nothing is dropped."""
    modes = [(module, module.training) for module in classifier.modules()]
    classifier.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def mean_entropy(logits: Tensor) -> Tensor:
    """Return the mean entropy E[H(p)] of the rows of logits (b, k), in nats; low where the model is sure."""
    logs = logits.log_softmax(dim=-1)
    found: Tensor = -(logs.exp() * logs).sum(dim=-1).mean()
    return found


def entropy_of_mean(logits: Tensor) -> Tensor:
    """Return the entropy H(E p) of the mean probabilities of logits (b, k), in nats; high for even classes.

    A loss that wants diverse answers has it with a minus sign. By logarithms all the way: where a probability
    is rounded to 0, its gradient is 0, not a fault.
    """
    logs = logits.log_softmax(dim=-1).logsumexp(dim=0) - math.log(len(logits))
    return -(logs.exp() * logs).sum()


def passes(rows: int, count: int, rng: np.random.Generator) -> IntArray:
    """Return ``count`` row numbers: shuffled passes over ``rows`` rows, one after another.

    Examples
    --------
    >>> passes(3, 7, np.random.default_rng(0)).tolist()
    [2, 0, 1, 2, 1, 0, 2]
    """
    return np.concatenate([rng.permutation(rows) for _ in range(-(-count // rows))])[:count]


def ramp(progress: float, warm: float) -> float:
    """Return the share of its largest factor by which a gradient is reversed (arXiv 1505.07818).

    It is 0 for a share ``warm`` of the steps, then 2 / (1 + exp(-10 p)) - 1, p the progress of the rest.

    Examples
    --------
    >>> [round(ramp(p, 0.1), 3) for p in (0.0, 0.1, 0.2, 0.55, 1.0)]
    [0.0, 0.0, 0.505, 0.987, 1.0]
    """
    rest = max(progress - warm, 0.0) / (1 - warm)
    return 2 / (1 + math.exp(-10 * rest)) - 1


def check_adversary(name: str, reversal: float, warm: float, hidden: int) -> None:
    """Raise a `RecipeError` unless options of an adversarial objective are in range."""
    if reversal < 0 or not 0 <= warm < 1 or hidden < 1:
        raise RecipeError(
            f"{name}: reversal = {reversal}, warm = {warm}, hidden = {hidden}; expected 0 or more, a share "
            "in [0, 1), and 1 or more"
        )


def check_strength(name: str, strength: float) -> None:
    """Raise a `RecipeError` unless a transfer term counts for something or nothing."""
    if strength < 0:
        raise RecipeError(f"{name}: strength = {strength}; expected 0 or more")
