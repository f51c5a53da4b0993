"""What a model of one domain says of another, and what the other domain's texts, shares and labels change.

    python recipes/benchmarks/domain_pairs.py --data FOLDER [--train 700] [--balance 0 0.8 0.2] [--keep]

A model is fitted on labeled rows of a source and labels rows of a target. The contenders: `auto` on the
source alone; `auto` that also reads the target's texts (`--unlabeled`); the same with class shares stated
(`annotate --class-shares`), those of the labeled rows or those of the target, exact or a tenth of all rows
off; TF-IDF on the source; `auto` on 32 random rows of the target that a person labeled, alone, and beside
the source with the shares of these 32; and `auto` on as many labeled rows of the target as of the source.
Two thirds of the target's rows are what may be read, without labels but for the last contenders; the others
are only labeled and scored. `--only-texts` leaves out all but the source alone, with the target's texts, and
labels of the target: a third of the time. With a balance other than 0, both parts of the target are drawn so
that this share of them is positive.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from functools import partial
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
from textlabel.errors import CorpusError
from textlabel.models.backbone import load_backbone
from textlabel.models.ngrams import without_ngrams
from textlabel.recipe import Recipe
from textlabel.trust.label_shift import Refused, corrected
from textlabel.trust.stated_shares import to_shares
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
BACKBONE = "all-MiniLM-L6-v2"
ROWS = 2400
#: rows of the target that a person labels
FEW = 32


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


class Said(NamedTuple):
    """Calibrated probabilities of the target's rows that may be read, and of those that are only scored."""

    pool: np.ndarray
    test: np.ndarray

    def with_shares(self, shares: np.ndarray) -> Said:
        """Return the same after the class shares of the rows that may be read were stated."""
        found = to_shares(self.pool, shares)
        if isinstance(found, Refused):
            return self
        return Said(corrected(self.pool, found.weights), corrected(self.test, found.weights))


def fitted(task: Task, target: Domain, seed: int, chosen: argparse.Namespace, recipe: str = "auto") -> Said:
    """Return what a model of these rows says of the target."""
    backbone = without_ngrams() if recipe == "tfidf" else load_backbone(chosen.backbone)
    bundle = adapt(backbone, task, Recipe.load(recipe), seed, budget=0.0, cache=chosen.cache)
    assert bundle.calibrator is not None
    logits, _ = predict(bundle.classifier, [*target.texts, *target.test], cache=chosen.cache)
    p = bundle.calibrator.apply(logits.astype(np.float64))
    return Said(p[: len(target.texts)], p[len(target.texts) :])


