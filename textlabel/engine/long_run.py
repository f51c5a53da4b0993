"""Predictions of a corpus that a kill cannot lose: planned, made shard by shard, put together at the end.

Each shard is tokenized, sorted and batched by itself, so that its numbers do not depend on when and in which
attempt it was made. Several processes take whole shards each, and wait for each other only before the first
shard and after the last. Equal texts are computed once.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from textlabel.batching import share
from textlabel.corpus.remote import is_url
from textlabel.engine.feature_cache import LIBRARIES, feature_facts, text_keys
from textlabel.engine.process import accelerator, processor
from textlabel.engine.shards import Arrays, Objects, Shards
from textlabel.engine.staged import Staged
from textlabel.errors import ExportError
from textlabel.models.windows import make_windows
from textlabel.progress import meter
from textlabel.types import IntArray, Predictions

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

    from textlabel.engine.cluster import Cluster, Workers
    from textlabel.engine.predict import Progress
    from textlabel.engine.predictor import Predictor
    from textlabel.engine.segments import Keys

log = logging.getLogger("textlabel")

#: rows of the corpus read at a time
CHUNK = 10_000


def predict_in_shards(
    predictor: Predictor,
    corpus: Dataset,
    checkpoint: str | Path,
    embeddings: bool = True,
    cluster: Cluster | None = None,
) -> Predictions:
    """Return the predictions of a corpus, in its order, on every process.

    Parameters
    ----------
    corpus : columns ``id`` and ``text``.
    checkpoint : folder, or URL that fsspec knows, for plan and shards. An unfinished run of the same corpus
        and model there goes on. It stays when all is done.
    embeddings : whether shards and predictions hold features, which are large.
    cluster : what makes the shards in place of this process, without the feature cache.

    Raises
    ------
    ClusterError, PluginError, RecipeError : the cluster cannot.
    ExportError : a shard cannot be written or read, or the folder holds another run; all that is finished
        stays.
    KeyboardInterrupt : somebody stopped it; the message says how much is done.
    """
    _refuse_long(predictor, corpus)
    with _workers(cluster) as workers:
        texts = Texts.of(corpus)
        hardware = (accelerator().device.type, processor()) if workers is None else workers.hardware
        facts = {**facts_of(predictor, embeddings, *hardware), "corpus": texts.digest}
        this = accelerator()
        with this.main_process_first():  # which plans, and the others read it
            cached = predictor.snapshot() if workers is None else []
            shards = Shards(Objects(_absolute(checkpoint)), len(texts.first), facts, cached)
        if workers is not None and shards.cached:
            raise ExportError(
                f"{shards.objects.shown} holds an unfinished run that looks features up in the feature "
                "cache, which no node has: finish it with the engine local, or start over with --fresh"
            )
        predictor.pin(shards.cached)
        with _told(shards), _cleared(shards):
            missing = shards.missing()
            this.wait_for_everyone()  # before one writes a shard that another has not looked for yet
            if len(missing) < len(shards):
                log.info("resuming: %d of %d shards are there", len(shards) - len(missing), len(shards))
            if workers is None:
                mine = share(np.array(missing, dtype=np.int64), this.process_index, this.num_processes)
                _write(predictor, corpus, texts, shards, mine.tolist(), embeddings)
            else:
                _let_write(workers, predictor, corpus, texts, shards, missing, embeddings)
            this.wait_for_everyone()
            found = _read(shards, corpus, texts, predictor)
    predictor.count(found)
    predictor.publish()
    return found


@contextmanager
def _workers(cluster: Cluster | None) -> Iterator[Workers | None]:
    if cluster is None:
        yield None
        return
    with cluster.connected() as workers:
        yield workers


def _absolute(place: str | Path) -> str:
    """Return a place as processes with another working directory find it."""
    return str(place) if is_url(place) else str(Path(place).absolute())


def _refuse_long(predictor: Predictor, corpus: Dataset) -> None:
    """Raise a `CorpusError` that names the row, before any is labeled, if one is longer than it may be."""
    model = predictor.bundle.classifier
    if model.info.on_long != "fail":
        return
    for rows in corpus.select_columns(["id", "text"]).iter(batch_size=CHUNK):
        for part in model.parts:
            make_windows(part.tokenizer, part.info, rows["text"], rows["id"])


@dataclass(frozen=True)
class Texts:
    """The different texts of a corpus of n rows.

    Parameters
    ----------
    first : (m,) row at which each text stands first, ascending.
    number : (n,) number of the text of each row, in [0, m).
    digest : tells this corpus from others, by ids and texts.
    """

    first: IntArray
    number: IntArray
    digest: str

    @classmethod
    def of(cls, corpus: Dataset) -> Texts:
        """Return the texts of a corpus, which is read piece by piece."""
        digest, keys = hashlib.sha256(), [text_keys([])]
        for rows in corpus.select_columns(["id", "text"]).iter(batch_size=CHUNK):
            keys.append(text_keys(rows["text"]))
            digest.update(json.dumps(rows["id"]).encode())
            digest.update(keys[-1].tobytes())
        return cls(*_different(np.concatenate(keys)), digest.hexdigest())


def _different(keys: Keys) -> tuple[IntArray, IntArray]:
    """Return at which row each different key stands first, ascending, and the number of each row's key."""
    order = np.lexsort(keys.T)  # equal keys side by side, in the order of their rows
    begins = np.zeros(len(keys), np.bool_)
    begins[:1] = True
    for half in keys.T:
        begins[1:] |= np.diff(half[order]) != 0
    firsts = order[begins]
    row = np.empty_like(order)
    row[order] = firsts[np.cumsum(begins) - 1]  # where the text of each row stands first
    stands_first = np.zeros(len(keys), np.bool_)
    stands_first[firsts] = True
    return np.flatnonzero(stands_first), (np.cumsum(stands_first) - 1)[row]


