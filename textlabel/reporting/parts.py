"""What the report tells of rows, audit and record, part by part; JSON-ready."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from textlabel.errors import AuditError, CorpusError, nearest
from textlabel.reporting.judged import Judged, in_words, share_limits
from textlabel.reporting.scores import JudgedScores, score_slices
from textlabel.types import IntArray, class_names_of, kind_of

if TYPE_CHECKING:
    from datasets import Dataset

    from textlabel.audit.seal import Sealed

#: bins of the histogram of confidence; texts of each kind of example
BINS, EXAMPLES = 20, 5
#: slices of one column that are told, those with the most rows
MOST_SLICES = 30

#: what is told of each way of `textlabel transfer`, and what it is called here
TRANSFER = {
    "variant": "way",
    "learned_from": "learned from",
    "accuracy": "right",
    "low": "95 %, from",
    "high": "to",
    "verdict": "verdict",
}
SURE, UNSURE = "Most sure", "Least sure"
WRONG = "Judged wrong, the surest first: errors of the model, or answers to look at again"
HIGH, LOW = "Highest scores", "Lowest scores"
FAR = "Furthest off: errors of the model, or answers to look at again"
OUT = "Out of scope"


def asked(rows: Dataset, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was to be labeled, with what."""
    schema = record["schema"]
    kind = {"single": "one class a row", "multi": "any classes a row", "score": "a score"}[schema["kind"]]
    return {"rows": len(rows), "labels": kind, "classes": ", ".join(schema.get("names", [])) or None}


