"""What the benchmark scripts share: data, draws of labels, the environment record, result files."""

from __future__ import annotations

import argparse
import datetime
import gzip
import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from textlabel.corpus.dedup import text_key
from textlabel.report.record import versions
from textlabel.resources import resource

RESULTS = Path(__file__).parent / "results"

os.environ.setdefault("TEXTLABEL_CACHE_GB", "0")  # what is timed must be computed

#: public sets by name; files are read from --data/NAME/*.jsonl.gz with text, label and split
SETS = {
    "movie_snippets": ("mr_movie_snippets", "all"),
    "product_sentences": ("product_reviews_cr", None),
    "subjectivity": ("subj", "all"),
    "developer_sentiment": ("stackoverflow_sentiment", None),
    "sms_spam": ("sms_spam", "sms"),
    "voice_intents": ("snips7", None),
    "news_topics": ("sib200", "eng_Latn"),
    "arxiv_fields": ("arxiv_cs_math", "labelled"),
}
#: more sets, for few labels: emotions, many classes, Chinese and African languages
MORE_SETS = {
    "emotions": ("goemotions_single", None),
    "bank_intents": ("banking77", None),
    "newsgroups": ("news20", "t*"),
    "news_topics_swahili": ("sib200", "swh_Latn"),
    "news_topics_chinese": ("sib200", "zho_Hans"),
    "tweets_hausa": ("afrisenti_votes", "hausa"),
    "titles_chinese": ("csl_zh_titles", "t*"),
    "shopping_chinese": ("zh_shopping_dev", None),
}


@dataclass(frozen=True)
class Split:
    """Rows to draw labels from, and rows that only the final score sees."""

    name: str
    pool: list[str]
    pool_labels: np.ndarray
    test: list[str]
    test_labels: np.ndarray
    classes: tuple[str, ...]


def arguments(description: str, **defaults: Any) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--data",
        type=Path,
        default=os.environ.get("TEXTLABEL_BENCH_DATA"),
        help="folder of public sets, NAME/*.jsonl.gz; without it only the bundled reviews are used",
    )
    parser.add_argument("--seeds", type=int, default=defaults.get("seeds", 5))
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


def _split(name: str, rows: list[dict[str, Any]], test: list[bool], cap: tuple[int, int]) -> Split:
    """Cap both sides at random (seed 0) and drop pool rows whose text is in the test side."""
    classes = tuple(sorted({str(r["label"]) for r in rows}))
    order = np.random.default_rng(0).permutation(len(rows))
    tests = [rows[i] for i in order if test[i]][: cap[1]]
    seen = {text_key(r["text"]) for r in tests}
    pool = [rows[i] for i in order if not test[i] and text_key(rows[i]["text"]) not in seen][: cap[0]]
    code = {c: i for i, c in enumerate(classes)}
    return Split(
        name,
        [r["text"] for r in pool],
        np.array([code[str(r["label"])] for r in pool]),
        [r["text"] for r in tests],
        np.array([code[str(r["label"])] for r in tests]),
        classes,
    )


def public(name: str, data: Path, cap: tuple[int, int] = (2000, 1000)) -> Split | None:
    """Return one public set, or None with a message where its files are absent."""
    folder, stem = {**SETS, **MORE_SETS}[name]
    files = sorted((data / folder).glob(f"{stem or '*'}.jsonl.gz"))
    if not files:
        print(f"skipped {name}: no {data / folder}")
        return None
    rows = [r for f in files for r in _rows(f) if r.get("label") is not None]
    return _split(name, rows, [r.get("split") == "test" or r.get("split") == "dev" for r in rows], cap)


def bundled(domain: str, cap: tuple[int, int] = (2000, 1000), classes: int = 2) -> Split:
    """Return the reviews that come with textlabel: "movie" or "product"; rated clearly, if two classes."""
    rows = list(_rows(resource(f"data/reviews/{domain}.jsonl")))
    rows = [r for r in rows if classes == 3 or r["label"] != "neutral"]
    test = np.random.default_rng(1).random(len(rows)) < 0.4
    return _split(f"{domain}_reviews", rows, test.tolist(), cap)


def every_set(data: Path | None, cap: tuple[int, int] = (2000, 1000)) -> list[Split]:
    found = [bundled("movie", cap), bundled("product", cap)]
    if data is None:
        print("no --data: only the bundled reviews are measured")
        return found
    return [*found, *(s for name in SETS if (s := public(name, data, cap)) is not None)]


def draw(labels: np.ndarray, per_class: int, seed: int) -> np.ndarray:
    """Return row numbers of a random draw of ``per_class`` labels a class (fewer where there are fewer)."""
    rng = np.random.default_rng(seed)
    parts = [rng.permutation(np.flatnonzero(labels == c))[:per_class] for c in np.unique(labels)]
    return rng.permutation(np.concatenate(parts))


def hierarchical_interval(
    groups: Mapping[str, Sequence[float]], draws: int = 4000, seed: int = 0
) -> tuple[float, float, float]:
    """Return the mean over sets of the means over their seeds, and its 95 % interval.

    A bootstrap draws sets with replacement, and within each set seeds: so it tells how the mean would vary on
    other sets of this kind as well as with other draws of labels.
    """
    rng = np.random.default_rng(seed)
    values = [np.asarray(found, dtype=float) for found in groups.values()]
    count = len(values)
    # (sets, draws, places): a set that is drawn for several places draws seeds for each of them
    means = np.stack([v[rng.integers(0, len(v), (draws, count, len(v)))].mean(axis=2) for v in values])
    picked = rng.integers(0, count, (draws, count))
    drawn = np.take_along_axis(means, picked[None], axis=0)[0].mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(np.mean([v.mean() for v in values])), float(low), float(high)


def environment() -> dict[str, Any]:
    """Return date, machine and versions, as every result file carries them."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if "model name" in line
        ]
        cpu = names[0] if names else cpu
    return {
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "cpu": cpu,
        "cores": os.cpu_count(),
        "threads": int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1),
        "versions": versions(),
    }


def write(out: Path, name: str, result: dict[str, Any]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{name}.json"
    path.write_text(json.dumps({**environment(), **result}, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {path}")
