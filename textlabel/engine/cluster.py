"""Shards made by many machines: actors of Ray Data, in place of this process.

Plan, resume and assembly stay those of `predict_in_shards`, so a run may go on here and there in turn. Ray
gets the numbers of shards alone, so that no task of its own needs a processor: actors may hold them all.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import threading
import time
import warnings
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from textlabel.errors import ClusterError, PluginError, RecipeError

if TYPE_CHECKING:
    from textlabel.engine.cluster_worker import Job
    from textlabel.engine.predictor import Predictor
    from textlabel.engine.shards import Shards

log = logging.getLogger("textlabel")

#: seconds until somebody answers at an address, between two looks whether he still does, until a cluster
#: starts a process, and until the threads of Ray Data end
ANSWERS, WATCHES, STARTS, ENDS = 10, 10, 300, 30
#: how often an actor that died is started again, wherever there is room: more means that it dies of its work
RESTARTS = 10
#: how HTTP/2 begins, which Ray speaks: a fixed line, and a frame of settings, which both sides send
PREFACE, SETTINGS = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster that labels.

    Parameters
    ----------
    address : host:port of its head; "": what RAY_ADDRESS says, else the cluster of this machine, which is
        started if there is none.
    actors : how many processes label at once, each with a model of its own; 0: as many as fit.
    cpus : that each is given, and computes on.
    gpus : that each is given; 0.5: two share one.

    Raises
    ------
    RecipeError : no cluster can give this.

    Examples
    --------
    >>> Cluster("10.0.0.1:6379", cpus=4).actors
    0
    """

    address: str = ""
    actors: int = 0
    cpus: float = 1.0
    gpus: float = 0.0

    def __post_init__(self) -> None:
        if self.actors < 0:
            raise RecipeError(f"actors = {self.actors}: expected how many, or 0 for all that fit")
        if self.cpus <= 0:
            raise RecipeError(f"cpus = {self.cpus}: an actor needs a processor, or a part of one")
        if self.gpus < 0 or (self.gpus > 1 and self.gpus != int(self.gpus)):
            raise RecipeError(f"gpus = {self.gpus}: expected a part of one, or a whole number")
        _refuse_client(self.address)

    @property
    def threads(self) -> int:
        """Threads that an actor computes on."""
        return max(int(self.cpus), 1)

    @contextmanager
    def connected(self) -> Iterator[Workers]:
        """Give the processes that will label. Where Ray runs in this process already, it is used, and stays.

        Raises
        ------
        PluginError : Ray is not installed.
        RecipeError : a launcher started several processes, or there is less room than asked for.
        ClusterError : no cluster answers, or it starts no process.
        """
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise RecipeError(
                "a launcher started several processes, and each would ask the cluster to do all of the work: "
                "with the engine ray start one, without accelerate or torchrun"
            )
        if find_spec("ray") is None:
            raise PluginError("the engine ray needs Ray: pip install 'textlabel[ray]', on every node")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # by default it reports to its makers
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # else its C++ writes to stderr
        import ray

        ours = not ray.is_initialized()
        if ours:
            _connect(self.address)
        try:
            with _watched(ray.get_runtime_context().gcs_address):
                yield Workers(self, self._room(ray.nodes()), self._hardware())
        finally:
            if ours:
                _await_threads()
                ray.shutdown()

    def _room(self, nodes: Sequence[dict[str, Any]]) -> int:
        """Return how many actors work at once.

        Raises
        ------
        RecipeError : fewer fit than are asked for, or none.
        """
        alive = [node["Resources"] for node in nodes if node["Alive"]]
        fits = sum(self._fits(node) for node in alive)
        if fits and self.actors <= fits:
            return self.actors or fits
        has = "; ".join(f"{node.get('CPU', 0):g} CPUs, {node.get('GPU', 0):g} GPUs" for node in alive)
        raise RecipeError(
            f"{self.actors or 1} actors with {self.cpus:g} CPUs and {self.gpus:g} GPUs each: the cluster has "
            f"room for {fits} on its {len(alive)} nodes ({has}); ask for fewer or smaller actors"
        )

    def _fits(self, node: dict[str, float]) -> int:
        """Return how many actors one node holds."""
        needs = {"CPU": self.cpus, "GPU": self.gpus}
        return min(int(node.get(name, 0) / share + 1e-9) for name, share in needs.items() if share)

    def _hardware(self) -> tuple[str, str]:
        """Return on what kind of device an actor computes, and its processors; this node may be another."""
        import ray

        from textlabel.engine.cluster_worker import hardware_here

        asked = ray.remote(num_cpus=self.cpus, num_gpus=self.gpus)(hardware_here).remote(self.threads)
        try:
            found: tuple[str, str] = ray.get(asked, timeout=STARTS)
        except ray.exceptions.GetTimeoutError:
            raise ClusterError(
                f"the cluster started no process of {self.cpus:g} CPUs and {self.gpus:g} GPUs within "
                f"{STARTS} seconds: others may use it (`ray status` tells); wait, or ask for smaller actors"
            ) from None
        except ray.exceptions.RayError as error:
            raise ClusterError(
                f"a node of the cluster cannot run textlabel: {_last_line(error)}. Install the same on every "
                "node: pip install 'textlabel[ray]'"
            ) from error
        return found


