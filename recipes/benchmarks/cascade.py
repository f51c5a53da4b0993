"""How much faster a cascade labels, and what it costs in accuracy, on texts whose labels nobody saw.

    python recipes/benchmarks/cascade.py --data FOLDER [--seeds 3] [--texts 1000] [--fast NAME ...]

A model of the default backbone is fitted on labeled rows. A static student learns the model's own labels of
unlabeled texts of the corpus that is to be labeled, finds out when it may answer, and then both label test
rows of that corpus, which neither met. "Cost" is accuracy of the model less that of the cascade, in points,
of all rows. Speed counts from text to label, on one backend for both, without the feature cache, in rounds
that take turns: torch in float32, and for the corpora of --fast also what `optimize` finds fastest. Training
the student is told apart: labeling its texts, at the model's speed, and ``seconds``, in which features of the
model that an earlier run kept are looked up.
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _bench import _rows, arguments, draw, write

from textlabel import Labeler
from textlabel.corpus.dedup import text_key
from textlabel.engine.optimize import Trial
from textlabel.engine.predictor import Predictor
from textlabel.engine.student import Lesson
from textlabel.models.backend_fit import REFERENCE, BackendFit

STUDENT = "potion-base-8M"
#: corpus -> its files under --data, and labeled rows a class
CORPORA = {
    "books": (("blitzer_amazon/books", "blitzer_amazon/unlabelled"), 350),
    "dvd": (("blitzer_amazon/dvd", "blitzer_amazon/unlabelled"), 350),
    "movie_snippets": (("mr_movie_snippets/all",), 350),
    "subjectivity": (("subj/all",), 350),
    "arxiv": (("arxiv_cs_math/labelled", "arxiv_cs_math/unlabelled"), 350),
    "sms_spam": (("sms_spam/sms",), 350),
    "voice_intents": (("snips7/train", "snips7/test"), 100),
    "banking77": (("banking77/train", "banking77/test"), 20),
}
#: which labeled rows, and which texts to label
PAIRS = (
    ("voice_intents", "voice_intents"),
    ("sms_spam", "sms_spam"),
    ("subjectivity", "subjectivity"),
    ("movie_snippets", "movie_snippets"),
    ("banking77", "banking77"),
    ("books", "movie_snippets"),
    ("books", "dvd"),
    ("arxiv", "arxiv"),
)
#: labeled rows to draw from, and rows to test on, at most
CAP = (6000, 2000)
MOST_DIFFER = (0.005, 0.02)
MEANS = ("accuracy_model", "cost_points", "differ", "answered")
MODES = (("model", False), ("cascade", True))


@dataclass(frozen=True)
class Corpus:
    """Rows to draw labels from, further texts, and rows of which only the final score sees labels."""

    pool: list[str]
    labels: np.ndarray
    unlabeled: list[str]
    test: list[str]
    truth: np.ndarray


def of(name: str, row: dict[str, Any]) -> bool:
    """Return whether a row is of the corpus: two of them share a file of unlabeled rows."""
    return name not in ("books", "dvd") or row["domain"] == name


def read(name: str, data: Path) -> Corpus:
    rows = [row for file in CORPORA[name][0] for row in _rows(data / f"{file}.jsonl.gz") if of(name, row)]
    known = list({text_key(row["text"]): row for row in rows}.values())  # a text once
    known = [known[i] for i in np.random.default_rng(0).permutation(len(known))]
    labeled = [row for row in known if row.get("label") is not None]
    test = [row for row in labeled if row["split"] == "test"][: CAP[1]]
    pool = [row for row in labeled if row["split"] != "test"][: CAP[0]]
    return Corpus(
        [row["text"] for row in pool],
        np.array([str(row["label"]) for row in pool]),
        [row["text"] for row in known if row.get("label") is None],
        [row["text"] for row in test],
        np.array([str(row["label"]) for row in test]),
    )


def fitted(source: Corpus, per_class: int, seed: int, cache: Path) -> tuple[Labeler, set[str]]:
    """Return a model, and the texts that it was fitted on."""
    chosen = draw(source.labels, per_class, seed)
    train = [{"text": source.pool[i], "label": source.labels[i]} for i in chosen]
    return Labeler(seed=seed, cache=cache).fit(train), {row["text"] for row in train}


def tried(labeler: Labeler, lesson: Lesson, target: Corpus, cache: Path) -> dict[str, Any]:
    """Give the model a student, and return what came of both on the test rows."""
    start = time.perf_counter()
    trial = lesson.trial(labeler.bundle, [Trial(REFERENCE, 1.0, BackendFit(REFERENCE))], cache)
    told: dict[str, Any] = {"student_texts": len(lesson.texts), "seconds": time.perf_counter() - start}
    if trial.student is None:
        return {**told, "kept": False, "why": trial.why}
    labeler.bundle.student = trial.student
    names, ids = np.array(labeler.schema.names), [""] * len(target.test)
    found = {mode: Predictor(labeler.bundle, REFERENCE, cache, on)(ids, target.test) for mode, on in MODES}
    sure = {mode: labeler.bundle.calibrator.apply(each.logits) for mode, each in found.items()}
    said = {mode: names[each.argmax(axis=1)] for mode, each in sure.items()}
    hit = {mode: each == target.truth for mode, each in said.items()}
    answered = found["cascade"].by_student
    cost = 100.0 * hit["model"] - 100.0 * hit["cascade"]
    return {
        **told,
        "kept": True,
        "measured": {k: v for k, v in trial.student.measured.items() if "second" not in k},
        "accuracy_model": 100 * hit["model"].mean(),
        "cost_points": cost.mean(),
        "cost_standard_error": cost.std() / np.sqrt(len(cost)),
        "differ": (said["model"] != said["cascade"]).mean(),
        "answered": answered.mean(),
        "of_answered": {
            "confidence": sure["cascade"][answered].max(axis=1).mean(),
            "accuracy": hit["cascade"][answered].mean(),
            "model_confidence": sure["model"][answered].max(axis=1).mean(),
            "model_accuracy": hit["model"][answered].mean(),
        }
        if answered.any()
        else None,
    }


def timed(labeler: Labeler, backend: str, texts: list[str], rounds: int) -> dict[str, Any]:
    """Return texts/s of model and cascade, the median of rounds in which they take turns."""
    runs = {mode: Predictor(labeler.bundle, backend, None, cascade) for mode, cascade in MODES}
    seconds: dict[str, list[float]] = {mode: [] for mode in runs}
    for number in range(rounds + 1):  # the first warms up
        some = texts[:50] if number == 0 else texts
        for mode, run in runs.items():
            start = time.perf_counter()
            run([""] * len(some), some)
            seconds[mode].append(time.perf_counter() - start)
    speed = {mode: len(texts) / float(np.median(times[1:])) for mode, times in seconds.items()}
    return {
        "backend": runs["model"].fit.backend,
        "texts": len(texts),
        "texts_per_second": speed,
        "times_as_fast": speed["cascade"] / speed["model"],
        "answered": runs["cascade"].by_student / len(texts),
    }


def rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    return round(float(value), 4) if isinstance(value, float | np.floating) else value


def pair(names: tuple[str, str], corpora: dict[str, Corpus], chosen: Any, cache: Path) -> dict[str, Any]:
    source, target = (corpora[name] for name in names)
    told: dict[str, Any] = {"labeled": names[0], "corpus": names[1], "test_rows": len(target.test)}
    runs: dict[float, list[dict[str, Any]]] = {most: [] for most in MOST_DIFFER}
    students: dict[float, Any] = {}
    for seed in range(chosen.seeds):
        labeler, seen = fitted(source, CORPORA[names[0]][1], seed, cache)
        told["classes"] = len(labeler.schema.names)
        texts = [text for text in (*target.pool, *target.unlabeled) if text not in seen]
        for most in MOST_DIFFER:
            lesson = Lesson.prepare(labeler.bundle, texts, STUDENT, most, seed)
            runs[most].append(rounded(tried(labeler, lesson, target, cache)))
            print(names, seed, most, runs[most][-1], flush=True)
            if seed == 0 and runs[most][-1]["kept"]:
                students[most] = labeler, labeler.bundle.student
    for most, some in runs.items():
        kept = [run for run in some if run["kept"]]
        means = {key: np.mean([run[key] for run in kept]) for key in MEANS} if kept else {}
        told[f"differ_at_most_{most}"] = {"kept": len(kept), **rounded(means), "seeds": some}
    for most, (labeler, student) in students.items():
        labeler.bundle.student = student
        for backend in ("auto", REFERENCE)[names[1] not in chosen.fast :]:
            if backend == "auto" and not labeler.bundle.backends:
                labeler.optimize([{"text": text} for text in target.pool[:1000]])
            speed = rounded(timed(labeler, backend, target.test[: chosen.texts], chosen.rounds))
            told[f"differ_at_most_{most}"].setdefault("speed_of_seed_0", []).append(speed)
            print(names, most, speed, flush=True)
    return told


def main() -> None:
    parser = arguments(__doc__, seeds=3)
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--fast", nargs="*", default=[], help="corpora for which the fastest backend is timed"
    )
    parser.add_argument("--features", type=Path, default=None, help="folder in which features are kept")
    chosen = parser.parse_args()
    if chosen.data is None:
        parser.error("give --data FOLDER: the bundled reviews are too few to train a student on")
    os.environ.pop("TEXTLABEL_CACHE_GB", None)  # every seed reads the same texts
    corpora = {name: read(name, chosen.data) for name in CORPORA}
    with tempfile.TemporaryDirectory() as folder:
        cache = chosen.features or Path(folder)
        pairs = []
        for names in PAIRS:
            pairs.append(pair(names, corpora, chosen, cache))
            # after each: what comes later may fail
            write(chosen.out, "cascade", {"student": STUDENT, "pairs": pairs})


if __name__ == "__main__":
    main()
