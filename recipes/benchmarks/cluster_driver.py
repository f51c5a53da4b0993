"""What the process that plans and puts together costs, while a cluster labels (`annotate --engine ray`).

    OMP_NUM_THREADS=1 python recipes/benchmarks/cluster_driver.py [--rows 200000]

Made-up rows as in annotate_scale.py. What nodes do is done here before, and not timed.

- ``seconds``: *load* the corpus; *hash* its ids and texts; *stage* the texts for the nodes; *assemble* the
  predictions, whose shards are read and their checksums compared; *label*, from predictions to rows; *export*
  them as parquet with their seal.
- ``rows_per_second`` of all that together, and of the part before the first shard, while the cluster waits.
- ``bytes_per_row``: of the corpus, of what is staged, of shards without features, and of predictions, which
  the process holds in memory all at once; ``resident_gb`` is the peak of all that it held, mapped files too.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from _bench import arguments, bundled, draw, write
from annotate_scale import write_corpus

from textlabel import Labeler, load_corpus
from textlabel.engine.long_run import Texts, stage
from textlabel.engine.shards import Objects, Shards

BEFORE = ("load", "hash", "stage")
Made = TypeVar("Made")


def size(folder: Path, pattern: str) -> int:
    return sum(path.stat().st_size for path in folder.rglob(pattern) if path.is_file())


def measure(folder: Path, labeler: Labeler, rows: int) -> dict[str, Any]:
    seconds: dict[str, float] = {}

    def timed(name: str, work: Callable[[], Made]) -> Made:
        start = time.monotonic()
        made = work()
        seconds[name] = time.monotonic() - start
        return made

    run = folder / "run"
    corpus = timed("load", lambda: load_corpus(folder / "corpus.parquet"))
    texts = timed("hash", lambda: Texts.of(corpus))
    labeler.predict(corpus, checkpoint=run, embeddings=False)
    shards = Shards.planned(Objects(run))
    assert shards is not None
    everything = list(range(len(shards)))
    timed("stage", lambda: stage(labeler.predictor, corpus, texts, shards, everything))
    staged = size(run, "texts-*")  # which goes with the next run
    found = timed("assemble", lambda: labeler.predict(corpus, checkpoint=run, embeddings=False))
    seconds["assemble"] -= seconds["hash"]  # it hashes the corpus again
    labeled = timed("label", lambda: labeler.annotate(corpus, predictions=found))
    timed("export", lambda: labeler.export(labeled, folder / "out", "parquet"))
    lengths = {
        "corpus": (folder / "corpus.parquet").stat().st_size,
        "staged": staged,
        "shards": size(run, "shard-*"),
        "predictions": sum(array.nbytes for array in found.arrays().values()),
    }
    return {
        "rows": rows,
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
        "rows_per_second": {
            "all": int(rows / sum(seconds.values())),
            "before the first shard": int(rows / sum(seconds[name] for name in BEFORE)),
        },
        "resident_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "bytes_per_row": {name: round(value / rows, 1) for name, value in lengths.items()},
    }


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--backbone", default="potion-base-8M")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, reviews = Path(name), bundled("movie")
        index = draw(reviews.pool_labels, 100, seed=0)
        train = [{"text": reviews.pool[i], "label": reviews.classes[reviews.pool_labels[i]]} for i in index]
        labeler = Labeler(chosen.backbone, cache=False).fit(train)
        write_corpus(
            folder / "corpus.parquet", chosen.rows, sorted({w for text in reviews.pool for w in text.split()})
        )
        found = measure(folder, labeler, chosen.rows)
    print(found, file=sys.stderr)
    write(chosen.out, "cluster_driver", {"backbone": chosen.backbone, **found})


if __name__ == "__main__":
    main()
