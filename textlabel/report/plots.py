"""Plots as SVG, in colors of the page that a color-blind reader can tell apart; each draws a few numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

#: width and height of the drawing, and the margins that hold the axes
_WIDE, _HIGH = 420, 260
_LEFT, _BOTTOM, _TOP, _RIGHT = 52, 40, 12, 22


def _x(share: float) -> float:
    return round(_LEFT + share * (_WIDE - _LEFT - _RIGHT), 1)


def _y(share: float) -> float:
    return round(_HIGH - _BOTTOM - share * (_HIGH - _BOTTOM - _TOP), 1)


def _frame(
    title: str,
    across: str,
    up: str,
    inside: Sequence[str],
    top: float = 1.0,
    percent: bool = True,
    wide: tuple[float, float] | None = None,
    bottom: float = 0.0,
) -> str:
    """Return an SVG with axes, ``bottom`` to ``top`` up; screen readers read the title.

    Across it goes from 0 to 100 %, or where ``wide`` is given from its first number to its second.
    """
    upward = _ticks(bottom, top, percent)
    along = [(s, f"{s:.0%}") for s in (0, 0.25, 0.5, 0.75, 1)] if wide is None else _ticks(*wide, False)
    lines = [
        f'<svg viewBox="0 0 {_WIDE} {_HIGH}" role="img" aria-label="{escape(title)}">',
        *(
            f'<line class="grid" x1="{_x(0)}" x2="{_x(1)}" y1="{_y(s)}" y2="{_y(s)}"/>'
            f'<text x="{_LEFT - 6}" y="{_y(s) + 4}" text-anchor="end">{told}</text>'
            for s, told in upward
        ),
        *(
            f'<text x="{_x(s)}" y="{_HIGH - _BOTTOM + 16}" text-anchor="middle">{told}</text>'
            for s, told in along
        ),
        f'<text class="axis" x="{_x(0.5)}" y="{_HIGH - 6}" text-anchor="middle">{escape(across)}</text>',
        f'<text class="axis" x="12" y="{_y(0.5)}" text-anchor="middle" '
        f'transform="rotate(-90 12 {_y(0.5)})">{escape(up)}</text>',
        *inside,
        "</svg>",
    ]
    return "\n".join(lines)


def _ticks(low: float, high: float, percent: bool) -> list[tuple[float, str]]:
    """Return where round numbers lie between two, in [0, 1], and how they are written: at most six.

    Examples
    --------
    >>> _ticks(-2.98, 3.33, False)
    [(0.155, '-2'), (0.472, '0'), (0.789, '2')]
    >>> [told for _, told in _ticks(0.0, 0.05, True)]
    ['0%', '1%', '2%', '3%', '4%', '5%']
    """
    wide = high - low
    size = 10.0 ** math.floor(math.log10(wide / 5))
    step = next(size * part for part in (1, 2, 5, 10) if wide / (size * part) <= 5 + 1e-9)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    values = [number * step for number in range(first, last + 1)]
    digits = max(0, -math.floor(math.log10(step * (100 if percent else 1)) + 1e-9))
    told = [f"{value:.{digits}%}" if percent else f"{value + 0.0:,.{digits}f}" for value in values]
    return [(round((value - low) / wide, 3), one) for value, one in zip(values, told, strict=True)]


def reliability(bins: Sequence[tuple[float, float, float, float]]) -> str:
    """Return the reliability diagram of bins: (confidence, share right, low, high), all in [0, 1].

    Examples
    --------
    >>> "<circle" in reliability([(0.8, 0.7, 0.5, 0.9)])
    True
    """
    inside = [f'<line class="ideal" x1="{_x(0)}" y1="{_y(0)}" x2="{_x(1)}" y2="{_y(1)}"/>']
    for sure, right, low, high in bins:
        inside.append(f'<line class="range" x1="{_x(sure)}" x2="{_x(sure)}" y1="{_y(low)}" y2="{_y(high)}"/>')
        inside.append(f'<circle class="point" cx="{_x(sure)}" cy="{_y(right)}" r="4"/>')
    return _frame("Reliability diagram", "confidence", "share right", inside)


def curve(points: Sequence[tuple[float, float]], marks: Sequence[tuple[float, float, str]] = ()) -> str:
    """Return error over the share of rows accepted, with marked points: (share accepted, error, name)."""
    top = _round_up(max([error for _, error in points] + [error for _, error, _ in marks] + [0.01]))
    path = " ".join(f"{_x(across)},{_y(up / top)}" for across, up in points)
    inside = [f'<polyline class="curve" points="{path}"/>']
    for across, up, name in marks:
        x, y = _x(across), _y(up / top)
        inside.append(f'<rect class="mark" x="{x - 5}" y="{y - 5}" width="10" height="10"/>')
        side, away = ("end", -9) if across > 0.5 else ("start", 9)
        below = y + 18 if up > 0.15 * top else y - 8  # errors of the rest lie above it
        inside.append(f'<text x="{x + away}" y="{below}" text-anchor="{side}">{escape(name)}</text>')
    return _frame(
        "Error over the share of rows accepted", "share of rows accepted", "share wrong", inside, top
    )


def histogram(
    counts: Sequence[int], across: str = "confidence", wide: tuple[float, float] | None = None
) -> str:
    """Return counts of rows in equal bins from 0 to 1, or between the ends of ``wide``."""
    top = _round_up(max([*counts, 1]))
    width = (_x(1) - _x(0)) / max(len(counts), 1)
    inside = [
        f'<rect class="bar" x="{_x(0) + i * width + 0.5:.1f}" y="{_y(n / top)}" '
        f'width="{width - 1:.1f}" height="{_y(0) - _y(n / top):.1f}"/>'
        for i, n in enumerate(counts)
    ]
    return _frame(f"Rows by {across}", across, "rows", inside, top, percent=False, wide=wide)


def scatter(points: Sequence[tuple[float, float]], across: str, up: str) -> str:
    """Return points, (across, up), on axes of the same length; on the line both numbers are the same.

    Examples
    --------
    >>> scatter([(1.0, 2.0), (3.0, 3.5)], "truth", "score").count("<circle")
    2
    """
    values = [value for point in points for value in point]
    low, high = min(values), max(values)
    room = 0.04 * (high - low) or 1.0
    low, high = low - room, high + room

    def at(value: float) -> float:
        return (value - low) / (high - low)

    inside = [f'<line class="ideal" x1="{_x(0)}" y1="{_y(0)}" x2="{_x(1)}" y2="{_y(1)}"/>']
    inside += [f'<circle class="dot" cx="{_x(at(a))}" cy="{_y(at(b))}" r="3"/>' for a, b in points]
    return _frame(
        f"{up} over {across}", across, up, inside, high, percent=False, wide=(low, high), bottom=low
    )


def ranges(rows: Sequence[tuple[float, float | None, float | None]], across: str, up: str) -> str:
    """Return one point a group, side by side: (value, low, high); an interval is drawn where it is known."""
    most = max(value if high is None else high for value, _, high in rows)
    top = _round_up(most) if most > 1e-6 else 1.0  # nothing is off
    inside = []
    for i, (value, low, high) in enumerate(rows):
        x = _x((i + 0.5) / len(rows))
        if low is not None and high is not None:
            ends = f'y1="{_y(max(low, 0) / top)}" y2="{_y(high / top)}"'
            inside.append(f'<line class="range" x1="{x}" x2="{x}" {ends}/>')
        inside.append(f'<circle class="point" cx="{x}" cy="{_y(value / top)}" r="4"/>')
    return _frame(f"{up} over {across}", across, up, inside, top, percent=False)


def bars(rows: Sequence[tuple[str, float, float | None, float | None]]) -> str:
    """Return one horizontal bar a row: (name, share, low, high); an interval is drawn where it is known."""
    step, left = 26, 130
    high = step * len(rows) + 26
    wide = _WIDE - left - 60

    def x(share: float) -> float:
        return round(left + share * wide, 1)

    inside = [f'<svg viewBox="0 0 {_WIDE} {high}" role="img" aria-label="Shares">']
    for number, (name, share, low, upper) in enumerate(rows):
        y = number * step + 6
        short = name if len(name) <= 18 else f"{name[:17]}…"
        inside.append(f'<text x="{left - 6}" y="{y + 13}" text-anchor="end">{escape(short)}</text>')
        inside.append(f'<rect class="bar" x="{left}" y="{y}" width="{x(share) - left:.1f}" height="17"/>')
        if low is not None and upper is not None:
            inside.append(
                f'<line class="range" x1="{x(low)}" x2="{x(upper)}" y1="{y + 8.5}" y2="{y + 8.5}"/>'
            )
        end = max(share, upper or 0)
        inside.append(f'<text x="{x(end) + 6}" y="{y + 13}">{share:.1%}</text>')
    return "\n".join([*inside, "</svg>"])


def _round_up(value: float) -> float:
    """Return the next of 1, 2, 5 times a power of ten.

    Examples
    --------
    >>> _round_up(0.03), _round_up(140)
    (0.05, 200.0)
    """
    size = 10.0 ** len(str(int(value))) if value >= 1 else 1.0
    while size / 10 >= value:
        size /= 10
    return min(round(size * part, 10) for part in (0.1, 0.2, 0.5, 1) if round(size * part, 10) >= value)
