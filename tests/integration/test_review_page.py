"""The page of `textlabel review` in a browser, by keyboard."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from labeled_folder import CHINESE, HOSTILE, RIGHT_TO_LEFT, drawn, labeled
from tiny import snippets, write_static

from textlabel.asking import Loop, Start
from textlabel.asking.queue import loop_queue
from textlabel.audit.answers import audit_answers
from textlabel.audit.seal import open_sealed
from textlabel.audit.store import LOG, read_lines
from textlabel.explaining import teller
from textlabel.review.folder_queue import FolderQueue
from textlabel.review.server import ReviewServer

pytestmark = pytest.mark.slow
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator:
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: the page is not tried in a browser")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        found = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return drawn(labeled(tmp_path_factory.mktemp("page"), 80), 50)


@pytest.fixture
def folder(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "labeled"))


class Page:
    """A browser's page on a queue, with what it complained of."""

    def __init__(self, browser, queue, **more):
        self.server = ReviewServer(queue, reviewer="Ann", **more)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.browser, self.errors = browser, []
        self.page = self.tab()

    def tab(self):
        page = self.browser.new_page()
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda told: self.errors.append(told.text) if told.type == "error" else None)
        page.on("request", lambda asked: self.errors.append(asked.url) if not self.own(asked.url) else None)
        page.goto(self.server.url)
        page.wait_for_selector("#history", state="attached")
        # a key pressed before the first text is there means nothing, and the page drops it
        page.wait_for_function("() => document.getElementById('text').innerText !== ''")
        return page

    def own(self, url):
        return url.startswith(self.server.url)

    def press(self, key, page=None):
        """Press a key, and wait until what it does is shown."""
        page = page or self.page
        said = "document.getElementById('meta').innerText + document.getElementById('message').innerText"
        before = page.evaluate(said)
        page.keyboard.press(key)
        page.wait_for_function(
            f"before => {said} !== before && document.getElementById('main').ariaBusy !== 'true'", arg=before
        )

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def opened(browser):
    pages = []

    def make(queue, **more):
        pages.append(Page(browser, queue, **more))
        return pages[-1]

    yield make
    for one in pages:
        one.close()
        assert one.errors == []


def test_a_whole_audit_of_fifty_rows_by_keyboard_with_a_restart_in_the_middle(folder, opened):
    page = opened(FolderQueue(folder, "audit"))
    for number in range(20):
        page.press("12?s"[number % 4])
    assert len(read_lines(folder / "audit" / LOG)) == 20
    page.page.close()
    page.server.shutdown()
    page = opened(FolderQueue(folder, "audit"))
    assert "20 of 50" in page.page.locator("#count").inner_text()
    for _ in range(30):
        page.press("2")
    assert "nothing left" in page.page.locator("#text").inner_text()
    gold = audit_answers(open_sealed(folder))
    assert gold.seen.sum() == 50
    assert gold.decided.sum() == 40


def test_space_does_nothing_in_an_audit_and_accepts_elsewhere(folder, opened):
    page = opened(FolderQueue(folder, "audit"))
    assert not page.page.locator("#accept").is_visible()
    assert "model" not in page.page.locator("main").inner_text()
    page.page.keyboard.press(" ")
    page.page.wait_for_timeout(200)
    assert not (folder / "audit" / LOG).exists()
    queue = FolderQueue(folder, "all")
    page = opened(queue)
    wanted = queue.question(0, "Ann").suggestion
    assert wanted in page.page.locator("#hint").inner_text()
    page.press(" ")
    assert read_lines(folder / "audit" / LOG)[0]["label"] == wanted


def test_undo_note_and_history(folder, opened):
    page = opened(FolderQueue(folder, "audit"))
    page.press("1")
    page.page.keyboard.press("n")
    page.page.keyboard.type("a remark, with 1 and u in it")
    page.page.keyboard.press("Enter")
    page.press("2")
    assert read_lines(folder / "audit" / LOG)[1]["note"] == "a remark, with 1 and u in it"
    page.page.wait_for_selector("#history li:nth-child(2)")
    assert page.page.locator("#history strong").all_inner_texts() == ["positive", "negative"]
    page.press("u")
    page.press("u")
    assert "0 of 50" in page.page.locator("#count").inner_text()
    page.press("u")
    assert page.page.locator("#message").inner_text() == "There is nothing to undo."
    assert not audit_answers(open_sealed(folder)).seen.any()


def test_why_shows_words_and_what_else_is_known(folder, made, opened, tmp_path):
    rules = tmp_path / "rules.toml"
    rules.write_text("[[rule]]\nname = '<b>any</b>'\nlabel = 'positive'\nregex = '.'\n")
    page = opened(FolderQueue(folder, "all", teller(str(made.parent / "model"), rules=[str(rules)])))
    page.page.keyboard.press("h")
    page.page.wait_for_selector("#why li")
    assert "rule <b>any</b> says positive" in page.page.locator("#why").inner_text()
    assert page.page.locator("#text mark").count() > 0
    page.page.screenshot(path=tmp_path / "why.png")
    page.press("1")
    assert not page.page.locator("#why").is_visible()


