"""Fill in a sheet as people would, here with labels that are known.

    python recipes/examples/answers.py SHEET GOLD

So the examples run by themselves. With a corpus of your own people fill the sheet in, in a spreadsheet or on
the page of `textlabel review`.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path


def main(sheet: str, gold: str) -> None:
    """Write the known label into each row of a sheet."""
    with Path(gold).open(encoding="utf-8", newline="") as file:
        known = {row["id"]: row["label"] for row in csv.DictReader(file)}
    with Path(sheet).open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        columns, rows = reader.fieldnames or (), list(reader)
    with Path(sheet).open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows({**row, "label": known[row["id"]]} for row in rows)


if __name__ == "__main__":
    main(*sys.argv[1:])
