"""Before spending anything: what an audit of which size would probably bring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from textlabel.audit.draws import drawn_rows, draws
from textlabel.audit.looks import looks
from textlabel.audit.seal import Sealed, class_names, open_sealed
from textlabel.errors import AuditError
from textlabel.trust.certificate import Floats, check_levels, price
from textlabel.trust.planning import SIZES, Forecast, forecast, recalibrated
from textlabel.types import kind_of


def plan(
    folder: str | Path,
    max_errors: Sequence[float] = (0.02, 0.05, 0.1),
    alpha: float = 0.05,
    *,
    pilot: str | Path | None = None,
    sizes: Sequence[int] = SIZES,
    seconds_per_row: float = 20.0,
    seed: int = 0,
) -> dict[str, Any]:
    """Return a forecast, JSON-ready: rows accepted, rows and hours for people, by error and audit size.

    How wrong the rows are is taken from the sealed confidence, which is as good as its calibration (a model
    without labeled rows has none), or from a pilot; never from audit answers. It is a forecast: no
    promise depends on it.

    Parameters
    ----------
    pilot : rows of the same kind with ``confidence`` and the true ``label`` beside the model's, as `annotate`
        and people wrote them: a folder of annotations whose ``input_label`` holds the truth.
    sizes : audit sizes to try, in rows in all.
    seconds_per_row : that a person needs for a row.
    """
    for max_error in max_errors:
        check_levels(max_error, alpha)
    sealed = open_sealed(folder)
    wrong = _expected(sealed, pilot)
    done = len(drawn_rows(draws(sealed)))
    look = max(looks(sealed).values(), default=0) + 1
    level = price(look, alpha)
    table = [
        forecast(wrong, size, max_error, level, seconds_per_row=seconds_per_row, seed=seed)
        for max_error in max_errors
        for size in sorted({min(size, sealed.n) for size in [*sizes, *([done] if done else [])]})
    ]
    return {
        "population": sealed.n,
        "drawn": done,
        "look": look,
        "level_spent": level,
        "seconds_per_row": seconds_per_row,
        "from": "pilot" if pilot else "sealed confidence",
        "table": [asdict(line) for line in table],
        "advice": [advice([line for line in table if line.max_error == e], done) for e in max_errors],
    }


def advice(lines: Sequence[Forecast], done: int) -> str:
    """Return one sentence: which audit size leaves people the least to do."""
    share = f"{100 * lines[0].max_error:g} %"
    able = [line for line in lines if line.accepted > 0 and line.audited >= done]
    if not able:
        return f"to certify {share}, no audit of these sizes would help: people would label all"
    best = min(able, key=lambda line: line.people)
    more = best.audited - done
    rows = f"{more} more rows" if done else f"{more} rows"
    least = f" ({lines[0].least} are the least that can certify it)" if lines[0].least > done else ""
    if not more:
        return f"to certify {share}, the rows drawn are enough; people label about {best.people:,} in all"
    return f"audit {rows} to certify {share}{least}; people then label about {best.people:,} in all"


def _expected(sealed: Sealed, pilot: str | Path | None) -> Floats:
    expected = sealed.expected_error
    if expected is None:
        raise AuditError("scores have no confidence to plan from")
    if pilot is None:
        return expected
    from textlabel.export._read import read_annotations

    rows = read_annotations(pilot)
    if kind_of(rows.features["label"]) != "single":
        raise AuditError(f"{pilot}: a pilot is for one class a row; plan without it")
    if "input_label" not in rows.column_names:
        raise AuditError(
            f"{pilot}: no column 'input_label'; expected annotations of rows that had a true label"
        )
    truth = np.array([str(value) for value in rows["input_label"][:]])
    names = class_names(rows)
    said = np.array([names[i] for i in rows["label"][:]])
    confidence = np.asarray(rows["confidence"][:], dtype=np.float64)
    return recalibrated(expected, 1 - confidence, truth != said)


def draw_plot(told: dict[str, Any], path: Path) -> None:
    """Draw rows that people label against audit size, one line a tolerated error, and write it.

    Raises
    ------
    AuditError : matplotlib is not installed, or it cannot write such a file.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise AuditError("a plot needs matplotlib: pip install 'textlabel[plots]'") from None
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    for i, max_error in enumerate(dict.fromkeys(line["max_error"] for line in told["table"])):
        lines = [line for line in told["table"] if line["max_error"] == max_error]
        axes.plot(
            [line["audited"] for line in lines],
            [line["people"] for line in lines],
            marker="osD^v<>"[i % 7],
            label=f"{100 * max_error:g} % wrong at most",
        )
    axes.axhline(told["population"], color="0.6", linestyle=":", label="all rows by people")
    axes.set(xlabel="rows audited", ylabel="rows that people label in all", ylim=(0, None))
    axes.legend(frameon=False)
    try:
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise AuditError(
            f"{path}: the plot cannot be written ({error}); expected .svg, .png or .pdf"
        ) from None
