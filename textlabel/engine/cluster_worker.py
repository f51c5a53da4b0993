"""What runs on the nodes of a cluster: it makes shards of what is staged at the checkpoint."""

from __future__ import annotations

import os
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from textlabel.corpus.remote import shown
from textlabel.engine.long_run import arrays_of, facts_of
from textlabel.engine.predictor import Predictor
from textlabel.engine.process import accelerator, processor
from textlabel.engine.shards import Objects, Shards
from textlabel.engine.staged import Staged
from textlabel.errors import ClusterError, TextlabelError

#: of the plan, what tells corpus and model, which a node takes as they are laid down for it
_GIVEN = ("rows", "rows_of_a_shard", "corpus", "model")


@dataclass(frozen=True)
class Job:
    """What a worker is told.

    Parameters
    ----------
    checkpoint : place of plan, shards, and what is staged.
    plan : digest of the plan that must lie there.
    backend, cascade : as `Predictor`.
    embeddings : whether shards hold features.
    threads : that a worker computes on.
    """

    checkpoint: str
    plan: str
    backend: str
    cascade: bool
    embeddings: bool
    threads: int


def hardware_here(threads: int) -> tuple[str, str]:
    """Return the kind of device on which a process of these resources computes, and its processors."""
    use_threads(threads)
    return accelerator().device.type, processor()


def use_threads(number: int) -> None:
    """Compute, and tokenize, on as many threads as this process was given processors."""
    os.environ["RAYON_NUM_THREADS"] = str(number)  # read when a tokenizer first runs
    import torch

    torch.set_num_threads(number)


def node() -> str:
    """Return by what people tell this node from others."""
    import ray

    return f"{ray.util.get_node_ip_address()} ({ray.get_runtime_context().get_node_id()[:8]})"


class Worker:
    """Makes shards; one process of a cluster, with a model of its own.

    It returns what went wrong instead of raising it: what an actor raises comes wrapped in reports of others.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._ready: tuple[Shards, Predictor] | None = None

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[Any]]:
        """Make the shard that a batch of one row names, and return who made how much."""
        number = int(batch["shard"][0])
        told = {"shard": number, "rows": 0, "tokens": 0, "node": node(), "fault": "", "trace": ""}
        try:
            told["rows"], told["tokens"] = self._make(number)
        except Exception as error:
            known = isinstance(error, TextlabelError)
            told["fault"] = str(error) if known else f"{type(error).__name__}: {error}"
            told["trace"] = traceback.format_exc()
        return {name: [value] for name, value in told.items()}

    def _make(self, number: int) -> tuple[int, int]:
        """Make a shard and return its rows, and the tokens that went through the body."""
        if self._ready is None:
            self._ready = self._prepare()
        shards, predictor = self._ready
        texts, before = Staged(self._job.checkpoint, self._job.plan).texts(number), predictor.tokens
        start, end = shards.span(number)
        if len(texts) != end - start:
            raise ClusterError(f"shard {number} has {len(texts)} texts, {end - start} were planned")
        shards.write(number, arrays_of(predictor, texts, self._job.embeddings))
        return end - start, predictor.tokens - before

    def _prepare(self) -> tuple[Shards, Predictor]:
        job = self._job
        shards = open_plan(job.checkpoint, job.plan)
        use_threads(job.threads)
        with TemporaryDirectory(prefix="textlabel-") as folder:
            bundle = Staged(job.checkpoint, job.plan).model(Path(folder) / "model")
            predictor = Predictor(bundle, job.backend, cascade=job.cascade)
            require_same(shards.facts, facts_of(predictor, job.embeddings, *hardware_here(job.threads)))
        return shards, predictor


def open_plan(checkpoint: str, digest: str) -> Shards:
    """Return the shards that the driver planned.

    Raises
    ------
    ClusterError : they are not seen from here.
    """
    shards = Shards.planned(Objects(checkpoint))
    if shards is None or shards.digest != digest:
        raise ClusterError(
            f"it does not see the plan in {shown(checkpoint)}: choose a place that all nodes reach, on a "
            "shared disk or by a URL such as s3://bucket/folder; annotate keeps it beside its output, and of "
            "one on the Hub in TEXTLABEL_HOME"
        )
    return shards


def require_same(planned: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Refuse a node whose numbers would be others than planned.

    Raises
    ------
    ClusterError : a fact differs, which is named with both values.
    """
    for name, value in here.items():
        if name not in _GIVEN and planned.get(name) != value:
            raise ClusterError(
                f"its {name.replace('_', ' ')} is {value}, and the run was planned with {planned.get(name)}: "
                "numbers would differ between nodes. All of them, and the one where the command runs, must "
                "be alike in this"
            )
