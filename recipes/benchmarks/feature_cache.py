"""How long a corpus takes that the feature cache knows: a million rows, and real texts twice.

    python recipes/benchmarks/feature_cache.py [--rows 1000000] [--texts 5000]

The million rows have made-up texts and features of 384 numbers, written to a cache as the default backbone's;
a head fitted on the bundled reviews labels them in a process of its own, by the path that `annotate` takes.
Cold means that the system's copies of the cache's files were dropped before (which it may ignore). Looking
up is a part of predicting, whose rest is the head and the off-the-map score. Building the output rows is
timed apart: it does not know where features came from. CPU seconds tell what a busy machine hides. The real
texts are bundled reviews, encoded by the default backbone under the default backend: fit and annotate, first
and second time.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from _bench import arguments, bundled, draw, write

from textlabel import Labeler

WORKER = "--worker"


def made_up(rows: int) -> list[str]:
    return [f"row {i}: the {i * 7919 % 9973} of {i % 31}, as told in report {i // 17}" for i in range(rows)]


def fill(model: Path, cache: Path, rows: int) -> None:
    """Write made-up features of made-up texts to the space of the model's body."""
    from textlabel.engine.feature_cache import open_cache, text_keys

    classifier = Labeler.load(model).bundle.classifier
    space = open_cache(cache, classifier, "torch", None, "cpu")
    texts, rng = made_up(rows), np.random.default_rng(0)
    for start in range(0, rows, 100_000):
        some = texts[start : start + 100_000]
        features = rng.standard_normal((len(some), classifier.head.in_features), dtype=np.float32)
        features /= np.linalg.norm(features, axis=1, keepdims=True)
        space.add(text_keys(some), features, np.arange(len(some)))
    space.publish()


def drop_from_memory(cache: Path) -> None:
    os.sync()
    for path in cache.rglob("*.safetensors"):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def peak() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2)


def worker(model: str, cache: str, rows: int) -> None:
    """Label the made-up texts, and print seconds and peak memory of each step as JSON."""
    from datasets import Dataset

    from textlabel.engine.annotate import annotate
    from textlabel.engine.predict import Featurizer

    texts = made_up(rows)
    ids = [str(i) for i in range(rows)]
    told = {"peak_gb_texts": peak()}
    start = time.perf_counter()
    labeler = Labeler.load(model, cache=cache)
    predictor = labeler.predictor
    told["load_seconds"] = time.perf_counter() - start
    told["peak_gb_loaded"] = peak()
    look_up = Featurizer.features

    def timed(*given: Any) -> Any:
        start, cpu = time.perf_counter(), time.process_time()
        found = look_up(*given)
        told["look_up_seconds"] = time.perf_counter() - start
        told["look_up_cpu_seconds"] = time.process_time() - cpu
        return found

    Featurizer.features = timed
    start, cpu = time.perf_counter(), time.process_time()
    predictions = predictor(ids, texts)
    told["predict_seconds"] = time.perf_counter() - start
    told["predict_cpu_seconds"] = time.process_time() - cpu
    told["peak_gb_predicted"] = peak()
    assert predictor.from_cache == rows
    corpus = Dataset.from_dict({"id": ids, "text": texts})
    start = time.perf_counter()
    labeled = annotate(corpus, predictions, labeler.bundle)
    told["rows_seconds"] = time.perf_counter() - start
    told["peak_gb_rows"] = peak()
    assert len(labeled) == rows
    print(json.dumps(told))


def million(rows: int, folder: Path) -> dict[str, Any]:
    films = bundled("movie")
    chosen = draw(films.pool_labels, 64, 0)
    labels = [films.classes[i] for i in films.pool_labels[chosen]]
    train = [{"text": films.pool[i], "label": y} for i, y in zip(chosen, labels, strict=True)]
    model, cache = folder / "model", folder / "features"
    Labeler(cache=False).fit(train).save(model)
    start = time.perf_counter()
    fill(model, cache, rows)
    size = sum(path.stat().st_size for path in cache.rglob("*.safetensors"))
    told: dict[str, Any] = {"rows": rows, "cache_gb": size / 1e9, "fill_seconds": time.perf_counter() - start}
    for state in ("warm", "cold"):
        if state == "cold":
            drop_from_memory(cache)
        command = [sys.executable, __file__, WORKER, str(model), str(cache), str(rows)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        told[state] = rounded(json.loads(done.stdout))
        print(state, told[state])
    return rounded(told)


def twice(texts: int, folder: Path) -> dict[str, Any]:
    """Fit and annotate real texts, then with another seed and head the same texts again."""
    films = bundled("movie", cap=(1_000_000, 1_000_000))
    classes = np.array(films.classes)
    train = [
        {"text": t, "label": y}
        for t, y in zip(films.pool[:2000], classes[films.pool_labels[:2000]], strict=True)
    ]
    others = [*films.pool[2000:], *films.test][:texts]
    corpus = [{"text": text} for text in others]
    told: dict[str, Any] = {"train": len(train), "texts": len(corpus)}
    found = {}
    for name, rows in (("first", train), ("second", train), ("another_head", train[:1000])):
        start = time.perf_counter()
        labeler = Labeler(cache=folder / "real").fit(rows)
        fitted = time.perf_counter()
        found[name] = labeler.predict(corpus)
        seconds = time.perf_counter() - fitted
        told[name] = rounded(
            {
                "fit_seconds": fitted - start,
                "predict_seconds": seconds,
                "texts_per_second": len(corpus) / seconds,
                "from_cache": labeler.predictor.from_cache,
            }
        )
        print(name, told[name])
    told["same_logits"] = bool(np.array_equal(found["first"].logits, found["second"].logits))
    return told


def rounded(numbers: dict[str, Any]) -> dict[str, Any]:
    return {k: round(v, 3) if isinstance(v, float) else v for k, v in numbers.items()}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--texts", type=int, default=5000)
    chosen = parser.parse_args()
    os.environ.pop("TEXTLABEL_CACHE_GB", None)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        found = {
            "load_before": round(load, 2),
            "made_up": million(chosen.rows, Path(folder)),
            "real": twice(chosen.texts, Path(folder)),
        }
    write(chosen.out, "feature_cache", found)


if __name__ == "__main__":
    if sys.argv[1:2] == [WORKER]:
        os.environ.pop("TEXTLABEL_CACHE_GB", None)
        worker(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        main()
