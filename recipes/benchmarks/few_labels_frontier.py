"""How far `auto` is from its peers: differences on the same draws, with intervals.

    python recipes/benchmarks/few_labels_frontier.py

Reads what `few_labels_auto.py` and `few_labels_peers.py` wrote and measures nothing itself. The interval
of the mean is a hierarchical bootstrap over sets and seeds, which with a dozen sets covers the truth about
90 % of the time instead of 95 %, with six less; that of a set is over its seeds, by Student's t.
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

Found = dict[str, dict[tuple[Any, ...], float]]


def accuracies(folder: Path, name: str, contender: str) -> Found:
    """Return the accuracy of each contender of a result file by what was drawn."""
    found: Found = defaultdict(dict)
    for row in json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))["rows"]:
        found[row[contender]][tuple(row[key] for key in KEY)] = row["accuracy"]
    return found


def compare(
    ours: dict[tuple[Any, ...], float], theirs: dict[tuple[Any, ...], float]
) -> dict[str, Any] | None:
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
    ours = accuracies(chosen.results, "few_labels_auto", "contender")
    theirs = accuracies(chosen.results, "few_labels_peers", "peer") | {"head": ours["head"]}
    rows = []
    for name in ("auto", "auto+corpus"):
        for peer, known in theirs.items():
            for per_class in sorted({draw[1] for draw in known}):
                part = {draw: value for draw, value in known.items() if draw[1] == per_class}
                if (found := compare(ours[name], part)) is not None:
                    rows.append({"contender": name, "peer": peer, "per_class": per_class, **found})
                    print(name, "against", peer, per_class, {k: found[k] for k in ("mean", "low", "high")})
    write(chosen.out, "few_labels_frontier", {"rows": rows})


if __name__ == "__main__":
    main()
