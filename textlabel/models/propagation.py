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

from functools import cached_property
from typing import Any

import numpy as np

from textlabel.models.heads import Linear, one_thread
from textlabel.types import FloatArray

#: neighbors of a text, and how fast their weight falls with the cosine distance
NEIGHBORS, TEMPERATURE = 10, 0.1
#: averaging steps; a share of ``alpha ** STEPS`` of the way is left
STEPS = 20
#: ridge penalty of the head that learns the outcome, per unit of the mean variance of a feature
L2 = 1.0
#: least probability that is learned: below, logarithms say nothing
LEAST = 1e-4


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


class Propagation:
    """Labeled and unlabeled rows with their graph: heads become heads that know the corpus.

    Parameters
    ----------
    labeled, unlabeled : features (n, d) and (u, d).
    """

    def __init__(self, labeled: FloatArray, unlabeled: FloatArray) -> None:
        self.count = len(labeled)
        self.features = np.concatenate([labeled, unlabeled]).astype(np.float64)
        self.graph = one_thread(neighbor_graph)(self.features)

    @one_thread
    def head(self, head: Linear, known: FloatArray, alpha: float) -> Linear:
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
        return Linear(weight, wanted.mean(axis=0) - weight @ mean)

    @cached_property
    @one_thread
    def _ridge(self) -> tuple[FloatArray, float, FloatArray]:
        """Return mean (d,), scale and the ridge projection (d, n + u), the same whatever is learned."""
        mean = self.features.mean(axis=0)
        scale = float(self.features.std(axis=0).mean()) or 1.0
        z = (self.features - mean) / scale
        gram = z.T @ z / len(z) + L2 * np.eye(z.shape[1])
        return mean, scale, np.linalg.solve(gram, z.T / len(z))
