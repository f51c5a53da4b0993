"""The page's server, over real HTTP."""

from __future__ import annotations

import datetime
import http.client
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from datasets import Dataset
from labeled_folder import HOSTILE, drawn, labeled
from tiny import snippets, write_static

from textlabel import Labeler
from textlabel.audit.store import LOG, read_lines
from textlabel.review.folder_queue import FolderQueue
from textlabel.review.server import ReviewServer


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return drawn(labeled(tmp_path_factory.mktemp("review")))


@pytest.fixture
def folder(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "labeled"))


@pytest.fixture
def server(folder):
    found = ReviewServer(FolderQueue(folder, "audit"), guidelines="be kind")
    thread = threading.Thread(target=found.serve_forever, daemon=True)
    thread.start()
    yield found
    found.shutdown()
    found.server_close()


def call(server, path, body=None, *, host=None, kind="application/json", url=None):
    parts = urlsplit(url or server.url)
    line = http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)
    headers = {"Host": host or parts.netloc}
    content = None
    if body is not None:
        content = json.dumps(body) if not isinstance(body, str) else body
        headers["Content-Type"] = kind
    with closing(line):
        line.request("GET" if body is None else "POST", parts.path + path, content, headers)
        reply = line.getresponse()
        return reply.status, reply.read().decode(), dict(reply.getheaders())


def test_without_the_token_or_under_another_name_there_is_nothing(server):
    parts = urlsplit(server.url)
    for path in ("/", "/facts", "/wrong/facts", f"/{server.token[:-1]}/facts", "//facts"):
        status, body, _ = call(server, "", url=f"http://{parts.netloc}{path}")
        assert (status, body) == (403, "")
    assert call(server, "facts", host="evil.example:80")[0] == 403
    assert call(server, "facts", host=f"localhost:{parts.port}")[0] == 200
    assert call(server, "answer", {"place": 0}, host="evil.example")[0] == 403
    assert server.server_address[0] == "127.0.0.1"


@pytest.mark.parametrize("host", ["evil.example", None])
@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "HEAD"])
def test_another_method_is_refused_without_a_word(server, method, host):
    parts = urlsplit(server.url)
    with closing(http.client.HTTPConnection(parts.netloc)) as line:
        line.request(method, parts.path, headers={"Host": host} if host else {})
        reply = line.getresponse()
        assert (reply.status, reply.read()) == (501, b"")
        assert "default-src 'none'" in reply.headers["Content-Security-Policy"]


def test_the_page_may_fetch_nothing_from_elsewhere(server):
    status, page, headers = call(server, "")
    assert status == 200
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    nonce = policy.split("nonce-")[1].split("'")[0]
    assert page.count(nonce) == 2
    assert "{{" not in page
    for word in ("http://", "https://", "src=", "@import", "innerHTML", "insertAdjacentHTML", "eval("):
        assert word not in page
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"


def test_a_whole_review(server, folder):
    facts = json.loads(call(server, "facts?reviewer=Ann")[1])
    assert (facts["total"], facts["answered"], facts["left"]) == (20, 0, 20)
    assert facts["guidelines"] == "be kind"
    after = -1
    for number in range(20):
        asked = json.loads(call(server, f"next?reviewer=Ann&after={after}")[1])["question"]
        assert asked["suggestion"] is None
        given = {"place": asked["place"], "version": asked["version"], "word": "positive", "reviewer": "Ann"}
        status, told, _ = call(server, "answer", given)
        assert status == 200
        assert json.loads(told).items() >= {"answered": number + 1, "left": 19 - number, "total": 20}.items()
        assert len(read_lines(folder / "audit" / LOG)) == number + 1  # before the browser hears of it
        after = asked["place"]
    assert json.loads(call(server, f"next?reviewer=Ann&after={after}")[1])["question"] is None
    assert len(json.loads(call(server, "history?reviewer=Ann")[1])["history"]) == 20
    told = json.loads(call(server, "undo", {"reviewer": "Ann"})[1])
    assert (told["question"]["place"], told["answered"]) == (after, 19)


def test_a_conflict_is_told_with_the_answer_that_stands(server):
    given = {"place": 2, "version": 0, "word": "positive", "reviewer": "Ann"}
    assert call(server, "answer", given)[0] == 200
    status, told, _ = call(server, "answer", {**given, "word": "negative"})
    assert status == 409
    assert json.loads(told)["question"]["said"]["label"] == "positive"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("{", "application/json"),
        ([1], "application/json"),
        ({"place": 0, "version": 0}, "application/json"),
        ({"place": 0, "version": 0, "word": "maybe"}, "application/json"),
        ({"place": "x", "version": 0, "word": "positive"}, "application/json"),
        ({"place": 99, "version": 0, "word": "positive"}, "application/json"),
        ({"place": 0, "version": 0, "word": "positive"}, "text/plain"),
        ({"place": 0, "version": 0, "word": "positive", "note": "x" * 200_000}, "application/json"),
    ],
)
def test_what_makes_no_sense_is_refused_and_the_server_goes_on(server, folder, body, kind):
    assert call(server, "answer", body, kind=kind)[0] == 400
    assert not (folder / "audit" / LOG).exists()
    assert call(server, "facts")[0] == 200


