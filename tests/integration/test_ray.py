"""Annotations made by a Ray cluster of two nodes are those of one machine, whoever is killed meanwhile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny import snippets, write_static

from textlabel import Labeler

pytest.importorskip("ray")

from clusters import QUIET, Nodes, cluster

pytestmark = [pytest.mark.slow, pytest.mark.alone]

ROWS = 320
SHARDS = ROWS // 8
#: the command, with small shards, and after some Python lines
COMMAND = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in a shell's background ignores it
from textlabel.engine import cluster, long_run, shards, staged
shards.LEAST_ROWS = 8
{script}
from textlabel.cli import main
sys.argv = ["textlabel", *sys.argv[1:]]
main()
"""
#: what the nodes run before anything else
SLOWLY = """
import time
from textlabel.engine import shards
put = shards.Objects.put
def slowly(self, name, content):
    put(self, name, content)
    if name.endswith("json"):
        time.sleep(0.2)
shards.Objects.put = slowly
"""
DEADLY = """
import os, signal
from textlabel.engine import shards
put = shards.Objects.put
def deadly(self, name, content):
    if name == "shard-00003.safetensors":
        os.kill(os.getpid(), signal.SIGKILL)
    put(self, name, content)
shards.Objects.put = deadly
"""


def prepare(folder: Path, backbone: Path | str) -> Path:
    Labeler(backbone, cache=False).fit(snippets(40)).save(folder / "model")
    rows = [{"id": row["id"], "text": row["text"]} for row in snippets(ROWS, seed=2)]
    rows += [{**rows[i], "id": f"again{i}"} for i in (3, 40, 41)]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def start(folder: Path, *words: str, script: str = "", **environment: str) -> subprocess.Popen[str]:
    corpus, model = environment.pop("corpus", "corpus.jsonl"), environment.pop("model", "model")
    command = [sys.executable, "-c", COMMAND.format(script=script), "annotate", corpus, "--model", model]
    return subprocess.Popen(
        [*command, "--format", "jsonl", *words],
        cwd=folder,
        env={**os.environ, **QUIET, "TEXTLABEL_CACHE_GB": "0", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=240)
    return process.returncode, out, err


def on(nodes: Nodes, *words: str) -> tuple[str, ...]:
    return ("--engine", "ray", "--ray-address", nodes.address, *words)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def finished(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("shard-*.json")}


def wait_for_shards(process: subprocess.Popen[str], folder: Path, number: int) -> None:
    while len(finished(folder)) < number:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


@pytest.fixture(scope="module")
def home(tiny_backbone, tmp_path_factory) -> Path:
    """Return a folder with a model, a corpus, and the annotations of a run on this machine."""
    folder = prepare(tmp_path_factory.mktemp("ray"), tiny_backbone)
    code, _, err = finish(start(folder, "--out", "whole"))
    assert code == 0, err
    return folder


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with cluster() as found:
        yield found


@pytest.fixture
def slow_nodes(tmp_path) -> Iterator[Nodes]:
    (tmp_path / "sitecustomize.py").write_text(SLOWLY)
    with cluster(first=tmp_path) as found:
        yield found


def test_two_nodes_whose_actors_hold_all_cpus_make_the_bytes_of_one_machine(home, nodes):
    code, out, err = finish(start(home, "--out", "two", "--json", *on(nodes)))
    assert code == 0, err
    assert json.loads(out)["rows"] == ROWS + 3
    last = err.splitlines()[-1]
    assert f"{SHARDS} shards were made by 2 actors: " in last
    assert last.count("(") == 2  # on each node some
    told = [json.loads(line) for line in err.splitlines()[:-1]]  # nothing else is on stderr
    assert told[0]["event"] == "progress"
    assert told[-1]["of"] == ROWS
    assert content(home / "two") == content(home / "whole")
    assert not (home / ".two.annotate").exists()


def test_a_new_output_computes_everything_again(home, nodes):
    for out in ("one", "other"):
        code, _, err = finish(start(home, "--out", out, *on(nodes)))
        assert code == 0, err
        assert f"{SHARDS} shards were made by 2 actors" in err
        assert "resuming" not in err
    assert content(home / "other") == content(home / "whole")


PYTHON = """
import sys
from textlabel import Cluster, Labeler
from textlabel.engine import shards
shards.LEAST_ROWS = 8
labeler = Labeler.load("model", cache=False)
cluster = Cluster(sys.argv[1], actors=1, cpus=0.5)
labeler.annotate("corpus.jsonl", checkpoint="by-ray", cluster=cluster, order_by="ensemble")
labeler.annotate("corpus.jsonl", checkpoint="by-one", order_by="ensemble")
import ray
assert not ray.is_initialized()
ray.init(sys.argv[1])
labeler.predict("corpus.jsonl", checkpoint="own", cluster=cluster)
assert ray.is_initialized()
"""


def test_every_object_at_the_checkpoint_is_the_same(home, nodes):
    done = subprocess.run(
        [sys.executable, "-c", PYTHON, nodes.address],
        cwd=home,
        env={**os.environ, **QUIET},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert [
        path.name for path in (home / "by-ray").iterdir() if path.is_dir()
    ] == []  # staged things are gone
    assert content(home / "by-ray") == content(home / "by-one") == content(home / "own")
    assert len(content(home / "by-ray")) == 2 * SHARDS + 1
    assert b"embeddings" in content(home / "by-ray")["shard-00000.safetensors"]


def test_a_node_that_is_killed_loses_nothing(home, slow_nodes):
    process = start(home, "--out", "killed-node", *on(slow_nodes))
    wait_for_shards(process, home / ".killed-node.annotate", 8)
    slow_nodes.kill(1)
    there = finished(home / ".killed-node.annotate")
    code, _, err = finish(process)
    assert code == 0, err
    assert 8 <= len(there) < SHARDS - 8
    assert content(home / "killed-node") == content(home / "whole")


def test_a_head_that_is_killed_is_told_and_loses_nothing(home, slow_nodes):
    process, folder = start(home, "--out", "headless", *on(slow_nodes)), home / ".headless.annotate"
    wait_for_shards(process, folder, 8)
    slow_nodes.kill(0)
    code, _, err = finish(process)
    assert code == 1
    assert "the head of the cluster, " in err
    assert "does not answer ([Errno 111] Connection refused): if it is gone, Ray ends this process" in err
    assert 8 <= len(finished(folder)) < SHARDS
    code, _, err = finish(start(home, "--out", "headless", "--resume"))
    assert code == 0, err
    assert content(home / "headless") == content(home / "whole")


@pytest.mark.parametrize("then", ["local", "ray"])
def test_a_killed_command_goes_on_here_and_there(home, slow_nodes, then):
    process, folder = start(home, "--out", then, *on(slow_nodes)), home / f".{then}.annotate"
    wait_for_shards(process, folder, 8)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    time.sleep(3)  # actors end when they notice
    there = {name: (folder / name).stat().st_mtime_ns for name in finished(folder)}
    assert 8 <= len(there) < SHARDS - 8
    process = start(home, "--out", then, "--resume", *(on(slow_nodes) if then == "ray" else ()))
    wait_for_shards(process, folder, len(there) + 1)
    assert {name: (folder / name).stat().st_mtime_ns for name in there} == there
    code, _, err = finish(process)
    assert code == 0, err
    assert f"resuming: {len(there)} of {SHARDS} shards are there" in err
    if then == "ray":
        assert f"{SHARDS - len(there)} shards were made by 2 actors" in err
    assert content(home / then) == content(home / "whole")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_who_stops_it_is_told_how_much_is_done(home, slow_nodes, number, code):
    process, folder = start(home, "--out", f"stop-{code}", *on(slow_nodes)), home / f".stop-{code}.annotate"
    wait_for_shards(process, folder, 8)
    process.send_signal(number)
    ended, out, err = finish(process)
    assert (ended, out) == (code, "")
    assert err.startswith("textlabel: stopped: ")
    assert err.endswith(f" of {SHARDS} shards are done; repeat the command to go on\n")
    assert err.count("\n") == 1
    assert not list(folder.glob("staged*"))


#: writes which threads of Ray Data still run when this process leaves the cluster: with one, the process may
#: end without a word
THREADS = """
import ray, threading
connect, shutdown, before = cluster._connect, ray.shutdown, []
def connect_and_look(address):
    connect(address)
    before.extend(threading.enumerate())
def look_and_shutdown():
    new = {thread.name for thread in threading.enumerate() if thread not in before}
    with open("threads", "w") as file:
        file.write(" ".join(sorted(new - {"textlabel-watch"})))
    shutdown()
cluster._connect, ray.shutdown = connect_and_look, look_and_shutdown
"""
FAULTS = {
    "a damaged piece": (
        """
put = staged.Objects.put
def damaged(self, name, content):
    put(self, name, content[:-9] if name == "texts-00003.parquet" else content)
staged.Objects.put = damaged
""",
        r"texts-00003.parquet is damaged",
    ),
    "a damaged model": (
        """
put_file = staged.Objects.put_file
def damaged(self, name, path):
    if name == "head.safetensors":
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    put_file(self, name, path)
staged.Objects.put_file = damaged
""",
        r"head.safetensors was changed or damaged",
    ),
    "another library": (
        """
facts_of = long_run.facts_of
long_run.facts_of = lambda *all: {**facts_of(*all), "torch_version": "2.11.0"}
""",
        "its torch version is 2.13.0, and the run was planned with 2.11.0: numbers would differ",
    ),
    "another device": (
        """
hardware = cluster.Cluster._hardware
cluster.Cluster._hardware = lambda self: ("cuda", hardware(self)[1])
""",
        "its device is cpu, and the run was planned with cuda: numbers would differ",
    ),
    "a checkpoint that only the first node sees": (
        """
from pathlib import Path
from textlabel.engine.cluster_worker import Job
make = cluster.Workers._rows
def elsewhere(self, job, numbers):
    return make(self, Job("/nowhere/out", *list(vars(job).values())[1:]), numbers)
cluster.Workers._rows = elsewhere
""",
        "it does not see the plan in /nowhere/out: choose a place that all nodes reach",
    ),
}


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_what_goes_wrong_on_a_node_is_one_message(home, nodes, name):
    script, message = FAULTS[name]
    out = f"out-{sorted(FAULTS).index(name)}"
    code, _, err = finish(start(home, "--out", out, *on(nodes), script=THREADS + script))
    assert (home / "threads").read_text() == ""
    assert code == 1
    assert err.startswith("textlabel: node 1")
    assert message.replace("2.13.0", torch_version()) in err
    assert err.count("\n") == 1
    assert not list((home / f".{out}.annotate").glob("staged*"))
    (home / "threads").unlink()


def torch_version() -> str:
    import torch

    return torch.__version__


def test_an_actor_that_dies_of_its_work_ends_the_run(home, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(DEADLY)
    with cluster(nodes=1, first=tmp_path) as found:
        code, _, err = finish(start(home, "--out", "dies", *on(found), script="cluster.RESTARTS = 1"))
    assert code == 1
    assert "textlabel: the cluster cannot go on: " in err
    assert "Traceback" not in err
    assert len(finished(home / ".dies.annotate")) > 0


def test_there_is_no_room(home, nodes):
    for words in (["--actors", "3"], ["--cpus-per-actor", "2"], ["--gpus-per-actor", "1"]):
        code, _, err = finish(start(home, "--out", "room", *on(nodes, *words)))
        assert code == 1
        assert "ask for fewer or smaller actors" in err
        assert "on its 2 nodes (1 CPUs, 0 GPUs; 1 CPUs, 0 GPUs)" in err


def test_a_store_is_a_place_that_all_nodes_reach(home, tmp_path):
    moto_server = pytest.importorskip("moto.server")
    s3fs = pytest.importorskip("s3fs")
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    login = {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    store = s3fs.S3FileSystem(endpoint_url=address, key="nobody", secret="nothing", use_listings_cache=False)
    store.mkdir("nodes")  # moto's stores of one process share their buckets
    Labeler(write_static(tmp_path / "static"), cache=False).fit(snippets(40)).save(tmp_path / "model")
    model = str(tmp_path / "model")
    try:
        code, _, err = finish(start(home, "--out", str(tmp_path / "here"), model=model))
        assert code == 0, err
        with cluster(**login) as found:
            there = "s3://nodes/labeled"
            code, _, err = finish(start(home, "--out", there, *on(found), model=model, **login))
        assert code == 0, err
        made = {path.rpartition("/")[2]: store.cat_file(path) for path in store.find("nodes")}
        assert made == content(tmp_path / "here")
    finally:
        server.stop()


def test_several_backbones_make_the_bytes_of_one_machine_too(tiny_backbone, nodes, tmp_path):
    folder = prepare(tmp_path, f"{tiny_backbone}+{write_static(tmp_path / 'table')}")
    for words in (("--out", "whole"), ("--out", "two", *on(nodes))):
        code, _, err = finish(start(folder, *words))
        assert code == 0, err
    assert content(folder / "two") == content(folder / "whole")
