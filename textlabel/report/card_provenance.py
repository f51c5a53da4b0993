"""Where a model or corpus comes from, as a table of its card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from textlabel.models.backend_fit import REFERENCE
from textlabel.report.markdown import plain


def provenance(record: Mapping[str, Any]) -> dict[str, str]:
    """Return {what: value} of all that made a model, or a corpus, as the record tells it; Markdown."""
    backbone, labels = record["backbone"], record["labels"]
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    facts = {
        "textlabel": f"{record['textlabel']} (record format {record['format']})",
        "created": record["created"],
        "schema": json.dumps(record["schema"], ensure_ascii=False),
        "backbone": backbone["name"],
        "backbone sha256": backbone["sha256"],
        "backbone source": backbone["source"],
        "backbone license": backbone["license"],
        "recipe": json.dumps(record["recipe"], ensure_ascii=False),
        "seed": record["seed"],
        "library versions": versions,
        "labels for training": labels["train"],
        "labels for calibration": labels["calibration"],
        "labels for audit": labels["audit"],
        "calibrator": json.dumps(record["calibrator"], ensure_ascii=False),
        "prediction sets": json.dumps(record.get("sets"), ensure_ascii=False),
    }
    for number, part in enumerate(backbone.get("parts", []), start=1):
        facts[f"backbone part {number}"] = (
            f"{part['name']} (sha256 {part['sha256']}, source {part['source']}, license {part['license']})"
        )
    for number, each in enumerate(record.get("adapted", []), start=1):
        facts[f"adapted without labels, {number}"] = (
            f"recipe {each['recipe']['name']}, seed {each['seed']}, {each['texts']:,} texts (sha256 "
            f"{each['sha256']}), from model {each['started_from']['model']} with weights "
            f"{each['started_from']['weights']}"
        )
    facts |= _sometimes(record)
    if record.get("rows") is not None:
        facts["rows annotated"] = record["rows"]
    if record.get("backend"):
        facts["backend"] = _backend(record["backend"])
    for name, value in (record.get("decided_by") or {}).items():
        facts[f"{name} of annotate"] = "no row is accepted" if value is None else value
    return {key: "unknown" if value is None else plain(value) for key, value in facts.items()}


def _sometimes(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what only some models have."""
    facts = {}
    if "label_map" in record:
        facts["label map"] = _label_map(record["label_map"])
    if "sources" in record:
        facts["sources"] = _sources(record["sources"])
    if "threshold" in record:
        facts["threshold of classes"] = record["threshold"]
    if "likely_wrong" in record["labels"]:
        facts["labels for training that are likely wrong"] = record["labels"]["likely_wrong"]
    if "row_weights" in record:
        facts["weights of labeled rows"] = _row_weights(record["row_weights"])
    for number, changes in enumerate(record.get("taxonomy", []), start=1):
        made = {kind: change for kind, change in changes.items() if change}
        facts[f"change of classes {number}"] = json.dumps(made, ensure_ascii=False)
    return facts


def _row_weights(weights: Mapping[str, Any]) -> str:
    """Return by what rows were weighed, and what they are worth, or why they were not."""
    if not weights["applied"]:
        return f"{weights['method']} was asked for and refused, all rows count alike: {weights['reason']}"
    return (
        f"{weights['method']}: {weights['rows']:,} rows are worth {weights['effective_rows']:,.1f} of equal "
        f"weight ({weights['unclipped_rows']:,.1f} before weights were clipped and flattened)"
    )


def _label_map(told: Mapping[str, Any]) -> str:
    """Return what became of the classes of the model that this one started from."""
    pairs = [f"{line['source']} -> {line['target'] or 'nothing known'}" for line in told["table"]]
    unreached = f"; nothing becomes {', '.join(told['unreached'])}" if told["unreached"] else ""
    return f"{told['mode']}: {', '.join(pairs)}{unreached}; from model {told['started_from']}"


def _sources(told: Mapping[str, Any]) -> str:
    """Return from which corpora, and by which way of combining them, a model learned."""
    rows = ", ".join(f"{name} ({count} rows)" for name, count in told["rows"].items())
    return f"{rows}; taken: {told['chosen']}; nearest share {told['nearest']:g}"


def _backend(backend: Mapping[str, Any]) -> str:
    """Return what ran the model, and how many rows were computed again because two classes were close."""
    by = " and ".join(backend.get("recomputed_by", [REFERENCE]))
    again = f"; {backend['recomputed']:,} of {backend['rows']:,} rows computed again by {by}"
    told = f"{backend['backend']}{again if backend['band'] else ''}"
    if backend.get("in_windows"):
        told += f"; {backend['in_windows']:,} of {backend['rows']:,} rows read in windows"
    if not backend.get("cascade"):
        return told
    student = backend["cascade"]
    return (
        f"{told}; {student['answered']:,} of {backend['rows']:,} rows answered by a student "
        f"({student['backbone']['name']}), which gives another label than the model to at most "
        f"{student['measured']['differ_at_most']:.1%} of different texts like those it was tried on "
        f"(confidence {1 - student['measured']['alpha']:.0%})"
    )
