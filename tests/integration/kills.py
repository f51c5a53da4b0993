"""Kills annotations at many moments and repeats them; prints what came out as JSON.

Every attempt is a process of its own, forked before torch has computed anything, and ends by a real SIGKILL.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

import datasets  # noqa: F401 - so that attempts need not import it
import peft  # noqa: F401
import torch
import transformers  # noqa: F401

from textlabel.engine import long_run, predictor, shards  # noqa: F401
from textlabel.engine.backends import torch as backend  # noqa: F401
from textlabel.steps import Annotate

FORMATS = ("jsonl", "csv", "parquet", "dataset")
MOMENTS = ("before", "inside", "after")

put = shards.Objects.put


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_at_put(number: int, moment: str) -> None:
    """Die at the object of this number: before it is written, half through, or right after."""
    calls = 0

    def deadly(self: shards.Objects, name: str, content: bytes) -> None:
        nonlocal calls
        calls += 1
        if calls == number and moment == "before":
            kill()
        put(self, name, content[: len(content) // 2] if calls == number and moment == "inside" else content)
        if calls == number:
            kill()

    shards.Objects.put = deadly


def attempt(folder: Path, form: str, number: int = 0, moment: str = "", seconds: float = 0) -> int:
    """Annotate in a new process and return its wait status."""
    child = os.fork()
    if not child:
        try:
            shards.LEAST_ROWS = 8
            os.environ["TEXTLABEL_CACHE"] = str(folder / "features")
            if number:
                kill_at_put(number, moment)
            Annotate(str(HOME / "corpus.jsonl"), str(HOME / "model"), str(folder / "out"), format=form).run()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    if seconds:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]


def content(folder: Path) -> dict[str, str]:
    """Return what lies in a folder, hidden leftovers too; the feature cache is not part of it."""
    paths = [p for p in sorted(folder.rglob("*")) if p.is_file() and folder / "features" not in p.parents]
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}


def main(home: str, seed: str) -> None:
    global HOME
    HOME = Path(home)
    torch.set_num_threads(1)
    rng, found = random.Random(int(seed)), {"killed": 0, "resumed": 0, "different": []}
    whole, took = {}, {}
    for form in FORMATS:
        start = time.monotonic()
        assert attempt(HOME / f"whole-{form}", form) == 0
        took[form], whole[form] = time.monotonic() - start, content(HOME / f"whole-{form}")

    def judge(name: str, form: str, attempts: list[dict]) -> None:
        folder = HOME / name
        folder.mkdir()
        for settings in attempts:
            found["killed"] += attempt(folder, form, **settings) == signal.SIGKILL
        if (folder / ".out.annotate").exists() or not (folder / "out").exists():
            assert attempt(folder, form) == 0
            found["resumed"] += 1
        if content(folder) != whole[form]:
            found["different"].append(name)

    for number in range(1, 2 * 9 + 2):  # the plan, and 9 shards with a checksum each
        for moment in MOMENTS:
            judge(f"{number}-{moment}", rng.choice(FORMATS), [{"number": number, "moment": moment}])
    for case in range(6):  # again and again, each time further on or not at all
        points = [{"number": rng.randint(1, 6), "moment": rng.choice(MOMENTS)} for _ in range(4)]
        judge(f"again-{case}", rng.choice(FORMATS), points)
    for case in range(24):  # at any time at all: while loading, predicting, exporting
        form = rng.choice(FORMATS)
        judge(f"time-{case}", form, [{"seconds": rng.uniform(0.2, 1.0) * took[form]}])
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
