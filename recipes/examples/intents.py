"""Write made-up requests to a bank: six intents, and requests that have nothing to do with any of them.

    python recipes/examples/intents.py FOLDER [--rows 600]

intents.csv has labels (id, text, label); requests.csv has other texts without labels, a third of them out of
scope, as its column `meant` tells; gold-intents.csv has the labels of the others.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np

#: intent -> wordings
INTENTS = {
    "balance": (
        "how much money is in my {account} account",
        "what is the balance of my {account} account",
        "tell me what is left on my {account} account",
        "show me the balance, please, {account} account",
        "how much do I still have in {account}",
        "can I see what my {account} account holds",
    ),
    "lost card": (
        "I lost my {card} card {when}",
        "my {card} card was stolen {when}",
        "please block my {card} card, I cannot find it",
        "somebody took my {card} card {when}",
        "my {card} card is gone since {when}",
        "block the {card} card, it went missing {when}",
    ),
    "transfer": (
        "send {amount} euros to {who}",
        "I want to transfer {amount} to {who}",
        "please pay {who} {amount} euros",
        "move {amount} euros to the account of {who}",
        "wire {amount} over to {who}",
        "can you transfer {amount} euros for me to {who}",
    ),
    "opening hours": (
        "when does the branch in {city} open",
        "what are your opening hours in {city}",
        "is the branch in {city} open {when}",
        "until when is the bank in {city} open",
        "are you open {when} in {city}",
        "how late can I come to the branch in {city}",
    ),
    "new address": (
        "I moved to {city}, please change my address",
        "my address is now in {city}",
        "update my address, I live in {city} since {when}",
        "how do I tell you my new address in {city}",
        "I have a new home in {city}, please send letters there",
        "change where you write to me, I moved to {city} {when}",
    ),
    "close account": (
        "close my {account} account",
        "I want to cancel my {account} account",
        "please shut down the {account} account",
        "how can I close the {account} account for good",
        "I no longer need my {account} account, end it",
        "cancel the {account} account {when}, please",
    ),
}
#: what no intent is about
OTHER = (
    "what will the weather be like in {city} {when}",
    "tell me a joke about {who}",
    "how do I bake bread for {amount} people",
    "book a table in {city} for {who} {when}",
    "which film is on in {city} {when}",
    "who won the match in {city} {when}",
    "play some music that {who} would like",
    "how many miles is it to {city}",
)
SLOTS = {
    "account": ("savings", "current", "joint", "business", "student"),
    "card": ("credit", "debit", "bank", "black", "new"),
    "when": ("yesterday", "today", "this morning", "on Monday", "on Saturday", "last week"),
    "amount": ("20", "50", "120", "300", "1000"),
    "who": ("my sister", "Ann", "my landlord", "Tom", "the plumber", "my mother"),
    "city": ("Leeds", "Berlin", "York", "Lyon", "Porto", "Graz"),
}


def said(wording: str, rng: np.random.Generator) -> str:
    """Return a request in words, with something in each of its places."""
    return wording.format(**{name: values[rng.integers(len(values))] for name, values in SLOTS.items()})


def requests(
    wordings: dict[str, tuple[str, ...]], rows: int, rng: np.random.Generator
) -> list[dict[str, str]]:
    """Return different requests, as many of each meaning; fewer where there are no more."""
    found: dict[str, str] = {}
    for meant, words in wordings.items():
        for _ in range(rows // len(wordings)):
            found[said(words[rng.integers(len(words))], rng)] = meant
    texts = [list(found)[i] for i in rng.permutation(len(found))]
    return [{"id": f"q{i}", "text": text, "label": found[text]} for i, text in enumerate(texts)]


def write(path: Path, rows: list[dict[str, str]], columns: tuple[str, ...]) -> None:
    """Write some columns of rows as csv."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    """Write all files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=600, help="rows of each file, at most")
    chosen = parser.parse_args()
    rng = np.random.default_rng(0)
    chosen.folder.mkdir(parents=True, exist_ok=True)
    made = requests(INTENTS, 2 * chosen.rows, rng)
    known, new = made[: len(made) // 2], made[len(made) // 2 :][: chosen.rows * 2 // 3]
    other = requests({"out of scope": OTHER}, chosen.rows // 3, rng)
    mixed = [{**row, "id": f"r{i}", "meant": row["label"]} for i, row in enumerate([*new, *other])]
    write(chosen.folder / "intents.csv", known, ("id", "text", "label"))
    write(chosen.folder / "requests.csv", mixed, ("id", "text", "meant"))
    write(chosen.folder / "gold-intents.csv", mixed[: len(new)], ("id", "label"))


if __name__ == "__main__":
    main()
