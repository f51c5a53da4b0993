"""The report as one HTML file: no script, nothing from outside, and every plot's numbers as a table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from textlabel.report import plots

TEMPLATE = Path(__file__).parent / "templates" / "report.html"


def page(facts: Mapping[str, Any]) -> str:
    """Return the report of `textlabel.reporting.facts_of` as HTML."""
    parts = [section for make in _SECTIONS for section in [make(facts)] if section]
    return (
        TEMPLATE.read_text(encoding="utf-8")
        .replace("{{title}}", escape(str(facts["title"])))
        .replace("{{body}}", "\n".join(parts))
    )


def _section(title: str, *parts: str) -> str:
    inside = "\n".join(part for part in parts if part)
    return f"<section>\n<h2>{escape(title)}</h2>\n{inside}\n</section>" if inside else ""


def _pairs(rows: Mapping[str, Any]) -> str:
    cells = "".join(
        f"<tr><th scope='row'>{escape(name)}</th><td>{escape(_said(value))}</td></tr>"
        for name, value in rows.items()
        if value is not None and value != ""
    )
    return f"<table class='pairs'>{cells}</table>" if cells else ""


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]], caption: str = "") -> str:
    """Return a table; numbers stand to the right."""
    if not rows:
        return ""
    top = "".join(f"<th scope='col'>{escape(name)}</th>" for name in head)
    body = "".join(
        "<tr>"
        + "".join(
            f"<td{' class=number' if isinstance(v, int | float) else ''}>{escape(_said(v))}</td>" for v in row
        )
        + "</tr>"
        for row in rows
    )
    told = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f"<div class='wide'><table>{told}<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"


def _figure(drawing: str, head: Sequence[str], rows: Sequence[Sequence[Any]], caption: str) -> str:
    numbers = f"<details><summary>numbers</summary>{_table(head, rows)}</details>"
    return f"<figure>{drawing}<figcaption>{escape(caption)}</figcaption>{numbers}</figure>"


def _said(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_said(one)}" for name, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_said, value))
    return str(value)


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _range(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{low:.1%} to {high:.1%}"


def _summary(facts: Mapping[str, Any]) -> str:
    told = "".join(f"<li>{escape(line)}</li>" for line in facts["summary"])
    return f"<section><ul class='summary'>{told}</ul></section>"


def _done(facts: Mapping[str, Any]) -> str:
    return _section("What was asked, and what was done", _pairs(facts["asked"]), _pairs(facts["done"]))


def _budget(facts: Mapping[str, Any]) -> str:
    return _section("Labels that people gave", _pairs(facts["budget"]))


def _certificate(facts: Mapping[str, Any]) -> str:
    found = facts["certificate"]
    if found is None:
        text = "No certificate: nothing is promised about these labels. See <code>textlabel plan</code>."
        return _section("Certificate", f"<p>{text}</p>")
    head = ("rows of", "rows", "model labels that stand", "promise")
    rows = [(g["name"], g["population"], g["accepted"], g["promise"] or "not yet") for g in found["groups"]]
    return _section(
        "Certificate", _pairs(found["settings"]), _table(head, rows), f"<p>{escape(found['assumes'])}</p>"
    )


def _classes(facts: Mapping[str, Any]) -> str:
    rows = facts["classes"]
    if not rows:
        return ""
    several = any(row["low"] is not None for row in rows)
    told = "corrected by the audit, with 95 % intervals" if several else "as labeled, uncorrected"
    drawing = plots.bars([(r["name"], r["share"], r["low"], r["high"]) for r in rows[:40]])
    numbers = [(r["name"], r["rows"], _percent(r["share"]), _range(r["low"], r["high"])) for r in rows]
    return _section(
        "How common each class is",
        _figure(
            drawing, ("class", "labeled rows", "share", "95 %"), numbers, f"Share of each class, {told}."
        ),
    )


def _confidence(facts: Mapping[str, Any]) -> str:
    counts = facts["confidence"]
    n = len(counts)
    rows = [(f"{i / n:.2f} to {(i + 1) / n:.2f}", count) for i, count in enumerate(counts)]
    figures = [
        _figure(plots.histogram(counts), ("confidence", "rows"), rows, "How sure the model is of its labels.")
    ]
    judged = facts["judged"]
    if judged and judged["reliability"]:
        bins = judged["reliability"]
        drawing = plots.reliability([(b["confidence"], b["accuracy"], b["low"], b["high"]) for b in bins])
        head = ("rows", "confidence", "right", "95 %")
        cells = [(b["n"], b["confidence"], b["accuracy"], _range(b["low"], b["high"])) for b in bins]
        by = f"{judged['rows']:,} rows ({judged['by']})"
        told = f"Reliability: on the line, confidence is exact. Judged on {by}."
        figures.append(_figure(drawing, head, cells, told))
    if judged and judged["curve"]:
        found = facts["certificate"]
        marks = [(found["accepted"], found["error_of_accepted"], "certified")] if found else []
        drawing = plots.curve([(p["accepted"], p["error"]) for p in judged["curve"]], marks)
        points = [(_percent(p["accepted"]), _percent(p["error"])) for p in judged["curve"]]
        points += [(_percent(accepted), f"at most {error:.1%} (certified)") for accepted, error, _ in marks]
        told = "How many of the accepted rows are wrong, the surest first. Only the square is a promise."
        figures.append(_figure(drawing, ("rows accepted", "wrong"), points, told))
    return _section("Confidence", f"<div class='figures'>{''.join(figures)}</div>")


def _quality(facts: Mapping[str, Any]) -> str:
    judged = facts["judged"]
    if not judged:
        return _section("Quality", _pairs(facts["estimate"]))
    names = judged["confusion"]["names"]
    rows = [(name, *line) for name, line in zip(names, judged["confusion"]["rows"], strict=True)]
    head = ("truth \\ label", *names)
    per_class = [
        (name, s["precision"], s["recall"], s["f1"], int(s["support"]))
        for name, s in judged["per_class"].items()
    ]
    return _section(
        "Quality",
        _pairs({"judged on": f"{judged['rows']:,} rows ({judged['by']})", **judged["metrics"]}),
        _pairs(facts["estimate"]),
        _table(("class", "precision", "recall", "F1", "rows"), per_class, "Each class"),
        _table(head, rows, "Confusion: rows by true class (down) and label (across)")
        if len(names) <= 30
        else "",
    )


def _slices(facts: Mapping[str, Any]) -> str:
    parts = []
    for name, rows in facts["slices"].items():
        cells = [
            (
                r["slice"],
                r["rows"],
                _percent(r["accepted"]),
                r["judged"],
                _percent(r["error"]),
                _range(r["low"], r["high"]),
            )
            for r in rows
        ]
        head = (name, "rows", "accepted", "judged", "wrong", "95 %, each by itself")
        parts.append(_table(head, cells, f"By {name}"))
    return _section("Bias: errors and rows accepted by slice", *parts)


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
    return _section("How far the corpus is from the labeled rows", _pairs(told))


def _transfer(facts: Mapping[str, Any]) -> str:
    found = facts["transfer"]
    if not found:
        return ""
    promises = "".join(f"<p>{escape(line)}</p>" for line in found["promises"])
    return _section("Transfer against none", _table(found["columns"], found["rows"]), promises)


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
    return _section(
        "What auto tried", _table(head, rows, "On labeled rows that the candidate did not train on")
    )


def _examples(facts: Mapping[str, Any]) -> str:
    tables = [f"<h3>{escape(title)}</h3>{_texts(rows)}" for title, rows in facts["examples"].items() if rows]
    marked = any(row.get("words") for rows in facts["examples"].values() for row in rows)
    told = "Marked words speak for the label, the stronger the darker; underlined ones speak against it."
    return _section("Examples", f"<p>{told}</p>" if marked else "", *tables)


def _texts(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a table of texts with what the model and people say of them."""
    names = ("text", "label", "confidence", "people said")
    head = "".join(f"<th scope='col'>{name}</th>" for name in names)
    cells = ""
    for row in rows:
        said = (row["label"], row["confidence"], row.get("truth"))
        cells += f"<tr><td dir='auto'>{_text(row)}</td>"
        cells += "".join(f"<td>{escape(_said(value))}</td>" for value in said) + "</tr>"
    table = f"<table class='texts'><thead><tr>{head}</tr></thead><tbody>{cells}</tbody></table>"
    return f"<div class='wide'>{table}</div>"


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
    return _section("Cost", _pairs(facts["cost"]))


def _record(facts: Mapping[str, Any]) -> str:
    told = escape(json.dumps(facts["record"], indent=1, ensure_ascii=False))
    return _section(
        "Provenance record", f"<details><summary>the whole record</summary><pre>{told}</pre></details>"
    )


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
    _examples,
    _cost,
    _record,
)
