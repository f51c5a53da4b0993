"""Whether the features of two backbones side by side are better than those of either alone.

    python recipes/benchmarks/few_labels_backbones.py --data FOLDER [--keep FOLDER] [--sets NAME ...]

Recipe `head` of each backbone alone and of pairs (`--backbone one+another`), on the same draws of labels. The
better part of a pair is, for each set and size, the one that is more accurate on average over the draws:
nobody knows it beforehand, so the difference to it is the least that a pair can be said to gain. Its interval
is a hierarchical bootstrap over sets and draws, which with so few sets covers the truth less than 95 % of the
time. A text is read once by each backbone, also across pairs; with --keep not again by the next run either.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _bench import SETS, Split, arguments, draw, hierarchical_interval, public, write

from textlabel import Labeler
from textlabel.engine.shared_features import SharedFeatures

#: sets of short texts, so that reading them takes minutes; those of `arxiv_fields` are abstracts
USED = tuple(name for name in SETS if name != "arxiv_fields")
JOINT = ("all-MiniLM-L6-v2+potion-base-8M", "all-MiniLM-L6-v2+bge-small-en-v1.5-int8")
CAP = (2000, 1000)


def parts(joint: str) -> list[str]:
    return joint.split("+")


def accuracy(split: Split, rows: np.ndarray, backbone: str, seed: int, shared: SharedFeatures) -> float:
    """Return the share of test rows that recipe `head` labels rightly after learning from ``rows``."""
    named = [{"text": split.pool[i], "label": split.classes[split.pool_labels[i]]} for i in rows]
    labeler = Labeler(backbone, "head", seed=seed, cache=shared).fit(named)
    found = labeler.predict([{"text": text} for text in split.test]).logits.argmax(axis=1)
    code = np.array([split.classes.index(name) for name in labeler.schema.labels])
    return float((code[found] == split.test_labels).mean())


def measure(split: Split, sizes: Sequence[int], seeds: int, keep: Path | None) -> list[dict[str, Any]]:
    """Return one row for each size, draw and backbone, alone or joined."""
    backbones = [*dict.fromkeys(name for joint in JOINT for name in parts(joint)), *JOINT]
    shared, found = SharedFeatures(keep or False), []
    with shared.kept():
        for size in sizes:
            for seed in range(seeds):
                rows = draw(split.pool_labels, size, seed)
                for backbone in backbones:
                    right = accuracy(split, rows, backbone, seed, shared)
                    told = {"set": split.name, "per_class": size, "seed": seed, "backbone": backbone}
                    found.append({**told, "accuracy": round(right, 5)})
    return found


def differences(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return by how many points each pair is ahead of its better part and of each part, at each size."""
    scores: dict[tuple[int, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        scores[row["per_class"], row["backbone"]][row["set"]].append(100 * row["accuracy"])
    found = []
    for size in sorted({row["per_class"] for row in rows}):
        for joint in JOINT:
            mine, alone = scores[size, joint], {part: scores[size, part] for part in parts(joint)}
            better = {name: max((alone[part][name] for part in alone), key=np.mean) for name in mine}
            for told, theirs in {"the better part": better, **alone}.items():
                groups = {name: np.subtract(mine[name], theirs[name]).tolist() for name in mine}
                mean, low, high = (round(value, 2) for value in hierarchical_interval(groups))
                sets = {name: round(float(np.mean(values)), 2) for name, values in groups.items()}
                gap = {"mean": mean, "low": low, "high": high, "sets": sets}
                found.append({"joint": joint, "against": told, "per_class": size, **gap})
    return found


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--per-class", type=int, nargs="+", default=[8, 64])
    parser.add_argument("--sets", nargs="+", default=USED, choices=list(SETS))
    parser.add_argument("--keep", type=Path, help="folder in which features stay for the next run")
    chosen = parser.parse_args()
    if chosen.data is None:
        parser.error("--data is needed: the bundled reviews are no six sets")
    if chosen.keep is not None:
        os.environ["TEXTLABEL_CACHE_GB"] = "4"
    started, rows = time.monotonic(), []
    for name in chosen.sets:
        split = public(name, chosen.data, CAP)
        if split is not None:
            rows += measure(split, chosen.per_class, chosen.seeds, chosen.keep)
            print(f"{name}: {time.monotonic() - started:.0f} s so far", flush=True)
    gaps = differences(rows)
    for gap in gaps:
        print({key: value for key, value in gap.items() if key != "sets"})
    seconds = round(time.monotonic() - started, 1)
    write(chosen.out, "few_labels_backbones", {"seconds": seconds, "differences": gaps, "rows": rows})


if __name__ == "__main__":
    main()