def test_what_is_told_too_late_is_not_shown_beside_another_text(folder, opened):
    begun, go_on = threading.Event(), threading.Event()

    def slow(text):
        begun.set()
        assert go_on.wait(60)
        return {"words": [(0, 2, 1.0)], "lines": ["of the text before"]}

    page = opened(FolderQueue(folder, "all", slow))
    page.page.keyboard.press("h")
    assert begun.wait(60)
    page.press("1")  # nobody waits for it
    assert "row 2" in page.page.locator("#meta").inner_text()
    with page.page.expect_response("**/why?*"):
        go_on.set()
    page.page.wait_for_timeout(200)
    assert page.page.locator("#text mark").count() == 0
    assert not page.page.locator("#why").is_visible()


def test_a_connection_that_breaks_is_told_for_what_it_is(folder, opened):
    page = opened(FolderQueue(folder, "audit"))
    page.page.route("**/answer", lambda route: route.abort())
    page.press("1")
    assert "Not known to be saved" in page.page.locator("#message").inner_text()
    assert not (folder / "audit" / LOG).exists()
    page.page.unroute("**/answer")
    page.page.route("**/next?*", lambda route: route.abort())
    page.press("1")
    assert "Saved, but the next row" in page.page.locator("#message").inner_text()
    assert len(read_lines(folder / "audit" / LOG)) == 1
    page.page.unroute("**/next?*")
    page.press("ArrowRight")
    assert "row 2" in page.page.locator("#meta").inner_text()
    page.errors.clear()  # the browser says so, too


def test_a_hostile_text_is_a_text_and_every_script_is_shown(folder, opened):
    for mode in ("audit", "all"):
        queue = FolderQueue(folder, mode)
        page = opened(queue)
        for text, direction in ((HOSTILE, "ltr"), (RIGHT_TO_LEFT, "rtl"), (CHINESE, "ltr")):
            places = [p for p in range(len(queue)) if queue.question(p, "").text == text]
            if not places:
                continue
            page.page.evaluate(
                "place => ask('question', { place }).then(told => show(told.question))", places[0]
            )
            page.page.wait_for_function(
                "text => document.getElementById('text').textContent === text", arg=text
            )
            box = page.page.locator("#text")
            assert box.inner_text() == text
            assert box.evaluate("box => getComputedStyle(box).direction") == direction
        assert "owned" not in page.page.title()
        assert page.page.locator("#text script, #text img").count() == 0


def test_two_tabs_do_not_overwrite_each_other(folder, opened):
    page = opened(FolderQueue(folder, "audit"))
    other = page.tab()
    page.press("1")
    page.press("2", other)
    assert "another window" in other.locator("#message").inner_text()
    assert [line["label"] for line in read_lines(folder / "audit" / LOG)] == ["negative"]
    page.errors[:] = [error for error in page.errors if "409" not in error]  # which the browser logs


def test_search_filters_and_help(folder, opened):
    queue = FolderQueue(folder, "all")
    page = opened(queue, guidelines="be kind")
    assert page.page.locator("#guide").inner_text() == "be kind"
    page.page.keyboard.press("/")
    page.page.select_option("#f-column", "section")
    page.page.select_option("#f-value", "b")
    with page.page.expect_response(lambda reply: "/next?" in reply.url):
        page.page.click("#filters button[type=submit]")
    page.page.wait_for_function("() => document.activeElement.id === 'text'")  # when the row is shown
    place = int(page.page.locator("#meta").inner_text().split()[1]) - 1
    assert queue.question(place, "").columns["section"] == "b"
    page.page.keyboard.press("H")
    assert page.page.locator("#dialog").is_visible()
    page.page.keyboard.press("Escape")
    assert not page.page.locator("#dialog").is_visible()


def test_everything_has_a_name_for_a_screen_reader(folder, opened):
    page = opened(FolderQueue(folder, "all"))
    nameless = page.page.evaluate(
        """() => [...document.querySelectorAll('button, input, select, progress')].filter(one =>
        !(one.innerText || '').trim() && !one.labels?.length && !one.getAttribute('aria-label') && !one.title)
        .map(one => one.outerHTML)"""
    )
    assert nameless == []
    assert page.page.locator("#message").get_attribute("aria-live") == "polite"
    assert page.page.evaluate("document.activeElement.id") == "text"


def test_it_fits_a_narrow_window(folder, opened):
    page = opened(FolderQueue(folder, "all"))
    page.page.set_viewport_size({"width": 360, "height": 740})
    assert page.page.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_loop_goes_on_to_its_next_round_by_itself(opened, tmp_path):
    rows = snippets(30)
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(json.dumps({"id": row["id"], "text": row["text"]}) + "\n" for row in rows))
    static, place = str(write_static(tmp_path / "static")), tmp_path / "labeled"
    Start(str(corpus), str(place), ("negative", "positive"), backbone=static, cache=False).run()
    truth = {row["text"]: row["label"] for row in rows}
    page = opened(loop_queue(str(place), 12))
    for _ in range(30):
        text = page.page.locator("#text").inner_text()
        page.press("1" if truth[text] == "negative" else "2")
    assert page.page.title() == "labeled: round 3"
    assert "no row left to ask" in page.page.locator("#text").inner_text()
    assert "30 of 30" in page.page.locator("#count").inner_text()
    assert Loop(place).status()["classes"] == {"negative": 15, "positive": 15}
    page.page.screenshot(path=tmp_path / "loop.png")