@dataclass(frozen=True)
class Workers:
    """Processes of a cluster that label.

    Parameters
    ----------
    count : how many at once.
    hardware : kind of device on which they compute, and its processors.
    """

    cluster: Cluster
    count: int
    hardware: tuple[str, str]

    def make(
        self, shards: Shards, numbers: Sequence[int], predictor: Predictor, embeddings: bool
    ) -> Iterator[tuple[int, int]]:
        """Make the shards of these numbers, and give rows and tokens of each when it is done.

        Parameters
        ----------
        predictor : whose model and texts are staged (`textlabel.engine.staged`).
        embeddings : whether shards hold features.

        Raises
        ------
        ClusterError : a node cannot; the shards that are finished stay.
        """
        import ray

        from textlabel.engine.cluster_worker import Job

        job = Job(
            shards.objects.place,
            shards.digest,
            predictor.fit.backend,
            predictor.cascade is not None,
            embeddings,
            self.cluster.threads,
        )
        by_node: Counter[str] = Counter()
        try:
            with closing(self._rows(job, numbers)) as rows:  # or actors would go on after an error
                for told in rows:
                    if told["fault"]:
                        raise ClusterError(f"node {told['node']}: {told['fault']}") from RuntimeError(
                            told["trace"]
                        )
                    by_node[told["node"]] += 1
                    yield told["rows"], told["tokens"]
        except ray.exceptions.RayError as error:
            raise ClusterError(
                f"the cluster cannot go on: {_last_line(error)}. What is finished stays: mend this and "
                "repeat the command"
            ) from error
        each = ", ".join(f"{n} on {name}" for name, n in sorted(by_node.items()))
        log.info("%d shards were made by %d actors: %s", len(numbers), self._size(numbers), each)

    def _rows(self, job: Job, numbers: Sequence[int]) -> Generator[dict[str, Any]]:
        import ray
        from ray.data import ActorPoolStrategy, DataContext, from_items

        from textlabel.engine.cluster_worker import Worker

        context = DataContext.get_current().copy()
        context.enable_progress_bars = context.print_on_execution_start = False
        pool = ActorPoolStrategy(size=self._size(numbers), max_tasks_in_flight_per_actor=1)
        with DataContext.current(context):
            plan = from_items([{"shard": number} for number in numbers], override_num_blocks=len(numbers))
            with warnings.catch_warnings():
                # Ray 2.64 drops max_restarts, without which an actor that dies of its work never ends
                warnings.simplefilter("ignore")
                made = plan.map_batches(
                    Worker,
                    batch_size=1,
                    compute=pool,
                    fn_constructor_args=(job,),
                    num_cpus=self.cluster.cpus,
                    num_gpus=self.cluster.gpus,
                    max_restarts=RESTARTS,
                    max_task_retries=-1,  # while its node is not known to be lost, many fail
                )
            # not iter_rows(), which fetches ahead in threads that outlive it
            for bundle in made.iter_internal_ref_bundles():
                for block in bundle.block_refs:
                    yield from ray.get(block).to_pylist()

    def _size(self, numbers: Sequence[int]) -> int:
        return min(self.count, len(numbers))


