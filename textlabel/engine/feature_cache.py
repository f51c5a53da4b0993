"""The feature cache: what a body said of a text, so that another head need not ask again.

A cache is a folder of spaces. What lies in one space is comparable: it is of the same weights, tokenizer,
pooling, length, backend, kind of device and versions, whose digest is its name. A space holds segments
(`textlabel.engine.segments`), which are written once and never changed, so that processes need no lock.

Features are no texts, but tell much about them: folders are made for their owner alone.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from textlabel.engine import segments
from textlabel.engine.process import processor
from textlabel.engine.segments import DamagedError, Float32, Keys, Segment
from textlabel.errors import TextlabelError
from textlabel.models.backend_fit import REFERENCE
from textlabel.models.fetch import file_sha256, home
from textlabel.types import IntArray

if TYPE_CHECKING:
    from textlabel.models.classifier import Classifier

log = logging.getLogger("textlabel")

#: changes whenever a fault in what computes features was mended
FORMAT = 2
GIGABYTES = 4.0
#: more segments than this that are smaller than that (bytes) become one
MANY, SMALL = 16, 64 << 20
#: libraries whose versions decide a feature's last bits
LIBRARIES = ("textlabel", "torch", "transformers", "tokenizers", "openvino", "onnxruntime")

#: bytes of a segment's head, at most
_HEAD = 1024
#: files beside the weights that decide a feature: the tokenizer's and the configuration
_SETTINGS = {".json", ".txt", ".model"}


def cache_folder(cache: bool | str | Path = True) -> Path | None:
    """Return the folder of the cache, None if there shall be none.

    Parameters
    ----------
    cache : a folder; True: ``TEXTLABEL_CACHE`` if set, else ``features`` beside the downloaded backbones.

    Raises
    ------
    TextlabelError : ``TEXTLABEL_CACHE_GB`` is not a size.
    """
    if cache is False or not limit():
        return None
    if cache is not True:
        return Path(cache).expanduser()
    chosen = os.environ.get("TEXTLABEL_CACHE")
    return Path(chosen).expanduser() if chosen else home() / "features"


def limit() -> int:
    """Return how many bytes a cache may hold: ``TEXTLABEL_CACHE_GB``, by default 4; 0: there is none."""
    text = os.environ.get("TEXTLABEL_CACHE_GB") or str(GIGABYTES)
    try:
        size = float(text)
    except ValueError:
        size = math.nan
    if not 0 <= size < math.inf:
        raise TextlabelError(
            f"TEXTLABEL_CACHE_GB = {text!r}: expected gigabytes such as 4 or 0.5; 0 for no feature cache"
        )
    return int(size * 1e9)


def text_keys(texts: Sequence[str]) -> Keys:
    """Return 128 bits of each text, (n, 2)."""
    digests = (
        hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest() for text in texts
    )
    return np.frombuffer(b"".join(digests), dtype="<u8").reshape(-1, 2)


class FeatureCache:
    """One space of a cache.

    It finds what was published when it was made, or when `publish` was last called, and nothing that
    was added since. Features differ in their last bits with the batch that they were computed in; so a run
    that publishes at its very end gives the same bits when it is killed and started again.

    Parameters
    ----------
    folder : of the space.
    width : d, features of a text.
    tells : what the features are of, for people.
    """

    def __init__(self, folder: Path, width: int, tells: Mapping[str, str]) -> None:
        self.folder, self.width, self.tells = folder, width, tells
        self._added: list[Path] = []
        self._room = limit()
        self._segments = self._published()

    @property
    def snapshot(self) -> list[str]:
        """Names of the segments in which it finds."""
        return [segment.path.stem for segment in self._segments]

    def pin(self, names: Collection[str]) -> None:
        """Find in these segments only, as far as they are there."""
        self._segments = [segment for segment in self._segments if segment.path.stem in names]

    def find(self, keys: Keys, out: Float32) -> npt.NDArray[np.bool_]:
        """Copy the features that are known into their rows of ``out``, and return which are, (n,)."""
        known = np.zeros(len(keys), dtype=np.bool_)
        todo = np.argsort(keys[:, 0], kind="stable")  # so that positions ascend
        for segment in list(self._segments):
            at = segment.positions(keys[todo])
            rows = todo[at >= 0]
            if not len(rows):
                continue
            try:
                segment.copy(at[at >= 0], out, rows)
            except DamagedError:
                out[rows] = 0  # processes add up what they know
                self._segments.remove(segment)
                segments.discard(segment.path)
                continue
            segment.touch()
            known[rows] = True
            todo = todo[at < 0]
        return known

    def add(self, keys: Keys, features: Float32, rows: IntArray) -> None:
        """Keep ``features[rows]``, a key for each, as far as there is room; they are found after `publish`.

        A disk that is full or may not be written is told once, and nothing is kept from then on.
        """
        rows = rows[: max(self._room - _HEAD, 0) // segments.row_bytes(self.width)]
        if not len(rows):
            return
        try:
            path = segments.write(
                self.folder, keys[: len(rows)], self.width, lambda index: features[rows[index]], self.tells
            )
            self._added.append(path)
            self._room -= path.stat().st_size
        except OSError as error:
            self._give_up(error)

    def publish(self) -> None:
        """Let this and other processes find what was added, and make room for it."""
        try:
            for path in self._added:
                segments.publish(path)
            if self._added:
                self._merge()
                segments.shrink(self.folder.parent, limit())
                self._room = limit()
        except OSError as error:
            self._give_up(error)
        self._added = []
        self._segments = self._published()

    def _published(self) -> list[Segment]:
        return [s for s in segments.read(self.folder) if s.features.shape[1] == self.width]

    def _merge(self) -> None:
        small = [segment for segment in self._published() if segment.bytes < SMALL]
        if len(small) <= MANY:
            return
        try:
            segments.publish(segments.merge(small))
        except DamagedError as damaged:
            segments.discard(damaged.args[0])
            return
        for segment in small:
            segments.delete(segment.path)

    def _give_up(self, error: OSError) -> None:
        log.warning(
            "features are not cached: %s cannot be written (%s); set TEXTLABEL_CACHE to another folder, or "
            "TEXTLABEL_CACHE_GB to 0",
            self.folder,
            error.strerror or error,
        )
        self._room = 0


def open_cache(
    root: Path, classifier: Classifier, backend: str, folder: Path | None, device: str
) -> FeatureCache | None:
    """Return the space of a classifier's body under a backend; None for a static body, faster than a disk.

    Parameters
    ----------
    root : as `cache_folder` gives it.
    backend, folder : plugin, and the files that it needs.
    device : kind of device that it runs on.
    """
    name = space_of(classifier, backend, folder, device)
    return None if name is None else open_space(root / name, classifier, backend)


def open_space(space: Path, classifier: Classifier, backend: str) -> FeatureCache:
    """Return the space in a folder that `space_of` named."""
    trained = "" if classifier.untouched else ", trained"
    tells = {"backbone": f"{classifier.info.public_name}{trained}", "backend": backend}
    return FeatureCache(space, classifier.head.in_features, tells)


def space_of(classifier: Classifier, backend: str, folder: Path | None, device: str) -> str | None:
    """Return the name of the space of a classifier's body; None where there is none, as `open_cache` says."""
    if classifier.info.kind == "static":
        return None
    try:
        facts = feature_facts(classifier, backend, folder, device)
    except OSError as error:
        log.warning("features are not cached: %s", error)  # nobody can tell which backbone this was
        return None
    return hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=16).hexdigest()


def feature_facts(classifier: Classifier, backend: str, folder: Path | None, device: str) -> dict[str, Any]:
    """Return everything that decides a feature but the text.

    Raises
    ------
    OSError : files of the backbone cannot be read.
    """
    info = classifier.info
    return {
        "format": FORMAT,
        "weights": info.sha256 if classifier.untouched else weights_sha256(classifier),
        "settings": _sha256(p for p in classifier.folder.iterdir() if p.suffix in _SETTINGS),
        "reading": [info.pooling, info.normalize, info.max_length, info.layers],
        "backend": [backend, "" if folder is None else _sha256(folder.rglob("*")), device],
        "processor": "" if backend == REFERENCE else processor(),
        "versions": [_version(name) for name in LIBRARIES],
    }


def weights_sha256(classifier: Classifier) -> str:
    """Return a hash of the numbers of a body, however it came to them."""
    digest = hashlib.sha256()
    for name, tensor in sorted(classifier.body.state_dict().items()):
        array = tensor.detach().cpu().numpy()
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _sha256(paths: Iterable[Path]) -> str:
    files = sorted(path for path in paths if path.is_file())
    lines = (f"{path.name} {file_sha256(path)}\n" for path in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
