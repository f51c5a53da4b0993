"""How near clusters of texts without any label come to classes, and what their number is taken to be.

    python recipes/benchmarks/domain_clusters.py --data FOLDER [--sets NAME ...]

Beside `textlabel clusters` stand k-means on all features of the same backbone, and k-means on TF-IDF of words
and pairs of words (of signs, where a script has no spaces). Clusters are matched one to one with classes, in
the best way there is (accuracy), and normalized mutual information needs no match. Both are at the number
of classes, which nobody knows beforehand; the number that is found, and ten whatever the corpus, are judged
by the information alone. Labels are used for scores only. Seeds draw starts and halves, and no other rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from _bench import Split, arguments, public, write
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import normalized_mutual_info_score

from textlabel.engine.predict import predict
from textlabel.models.backbone import load_backbone
from textlabel.models.classifier import Classifier
from textlabel.text_clusters import MOST
from textlabel.trust.cluster_terms import text_terms
from textlabel.trust.clusters import (
    STARTS,
    Space,
    central,
    k_means,
    most_stable,
    nearest_center,
    numbers_to_try,
    stability,
)
from textlabel.types import LabelSchema

ROWS, TOKENS, TEN = 1000, 64, 10
NAMES = ["news_topics", "voice_intents", "subjectivity", "newsgroups", "news_topics_chinese"]
NAMES += ["arxiv_fields", "bank_intents"]


def matched(labels: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Return which rows are in the cluster that is matched with their class, (n,)."""
    counts = np.zeros((labels.max() + 1, clusters.max() + 1))
    np.add.at(counts, (labels, clusters), 1)
    match = np.full(labels.max() + 1, -1)
    classes, found = linear_sum_assignment(-counts)
    match[classes] = found
    return match[labels] == clusters


def plain(rows: Any, labels: np.ndarray, seed: int) -> dict[str, float]:
    start = time.perf_counter()
    found = KMeans(labels.max() + 1, n_init=STARTS, random_state=seed).fit(rows).labels_
    seconds = time.perf_counter() - start
    nmi = normalized_mutual_info_score(labels, found)
    return {"accuracy": float(matched(labels, found).mean()), "nmi": nmi, "seconds": seconds}


def ours(features: np.ndarray, labels: np.ndarray, seed: int) -> dict[str, float]:
    start = time.perf_counter()
    rows = Space.of(features).rows(features)
    number, distance = nearest_center(rows, k_means(rows, int(labels.max()) + 1, seed))
    seconds = time.perf_counter() - start
    right = matched(labels, number)
    nmi = normalized_mutual_info_score(labels, number)
    inner = float(right[central(number, distance)].mean())
    return {"accuracy": float(right.mean()), "nmi": nmi, "accuracy_central": inner, "seconds": seconds}


def numbered(features: np.ndarray, labels: np.ndarray, seed: int) -> dict[str, float]:
    start = time.perf_counter()
    rows = Space.of(features).rows(features)
    chosen = most_stable(stability(rows, numbers_to_try(MOST), seed))
    seconds = time.perf_counter() - start

    def nmi(clusters: int) -> float:
        found = nearest_center(rows, k_means(rows, clusters, seed))[0]
        return float(normalized_mutual_info_score(labels, found))

    told = {
        "clusters": chosen.clusters,
        "nmi": nmi(chosen.clusters),
        "gain": chosen.gain,
        "nmi_ten": nmi(TEN),
    }
    return {**told, "seconds": seconds}


def one_set(split: Split, features: np.ndarray, seeds: int) -> dict[str, Any]:
    labels = np.unique(split.pool_labels, return_inverse=True)[1]
    sparse = TfidfVectorizer(analyzer=text_terms, min_df=2).fit_transform(split.pool)
    contenders: dict[str, Callable[[int], dict[str, float]]] = {
        "ours": lambda seed: ours(features, labels, seed),
        "k-means": lambda seed: plain(features, labels, seed),
        "tf-idf": lambda seed: plain(sparse, labels, seed),
        "ours, number found": lambda seed: numbered(features, labels, seed),
    }
    found: dict[str, Any] = {"set": split.name, "rows": len(labels), "classes": int(labels.max()) + 1}
    for name, contender in contenders.items():
        runs = [contender(seed) for seed in range(seeds)]
        found[name] = {key: [round(run[key], 4) for run in runs] for key in runs[0]}
    return found


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--backbone", default="all-MiniLM-L6-v2")
    parser.add_argument("--sets", nargs="+", default=NAMES)
    chosen = parser.parse_args()
    if not chosen.data:
        raise SystemExit("no --data: nothing to measure")
    import torch

    torch.set_num_threads(1)
    classifier = Classifier(load_backbone(chosen.backbone, max_length=TOKENS), LabelSchema("score")).eval()
    rows: list[dict[str, Any]] = []
    for name in chosen.sets:
        split = public(name, chosen.data, (ROWS, ROWS))
        if split is None:
            continue
        rows.append(one_set(split, predict(classifier, split.pool)[1], chosen.seeds))
        print(name, _means(rows[-1:]), rows[-1]["ours, number found"]["clusters"], flush=True)
        means = _means(rows)
        result = {"backbone": chosen.backbone, "tokens": TOKENS, "means": means, "sets": rows}
        write(chosen.out, "domain_clusters", result)


def _means(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return the mean over sets and seeds of what each contender has."""
    contenders = [key for key, value in rows[0].items() if isinstance(value, dict)]
    return {
        contender: {
            key: round(float(np.mean([row[contender][key] for row in rows])), 4) for key in rows[0][contender]
        }
        for contender in contenders
    }


if __name__ == "__main__":
    main()
