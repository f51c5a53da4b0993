"""What a model of one domain says of another, and what the other domain's unlabeled text changes.

    python recipes/benchmarks/domain_pairs.py --data FOLDER [--train 700] [--balance 0 0.8 0.2]

A model is fitted on labeled rows of a source and labels rows of a target. The contenders: `auto` on the
source alone; `auto` that also reads the target's texts (`--unlabeled`); TF-IDF on the source; and `auto` on
as many labeled rows of the target, which a person would have to label first. Two thirds of the target's rows
are what may be read, without labels but for the last contender; the others are only labeled and scored. With
a balance other than 0, both parts of the target are drawn so that this share of them is positive.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

os.environ["TEXTLABEL_CACHE_GB"] = "8"  # features of a text are the same for every draw

import numpy as np
from _bench import _rows, arguments, hierarchical_interval, write

from textlabel.corpus.dedup import text_key
from textlabel.engine.adapt import adapt
from textlabel.engine.predict import predict
from textlabel.engine.run import Task
from textlabel.models.backbone import load_backbone
from textlabel.models.ngrams import without_ngrams
from textlabel.recipe import Recipe
from textlabel.types import LabelSchema

#: corpus -> its files in --data; arXiv is one file of two times
CORPORA = {
    "books": "blitzer_amazon/books",
    "dvd": "blitzer_amazon/dvd",
    "film_documents": "movie_reviews_long/all",
    "film_snippets": "mr_movie_snippets/all",
    "product_sentences": "product_reviews_cr/*",
    "imdb": "uci_sentences/imdb",
    "phones": "uci_sentences/amazon",
    "pros_cons": "pros_cons/all",
    "developers": "stackoverflow_sentiment/*",
    "books_chinese": "zh_shopping_dev/books",
    "clothes_chinese": "zh_shopping_dev/clothes",
    "fruit_chinese": "zh_shopping_dev/fruit",
    "phones_chinese": "zh_shopping_dev/phone",
    "arxiv_until_2012": "arxiv_cs_math/labelled",
    "arxiv_since_2017": "arxiv_cs_math/labelled",
}
PAIRS = (
    ("books", "dvd"),
    ("dvd", "books"),
    ("film_snippets", "product_sentences"),
    ("product_sentences", "film_snippets"),
    ("film_documents", "film_snippets"),
    ("film_snippets", "film_documents"),
    ("imdb", "phones"),
    ("phones", "imdb"),
    ("pros_cons", "product_sentences"),
    ("product_sentences", "pros_cons"),
    ("developers", "product_sentences"),
    ("film_snippets", "developers"),
    ("dvd", "film_snippets"),
    ("phones", "product_sentences"),
    ("books_chinese", "clothes_chinese"),
    ("fruit_chinese", "phones_chinese"),
    ("arxiv_until_2012", "arxiv_since_2017"),
    ("arxiv_since_2017", "arxiv_until_2012"),
)
POLES = ("negative", "positive")
ROWS = 2400


class Domain(NamedTuple):
    """Rows that may be read, and rows that only the score sees, with the names of their classes."""

    texts: list[str]
    labels: np.ndarray
    test: list[str]
    test_labels: np.ndarray
    classes: tuple[str, ...]


def read(name: str, data: Path, balance: float) -> Domain | None:
    """Return a corpus without repeated texts, at most `ROWS` random rows, of which a third is the test."""
    files = sorted(data.glob(f"{CORPORA[name]}.jsonl.gz"))
    if not files:
        print(f"skipped {name}: no {CORPORA[name]}.jsonl.gz in --data")
        return None
    rows = [r for f in files for r in _rows(f) if r["label"] is not None]
    classes = POLES if "year" not in rows[0] else tuple(sorted({r["label"] for r in rows}))
    if classes != POLES:
        rows = [r for r in rows if (r["year"] <= 2012) == name.endswith("2012")]
    rows = list({text_key(r["text"]): r for r in rows if r["label"] in classes}.values())
    rng = np.random.default_rng(0)
    order = rng.permutation(len(rows))[:ROWS]
    labels = np.array([classes.index(rows[i]["label"]) for i in order])
    parts = [np.arange(len(order)) < len(order) // 3, np.arange(len(order)) >= len(order) // 3]
    test, pool = (_balanced(np.flatnonzero(part), labels, balance, rng) for part in parts)
    texts = [rows[i]["text"] for i in order]
    return Domain([texts[i] for i in pool], labels[pool], [texts[i] for i in test], labels[test], classes)


def _balanced(index: np.ndarray, labels: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Return as many of the rows as have that share of positive ones; all of them if it is 0."""
    if not share:
        return index
    negative, positive = (rng.permutation(index[labels[index] == c]) for c in (0, 1))
    count = min(len(negative) / (1 - share), len(positive) / share)
    return rng.permutation(
        np.concatenate([negative[: round(count * (1 - share))], positive[: round(count * share)]])
    )