def facts_of(predictor: Predictor, embeddings: bool, device: str, chip: str) -> dict[str, Any]:
    """Return what decides the numbers beside the corpus.

    Parameters
    ----------
    device, chip : kind of device that computes, and its processors (`textlabel.engine.process.processor`).
    """
    bundle, fit = predictor.bundle, predictor.fit
    parts = bundle.classifier.parts
    bodies = [feature_facts(part, fit.backend, fit.folder, device) for part in parts]
    # told by themselves, and not as another model
    versions = dict(zip(LIBRARIES, bodies[0]["versions"], strict=True))
    told = [{k: v for k, v in body.items() if k not in ("versions", "processor")} for body in bodies]
    model = json.dumps([bundle.digest(), *told], sort_keys=True)
    return {
        "long_texts": bundle.classifier.info.on_long,  # told before the model, whose digest holds it, too
        "window_pooling": bundle.classifier.info.window_pooling,
        "model": hashlib.sha256(model.encode()).hexdigest(),
        "backend": fit.backend,
        "processor": chip,
        "recomputing_backends": predictor.again_by,
        "cascade": predictor.cascade is not None,
        "device": device,
        "stored_embeddings": embeddings,
        **{f"{name}_version": version for name, version in versions.items()},
    }


def _write(
    predictor: Predictor,
    corpus: Dataset,
    texts: Texts,
    shards: Shards,
    numbers: list[int],
    embeddings: bool,
) -> None:
    """Make shards, in this process alone."""
    spans = [shards.span(number) for number in numbers]
    total, before = sum(end - start for start, end in spans), predictor.tokens
    column, done = _column(corpus), 0
    with meter("annotate", total) as update:

        def report(rows: int, _: int = 0) -> None:
            update(done + rows, predictor.tokens - before)

        for number, (start, end) in zip(numbers, spans, strict=True):
            part = _texts_at(column, texts.first[start:end]).to_pylist()
            shards.write(number, arrays_of(predictor, part, embeddings, report))
            report(end - start)
            done += end - start


def arrays_of(
    predictor: Predictor, texts: list[str], embeddings: bool, progress: Progress | None = None
) -> Arrays:
    """Return what a shard of these texts holds."""
    arrays: Arrays = predictor(texts, texts, progress, alone=True).arrays()
    if not embeddings:
        arrays.pop("embeddings", None)
    return arrays


def _let_write(
    workers: Workers,
    predictor: Predictor,
    corpus: Dataset,
    texts: Texts,
    shards: Shards,
    numbers: list[int],
    embeddings: bool,
) -> None:
    """Let a cluster make shards."""
    if not numbers:
        return
    total, rows, tokens = sum(end - start for start, end in map(shards.span, numbers)), 0, 0
    stage(predictor, corpus, texts, shards, numbers)
    with meter("annotate", total) as update:
        for more_rows, more_tokens in workers.make(shards, numbers, predictor, embeddings):
            rows, tokens = rows + more_rows, tokens + more_tokens
            update(rows, tokens)


def stage(predictor: Predictor, corpus: Dataset, texts: Texts, shards: Shards, numbers: list[int]) -> None:
    """Lay down what nodes need to make shards: the model, and their texts."""
    staged, column = Staged(shards.objects.place, shards.digest), _column(corpus)
    staged.put_model(predictor.bundle)
    for number in numbers:
        staged.put_texts(number, _texts_at(column, texts.first[slice(*shards.span(number))]))


@contextmanager
def _cleared(shards: Shards) -> Iterator[None]:
    """Delete at the end, however it comes, what this run or one before it staged."""
    try:
        yield
    finally:
        if accelerator().is_main_process:
            Staged(shards.objects.place, shards.digest).discard()


def _column(corpus: Dataset) -> Dataset:
    return corpus.select_columns("text").with_format("arrow")


def _texts_at(column: Dataset, rows: IntArray) -> pa.ChunkedArray:
    """Return the texts at some rows, ascending, which are read as the one stretch that they are of."""
    import pyarrow as pa

    first, last = int(rows[0]), int(rows[-1])
    wanted = np.zeros(last + 1 - first, np.bool_)
    wanted[rows - first] = True
    stretch = column[first : last + 1].column("text")
    return stretch.filter(pa.array(wanted))  # `take` would first copy all of it


def _read(shards: Shards, corpus: Dataset, texts: Texts, predictor: Predictor) -> Predictions:
    """Return the predictions of all rows, put together from the shards."""
    schema = predictor.bundle.classifier.schema
    whole: Arrays = {}
    for number, part in enumerate(shards.read()):
        for name, array in part.items():
            if not number:
                whole[name] = np.empty((shards.rows, *array.shape[1:]), array.dtype)
            whole[name][slice(*shards.span(number))] = array
    if not whole:
        return predictor([], [], alone=True)
    if len(texts.number) > shards.rows:
        whole = {name: whole.pop(name)[texts.number] for name in list(whole)}
    return Predictions(corpus["id"], schema=schema, **whole)


@contextmanager
def _told(shards: Shards) -> Iterator[None]:
    """Say how much is done when somebody stops the run."""
    try:
        yield
    except KeyboardInterrupt as stop:
        raise type(stop)(
            f"{shards.finished()} of {len(shards)} shards are done; repeat the command to go on"
        ) from None
