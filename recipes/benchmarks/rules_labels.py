"""Rules and 50 labels against 50 labels alone and rules alone, and label models beside the majority.

The rules lie in rules/*.toml; whoever wrote them saw training rows only. All heads read the features of one
backbone. Rules alone are told twice: as a head learned from them, and as label models. "Fused" is what
`textlabel rules fuse` does: label model, head of the labels and class names in one calibrated pool.

    python recipes/benchmarks/rules_labels.py --data FOLDER
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from _bench import Split, arguments, draw, environment, hierarchical_interval, public, write

from textlabel import registry
from textlabel.corpus.dedup import groups
from textlabel.engine.head import fit_head
from textlabel.engine.label_names import adapt_to_names
from textlabel.engine.predict import predict
from textlabel.engine.rule_head import RuleRows, learn
from textlabel.labeler import DEFAULT_BACKBONE
from textlabel.models.backbone import load_backbone
from textlabel.models.classifier import Classifier
from textlabel.recipe import Stage
from textlabel.rules.compare import unseen_gold
from textlabel.rules.files import read_rules
from textlabel.rules.functions import encode, vote_names
from textlabel.rules.fusion import fuse
from textlabel.trust.calibration import softmax
from textlabel.trust.metrics import ece
from textlabel.types import LabelSchema

NAMES = ("sms_spam", "subjectivity", "voice_intents")
RULES = Path(__file__).parent / "rules"
LABELS = 50
#: sources that are fused
FUSED = ("label model anchored", "labels alone", "class names")


def balanced(found: np.ndarray, truth: np.ndarray) -> float:
    return float(np.mean([(found[truth == c] == c).mean() for c in np.unique(truth)]))


def measure(split: Split, seeds: int) -> list[dict[str, float]]:
    k, rules = len(split.classes), read_rules(RULES / f"{split.name}.toml")
    classifier = Classifier(load_backbone(DEFAULT_BACKBONE), LabelSchema("single", split.classes)).eval()
    pool, test = (predict(classifier, texts)[1].astype(np.float64) for texts in (split.pool, split.test))
    by_names = adapt_to_names(load_backbone(DEFAULT_BACKBONE), classifier.schema, split.pool, 0).classifier
    names = [softmax(predict(by_names, texts)[0].astype(np.float64)) for texts in (split.pool, split.test)]
    votes, unseen = (encode(vote_names(rules, texts), split.classes) for texts in (split.pool, split.test))
    found = []
    for seed in range(seeds):
        index = draw(split.pool_labels, LABELS // k, seed)
        y = split.pool_labels[index]
        same = groups([split.pool[i] for i in index])
        rest = np.setdiff1d(np.flatnonzero((votes >= 0).any(axis=1)), index)
        rows = RuleRows(pool[rest], votes[rest], pool[index], votes[index], y)
        none = np.zeros(0, np.int64)
        bare = rows._replace(gold_features=pool[:0], gold_votes=votes[:0], gold=none)
        labels = fit_head(pool[index], y, same, k, Stage.of("head", "cross_entropy"), seed)
        both = learn(rows, same, k, seed=seed)
        told = {
            "labels alone": labels.head(test),
            "rules and labels": both.head(test),
            "rules alone, head on them": learn(bare, none, k, model="majority", seed=seed).head(test),
        }
        gold = np.concatenate([np.full(len(unseen), -1), y])
        known = np.concatenate([unseen, votes[index]])
        for name in registry.plugins("label_model"):
            model = registry.load("label_model", name)
            told[f"label model {name}"] = model.fit_predict(known, k, gold).probabilities[: len(unseen)]
        said = told["label model anchored"], softmax(told["labels alone"]), names[1]
        without = (
            unseen_gold("anchored", known, k, gold)[-len(y) :],
            softmax(labels.out_of_fold),
            names[0][index],
        )
        fusion = fuse(FUSED, np.stack(without), y)
        told["fused"] = fusion.apply(np.stack(said))
        scores = {name: balanced(values.argmax(axis=1), split.test_labels) for name, values in told.items()}
        found.append({**scores, "ratio": both.ratio})
        for name, p in zip((*FUSED, "fused"), (*said, told["fused"]), strict=True):
            found[-1][f"ece {name}"] = ece(p.max(axis=1), p.argmax(axis=1) == split.test_labels)
        found[-1] |= {f"factor {name}": v for name, v in zip(FUSED, fusion.factors.tolist(), strict=True)}
        print(split.name, seed, {name: round(value, 4) for name, value in found[-1].items()}, flush=True)
    return found


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--sets", nargs="*", default=NAMES)
    args = parser.parse_args()
    splits = [s for name in args.sets if (s := public(name, args.data, (1000, 1000))) is not None]
    runs = {split.name: measure(split, args.seeds) for split in splits}
    others = [
        name for name in next(iter(runs.values()))[0] if not name.startswith(("ratio", "ece", "factor"))
    ]
    against = {
        f"{ours} less {other}": hierarchical_interval(
            {name: [row[ours] - row[other] for row in rows] for name, rows in runs.items()}
        )
        for ours in ("rules and labels", "fused")
        for other in others
        if other != ours
    }
    result = {
        "labels": LABELS,
        "score": "mean share right over classes",
        "runs": runs,
        "differences": against,
        "environment": environment(),
    }
    write(args.out, "rules_labels" if len(runs) > 1 else f"rules_labels_{next(iter(runs))}", result)


if __name__ == "__main__":
    main()
