"""Whether the words that an explanation names are those that gave a text its label, and what asking takes.

    python recipes/benchmarks/why_faithfulness.py [--data FOLDER] [--texts 60]

A model is fitted on 64 labels a class of a set; each way of attribution explains the same unseen texts. How
much further do the log-odds of the label (nats) fall without the strongest fifth of their words than without
as many random words, and how often is the label another then? The bundled reviews; with --data also voice
requests and posts of developers.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from _bench import Split, arguments, bundled, draw, hierarchical_interval, public, write

from textlabel import Labeler, registry
from textlabel.engine.explain import DELETED, Explainer
from textlabel.models.words import without

BACKBONES = ("all-MiniLM-L6-v2", "potion-base-8M")


def measured(split: Split, backbone: str, seed: int, count: int) -> list[dict[str, Any]]:
    """Return what each way of attribution finds for the same texts."""
    index = draw(split.pool_labels, 64, seed)
    rows = [{"text": split.pool[i], "label": split.classes[split.pool_labels[i]]} for i in index]
    bundle = Labeler(backbone, seed=seed, cache=False).fit(rows).bundle
    texts = [text for text in split.test if len(text.split()) <= 60][:count]
    found = []
    for method in registry.plugins("attribution"):
        explainer = Explainer(bundle, method, seed)
        next(explainer.explain(texts[:1]))
        began = time.perf_counter()
        told = list(explainer.explain(texts))
        seconds = (time.perf_counter() - began) / len(texts)
        changed = []
        for one in told:
            strongest = np.argsort(-one.scores, kind="stable")[: int(DELETED * len(one.spans))]
            [logits] = explainer.logits([without(one.text, [one.spans[i] for i in strongest.tolist()])])
            changed.append(explainer.schema.names[int(logits.argmax())] != one.label)
        found.append(
            {
                "set": split.name,
                "backbone": backbone,
                "seed": seed,
                "method": method,
                "faithful": round(float(np.nanmean([one.faithful for one in told])), 3),
                "label_changed": round(float(np.mean(changed)), 3),
                "ms_a_text": round(1000 * seconds, 1),
                "words_a_text": round(float(np.mean([len(one.words) for one in told])), 1),
            }
        )
        print(found[-1], flush=True)
    return found


def main() -> None:
    parser = arguments(__doc__ or "", seeds=2)
    parser.add_argument("--texts", type=int, default=60)
    chosen = parser.parse_args()
    splits = [bundled("movie"), bundled("product")]
    if chosen.data:
        more = (public(name, chosen.data) for name in ("voice_intents", "developer_sentiment"))
        splits += [split for split in more if split is not None]
    rows = [
        row
        for backbone in BACKBONES
        for split in splits
        for seed in range(chosen.seeds)
        for row in measured(split, backbone, seed, chosen.texts)
    ]
    told = []
    for backbone in BACKBONES:
        for method in registry.plugins("attribution"):
            picked = [row for row in rows if (row["backbone"], row["method"]) == (backbone, method)]
            by_set = {s.name: [r["faithful"] for r in picked if r["set"] == s.name] for s in splits}
            mean, low, high = hierarchical_interval(by_set)
            told.append({"backbone": backbone, "method": method, "faithful": round(mean, 2)})
            told[-1] |= {"low": round(low, 2), "high": round(high, 2)}
            told[-1] |= {"label_changed": round(float(np.mean([r["label_changed"] for r in picked])), 3)}
            told[-1] |= {"ms_a_text": round(float(np.median([r["ms_a_text"] for r in picked])), 1)}
            print(told[-1])
    write(chosen.out, "why_faithfulness", {"texts": chosen.texts, "told": told, "rows": rows})


if __name__ == "__main__":
    main()
