"""Which score finds the backbone, and the source corpus, that is best for a task.

    python recipes/benchmarks/few_labels_choose.py --data FOLDER [--features FOLDER]

Backbones: each score sees 8 or 64 labels a class; the truth is the accuracy on the test rows of the same
head, fitted on the same labels. Sources: binary sentiment corpora, each in turn the target of all others; the
truth is the accuracy on the target of a head that was fitted on the source. Scores that need labels of the
target see 8 or 64 a class, which the truth leaves out. Agreement with the true ranking is Kendall's tau-b,
and what a choice costs is told in points of accuracy below the best candidate. The rule of `choose-backbone`
takes speeds from results/backbone_speed.json, so that it does not depend on this machine.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _bench import RESULTS, Split, arguments, draw, public, write
from scipy.stats import kendalltau
from trust_estimates import CLASSES, CORPORA, Corpus, read

from textlabel.choose.backbone import PREFER, Judged, decide
from textlabel.choose.source import Compared, SourceScore, rank
from textlabel.corpus.dedup import groups
from textlabel.engine.head import HeadFit, fit_head
from textlabel.engine.predict import predict
from textlabel.labeler import DEFAULT_BACKBONE
from textlabel.models.backbone import load_backbone
from textlabel.models.catalog import entries
from textlabel.models.classifier import Classifier
from textlabel.recipe import Recipe
from textlabel.trust.calibration import softmax
from textlabel.trust.calibrators.temperature import fit as fit_temperature
from textlabel.trust.discrepancy import median_squared_distance, mmd, vocabulary_overlap
from textlabel.trust.domain_shift import domain_shift
from textlabel.trust.transferability import h_score, leep_terms, logme, nce
from textlabel.types import LabelSchema

#: short texts and at most 28 classes, so that the slowest backbone takes minutes
TASKS = (
    *("movie_snippets", "product_sentences", "subjectivity", "sms_spam", "voice_intents", "news_topics"),
    *("emotions", "tweets_hausa"),
)
#: rows that labels are drawn from, and test rows
CAP = (1000, 300)
#: more sentiment corpora; vader's are the sentences of two others, rated by other people
CORPORA.update(
    vader_films="vader_reviews/movie", vader_products="vader_reviews/amazon", tweets_english="nusax/english"
)
SOURCES = [name for name in CORPORA if name not in ("movie", "product", "film_documents")]
SAME = ({"movie_snippets", "vader_films"}, {"product_sentences", "vader_products"})
PER_CLASS = (8, 64)
#: rows of a source that its head learns from, and rows of either that distances see
SOURCE_ROWS, ROWS = 400, 500

Scores = dict[str, float]


class Encoder:
    """Features by backbone and text, kept in a feature cache that outlives the script."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.classifiers: dict[str, Classifier] = {}

    def __call__(self, backbone: str, texts: Sequence[str]) -> np.ndarray:
        if backbone not in self.classifiers:
            self.classifiers = {backbone: Classifier(load_backbone(backbone), LabelSchema("single", CLASSES))}
        return predict(self.classifiers[backbone], texts, cache=self.folder)[1].astype(np.float64)


def head(x: np.ndarray, y: np.ndarray, texts: Sequence[str], k: int, seed: int) -> HeadFit:
    return fit_head(x, y, groups(texts), k, Recipe.load("head").stages[0], seed)


# --- backbones ------------------------------------------------------------------------------------


def backbone_scores(split: Split, encode: Encoder, backbone: str, seeds: int) -> dict[tuple[int, int], Any]:
    """Return for each (labels a class, seed) the `Judged` candidate and its accuracy on test rows."""
    draws = {(n, seed): draw(split.pool_labels, n, seed) for n in PER_CLASS for seed in range(seeds)}
    needed = sorted(set(np.concatenate(list(draws.values())).tolist()))
    features = encode(backbone, [split.pool[i] for i in needed] + split.test)
    place, test = {row: i for i, row in enumerate(needed)}, features[len(needed) :]
    speeds = json.loads((RESULTS / "backbone_speed.json").read_text())["texts_per_second"]
    found = {}
    for (n, seed), index in draws.items():
        x, y = features[[place[i] for i in index]], split.pool_labels[index]
        fitted = head(x, y, [split.pool[i] for i in index], len(split.classes), seed)
        p = softmax(fitted.out_of_fold)
        loss = -np.log(np.maximum(p[np.arange(len(y)), y], 1e-12))
        one = Judged(backbone, p.argmax(axis=1) == y, loss, logme(x, y), h_score(x, y), speeds[backbone], 0.0)
        found[n, seed] = one, float(np.mean(fitted.head(test).argmax(axis=1) == split.test_labels))
    return found


