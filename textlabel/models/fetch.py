"""Registered backbones on this machine: fetched once, verified, and whole or not there at all.

A backbone is put together in a scratch folder beside its final place and renamed into it at the end,
so a wrong hash, a cut download, a full disk or Ctrl-C leaves nothing behind, and of two processes
that fetch the same one the slower uses what the faster made.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from textlabel.errors import BackboneError
from textlabel.models import catalog
from textlabel.models.carrier import Progress, unpack_carrier
from textlabel.models.catalog import WEIGHTS, Carrier, Entry, Hub

#: written into every fetched folder: how to read the weights, and where they came from
RECORD = "textlabel_backbone.json"

_CACHES = {"Darwin": "Library/Caches", "Windows": "AppData/Local"}


def home() -> Path:
    """Return the folder for everything that textlabel downloads.

    ``TEXTLABEL_HOME`` if set, else ``textlabel`` in the user's cache (``XDG_CACHE_HOME`` if set).
    """
    if chosen := os.environ.get("TEXTLABEL_HOME"):
        return Path(chosen).expanduser()
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / _CACHES.get(platform.system(), ".cache")
    return Path(caches) / "textlabel"


def record(name: str) -> dict[str, object]:
    """Return what was noted when a registered backbone was fetched, ``{}`` unless it is whole and current.

    Reads no weights: files are verified when they are fetched. An unknown name is a `BackboneError`.
    """
    entry, place = catalog.entry(name), _place(name)
    try:
        noted: dict[str, object] = json.loads((place / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    whole = all((place / file).is_file() for file in entry.hashes)
    return noted if whole and noted.get("sha256") == entry.sha256 else {}


def present(name: str) -> bool:
    """Return whether a registered backbone lies on this machine, whole and with the listed weights."""
    return bool(record(name))


def folder(name: str) -> Path:
    """Return where a registered backbone lies; a `BackboneError` if it was not fetched."""
    if not present(name):
        raise BackboneError(f"{name} is not on this machine; run `textlabel backbones get {name}`")
    return _place(name)


def get(name: str, *, progress: Progress | None = None) -> Path:
    """Return the folder of a registered backbone, fetched now unless it is there already.

    Parameters
    ----------
    name : as in `textlabel.models.catalog.entries`.
    progress : called with one short line at each step and, while downloading, twice a second.

    Raises
    ------
    BackboneError : unknown name, a folder that cannot be written, or no source that worked.
    """
    entry, place = catalog.entry(name), _place(name)
    if present(name):
        return place
    say = progress or (lambda line: None)
    lenders = {file: get(lender, progress=progress) for file, lender in entry.borrows.items()}
    failures = []
    with _scratch(place) as scratch:
        for source in entry.sources:
            work = Path(tempfile.mkdtemp(dir=scratch))
            try:
                _settle(_assemble(entry, source, lenders, work, say), place)
                return place
            except (BackboneError, OSError) as error:
                failures.append(f"  {source.label}: {error}")
                shutil.rmtree(work, ignore_errors=True)
    raise BackboneError(
        "\n".join([f"{name} could not be fetched; every source failed:", *failures])
        + "\nNothing was kept. Mend one of them, or give a local folder or a Hub id where you gave "
        f"{name!r}: both work wherever a registered name does"
    )


def weights_sha256(path: Path) -> str:
    """Return the sha256 (hex) of the weights in a folder.

    Of ``model.safetensors`` if there is one; else, of the sorted lines ``name sha256`` of its shards.

    Raises
    ------
    BackboneError : no safetensors file in the folder.
    """
    if (path / WEIGHTS).is_file():
        return file_sha256(path / WEIGHTS)
    shards = sorted(path.glob("*.safetensors"))
    if not shards:
        raise BackboneError(
            f"{path}: no *.safetensors here; expected a folder that save_pretrained wrote. Weights in "
            "another format: load them where you trust them, and save them with save_pretrained"
        )
    lines = "".join(f"{shard.name} {file_sha256(shard)}\n" for shard in shards)
    return hashlib.sha256(lines.encode()).hexdigest()


def _place(name: str) -> Path:
    return home() / "backbones" / name


def _scratch(place: Path) -> tempfile.TemporaryDirectory[str]:
    """Return a scratch folder on the disk of ``place``, so that the last step is a rename."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        prefix = f".{place.name}-"
        return tempfile.TemporaryDirectory(prefix=prefix, dir=place.parent, ignore_cleanup_errors=True)
    except OSError as error:
        raise BackboneError(
            f"cannot write {place.parent} ({error.strerror}); set TEXTLABEL_HOME to a folder you may write"
        ) from error


def _assemble(
    entry: Entry, source: Carrier | Hub, lenders: Mapping[str, Path], work: Path, say: Progress
) -> Path:
    """Return a complete, verified folder of ``entry`` inside ``work``."""
    ready = work / "ready"
    ready.mkdir()
    if isinstance(source, Carrier):
        unpack_carrier(entry, source, ready, say)
    else:
        _copy_from_hub(entry, source, ready, say)
    for file, lender in lenders.items():
        shutil.copyfile(lender / file, ready / file)
    if entry.config:
        (ready / "config.json").write_bytes(entry.config_text().encode())
    say(f"{entry.name}: verifying")
    for file, expected in entry.hashes.items():
        if (found := file_sha256(ready / file)) != expected:
            raise BackboneError(f"{file} has sha256 {found}, expected {expected}")
    keys = ("name", "sha256", "kind", "pooling", "normalize", "max_length", "license")
    noted = {key: getattr(entry, key) for key in keys} | {"source": source.label}
    (ready / RECORD).write_text(json.dumps(noted, indent=2) + "\n", encoding="utf-8")
    return ready


def _copy_from_hub(entry: Entry, source: Hub, ready: Path, say: Progress) -> None:
    from huggingface_hub import hf_hub_download

    say(f"{entry.name}: asking the Hub for {source.repo}")
    try:
        for file in entry.sourced:
            shutil.copyfile(hf_hub_download(source.repo, file, revision=source.revision), ready / file)
    except Exception as error:  # the client's errors have no base in common: offline, 404, proxy, disk
        reason = str(error).partition("\n")[0]
        raise BackboneError(f"{type(error).__name__}: {reason}") from error


def _settle(ready: Path, place: Path) -> None:
    """Move the finished folder into place; keep what another process put there meanwhile."""
    try:
        ready.replace(place)
    except OSError:  # a folder that is not empty cannot be replaced
        if present(place.name):
            return
        place.replace(ready.with_name("damaged"))
        ready.replace(place)


def file_sha256(path: Path) -> str:
    """Return the sha256 (hex) of one file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
