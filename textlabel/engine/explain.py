"""Why a text has its label: words that moved it, words without which it has another, labeled texts near."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from textlabel import registry
from textlabel.attribution import DEFAULT_ATTRIBUTION, Question, explained
from textlabel.engine.predict import Float32, featurizer_of, head_logits
from textlabel.models.bundle import Bundle
from textlabel.models.words import Span, cut, without, words
from textlabel.types import FloatArray, IntArray

#: of a longer text the rest is not explained: each word costs a look
MOST_WORDS = 512
#: words at most without which the label is sought to be another
MOST_REMOVED = 10
#: share of the words that are left out to see how faithful an attribution is, and random choices beside
DELETED, DRAWS = 0.2, 5


@dataclass(frozen=True)
class Explanation:
    """Why one text has its label.

    Parameters
    ----------
    label : the class, of several the likeliest; None for a score.
    value : what is explained (`textlabel.attribution.Question`), of the whole text.
    words, scores : words and how far each moved ``value``, in its unit; positive speaks for the label.
    spans : (start, end) of each word, in characters.
    removed, becomes : the words without which the label is another, and which: found greedily, so fewer may
        do; empty and None where ten do not, and for scores and several labels a row.
    faithful : how much further ``value`` falls without the fifth of the words that moved it most than without
        as many random ones, in its unit; NaN for fewer than five words. At 0 or below the scores say nothing.
    """

    text: str
    label: str | None
    value: float
    words: tuple[str, ...]
    spans: tuple[Span, ...]
    scores: FloatArray = field(compare=False)
    removed: tuple[str, ...]
    becomes: str | None
    faithful: float

    def top(self, count: int) -> list[tuple[str, float]]:
        """Return the words that moved the label most, either way, and how far."""
        order = np.argsort(-np.abs(self.scores), kind="stable")[:count]
        return [(self.words[i], float(self.scores[i])) for i in order.tolist()]


class Explainer:
    """A model that tells why, by one way of attribution.

    Explained is what the head says, before calibration and before class shares are corrected for.

    Raises
    ------
    PluginError : no such attribution.
    """

    def __init__(self, bundle: Bundle, method: str = DEFAULT_ATTRIBUTION, seed: int = 0) -> None:
        self.classifier = bundle.classifier.eval()
        self.schema = bundle.classifier.schema
        self.attribute: Callable[[Question], FloatArray] = registry.load("attribution", method).attribute
        self.seed = seed
        self._featurizer = featurizer_of(self.classifier, "torch", 0)

    def logits(self, texts: Sequence[str]) -> FloatArray:
        """Return logits (n, k)."""
        found: FloatArray = head_logits(self.classifier, self.features(texts)).astype(np.float64)
        return found

    def features(self, texts: Sequence[str]) -> Float32:
        """Return features (n, d)."""
        return self._featurizer.features(list(texts), alone=True)

    def explain(self, texts: Sequence[str]) -> Iterator[Explanation]:
        """Yield why each text has its label, in their order.

        Raises
        ------
        PluginError : an attribution that needs a gradient, of a model that has none.
        """
        logits = self.logits(texts)
        for number, (text, row) in enumerate(zip(texts, logits, strict=True)):
            yield self._one(text, row, np.random.default_rng([self.seed, number]))

    def _one(self, text: str, logits: FloatArray, rng: np.random.Generator) -> Explanation:
        target = int(logits.argmax())
        spans = words(text)[:MOST_WORDS]

        def value(texts: Sequence[str]) -> FloatArray:
            return self._value(self.logits(texts), target)

        scores = (
            self.attribute(Question(text, spans, target, self.classifier, value)) if spans else np.zeros(0)
        )
        removed, becomes = self._other(text, spans, scores, target)
        return Explanation(
            text,
            self.schema.names[target] if self.schema.names else None,
            float(self._value(logits[None], target)[0]),
            tuple(cut(text, spans)),
            tuple(spans),
            scores,
            tuple(cut(text, removed)),
            becomes,
            _faithful(text, spans, scores, value, rng),
        )

    def _value(self, logits: FloatArray, target: int) -> FloatArray:
        import torch

        found: FloatArray = explained(torch.from_numpy(logits), target, self.schema.kind).numpy()
        return found

    def _other(
        self, text: str, spans: Sequence[Span], scores: FloatArray, target: int
    ) -> tuple[list[Span], str | None]:
        """Return words without which the class is another, and which: the strongest that are needed."""
        if self.schema.kind != "single":
            return [], None
        order = [
            spans[i] for i in np.argsort(-scores, kind="stable")[:MOST_REMOVED].tolist() if scores[i] > 0
        ]
        tries = [order[: count + 1] for count in range(min(len(order), len(spans) - 1))]
        if not tries:
            return [], None
        changed = np.flatnonzero(
            self.logits([without(text, some) for some in tries]).argmax(axis=1) != target
        )
        if not len(changed):
            return [], None
        needed = tries[int(changed[0])]
        for span in list(needed[:-1]):
            fewer = [one for one in needed if one != span]
            if self.logits([without(text, fewer)]).argmax() != target:
                needed = fewer
        becomes = int(self.logits([without(text, needed)]).argmax())
        return sorted(needed), self.schema.names[becomes]


def _faithful(
    text: str,
    spans: Sequence[Span],
    scores: FloatArray,
    value: Callable[[Sequence[str]], FloatArray],
    rng: np.random.Generator,
) -> float:
    """Return how much further the value falls without the strongest words than without random ones."""
    count = int(DELETED * len(spans))
    if not count:
        return float("nan")
    strongest = np.argsort(-scores, kind="stable")[:count]
    chosen = [strongest, *(rng.choice(len(spans), count, replace=False) for _ in range(DRAWS))]
    values = value([without(text, [spans[i] for i in some.tolist()]) for some in chosen])
    return float(values[1:].mean() - values[0])


def nearest(features: FloatArray, known: FloatArray, count: int) -> tuple[IntArray, FloatArray]:
    """Return numbers of the known rows nearest to each row, (n, count), and their cosine similarity.

    Parameters
    ----------
    features, known : (n, d) and (m, d); ``count`` is at most m.

    Examples
    --------
    >>> index, alike = nearest(np.array([[1.0, 0.0]]), np.array([[0.0, 2.0], [3.0, 0.0]]), 1)
    >>> index.tolist(), alike.tolist()
    ([[1]], [[1.0]])
    """

    def unit(rows: FloatArray) -> FloatArray:
        rows = np.asarray(rows, np.float64)
        long: FloatArray = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        return long

    alike: FloatArray = unit(features) @ unit(known).T
    index: IntArray = np.argsort(-alike, axis=1, kind="stable")[:, :count]
    return index, np.take_along_axis(alike, index, axis=1)


def columns(one: Explanation, top: int) -> dict[str, Any]:
    """Return what is told of one text in a row of a dataset; JSON-ready."""
    return {
        "words": [word for word, _ in one.top(top)],
        "word_scores": [round(score, 4) for _, score in one.top(top)],
        "without": list(one.removed),
        "becomes": one.becomes,
        "faithful": None if np.isnan(one.faithful) else round(one.faithful, 4),
    }