def done(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return by which model, and how."""
    backbone, decided = record["backbone"], record.get("decided_by") or {}
    score = record["schema"]["kind"] == "score"  # which has an interval in place of confidence
    license_ = backbone.get("license") or "license unknown"
    return {
        "backbone": f"{backbone['name']} ({backbone['sha256'][:12]}, {license_})",
        "recipe": record["recipe"]["name"],
        "calibrator": None
        if score
        else (record.get("calibrator") or {}).get("name") or "none: confidence is not calibrated",
        "accepted from confidence": None if score else decided.get("min_confidence"),
        "corrected for class shares": None if score else bool(record.get("label_shift")),
        "seed": record["seed"],
        "textlabel": record["textlabel"],
        "labeled on": record["created"],
    }


def budget(record: Mapping[str, Any], audit: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return how many labels people gave, and what for."""
    labels, told = record["labels"], {}
    told["rows that trained the model"] = labels["train"]
    told["calibration"] = str(labels["calibration"])
    told["of them from earlier audits"] = labels.get("audit") or None
    told["rows of the corpus that people had labeled before"] = (record.get("decided_by") or {}).get(
        "gold"
    ) or None
    if audit is not None:
        told["rows drawn for the audit"] = audit["audited"]
        told["of them without a settled answer"] = audit["unanswered"]
    return told


def estimate(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the accuracy that was estimated without labels of the corpus, if it was."""
    found = record.get("estimate")
    if not found:
        return {}
    told = f"{found['accuracy']:.1%} right ({found['low']:.1%} to {found['high']:.1%})"
    return {"estimated without labels of this corpus": f"{told}; {found['promise']}"}


def histogram(rows: Dataset) -> list[int]:
    """Return rows by confidence, in `BINS` equal bins from 0 to 1."""
    sure = np.asarray(_column(rows, "confidence"), float)
    counts, _ = np.histogram(sure[np.isfinite(sure)], bins=BINS, range=(0, 1))
    return [int(count) for count in counts]


def classes(rows: Dataset, audit: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Return how common each class is: by the audit with an interval, else as the rows are labeled."""
    names = class_names_of(rows.features["label"])
    if not names:
        return []
    labels = _column(rows, "label")
    several = kind_of(rows.features["label"]) == "multi"
    flat = [code for codes in labels for code in codes] if several else labels
    counts = np.bincount(np.asarray(flat, dtype=np.int64), minlength=len(names))
    known = {one["name"]: one for one in audit["shares"]} if audit else {}
    found = [
        {
            "name": name,
            "rows": int(count),
            "share": known.get(name, {}).get("estimate", float(count / max(len(rows), 1))),
            "low": known.get(name, {}).get("low"),
            "high": known.get(name, {}).get("high"),
        }
        for name, count in zip(names, counts, strict=True)
    ]
    return sorted(found, key=lambda one: -one["share"])


def slices(rows: Dataset, name: str, known: Judged | JudgedScores | None) -> list[dict[str, Any]]:
    """Return rows, share accepted and errors for each value of a column, the most frequent first.

    Of scores their mean and how far off they are (`score_slices`).

    Raises
    ------
    CorpusError : no such column.
    """
    if name not in rows.column_names:
        raise CorpusError(f"by = {name!r}: {nearest(name, rows.column_names)}")
    values = np.array([str(value) for value in _column(rows, name)])
    if not class_names_of(rows.features["label"]):
        assert not isinstance(known, Judged)
        return score_slices(rows, values.tolist(), known, MOST_SLICES)
    assert not isinstance(known, JudgedScores)
    accepted = np.array(_column(rows, "decision")) == "accepted"
    found = []
    for value, count in zip(*np.unique(values, return_counts=True), strict=True):
        inside = values == value
        one: dict[str, Any] = {
            "slice": str(value),
            "rows": int(count),
            "accepted": float(accepted[inside].mean()),
        }
        judged = known.wrong[inside[known.rows]] if known else np.zeros(0, bool)
        left = int(inside[known.open].sum()) if known else 0
        low, high = share_limits(int(judged.sum()), len(judged), left) if len(judged) else (None, None)
        error = float(judged.mean()) if len(judged) else None
        found.append(one | {"judged": len(judged), "error": error, "low": low, "high": high})
    return sorted(found, key=lambda one: -int(one["rows"]))[:MOST_SLICES]


def examples(rows: Dataset, known: Judged | JudgedScores | None) -> dict[str, list[dict[str, Any]]]:
    """Return texts that a reviewer would look at, of each kind `EXAMPLES`, of errors twice as many."""
    out = np.flatnonzero(np.array(_column(rows, "decision")) == "out_of_scope")[:EXAMPLES]
    score = not class_names_of(rows.features["label"])
    chosen = {**(_of_scores(rows, known) if score else _of_classes(rows, known)), OUT: out}
    truth = dict(zip(known.rows.tolist(), known.truth, strict=True)) if known else {}
    return {
        title: [_example(rows, i, truth.get(i)) for i in picked.tolist()] for title, picked in chosen.items()
    }


def _of_classes(rows: Dataset, known: Any) -> dict[str, IntArray]:
    sure = np.asarray(_column(rows, "confidence"), float)
    model = np.flatnonzero(np.array(_column(rows, "source")) == "model")
    order = model[np.argsort(-sure[model], kind="stable")]
    wrong = known.rows[known.wrong] if known else np.zeros(0, np.int64)
    worst = wrong[np.argsort(-sure[wrong], kind="stable")][: 2 * EXAMPLES]
    return {SURE: order[:EXAMPLES], UNSURE: order[::-1][:EXAMPLES], WRONG: worst}


def _of_scores(rows: Dataset, known: Any) -> dict[str, IntArray]:
    order = np.argsort(-np.asarray(_column(rows, "label"), float), kind="stable")
    far = known.rows[np.argsort(-np.abs(known.off), kind="stable")] if known else np.zeros(0, np.int64)
    return {HIGH: order[:EXAMPLES], LOW: order[::-1][:EXAMPLES], FAR: far[: 2 * EXAMPLES]}


def _example(rows: Dataset, row: int, truth: Any) -> dict[str, Any]:
    values = rows[row]
    sure = values["confidence"]
    return {
        "id": values["id"],
        "text": values["text"],
        "label": in_words(rows, row),
        "confidence": None if sure is None or np.isnan(sure) else float(sure),
        "truth": truth,
    }


def certificate(sealed: Sealed | None, record: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what is promised of these labels and under which assumption; None: nothing."""
    from textlabel.audit.certification import current

    found = record.get("certificate")
    if sealed is not None:
        try:
            found = current(sealed)
        except AuditError:
            found = None
    if not found:
        return None
    settings = {
        "mode": found["mode"],
        "at most wrong": f"{found['max_error']:.1%}",
        "confidence level": f"{1 - found['alpha']:.1%}",
        "audited rows": found["audited"],
        "look": found["look"],
        "what counts as wrong": found["error"],
        "reviewers": ", ".join(name or "unnamed" for name in found.get("reviewers", {}).get("names", [])),
        "labels shown to reviewers": found["labels_shown"],
    }
    groups = [{k: one[k] for k in ("name", "population", "accepted", "promise")} for one in found["groups"]]
    accepted = sum(one["accepted"] for one in groups) / max(found["population"], 1)
    # `finish` promises of all labels: those of people are right, so all wrong ones are among the accepted
    of_all = found["mode"] == "finish" and accepted > 0
    return {
        "settings": settings,
        "groups": groups,
        "assumes": f"Assumed: {found['assumes']}.",
        "accepted": accepted,
        "error_of_accepted": min(found["max_error"] / accepted, 1.0) if of_all else found["max_error"],
    }


def transfer(path: str) -> dict[str, Any] | None:
    """Return what `textlabel transfer --json` found, as a table.

    Raises
    ------
    CorpusError : the file cannot be read, or holds something else.
    """
    if not path:
        return None
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        rows = [[one.get(name) for name in TRANSFER] for one in found["variants"]]
        return {"columns": list(TRANSFER.values()), "rows": rows, "promises": found["promises"]}
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise CorpusError(
            f"{path}: expected the JSON that `textlabel transfer --json` prints ({error})"
        ) from None


def cost(record: Mapping[str, Any], timed: Sequence[str] = ()) -> dict[str, Any]:
    """Return seconds and rows a second: of the record, which is the same on every machine, and of ``timed``.

    Parameters
    ----------
    timed : files with what `textlabel fit --json`, `annotate --json` or `run --json` printed.

    Raises
    ------
    CorpusError : a file cannot be read, or tells no time.
    """
    backend = record.get("backend") or {}
    tried = sum(one["seconds"] for one in record.get("tried", []) if one.get("seconds"))
    told = {
        "backend": backend.get("backend"),
        "rows looked up in the feature cache": backend.get("from_cache"),
        "seconds in which auto tried recipes": round(tried, 1) or None,
    }
    for path in timed:
        told |= _times(path)
    return told


def _times(path: str) -> dict[str, Any]:
    expected = "expected the JSON that `textlabel fit --json` or `annotate --json` prints"
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CorpusError(f"{path}: {expected} ({error})") from None
    steps = found if isinstance(found, dict) else {}
    parts = [one for one in (steps, *steps.values()) if isinstance(one, dict)]
    told: dict[str, Any] = {}
    for one in parts:
        if "annotations" in one and one.get("texts_per_second"):
            told |= {
                "seconds of labeling": one.get("seconds"),
                "rows labeled a second": one["texts_per_second"],
            }
        elif "model" in one and "seconds" in one:
            told |= {"seconds of fitting": one["seconds"]}
    if not told:
        raise CorpusError(f"{path}: {expected}, and found no time in it")
    return told


def _column(rows: Dataset, name: str) -> Any:
    return rows.select_columns(name).with_format("numpy")[:][name] if name == "confidence" else rows[name][:]
