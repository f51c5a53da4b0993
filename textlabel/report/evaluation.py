"""How good an annotated corpus is, where gold labels are known."""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from textlabel.errors import CorpusError, nearest
from textlabel.trust import metrics
from textlabel.trust import reliability as reliable
from textlabel.trust import subset_metrics as subsets
from textlabel.types import LabelSchema, class_names_of, kind_of

_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]

#: key of `Evaluation.metrics` -> its line in the table, in reading order
TITLES = {
    "accuracy": "accuracy",
    "subset_accuracy": "all classes of a row right",
    "hamming_loss": "wrong answers, over rows and classes",
    "micro_f1": "micro-F1",
    "macro_f1": "macro-F1",
    "macro_ece": "calibration error (ECE), mean of classes",
    "ece": "calibration error (ECE)",
    "calibration_rms": "calibration error (RMS, noise subtracted)",
    "ks": "calibration error (KS, no bins)",
    "brier": "Brier score (0 to 2)",
    "nll": "negative log-likelihood (nats)",
    "aurc": "area under risk-coverage",
    "fraction_accepted_at_95": "fraction accepted at 95 % precision",
    "fraction_accepted_at_99": "fraction accepted at 99 % precision",
    "steps_off": "mean absolute error (steps of the scale)",
    "quadratic_kappa": "quadratic weighted kappa",
    "share_with_node": "share of rows with a node",
    "node_accuracy": "share of these nodes that are right",
    "mae": "mean absolute error",
    "rmse": "root mean squared error",
    "pearson": "Pearson correlation",
    "spearman": "Spearman correlation",
}


