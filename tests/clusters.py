"""Ray clusters of several nodes on this machine: each is processes of its own, with an address of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

TESTS = Path(__file__).parent
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",  # else a token in the user's home decides who may connect
    "OMP_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)]),
}


class Nodes:
    """A running cluster.

    Parameters
    ----------
    environment : of all that runs on the nodes, beside that of this process.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = {**os.environ, **QUIET, **environment}
        self._folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # paths of sockets must be short
        self._started: list[subprocess.Popen[bytes]] = []
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"127.0.0.1:{port}"
        self._start("--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={self._folder}")

    def add(self) -> None:
        """Start another node."""
        host = f"127.0.0.{len(self._started) + 1}"  # all of 127.0.0.0/8 is this machine
        self._start(f"--address={self.address}", f"--node-ip-address={host}")

    def _start(self, *words: str) -> None:
        """Start a node of one CPU."""
        log = Path(self._folder) / f"node-{len(self._started)}.log"
        command = [str(Path(sys.executable).with_name("ray")), "start", "--block", "--num-cpus=1"]
        with log.open("wb") as output:
            self._started.append(
                subprocess.Popen(
                    [*command, "--object-store-memory=100000000", *words],
                    env=self._environment,
                    stdout=output,
                    stderr=output,
                )
            )
        deadline = time.monotonic() + 60
        while b"Ray runtime started" not in log.read_bytes():
            assert self._started[-1].poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)

    def kill(self, number: int) -> None:
        """End all processes of a node by SIGKILL, as if its plug were pulled."""
        first = self._started[number]
        if first.poll() is not None:
            return
        whole = psutil.Process(first.pid)
        whole.suspend()  # it watches the others, and would end them in order
        for process in [*whole.children(recursive=True), whole]:
            try:
                process.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue
        first.wait()

    def stop(self) -> None:
        """End all of it."""
        for number in reversed(range(len(self._started))):
            self.kill(number)
        shutil.rmtree(self._folder, ignore_errors=True)


@contextmanager
def cluster(nodes: int = 2, first: Path | None = None, **environment: str) -> Iterator[Nodes]:
    """Give a cluster of nodes with one CPU each.

    Parameters
    ----------
    first : folder whose modules come before all others there, and so its ``sitecustomize.py`` runs.
    """
    if first is not None:
        environment["PYTHONPATH"] = os.pathsep.join([str(first), QUIET["PYTHONPATH"]])
    found = Nodes(environment)
    try:
        for _ in range(nodes - 1):
            found.add()
        yield found
    finally:
        found.stop()
