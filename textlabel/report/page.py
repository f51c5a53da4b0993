"""The report as one HTML file: no script, nothing from outside, and every plot's numbers as a table."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from textlabel.report import plots
from textlabel.report.pieces import figure, limits, pairs, percent, said, section, table
from textlabel.report.score_page import scores_quality, scores_slices, scores_spread

#: letters of a labeled row that is near an example
_LONGEST = 160
TEMPLATE = Path(__file__).parent / "templates" / "report.html"


def page(facts: Mapping[str, Any]) -> str:
    """Return the report of `textlabel.reporting.facts_of` as HTML."""
    parts = [section for make in _SECTIONS for section in [make(facts)] if section]
    filled = {"title": escape(str(facts["title"])), "body": "\n".join(parts)}
    # in one pass, for a title may hold what stands for the body
    return re.sub(r"\{\{(\w+)\}\}", lambda place: filled[place[1]], TEMPLATE.read_text(encoding="utf-8"))


def _summary(facts: Mapping[str, Any]) -> str:
    told = "".join(f"<li>{escape(line)}</li>" for line in facts["summary"])
    return f"<section><ul class='summary'>{told}</ul></section>"


def _done(facts: Mapping[str, Any]) -> str:
    return section("What was asked, and what was done", pairs(facts["asked"]), pairs(facts["done"]))


def _budget(facts: Mapping[str, Any]) -> str:
    return section("Labels that people gave", pairs(facts["budget"]))


def _certificate(facts: Mapping[str, Any]) -> str:
    found = facts["certificate"]
    if found is None:
        text = "No certificate: nothing is promised about these labels. See <code>textlabel plan</code>."
        return section("Certificate", f"<p>{text}</p>")
    head = ("rows of", "rows", "model labels that stand", "promise")
    rows = [(g["name"], g["population"], g["accepted"], g["promise"] or "not yet") for g in found["groups"]]
    return section(
        "Certificate", pairs(found["settings"]), table(head, rows), f"<p>{escape(found['assumes'])}</p>"
    )


def _classes(facts: Mapping[str, Any]) -> str:
    rows = facts["classes"]
    if facts["scores"]:
        return scores_spread(facts)
    if not rows:
        return ""
    several = any(row["low"] is not None for row in rows)
    told = "corrected by the audit, with 95 % intervals" if several else "as labeled, uncorrected"
    drawing = plots.bars([(r["name"], r["share"], r["low"], r["high"]) for r in rows[:40]])
    numbers = [(r["name"], r["rows"], percent(r["share"]), limits(r["low"], r["high"])) for r in rows]
    return section(
        "How common each class is",
        figure(drawing, ("class", "labeled rows", "share", "95 %"), numbers, f"Share of each class, {told}."),
    )


def _confidence(facts: Mapping[str, Any]) -> str:
    counts = facts["confidence"]
    if not counts:  # a score has an interval instead
        return ""
    n = len(counts)
    rows = [(f"{i / n:.2f} to {(i + 1) / n:.2f}", count) for i, count in enumerate(counts)]
    figures = [
        figure(plots.histogram(counts), ("confidence", "rows"), rows, "How sure the model is of its labels.")
    ]
    judged = facts["judged"]
    if judged and judged["reliability"]:
        bins = judged["reliability"]
        drawing = plots.reliability([(b["confidence"], b["accuracy"], b["low"], b["high"]) for b in bins])
        head = ("rows", "confidence", "right", "95 %")
        cells = [(b["n"], b["confidence"], b["accuracy"], limits(b["low"], b["high"])) for b in bins]
        by = f"{judged['rows']:,} rows ({judged['by']})"
        told = f"Reliability: on the line, confidence is exact. Judged on {by}."
        figures.append(figure(drawing, head, cells, told))
    if judged and judged["curve"]:
        found = facts["certificate"]
        marks = [(found["accepted"], found["error_of_accepted"], "certified")] if found else []
        drawing = plots.curve([(p["accepted"], p["error"]) for p in judged["curve"]], marks)
        points = [(percent(p["accepted"]), percent(p["error"])) for p in judged["curve"]]
        points += [(percent(accepted), f"at most {error:.1%} (certified)") for accepted, error, _ in marks]
        told = "How many of the accepted rows are wrong, the surest first. Only the square is a promise."
        if found and found["settings"]["mode"] == "finish":
            told += " It counts rows that people answered as right."
        figures.append(figure(drawing, ("rows accepted", "wrong"), points, told))
    return section("Confidence", f"<div class='figures'>{''.join(figures)}</div>")


def _quality(facts: Mapping[str, Any]) -> str:
    judged = facts["judged"]
    if facts["scores"]:
        return scores_quality(facts)
    if not judged:
        return section("Quality", pairs(facts["estimate"]))
    names = judged["confusion"]["names"]
    rows = [(name, *line) for name, line in zip(names, judged["confusion"]["rows"], strict=True)]
    head = ("truth \\ label", *names)
    per_class = [
        (name, s["precision"], s["recall"], s["f1"], int(s["support"]))
        for name, s in judged["per_class"].items()
    ]
    return section(
        "Quality",
        pairs({"judged on": f"{judged['rows']:,} rows ({judged['by']})", **judged["metrics"]}),
        pairs(facts["estimate"]),
        table(("class", "precision", "recall", "F1", "rows"), per_class, "Each class"),
        table(head, rows, "Confusion: rows by true class (down) and label (across)")
        if len(names) <= 30
        else "",
    )


def _slices(facts: Mapping[str, Any]) -> str:
    if facts["scores"]:
        return scores_slices(facts)
    parts = []
    for name, rows in facts["slices"].items():
        cells = [
            (
                r["slice"],
                r["rows"],
                percent(r["accepted"]),
                r["judged"],
                percent(r["error"]),
                limits(r["low"], r["high"]),
            )
            for r in rows
        ]
        head = (name, "rows", "accepted", "judged", "wrong", "95 %, each by itself")
        parts.append(table(head, cells, f"By {name}"))
    return section("Bias: errors and rows accepted by slice", *parts)


def _gap(facts: Mapping[str, Any]) -> str:
    found = facts["gap"]
    if not found:
        return ""
    told = {
        "proxy A-distance (0: alike, 2: always told apart)": found["distance"],
        "its standard error": found["standard_error"],
        "AUC of the classifier that tells them apart": found["auc"],
        "verdict": found["verdict"],
        "rows looked at": found["rows"],
    }
    return section("How far the corpus is from the labeled rows", pairs(told))


def _transfer(facts: Mapping[str, Any]) -> str:
    found = facts["transfer"]
    if not found:
        return ""
    promises = "".join(f"<p>{escape(line)}</p>" for line in found["promises"])
    return section("Transfer against none", table(found["columns"], found["rows"]), promises)


def _methods(facts: Mapping[str, Any]) -> str:
    rows = [
        (
            t["name"],
            t["layers"],
            t["accuracy"],
            None if t["error"] is None else 1.96 * t["error"],
            t["nll"],
            t["seconds"],
            t["verdict"],
        )
        for t in facts["tried"]
    ]
    head = ("tried", "layers", "right", "±, 95 %", "loss (nats)", "seconds", "verdict")
    return section(
        "What auto tried", table(head, rows, "On labeled rows that the candidate did not train on")
    )


def _suspects(facts: Mapping[str, Any]) -> str:
    """Return gold labels to look at again; a person decides, for the model may be wrong as well."""
    parts = []
    for found in facts["suspects"]:
        told = f"{found['suspected']:,} of {found['rows']:,} ({found['by']}) are suspected."
        head = ("text", "label given", "likely", "belief in the given one")
        cells = [(one["text"], one["given"], one["likely"], one["belief"]) for one in found["examples"]]
        parts += [f"<p>{escape(told)}</p>", table(head, cells, kind="texts")]
    why = "By confident learning; a person decides, for where the model is poor it suspects what is right."
    return section("Suspected gold errors", *([f"<p>{why}</p>", *parts] if parts else []))


def _examples(facts: Mapping[str, Any]) -> str:
    score = facts["scores"] is not None
    tables = [
        f"<h3>{escape(title)}</h3>{_texts(rows, score)}" for title, rows in facts["examples"].items() if rows
    ]
    marked = any(row.get("words") for rows in facts["examples"].values() for row in rows)
    told = "Marked words speak for the label, the stronger the darker; underlined ones speak against it."
    if score:
        told = "Marked words raise the score, the stronger the darker; underlined ones lower it."
    return section("Examples", f"<p>{told}</p>" if marked else "", *tables)


def _texts(rows: Sequence[Mapping[str, Any]], score: bool = False) -> str:
    """Return a table of texts with what the model and people say of them."""
    keys = {"label": "score" if score else "label", "confidence": "confidence", "truth": "people said"}
    shown = [key for key in keys if any(row.get(key) is not None for row in rows)]
    head = "".join(f"<th scope='col'>{name}</th>" for name in ("text", *(keys[key] for key in shown)))
    cells = ""
    for row in rows:
        cells += f"<tr><td dir='auto'>{_text(row)}{_why(row)}</td>"
        cells += "".join(f"<td>{escape(said(row.get(key)))}</td>" for key in shown) + "</tr>"
    inside = f"<table class='texts'><thead><tr>{head}</tr></thead><tbody>{cells}</tbody></table>"
    return f"<div class='wide'>{inside}</div>"


def _why(row: Mapping[str, Any]) -> str:
    """Return what would have changed the label, rules that fired and labeled rows near, where known."""
    lines = []
    if row.get("becomes"):
        gone = ", ".join(f"“{word}”" for word in row["without"])
        lines.append(f"without {gone}: {row['becomes']}")
    if row.get("rules"):
        lines.append("rules: " + ", ".join(f"{one['rule']} says {one['label']}" for one in row["rules"]))
    if row.get("neighbors"):
        near = row["neighbors"][0]
        lines.append(f"near, {near['similarity']:.2f}: {near['text'][:_LONGEST]} [{said(near['label'])}]")
    return "".join(f"<small>{escape(line)}</small>" for line in lines)


def _text(row: Mapping[str, Any]) -> str:
    """Return a text with the words marked that moved its label, as far as they are known."""
    text, words = row["text"], row.get("words") or []
    largest = max((abs(score) for *_, score in words), default=0.0)
    done, at = [], 0
    for start, end, score in words if largest else []:
        strength = abs(score) / largest
        if strength < 0.2:
            continue
        kind = f"for f{min(int(strength * 3) + 1, 3)}" if score > 0 else "against"
        done.append(f"{escape(text[at:start])}<mark class='{kind}'>{escape(text[start:end])}</mark>")
        at = end
    return "".join(done) + escape(text[at:])


def _cost(facts: Mapping[str, Any]) -> str:
    return section("Cost", pairs(facts["cost"]))


def _record(facts: Mapping[str, Any]) -> str:
    told = escape(json.dumps(facts["record"], indent=1, ensure_ascii=False))
    whole = f"<details><summary>the whole record</summary><pre>{told}</pre></details>"
    return section("Provenance record", whole, kind="screen")


_SECTIONS = (
    _summary,
    _done,
    _budget,
    _certificate,
    _quality,
    _confidence,
    _classes,
    _slices,
    _gap,
    _transfer,
    _methods,
    _suspects,
    _examples,
    _cost,
    _record,
)