def _refuse_client(address: str) -> None:
    """Raise a `RecipeError` where an address is of Ray Client, which labels nothing."""
    if address.startswith("ray://"):
        raise RecipeError(
            f"{address} is an address of Ray Client: start the command on a node of the cluster, by hand or "
            "with `ray job submit`, and give the address of its head, host:6379"
        )


def _connect(address: str) -> None:
    """Connect this process to a cluster.

    Raises
    ------
    ClusterError : it cannot be reached, or has another version of Python or Ray.
    """
    import ray

    from_environment = os.environ.get("RAY_ADDRESS", "")
    _refuse_client(address or from_environment)
    _require_answer(address or from_environment)
    terminate = signal.getsignal(signal.SIGTERM)
    try:
        with _silent():
            ray.init(
                address or None, log_to_driver=False, logging_level=logging.WARNING, include_dashboard=False
            )
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise ClusterError(
            f"the cluster cannot be used: {error}. If it wants a token, set RAY_AUTH_MODE=token and have its "
            "~/.ray/auth_token here"
        ) from error
    finally:
        if terminate and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, terminate)  # Ray would end the process without a word
    _hush()


@contextmanager
def _silent() -> Iterator[None]:
    """Keep what C++ and child processes write off stderr, such as how they log from now on."""
    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(nowhere)
        os.close(stderr)


@contextmanager
def _watched(address: str) -> Iterator[None]:
    """Tell when the head of the cluster goes: a minute later Ray ends this process, without a word."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(WATCHES):
            if _no_answer(address) and (fault := _no_answer(address)):
                log.error(
                    "the head of the cluster, %s, does not answer (%s): if it is gone, Ray ends this process "
                    "within a minute; what is finished stays: repeat the command",
                    address,
                    fault,
                )
                return

    threading.Thread(target=watch, name="textlabel-watch", daemon=True).start()
    try:
        yield
    finally:
        done.set()


def _await_threads() -> None:
    """Wait for what Ray Data has running: a thread that frees an object of a cluster which this process
    has just left ends the process, in C++ and without a word.
    """
    gc.collect()
    deadline = time.monotonic() + ENDS
    for thread in threading.enumerate():
        if type(thread).__module__.startswith("ray.data"):
            thread.join(max(deadline - time.monotonic(), 0))


def _require_answer(address: str) -> None:
    """Raise a `ClusterError` where no Ray answers; Ray itself would try for many minutes."""
    if fault := _no_answer(address):
        raise ClusterError(
            f"no cluster answers at {address} ({fault}): start one there with `ray start --head`, or give "
            "the address that it told"
        )


def _no_answer(address: str) -> str:
    """Return why no Ray answers at host:port; "" if one does, or nobody can tell."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or os.environ.get("RAY_USE_TLS", "0") != "0":
        return ""
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWERS) as line:
            line.sendall(PREFACE + SETTINGS)
            begin = b""
            while len(begin) < 4 and (more := line.recv(4 - len(begin))):
                begin += more
            same = begin[3:] == SETTINGS[3:4]
    except OSError as error:
        return str(error)
    return "" if same else "what listens there is not the head of a cluster"


def _hush() -> None:
    """Let Ray Data print warnings only; what fails is raised, and told once."""
    import ray.data  # noqa: F401 - it sets its loggers up
    from ray.util.debug import log_once

    log_once("ray_data_progress_manager_disabled")  # else it warns that it draws no bars
    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
            handler.addFilter(lambda record: record.levelno == logging.WARNING)
    # what a node tells of lost actors Ray prints on stdout, whatever log_to_driver says
    from ray._private import worker

    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = _to_log


def _to_log(data: Mapping[str, Any], ignore_prefix: bool = False) -> None:
    """Take what Ray would print: the command tells by itself what went wrong."""
    for line in data["lines"]:
        log.debug("%s: %s", data["pid"], line)


def _last_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1].strip()
