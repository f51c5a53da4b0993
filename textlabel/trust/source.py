"""What is kept of labeled source rows to compare other corpora with them: numbers, no text and no row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from textlabel.trust.estimates import SCORES, Threshold, average_confidence, fit_threshold
from textlabel.trust.label_shift import Cells, count_cells
from textlabel.trust.scores import Evidence, order_score

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Twins:
    """Two linear heads of disjoint halves of rows and features, whose agreement estimates accuracy.

    Parameters
    ----------
    weight : (2, k, d) float32.
    bias : (2, k) float32.
    """

    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]

    def labels(self, features: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Return the class (2, n) that each head gives to features (n, d)."""
        x = np.asarray(features, dtype=np.float32)
        pairs = zip(self.weight, self.bias, strict=True)
        return np.stack([(x @ weight.T + bias).argmax(axis=1) for weight, bias in pairs])


@dataclass(frozen=True)
class SourceStatistics:
    """Measured on source rows by models that did not train on them.

    Parameters
    ----------
    rows : how many.
    accuracy : share of right labels.
    confidence : mean calibrated confidence.
    thresholds : of ATC, by score.
    cells : counts of each true class by what the model said, which hold the class shares.
    twins : only where training a second time is cheap: a linear head on cached features.
    """

    rows: int
    accuracy: float
    confidence: float
    thresholds: Mapping[str, Threshold]
    cells: Cells
    twins: Twins | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as a JSON-ready dictionary; `arrays` has the rest."""
        return {
            "rows": self.rows,
            "accuracy": self.accuracy,
            "confidence": self.confidence,
            "thresholds": {name: [t.value, t.tied] for name, t in self.thresholds.items()},
            "edges": [list(edges) for edges in self.cells.edges],
        }

    def arrays(self) -> Arrays:
        """Return the arrays by name, as safetensors wants them."""
        found: Arrays = {"counts": self.cells.counts.astype(np.int32)}
        if self.twins:
            found |= {"weight": self.twins.weight, "bias": self.twins.bias}
        return found

    @classmethod
    def from_parts(cls, data: Mapping[str, Any], arrays: Arrays) -> SourceStatistics:
        """Return the statistics that `to_json` and `arrays` gave."""
        edges = tuple(tuple(edges) for edges in data["edges"])
        return cls(
            data["rows"],
            data["accuracy"],
            data["confidence"],
            {name: Threshold(*pair) for name, pair in data["thresholds"].items()},
            Cells(edges, arrays["counts"].astype(np.int64)),
            Twins(arrays["weight"], arrays["bias"]) if "weight" in arrays else None,
        )


def measure_source(
    probabilities: npt.ArrayLike, labels: npt.ArrayLike, twins: Twins | None = None
) -> SourceStatistics:
    """Return the statistics of source rows.

    Parameters
    ----------
    probabilities : (n, k) calibrated, out of fold or held out.
    labels : (n,) true classes in [0, k).
    twins : second heads, if there are.

    Examples
    --------
    >>> measure_source([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]], [0, 1, 0]).accuracy.__round__(3)
    0.667
    """
    p, y = np.asarray(probabilities, dtype=np.float64), np.asarray(labels, dtype=np.int64)
    accuracy = float(np.mean(p.argmax(axis=1) == y))
    thresholds = {name: fit_threshold(order_score(name, Evidence(p)), accuracy) for name in SCORES}
    return SourceStatistics(len(y), accuracy, average_confidence(p), thresholds, count_cells(p, y), twins)