def of_backbones(judged: Sequence[Judged], truth: Scores) -> dict[str, Any]:
    """Return scores of one draw, higher being better, and what choices by them cost."""
    scores = {
        "accuracy": {one.backbone: float(one.right.mean()) for one in judged},
        "likelihood": {one.backbone: -float(one.loss.mean()) for one in judged},
        "logme": {one.backbone: one.logme for one in judged},
        "h_score": {one.backbone: one.h_score for one in judged},
    }
    chosen = {name: decide(judged, name).best for name in PREFER}
    return {
        "truth": truth,
        "tau": {name: tau(score, truth) for name, score in scores.items()},
        "lost": {
            **{name: lost(score, truth) for name, score in scores.items()},
            **{f"--prefer {name}": max(truth.values()) - truth[best] for name, best in chosen.items()},
            f"always {DEFAULT_BACKBONE}": max(truth.values()) - truth[DEFAULT_BACKBONE],
        },
        "chosen": chosen,
    }


def tau(score: Scores, truth: Scores) -> float | None:
    """Return Kendall's tau-b, None where one of the two is constant."""
    value = float(kendalltau([score[name] for name in truth], list(truth.values())).statistic)
    return None if np.isnan(value) else value


def lost(score: Scores, truth: Scores) -> float:
    """Return accuracy lost by taking the highest score; equal ones are drawn."""
    top = [truth[name] for name in truth if score[name] == max(score.values())]
    return max(truth.values()) - float(np.mean(top))


# --- sources --------------------------------------------------------------------------------------


def of_sources(
    target: str,
    corpora: dict[str, Corpus],
    features: dict[str, np.ndarray],
    fitted: dict[str, Any],
    seed: int,
) -> dict[str, Any]:
    """Return tau and cost of each score for one target and draw."""
    rng = np.random.default_rng([seed, 1])
    rows, width = features[target], median_squared_distance(features[target][:ROWS])
    labels = {n: draw(corpora[target].labels, n, seed) for n in PER_CLASS}
    rest = np.setdiff1d(np.arange(len(rows)), labels[max(PER_CLASS)])
    sample = rng.permutation(rest)[:ROWS]
    truth: Scores = {}
    scores: dict[str, Scores] = {}
    compared: dict[str, list[Compared]] = {}

    def note(name: str, source: str, value: float) -> None:
        scores.setdefault(name, {})[source] = value

    for source in corpora:
        if source == target or {source, target} in SAME:
            continue
        index, model, temperature = fitted[source]
        logits = model.head(rows)
        p, right = temperature(logits), logits.argmax(axis=1) == corpora[target].labels
        truth[source] = float(right[rest].mean())
        texts = [corpora[source].texts[i] for i in index], [corpora[target].texts[i] for i in sample]
        overlap = vocabulary_overlap(*texts)
        shift = domain_shift(features[source][index], rows[sample], groups([*texts[0], *texts[1]]), seed=seed)
        note("a_distance", source, -shift.distance)
        note("domain_auc", source, -shift.auc)
        note("mmd", source, -(apart := mmd(features[source][index], rows[sample], width)))
        note("jaccard", source, overlap.jaccard)
        note("known_words", source, overlap.known)
        note("mean_confidence", source, float(p[sample].max(axis=1).mean()))
        own = model.out_of_fold.argmax(axis=1) == corpora[source].labels[index]
        note("accuracy_on_source", source, float(own.mean()))
        for n, few in labels.items():
            y = corpora[target].labels[few]
            terms, likelihood = leep_terms(p[few], y), np.log(np.maximum(p[few, y], 1e-12))
            note(f"leep_{n}", source, float(terms.mean()))
            note(f"nce_{n}", source, nce(p[few], y))
            note(f"accuracy_{n}", source, float(right[few].mean()))
            note(f"likelihood_{n}", source, float(likelihood.mean()))
            score = SourceScore(source, len(index), apart, *(0.0,) * 4)
            compared.setdefault(f"choose-source_{n}", []).append(Compared(score, terms, likelihood))
            compared.setdefault(f"choose-source, leep_{n}", []).append(Compared(score, terms))
    for name, several in compared.items():
        for place, one in enumerate(rank(several).rows):
            note(name, one.source, -float(place))
    return {
        "truth": truth,
        "tau": {name: tau(score, truth) for name, score in scores.items()},
        "lost": {
            **{name: lost(score, truth) for name, score in scores.items()},
            "any source": max(truth.values()) - float(np.mean(list(truth.values()))),
        },
    }


