"""Texts of four classes below two nodes of a label tree, and of four steps of a scale, over `tiny.WORDS`."""

from __future__ import annotations

import numpy as np
from tiny import WORDS

TREE = {"film": ["film good", "film bad"], "phone": ["phone good", "phone bad"]}
SCALE = ["awful", "bad", "fine", "great"]
MOODS = {"good": WORDS[:3], "bad": WORDS[3:6]}
TOPICS = {"film": ("film", "plot"), "phone": ("phone", "screen")}
FILLERS = ("the", "a", "was", "is", "it", "i")


def leaves(n: int, seed: int = 0, inner: int = 0) -> list[dict[str, str]]:
    """Return n rows of the four classes in turn, and ``inner`` more that bear only their topic."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n + inner):
        topic, mood = ("film", "phone")[i % 2], ("good", "bad")[i // 2 % 2]
        words = [*rng.choice(TOPICS[topic], 2), *rng.choice(MOODS[mood], 2), *rng.choice(FILLERS, 4)]
        label = topic if i >= n else f"{topic} {mood}"
        rows.append({"id": f"r{i}", "text": " ".join(rng.permutation(words)) + f" {i}", "label": label})
    return rows


def steps(n: int, seed: int = 0) -> list[dict[str, str]]:
    """Return n rows of the four steps in turn: the higher, the likelier is each word a good one."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        step = i % 4
        count = rng.binomial(4, (step + 0.5) / 4)
        good, bad = rng.choice(MOODS["good"], count), rng.choice(MOODS["bad"], 4 - count)
        words = [*good, *bad, *rng.choice(FILLERS, 3)]
        rows.append({"id": f"r{i}", "text": " ".join(rng.permutation(words)) + f" {i}", "label": SCALE[step]})
    return rows