def score(
    source: Domain, target: Domain, contender: str, seed: int, chosen: argparse.Namespace, cache: Path
) -> float:
    """Return the share of the target's test rows that a contender labels rightly."""
    known = target if contender == "target labels" else source
    count = min(chosen.train, len(known.labels) * 4 // 5)
    index = np.random.default_rng(seed).permutation(len(known.labels))[:count]
    task = Task(
        [known.texts[i] for i in index],
        known.labels[index],
        LabelSchema("single", known.classes),
        target.texts if contender == "target text" else (),
    )
    ngrams = contender == "tfidf"
    backbone = without_ngrams() if ngrams else load_backbone(chosen.backbone)
    recipe = Recipe.load("tfidf" if ngrams else "auto")
    bundle = adapt(backbone, task, recipe, seed, budget=0.0, cache=cache)
    logits, _ = predict(bundle.classifier, target.test, cache=cache)
    return float(np.mean(logits.argmax(axis=1) == target.test_labels))


def one_pair(pair: tuple[str, str], chosen: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the scores of every draw of a pair, in a process with one thread."""
    import torch

    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for balance in chosen.balance:
            source, target = read(pair[0], chosen.data, 0), read(pair[1], chosen.data, balance)
            if source is None or target is None or (balance and target.classes != POLES):
                continue
            for seed in range(chosen.seeds):
                found = {
                    name: round(score(source, target, name, seed, chosen, Path(folder)), 4)
                    for name in chosen.contenders
                }
                where = {"source": pair[0], "target": pair[1], "balance": balance, "seed": seed}
                rows.append({**where, "test_rows": len(target.test), **found})
                print(rows[-1], flush=True)
    return rows


def report(rows: list[dict[str, Any]], balance: float, names: list[str]) -> list[dict[str, Any]]:
    """Return, and print, how far each contender is above the source alone: in all, and its worst pair."""
    picked = [row for row in rows if row["balance"] == balance]
    found = []
    for name in names:
        gains = {
            pair: [100 * (row[name] - row["source alone"]) for row in group]
            for pair, group in groupby(picked, lambda row: f"{row['source']} -> {row['target']}")
        }
        mean, low, high = hierarchical_interval(gains)
        worst = min(gains, key=lambda pair: float(np.mean(gains[pair])))
        found.append(
            {"balance": balance, "contender": name}
            | {"gain": round(mean, 2), "low": round(low, 2), "high": round(high, 2)}
            | {"worst": worst, "worst_gain": round(float(np.mean(gains[worst])), 2)}
        )
        print(found[-1])
    return found


def main() -> None:
    parser = arguments(__doc__ or "", seeds=3)
    parser.add_argument("--backbone", default="all-MiniLM-L6-v2")
    parser.add_argument("--train", type=int, default=700, help="labeled rows")
    parser.add_argument("--corpora", nargs="+", default=list(CORPORA), help="pairs of these only")
    parser.add_argument("--balance", type=float, nargs="+", default=[0, 0.8, 0.2])
    parser.add_argument(
        "--contenders", nargs="+", default=["source alone", "target text", "tfidf", "target labels"]
    )
    parser.add_argument("--jobs", type=int, default=2, help="pairs measured at a time, one thread each")
    chosen = parser.parse_args()
    if not chosen.data:
        raise SystemExit("no --data: nothing to measure")
    pairs = [pair for pair in PAIRS if set(pair) <= set(chosen.corpora)]
    with ProcessPoolExecutor(chosen.jobs, get_context("spawn")) as pool:
        rows = [row for part in pool.map(partial(one_pair, chosen=chosen), pairs) for row in part]
    others = [name for name in chosen.contenders if name != "source alone"]
    gains = [one for balance in chosen.balance for one in report(rows, balance, others)]
    facts = {"backbone": chosen.backbone, "train": chosen.train, "gains": gains, "rows": rows}
    write(chosen.out, "domain_pairs", facts)


if __name__ == "__main__":
    main()
