"""What the page tells where labels are scores: how they are spread, and how far off those judged are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from textlabel.report import plots
from textlabel.report.pieces import figure, pairs, percent, section, table

#: rows of the table beside a plot of points
_MOST_POINTS = 300


def scores_quality(facts: Mapping[str, Any]) -> str:
    """Return how far off scores are, over all and in tenths of the rows."""
    judged = facts["judged"]
    if not judged:
        return section("Quality", pairs(facts["estimate"]))
    groups = judged["groups"]
    cells = [
        (
            f"{g['from']:.3g} to {g['to']:.3g}",
            g["rows"],
            g["error"],
            _between(g["low"], g["high"]),
            g["above"],
            percent(g["held"]),
        )
        for g in groups
    ]
    head = ("score", "rows", "off by", "95 %", "score less truth", "interval holds")
    points = judged["points"][:_MOST_POINTS]
    drawing = plots.scatter([(a, b) for a, b in points], "truth", "score")
    told = f"Truth and score of {len(points):,} rows; on the line the score is right."
    off = plots.ranges(
        [(g["error"], g["low"], g["high"]) for g in groups], "rows, the lowest scores first", "off by"
    )
    by = f"{judged['rows']:,} rows ({judged['by']})"
    mean = "Mean distance from the truth, in tenths of the rows, with 95 %."
    figures = figure(drawing, ("truth", "score"), points, told) + figure(off, head, cells, mean)
    return section(
        "Quality",
        pairs({"judged on": by, **judged["metrics"]}),
        pairs(facts["estimate"]),
        f"<div class='figures'>{figures}</div>",
    )


def scores_spread(facts: Mapping[str, Any]) -> str:
    """Return how scores are spread, and their mean as an audit corrects it."""
    found = facts["scores"]
    counts, edges = found["counts"], found["edges"]
    if not counts:
        return ""
    cells = [(f"{edges[i]:.3g} to {edges[i + 1]:.3g}", n) for i, n in enumerate(counts)]
    drawing = plots.histogram(counts, "score", (edges[0], edges[-1]))
    corrected = found["corrected"]
    mean = None
    if corrected["estimate"] is not None:
        mean = f"{corrected['estimate']:.3f}"
        if corrected["low"] is not None:
            mean += f" ({_between(corrected['low'], corrected['high'])}, 95 %)"
    told = {
        "mean of the scores": found["mean"],
        "median": found["median"],
        "mean of the truth, by the audit": mean,
        "width of an interval, on average": found["width"],
    }
    return section(
        "The scores",
        pairs(told),
        figure(drawing, ("score", "rows"), cells, "How many rows have which score."),
    )


def scores_slices(facts: Mapping[str, Any]) -> str:
    """Return how far off scores are in each slice."""
    parts = []
    for name, rows in facts["slices"].items():
        head = (name, "rows", "mean score", "judged", "off by", "95 %, each by itself", "score less truth")
        cells = [
            (
                r["slice"],
                r["rows"],
                r["mean"],
                r["judged"],
                r["error"],
                _between(r["low"], r["high"]),
                r["above"],
            )
            for r in rows
        ]
        parts.append(table(head, cells, f"By {name}"))
    return section("Bias: errors by slice", *parts)


def _between(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{low:.3f} to {high:.3f}"
