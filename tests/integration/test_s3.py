"""Corpus, model, shards and output in an S3 store: the real client, against moto's server on this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest
from datasets import Dataset
from pyarrow import parquet
from tiny import snippets, write_static

from textlabel import Labeler

s3fs = pytest.importorskip("s3fs")
moto_server = pytest.importorskip("moto.server")

pytestmark = [pytest.mark.slow, pytest.mark.alone]

#: small shards, of which each takes a while
START = """
import sys, time
from textlabel.engine import shards
shards.LEAST_ROWS = 8
put, seconds = shards.Objects.put, float(sys.argv[1])
def slowly(self, name, content):
    time.sleep(seconds)
    put(self, name, content)
shards.Objects.put = slowly
from textlabel.cli import main
sys.argv = ["textlabel", *sys.argv[2:]]
main()
"""


@pytest.fixture(scope="module")
def server():
    """Return the address of a store of its own."""
    found = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    found.start()
    host, port = found.get_host_and_port()
    yield f"http://{host}:{port}"
    found.stop()


@pytest.fixture(scope="module")
def home(server, tmp_path_factory):
    """Return the environment, the store, and a folder with the corpus and the model that it holds, too."""
    folder = tmp_path_factory.mktemp("s3")
    model = Labeler(write_static(folder / "static"), cache=False).fit(snippets(40)).save(folder / "model")
    rows = [{"id": row["id"], "text": row["text"]} for row in snippets(60, seed=1)]
    parquet.write_table(pa.Table.from_pylist(rows[:30]), folder / "part-1.parquet")
    (folder / "part-2.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[30:]))
    env = {
        **os.environ,
        "AWS_ENDPOINT_URL": server,
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    store = s3fs.S3FileSystem(endpoint_url=server, key="nobody", secret="nothing", use_listings_cache=False)
    store.mkdir("bucket")
    for path in [folder / "part-1.parquet", folder / "part-2.jsonl"]:
        store.put_file(str(path), f"bucket/corpus/{path.name}")
    for path in (path for path in Path(model).rglob("*") if path.is_file()):
        store.put_file(str(path), f"bucket/model/{path.relative_to(model)}")
    return env, store, folder


def start(env, corpus, model, out, *words, wait=0.0, launcher=("-c", START)) -> subprocess.Popen[str]:
    line = ["annotate", corpus, "--model", model, "--out", out, "--format", "jsonl", *words]
    command = [sys.executable, *map(str, [*launcher, wait, *line])]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out


def below(store, root: str) -> dict[str, bytes]:
    return {path.removeprefix(f"{root}/"): store.cat_file(path) for path in store.find(root)}


def test_a_killed_run_in_a_store_goes_on_to_the_bytes_of_a_disk(home):
    env, store, folder = home
    (folder / "corpus").mkdir()
    for name in ("part-1.parquet", "part-2.jsonl"):
        (folder / "corpus" / name).write_bytes((folder / name).read_bytes())
    finished(start(env, folder / "corpus", folder / "model", folder / "out"))
    there = ("s3://bucket/corpus", "s3://bucket/model", "s3://bucket/labeled")

    process, unfinished = start(env, *there, wait=0.5), "bucket/.labeled.annotate"
    while process.poll() is None and not store.exists(f"{unfinished}/shard-00001.json"):
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert 4 <= len(store.find(unfinished)) < 17  # of the plan and eight shards, each with its checksum
    assert not store.find("bucket/labeled")

    finished(start(env, *there, "--resume"))
    assert below(store, "bucket/labeled") == {
        path.name: path.read_bytes() for path in (folder / "out").iterdir()
    }
    assert not store.find(unfinished)


def test_two_processes_label_each_row_of_a_store_once(home):
    """A launcher's two, killed both once: what they wrote until then is kept."""
    env, store, folder = home
    (folder / "start.py").write_text(START)
    two = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", folder / "start.py"]
    there, unfinished = ("s3://bucket/corpus", "s3://bucket/model", "s3://bucket/two"), "bucket/.two.annotate"
    finished(start(env, *there[:2], "s3://bucket/one"))

    process = start(env, *there, wait=0.5, launcher=two)
    while process.poll() is None and len(store.glob(f"{unfinished}/shard-*.json")) < 2:
        time.sleep(0.1)
    process.terminate()  # which ends both
    process.communicate()
    written = {path: store.cat_file(path) for path in store.glob(f"{unfinished}/shard-*.safetensors")}
    assert 2 <= len(written) < 8

    told = json.loads(finished(start(env, *there, "--resume", "--json", launcher=two)))
    assert (told["processes"], told["rows"]) == (2, 60)
    rows = [json.loads(line) for line in store.cat_file("bucket/two/annotations.jsonl").splitlines()]
    assert [row["id"] for row in rows] == [row["id"] for row in snippets(60, seed=1)]
    assert below(store, "bucket/two") == below(store, "bucket/one")
    assert not store.find(unfinished)


def test_evaluation_and_a_saved_dataset_in_a_store(home, tmp_path):
    env, store, _ = home
    rows = snippets(60, seed=1)
    Dataset.from_list(rows).save_to_disk(tmp_path / "saved", num_shards=2)
    for path in (tmp_path / "saved").iterdir():
        store.put_file(str(path), f"bucket/saved/{path.name}")
    finished(start(env, "s3://bucket/saved", "s3://bucket/model", "s3://bucket/of-saved"))
    words = ["evaluate", "s3://bucket/of-saved", "--gold", "s3://bucket/saved", "--json"]
    command = [sys.executable, "-m", "textlabel", *words]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(store.cat_file("bucket/of-saved/annotations.jsonl").splitlines()[0])
    assert found["id"] == rows[0]["id"]
    assert json.loads(done.stdout)["rows"] == 60


def test_a_bucket_that_is_not_there_is_named(home):
    env, _, folder = home
    process = start(env, "s3://elsewhere/corpus", folder / "model", folder / "none")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 1
    assert err.startswith("textlabel: s3://elsewhere/corpus: ")
    assert "Traceback" not in err
