"""Labels spread over a corpus by the likeness of its texts, and a linear head that has learned the outcome.

A text is likely labeled as the texts nearest to it are. So a head's probabilities are averaged along a graph
of nearest neighbors, in which labeled rows keep their labels as a source (personalized PageRank; Zhou et al.
2003, "Learning with local and global consistency"; Gasteiger et al. 2019, arXiv 1810.05997). A linear head
then learns the averaged probabilities, so that what labels a text is one matrix again, for texts outside of
the corpus, too. No label of the corpus is read. Where classes do not show in the likeness of texts, as
sentiment often does not, this does harm, a little by 0.5: it is given up where cross-validation speaks
against it (`textlabel.engine.head`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from textlabel.models.heads import Linear, one_thread
from textlabel.trust.domain_shift import CLOSE, domain_shift
from textlabel.types import FloatArray

#: neighbors of a text, and how fast their weight falls with the cosine distance
NEIGHBORS, TEMPERATURE = 10, 0.1
#: averaging steps; a share of ``alpha ** STEPS`` of the way is left
STEPS = 20
#: ridge penalty of the head that learns the outcome, per unit of the mean variance of a feature
L2 = 1.0
#: least probability that is learned: below, logarithms say nothing
LEAST = 1e-4
#: rows of each kind by which domains are told apart, the fewest that tell anything, and directions looked at
TOLD_APART, FEWEST, DIRECTIONS = 500, 20, 100
#: logits are sharpened to this standard deviation where it is told which class wins
SHARPNESS = 10.0
#: scalings by which shares of classes are met, at most, and the logarithm of the largest
SCALINGS, FARTHEST = 200, 3.0


def neighbor_graph(features: FloatArray, neighbors: int = NEIGHBORS, temperature: float = TEMPERATURE) -> Any:
    """Return the symmetric, degree-normalized graph (n, n) of each row's nearest rows, sparse.

    Edges weigh ``exp((cosine - 1) / temperature)`` of centered features (n, d).

    Examples
    --------
    >>> x = np.array([[1.0, 0.1], [1.0, -0.1], [-1.0, 0.1], [-1.0, -0.1]])
    >>> neighbor_graph(x, neighbors=1).toarray().round(2).tolist()[0]
    [0.0, 1.0, 0.0, 0.0]
    """
    from scipy.sparse import csr_matrix, diags

    x = (features - features.mean(axis=0)).astype(np.float32)
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    n = len(x)
    k = min(neighbors, n - 1)
    near, weight = np.empty((n, k), np.int64), np.empty((n, k))
    for start in range(0, n, 1024):
        part = slice(start, start + 1024)
        cosines = x[part] @ x.T
        cosines[np.arange(len(cosines)), np.arange(start, start + len(cosines))] = -np.inf
        near[part] = np.argpartition(-cosines, k - 1, axis=1)[:, :k]
        weight[part] = np.exp((np.take_along_axis(cosines, near[part], axis=1) - 1) / temperature)
    graph = csr_matrix((weight.ravel(), (np.repeat(np.arange(n), k), near.ravel())), (n, n))
    graph = graph.maximum(graph.T)
    scale = diags(1 / np.sqrt(np.maximum(np.asarray(graph.sum(axis=1)).ravel(), 1e-12)))
    return scale @ graph @ scale


def propagate(graph: Any, probabilities: FloatArray, alpha: float) -> FloatArray:
    """Return probabilities (n, k) averaged along the graph; a share ``1 - alpha`` of each row stays its own.

    Examples
    --------
    >>> graph = np.array([[0.0, 1.0], [1.0, 0.0]])
    >>> propagate(graph, np.array([[1.0, 0.0], [0.5, 0.5]]), 0.5).round(2).tolist()
    [[0.83, 0.17], [0.67, 0.33]]
    """
    found = probabilities
    for _ in range(STEPS):
        found = alpha * (graph @ found) + (1 - alpha) * probabilities
    return np.asarray(found / found.sum(axis=1, keepdims=True))


def shift_to(logits: FloatArray, shares: FloatArray) -> FloatArray:
    """Return what to add to logits (n, k), (k,), so that each class wins about its share (k,) of the rows.

    Probabilities of sharpened logits are scaled class by class until their means are the shares (iterative
    proportional fitting). The order of rows by the odds of any two classes stays.

    Examples
    --------
    >>> logits = np.array([[0.0, 3.0], [0.0, 2.0], [0.0, 1.0], [0.0, 0.5]])
    >>> (logits + shift_to(logits, np.array([0.5, 0.5]))).argmax(axis=1).tolist()
    [1, 1, 0, 0]
    """
    spread = float(logits.std()) / SHARPNESS
    if not spread:
        return np.zeros(len(shares))
    sharp, wanted = logits / spread, np.log(np.maximum(shares, 0.1 / len(logits)))
    shift: FloatArray = np.zeros(len(shares))
    for _ in range(SCALINGS):
        odds = np.exp(sharp + shift - (sharp + shift).max(axis=1, keepdims=True))
        found = (odds / odds.sum(axis=1, keepdims=True)).mean(axis=0)
        # a class that is far from winning any row has a share of zero: it comes nearer in steps
        missing = np.clip(wanted - np.log(np.maximum(found, 1e-12)), -FARTHEST, FARTHEST)
        shift = shift + missing - missing.mean()
        if np.abs(missing).max() < 1e-3:
            break
    return shift * spread


class Propagation:
    """Labeled and unlabeled rows with their graph: heads become heads that know the corpus.

    Of another domain a head is less sure and leans to some class, and averaging makes that class ever larger.
    There a class wins as many rows of the corpus afterwards as it did before: only which they are changes.

    Parameters
    ----------
    labeled, unlabeled : features (n, d) and (u, d).
    """

    def __init__(self, labeled: FloatArray, unlabeled: FloatArray) -> None:
        self.count = len(labeled)
        self.features = np.concatenate([labeled, unlabeled]).astype(np.float64)
        self.graph = one_thread(neighbor_graph)(self.features)
        #: whether the unlabeled rows are of another domain than the labeled ones
        self.elsewhere = told_apart(labeled, unlabeled)

    @one_thread
    def head(self, head: Callable[[FloatArray], FloatArray], known: FloatArray, alpha: float) -> Linear:
        """Return a linear head that gives what ``head`` says of all rows, averaged along the graph.

        Parameters
        ----------
        known : (n, k) what is known of the labeled rows, NaN for those that are to pass for unlabeled.
        alpha : in (0, 1), how far probabilities spread.
        """
        logits = head(self.features)
        exp = np.exp(logits - logits.max(axis=1, keepdims=True))
        start = exp / exp.sum(axis=1, keepdims=True)
        given = ~np.isnan(known[:, 0])
        start[: self.count][given] = known[given]
        wanted = np.log(np.maximum(propagate(self.graph, start, alpha), LEAST))
        wanted -= wanted.mean(axis=1, keepdims=True)
        mean, scale, projection = self._ridge
        weight = (projection @ (wanted - wanted.mean(axis=0))).T / scale
        learned = Linear(weight, wanted.mean(axis=0) - weight @ mean)
        if not self.elsewhere:
            return learned
        corpus = slice(self.count, None)
        won = np.bincount(logits[corpus].argmax(axis=1), minlength=logits.shape[1])
        shift = shift_to(learned(self.features[corpus]), won / won.sum())
        return Linear(weight, learned.bias + shift)

    @cached_property
    @one_thread
    def _ridge(self) -> tuple[FloatArray, float, FloatArray]:
        """Return mean (d,), scale and the ridge projection (d, n + u), the same whatever is learned."""
        mean = self.features.mean(axis=0)
        scale = float(self.features.std(axis=0).mean()) or 1.0
        z = (self.features - mean) / scale
        gram = z.T @ z / len(z) + L2 * np.eye(z.shape[1])
        return mean, scale, np.linalg.solve(gram, z.T / len(z))


@one_thread
def told_apart(labeled: FloatArray, unlabeled: FloatArray) -> bool:
    """Return whether a classifier tells rows of one kind from rows of the other; few rows tell nothing."""
    parts = [np.unique(part, axis=0) for part in (labeled, unlabeled)]
    rng = np.random.default_rng(0)
    parts = [part[rng.permutation(len(part))[:TOLD_APART]].astype(np.float64) for part in parts]
    if min(map(len, parts)) < FEWEST:
        return False
    x = np.concatenate(parts)
    x -= x.mean(axis=0)
    # the widest directions are enough to tell, and a thousand of them would take a quarter of a minute
    _, vectors = np.linalg.eigh(x @ x.T)
    x = vectors[:, -DIRECTIONS:] * np.linalg.norm(x.T @ vectors[:, -DIRECTIONS:], axis=0)
    found = domain_shift(x[: len(parts[0])], x[len(parts[0]) :])
    return found.distance - 2 * found.standard_error > CLOSE
