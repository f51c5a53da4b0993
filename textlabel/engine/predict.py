"""The prediction pass: texts in input order in, logits and features in input order out.

Texts that the feature cache knows are looked up by the main process. The others are tokenized once without
padding, equal ones once, sorted by length within windows and batched by a token budget. Under several
processes each takes every other batch; the parts are added up, so that every row is computed exactly once
and lands where it came from. A process may also compute by itself (``alone``): then it waits for no other.
Where several backbones were joined, each does all of this by itself.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from textlabel import registry
from textlabel.batching import Padded, by_length, pad, share
from textlabel.engine.feature_cache import text_keys
from textlabel.engine.process import accelerator, sum_over_processes
from textlabel.engine.shared_features import Store, open_store
from textlabel.errors import PluginError, TrainingError
from textlabel.models.backbone import encode
from textlabel.models.backbone_info import require_one
from textlabel.models.backend_fit import REFERENCE
from textlabel.models.windows import make_windows
from textlabel.types import IntArray

if TYPE_CHECKING:
    from textlabel.engine.feature_cache import FeatureCache
    from textlabel.engine.segments import Keys
    from textlabel.engine.shared_features import SharedSpace
    from textlabel.models.backbone_info import BackboneInfo
    from textlabel.models.classifier import Classifier

log = logging.getLogger("textlabel")

#: rows tokenized, sorted and gathered at a time
WINDOW = 20_000

Float32 = npt.NDArray[np.float32]
Progress = Callable[[int, int], None]
Item = TypeVar("Item")
Made = TypeVar("Made")


def predict(
    classifier: Classifier,
    texts: Sequence[str],
    *,
    backend: str = "torch",
    token_budget: int = 0,
    cache: Store | None = None,
    progress: Progress | None = None,
) -> tuple[Float32, Float32]:
    """Return logits (n, k) and features (n, d) of texts, on every process.

    Parameters
    ----------
    backend : plugin that runs the forward pass.
    token_budget : padded tokens a batch; 0: what suits the backend. Changes speed, not the labels.
    cache : folder of the feature cache (`textlabel.engine.feature_cache.cache_folder`), or what models share
        (`textlabel.engine.shared_features`); None: without.
    progress : called with (rows done, rows) after each batch.
    """
    featurizer = featurizer_of(classifier, backend, token_budget, cache=cache)
    features = featurizer.features(texts, progress)
    logits = head_logits(classifier, features)
    featurizer.publish()
    return logits, features


def head_logits(classifier: Classifier, features: Float32) -> Float32:
    """Return the head's logits (n, k) of features (n, d).

    Raises
    ------
    TrainingError : a logit is not a number.
    """
    from textlabel.models.classifier import Frozen

    if isinstance(classifier.head, Frozen):
        logits: Float32 = classifier.head.solved()(features).astype(np.float32)
    else:
        weight, bias = (p.detach().float().cpu().numpy() for p in classifier.head.parameters())
        logits = features @ weight.T + bias
    if not np.isfinite(logits).all():
        bad = int(np.flatnonzero(~np.isfinite(logits).all(axis=1))[0])
        raise TrainingError(f"the model gives no number for row {bad}: its weights are damaged; fit again")
    return logits


class Featurizer:
    """A classifier's body, ready to turn texts into features.

    Parameters
    ----------
    backend, token_budget, cache : as `predict`. With a cache, the body must not train any more.
    folder : files that the backend needs, if it needs any.

    A cache that is full or empty changes when a text is computed, and so, with its batch mates, the last bits
    of its features. Therefore it finds nothing that was added since the featurizer was made or last
    published, not even by itself.
    """

    def __init__(
        self,
        classifier: Classifier,
        backend: str = "torch",
        token_budget: int = 0,
        folder: Path | None = None,
        cache: Store | None = None,
    ) -> None:
        module = registry.load("backend", backend)
        if lacks := module.lacks():
            raise PluginError(f"backend {backend!r} does not run here, it needs {lacks}")
        self.classifier = classifier
        self.backend: Any = module.Backend(classifier, folder)
        self.budget = token_budget or self.backend.budget
        #: rows that came from the cache, and tokens that went through the body here
        self.from_cache = self.tokens = 0
        #: which rows of the last call came from the cache, (n,)
        self.known: npt.NDArray[np.bool_] = np.zeros(0, np.bool_)
        self._told_cut = False
        #: in how many windows each row of the last call was read, (n,); more than 1 for long ones only
        self.windows: IntArray = np.zeros(0, np.int64)
        self.cache: FeatureCache | SharedSpace | None = None
        if cache is not None:
            self.cache = open_store(cache, classifier, backend, folder, accelerator().device.type)

    def features(
        self, texts: Sequence[str], progress: Progress | None = None, alone: bool = False
    ) -> Float32:
        """Return features (n, d) of texts, in their order.

        Parameters
        ----------
        alone : this process computes all of them and waits for no other; else processes share the texts, and
            all of them must call this with the same ones.

        Raises
        ------
        CorpusError : a text is too long, and the model's ``on_long`` is "fail".
        """
        info = self.classifier.info
        long = make_windows(self.classifier.tokenizer, info, texts)
        if long is None:
            self.windows = np.ones(len(texts), np.int64)
            return self._features(texts, progress, alone)
        self.windows = long.counts
        found = self._features(long.texts, progress, alone)
        self.known = np.bincount(long.owner, ~self.known) == 0
        return long.pooled(found, info.window_pooling)

    def _features(self, texts: Sequence[str], progress: Progress | None, alone: bool) -> Float32:
        crew = _Crew() if alone else _Crew(accelerator().process_index, accelerator().num_processes)
        found = np.zeros((len(texts), self.classifier.head.in_features), np.float32)
        # of a crew the first reads and writes it, so processes need not agree, nor share a disk
        cache = None if crew.rank else self.cache
        keys = text_keys(texts) if cache else None
        self.known = self._look_up(cache, keys, found, crew)
        missing = np.flatnonzero(~self.known)
        self.from_cache += len(texts) - len(missing)
        self._compute(texts, missing, found, progress, crew)
        if cache and keys is not None:
            cache.add(keys[missing], found, missing)
        return found

    @property
    def caches(self) -> list[FeatureCache | SharedSpace]:
        """Where it looks features up."""
        return [] if self.cache is None else [self.cache]

    def publish(self) -> None:
        """Let the cache find what was added, now that the run that used it is done."""
        if self.cache:
            self.cache.publish()

    def _look_up(
        self, cache: FeatureCache | SharedSpace | None, keys: Keys | None, found: Float32, crew: _Crew
    ) -> npt.NDArray[np.bool_]:
        """Fill rows that the cache knows, on every process, and return which they are, (n,)."""
        known = np.zeros(len(found), np.float32)
        if cache and keys is not None:
            known += cache.find(keys, found)
        known = crew.sum(known)
        if crew.world > 1 and known.any():
            for start in range(0, len(found), WINDOW):
                found[start : start + WINDOW] = crew.sum(found[start : start + WINDOW])
        return np.asarray(known > 0)

    def _compute(
        self,
        texts: Sequence[str],
        index: IntArray,
        found: Float32,
        progress: Progress | None,
        crew: _Crew,
    ) -> None:
        """Fill rows ``index``, equal texts from one forward pass."""
        once: dict[str, int] = {}
        number = np.array([once.setdefault(texts[i], len(once)) for i in index.tolist()], dtype=np.int64)
        different, known = list(once), len(texts) - len(index)
        starts = range(0, len(different), WINDOW)
        windows = (different[start : start + WINDOW] for start in starts)
        for start, tokens in zip(starts, self._encoded(windows), strict=True):

            def report(share: float, start: int = start, rows: int = len(tokens)) -> None:
                if progress:
                    done = (start + share * rows) / len(different)
                    progress(known + round(done * len(index)), len(texts))

            here = np.flatnonzero((number >= start) & (number < start + len(tokens)))
            found[index[here]] = self._window(tokens, report, crew)[number[here] - start]

    def of_tokens(self, tokens: list[list[int]]) -> Float32:
        """Return features (n, d) of texts that `read` turned into token ids, by this process alone."""
        return self._window(tokens, lambda share: None, _Crew())

    def read(self, texts: list[str]) -> list[list[int]]:
        """Return the token ids of texts, cut at the most that the body reads."""
        return encode(self.classifier.tokenizer, self.classifier.info, texts)

    def _encoded(self, windows: Iterator[list[str]]) -> Iterator[list[list[int]]]:
        """Yield the tokens of windows of texts; while a GPU computes one, those of the next are made."""
        on_cpu = accelerator().device.type == "cpu"
        return map(self.read, windows) if on_cpu else ahead(self.read, windows)

    def _tell_cut(self, lengths: list[int]) -> None:
        """Warn once of texts that are probably cut: they fill what the body reads."""
        longest = self.classifier.info.max_length
        if self._told_cut or max(lengths) < longest or not accelerator().is_main_process:
            return
        self._told_cut = True
        log.warning(
            "some texts have more than %d tokens, and what is beyond is not read; --on-long window "
            '(on_long="window") reads all of it',
            longest,
        )

    def _window(self, tokens: list[list[int]], report: Callable[[float], None], crew: _Crew) -> Float32:
        """Return features (n, d) of tokenized texts."""
        if self.classifier.info.on_long == "truncate" and tokens:
            self._tell_cut([len(row) for row in tokens])
        longest = self.classifier.info.max_length  # a position beyond it may have no vector
        lengths = np.minimum(round_up([len(row) for row in tokens], self.backend.multiple), longest)
        batches = list(by_length(lengths, self.budget))
        mine = [batches[i] for i in share(np.arange(len(batches)), crew.rank, crew.world)]
        found = np.zeros((len(tokens), self.classifier.head.in_features), np.float32)
        done, rows = 0, sum(map(len, mine))
        padded = _padded(tokens, lengths, mine, self.classifier.pad_id)
        for index, features in zip(mine, self.backend.features(padded), strict=True):
            found[index] = features
            done += len(index)
            self.tokens += sum(len(tokens[i]) for i in index)
            report(done / rows)
        return crew.sum(found)


class JointFeaturizer:
    """The featurizers of several backbones, with the methods of one; backend torch alone.

    Features (n, d) are those of the parts, side by side, each of unit length over the root of their number
    (`textlabel.models.joint`). A text without a feature in a part, such as one of words that a static part
    does not know, is 0 there.

    Parameters
    ----------
    token_budget, cache : as `predict`.
    """

    def __init__(self, classifier: Classifier, token_budget: int = 0, cache: Store | None = None) -> None:
        self.members = [Featurizer(part, token_budget=token_budget, cache=cache) for part in classifier.parts]
        #: rows that came from the caches of all parts that have one
        self.from_cache = 0
        #: as `Featurizer.known` and `Featurizer.windows`, the most windows of any part
        self.known: npt.NDArray[np.bool_] = np.zeros(0, np.bool_)
        self.windows: IntArray = np.zeros(0, np.int64)

    def features(
        self, texts: Sequence[str], progress: Progress | None = None, alone: bool = False
    ) -> Float32:
        """Return features (n, d) of texts, in their order; parameters and errors as `Featurizer.features`."""
        count, n = len(self.members), len(texts)
        blocks: list[Float32] = []
        for number, member in enumerate(self.members):

            def report(done: int, rows: int, number: int = number) -> None:
                if progress:
                    progress(round((number * rows + done) / count), rows)

            found = member.features(texts, report, alone)
            length = np.linalg.norm(found, axis=1, keepdims=True) * np.float32(count**0.5)
            blocks.append(found / np.maximum(length, np.finfo(np.float32).tiny))
        kept = [member.known for member in self.members if member.caches]
        self.known = np.logical_and.reduce(kept) if kept else np.zeros(n, np.bool_)
        self.windows = np.maximum.reduce([member.windows for member in self.members])
        self.from_cache += int(self.known.sum())
        return np.concatenate(blocks, axis=1)

    @property
    def tokens(self) -> int:
        """Tokens that went through the bodies here."""
        return sum(member.tokens for member in self.members)

    @property
    def caches(self) -> list[FeatureCache | SharedSpace]:
        """Where the parts look features up."""
        return [cache for member in self.members for cache in member.caches]

    def publish(self) -> None:
        """As `Featurizer.publish`."""
        for member in self.members:
            member.publish()


def featurizer_of(
    classifier: Classifier,
    backend: str = "torch",
    token_budget: int = 0,
    folder: Path | None = None,
    cache: Store | None = None,
) -> Featurizer | JointFeaturizer:
    """Return what turns texts into the features of a classifier; the parameters are those of `Featurizer`.

    Raises
    ------
    PluginError : the backend does not run here.
    RecipeError : it is another than torch, and several backbones were joined.
    """
    if not classifier.info.parts:
        return Featurizer(classifier, backend, token_budget, folder, cache)
    require_torch(classifier.info, backend)
    return JointFeaturizer(classifier, token_budget, cache)


def require_torch(info: BackboneInfo, backend: str) -> None:
    """Raise a `RecipeError` if another backend is to run several backbones."""
    if backend != REFERENCE:
        require_one(info, f"backend {backend!r} runs", "use backend torch")


@dataclass(frozen=True)
class _Crew:
    """The processes that share a call, and which of them this one is."""

    rank: int = 0
    world: int = 1

    def sum(self, array: Float32) -> Float32:
        return sum_over_processes(array) if self.world > 1 else array


def ahead(make: Callable[[Item], Made], items: Iterable[Item]) -> Iterator[Made]:
    """Yield ``make(item)`` of each item, the next being made by a thread while one is used.

    Examples
    --------
    >>> list(ahead(len, ["a", "bc"]))
    [1, 2]
    """
    with ThreadPoolExecutor(1) as thread:
        running: Future[Made] | None = None
        for item in items:
            queued = thread.submit(make, item)
            if running is not None:
                yield running.result()
            running = queued
        if running is not None:
            yield running.result()


def round_up(lengths: Sequence[int], multiple: int) -> IntArray:
    """Return lengths rounded up to a multiple, so that a backend meets few different shapes.

    Examples
    --------
    >>> round_up([1, 8, 9], 8).tolist()
    [8, 8, 16]
    """
    return -(-np.asarray(lengths, dtype=np.int64) // multiple) * multiple


def _padded(
    tokens: list[list[int]], lengths: IntArray, batches: list[IntArray], pad_id: int
) -> Iterator[Padded]:
    for index in batches:
        yield pad([tokens[i] for i in index], pad_id, int(lengths[index].max()))
