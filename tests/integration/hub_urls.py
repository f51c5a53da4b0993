"""What test_hub.py runs in a process of its own: corpora, models and annotations that hf:// names."""

from __future__ import annotations

import json
import sys
import urllib.request
from pathlib import Path

from commands import run, told
from datasets import Dataset, DatasetDict
from huggingface_hub import HfApi, HfFileSystem, constants, snapshot_download
from tiny import snippets, write_static

from textlabel import Labeler
from textlabel.corpus.load import load_corpus
from textlabel.models.fetch import home

ROWS = [{"id": row["id"], "text": row["text"]} for row in snippets(30, seed=1)]
API = HfApi()


def lines(rows: list[dict[str, str]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def upload(folder: Path, repo: str, kind: str = "dataset") -> None:
    API.create_repo(repo, repo_type=kind, exist_ok=True)
    API.upload_folder(repo_id=repo, repo_type=kind, folder_path=folder)


def write_corpus(folder: Path) -> Path:
    folder.mkdir(parents=True)
    Dataset.from_list(ROWS[:20]).to_parquet(folder / "part-1.parquet")
    (folder / "part-2.jsonl").write_text(lines(ROWS[20:]))
    return folder


def write_model(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    model = Labeler(write_static(folder / "static"), cache=False).fit(snippets(40)).save(folder / "model")
    return Path(model)


def commits(repo: str) -> int:
    return len(API.list_repo_commits(repo, repo_type="dataset"))


def below(repo: str, folder: str) -> dict[str, bytes]:
    root = Path(snapshot_download(repo, repo_type="dataset")) / folder
    return {path.name: path.read_bytes() for path in root.iterdir() if path.is_file()}


def read(folder: Path) -> None:
    """A file, a folder, a glob, a branch, and what `datasets` saved."""
    write_corpus(folder / "parts")
    Dataset.from_list(ROWS).save_to_disk(folder / "saved")
    DatasetDict({"train": Dataset.from_list(ROWS), "test": Dataset.from_list(ROWS[:3])}).save_to_disk(
        folder / "splits"
    )
    upload(folder, "tester/rows")
    whole, there = load_corpus(ROWS)[:], "hf://datasets/tester/rows"
    assert load_corpus(f"{there}/parts/part-1.parquet")[:] == load_corpus(ROWS[:20])[:]
    for url in (f"{there}/parts", f"{there}/parts/", f"{there}/parts/part-*", f"{there}@main/parts"):
        assert load_corpus(url)[:] == whole, url
    assert load_corpus(f"{there}/saved")[:] == whole
    assert load_corpus(f"{there}/splits", split="test")[:] == load_corpus(ROWS[:3])[:]


def write(folder: Path) -> None:
    """The output is what a disk gets, in one commit; another output takes the place of the first."""
    corpus, model = write_corpus(folder / "corpus"), write_model(folder / "made")
    upload(corpus, "tester/texts")
    upload(model, "tester/static", "model")
    API.create_repo("tester/labeled", repo_type="dataset")
    API.upload_file(
        path_or_fileobj=b"mine",
        path_in_repo="notes/thesis.tex",
        repo_id="tester/labeled",
        repo_type="dataset",
    )
    words = ["annotate", "hf://datasets/tester/texts", "--model", "hf://tester/static", "--out"]
    before, url = commits("tester/labeled"), "hf://datasets/tester/labeled/first"
    done = told(*words, url, "--format", "parquet")
    assert (done["annotations"], done["rows"]) == (url, 30)
    assert commits("tester/labeled") == before + 1
    run("annotate", corpus, "--model", model, "--out", folder / "out", "--format", "parquet")
    assert below("tester/labeled", "first") == {p.name: p.read_bytes() for p in (folder / "out").iterdir()}

    (folder / "gold.jsonl").write_text(lines(snippets(30, seed=1)))
    local = told("evaluate", folder / "out", "--gold", folder / "gold.jsonl")
    assert told("evaluate", url, "--gold", folder / "gold.jsonl") == local

    run(*words, url, "--format", "csv")
    assert commits("tester/labeled") == before + 2
    assert set(below("tester/labeled", "first")) == {"README.md", "annotations.csv", "textlabel.json"}
    assert below("tester/labeled", "notes") == {"thesis.tex": b"mine"}

    # a whole repository, in which the Hub keeps a file of its own
    API.create_repo("tester/alone", repo_type="dataset")
    attributes = {"path_in_repo": ".gitattributes", "repo_id": "tester/alone", "repo_type": "dataset"}
    API.upload_file(path_or_fileobj=b"*.parquet filter=lfs\n", **attributes)
    for form in ("jsonl", "dataset"):
        words[3] = "hf://models/tester/static"
        run(*words, "hf://datasets/tester/alone", "--format", form)
    assert {".gitattributes", "textlabel.json", "state.json"} < set(below("tester/alone", ""))
    assert "annotations.jsonl" not in below("tester/alone", "")
    assert told("evaluate", "hf://datasets/tester/alone", "--gold", folder / "gold.jsonl") == local


def resume(folder: Path) -> None:
    """A Hub that refuses the commit costs nothing: shards are kept on this machine."""
    corpus, model = write_corpus(folder / "corpus"), write_model(folder / "made")
    API.create_repo("tester/full", repo_type="dataset")
    words = ["annotate", corpus, "--model", model, "--out", "hf://datasets/tester/full/out"]
    ask("lock/tester/full")
    failed = run(*words, code=1).stderr
    assert "hf://datasets/tester/full/out cannot be written: " in failed
    assert "you may not write here" in failed
    assert "What is finished stays: check the name" in failed
    assert "`hf auth login` has a token that may do this, and repeat the command" in failed
    assert HfFileSystem().find("datasets/tester/full") == []
    assert sorted(path.name for path in (home() / "unfinished").rglob("shard-*")) == [
        "shard-00000.json",
        "shard-00000.safetensors",
    ]
    ask("unlock/tester/full")
    done = told(*words, "--resume")
    assert done["texts_per_second"] is None  # nothing was labeled again
    assert "state.json" in below("tester/full", "out")
    assert list((home() / "unfinished").iterdir()) == []


def personal(folder: Path) -> None:
    """What is written into a repository is published: addresses in it are refused, or allowed by the user."""
    model = write_model(folder / "made")
    API.create_repo("tester/people", repo_type="dataset", private=False)
    texts = folder / "texts.csv"
    texts.write_text("id,text\n1,write to jane.doe@example.org\n2,a good plot\n")
    words = ["annotate", texts, "--model", model, "--out", "hf://datasets/tester/people/out"]
    refused = run(*words, code=1).stderr
    assert "1 of 2 rows seem to hold personal data (email in 1" in refused
    assert "nothing was sent to hf://datasets/tester/people/out" in refused
    assert "jane" not in refused
    assert HfFileSystem().find("datasets/tester/people") == []
    run(*words, "--allow-personal-data", "0.5")
    assert "state.json" in below("tester/people", "out")


def ask(what: str) -> None:
    request = urllib.request.Request(f"{constants.ENDPOINT}/{what}", method="POST")
    urllib.request.urlopen(request).close()


def refuse(folder: Path) -> None:
    """Before any row is labeled: no such repository, no right to write, something else there."""
    words = ["annotate", write_corpus(folder / "corpus"), "--model", "nowhere", "--out"]
    missing = run(*words, "hf://datasets/tester/none/out", code=1).stderr
    assert "repository not found" in missing
    assert "make it: `hf repos create user/name --type dataset`" in missing
    assert "`hf auth login` has a token that may do this" in missing
    API.create_repo("name", repo_type="dataset")
    ask_repo = {"repo_type": "dataset", "path_or_fileobj": b"mine", "path_in_repo": "out/thesis.tex"}
    API.upload_file(repo_id="tester/name", **ask_repo)
    assert "it holds 'thesis.tex'" in run(*words, "hf://datasets/tester/name/out", code=1).stderr
    assert "revision not found" in run(*words, "hf://datasets/tester/name@trial/out", code=1).stderr
    API.create_repo("others/rows", repo_type="dataset")
    forbidden = run(*words, "hf://datasets/others/rows/out", code=1).stderr
    assert "hf://datasets/others/rows/out: cannot be reached: " in forbidden
    assert "you may not write here" in forbidden
    unread = run("fit", "hf://datasets/tester/none", "--out", folder / "out", code=1).stderr
    assert "hf://datasets/tester/none: cannot be reached" in unread
    assert "repository not found" in unread
    unrated = run("evaluate", "hf://datasets/tester/none/out", "--gold", "gold.csv", code=1).stderr
    assert "hf://datasets/tester/none/out: no textlabel.json here" in unrated
    assert "`hf auth login` has a token that may do this" in unrated
    absent = run("annotate", folder / "corpus", "--model", "hf://tester/none", "--out", folder / "o", code=1)
    assert "hf://tester/none: cannot be reached" in absent.stderr


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(sys.argv[2]))
