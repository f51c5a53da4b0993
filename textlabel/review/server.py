"""The page on this machine: loopback only, a token in every address, nothing from outside.

A request without the token, or under another host name (DNS rebinding), gets 403 and no word. Texts travel as
JSON and are shown by ``textContent``, so a corpus row is never anything but text. Every answer is on disk
before the browser hears of it.
"""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from textlabel.errors import TextlabelError
from textlabel.review.queue import Conflict, Filter, Queue

PAGE = Path(__file__).parent / "page.html"
#: bytes of the largest request; an answer with a note has some hundred
MOST_BYTES = 100_000

_Json = dict[str, Any]
#: what a request may have wrong, in any of its values
_REFUSED = (TextlabelError, ArithmeticError, LookupError, OSError, RecursionError, TypeError, ValueError)


class ReviewServer(ThreadingHTTPServer):
    """Serves one queue until it is shut down.

    Parameters
    ----------
    queue : what is asked.
    port : 0: any that is free.
    reviewer : who answers; empty: the page asks.
    guidelines : shown beside the text.
    """

    daemon_threads = True

    def __init__(self, queue: Queue, port: int = 0, reviewer: str = "", guidelines: str = "") -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.queue, self.reviewer, self.guidelines = queue, reviewer, guidelines
        self.token = secrets.token_urlsafe(24)

    @property
    def hosts(self) -> tuple[str, ...]:
        """Names under which the page may be asked for."""
        port = self.server_address[1]
        return (f"127.0.0.1:{port}", f"localhost:{port}")

    @property
    def url(self) -> str:
        """Where the page is, with its token."""
        return f"http://{self.hosts[0]}/{self.token}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that went away; tell anything else as usual."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: ReviewServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "textlabel", ""

    def do_GET(self) -> None:
        path = self._path()
        if path == "":
            self._send(self._page(), "text/html; charset=utf-8")
        elif path in _READS:
            self._answer(lambda: _READS[path](self.server, self._query()))
        elif path is not None:
            self._refuse(HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        path = self._path()
        if path is None:
            return
        length = self.headers.get("Content-Length", "")
        json_ = self.headers.get("Content-Type", "").startswith("application/json")
        if path not in _WRITES or not json_ or not length.isdigit() or int(length) > MOST_BYTES:
            self._refuse(HTTPStatus.BAD_REQUEST)
            return
        body = self.rfile.read(int(length))

        def do() -> _Json:
            try:
                given = json.loads(body)
            except ValueError:
                given = None
            if not isinstance(given, dict):
                raise TextlabelError("expected a JSON object")
            return _WRITES[path](self.server, given)

        self._answer(do)

    def _path(self) -> str | None:
        """Return the path behind the token; None, and a refusal sent, for strangers."""
        parts = urlsplit(self.path).path.split("/", 2)
        token = parts[1] if len(parts) > 1 else ""
        known = secrets.compare_digest(token.encode(), self.server.token.encode())
        if not known or self.headers.get("Host", "") not in self.server.hosts or len(parts) < 3:
            self._refuse(HTTPStatus.FORBIDDEN)
            return None
        return parts[2]

    def _query(self) -> _Json:
        return {name: values[-1] for name, values in parse_qs(urlsplit(self.path).query).items()}

    def _page(self) -> str:
        nonce = secrets.token_urlsafe(16)
        self._nonce = nonce
        return PAGE.read_text(encoding="utf-8").replace("{{nonce}}", nonce)

    def _answer(self, make: Callable[[], _Json]) -> None:
        """Send what is asked for, or in words why not."""
        status = HTTPStatus.OK
        try:
            told = json.dumps(make(), ensure_ascii=False, allow_nan=False)
        except Conflict as conflict:
            status = HTTPStatus.CONFLICT
            told = json.dumps({"error": str(conflict), "question": conflict.question.to_json()})
        except _REFUSED as error:
            status, told = HTTPStatus.BAD_REQUEST, json.dumps({"error": str(error)})
        self._send(told, status=status)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse what this server does not know, such as a method, as it refuses anything: without a word."""
        self._refuse(HTTPStatus(code))

    def _refuse(self, status: HTTPStatus) -> None:
        self.close_connection = True
        self._send("", "text/plain", status)

    def _send(self, body: str, kind: str = "application/json", status: HTTPStatus = HTTPStatus.OK) -> None:
        content = body.encode()
        nonce = getattr(self, "_nonce", "none")
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header(
            "Content-Security-Policy",
            f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        )
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing: addresses hold the token, and answers are people's."""


def _who(server: ReviewServer, given: _Json) -> str:
    return server.reviewer or " ".join(str(given.get("reviewer", "")).split())


def _facts(server: ReviewServer, given: _Json) -> _Json:
    told = server.queue.facts(_who(server, given))
    return told | {"reviewer": server.reviewer, "guidelines": server.guidelines}


def _filter(given: _Json) -> Filter:
    return Filter(
        search=str(given.get("search", "")),
        label=str(given.get("label", "")),
        decision=str(given.get("decision", "")),
        low=float(given.get("low") or 0.0),
        high=float(given.get("high") or 1.0),
        column=str(given.get("column", "")),
        value=str(given.get("value", "")),
        answered=given.get("answered") in (True, "true", "1"),
    )


def _next(server: ReviewServer, given: _Json) -> _Json:
    who, after, step = _who(server, given), int(given.get("after", -1)), int(given.get("step", 1))
    place = server.queue.next(after, who, _filter(given), 1 if step > 0 else -1)
    question = None if place is None else server.queue.question(place, who).to_json()
    return {"question": question, "facts": _progress(server, who)}


def _question(server: ReviewServer, given: _Json) -> _Json:
    return {"question": server.queue.question(int(given["place"]), _who(server, given)).to_json()}


def _give(server: ReviewServer, given: _Json) -> _Json:
    who = _who(server, given)
    word, note = str(given["word"]), str(given.get("note") or "")
    server.queue.answer(int(given["place"]), word, who, note, int(given["version"]))
    return _progress(server, who)


def _undo(server: ReviewServer, given: _Json) -> _Json:
    who = _who(server, given)
    place = server.queue.undo(who)
    question = None if place is None else server.queue.question(place, who).to_json()
    return {"question": question, **_progress(server, who)}


def _progress(server: ReviewServer, who: str) -> _Json:
    """Return how far it is, and in a loop why it has ended, if it has."""
    facts = server.queue.facts(who)
    return {name: facts.get(name, "") for name in ("answered", "left", "total", "title", "ended")}


_READS: dict[str, Callable[[ReviewServer, _Json], _Json]] = {
    "facts": _facts,
    "next": _next,
    "question": _question,
    "history": lambda server, given: {"history": server.queue.history(_who(server, given))},
    "why": lambda server, given: server.queue.why(int(given["place"])) or {"words": [], "lines": []},
    "disagreements": lambda server, _: {"rows": server.queue.disagreements()},
}
_WRITES: dict[str, Callable[[ReviewServer, _Json], _Json]] = {"answer": _give, "undo": _undo}
