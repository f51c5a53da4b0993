"""How soon the page of `textlabel review` is there, and how long an answer takes, for a large corpus.

    python recipes/benchmarks/review_speed.py [--rows 100000] [--answers 50]

A static backbone labels made-up rows. Timed are opening the queue and the first request, and each answer from
the request until the browser hears of it, which is after it is on disk; over loopback, one client.
"""

from __future__ import annotations

import http.client
import json
import tempfile
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from _bench import arguments, write

from textlabel import Labeler
from textlabel.review.folder_queue import FolderQueue
from textlabel.review.server import ReviewServer


def asked(server: ReviewServer, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return what the server says."""
    parts = urlsplit(server.url)
    line = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    content = None if body is None else json.dumps(body)
    headers = {"Content-Type": "application/json"} if body is not None else {}
    line.request("GET" if body is None else "POST", parts.path + path, content, headers)
    told = json.loads(line.getresponse().read())
    line.close()
    return dict(told)


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--answers", type=int, default=50)
    chosen = parser.parse_args()
    words = ("good", "bad")
    with tempfile.TemporaryDirectory() as folder:
        labeler = Labeler("potion-base-8M", cache=False)
        labeler.fit([{"text": f"a {words[i % 2]} one, {i}", "label": words[i % 2]} for i in range(60)])
        corpus = [{"id": str(i), "text": f"row {i} is {words[i % 2]}"} for i in range(chosen.rows)]
        place = labeler.export(labeler.annotate(corpus), Path(folder) / "labeled")
        began = time.perf_counter()
        server = ReviewServer(FolderQueue(place, "all"), reviewer="Ann")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        asked(server, "facts")
        opened = time.perf_counter() - began
        seconds, after = [], -1
        for _ in range(chosen.answers):
            row = asked(server, f"next?after={after}")["question"]
            began = time.perf_counter()
            asked(server, "answer", {"place": row["place"], "version": row["version"], "word": "good"})
            seconds.append(time.perf_counter() - began)
            after = row["place"]
        server.shutdown()
        server.server_close()
    told = {"rows": chosen.rows, "seconds_to_open": round(opened, 2)}
    told |= {"ms_an_answer": round(1000 * float(np.median(seconds)), 1)}
    told |= {"ms_slowest": round(1000 * max(seconds), 1)}
    print(told)
    write(chosen.out, "review_speed", told)


if __name__ == "__main__":
    main()
