"""What it takes to label a corpus that is larger than memory: seconds, rows/s and peak memory.

    OMP_NUM_THREADS=1 python recipes/benchmarks/annotate_scale.py [--rows 10000000] [--format dataset]

Made-up rows from a seed, an id and 8 to 12 words of the bundled reviews, in one parquet file. A head on a
static backbone, fitted on 200 of these reviews, labels them by the command `textlabel annotate`, in a process
of its own that is watched from outside.

- ``rows_per_second`` is told for each million rows, by the command's own progress events; of a run of fewer
  rows for each tenth.
- ``cpu_seconds`` are told for the same rows, which is what a busy machine hides.
- ``anonymous_gb`` is the peak of what the process holds and the system cannot have back (RssAnon and
  RssShmem), before, while and after rows are predicted; ``resident_gb`` (VmHWM) counts mapped files, too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import IO, Any

import numpy as np
from _bench import arguments, bundled, draw, write

from textlabel import Labeler

PIECE = 500_000
PHASES = ("loading", "predicting", "writing")


def write_corpus(path: Path, rows: int, words: list[str]) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    rng, vocabulary = np.random.default_rng(0), pa.array(words)
    schema = pa.schema({"id": pa.string(), "text": pa.string()})
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, rows, PIECE):
            n = min(PIECE, rows - start)
            ends = np.concatenate([[0], np.cumsum(rng.integers(8, 13, n))]).astype(np.int32)
            drawn = vocabulary.take(pa.array(rng.integers(0, len(words), ends[-1])))
            texts = pc.binary_join(pa.ListArray.from_arrays(pa.array(ends), drawn), " ")
            ids = pa.array(np.arange(start, start + n)).cast(pa.string())
            writer.write_table(pa.table([ids, texts], schema=schema))


def memory(pid: int) -> dict[str, float]:
    """Return gigabytes of the kinds of memory that a process has; none if it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.partition(":")[::2] for line in lines)
    wanted = ("RssAnon", "RssShmem", "VmHWM")
    return {name: int(value.split()[0]) / 2**20 for name, value in pairs if name in wanted}


def listen(stream: IO[str], seen: list[tuple[float, int]], told: list[str]) -> None:
    """Keep the time and the rows of every progress event, and all other lines."""
    for line in stream:
        try:
            seen.append((time.monotonic(), json.loads(line)["rows"]))
        except (ValueError, TypeError, KeyError):
            told.append(line)


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process took so far; 0 if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def per_million(
    events: list[tuple[float, int]], samples: list[tuple[float, float]], rows: int
) -> tuple[list[int], list[float]]:
    """Return rows/s and processor seconds of each million rows, or of each tenth of fewer."""
    when, done = (np.array(values, dtype=float) for values in zip(*events, strict=True))
    at, cpu = (np.array(values, dtype=float) for values in zip(*samples, strict=True))
    # the last event may come before the last row
    marks = np.unique(np.minimum(np.arange(0, rows + 1, min(1_000_000, rows // 10)), done[-1]))
    times = np.interp(marks, done, when)
    speeds = (np.diff(marks) / np.diff(times)).astype(int)
    return speeds.tolist(), np.diff(np.interp(times, at, cpu)).round(1).tolist()


def watch(command: list[str], rows: int) -> dict[str, Any]:
    """Run the command and return what it took."""
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    events: list[tuple[float, int]] = []
    told: list[str] = []
    samples: list[tuple[float, dict[str, float]]] = []
    cpu: list[tuple[float, float]] = []
    assert process.stderr is not None
    assert process.stdout is not None
    thread = threading.Thread(target=listen, args=(process.stderr, events, told))
    thread.start()
    while process.poll() is None:
        samples.append((time.monotonic(), memory(process.pid)))
        cpu.append((time.monotonic(), cpu_seconds(process.pid)))
        time.sleep(0.1)
    end = time.monotonic()
    thread.join()
    if process.returncode:
        raise SystemExit("".join(told))
    summary = json.loads(process.stdout.read())
    bounds = [start, events[0][0], events[-1][0], end]
    spans = list(zip(PHASES, bounds, bounds[1:], strict=False))
    speeds, taken = per_million(events, [pair for pair in cpu if pair[1]], rows)
    return {
        "seconds": {"all": round(end - start, 1)} | {name: round(b - a, 1) for name, a, b in spans},
        "anonymous_gb": {
            name: round(max((held(found) for at, found in samples if a <= at <= b), default=0), 3)
            for name, a, b in spans
        },
        "resident_gb": round(max(found.get("VmHWM", 0) for _, found in samples), 3),
        "rows_per_second": speeds,
        "cpu_seconds": taken,
        "rows": summary["rows"],
        "decisions": summary["decisions"],
    }


def held(found: dict[str, float]) -> float:
    """Return what the system cannot have back, but by swapping."""
    return found.get("RssAnon", 0) + found.get("RssShmem", 0)


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--format", default="dataset")
    parser.add_argument("--backbone", default="potion-base-8M")
    parser.add_argument(
        "--scratch", type=Path, help="folder for corpus and output; by default a temporary one"
    )
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.scratch) as name:
        folder, reviews = Path(name), bundled("movie")
        index = draw(reviews.pool_labels, 100, seed=0)
        train = [{"text": reviews.pool[i], "label": reviews.classes[reviews.pool_labels[i]]} for i in index]
        Labeler(chosen.backbone, cache=False).fit(train).save(folder / "model")
        words = sorted({word for text in reviews.pool for word in text.split()})
        write_corpus(folder / "corpus.parquet", chosen.rows, words)
        command = [sys.executable, "-m", "textlabel", "annotate", str(folder / "corpus.parquet")]
        command += ["--model", str(folder / "model"), "--out", str(folder / "out"), "--json"]
        found = watch([*command, "--format", chosen.format], chosen.rows)
        sizes = {
            "corpus_gb": (folder / "corpus.parquet").stat().st_size / 2**30,
            "output_gb": sum(path.stat().st_size for path in (folder / "out").iterdir()) / 2**30,
        }
    told = {"backbone": chosen.backbone, "format": chosen.format, "words": len(words)}
    print(json.dumps(found))
    write(chosen.out, "annotate_scale", {**told, **{k: round(v, 3) for k, v in sizes.items()}, **found})


if __name__ == "__main__":
    main()
