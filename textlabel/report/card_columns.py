"""What the columns of an annotated corpus mean, as its card tells it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from textlabel.registry import plugins
from textlabel.trust.scores import told_by_rows
from textlabel.trust.set_rule import DEFAULT_ALPHA

#: prediction sets in words
_KINDS = {
    "lac": " (LAC: as few classes as can be)",
    "aps": " (APS: more classes where a text is hard)",
    "raps": " (RAPS: more classes where a text is hard, but few beyond five)",
    "class": " (LAC with a quantile for each class)",
    "interval": " (absolute residuals)",
}

_CLASS_COLUMNS = {
    "id": "row id",
    "text": "the text that was labeled",
    "label": "the most likely class",
    "confidence": "probability that the label is right, in [0, 1]",
    "probabilities": "probability of each class, in class order",
    "margin": "largest minus second largest probability",
    "prediction_set": "classes not ruled out",
    "ood_score": "how far the text lies from the training texts; higher is further",
    "decision": "accepted, review or out_of_scope",
    "source": "who gave the label: model, human or rule",
}

_SUBSET_COLUMNS = _CLASS_COLUMNS | {
    "label": "the classes of the text; there may be several, or none",
    "confidence": "probability that these are exactly the right classes, in [0, 1]",
    "probabilities": "probability of each class by itself, in class order; they need not sum to one",
    "margin": "how far the nearest of the probabilities is from the one from which on a text has the class",
}

_SCORE_COLUMNS = {key: _CLASS_COLUMNS[key] for key in ("id", "text", "ood_score", "decision", "source")} | {
    "label": "the predicted score",
    "prediction_set": "ends of an interval for the score",
}

_COLUMNS = {"single": _CLASS_COLUMNS, "multi": _SUBSET_COLUMNS, "score": _SCORE_COLUMNS}


def columns(record: Mapping[str, Any]) -> dict[str, str]:
    """Return {column: meaning} of an annotated corpus, those of the input left out."""
    found = dict(_COLUMNS[record["schema"]["kind"]])
    if record.get("adapted"):
        found["ood_score"] = "how far the text lies from those it was adapted to; higher is further"
    found["prediction_set"] = _told_of_sets(record, found["prediction_set"])
    return found | (
        _node_columns(record)
        | _order_column(record)
        | _cascade_columns(record, found)
        | _windows_column(record)
    )


def _order_column(record: Mapping[str, Any]) -> dict[str, str]:
    """Return what the column of a score means that the model made so that rows could be ordered by it."""
    name = ((record.get("decided_by") or {}).get("order_by") or "").removeprefix("-")
    if name not in plugins("score") or told_by_rows(name):
        return {}
    return {name: "how sure the row is, by the score of this name; a certificate accepts rows in this order"}


def _node_columns(record: Mapping[str, Any]) -> dict[str, str]:
    """Return what the columns of nodes mean, where `annotate` backed off in the label tree."""
    level = (record.get("decided_by") or {}).get("back_off")
    if not level:
        return {}
    return {
        "node": f"deepest node of the label tree with probability {level:g} or more; empty: there is none",
        "node_confidence": "probability that the node is right, which is the sum over the classes below it",
    }


def _windows_column(record: Mapping[str, Any]) -> dict[str, str]:
    """Return what the column of windows means, where long texts were read in some."""
    if (record.get("backend") or {}).get("on_long") != "window":
        return {}
    return {"windows": "in how many overlapping windows the text was read; 0: not by the model itself"}


def _cascade_columns(record: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, str]:
    """Return what columns mean of which a student fills a part in its own way."""
    student = (record.get("backend") or {}).get("cascade")
    if not student:
        return {}
    lacks = f"{student['measured']['sets_that_lack_a_class']:.1%}"
    return {
        "ood_score": f"{columns['ood_score']}; empty where a student answered",
        "prediction_set": f"{columns['prediction_set']}; those of a student lack a class of the model's own "
        f"in {lacks} of the texts that it was tried on",
    }


def _told_of_sets(record: Mapping[str, Any], meaning: str) -> str:
    """Return what the column of prediction sets means; an old record tells no kind."""
    sets = record.get("sets") or {"kind": "", "alpha": record.get("set_alpha", DEFAULT_ALPHA)}
    share = f"{100 * (1 - sets['alpha']):g} % of the texts"
    like = f"on average over texts like those that calibrated{_KINDS.get(sets['kind'], '')}"
    if sets["kind"] == "off":
        return "empty: no sets were asked for (fit with sets = class)"
    if record["schema"]["kind"] == "multi":
        return f"{meaning}, meant to hold each class in {share} that have it, {like}"
    of_each = " of each class" if sets["kind"] == "class" else ""
    return f"{meaning}, meant to hold the true one in {share}{of_each}, {like}"
