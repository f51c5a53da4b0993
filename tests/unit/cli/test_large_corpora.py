"""`textlabel annotate` writes the same bytes whether rows are in memory or in pieces on a disk."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet
from tiny import snippets, write_static
from typer.testing import CliRunner

from textlabel import Labeler
from textlabel.audit.seal import open_sealed
from textlabel.cli.app import app
from textlabel.corpus import records, spool
from textlabel.engine import long_run, shards
from textlabel.export._read import read_annotations

ROWS = [{"id": row["id"], "text": row["text"], "stars": row["stars"]} for row in snippets(60, seed=1)]
ROWS += [{"id": f"{n}", "text": ROWS[i]["text"], "stars": "9"} for n, i in enumerate((3, 17, 18, 3))]
BAD = [*ROWS[:9], {**ROWS[9], "text": " "}, *ROWS[10:30], {**ROWS[30], "id": ROWS[2]["id"]}, *ROWS[31:]]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("large")
    backbone = write_static(folder / "static")
    Labeler(backbone, cache=False).fit(snippets(60)).save(folder / "model")
    scored = [{"text": row["text"], "label": int(row["stars"])} for row in snippets(60)]
    Labeler(backbone, recipe="regression", cache=False).fit(scored).save(folder / "scores")
    for name, rows in (("sound", ROWS), ("bad", BAD)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        parquet.write_table(pa.Table.from_pylist(rows), folder / f"{name}.parquet")
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    gold = [{"text": row["text"], "label": row["label"]} for row in snippets(60, seed=1)[::7]]
    (folder / "gold.jsonl").write_text("".join(json.dumps(row) + "\n" for row in gold))
    return folder


def annotate(home: Path, out: Path, corpus: str, *words: str, model: str = "model") -> dict[str, bytes]:
    line = ["annotate", str(home / corpus), "--model", str(home / model), "--out", str(out), *words]
    done = CliRunner().invoke(app, [*line, "--json"])
    assert done.exit_code == 0, done.stderr
    return {path.name: path.read_bytes() for path in out.iterdir()} | {"told": told(done.stdout)}


def told(summary: str) -> bytes:
    """Return what the command tells, but for places and times."""
    changing = {"annotations", "seconds", "texts_per_second"}
    return json.dumps({k: v for k, v in json.loads(summary).items() if k not in changing}).encode()


@pytest.fixture
def both(home, tmp_path, monkeypatch):
    """Annotate twice, in memory and in small pieces on a disk, and return the files of both."""
    monkeypatch.setattr(shards, "LEAST_ROWS", 8)

    def run(*words: str, **how: str) -> list[dict[str, bytes]]:
        found = [annotate(home, tmp_path / "memory", *words, **how)]
        with monkeypatch.context() as patch:
            patch.setattr(spool, "IN_MEMORY", 0)
            patch.setattr(spool, "PIECE", 7)
            patch.setattr(records, "CHUNK", 5)
            patch.setattr(long_run, "CHUNK", 3)
            found.append(annotate(home, tmp_path / "disk", *words, **how))
        return found

    return run


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("corpus", ["sound.csv", "sound.jsonl", "sound.parquet"])
def test_pieces_change_no_byte(both, corpus, form):
    memory, disk = both(corpus, "--format", form)
    assert disk == memory


@pytest.mark.parametrize(
    "words",
    [
        ["--gold", "gold.jsonl"],
        ["--order-by", "entropy"],
        ["--order-by", "-stars"],
        ["--out-of-scope-rate", "0.2", "--min-confidence", "0.6"],
        ["--text-column", "text", "--text-column", "stars"],
    ],
)
def test_options_do_the_same_in_pieces(both, home, words):
    words = [str(home / word) if word.endswith("jsonl") else word for word in words]
    corpus = "sound.jsonl" if words[-1] != "-stars" else "numbers.jsonl"
    rows = [{**row, "stars": int(row["stars"])} for row in ROWS]
    (home / "numbers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    memory, disk = both(corpus, "--format", "jsonl", *words)
    assert disk == memory


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_scores_do_the_same_in_pieces(both, form):
    memory, disk = both("sound.jsonl", "--format", form, model="scores")
    assert disk == memory


@pytest.mark.parametrize("corpus", ["bad.csv", "bad.jsonl", "bad.parquet"])
def test_bad_rows_are_left_out_of_pieces(both, corpus, tmp_path):
    rejects = tmp_path / "rejects.jsonl"
    memory, disk = both(corpus, "--format", "jsonl", "--on-bad-row", "skip", "--reject-file", str(rejects))
    assert disk == memory
    assert [json.loads(line)["column"] for line in rejects.read_text().splitlines()] == ["text", "id"]


def test_a_saved_dataset_holds_the_same_rows(both, tmp_path):
    memory, disk = both("sound.jsonl")
    assert disk["textlabel.json"] == memory["textlabel.json"]
    assert read_annotations(tmp_path / "disk")[:] == read_annotations(tmp_path / "memory")[:]
    assert open_sealed(tmp_path / "disk").order.tolist() == open_sealed(tmp_path / "memory").order.tolist()


# --- memory -----------------------------------------------------------------------------------------

WATCHED = """
import sys
from pathlib import Path
from threading import Event, Thread
from textlabel.cli import main

peak, done = 0, Event()

def watch():
    global peak
    while not done.wait(0.02):
        lines = Path("/proc/self/status").read_text().splitlines()
        found = dict(line.split(":", 1) for line in lines)
        peak = max(peak, sum(int(found[name].split()[0]) for name in ("RssAnon", "RssShmem")))

thread = Thread(target=watch)
thread.start()
try:
    main()
finally:
    done.set()
    thread.join()
    print(peak, file=sys.stderr)
"""


def peak(*words: object) -> int:
    """Return the most bytes of its own that a command holds."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        env=env,
    )
    assert done.returncode == 0, done.stderr
    return 1024 * int(done.stderr.split()[-1])


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's account of memory")
@pytest.mark.parametrize("form", ["dataset", "parquet", "csv", "jsonl"])
def test_memory_grows_by_numbers_and_not_by_what_rows_hold(home, tmp_path, form):
    """Rows of 2 kB: a third of a million are 600 MB, of which a few bytes a row may be in memory."""
    note, few, many = "carried " * 250, 30_000, 300_000
    schema = pa.schema({"id": pa.string(), "text": pa.string(), "note": pa.string()})
    for rows in (few, many):
        with parquet.ParquetWriter(tmp_path / f"{rows}.parquet", schema) as writer:
            for start in range(0, rows, 10_000):
                numbers = range(start, start + 10_000)
                columns = [
                    map(str, numbers),
                    [f"{ROWS[i % 60]['text']} {i}" for i in numbers],
                    [note] * 10_000,
                ]
                writer.write_table(pa.table([pa.array(column) for column in columns], schema=schema))
    model, peaks = home / "model", {}
    for rows in (few, many):
        corpus, out = tmp_path / f"{rows}.parquet", tmp_path / f"{rows}"
        peaks["annotate", rows] = peak("annotate", corpus, "--model", model, "--out", out, "--format", form)
        peaks["audit", rows] = peak("audit", "draw", out, "--size", 50)
    for step in ("annotate", "audit"):
        assert peaks[step, many] - peaks[step, few] < 150e6, peaks