def test_texts_travel_as_they_are(folder):
    found = []
    for mode in ("audit", "all"):  # in one of them it is
        server = ReviewServer(FolderQueue(folder, mode), reviewer="Ann")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        status, told, headers = call(server, "next?search=script")
        server.shutdown()
        server.server_close()
        assert status == 200
        assert headers["Content-Type"] == "application/json"
        found.append(json.loads(told)["question"])
    assert [one["text"] for one in found if one] == [HOSTILE]


KILLED = """
import sys
from textlabel.cli.app import app
app(["review", sys.argv[1], "--audit", "--no-browser", "--reviewer", "Ann"])
"""


def test_kill_9_loses_no_answer(folder):
    from types import SimpleNamespace

    answered = 0
    for _ in range(2):
        with subprocess.Popen(
            [sys.executable, "-c", KILLED, str(folder)],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        ) as child:
            url = child.stdout.readline().strip()
            server = SimpleNamespace(url=url)
            after = -1
            for _ in range(3):
                asked = json.loads(call(server, f"next?after={after}")[1])["question"]
                given = {"place": asked["place"], "version": asked["version"], "word": "positive"}
                assert call(server, "answer", given)[0] == 200
                answered, after = answered + 1, asked["place"]
            child.send_signal(signal.SIGKILL)
    assert len(read_lines(folder / "audit" / LOG)) == answered == 6
    queue = FolderQueue(folder, "audit")
    assert queue.facts("Ann")["answered"] == 6


@pytest.mark.slow
def test_a_hundred_thousand_rows_open_and_answer_at_once(tmp_path):
    from tiny import write_static

    from textlabel import Labeler

    labeler = Labeler(write_static(tmp_path / "static"), cache=False)
    labeler.fit([{"text": f"good {i}" if i % 2 else f"bad {i}", "label": "ab"[i % 2]} for i in range(60)])
    more = {"note": "what somebody wrote of it " * 20, "section": "news", "stars": 3}
    corpus = [
        {"id": str(i), "text": f"row {i} is {'good' if i % 2 else 'bad'}", **more} for i in range(100_000)
    ]
    folder = labeler.export(labeler.annotate(corpus), tmp_path / "labeled")
    began = time.perf_counter()
    found = ReviewServer(FolderQueue(folder, "all"), reviewer="Ann")
    threading.Thread(target=found.serve_forever, daemon=True).start()
    facts = json.loads(call(found, "facts")[1])
    opened = time.perf_counter() - began
    assert facts["total"] == 100_000
    took, after = [], -1
    for _ in range(20):
        asked = json.loads(call(found, f"next?after={after}")[1])["question"]
        began = time.perf_counter()
        given = {"place": asked["place"], "version": asked["version"], "word": "a"}
        assert call(found, "answer", given)[0] == 200
        took.append(time.perf_counter() - began)
        after = asked["place"]
    found.shutdown()
    found.server_close()
    print(f"opened in {opened:.2f} s, answers in {1000 * sorted(took)[10]:.0f} ms")
    assert opened < 4  # 2 s on a machine that does nothing else
    assert sorted(took)[10] < 0.1  # 50 ms there


def test_columns_of_every_kind_and_numbers_of_none_are_answered_as_json(tmp_path):
    path, odd = write_static(tmp_path / "static"), []
    for i, row in enumerate(snippets(12)):
        odd.append({"id": row["id"], "text": row["text"], "price": math.nan, "tags": ["x", str(i)]})
        odd[-1] |= {"who": {"name": "a"}, "day": datetime.datetime(2026, 1, 1), "section": "ab"[i % 2]}
    labeler = Labeler(path, cache=False).fit(snippets(40))
    folder = labeler.export(labeler.annotate(Dataset.from_list(odd)), tmp_path / "labeled")
    made = ReviewServer(FolderQueue(folder, "all"), reviewer="Ann")
    threading.Thread(target=made.serve_forever, daemon=True).start()
    try:
        assert json.loads(call(made, "facts")[1])["slices"] == {"section": ["a", "b"]}
        shown = json.loads(call(made, "next?after=-1")[1])["question"]["columns"]
        assert set(shown) == {"tags", "who", "day", "section"}
        for wrong in ({"place": 1e999, "version": 0, "word": "positive"}, {"place": [[]], "version": 0}):
            assert call(made, "answer", wrong)[0] == 400
    finally:
        made.shutdown()
        made.server_close()