def fit_sources(corpora: dict[str, Corpus], features: dict[str, np.ndarray], seed: int) -> dict[str, Any]:
    """Return for each corpus the rows, the head, and what makes probabilities of its logits."""
    found = {}
    for name, corpus in corpora.items():
        index = np.random.default_rng(seed).permutation(len(corpus.labels))[:SOURCE_ROWS]
        texts, y = [corpus.texts[i] for i in index], corpus.labels[index]
        model = head(features[name][index], y, texts, 2, seed)
        calibrator = fit_temperature(model.out_of_fold, y)
        found[name] = index, model, calibrator.apply
    return found


# --- all together ---------------------------------------------------------------------------------


def summary(draws: dict[str, list[dict[str, Any]]], what: str) -> dict[str, Any]:
    """Return the mean over tasks of each one's mean over draws, with the standard error over tasks."""
    names = list(next(iter(draws.values()))[0][what])
    found = {}
    for name in names:
        values = [[d[what][name] for d in task if d[what][name] is not None] for task in draws.values()]
        means = np.array([np.mean(v) for v in values if v])
        found[name] = {"mean": round(float(means.mean()), 4), "tasks": len(means)}
        if len(means) > 1:
            found[name]["standard_error"] = round(float(means.std(ddof=1)) / len(means) ** 0.5, 4)
    return found


def told(draws: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    return {"tau": summary(draws, "tau"), "lost": summary(draws, "lost"), "draws": rounded(draws)}


def rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: rounded(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return round(value, 4) if isinstance(value, float) else value


def measure_backbones(data: Path, encode: Encoder, seeds: int) -> dict[str, Any]:
    splits = [s for name in TASKS if (s := public(name, data, CAP)) is not None]
    by_backbone = {
        name: {split.name: backbone_scores(split, encode, name, seeds) for split in splits}
        for name in entries()
    }
    found = {}
    for n in PER_CLASS:
        draws = {}
        for split in splits:
            pairs = [[by_backbone[b][split.name][n, seed] for b in entries()] for seed in range(seeds)]
            draws[split.name] = [
                of_backbones([one for one, _ in pair], {one.backbone: t for one, t in pair}) for pair in pairs
            ]
        found[str(n)] = told(draws)
    return found


def measure_sources(data: Path, encode: Encoder, seeds: int) -> dict[str, Any]:
    corpora = {name: c for name in SOURCES if (c := read(name, data, 600)) is not None}
    features = {name: encode(DEFAULT_BACKBONE, corpus.texts) for name, corpus in corpora.items()}
    fitted = [fit_sources(corpora, features, seed) for seed in range(seeds)]
    return told(
        {t: [of_sources(t, corpora, features, fitted[seed], seed) for seed in range(seeds)] for t in corpora}
    )


def show(title: str, found: dict[str, Any]) -> None:
    print(title)
    for name, cost in found["lost"].items():
        agreement = found["tau"].get(name)
        tell = f"tau {agreement['mean']:.2f} ± {agreement.get('standard_error', 0):.2f}" if agreement else ""
        print(f"  {name:<28} {tell:<18} lost {100 * cost['mean']:.1f}")


def main() -> None:
    parser = arguments(__doc__ or "", seeds=3)
    parser.add_argument("--features", type=Path, default=Path(tempfile.gettempdir()) / "textlabel-few-labels")
    parser.add_argument("--only", choices=("backbones", "sources"), help="keep the other of the last result")
    chosen = parser.parse_args()
    if chosen.data is None:
        raise SystemExit("expected --data FOLDER")
    os.environ["TEXTLABEL_CACHE_GB"] = "4"  # nothing is timed here
    encode = Encoder(chosen.features)
    parts: dict[str, Callable[[Path, Encoder, int], dict[str, Any]]] = {
        "sources": measure_sources,
        "backbones": measure_backbones,
    }
    last = chosen.out / "few_labels_choose.json"
    known = json.loads(last.read_text()) if chosen.only and last.is_file() else {}
    result: dict[str, Any] = {"seeds": chosen.seeds}
    for name, part in parts.items():
        if chosen.only in (None, name):
            start = time.monotonic()
            result[name] = part(chosen.data, encode, chosen.seeds)
            result[name]["seconds"] = round(time.monotonic() - start)
        elif name in known:
            result[name] = known[name]
    if "sources" in result:
        show("sources", result["sources"])
    for n in PER_CLASS if "backbones" in result else ():
        show(f"backbones, {n} labels a class", result["backbones"][str(n)])
    write(chosen.out, "few_labels_choose", result)


if __name__ == "__main__":
    main()
