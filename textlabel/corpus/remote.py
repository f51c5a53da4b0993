"""Files that a URL names, in whatever store fsspec reads: s3://bucket/rows.parquet, hf://datasets/user/name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from textlabel.errors import CorpusError, TextlabelError


@dataclass(frozen=True)
class Remote:
    """A file or folder in a store, as much of a `Path` as readers need.

    Parameters
    ----------
    files : the fsspec file system.
    path : of the file or folder there.
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

    def is_file(self) -> bool:
        """Return whether it is there."""
        return bool(self.files.isfile(self.path))

    def __truediv__(self, name: str) -> Remote:
        return Remote(self.files, f"{self.path.rstrip('/')}/{name}")

    @property
    def url(self) -> str:
        """Its URL, with what gives access to it."""
        return str(self.files.unstrip_protocol(self.path))

    def __str__(self) -> str:
        return shown(self.url)


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


@contextmanager
def reached(url: str, error: type[TextlabelError]) -> Iterator[None]:
    """Turn whatever a store's client raises into one ``error`` that names the URL and what to check."""
    try:
        yield
    except TextlabelError:
        raise
    except Exception as reason:  # each store's client has errors of its own
        raise error(f"{shown(url)}: cannot be reached: {hushed(reason, url)}; {advice(url)}") from reason


def advice(url: str) -> str:
    """Return what to check where a store refuses.

    Examples
    --------
    >>> advice("s3://bucket/rows.csv")
    'check address, network and login'
    """
    if url.startswith("hf://"):
        return (
            "check the name (hf://datasets/user/name/folder, hf://user/model), the network, and that `hf "
            "auth login` has a token that may do this"
        )
    return "check address, network and login"


def file_system(url: str, error: type[TextlabelError]) -> tuple[Any, str]:
    """Return the file system that knows a URL, and the path there.

    Raises
    ------
    error : there is none, or its client is not installed.
    """
    from fsspec.core import url_to_fs

    with reached(url, error):  # some connect at once
        try:
            files, path = url_to_fs(url)
        except (ImportError, ValueError) as reason:
            hint = (
                "; such as `pip install 'textlabel[s3]'` for s3://" if isinstance(reason, ImportError) else ""
            )
            raise error(f"{shown(url)}: {hushed(reason, url)}{hint}") from reason
    files.invalidate_cache()  # clients remember listings, and others write
    # the Hub's own names of models go without it, and listings are compared with the path
    return files, path.removeprefix("models/") if files.protocol == "hf" else path


def place(path: str | Path, error: type[TextlabelError]) -> File:
    """Return what a path or URL names, unasked whether it is there.

    Raises
    ------
    error : there is no file system that knows the URL.
    """
    return Remote(*file_system(str(path), error)) if is_url(path) else Path(path)


def files_at(url: str) -> list[Remote]:
    """Return the file that a URL names, or those that a glob finds or that are below a folder.

    Raises
    ------
    CorpusError : the store cannot be reached, or holds no such thing.
    """
    files, root = file_system(url, CorpusError)
    with reached(url, CorpusError):
        if files.isfile(root):
            return [Remote(files, root)]
        found = files.glob(root) if MAGIC.search(root) else files.find(root)
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
    with reached(url, error):
        names = {path.removeprefix(root).strip("/"): path for path in files.find(root)}
        for name, path in names.items():
            target = folder / name
            if not target.resolve().is_relative_to(folder.resolve()):  # a store may call an object ../../x
                raise error(
                    f"{shown(url)}: {name!r} lies outside of the folder; expected a model of textlabel"
                )
            target.parent.mkdir(parents=True, exist_ok=True)
            files.get_file(path, str(target))
    if not names:
        raise error(f"{shown(url)}: no such folder")


def _hidden(relative: str) -> bool:
    return any(part.startswith((".", "_")) for part in relative.strip("/").split("/"))


def hushed(reason: Exception, url: str) -> str:
    """Return what an error says, without what gives access to the URL."""
    return str(reason).replace(url, shown(url))
