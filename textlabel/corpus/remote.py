"""Files that a URL names, in whatever store fsspec reads: s3://bucket/rows.parquet, hf://datasets/user/name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from textlabel.errors import CorpusError, TextlabelError


@dataclass(frozen=True)
class Remote:
    """A file in a store, as much of a `Path` as readers need.

    Parameters
    ----------
    files : the fsspec file system.
    path : of the file there.
    """

    files: Any
    path: str

    @property
    def name(self) -> str:
        """Its last part."""
        return PurePosixPath(shown(self.path)).name

    @property
    def suffix(self) -> str:
        """The ending of its name, with the dot."""
        return PurePosixPath(self.name).suffix

    def open(self, mode: str = "rb") -> IO[bytes]:
        """Return the file, opened for reading bytes."""
        opened: IO[bytes] = self.files.open(self.path, mode)
        return opened

    def __str__(self) -> str:
        return shown(str(self.files.unstrip_protocol(self.path)))


#: where a pattern begins
MAGIC = re.compile(r"[*?[]")

#: what readers read
File = Path | Remote


def is_url(place: str | Path) -> bool:
    """Return whether a place is one that only fsspec knows.

    Examples
    --------
    >>> is_url("s3://bucket/rows.csv"), is_url("rows.csv")
    (True, False)
    """
    return "://" in str(place)


def shown(url: str) -> str:
    """Return a URL without what gives access to it: user, password, and what follows a question mark.

    Examples
    --------
    >>> shown("https://me:secret@host/rows.jsonl?signature=1")
    'https://host/rows.jsonl'
    """
    start, mark, rest = url.partition("://")
    if not mark:
        return url
    host, slash, path = rest.partition("/")
    plain = f"{start}://{host.rpartition('@')[2]}{slash}{path}"
    return plain.partition("?")[0] if start in ("http", "https") else plain


def file_system(url: str, error: type[TextlabelError]) -> tuple[Any, str]:
    """Return the file system that knows a URL, and the path there.

    Raises
    ------
    error : there is none, or its client is not installed.
    """
    from fsspec.core import url_to_fs

    try:
        files, path = url_to_fs(url)
    except (ImportError, ValueError) as reason:
        hint = "; such as `pip install 'textlabel[s3]'` for s3://" if isinstance(reason, ImportError) else ""
        raise error(f"{shown(url)}: {_hushed(reason, url)}{hint}") from reason
    except Exception as reason:  # some connect at once, and each has errors of its own
        raise error(
            f"{shown(url)}: cannot be reached: {_hushed(reason, url)}; check address, network and login"
        ) from reason
    return files, path


def files_at(url: str) -> list[Remote]:
    """Return the file that a URL names, or those that a glob finds or that are below a folder.

    Raises
    ------
    CorpusError : the store cannot be reached, or holds no such thing.
    """
    files, root = file_system(url, CorpusError)
    try:
        if files.isfile(root):
            return [Remote(files, root)]
        found = files.glob(root) if MAGIC.search(root) else files.find(root)
    except Exception as error:  # each store's client has errors of its own
        raise CorpusError(
            f"{shown(url)}: cannot be reached: {_hushed(error, url)}; check address, network and login"
        ) from error
    # what the user named himself is not hidden, however it is called
    pattern = MAGIC.search(root)
    named = root[: pattern.start()].rpartition("/")[0] if pattern else root
    inside = [path for path in found if not _hidden(path.removeprefix(named))]
    if not inside:
        raise CorpusError(f"{shown(url)}: no such file or folder")
    return [Remote(files, path) for path in sorted(inside)]


def fetch(url: str, folder: Path, error: type[TextlabelError]) -> None:
    """Copy what lies below a URL into a folder, which is made.

    Raises
    ------
    error : the store cannot be reached, or nothing is there.
    """
    files, root = file_system(url, error)
    try:
        names = {path.removeprefix(root).strip("/"): path for path in files.find(root)}
        for name, path in names.items():
            target = folder / name
            if not target.resolve().is_relative_to(folder.resolve()):  # a store may call an object ../../x
                raise error(
                    f"{shown(url)}: {name!r} lies outside of the folder; expected a model of textlabel"
                )
            target.parent.mkdir(parents=True, exist_ok=True)
            files.get_file(path, str(target))
    except TextlabelError:
        raise
    except Exception as reason:  # each store's client has errors of its own
        raise error(
            f"{shown(url)}: cannot be reached: {_hushed(reason, url)}; check address, network and login"
        ) from reason
    if not names:
        raise error(f"{shown(url)}: no such folder")


def _hidden(relative: str) -> bool:
    return any(part.startswith((".", "_")) for part in relative.strip("/").split("/"))


def _hushed(reason: Exception, url: str) -> str:
    """Return what an error says, without what gives access to the URL."""
    return str(reason).replace(url, shown(url))
