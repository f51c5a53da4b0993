"""How many texts a second each backbone encodes: short product reviews.

    python recipes/benchmarks/backbone_speed.py [--rounds 5] [--backbones NAME ...]

Tokenization included, fp32, backend ``torch``. Rounds are interleaved and the median is told: run it on a
machine that does nothing else.
"""

from __future__ import annotations

import time

import numpy as np
from _bench import arguments, bundled, write

from textlabel.engine.predict import predict
from textlabel.models.backbone import load_backbone
from textlabel.models.catalog import entries
from textlabel.models.classifier import Classifier
from textlabel.types import LabelSchema

ROWS = 400


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--backbones", nargs="+", default=list(entries()))
    chosen = parser.parse_args()
    texts = bundled("product", cap=(ROWS, 1)).pool
    schema = LabelSchema("single", ("a", "b"))
    models = {name: Classifier(load_backbone(name), schema) for name in chosen.backbones}
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for round_ in range(-1, chosen.rounds):  # the first round warms up and is not counted
        for name in np.random.default_rng(round_ + 1).permutation(list(models)):
            start = time.perf_counter()
            predict(models[str(name)], texts)
            if round_ >= 0:
                seconds[str(name)].append(time.perf_counter() - start)
    found = {name: round(len(texts) / float(np.median(times)), 1) for name, times in seconds.items()}
    print(found)
    write(chosen.out, "backbone_speed", {"rows": len(texts), "texts_per_second": found, "seconds": seconds})


if __name__ == "__main__":
    main()
