"""Plots draw the numbers they are given."""

import re

import pytest

from textlabel.report import plots


def numbers(drawing, tag, name):
    return [float(n) for n in re.findall(rf'<{tag}[^>]* {name}="([\d.]+)"', drawing)]


def test_bars_of_the_histogram_are_as_high_as_their_counts():
    heights = numbers(plots.histogram([0, 10, 20, 5]), 'rect class="bar"', "height")
    assert heights[0] == 0
    assert heights[2] == pytest.approx(2 * heights[1], abs=0.2)
    assert heights[3] == pytest.approx(heights[1] / 2, abs=0.2)


def test_points_of_the_reliability_diagram_lie_on_the_line_where_confidence_is_exact():
    drawing = plots.reliability([(0.25, 0.25, 0.1, 0.4), (0.75, 0.75, 0.6, 0.9)])
    xs, ys = numbers(drawing, "circle", "cx"), numbers(drawing, "circle", "cy")
    x1, y1, x2, y2 = (numbers(drawing, 'line class="ideal"', name)[0] for name in ("x1", "y1", "x2", "y2"))
    for x, y, share in zip(xs, ys, (0.25, 0.75), strict=True):
        assert x == pytest.approx(x1 + share * (x2 - x1), abs=0.2)
        assert y == pytest.approx(y1 + share * (y2 - y1), abs=0.2)


def test_names_are_texts():
    drawing = plots.bars([("<b>&", 0.5, 0.4, 0.6), ("a very long name of a class", 0.1, None, None)])
    assert "&lt;b&gt;&amp;" in drawing
    assert "…" in drawing
    assert len(re.findall('class="range"', drawing)) == 1
    assert "&lt;x" in plots.curve([(0.5, 0.1), (1, 0.2)], [(0.9, 0.1, "<x")])


@pytest.mark.parametrize(
    ("value", "top"), [(0.01, 0.01), (0.011, 0.02), (0.3, 0.5), (1, 1), (7, 10), (140, 200), (2001, 5000)]
)
def test_axes_end_at_round_numbers(value, top):
    assert plots._round_up(value) == pytest.approx(top)
