"""What a card tells beside numbers: intended use, inputs and their licenses, who labeled, limits, citation.

People state it under the key ``about`` of the record, with the keys of `KEYS`; ``texts`` is a list of
``{"name", "role", "license"}``. What nobody stated is said to be not stated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from textlabel.errors import ExportError, nearest
from textlabel.report.markdown import plain

KEYS = ("intended_use", "known_failures", "guidelines", "citation", "texts")
TEXT_KEYS = ("name", "role", "license")
UNSAID = "Not stated by those who made it."


def check_about(about: Mapping[str, Any], where: str) -> None:
    """Raise an `ExportError` that names the first thing in ``about`` that no card can tell."""
    for key, value in about.items():
        if key not in KEYS:
            raise ExportError(f"{where}: {nearest(key, KEYS)}")
        if key != "texts" and not isinstance(value, str):
            raise ExportError(f"{where}, {key}: expected text, got {value!r}")
    texts = about.get("texts", [])
    if not isinstance(texts, list) or not all(isinstance(one, Mapping) and "name" in one for one in texts):
        raise ExportError(f"{where}, texts: expected tables [[texts]] with {', '.join(TEXT_KEYS)}")
    for one in texts:
        if strange := sorted(one.keys() - set(TEXT_KEYS)):
            raise ExportError(f"{where}, texts: {nearest(strange[0], TEXT_KEYS)}")


def about(record: Mapping[str, Any]) -> str:
    """Return the sections of the card."""
    said = record.get("about") or {}
    sections = {
        "Intended use": plain(said.get("intended_use", UNSAID)),
        "Inputs and their licenses": _inputs(record, said.get("texts", [])),
        "Label guidelines": plain(said.get("guidelines", UNSAID)),
        "Who labeled": _who(record),
        "Known failures": plain(said.get("known_failures", UNSAID)),
        "How to cite": plain(said["citation"]) if "citation" in said else _cite(record),
    }
    return "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items())


def curve(evaluation: Mapping[str, Any]) -> str:
    """Return the calibration curve as a table of numbers; nothing where none was measured."""
    bins = evaluation.get("reliability") or []
    if not bins:
        return ""
    lines = [
        f"| {one['n']} | {one['confidence']:.3f} | {one['accuracy']:.3f} | "
        f"{one['low']:.3f} to {one['high']:.3f} |"
        for one in bins
    ]
    head = "| rows | mean confidence | share right | 95 % interval |\n|---|---|---|---|\n"
    return "\n\nCalibration curve, least confident rows first:\n\n" + head + "\n".join(lines)


def _inputs(record: Mapping[str, Any], texts: list[Mapping[str, Any]]) -> str:
    """Return a table of backbones and texts; texts that nobody named have a line, too."""
    backbone = record["backbone"]
    rows = [(one["name"], "backbone", one["license"]) for one in (backbone, *backbone.get("parts", []))]
    stated = [(one["name"], one.get("role", "texts"), one.get("license")) for one in texts]
    rows += stated or [("source and target texts", "texts", record.get("license"))]
    lines = [f"| {' | '.join(plain('not stated' if x is None else x) for x in row)} |" for row in rows]
    return "\n".join(["| input | role | license |", "|---|---|---|", *lines])


def _who(record: Mapping[str, Any]) -> str:
    labels, certificate = record["labels"], record["certificate"]
    told = (
        f"Labels given to the model: {plain(labels['train'])} for training, "
        f"{plain(labels['calibration'])} for calibration."
    )
    if gold := (record.get("decided_by") or {}).get("gold"):
        told += f" {gold:,} rows of this corpus were labeled by people beforehand."
    if certificate:
        told += f" People audited {certificate['audited']:,} rows."
    return told + " The model labeled the rest." if record.get("rows") is not None else told


def _cite(record: Mapping[str, Any]) -> str:
    name, version = plain(record["backbone"]["name"]), plain(record["textlabel"])
    return f"Nothing of its own was stated. It was made with textlabel {version} from backbone {name}."
