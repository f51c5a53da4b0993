"""A folder in a repository of the Hub that hf:// names. There every write is a commit, so all goes in one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

#: made by the Hub in every repository
OF_THE_HUB = ".gitattributes"


class Repository:
    """Where results go that are to be one commit.

    Parameters
    ----------
    files : the `huggingface_hub.HfFileSystem`.
    path : of the folder there: ``datasets/user/name/folder``.

    Raises
    ------
    OSError : the repository is not there, or the token may not write into it.
    """

    def __init__(self, files: Any, path: str) -> None:
        from huggingface_hub import HfApi

        self._api = HfApi(endpoint=files.endpoint, token=files.token)
        try:
            found = files.resolve_path(path)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{error}. If there is no such repository, make it: "
                "`hf repos create user/name --type dataset`"
            ) from error
        self._repo = {"repo_id": found.repo_id, "repo_type": found.repo_type}
        self._revision, self._folder = found.revision, found.path_in_repo
        self._api.auth_check(**self._repo, write=True)

    def head(self) -> str:
        """Return the last commit."""
        return str(self._api.repo_info(**self._repo, revision=self._revision).sha)

    def commit(self, folder: Path, gone: Iterable[str], head: str) -> None:
        """Put the files of a folder there, and delete those that are called as in ``gone``.

        Parameters
        ----------
        head : the last commit, as it was when somebody looked what is there.

        Raises
        ------
        HfHubHTTPError : there is another one by now, or the Hub refuses.
        """
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        added = [CommitOperationAdd(self._there(path.name), path) for path in sorted(folder.iterdir())]
        deleted = [CommitOperationDelete(self._there(name)) for name in sorted(gone)]
        self._api.create_commit(
            operations=[*added, *deleted],
            commit_message="Annotations by textlabel",
            revision=self._revision,
            parent_commit=head,
            **self._repo,
        )

    def _there(self, name: str) -> str:
        return f"{self._folder}/{name}".lstrip("/")


def is_repository(files: Any, path: str) -> bool:
    """Return whether a path is in a repository of the Hub; its buckets are stores like others."""
    return files.protocol == "hf" and not path.startswith("buckets/")
