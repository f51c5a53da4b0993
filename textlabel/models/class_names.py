"""What the names of classes say of them: the features of a few sentences that hold each name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from textlabel.types import FloatArray

#: sentences that hold the name of a class, or what describes it
TEMPLATES = ("{}", "This text is about {}.", "The topic is {}.")


def sentences(words: Sequence[str]) -> list[str]:
    """Return what is read of the names of classes: each of `TEMPLATES` with each name, by template.

    Examples
    --------
    >>> sentences(["rain", "wind"])[:3]
    ['rain', 'wind', 'This text is about rain.']
    """
    return [template.format(word) for template in TEMPLATES for word in words]


def by_template(features: FloatArray) -> FloatArray:
    """Return features (t * k, d) of `sentences` as (t, k, d)."""
    return features.reshape(len(TEMPLATES), -1, features.shape[1])


def among(named: FloatArray, texts: FloatArray) -> FloatArray:
    """Return a point (k, d) for each class among texts, which a head can learn from as from a row of it.

    The point lies off the mean of the texts as the name lies off the mean of all names. How names and
    sentences differ from texts says nothing of classes, and a head that reads names as they are learns just
    that: at 8 labels a class it is 1.6 points worse over five sets (MiniLM, ten draws and six). Templates are
    averaged, which leaves what they agree on.

    Parameters
    ----------
    named : (t, k, d) features of the names in t templates.
    texts : (n, d) features of texts to learn from.

    Examples
    --------
    >>> among(np.array([[[0.0, 9.0], [2.0, 9.0]]]), np.array([[5.0, 1.0], [5.0, 3.0]])).tolist()
    [[4.0, 2.0], [6.0, 2.0]]
    """
    off = named - named.mean(axis=1, keepdims=True)
    return np.asarray(texts.mean(axis=0) + off.mean(axis=0))
