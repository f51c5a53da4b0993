"""Features that several models of one body share, kept in memory for the time of a call.

So a text goes through the body once, however many tasks read it, also where no feature cache is wanted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from textlabel.engine.feature_cache import FeatureCache, cache_folder, open_cache, open_space, space_of
from textlabel.engine.segments import Float32, Keys
from textlabel.types import IntArray

if TYPE_CHECKING:
    from textlabel.models.classifier import Classifier


class SharedFeatures:
    """What stands in for the folder of a feature cache, and asks and fills that, too.

    Memory: within a call it holds the float32 features of all texts of that call, 1.5 GB for a million texts
    of 384 numbers each.

    Parameters
    ----------
    cache : as `cache_folder`.
    """

    def __init__(self, cache: bool | str | Path = True) -> None:
        self.cache = cache
        self._known: dict[str, list[tuple[Keys, Float32]]] | None = None

    @property
    def folder(self) -> Path | None:
        """Folder of the feature cache; None: there is none."""
        return cache_folder(self.cache)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Remember features until the end of the block; outside of one nothing is remembered."""
        self._known = {}
        try:
            yield
        finally:
            self._known = None

    def known(self, space: str) -> list[tuple[Keys, Float32]]:
        """Return what is remembered of a space: keys, sorted, and their features."""
        return [] if self._known is None else self._known.setdefault(space, [])


class SharedSpace:
    """One space of `SharedFeatures`, with the methods of a `FeatureCache`.

    Parameters
    ----------
    disk : the same space of the feature cache; None: there is none.
    """

    def __init__(self, shared: SharedFeatures, name: str, disk: FeatureCache | None) -> None:
        self._shared, self._name, self._disk = shared, name, disk

    @property
    def snapshot(self) -> list[str]:
        """As `FeatureCache.snapshot`."""
        return self._disk.snapshot if self._disk else []

    def pin(self, names: Collection[str]) -> None:
        """As `FeatureCache.pin`."""
        if self._disk:
            self._disk.pin(names)

    def find(self, keys: Keys, out: Float32) -> npt.NDArray[np.bool_]:
        """As `FeatureCache.find`: what is remembered first."""
        found = np.zeros(len(keys), dtype=np.bool_)
        for known, features in self._shared.known(self._name):
            at = np.searchsorted(known[:, 0], keys[:, 0]).clip(max=len(known) - 1)
            there = ~found & (known[at] == keys).all(axis=1)
            out[there], found[there] = features[at[there]], True
        if self._disk and not found.all():
            rest = np.flatnonzero(~found)
            block = np.zeros((len(rest), out.shape[1]), np.float32)
            there = self._disk.find(keys[rest], block)
            out[rest[there]], found[rest[there]] = block[there], True
            self._remember(keys[rest[there]], block[there])
        return found

    def add(self, keys: Keys, features: Float32, rows: IntArray) -> None:
        """As `FeatureCache.add`, but remembered at once."""
        self._remember(keys, features[rows])
        if self._disk:
            self._disk.add(keys, features, rows)

    def publish(self) -> None:
        """As `FeatureCache.publish`."""
        if self._disk:
            self._disk.publish()

    def _remember(self, keys: Keys, features: Float32) -> None:
        if len(keys):
            order = np.argsort(keys[:, 0], kind="stable")
            self._shared.known(self._name).append((keys[order], features[order]))


#: where features are looked up: the folder of a feature cache, or what several models share
Store = Path | SharedFeatures


def store_of(cache: bool | str | Path | SharedFeatures) -> Store | None:
    """Return where a labeler looks features up; None: nowhere."""
    return cache if isinstance(cache, SharedFeatures) else cache_folder(cache)


def open_store(
    store: Store, classifier: Classifier, backend: str, folder: Path | None, device: str
) -> FeatureCache | SharedSpace | None:
    """Return the space of a classifier's body under a backend; its parameters are those of `open_cache`."""
    if isinstance(store, Path):
        return open_cache(store, classifier, backend, folder, device)
    name, root = space_of(classifier, backend, folder, device), store.folder
    if name is None:
        return None
    disk = None if root is None else open_space(root / name, classifier, backend)
    return SharedSpace(store, name, disk)


def folder_of(store: Store | None) -> Path | None:
    """Return the folder of the feature cache behind a store; None: there is none."""
    return store.folder if isinstance(store, SharedFeatures) else store
