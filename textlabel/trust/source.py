"""What is kept of labeled source rows to compare other corpora with them: numbers, no text and no row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from textlabel.registry import load
from textlabel.trust.calibration import Calibrator, Floats, from_json
from textlabel.trust.estimates import SCORES, Threshold, average_confidence, fit_threshold
from textlabel.trust.label_shift import Cells, count_cells
from textlabel.trust.scores import Evidence, order_score
from textlabel.trust.variance import margin_variance, temper

#: probabilities below this count as it
_FLOOR = 1e-12

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Twins:
    """Pairs of linear heads of disjoint halves of rows and features, whose agreement estimates accuracy.

    Four pairs take 32 bytes for each class and feature: 25 kB for 2 classes and 384 features.

    Parameters
    ----------
    weight : (2, pairs, k, d) float32.
    bias : (2, pairs, k) float32.
    """

    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]

    def labels(self, features: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Return the class (2, pairs, n) that each head gives to features (n, d)."""
        x = np.asarray(features, dtype=np.float32)
        k, d = self.weight.shape[2:]
        heads = zip(self.weight.reshape(-1, k, d), self.bias.reshape(-1, k), strict=True)
        found = np.stack([(x @ weight.T + bias).argmax(axis=1) for weight, bias in heads])
        return found.reshape(*self.weight.shape[:2], len(x))

    @classmethod
    def from_arrays(cls, weight: npt.NDArray[np.float32], bias: npt.NDArray[np.float32]) -> Twins:
        """Return saved twins, also those of a model from before there were several pairs."""
        k, d = weight.shape[-2:]
        return cls(weight.reshape(2, -1, k, d), bias.reshape(2, -1, k))


@dataclass(frozen=True)
class SourceStatistics:
    """Measured on source rows by models that did not train on them.

    Parameters
    ----------
    rows : how many.
    accuracy : share of right labels.
    confidence : mean calibrated confidence.
    thresholds : of ATC, by score; of tempered probabilities where there is a ``margin_variance``.
    cells : counts of each true class by what the model said, which hold the class shares.
    twins : only where training again is cheap: a linear head on cached features.
    margin_variance : by which confidence is tempered for ATC (`textlabel.trust.variance`); None: it is not.
    class_bias : calibrator of the logarithms of calibrated probabilities, which takes out what bias toward a
        class they have left and EM would be misled by; None: of a model from before it was measured.
    """

    rows: int
    accuracy: float
    confidence: float
    thresholds: Mapping[str, Threshold]
    cells: Cells
    twins: Twins | None = None
    margin_variance: float | None = None
    class_bias: Calibrator | None = None

    def agreements(self, features: npt.ArrayLike) -> npt.NDArray[np.float32] | None:
        """Return the share of pairs of twins that agree on each row of features, (n,); None without twins."""
        if self.twins is None:
            return None
        first, second = self.twins.labels(features)
        agree: npt.NDArray[np.float32] = np.mean(first == second, axis=0, dtype=np.float32)
        return agree

    def unbiased(self, probabilities: Floats) -> Floats:
        """Return calibrated probabilities (n, k) without a bias toward a class, as EM wants them."""
        return probabilities if self.class_bias is None else self.class_bias.apply(_log(probabilities))

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as a JSON-ready dictionary; `arrays` has the rest."""
        return {
            "rows": self.rows,
            "accuracy": self.accuracy,
            "confidence": self.confidence,
            "thresholds": {name: [t.value, t.tied] for name, t in self.thresholds.items()},
            "edges": [list(edges) for edges in self.cells.edges],
            "margin_variance": self.margin_variance,
            "class_bias": None if self.class_bias is None else self.class_bias.to_json(),
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
            Twins.from_arrays(arrays["weight"], arrays["bias"]) if "weight" in arrays else None,
            data.get("margin_variance"),
            from_json(data["class_bias"]) if data.get("class_bias") else None,
        )


def measure_source(
    probabilities: npt.ArrayLike,
    labels: npt.ArrayLike,
    twins: Twins | None = None,
    distances: npt.ArrayLike | None = None,
) -> SourceStatistics:
    """Return the statistics of source rows.

    Parameters
    ----------
    probabilities : (n, k) calibrated, out of fold or held out.
    labels : (n,) true classes in [0, k).
    twins : further heads, if there are.
    distances : (n,) of each row from the bulk of the others, as `temper` takes them, if ATC is to heed them.

    Examples
    --------
    >>> measure_source([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]], [0, 1, 0]).accuracy.__round__(3)
    0.667
    """
    p, y = np.asarray(probabilities, dtype=np.float64), np.asarray(labels, dtype=np.int64)
    accuracy = float(np.mean(p.argmax(axis=1) == y))
    variance = None if distances is None else margin_variance(p)
    ordered = Evidence(p if variance is None else temper(p, np.asarray(distances), variance))
    thresholds = {name: fit_threshold(order_score(name, ordered), accuracy) for name in SCORES}
    sure, cells = average_confidence(p), count_cells(p, y)
    bias = load("calibrator", "bias_corrected").fit(_log(p), y)
    return SourceStatistics(len(y), accuracy, sure, thresholds, cells, twins, variance, bias)


def _log(probabilities: Floats) -> Floats:
    logarithms: Floats = np.log(np.maximum(probabilities, _FLOOR))
    return logarithms