@dataclass(frozen=True)
class Evaluation:
    """Numbers about the rows of an annotated corpus that have a gold label.

    Parameters
    ----------
    n : rows with a gold label; every number is about these.
    rows : rows annotated in all.
    metrics : accuracy (of several classes a row subset_accuracy, hamming_loss, micro_f1, macro_ece),
        macro_f1, ece, ece_low, ece_high, ece_if_perfect, calibration_rms, ks, ks_if_perfect, aurc,
        fraction_accepted_at_95, fraction_accepted_at_99 (from ``confidence``), brier, nll (from
        ``probabilities``); of ordered classes steps_off and quadratic_kappa; of classes in a tree
        accuracy_at_depth_1 (the top) and so on, and share_with_node and node_accuracy (from ``node``); for
        scores mae, rmse, pearson, spearman. What its column is missing for is left out.
    per_class : class name -> precision, recall, f1, support; empty for scores.
    reliability : accuracy in bins of equal mass, least confident first; empty without ``confidence``.
    """

    n: int
    rows: int
    metrics: Mapping[str, float]
    per_class: Mapping[str, Mapping[str, float]]
    reliability: tuple[reliable.Bin, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return a flat JSON-ready dictionary; an undefined number is None."""
        numbers = {name: value if math.isfinite(value) else None for name, value in self.metrics.items()}
        classes = {name: dict(scores) for name, scores in self.per_class.items()}
        tables = {"per_class": classes, "reliability": [asdict(one) for one in self.reliability]}
        return {"n": self.n, "rows": self.rows, **numbers} | {k: v for k, v in tables.items() if v}

    def render(self) -> str:
        """Return the numbers as a plain text table."""
        width = max(len(title) for title in TITLES.values())
        lines = [f"{'rows with a gold label':<{width}}  {self.n:,} of {self.rows:,}"]
        for name, title in (TITLES | _depth_titles(self.metrics)).items():
            if name in self.metrics:
                lines.append(f"{title:<{width}}  {self.metrics[name]:.3f}{self._beside(name)}")
        if self.per_class:
            lines += ["", *self._class_table()]
        if self.reliability:
            lines += ["", *self._reliability_table()]
        return "\n".join(lines)

    def _beside(self, name: str) -> str:
        m = self.metrics
        if name == "ks":
            return f"  {m['ks_if_perfect']:.3f} if confidence were exact"
        if name != "ece":
            return ""
        return (
            f"  95 % interval {m['ece_low']:.3f} to {m['ece_high']:.3f}; "
            f"{m['ece_if_perfect']:.3f} if confidence were exact"
        )

    def _class_table(self) -> list[str]:
        width = max(len("class"), *map(len, self.per_class))
        lines = [f"{'class':<{width}}  precision  recall     F1     rows"]
        for name, s in self.per_class.items():
            cells = f"{s['precision']:9.3f}  {s['recall']:6.3f}  {s['f1']:5.3f}  {int(s['support']):7,}"
            lines.append(f"{name:<{width}}  {cells}")
        return lines

    def _reliability_table(self) -> list[str]:
        lines = ["confidence     rows  right   95 % interval"]
        for one in self.reliability:
            off = "" if one.low <= one.confidence <= one.high else "  off"
            cells = f"{one.n:7,}  {one.accuracy:5.3f}  {one.low:.3f} to {one.high:.3f}"
            lines.append(f"{one.confidence:10.3f}  {cells}{off}")
        return lines


def evaluate_labels(
    annotated: Any,
    gold: Any,
    *,
    names: Sequence[str] | None = None,
    seed: int = 0,
    schema: LabelSchema | None = None,
) -> Evaluation:
    """Return how well the labels and confidences of ``annotated`` agree with ``gold``.

    Parameters
    ----------
    annotated : `datasets.Dataset` or mapping of columns: ``id`` and ``label`` (ClassLabel, class
        name, a list of these where rows may carry several, or float for scores), if there ``confidence`` and
        ``probabilities`` (in class order).
    gold : mapping from id to label, or a Dataset or mapping of columns ``id`` and ``label``. It may
        cover a part of the rows, but each of its ids must occur in ``annotated``.
    names : class names in the order of ``probabilities``; by default those of the ClassLabel, else
        all names found, sorted.
    seed : of the bootstrap interval and of the simulated floor of the calibration error.
    schema : of the model, for what an order of the classes or a tree over them tells; None: neither is known.

    Raises
    ------
    CorpusError : a column is missing, an id is missing or occurs twice, a label is unknown or not a
        number; with counts and examples.

    Examples
    --------
    >>> rows = {"id": ["a", "b"], "label": ["no", "yes"], "confidence": [0.9, 0.6]}
    >>> evaluate_labels(rows, {"a": "no", "b": "no"}).metrics["accuracy"]
    0.5
    """
    ids, labels, classes = _labeled(annotated, "annotated")
    gold_ids, truth, _ = _labeled(gold, "gold")
    rows = _rows_of(gold_ids, ids)
    said = [labels[row] for row in rows]
    if names is None and classes is None and isinstance(said[0], float):
        numbers = _score_metrics(_numbers(truth, gold_ids, "gold"), _numbers(said, gold_ids, "annotated"))
        return Evaluation(len(rows), len(ids), numbers, {})

    if any(isinstance(label, list | tuple) for label in said):
        return _subsets(annotated, rows, said, truth, gold_ids, names or classes, len(ids), seed)
    order = tuple(names or classes or sorted({str(label) for label in [*said, *truth] if label is not None}))
    y, given = _coded(truth, gold_ids, order, "gold"), _coded(said, gold_ids, order, "annotated")
    report = metrics.class_report(y, given, len(order))
    numbers = {"accuracy": metrics.accuracy(y, given), "macro_f1": report.macro_f1}
    if schema is not None and schema.names == order:
        nodes = _column(annotated, "node", "annotated") if "node" in _names(annotated) else None
        numbers |= _structure_metrics(y, given, schema, nodes and [nodes[row] for row in rows])
    sureness, bins = _sureness(annotated, rows, gold_ids, y == given, seed)
    numbers |= sureness
    if "probabilities" in _names(annotated):
        if not (names or classes):
            raise CorpusError(
                "the class order of 'probabilities' is unknown: label is no ClassLabel; pass names="
            )
        probabilities = _column(annotated, "probabilities", "annotated")
        numbers |= _probability_metrics(y, [probabilities[row] for row in rows], order)
    return Evaluation(len(rows), len(ids), numbers, _per_class(report, order), bins)


def _subsets(
    annotated: Any,
    rows: list[int],
    said: list[Any],
    truth: list[Any],
    ids: list[str],
    names: Sequence[str] | None,
    total: int,
    seed: int,
) -> Evaluation:
    """Return how good the classes of rows that may carry several are."""
    order = tuple(names or sorted({str(name) for labels in [*said, *truth] for name in labels or ()}))
    y, given = _answers(truth, ids, order, "gold"), _answers(said, ids, order, "annotated")
    numbers = subsets.subset_metrics(y, given)
    sureness, bins = _sureness(annotated, rows, ids, (y == given).all(axis=1), seed)
    numbers |= sureness
    if "probabilities" in _names(annotated) and names:
        probabilities = _column(annotated, "probabilities", "annotated")
        p = _rows_of_probabilities([probabilities[row] for row in rows], order)
        numbers["macro_ece"] = subsets.macro_ece(p, y)
    return Evaluation(len(rows), total, numbers, _per_class(subsets.subset_report(y, given), order), bins)


# --- the numbers ----------------------------------------------------------------------------------


def _score_metrics(truth: _Floats, said: _Floats) -> dict[str, float]:
    functions = (metrics.mae, metrics.rmse, metrics.pearson, metrics.spearman)
    return {function.__name__: function(truth, said) for function in functions}


def _structure_metrics(
    y: _Ints, given: _Ints, schema: LabelSchema, nodes: Sequence[str | None] | None
) -> dict[str, float]:
    """Return what is told of classes that are ordered or in a tree; empty of others."""
    if schema.ordered:
        kappa = metrics.quadratic_kappa(y, given, len(schema.names))
        return {"steps_off": metrics.mae(y, given), "quadratic_kappa": kappa}
    tree = schema.tree
    if tree is None:
        return {}
    above = {depth: tree.at_depth(depth) for depth in range(1, int(tree.depths.max()))}
    found = {f"accuracy_at_depth_{d}": metrics.accuracy(of[y], of[given]) for d, of in above.items()}
    if nodes is None or not all(node is None or node in tree.nodes for node in nodes):
        return found
    told = [tree.members[tree.nodes.index(node), c] for node, c in zip(nodes, y, strict=True) if node]
    return found | {
        "share_with_node": len(told) / len(nodes),
        "node_accuracy": float(np.mean(told)) if told else math.nan,
    }


def _depth_titles(named: Iterable[str]) -> dict[str, str]:
    start = "accuracy_at_depth_"
    depths = [name.removeprefix(start) for name in named if name.startswith(start)]
    return {f"{start}{depth}": f"accuracy at depth {depth} of the label tree" for depth in depths}


def _confidence_metrics(sure: _Floats, right: npt.NDArray[np.bool_], seed: int) -> dict[str, float]:
    low, high = metrics.ece_interval(sure, right, seed=seed)
    return {
        "ece": metrics.ece(sure, right),
        "ece_low": low,
        "ece_high": high,
        "ece_if_perfect": metrics.ece_if_perfect(sure, seed=seed),
        "calibration_rms": reliable.error_debiased(sure, right),
        "ks": reliable.ks_error(sure, right),
        "ks_if_perfect": reliable.ks_if_perfect(sure, seed=seed),
        "aurc": metrics.risk_coverage(sure, right).aurc,
        "fraction_accepted_at_95": metrics.fraction_accepted_at(0.95, sure, right),
        "fraction_accepted_at_99": metrics.fraction_accepted_at(0.99, sure, right),
    }


def _sureness(
    annotated: Any, rows: list[int], ids: list[str], right: npt.NDArray[np.bool_], seed: int
) -> tuple[dict[str, float], tuple[reliable.Bin, ...]]:
    """Return what ``confidence`` is worth, and its reliability; nothing where there is none."""
    if "confidence" not in _names(annotated):
        return {}, ()
    confidence = _column(annotated, "confidence", "annotated")
    sure = _numbers([confidence[row] for row in rows], ids, "confidence")
    return _confidence_metrics(sure, right, seed), reliable.reliability(sure, right)


def _probability_metrics(y: _Ints, probabilities: list[Any], order: Sequence[str]) -> dict[str, float]:
    found = _rows_of_probabilities(probabilities, order)
    return {"brier": metrics.brier(y, found), "nll": metrics.nll(y, found)}


def _rows_of_probabilities(probabilities: list[Any], order: Sequence[str]) -> list[Any]:
    wrong = [row for row in probabilities if row is None or len(row) != len(order)]
    if wrong:
        raise CorpusError(
            f"expected {len(order)} probabilities a row, one per class of {list(order)}; "
            f"{len(wrong)} rows differ, such as {wrong[0]!r}"
        )
    return probabilities


def _per_class(report: metrics.ClassReport, order: Sequence[str]) -> dict[str, dict[str, float]]:
    columns = {
        "precision": report.precision.tolist(),
        "recall": report.recall.tolist(),
        "f1": report.f1.tolist(),
        "support": report.support.tolist(),
    }
    return {name: {key: values[c] for key, values in columns.items()} for c, name in enumerate(order)}


# --- reading and joining --------------------------------------------------------------------------


def _names(columns: Any) -> Iterable[str]:
    """Return the column names of a Dataset or of a mapping of columns."""
    names: Iterable[str] = columns.column_names if hasattr(columns, "column_names") else columns.keys()
    return names


def _column(columns: Any, name: str, what: str) -> list[Any]:
    if name not in _names(columns):
        raise CorpusError(f"{what} rows have no column {name!r}: {nearest(name, _names(columns))}")
    values = columns[name][:]  # of a Dataset: all at once
    return values.tolist() if isinstance(values, np.ndarray) else list(values)


def _labeled(source: Any, what: str) -> tuple[list[str], list[Any], tuple[str, ...] | None]:
    """Return ids, labels (class numbers turned into names) and class names if there is a ClassLabel."""
    if isinstance(source, Mapping) and not {"id", "label"} <= source.keys() and what == "gold":
        return [str(i) for i in source], list(source.values()), None
    ids = [str(i) for i in _column(source, "id", what)]
    labels = _column(source, "label", what)
    if repeated := [i for i, count in Counter(ids).items() if count > 1]:
        raise CorpusError(f"{what} rows must have unique ids; {_some(repeated, 'ids')} occur more than once")
    feature = getattr(source, "features", {}).get("label")
    classes = class_names_of(feature)
    if not classes:
        return ids, labels, None
    if kind_of(feature) == "multi":
        return ids, [None if row is None else [classes[y] for y in row] for row in labels], classes
    # -1 is how datasets writes "no label"
    return ids, [None if y is None or y < 0 else classes[y] for y in labels], classes


def _rows_of(wanted: Sequence[str], ids: Sequence[str]) -> list[int]:
    """Return the row number in ``ids`` of each wanted id."""
    if not wanted:
        raise CorpusError("gold has no rows; expected one label at least")
    row = {i: number for number, i in enumerate(ids)}
    if missing := [i for i in wanted if i not in row]:
        raise CorpusError(
            f"{_some(missing, 'gold ids')} are not among the {len(ids)} annotated rows: "
            "gold must come from the corpus that was annotated, with the same id column"
        )
    return [row[i] for i in wanted]


def _coded(labels: Sequence[Any], ids: Sequence[str], order: Sequence[str], what: str) -> _Ints:
    """Return class numbers (n,) of label names."""
    number = {name: c for c, name in enumerate(order)}
    if unknown := [f"{y!r} (id {i})" for y, i in zip(labels, ids, strict=True) if str(y) not in number]:
        raise CorpusError(f"{_some(unknown, f'{what} labels')} are none of the classes {list(order)}")
    return np.array([number[str(y)] for y in labels], dtype=np.int64)


def _answers(
    labels: Sequence[Any], ids: Sequence[str], order: Sequence[str], what: str
) -> npt.NDArray[np.bool_]:
    """Return which classes (n, k) lists of names hold."""
    if bad := [
        f"{y!r} (id {i})" for y, i in zip(labels, ids, strict=True) if not isinstance(y, list | tuple)
    ]:
        raise CorpusError(f"{_some(bad, f'{what} labels')} are no lists of classes; expected one per row")
    answers = np.zeros((len(labels), len(order)), np.bool_)
    pairs = [(row, name) for row, names in enumerate(labels) for name in names]
    rows, flat = [row for row, _ in pairs], [name for _, name in pairs]
    answers[rows, _coded(flat, [ids[row] for row in rows], order, what)] = True
    return answers


def _numbers(values: Sequence[Any], ids: Sequence[str], what: str) -> _Floats:
    """Return values as finite float64 (n,)."""
    numbers = np.full(len(values), np.nan)
    for row, value in enumerate(values):
        with contextlib.suppress(TypeError, ValueError):
            numbers[row] = float(value)
    if bad := [f"{values[row]!r} (id {ids[row]})" for row in np.flatnonzero(~np.isfinite(numbers)).tolist()]:
        raise CorpusError(f"{_some(bad, f'{what} values')} are not numbers; expected one per row")
    return numbers


def _some(examples: Sequence[str], noun: str) -> str:
    """Return how many there are, with the first three."""
    return f"{len(examples):,} {noun} ({', '.join(examples[:3])}{', ...' if len(examples) > 3 else ''})"
