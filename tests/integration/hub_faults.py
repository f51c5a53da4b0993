"""What test_hub.py runs in a process of its own: pull requests, dry runs, and a Hub that fails."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import urllib.request
from pathlib import Path

import datasets
import pytest
from commands import run, told
from hub_client import RECORD, _rows
from huggingface_hub import HfApi, constants, hf_hub_download

from textlabel.audit.filled import sheet_lines
from textlabel.corpus.load import load_corpus
from textlabel.corpus.remote import place
from textlabel.errors import AuditError, ExportError
from textlabel.export import hub

API = HfApi()


def ask(what: str, body: dict | None = None) -> list:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(f"{constants.ENDPOINT}/{what}", data)) as answer:
        return json.loads(answer.read())


def fail(path: str, status: int, count: int = 1, **headers: str) -> None:
    ask("faults", {"path": path, "status": status, "count": count, "headers": headers})


def write_model(folder: Path) -> dict[str, str]:
    """Return the sha256 of the files that go ahead of the commit; each test has its own."""
    folder.mkdir(parents=True)
    (folder / "README.md").write_text("---\nlicense: mit\n---\na card")
    for name in ("model", "head"):
        (folder / f"{name}.safetensors").write_bytes(f"{name} {folder}".encode() * 1000)
    return {path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.safetensors")}


def pull_request(folder: Path) -> None:
    rows, repo = _rows(), "tester/asked"
    hub.push(rows, repo, RECORD)
    assert hub.push(rows.select([1]), repo, RECORD, create_pr=True).endswith("tester/asked/discussions/1")
    assert datasets.load_dataset(repo, split="train")["id"][:] == ["a", "b"]
    assert datasets.load_dataset(repo, split="train", revision="refs/pr/1")["id"][:] == ["b"]
    write_model(folder)
    with pytest.raises(ExportError, match="check the name"):  # nothing to ask a change of
        hub.push_folder(folder, "tester/nobody", create_pr=True)
    assert not API.repo_exists("tester/nobody")


def splits(_: Path) -> None:
    """Splits are split again when read, also row by row; fewer shards leave none of the old."""
    rows, repo = _rows(), "tester/splits"
    hub.SHARD = 1
    hub.push(datasets.DatasetDict({"train": rows, "test": rows.select([0])}), repo, RECORD)
    assert len([name for name in API.list_repo_files(repo, repo_type="dataset") if hub.is_rows(name)]) > 2
    hub.SHARD = 10**9
    hub.push(datasets.DatasetDict({"train": rows, "test": rows.select([0])}), repo, RECORD)
    again = datasets.load_dataset(repo)
    assert {name: part["id"][:] for name, part in again.items()} == {"train": ["a", "b"], "test": ["a"]}
    assert again["train"].features == rows.features
    assert len([name for name in API.list_repo_files(repo, repo_type="dataset") if hub.is_rows(name)]) == 2
    streamed = datasets.load_dataset(repo, split="train", streaming=True)
    assert load_corpus(streamed, label_column="label")[:] == load_corpus(rows, label_column="label")[:]
    hub.push(rows.select([1]), repo, RECORD, revision="trial")
    assert load_corpus(f"{repo}@trial", split="train")["id"][:] == ["b"]


def refused_commit(folder: Path) -> None:
    """A 429 and a 500 leave an empty repository; the next try completes, and uploads nothing twice."""
    sent, repo = write_model(folder), "tester/outage"
    commit = f"/api/models/{repo}/commit/.*"
    fail(commit, 429, count=1, Retry_After="7")
    with pytest.raises(
        ExportError, match=r"too many requests: wait 7 seconds, then repeat it\. Nothing is half"
    ):
        hub.push_folder(folder, repo)
    fail(commit, 500)
    with pytest.raises(ExportError, match="the Hub failed: wait some minutes, then repeat it"):
        hub.push_folder(folder, repo)
    assert API.list_repo_files(repo) == []
    hub.push_folder(folder, repo)
    assert API.list_repo_files(repo) == ["README.md", "head.safetensors", "model.safetensors"]
    assert sorted(oid for oid in ask("puts") if oid in sent.values()) == sorted(sent.values())


def lost_answer(folder: Path) -> None:
    """The commit is made and the answer to it is lost: nobody says that nothing was published."""
    write_model(folder)
    repo = "tester/lost"
    fail(f"/api/models/{repo}/commit/.*", 504, count=1)  # a gateway that got no answer either
    with pytest.raises(ExportError, match="so all of it may be published, or nothing"):
        hub.push_folder(folder, repo)
    fail(f"/api/models/{repo}/commit/.*", -1)
    with pytest.raises(ExportError, match="so all of it may be published, or nothing") as told:
        hub.push_folder(folder, repo)
    assert "half" not in str(told.value)
    assert API.list_repo_files(repo) == ["README.md", "head.safetensors", "model.safetensors"]
    hub.push_folder(folder, repo)
    assert API.list_repo_files(repo) == ["README.md", "head.safetensors", "model.safetensors"]


def busy_upload(folder: Path) -> None:
    """Too many requests while large files go ahead: the client waits and tries again, or it is told."""
    sent, repo = write_model(folder), "tester/busy"
    fail(f"/api/models/{repo}/preupload/.*", 429, count=50, Retry_After="0")
    with pytest.raises(ExportError, match="too many requests: wait 0 seconds, then repeat it"):
        hub.push_folder(folder, repo)
    assert API.list_repo_files(repo) == []
    assert not [oid for oid in ask("puts") if oid in sent.values()]


def cut(folder: Path) -> None:
    """The connection breaks in one of two uploads for as long as the client tries."""
    sent, repo = write_model(folder), "tester/cut"
    fail(f"/blob/{sent['model']}", 0, count=6)
    with pytest.raises(ExportError, match=r"cannot push to 'tester/cut': .*the network.* Nothing is half"):
        hub.push_folder(folder, repo)
    assert API.list_repo_files(repo) == []
    hub.push_folder(folder, repo)
    assert len(API.list_repo_files(repo)) == 3
    assert sorted(oid for oid in ask("puts") if oid in sent.values()) == sorted(sent.values())


def wrong_token(folder: Path) -> None:
    write_model(folder)
    os.environ["HF_TOKEN"] = "hf_wrongsecret"
    with pytest.raises(ExportError, match="does not take the token: `hf auth login`") as refused:
        hub.push_folder(folder, "tester/locked")
    assert "wrongsecret" not in str(refused.value)
    os.environ["HF_TOKEN"] = "hf_wrong\x01secret"  # an error of the HTTP library quotes such a header
    with pytest.raises(ExportError) as refused:
        hub.push_folder(folder, "tester/locked")
    assert "secret" not in str(refused.value)
    os.environ["HF_TOKEN"] = "hf_test"
    assert not API.repo_exists("tester/locked")
    hub.push_folder(folder, "tester/locked")


def by_command(folder: Path) -> None:
    """Annotations: listed, then pushed, then offered as a pull request; and a sheet."""
    from textlabel.export import parquet

    out, repo = folder / "labeled", "tester/commanded"
    folder.mkdir(parents=True)
    parquet.write(_rows(), out, RECORD)
    listed = told("push", out, repo, "--dry-run", "--revision", "trial", "--public")
    assert (listed["repo"], listed["kind"], listed["private"]) == (repo, "dataset", False)
    assert (listed["revision"], listed["dry_run"], listed["url"]) == ("trial", True, None)
    paths = ["README.md", "data/train-00000-of-00001.parquet", "textlabel.json"]
    assert [one["path"] for one in listed["files"]] == paths
    assert all(one["bytes"] > 0 for one in listed["files"])
    assert not API.repo_exists(repo, repo_type="dataset")
    (folder / "about.toml").write_text('intended_use = "sorting mail"\n')
    (folder / "scores.json").write_text('{"n": 2, "accuracy": 0.5}')
    stated = ("--about", folder / "about.toml", "--evaluation", folder / "scores.json")
    assert told("push", out, repo, *stated)["url"].endswith(f"datasets/{repo}")
    card = Path(hf_hub_download(repo, "README.md", repo_type="dataset")).read_text()
    assert "sorting mail" in card
    assert "| `accuracy` | 0.5000 |" in card
    assert sorted(API.list_repo_files(repo, repo_type="dataset")) == paths
    asked = run("push", out, repo, "--create-pr").stdout
    assert "as a pull request against main" in asked
    assert f"{repo}/discussions/1" in asked
    sheet = folder / "sheet.csv"
    sheet.write_text("textlabel_sheet,id,text,label\nx,a,eins,\n")
    told("push", sheet, repo, "--revision", "trial")
    assert "sheets/sheet.csv" in API.list_repo_files(repo, repo_type="dataset", revision="trial")
    [(where, row)] = sheet_lines(place(f"hf://datasets/{repo}@trial/sheets/sheet.csv", AuditError))
    assert (where, row["textlabel_sheet"], row["text"]) == ("row 2", "x", "eins")


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(sys.argv[2]))
