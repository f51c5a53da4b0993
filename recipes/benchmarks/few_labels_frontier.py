"""How far `auto` is from its peers: differences on the same draws, with intervals.

    python recipes/benchmarks/few_labels_frontier.py

Reads what `few_labels_auto.py` and `few_labels_peers.py` wrote and measures nothing itself. Of the methods
that never change, "fixed, best on the other sets" is for each set the one that is best on all others, and
"fixed, best on this set" the one that a person who knew the outcome would take. What names of classes gain is
also told of the sets of emotions and topics alone, whose names say what to look for. The interval of the mean
is a hierarchical bootstrap over sets and seeds, which with a dozen sets covers the truth about 90 % of the
time instead of 95 %, with six less; that of a set is over its seeds, by Student's t.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from _bench import RESULTS, hierarchical_interval, write
from scipy.stats import t as student

#: set, labels a class, seed, backbone: what two contenders must have in common
KEY = ("set", "per_class", "seed", "backbone")

#: contenders of `few_labels_auto.py` that always do the same, "recipe NAME" in the result
FIXED = ("head", "layers", "prototype", "lda", "tfidf")
OURS = ("auto", "auto+corpus")
#: sets whose classes are emotions or topics
ABOUT = (
    *("emotions", "news_topics", "news_topics_swahili", "news_topics_chinese", "newsgroups", "arxiv_fields"),
    *("titles_chinese", "shopping_chinese"),
)

Draws = dict[tuple[Any, ...], float]
Found = dict[str, Draws]


def accuracies(folder: Path, name: str, contender: str) -> Found:
    """Return the accuracy of each contender of a result file by what was drawn."""
    found: Found = defaultdict(dict)
    for row in json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))["rows"]:
        found[row[contender]][tuple(row[key] for key in KEY)] = row["accuracy"]
    return found


def best_fixed(found: Found) -> Found:
    """Return the accuracy of the fixed method that is best on the other sets, and of that best on the set.

    Only sizes and sets that all fixed methods have are looked at.
    """
    common = set.intersection(*(set(found[name]) for name in FIXED))
    chosen: Found = {"fixed, best on the other sets": {}, "fixed, best on this set": {}}
    for size in {draw[1] for draw in common}:
        draws = [draw for draw in common if draw[1] == size]
        names = {draw[0] for draw in draws}
        means = {
            name: {one: np.mean([found[name][d] for d in draws if d[0] == one]) for one in names}
            for name in FIXED
        }
        for one in names:
            others = names - {one}
            if not others:
                continue
            elsewhere = max(FIXED, key=lambda name: float(np.mean([means[name][o] for o in others])))
            here = max(FIXED, key=lambda name: float(means[name][one]))
            for label, name in zip(chosen, (elsewhere, here), strict=True):
                chosen[label].update({d: found[name][d] for d in draws if d[0] == one})
    return chosen


def compare(ours: Draws, theirs: Draws) -> dict[str, Any] | None:
    """Return differences in points, over all sets and for each; None where they have no draw in common."""
    groups: dict[str, list[float]] = defaultdict(list)
    for draw in sorted(ours.keys() & theirs.keys()):
        groups[draw[0]].append(100 * (ours[draw] - theirs[draw]))
    if not groups:
        return None
    mean, low, high = hierarchical_interval(groups)
    sets = {name: of_seeds(np.array(values)) for name, values in groups.items()}
    return {"mean": round(mean, 2), "low": round(low, 2), "high": round(high, 2), "sets": sets}


def of_seeds(values: np.ndarray) -> dict[str, float]:
    """Return the mean of some differences, its 95 % interval, and how many there are."""
    n = len(values)
    width = student.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n) if n > 1 else np.inf
    rounded = {"mean": values.mean(), "low": values.mean() - width, "high": values.mean() + width}
    return {key: round(float(value), 2) for key, value in rounded.items() if np.isfinite(value)} | {
        "seeds": n
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the two result files")
    parser.add_argument("--out", type=Path, default=RESULTS)
    chosen = parser.parse_args()
    found = accuracies(chosen.results, "few_labels_auto", "contender")
    theirs = accuracies(chosen.results, "few_labels_peers", "peer")
    theirs = theirs | {f"recipe {name}": found[name] for name in FIXED} | best_fixed(found)
    rows = []

    def tell(name: str, peer: str, known: Draws) -> None:
        for size in sorted({draw[1] for draw in known}):
            part = {draw: value for draw, value in known.items() if draw[1] == size}
            if (gap := compare(found[name], part)) is not None:
                rows.append({"contender": name, "peer": peer, "per_class": size, **gap})
                print(name, "against", peer, size, {k: gap[k] for k in ("mean", "low", "high")})

    for name in OURS:
        for peer, known in theirs.items():
            tell(name, peer, known)
    unnamed = found["auto+corpus, no names"]
    tell("auto+corpus", "no names", unnamed)
    about = {draw: value for draw, value in unnamed.items() if draw[0] in ABOUT}
    tell("auto+corpus", "no names, on emotions and topics", about)
    write(chosen.out, "few_labels_frontier", {"rows": rows})


if __name__ == "__main__":
    main()
