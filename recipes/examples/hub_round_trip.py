"""Publish a model and a labeled corpus on the Hugging Face Hub, and read both back.

    hf auth login                 # once, with a token that may write
    python recipes/examples/hub_round_trip.py user/name [--backbone all-MiniLM-L6-v2]

Makes two private repositories, user/name-model and user/name-labels. Nothing is sent if rows seem to hold
personal data (`textlabel scan`).
"""

from __future__ import annotations

import argparse
import json

from datasets import load_dataset

from textlabel import Labeler
from textlabel.export import hub
from textlabel.resources import resource


def main() -> None:
    """Push both, read both back, and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="user/name")
    parser.add_argument("--backbone", default="all-MiniLM-L6-v2")
    parser.add_argument("--rows", type=int, default=300)
    chosen = parser.parse_args()
    lines = resource("data/reviews/product.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row["label"] != "neutral"][: 2 * chosen.rows]
    labeler = Labeler(chosen.backbone, cache=False).fit(rows[: chosen.rows])
    texts = [{"id": row["id"], "text": row["text"]} for row in rows[chosen.rows :]]
    labeled = labeler.annotate(texts)

    print(labeler.push_to_hub(f"{chosen.name}-model"))
    print(hub.push(labeled, f"{chosen.name}-labels", labeler.record(len(labeled))))

    again = Labeler.from_pretrained(f"{chosen.name}-model")
    assert again.annotate(texts)["label"][:] == labeled["label"][:]
    back = load_dataset(f"{chosen.name}-labels", split="train")
    assert back["label"][:] == labeled["label"][:]
    print(f"{len(back)} rows came back with the labels that they had")


if __name__ == "__main__":
    main()
