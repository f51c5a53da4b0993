"""textlabel's metrics as `evaluate.Metric` objects that need no network.

``evaluate.load("accuracy")`` fetches a script from the Hub; these are built here, and work with
``add_batch``, ``compute``, `evaluate.combine` and `evaluate.save` like any other. Labels are class
numbers; probabilities are rows in class order, whose largest entry is prediction and confidence.

>>> accuracy().compute(predictions=[0, 1, 1, 0], references=[0, 1, 0, 0])
{'accuracy': 0.75}
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from textlabel.trust import metrics

if TYPE_CHECKING:
    from evaluate import Metric


def accuracy(**options: Any) -> Metric:
    """Return the metric ``accuracy`` of ``predictions`` against ``references`` (class numbers).

    ``options`` of every function here go to `evaluate.Metric`: ``experiment_id``, ``num_process``,
    ``process_id``, ``cache_dir``. A metric of one process keeps its rows in memory.
    """
    return _metric("accuracy", metrics.accuracy, options)


def macro_f1(**options: Any) -> Metric:
    """Return the metric ``macro_f1`` of ``predictions`` against ``references`` (class numbers)."""

    def compute(references: npt.NDArray[np.int64], predictions: npt.NDArray[np.int64]) -> float:
        return metrics.macro_f1(references, predictions, 1 + max(references.max(), predictions.max()))

    return _metric("macro_f1", compute, options)


def quadratic_kappa(**options: Any) -> Metric:
    """Return the metric ``quadratic_kappa`` of ordered classes, numbered from the lowest."""

    def compute(references: npt.NDArray[np.int64], predictions: npt.NDArray[np.int64]) -> float:
        classes = 1 + max(references.max(), predictions.max())
        return metrics.quadratic_kappa(references, predictions, classes)

    return _metric("quadratic_kappa", compute, options)


def steps_off(**options: Any) -> Metric:
    """Return the metric ``steps_off``, the mean number of steps that ordered classes are off."""
    return _metric("steps_off", metrics.mae, options)


def calibration_error(**options: Any) -> Metric:
    """Return the metric ``calibration_error`` (equal-mass ECE) of ``probabilities`` and ``references``."""
    return _metric("calibration_error", _of_confidence(metrics.ece), options, probabilistic=True)


def brier(**options: Any) -> Metric:
    """Return the metric ``brier``, in [0, 2], of ``probabilities`` and ``references``."""
    return _metric("brier", metrics.brier, options, probabilistic=True)


def negative_log_likelihood(**options: Any) -> Metric:
    """Return the metric ``negative_log_likelihood``, in nats, of ``probabilities`` and ``references``."""
    return _metric("negative_log_likelihood", metrics.nll, options, probabilistic=True)


def area_under_risk_coverage(**options: Any) -> Metric:
    """Return the metric ``area_under_risk_coverage`` of ``probabilities`` and ``references``."""
    compute = _of_confidence(lambda sure, right: metrics.risk_coverage(sure, right).aurc)
    return _metric("area_under_risk_coverage", compute, options, probabilistic=True)


def _of_confidence(function: Callable[..., float]) -> Callable[..., float]:
    """Return ``function(confidence, correct)`` as one of references and probabilities."""
    return lambda references, p: function(p.max(axis=1), p.argmax(axis=1) == references)


def _metric(
    name: str, function: Callable[..., float], options: dict[str, Any], probabilistic: bool = False
) -> Metric:
    """Return an `evaluate.Metric` called ``name`` of ``function(references, its other column)``."""
    import evaluate
    from datasets import Features, List, Value

    column, feature = (
        ("probabilities", List(Value("float64"))) if probabilistic else ("predictions", Value("int64"))
    )
    info = evaluate.MetricInfo(
        description=f"{name}, computed by textlabel.trust.metrics",
        citation="",
        inputs_description=f"\nInputs: {column} and references (class numbers).\n",
        features=Features({column: feature, "references": Value("int64")}),
    )

    # evaluate.combine hands every metric the inputs of all the others
    def compute(self: Metric, *, references: Any, **inputs: Any) -> dict[str, float]:
        return {name: float(function(np.asarray(references), np.asarray(inputs[column])))}

    # the class name becomes the metric's name: evaluate turns it into snake case
    title = "".join(word.capitalize() for word in name.split("_"))
    made = type(
        title,
        (evaluate.Metric,),
        {"_info": lambda self: info, "_compute": compute, "__doc__": info.description},
    )
    metric: Metric = made(**{"keep_in_memory": options.get("num_process", 1) == 1, **options})
    return metric
