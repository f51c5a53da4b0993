"""The report in a browser: on a screen, on a narrow one, and as PDF."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Iterator

import pytest
from labeled_folder import labeled

from textlabel import audit
from textlabel.export._read import read_annotations
from textlabel.reporting import Report
from textlabel.reporting.judged import in_words

pytestmark = pytest.mark.slow
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator:
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: the report is not tried in a browser")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        found = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()


@pytest.fixture(scope="module", params=["single", "multi", "score"])
def report(request, tmp_path_factory):
    """Write a report with all its figures."""
    home = tmp_path_factory.mktemp(request.param)
    folder = labeled(home, 80, request.param)
    audit.draw(folder, 40, seed=0, **({"tolerance": 0.5} if request.param == "score" else {}))
    rows = read_annotations(folder)
    said = {rows[i]["id"]: in_words(rows, i) for i in range(len(rows))}
    sheet = folder / "audit" / "sheet-1.csv"
    with sheet.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        columns, asked = reader.fieldnames or (), list(reader)
    for row in asked:
        label = said[row["id"]]
        row["label"] = ("|".join(label) or "(none)") if isinstance(label, list) else str(label)
    with sheet.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(asked)
    audit.import_answers(folder, sheet, reviewer="Ann")
    audit.certify(folder, 0.3)
    out = home / "report.html"
    Report(str(folder), str(out), by=("section",), model=str(home / "model")).run()
    return out


class Tab:
    """A page with what it complained of and asked for."""

    def __init__(self, browser, path, **more):
        self.context = browser.new_context(**more)
        self.page = self.context.new_page()
        self.errors, self.asked = [], []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda told: self.errors.append(told.text) if told.type == "error" else None)
        self.page.on("request", lambda asked: self.asked.append(asked.url))
        self.page.goto(path.as_uri())

    def close(self):
        self.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_prints_to_several_pages_and_asks_for_nothing(browser, report, tmp_path, scheme):
    tab = Tab(browser, report, color_scheme=scheme)
    printed = tab.page.pdf(format="A4")
    pages = len(re.findall(rb"/Type\s*/Page\b", printed))
    tab.page.emulate_media(media="print", color_scheme=scheme)
    look = """() => ({
        paper: getComputedStyle(document.body).backgroundColor,
        record: document.querySelector('.screen').offsetHeight,
        figures: [...document.querySelectorAll('figure')].map(figure => ({
            drawing: figure.querySelector('svg').getBoundingClientRect().height,
            short: !figure.querySelector('.long'),
            table: figure.querySelector('table').getBoundingClientRect().height })) })"""
    seen = tab.page.evaluate(look)
    tab.close()
    assert printed.startswith(b"%PDF")
    assert pages > 1
    assert tab.errors == []
    assert tab.asked == [report.as_uri()]
    assert seen["paper"] == "rgb(255, 255, 255)"  # no ink is spent on the dark
    assert seen["record"] == 0
    assert seen["figures"]
    assert all(one["drawing"] > 20 for one in seen["figures"])
    assert any(one["short"] and one["table"] > 20 for one in seen["figures"])  # the numbers are printed, too


def test_it_fits_a_narrow_window(browser, report):
    tab = Tab(browser, report, viewport={"width": 360, "height": 740})
    wide = tab.page.evaluate("document.documentElement.scrollWidth")
    tab.close()
    assert wide <= 360


def test_no_number_of_a_figure_leaves_it(browser, report):
    """Words of a drawing that stick out of it are cut."""
    tab = Tab(browser, report, viewport={"width": 1100, "height": 900})
    cut = tab.page.evaluate(
        """() => [...document.querySelectorAll('svg text')].filter(text => {
            const box = text.getBoundingClientRect(), all = text.closest('svg').getBoundingClientRect();
            return box.left < all.left - 1 || box.right > all.right + 1 || box.bottom > all.bottom + 1;
        }).map(text => text.textContent)"""
    )
    tab.close()
    assert cut == []
