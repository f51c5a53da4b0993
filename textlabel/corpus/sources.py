"""What a corpus may come from: files, folders, globs, saved datasets, the Hub, objects in memory."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from textlabel.corpus.check import Reject, Rejects
from textlabel.corpus.files import SUFFIXES, read_file, suffix_of
from textlabel.corpus.records import Kinds, Part, collect, joined, mapping_records, whole
from textlabel.corpus.remote import File, Remote, file_system, files_at, is_url, shown
from textlabel.corpus.saved import SPLITS, STATE, read_saved, split_folders
from textlabel.corpus.spool import PIECE, Spool, spans, spooled
from textlabel.errors import CorpusError, nearest
from textlabel.types import IntArray

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa

HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")


@dataclass(frozen=True)
class Rows:
    """All usable rows of a source, with where each came from.

    Parameters
    ----------
    table : n rows, every column of the input.
    features : the type of each column, as `datasets` tells it.
    files : what errors call the parts of the source.
    file, row : (n,) index into ``files``, and the row's number or line there.
    ordinal : (n,) position among all rows read, bad ones included; from 0.
    """

    table: pa.Table
    features: dict[str, Any]
    files: tuple[str, ...]
    file: IntArray
    row: IntArray
    ordinal: IntArray

    def place(self, i: int) -> str:
        """Return where row ``i`` is found."""
        return f"{self.files[self.file[i]]}, row {self.row[i]}"

    def take(self, keep: npt.NDArray[np.bool_]) -> Rows:
        """Return the rows that ``keep`` (n,) says; each keeps its place."""
        import pyarrow as pa

        table = self.table.filter(pa.array(keep))
        return replace(
            self, table=table, file=self.file[keep], row=self.row[keep], ordinal=self.ordinal[keep]
        )

    def reject(self, i: int, column: str, problem: str) -> Reject:
        """Return row ``i`` as a rejected one."""
        file, row = self.files[self.file[i]], int(self.row[i])
        return Reject(file, row, column, problem, self.table.slice(i, 1).to_pylist()[0])


def read_source(source: Any, split: str | None, config: str | None, kinds: Kinds, rejects: Rejects) -> Rows:
    """Return the rows of any source that `load_corpus` takes."""
    import datasets

    if isinstance(source, Rows):
        _refuse(split, config, "rows that were read before")
        return source
    if isinstance(source, datasets.Dataset | datasets.DatasetDict):
        return _from_dataset(_pick_split(source, split, "the dataset"), "the dataset")
    if isinstance(source, datasets.IterableDataset | datasets.IterableDatasetDict):
        stream = _pick_split(source, split, "the stream") if isinstance(source, dict) else source
        return _from_stream(stream)
    if isinstance(source, str | Path):
        return _from_path(str(source), split, config, kinds, rejects)
    if isinstance(source, Sequence):
        _refuse(split, config, "a list of rows")
        spool = Spool()
        return _from_parts(spool, [collect(mapping_records(source), "list of rows", kinds, rejects, spool)])
    raise CorpusError(
        f"cannot load a corpus from a {type(source).__name__}; expected a path, a glob, a Hub dataset id, "
        "a datasets.Dataset or IterableDataset, or a list of dicts"
    )


def _from_path(source: str, split: str | None, config: str | None, kinds: Kinds, rejects: Rejects) -> Rows:
    if is_url(source):
        return _from_url(source, split, config, kinds, rejects)
    path = Path(source).expanduser()
    if (path / SPLITS).is_file() or (path / STATE).is_file():
        _refuse(None, config, source)
        return _from_dataset(_saved(path, split), source)
    files = _files(path)
    if not files:
        return _from_dataset(_hub(source, split, config), source)
    _refuse(split, config, source)
    return _from_files(files, source, kinds, rejects)


def _from_url(source: str, split: str | None, config: str | None, kinds: Kinds, rejects: Rejects) -> Rows:
    _refuse(None, config, shown(source))
    found, name = files_at(source), shown(source)
    folder = Remote(*file_system(source, CorpusError))
    if folder / SPLITS in found:
        folder = _pick_split(split_folders(folder), split, name)
    else:
        _refuse(split, None, name)
        if folder / STATE not in found:
            return _from_files([file for file in found if suffix_of(file)], name, kinds, rejects)
    table, features = read_saved(folder)
    if not len(table):
        raise CorpusError(f"{name}: there are no rows; expected at least one")
    return _rows(table, [whole(name, 1, len(table))], features)


def _from_files(files: Sequence[File], source: str, kinds: Kinds, rejects: Rejects) -> Rows:
    if not files:
        raise CorpusError(f"{source}: no data file here; expected one or more of {', '.join(SUFFIXES)}")
    spool = Spool()
    return _from_parts(spool, [read_file(file, kinds, rejects, spool) for file in files])


def _files(path: Path) -> list[Path]:
    """Return the data files at a path in sorted order; none where only the Hub can help."""
    if path.is_file():
        return [path]
    if path.is_dir():
        found = [p for p in path.rglob("*") if not _hidden(p.relative_to(path))]
    elif glob.has_magic(str(path)):
        found = [Path(p) for p in glob.glob(str(path), recursive=True)]  # noqa: PTH207 - an absolute pattern
    else:
        return []
    files = sorted(p for p in found if suffix_of(p) and p.is_file())
    if not files:
        raise CorpusError(f"{path}: no data file here; expected one or more of {', '.join(SUFFIXES)}")
    return files


def _hidden(relative: Path) -> bool:
    return any(part.startswith((".", "_")) for part in relative.parts)


def _refuse(split: str | None, config: str | None, source: str) -> None:
    if split is not None or config is not None:
        name, value = ("config", config) if split is None else ("split", split)
        raise CorpusError(f"{source}: has no {name} {value!r}; leave it out, or name the file you mean")


def _saved(path: Path, split: str | None) -> datasets.Dataset:
    import datasets

    try:
        return _pick_split(datasets.load_from_disk(str(path)), split, str(path))
    except (OSError, ValueError, KeyError) as error:
        raise CorpusError(f"{path}: cannot be read as a saved dataset: {error}") from error


def _pick_split(found: Any, split: str | None, name: str) -> Any:
    """Return the one dataset meant: ``found`` itself, or its split."""
    import datasets

    if isinstance(found, datasets.Dataset):
        _refuse(split, None, name)
        return found
    if split is None and len(found) == 1:
        return next(iter(found.values()))
    if split not in found:
        hint = f"choose one of {list(found)}" if split is None else nearest(split, found)
        raise CorpusError(f"{name}: expected a split of it, got {split!r}: {hint}")
    return found[split]


def _hub(source: str, split: str | None, config: str | None) -> datasets.Dataset:
    import datasets

    if suffix_of(Path(source)) or not HUB_ID.fullmatch(source.partition("@")[0]):
        raise CorpusError(f"{source}: no such file or folder; {_neighbors(Path(source))}")
    repo, _, revision = source.partition("@")
    try:
        found = datasets.load_dataset(repo, config, split=split, revision=revision or None)
    except OSError as error:
        raise CorpusError(
            f"{source}: no such file or folder, and not a Hub dataset that can be reached "
            f"({str(error).partition(chr(10))[0]}); check the path, or the id, network and login"
        ) from error
    except (ValueError, datasets.exceptions.DatasetsError) as error:
        raise CorpusError(f"Hub dataset {source}: {error}") from error
    return found if isinstance(found, datasets.Dataset) else _pick_split(found, split, source)


def _neighbors(path: Path) -> str:
    """Return a hint naming what lies beside a path that does not exist."""
    folder = path.parent
    names = sorted(p.name for p in folder.iterdir())[:20] if folder.is_dir() else []
    return nearest(path.name, names) if names else f"{folder} is not a folder with files"


def _from_dataset(dataset: datasets.Dataset, name: str) -> Rows:
    import pyarrow as pa

    if not len(dataset):
        raise CorpusError(f"{name}: there are no rows; expected at least one")
    arrow = dataset.with_format("arrow")
    if dataset._indices is None:
        table = arrow[:]
    else:  # rows that somebody picked must be copied; others stay where they are
        table = pa.concat_tables(spooled(arrow[span] for span in spans(len(dataset))))
    return _rows(table, [whole(name, 1, len(table))], dict(dataset.features))


def _from_stream(stream: datasets.IterableDataset) -> Rows:
    """Return the rows of a stream, such as a Hub dataset that is not downloaded; they are kept on disk."""
    import datasets
    import pyarrow as pa

    batches = list(spooled(stream.with_format("arrow").iter(PIECE)))
    if not batches:
        raise CorpusError("the stream: there are no rows; expected at least one")
    table = pa.concat_tables(batches)
    features = stream.features or datasets.Features.from_arrow_schema(table.schema)
    return _rows(table, [whole("the stream", 1, len(table))], dict(features))


def _from_parts(spool: Spool, parts: list[Part]) -> Rows:
    table = joined(spool, parts)
    return _rows(table, parts, _features(table, parts[0].file))


def _rows(table: pa.Table, parts: list[Part], features: dict[str, Any]) -> Rows:
    starts = np.cumsum([0] + [part.total for part in parts])
    return Rows(
        table,
        features,
        tuple(part.file for part in parts),
        np.repeat(np.arange(len(parts)), [len(part.rows) for part in parts]),
        np.concatenate([part.rows for part in parts]),
        np.concatenate([part.ordinals + start for part, start in zip(parts, starts, strict=False)]),
    )


def _features(table: pa.Table, name: str) -> dict[str, Any]:
    import datasets

    try:
        return dict(datasets.Features.from_arrow_schema(table.schema))
    except (ValueError, NotImplementedError) as error:
        raise CorpusError(f"{name}: {error} Drop that column or store it as text") from error
