"""Before anybody labels anything: what each strategy of asking would have brought on known labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from textlabel.ask import DEFAULT_STRATEGY
from textlabel.errors import CorpusError, RecipeError
from textlabel.labeler import DEFAULT_BACKBONE

if TYPE_CHECKING:
    from textlabel.engine.replay import Curve
    from textlabel.types import FloatArray, IntArray

#: strategies that are compared by default; the first is what others are measured against
STRATEGIES = ("random", "margin", DEFAULT_STRATEGY)
#: share of the rows that only the score sees
TEST_SHARE = 0.3


@dataclass(frozen=True)
class Simulate:
    """Replay a labeled set, to see what asking by each strategy would have brought.

    Parameters
    ----------
    labeled : rows with labels: a csv, tsv, jsonl or parquet file, a folder or glob of them, a saved dataset,
        or a Hub dataset id.
    strategies : plugins (`textlabel plugins strategy`), or skactiveml:NAME for those of scikit-activeml; the
        first is what others are compared with.
    budget : rows that are asked in all.
    batch : rows of each round; the model is fitted anew after it.
    seeds : how often it is repeated, each time with other rows held out.
    max_error : share of wrong labels that is tolerated among the rows which the model labels by itself.
    backbone : whose features the heads see: registered name (`textlabel backbones`), local folder, or Hub id.
    text_column : column that holds the text; several are joined.
    label_column : column that holds the label.
    cache : look features up in the feature cache (`textlabel cache`), and keep them there.
    """

    labeled: str
    strategies: tuple[str, ...] = STRATEGIES
    budget: int = 100
    batch: int = 10
    seeds: int = 3
    max_error: float = 0.05
    backbone: str = DEFAULT_BACKBONE
    text_column: tuple[str, ...] = ("text",)
    label_column: str = "label"
    cache: bool = True

    def run(self) -> dict[str, Any]:
        """Return curves and areas of each strategy.

        Raises
        ------
        RecipeError : a budget, a batch or a number of seeds below 1.
        CorpusError : rows that cannot be used, or too few of them.
        """
        if min(self.budget, self.batch, self.seeds) < 1 or not self.strategies:
            raise RecipeError("expected a budget, a batch and seeds of 1 or more, and a strategy")
        features, labels, groups = self._read()
        told = curves_of(features, labels, groups, self)
        return {"rows": len(labels), "budget": self.budget, "strategies": told}

    def _read(self) -> tuple[FloatArray, IntArray, IntArray]:
        from textlabel.corpus.dedup import groups as duplicate_groups
        from textlabel.engine.feature_cache import cache_folder
        from textlabel.engine.predict import predict
        from textlabel.engine.task import load_task
        from textlabel.models.backbone import load_backbone
        from textlabel.models.classifier import Classifier
        from textlabel.progress import bar

        task, _ = load_task(
            self.labeled, None, None, "single", text_column=self.text_column, label_column=self.label_column
        )
        groups = duplicate_groups(task.texts)
        different = len(np.unique(groups))
        if different - int(TEST_SHARE * different) < self.budget:
            raise CorpusError(
                f"{self.labeled}: {different} different texts, of which {TEST_SHARE:.0%} are held out; a "
                f"budget of {self.budget} needs {self.budget / (1 - TEST_SHARE):.0f} or more"
            )
        classifier = Classifier(load_backbone(self.backbone), task.schema).eval()
        with bar("encode rows") as update:
            features = predict(classifier, task.texts, cache=cache_folder(self.cache), progress=update)[1]
        return features.astype(np.float64), task.targets, groups


def curves_of(
    features: FloatArray, labels: IntArray, groups: IntArray, asked: Simulate
) -> list[dict[str, Any]]:
    """Return, for each strategy, its mean curve, and its area with the paired difference to the first one."""
    from textlabel.engine.replay import replay
    from textlabel.progress import bar

    found: dict[str, list[Curve]] = {name: [] for name in asked.strategies}
    with bar("simulate") as update:
        for seed in range(asked.seeds):
            held = np.isin(groups, _held(groups, seed))
            for number, name in enumerate(asked.strategies):
                curve = replay(
                    features[~held],
                    labels[~held],
                    groups[~held],
                    (features[held], labels[held]),
                    name,
                    budget=asked.budget,
                    batch=asked.batch,
                    seed=seed,
                    max_error=asked.max_error,
                )
                found[name].append(curve)
                update(seed * len(asked.strategies) + number + 1, asked.seeds * len(asked.strategies))
    base = found[asked.strategies[0]]
    return [_told(name, curves, base) for name, curves in found.items()]


def _held(groups: IntArray, seed: int) -> IntArray:
    """Return the groups of texts that only the score sees."""
    different = np.unique(groups)
    return np.random.default_rng(seed).permutation(different)[: int(TEST_SHARE * len(different))]


def _told(name: str, curves: list[Curve], base: list[Curve]) -> dict[str, Any]:
    pairs = [zip(curve.accuracy, curve.share, strict=True) for curve in curves]
    rounds = [dict(zip(curve.labeled, pair, strict=True)) for curve, pair in zip(curves, pairs, strict=True)]
    labeled = sorted(set.intersection(*(set(one) for one in rounds)))
    gain = np.array([one.area - other.area for one, other in zip(curves, base, strict=True)])
    error = float(gain.std(ddof=1) / np.sqrt(len(gain))) if len(gain) > 1 else None
    return {
        "strategy": name,
        "area": round(float(np.mean([one.area for one in curves])), 4),
        "above_first": round(float(gain.mean()), 4),
        "standard_error": None if error is None else round(error, 4),
        "labeled": labeled,
        "accuracy": [round(float(np.mean([one[n][0] for one in rounds])), 4) for n in labeled],
        "labeled_by_model": [round(float(np.mean([one[n][1] for one in rounds])), 4) for n in labeled],
    }