def scores(source: Domain, target: Domain, seed: int, chosen: argparse.Namespace) -> dict[str, Said]:
    """Return what each contender says of the target."""
    k, texts = len(source.classes), target.texts
    schema = LabelSchema("single", source.classes)

    def rows(domain: Domain, count: int) -> tuple[list[str], np.ndarray]:
        index = np.random.default_rng(seed).permutation(len(domain.labels))[:count]
        return [domain.texts[i] for i in index], domain.labels[index]

    def share(labels: np.ndarray, more: float = 0.0) -> np.ndarray:
        counts = np.bincount(labels, minlength=k) + more
        return counts / counts.sum()

    theirs, labels = rows(source, min(chosen.train, len(source.labels) * 4 // 5))
    many, many_labels = rows(target, min(chosen.train, len(target.labels) * 4 // 5))
    read = fitted(Task(theirs, labels, schema, texts), target, seed, chosen)
    found = {
        "source alone": fitted(Task(theirs, labels, schema), target, seed, chosen),
        "target text": read,
        "target labels": fitted(Task(many, many_labels, schema), target, seed, chosen),
    }
    if chosen.only_texts:
        return found
    exact = share(target.labels)
    toward = np.eye(k)[exact.argmin()]
    found |= {
        "shares as labeled": read.with_shares(share(labels)),
        "shares stated": read.with_shares(exact),
        "shares stated, .1 off": read.with_shares(exact + 0.1 * (toward - (1 - toward) / (k - 1))),
        "tfidf": fitted(Task(theirs, labels, schema), target, seed, chosen, "tfidf"),
    }
    if k == 2:  # of more classes so few rows have some of each only by luck
        few, few_labels = rows(target, FEW)
        alone = Task(few, few_labels, schema, texts)
        both = Task([*theirs, *few], np.concatenate([labels, few_labels]), schema, texts)
        found[f"{FEW} target labels alone"] = fitted(alone, target, seed, chosen)
        found[f"{FEW} target labels"] = fitted(both, target, seed, chosen).with_shares(share(few_labels, 1))
    return found


def one_pair(unit: tuple[int, float, tuple[str, str]], chosen: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the scores of one draw of a pair, if there is one, in a process with one thread."""
    import torch

    torch.set_num_threads(1)
    seed, balance, pair = unit
    source, target = read(pair[0], chosen.data, 0), read(pair[1], chosen.data, balance)
    if source is None or target is None or (balance and target.classes != POLES):
        return []
    row: dict[str, Any] = {"source": pair[0], "target": pair[1], "balance": balance, "seed": seed}
    row |= {"test_rows": len(target.test), "scores": {}}
    try:
        found = scores(source, target, seed, chosen)
    except CorpusError as error:  # arXiv has more classes than few rows can hold
        print(f"{pair[0]} -> {pair[1]}, draw {seed}: {error}", flush=True)
        return []
    for name, said in found.items():
        right = float(np.mean(said.test.argmax(axis=1) == target.test_labels))
        sure = float(said.test.max(axis=1).mean())
        row["scores"][name] = {"accuracy": round(right, 4), "confidence": round(sure, 4)}
    print(row, flush=True)
    return [row]


def report(rows: list[dict[str, Any]], balance: float) -> list[dict[str, Any]]:
    """Return, and print, how far each contender is above the source alone: in all, and its worst pair."""
    picked = [row for row in rows if row["balance"] == balance]
    found = []
    for name in dict.fromkeys(name for row in picked for name in row["scores"]):
        gains: dict[str, list[float]] = defaultdict(list)
        there = [row for row in picked if name in row["scores"]]
        for row in there:
            above = row["scores"][name]["accuracy"] - row["scores"]["source alone"]["accuracy"]
            gains[f"{row['source']} -> {row['target']}"].append(100 * above)
        mean, low, high = hierarchical_interval(gains)
        worst = min(gains, key=lambda pair: float(np.mean(gains[pair])))
        both = [tuple(row["scores"][name].values()) for row in there]
        found.append(
            {"balance": balance, "contender": name, "pairs": len(gains)}
            | {"accuracy": round(float(np.mean([right for right, _ in both])), 4)}
            | {"gain": round(mean, 2), "low": round(low, 2), "high": round(high, 2)}
            | {"worst": worst, "worst_gain": round(float(np.mean(gains[worst])), 2)}
            | {"confidence_off": round(float(np.mean([abs(right - sure) for right, sure in both])), 4)}
        )
        print(found[-1], flush=True)
    return found


def main() -> None:
    parser = arguments(__doc__ or "", seeds=3)
    parser.add_argument("--backbone", default=BACKBONE)
    parser.add_argument("--train", type=int, default=700, help="labeled rows")
    parser.add_argument("--corpora", nargs="+", default=list(CORPORA), help="pairs of these only")
    parser.add_argument("--balance", type=float, nargs="+", default=[0, 0.8, 0.2])
    parser.add_argument("--jobs", type=int, default=2, help="pairs measured at a time, one thread each")
    parser.add_argument("--only-texts", action="store_true", help="three contenders only")
    parser.add_argument("--keep", action="store_true", help="measure what the result file lacks")
    chosen = parser.parse_args()
    if not chosen.data:
        raise SystemExit("no --data: nothing to measure")
    pairs = [pair for pair in PAIRS if set(pair) <= set(chosen.corpora)]
    units = [(s, balance, pair) for s in range(chosen.seeds) for balance in chosen.balance for pair in pairs]
    name = "domain_pairs" + ("" if chosen.backbone == BACKBONE else f"_{chosen.backbone}")
    path = chosen.out / f"{name}.json"
    rows: list[dict[str, Any]] = json.loads(path.read_text())["rows"] if chosen.keep and path.exists() else []
    known = {(row["seed"], row["balance"], (row["source"], row["target"])) for row in rows}
    units = [unit for unit in units if unit not in known]
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(chosen.jobs, get_context("spawn")) as pool,
    ):
        chosen.cache = Path(folder)
        for part in pool.map(partial(one_pair, chosen=chosen), units):
            rows += part  # written as they come: all of them take hours
            there = list(dict.fromkeys(row["balance"] for row in rows))
            gains = [one for balance in there for one in report(rows, balance)]
            facts = {"backbone": chosen.backbone, "train": chosen.train, "gains": gains, "rows": rows}
            write(chosen.out, name, facts)


if __name__ == "__main__":
    main()
