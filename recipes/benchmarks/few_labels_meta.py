"""Does a backbone that was trained on other label sets serve new ones better, with 1 or 5 labels a class?

    python recipes/benchmarks/few_labels_meta.py --data FOLDER [--recipes NAME ...] [--seeds 5]

all-MiniLM-L6-v2 is trained by `train_backbone` on seven English sets (topics, intents, emotions, sentiment),
once for each recipe and source seed. Targets are five other sets of other domains; no text of theirs is in a
source. On each target, prototypes and the head of recipe `head` are fitted on the same draws of labels, on
features of the plain backbone and of each trained one, and judged on test rows that nothing else saw, by
balanced accuracy (mean recall of the classes). All read the first 64 tokens. Differences are paired by target
and draw; the interval is that of a bootstrap over targets and draws, the source seeds averaged before.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from _bench import Split, _rows, _split, arguments, draw, hierarchical_interval, write

from textlabel import train_backbone
from textlabel.corpus.dedup import groups, text_key
from textlabel.engine.head import fit_head
from textlabel.engine.predict import predict
from textlabel.models.backbone import load_backbone
from textlabel.models.classifier import Classifier
from textlabel.recipe import Recipe, Stage
from textlabel.types import LabelSchema

BACKBONE, MAX_LENGTH = "all-MiniLM-L6-v2", 64
#: name -> files, and how many rows of each class are learned from
SOURCES = {
    "emotions": ("goemotions_single/train", 25),
    "assistant_intents": ("clinc150/train", 25),
    "voice_intents": ("snips7/train", 40),
    "arxiv_fields": ("arxiv_cs_math/labelled", 25),
    "news_topics": ("sib200/eng_Latn", 40),
    "tweet_sentiment": ("nusax/english", 40),
    "book_sentiment": ("blitzer_amazon/books", 40),
}
MOST_CLASSES = 30
TARGETS = {
    "shop_intents": "hint3_curekart/*",
    "developer_sentiment": "stackoverflow_sentiment/*",
    "newsgroups": "news20/t*",
    "subjectivity": "subj/all",
    "sms_spam": "sms_spam/sms",
}
#: rows that labels are drawn from, and test rows
CAP = (1500, 400)
PER_CLASS = (1, 5)
HEADS = ("prototype", "head")
#: penalty of the head where one label a class leaves none to choose it by
L2 = 0.01


def read(data: Path, pattern: str) -> list[dict[str, Any]]:
    files = sorted(data.glob(f"{pattern}.jsonl.gz"))
    if not files:
        raise SystemExit(f"no {data / pattern}")
    return [r for file in files for r in _rows(file) if r.get("label") not in (None, "oos")]


def source(data: Path, name: str) -> list[dict[str, Any]]:
    """Return some training rows of each of some classes of a source."""
    pattern, most = SOURCES[name]
    rows = [r for r in read(data, pattern) if r.get("split") not in ("test", "dev")]
    rng, found = np.random.default_rng(0), []
    for label in rng.permutation(sorted({str(r["label"]) for r in rows}))[:MOST_CLASSES]:
        members = [r for r in rows if str(r["label"]) == label]
        found += [members[i] for i in rng.permutation(len(members))[:most]]
    return [{"text": r["text"], "label": str(r["label"])} for r in found]


def target(data: Path, name: str, known: set[str]) -> Split:
    """Return a target without texts that a source has."""
    rows = [r for r in read(data, TARGETS[name]) if text_key(r["text"]) not in known]
    return _split(name, rows, [r.get("split") in ("test", "dev") for r in rows], CAP)


def balanced(found: np.ndarray, truth: np.ndarray) -> float:
    """Return the mean over classes of the share of their rows that are found."""
    return float(np.mean([np.mean(found[truth == c] == c) for c in np.unique(truth)]))


def accuracies(folder: str | Path, targets: list[Split], seeds: int) -> dict[str, dict[str, list[float]]]:
    """Return {head at labels a class: {target: score of each draw}} on features of one backbone."""
    classifier = Classifier(load_backbone(folder, max_length=MAX_LENGTH), LabelSchema("score")).eval()
    found: dict[str, dict[str, list[float]]] = {}
    for split in targets:
        drawn = {(k, s): draw(split.pool_labels, k, s) for k in PER_CLASS for s in range(seeds)}
        used = np.unique(np.concatenate(list(drawn.values())))
        texts = [*(split.pool[i] for i in used), *split.test]
        features = predict(classifier, texts)[1].astype(np.float64)
        test = features[len(used) :]
        for (k, s), rows in drawn.items():
            x, y = features[np.searchsorted(used, rows)], split.pool_labels[rows]
            same = groups([split.pool[i] for i in rows])
            for head in HEADS:
                stage = Recipe.load(head).stages[0]
                if k == 1:
                    stage = Stage.of({"name": "head", "l2": L2}, stage.objective)
                fitted = fit_head(x, y, same, len(split.classes), stage, s).head
                score = balanced(fitted(test).argmax(axis=1), split.test_labels)
                found.setdefault(f"{head}@{k}", {}).setdefault(split.name, []).append(score)
    return found


def recipe_of(name: str) -> Recipe:
    """Return a shipped recipe, or `episodic` with the head that is named after a dash."""
    base, _, head = name.partition("-")
    told = Recipe.load(base).to_dict()
    if head:
        told["stage"][0]["objective"][0]["head"] = head
    return Recipe.from_dict({**told, "name": name})


def compare(plain: dict[str, Any], trained: list[dict[str, Any]]) -> dict[str, Any]:
    """Return means, spreads and paired differences of a trained backbone, by head and labels a class."""
    found = {}
    for key, base in plain.items():
        mine = {name: np.mean([one[key][name] for one in trained], axis=0) for name in base}
        apart = {name: mine[name] - np.asarray(base[name]) for name in base}
        mean, low, high = hierarchical_interval({name: list(d) for name, d in apart.items()})
        found[key] = {
            "balanced_accuracy": {name: round(float(v.mean()), 4) for name, v in mine.items()},
            "spread_over_draws": {name: round(float(v.std(ddof=1)), 4) for name, v in mine.items()},
            "difference": {name: round(float(d.mean()), 4) for name, d in apart.items()},
            "mean_difference": [round(v, 4) for v in (mean, low, high)],
        }
    return found


def main() -> None:
    parser = arguments(__doc__.splitlines()[0], seeds=5)
    recipes = ["episodic", "episodic-ridge", "anil", "reptile", "multi_task"]
    parser.add_argument("--recipes", nargs="+", default=recipes)
    parser.add_argument("--source-seeds", type=int, default=1)
    args = parser.parse_args()
    if args.data is None:
        raise SystemExit("few_labels_meta needs --data FOLDER with the public sets")
    tasks = {name: source(args.data, name) for name in SOURCES}
    known = {text_key(row["text"]) for rows in tasks.values() for row in rows}
    targets = [target(args.data, name, known) for name in TARGETS]
    plain = accuracies(BACKBONE, targets, args.seeds)
    result: dict[str, Any] = {
        "backbone": BACKBONE,
        "max_length": MAX_LENGTH,
        "sources": {n: {"rows": len(r), "classes": len({x["label"] for x in r})} for n, r in tasks.items()},
        "targets": {s.name: {"classes": len(s.classes), "test_rows": len(s.test)} for s in targets},
        "draws": args.seeds,
        "source_seeds": args.source_seeds,
        "plain": {k: {n: round(float(np.mean(v)), 4) for n, v in by.items()} for k, by in plain.items()},
        "plain_spread": {
            k: {n: round(float(np.std(v, ddof=1)), 4) for n, v in by.items()} for k, by in plain.items()
        },
        "trained": {},
    }
    for name in args.recipes:
        trained, seconds = [], []
        for seed in range(args.source_seeds):
            with tempfile.TemporaryDirectory() as folder:
                start = time.perf_counter()
                out = Path(folder) / "start"
                options = {"backbone": BACKBONE, "recipe": recipe_of(name), "max_length": MAX_LENGTH}
                train_backbone(tasks, out=out, seed=seed, **options)
                seconds.append(round(time.perf_counter() - start, 1))
                trained.append(accuracies(out, targets, args.seeds))
        result["trained"][name] = {
            "train_seconds": seconds,
            "recipe": recipe_of(name).to_dict()["stage"],
            **compare(plain, trained),
        }
        told = {key: result["trained"][name][key]["mean_difference"] for key in plain}
        print(name, seconds, told, flush=True)
        write(args.out, "few_labels_meta", result)


if __name__ == "__main__":
    main()
