"""A Hub on loopback: enough of the protocol for pushing and pulling repositories, in memory.

Run as a script it prints its address and serves until it is killed. It checks content hashes, parent
commits and whether a token that is sent is the one it knows: it shows that requests have the right shape,
not how the real Hub behaves. ``POST /faults`` makes it fail: the next ``count`` requests whose path matches
get ``status`` and ``headers``, or, where the status is 0, are cut off when half of their body has arrived,
or, where it is -1, are obeyed and get no answer.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

Files = dict[str, bytes]

#: (type, id) -> {"branches": {name: commit}, "commits": {commit: files}}
REPOS: dict[tuple[str, str], dict[str, Any]] = {}
BLOBS: Files = {}  # uploaded by sha256, waiting for their commit
PUTS: list[str] = []  # sha256 of each upload that arrived
FAULTS: list[dict[str, Any]] = []  # {"path": pattern, "count": left, "status": 0 cuts, "headers": {}}
TOKEN = "hf_test"
LOCKED: set[str] = set()  # repositories that take no commit, until they are unlocked


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    # --- answers ----------------------------------------------------------------------------------

    def reply(self, body: Any = None, status: int = 200, **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def hang_up(self, *_: Any, **__: Any) -> None:
        """End the connection in place of a reply."""
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def missing(self, code: str) -> None:
        self.reply({"error": code}, 404, X_Error_Code=code, X_Error_Message=code)

    def forbidden(self) -> None:
        told = "you may not write here"
        self.reply({"error": told}, 403, X_Error_Message=told)

    def log_message(self, *args: object) -> None:
        """Be silent."""

    # --- routing ----------------------------------------------------------------------------------

    def serve(self) -> None:
        path, size = unquote(urlsplit(self.path).path), int(self.headers.get("Content-Length") or 0)
        fault = next((f for f in FAULTS if f["count"] and re.fullmatch(f["path"], path)), None)
        if fault:
            fault["count"] -= 1
        if fault and not fault["status"]:
            self.rfile.read(size // 2)
            self.hang_up()
            return
        self.body = self.rfile.read(size)
        if fault and fault["status"] < 0:
            self.reply = self.hang_up  # a handler is of one connection, which ends
        elif fault:
            self.reply({"error": "fault"}, fault["status"], **fault.get("headers", {}))
            return
        if self.headers.get("Authorization", f"Bearer {TOKEN}") != f"Bearer {TOKEN}":
            self.reply({"error": "Invalid credentials"}, 401, X_Error_Message="Invalid credentials")
            return
        for method, pattern, answer in ROUTES:
            found = re.fullmatch(pattern, path)
            if self.command in method and found:
                answer(self, **found.groupdict())
                return
        self.reply({"error": f"no such endpoint: {self.command} {path}"}, 404)

    do_GET = do_HEAD = do_POST = do_PUT = serve

    def files(self, kind: str, repo: str, revision: str | None) -> tuple[str, Files] | None:
        """Return commit and files of a revision; None once a 404 is sent."""
        found = REPOS.get((kind, repo))
        if not found:
            self.missing("RepoNotFound")
            return None
        commit = found["branches"].get(revision or "main", revision)
        if commit not in found["commits"]:
            self.missing("RevisionNotFound")
            return None
        return commit, found["commits"][commit]

    # --- endpoints --------------------------------------------------------------------------------

    def whoami(self) -> None:
        self.reply({"type": "user", "name": "tester", "auth": {"accessToken": {"role": "write"}}, "orgs": []})

    def validate(self) -> None:
        self.reply({"errors": [], "warnings": []})

    def create(self) -> None:
        asked = json.loads(self.body)
        repo = f"{asked.get('organization') or 'tester'}/{asked['name']}"
        key = (f"{asked.get('type') or 'model'}s", repo)
        status = 409 if key in REPOS else 200
        first = hashlib.sha1(repr(key).encode()).hexdigest()
        REPOS.setdefault(key, {"branches": {"main": first}, "commits": {first: {}}})
        prefix = "" if key[0] == "models" else f"{key[0]}/"
        self.reply({"url": f"{self.server.address}/{prefix}{repo}", "id": repo, "name": repo}, status)

    def lock(self, repo: str, action: str) -> None:
        """Not of the Hub: let a repository refuse commits, or take them again."""
        (LOCKED.add if action == "lock" else LOCKED.discard)(repo)
        self.reply({})

    def faults(self) -> None:
        """Not of the Hub: fail from now on, as the body says."""
        FAULTS.append(json.loads(self.body))
        self.reply({})

    def puts(self) -> None:
        """Not of the Hub: tell what was uploaded."""
        self.reply(PUTS)

    def auth_check(self, kind: str, repo: str) -> None:
        if (kind, repo) not in REPOS:
            self.missing("RepoNotFound")
        elif repo.startswith("others/"):
            self.forbidden()
        else:
            self.reply({})

    def branch(self, kind: str, repo: str, name: str) -> None:
        branches = REPOS[kind, repo]["branches"]
        status = 409 if name in branches else 200
        branches.setdefault(name, branches["main"])
        self.reply({}, status)

    def info(self, kind: str, repo: str, revision: str | None = None) -> None:
        if found := self.files(kind, repo, revision):
            commit, files = found
            siblings = [{"rfilename": name} for name in files]
            self.reply(
                {"id": repo, "sha": commit, "siblings": siblings, "private": True, "tags": [], "downloads": 0}
            )

    def refs(self, kind: str, repo: str) -> None:
        branches = REPOS[kind, repo]["branches"].items()
        found = [
            {"name": n, "ref": f"refs/heads/{n}", "targetCommit": c}
            for n, c in branches
            if not n.startswith("refs/pr/")
        ]
        self.reply({"branches": found, "tags": [], "converts": [], "pullRequests": []})

    def preupload(self, kind: str, repo: str, revision: str) -> None:
        def mode(path: str) -> str:
            return "lfs" if path.endswith((".parquet", ".safetensors")) else "regular"

        asked = [f["path"] for f in json.loads(self.body)["files"]]
        self.reply(
            {"files": [{"path": p, "uploadMode": mode(p), "shouldIgnore": False, "oid": None} for p in asked]}
        )

    def lfs_batch(self, repo: str) -> None:
        objects = [
            {"oid": o["oid"], "size": o["size"], **self.upload_of(o["oid"])}
            for o in json.loads(self.body)["objects"]
        ]
        self.reply({"transfer": "basic", "objects": objects}, Content_Type="application/vnd.git-lfs+json")

    def upload_of(self, oid: str) -> dict[str, Any]:
        """Return where to upload; nothing for what is there already, as git LFS has it."""
        href = f"{self.server.address}/blob/{oid}"
        return {} if oid in BLOBS else {"actions": {"upload": {"href": href}}}

    def blob(self, oid: str) -> None:
        matches = hashlib.sha256(self.body).hexdigest() == oid
        if matches:
            BLOBS[oid] = self.body
            PUTS.append(oid)
        self.reply({}, 200 if matches else 422)

    def commit(self, kind: str, repo: str, revision: str) -> None:
        found = self.files(kind, repo, revision)
        if not found:
            return
        if repo in LOCKED:
            self.forbidden()
            return
        parent, files = found[0], dict(found[1])
        for line in self.body.splitlines():
            operation = json.loads(line)
            value = operation["value"]
            if operation["key"] == "header" and value.get("parentCommit", parent) != parent:
                self.reply({"error": "parent commit is not the head"}, 412)
                return
            if operation["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif operation["key"] == "lfsFile":
                files[value["path"]] = BLOBS[value["oid"]]
            elif operation["key"] == "deletedFile":
                del files[value["path"]]
        sha = hashlib.sha1(self.body + parent.encode()).hexdigest()
        REPOS[kind, repo]["commits"][sha] = files
        branches, home = REPOS[kind, repo]["branches"], f"{self.server.address}/{kind}/{repo}"
        told = {"success": True, "commitOid": sha, "commitUrl": f"{home}/commit/{sha}", "hookOutput": ""}
        if "create_pr=1" in urlsplit(self.path).query:
            number = 1 + sum(name.startswith("refs/pr/") for name in branches)
            revision, told["pullRequestUrl"] = f"refs/pr/{number}", f"{home}/discussions/{number}"
        branches[revision] = sha
        self.reply(told)

    def commits(self, kind: str, repo: str, revision: str) -> None:
        if self.files(kind, repo, revision):
            about = {"title": "", "message": "", "date": "2026-11-22T00:00:00.000Z", "authors": []}
            self.reply([{"id": sha, **about} for sha in reversed(REPOS[kind, repo]["commits"])])

    def tree(self, kind: str, repo: str, revision: str, folder: str = "") -> None:
        if found := self.files(kind, repo, revision):
            inside = {n: d for n, d in found[1].items() if not folder or n.startswith(f"{folder}/")}
            if not inside and folder:
                self.missing("EntryNotFound")
                return
            folders = {"/".join(n.split("/")[:i]) for n in inside for i in range(1, n.count("/") + 1)} - {
                folder
            }
            entries = [_entry(name, data) for name, data in inside.items()]
            entries += [{"type": "directory", "path": name, "oid": name} for name in folders]
            if "recursive=true" not in self.path.lower():
                depth = folder.count("/") + 1 if folder else 0
                entries = [e for e in entries if e["path"].count("/") == depth]
            self.reply(entries)

    def paths_info(self, kind: str, repo: str, revision: str) -> None:
        if found := self.files(kind, repo, revision):
            entries: list[dict[str, Any]] = []
            for path in _asked_paths(self.body):
                if path in found[1]:
                    entries.append(_entry(path, found[1][path]))
                elif any(name.startswith(f"{path}/") for name in found[1]):
                    entries.append({"type": "directory", "path": path, "oid": path})
            self.reply(entries)

    def resolve(self, repo: str, revision: str, path: str, kind: str | None = None) -> None:
        found = self.files(kind or "models", repo, revision)
        if not found:
            return
        commit, files = found
        if path not in files:
            self.missing("EntryNotFound")
            return
        data, etag = files[path], f'"{hashlib.sha256(files[path]).hexdigest()}"'
        headers = {"X_Repo_Commit": commit, "ETag": etag, "Accept_Ranges": "bytes"}
        start, end, status = 0, len(data), 200
        if span := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or ""):
            start, end, status = int(span[1]), min(int(span[2] or len(data)) + 1, len(data)), 206
            headers["Content_Range"] = f"bytes {start}-{end - 1}/{len(data)}"
        self.reply(data[start:end], status, **headers)


def _entry(path: str, data: bytes) -> dict[str, Any]:
    return {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}


def _asked_paths(body: bytes) -> list[str]:
    """Return the paths of a paths-info request, which come as JSON or as a form."""
    from urllib.parse import parse_qs

    if body.startswith(b"{"):
        paths = json.loads(body)["paths"]
        return [paths] if isinstance(paths, str) else list(paths)
    return parse_qs(body.decode())["paths"]


REPO = r"(?P<repo>[\w.-]+/[\w.-]+)"
API = rf"/api/(?P<kind>models|datasets)/{REPO}"
REVISION = r"(?P<revision>refs/pr/\d+|[^/]+)"
ROUTES = [
    (["GET"], r"/api/whoami-v2", Handler.whoami),
    (["POST"], r"/api/validate-yaml", Handler.validate),
    (["POST"], r"/api/repos/create", Handler.create),
    (["POST"], r"/(?P<action>lock|unlock)/(?P<repo>.+)", Handler.lock),
    (["POST"], r"/faults", Handler.faults),
    (["GET"], r"/puts", Handler.puts),
    (["GET"], rf"{API}/auth-check/write", Handler.auth_check),
    (["GET"], rf"{API}/commits/{REVISION}", Handler.commits),
    (["POST"], rf"{API}/branch/(?P<name>.+)", Handler.branch),
    (["POST"], rf"{API}/preupload/{REVISION}", Handler.preupload),
    (["POST"], rf"{API}/commit/{REVISION}", Handler.commit),
    (["POST"], rf"{API}/paths-info/{REVISION}", Handler.paths_info),
    (["POST"], rf"/(?:datasets/)?{REPO}\.git/info/lfs/objects/batch", Handler.lfs_batch),
    (["PUT"], r"/blob/(?P<oid>\w+)", Handler.blob),
    (["GET"], rf"{API}/tree/{REVISION}(?:/(?P<folder>.+))?", Handler.tree),
    (["GET"], rf"{API}/refs", Handler.refs),
    (["GET"], rf"{API}(?:/revision/{REVISION})?", Handler.info),
    (["GET", "HEAD"], rf"/(?:(?P<kind>datasets)/)?{REPO}/resolve/{REVISION}/(?P<path>.+)", Handler.resolve),
]


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.address = f"http://127.0.0.1:{server.server_port}"
    print(server.address, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
