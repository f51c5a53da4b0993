"""Write the bundled reviews as the files that the examples read.

    python recipes/examples/reviews.py FOLDER [--rows 600]

films.csv and products.csv have labels (id, text, label, section); few.csv has thirty products; corpus.csv has
other products without labels, and gold.csv their labels; scores.csv has scores in place of labels; tree.csv
has the four classes of tree.json.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

import numpy as np

from textlabel.resources import resource

TREE = {"film": ["film praised", "film panned"], "product": ["product praised", "product panned"]}


def read(name: str) -> list[dict[str, object]]:
    """Return the reviews that are clearly positive or negative, in random order."""
    lines = resource(f"data/reviews/{name}.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row["label"] != "neutral"]
    return [rows[i] | {"section": name} for i in np.random.default_rng(0).permutation(len(rows))]


def write(path: Path, rows: list[dict[str, object]], columns: tuple[str, ...]) -> None:
    """Write some columns of rows as csv."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def in_tree(row: dict[str, object]) -> dict[str, object]:
    """Return a row whose label is a leaf of the tree."""
    kind = "film" if row["section"] == "movie" else "product"
    return row | {"label": f"{kind} {'praised' if row['label'] == 'positive' else 'panned'}"}


def main() -> None:
    """Write all files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=600, help="rows of each kind")
    chosen = parser.parse_args()
    folder, n = chosen.folder, chosen.rows
    folder.mkdir(parents=True, exist_ok=True)
    films, products = read("movie"), read("product")
    labeled = ("id", "text", "label", "section")
    corpus = products[n : 2 * n]
    write(folder / "films.csv", films[:n], labeled)
    write(folder / "products.csv", products[:n], labeled)
    write(folder / "few.csv", products[-30:], labeled)
    write(folder / "corpus.csv", corpus, ("id", "text", "section"))
    write(folder / "gold.csv", corpus, ("id", "label"))
    write(folder / "scores.csv", products[:n], ("id", "text", "score"))
    write(folder / "gold-scores.csv", corpus, ("id", "score"))
    write(folder / "tree.csv", [in_tree(row) for row in films[:n] + products[:n]], labeled)
    write(folder / "gold-tree.csv", [in_tree(row) for row in corpus], ("id", "label"))
    (folder / "tree.json").write_text(json.dumps(TREE) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
