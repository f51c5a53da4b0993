"""Whatever kills an annotation and whenever: the repeated command gives the very bytes of an unbroken one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny import snippets

from textlabel import Labeler

pytestmark = pytest.mark.alone

HERE = Path(__file__).parent
ENV = {
    "OMP_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE.parents[1])]),
}
TWO = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]


def prepare(folder: Path, backbone: Path, n: int) -> Path:
    """Write a model and a corpus of n different texts, and three that are there twice."""
    Labeler(backbone, cache=False).fit(snippets(40)).save(folder / "model")
    rows = [{"id": r["id"], "text": r["text"], "stars": r["stars"]} for r in snippets(n, seed=2)]
    rows += [{**rows[i], "id": f"again{i}"} for i in (3, 40, 41)]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def home(tiny_backbone, tmp_path):
    return prepare(tmp_path, tiny_backbone, 68)


@pytest.mark.slow
def test_kills_at_many_moments_change_no_byte(home):
    done = subprocess.run(
        [sys.executable, str(HERE / "kills.py"), str(home), "0"],
        env={**os.environ, **ENV},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["different"] == []
    assert found["killed"] >= 75
    assert found["resumed"] >= 65


# --- the command ----------------------------------------------------------------------------------


def start(folder: Path, *words: str, launcher: list[str] | None = None, script: str = "", rows: int = 8):
    """Start `textlabel annotate` in a process of its own, with small shards, and after some Python lines."""
    code = f"""
import os, resource, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in a shell's background ignores it
from textlabel.engine import shards
shards.LEAST_ROWS = {rows}
put = shards.Objects.put
{script}
from textlabel.cli import main
sys.argv = ["textlabel", *sys.argv[1:]]
main()
"""
    path = folder / "start.py"
    path.write_text(code)
    env = {**os.environ, **ENV, "TEXTLABEL_CACHE_GB": "0"}
    command = [sys.executable, *(launcher or []), str(path), "annotate", "corpus.jsonl", "--model", "model"]
    return subprocess.Popen(
        [*command, "--format", "jsonl", *words],
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def annotate(folder: Path, *words: str, **how) -> tuple[int, str, str]:
    return finish(start(folder, *words, **how))


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def whole(tiny_backbone, tmp_path_factory):
    """Return a folder with a model, a corpus, and the annotations of a run that nothing disturbed."""
    folder = prepare(tmp_path_factory.mktemp("whole"), tiny_backbone, 68)
    code, _, err = annotate(folder, "--out", "whole")
    assert code == 0, err
    return folder


SLOWLY = """
def slowly(self, name, content):
    put(self, name, content)
    if name == "shard-00002.json":
        open("now", "w").close()
        time.sleep(60)
shards.Objects.put = slowly
"""


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_who_stops_it_is_told_how_much_is_done(whole, number, code):
    process, now = start(whole, "--out", f"out-{code}", script=SLOWLY), whole / "now"
    while not now.exists() and process.poll() is None:
        time.sleep(0.1)
    now.unlink()
    process.send_signal(number)
    stopped = finish(process)
    assert stopped == (
        code,
        "",
        "textlabel: stopped: 3 of 9 shards are done; repeat the command to go on\n",
    )
    ended, _, err = annotate(whole, "--out", f"out-{code}")
    assert ended == 0
    assert "resuming: 3 of 9 shards are there" in err
    assert content(whole / f"out-{code}") == content(whole / "whole")
    assert not (whole / f".out-{code}.annotate").exists()


@pytest.mark.slow
def test_a_write_that_the_system_refuses_keeps_what_is_finished(whole):
    """A limit on the size of a file is as real as a full disk, and needs no disk of one's own."""
    limit = """
def limited(self, name, content):
    if name == "shard-00004.safetensors":
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
    put(self, name, content)
shards.Objects.put = limited
"""
    code, out, err = annotate(whole, "--out", "out-limit", script=limit)
    assert (code, out) == (1, "")
    assert "shard-00004.safetensors cannot be written: [Errno 27] File too large" in err
    assert "What is finished stays" in err
    assert "Traceback" not in err
    code, _, err = annotate(whole, "--out", "out-limit", "--resume")
    assert code == 0
    assert "resuming: 4 of 9 shards are there" in err
    assert content(whole / "out-limit") == content(whole / "whole")


# --- several processes ----------------------------------------------------------------------------

KILLED = """
if os.environ.get("RANK") == "1":
    def deadly(self, name, content):
        put(self, name, content[:99] if name == "shard-00003.safetensors" else content)
        if name == "shard-00003.safetensors":
            os.kill(os.getpid(), signal.SIGKILL)
    shards.Objects.put = deadly
"""


@pytest.mark.slow
def test_two_processes_one_killed_are_resumed_by_two_and_by_one(whole):
    code, out, _ = annotate(whole, "--out", "two", "--json", launcher=TWO)
    assert code == 0
    assert json.loads(out)["processes"] == 2
    assert content(whole / "two") == content(whole / "whole")
    for name, launcher in (("two-two", TWO), ("two-one", None)):
        code, _, err = annotate(whole, "--out", name, launcher=TWO, script=KILLED)
        assert code == 1
        there = {path.name for path in (whole / f".{name}.annotate").iterdir()}
        assert "shard-00003.safetensors" in there
        assert "shard-00003.json" not in there
        assert "shard-00001.json" in there  # process 1 had finished one
        assert not (whole / name).exists()
        code, _, err = annotate(whole, "--out", name, launcher=launcher)
        assert code == 0, err
        assert content(whole / name) == content(whole / "whole")
