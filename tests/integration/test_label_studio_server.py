"""An audit and annotations through a real Label Studio server: imported, answered by its API, exported, read.

Runs where the command `label-studio` is found (1.23 was used; it is no dependency: install it into an
environment of its own and put that one's folder at the end of PATH).
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
import sealed as made

from textlabel import audit
from textlabel.audit.answers import audit_answers
from textlabel.audit.seal import open_sealed
from textlabel.exchange import FromTool, ToTool

TOKEN = "0123456789abcdef0123456789abcdef01234567"
SECONDS = 120


class Server:
    def __init__(self, port):
        self.base = f"http://127.0.0.1:{port}"

    def call(self, method, path, data=None):
        body = None if data is None else json.dumps(data).encode()
        head = {"Authorization": f"Token {TOKEN}", "Content-Type": "application/json"}
        asked = urllib.request.Request(self.base + path, method=method, data=body, headers=head)
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return json.loads(answer.read() or b"null")

    def alive(self):
        try:
            self.call("GET", "/api/version")
        except (OSError, urllib.error.URLError):
            return False
        return True

    def answered(self, folder, say, out):
        """Put a folder of `convert` into a project, answer its tasks, the first by a skip, and export it."""
        config = (folder / "label_studio.xml").read_text()
        project = self.call("POST", "/api/projects", {"title": folder.name, "label_config": config})["id"]
        tasks = json.loads((folder / "label_studio.json").read_text())
        told = self.call("POST", f"/api/projects/{project}/import", tasks)
        assert told["prediction_count"] == sum("predictions" in task for task in tasks)
        found = self.call("GET", f"/api/tasks?project={project}&page_size=100&fields=all")["tasks"]
        assert len(found) == len(tasks)
        asked = [task for task in found if say.get(task["data"]["id"])]
        for number, task in enumerate(asked):
            value = {"choices": [say[task["data"]["id"]]]}
            result = [{"from_name": "label", "to_name": "text", "type": "choices", "value": value}]
            one = {"result": result, "was_cancelled": number == 0}
            self.call("POST", f"/api/tasks/{task['id']}/annotations/", one)
        query = "exportType=JSON&download_all_tasks=true"
        out.write_text(json.dumps(self.call("GET", f"/api/projects/{project}/export?{query}")))
        return out


@pytest.fixture
def server(tmp_path):
    command = shutil.which("label-studio")
    if command is None:
        pytest.skip("label-studio is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["start", "--no-browser", "--port", str(port), "--internal-host", "127.0.0.1"]
    words += ["--data-dir", str(tmp_path / "data"), "--username", "a@b.example", "--password", "pw12345678"]
    words += ["--user-token", TOKEN, "--enable-legacy-api-token"]
    home = {"HOME": str(tmp_path), "COLLECT_ANALYTICS": "false", "PYTHONPATH": ""}
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen([command, *words], env=os.environ | home, stdout=log, stderr=log) as process,
    ):
        found = Server(port)
        until = time.monotonic() + SECONDS
        while not found.alive():
            assert process.poll() is None, (tmp_path / "log").read_text()[-2000:]
            assert time.monotonic() < until, (tmp_path / "log").read_text()[-2000:]
            time.sleep(1)
        yield found
        process.terminate()


@pytest.mark.slow
def test_an_audit_and_corrections_through_a_real_server(server, tmp_path):
    rows, truth = made.corpus(40)
    folder = made.write(rows, tmp_path / "out")
    say = dict(zip(rows["id"], truth, strict=True))
    draw, sheet = audit.draw(folder, 20, seed=3)
    ToTool(str(folder), "label_studio", str(tmp_path / "blind"), str(sheet)).run()
    file = server.answered(tmp_path / "blind", say, tmp_path / "audit.json")
    told = audit.import_answers(folder, file, tool="label_studio")
    assert (told.answered, told.undecided, told.blank) == (19, 1, 0)
    gold = audit_answers(open_sealed(folder))
    assert gold.reviewers == ("user 1",)
    decided = np.flatnonzero(gold.decided)
    assert len(decided) == 19
    assert set(decided) < set(draw.rows.tolist())
    assert all(made.NAMES[int(gold.label[row])] == say[f"r{row}"] for row in decided)
    ToTool(str(folder), "label_studio", str(tmp_path / "shown")).run()
    left = {f"r{i}": say[f"r{i}"] for i in range(7)}
    file = server.answered(tmp_path / "shown", left, tmp_path / "shown.json")
    labeled, told = FromTool(str(file), "label_studio").settled()
    assert (told["labeled"], told["open"], told["blank"]) == (6, 1, 33)
    assert all(row["label"] == say[row["id"]] for row in labeled)
