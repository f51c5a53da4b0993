"""Files to a repository of the Hub: all in one commit, or as one pull request, or nothing.

Large files go ahead of the commit, and the Hub keeps them: where a push is cut off, the next one sends only
those that had not arrived.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from textlabel.errors import ExportError

Files = Mapping[str, bytes | Path]

#: what to do, by the status of the Hub's answer
_ADVICE = {
    401: "the Hub does not take the token: `hf auth login` (or HF_TOKEN) with one that may write",
    403: "the token may not write there: `hf auth login` with one that may, or offer a pull request",
    404: "check the name (user/name) and the revision, and that the token of `hf auth login` may see it",
    409: "somebody else wrote there meanwhile: repeat it",
    412: "somebody else wrote there meanwhile: repeat it",
    429: "too many requests: wait {wait}, then repeat it",
}
_OUTAGE = "the Hub failed: wait some minutes, then repeat it"
_OTHER = "check the name (user/name), the network, and that `hf auth login` has a token that may write"
_SAFE = "Nothing is half published: all goes in one commit at the end, and files that arrived stay there"
#: no answer at all, and what a gateway says that got none
_UNANSWERED = (0, 502, 504)
_UNKNOWN = (
    "The commit was on its way, and no answer came back, so all of it may be published, or nothing: look "
    "there before you repeat it"
)


@dataclass(frozen=True)
class Target:
    """Where files go.

    Parameters
    ----------
    repo_id : ``user/name``; made if it does not exist, but not for a pull request.
    kind : of repository.
    private : only for a repository that is made now.
    revision : branch to push to (made if it does not exist), or to open the pull request against; "" is main.
    create_pr : open a pull request instead of changing the branch.
    """

    repo_id: str
    kind: Literal["model", "dataset"]
    private: bool = True
    revision: str = ""
    create_pr: bool = False


def plan(files: Files, target: Target) -> dict[str, Any]:
    """Return what `send` would push, and where: nothing is asked of the Hub."""
    sizes = {
        name: len(held) if isinstance(held, bytes) else held.stat().st_size for name, held in files.items()
    }
    return {
        "repo": target.repo_id,
        "kind": target.kind,
        "private": target.private,
        "revision": target.revision or "main",
        "create_pr": target.create_pr,
        "files": [{"path": name, "bytes": size} for name, size in sorted(sizes.items())],
        "bytes": sum(sizes.values()),
    }


def send(files: Files, target: Target, message: str, is_old: Callable[[str], bool] | None = None) -> str:
    """Return the address of the repository, or of the pull request, that now has the files.

    Parameters
    ----------
    message : of the commit.
    is_old : says of a file in the repository whether it goes, unless it is among ``files``.

    Raises
    ------
    ExportError : the Hub refused or could not be reached; the message says what to do.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    api, revision = HfApi(), target.revision or None
    with refusals(target.repo_id) as way:
        address, repo_id = "", target.repo_id
        if not target.create_pr:
            made = api.create_repo(repo_id, repo_type=target.kind, private=target.private, exist_ok=True)
            address, repo_id = str(made), made.repo_id
        repo: dict[str, Any] = {"repo_id": repo_id, "repo_type": target.kind}
        added = [CommitOperationAdd(name, files[name]) for name in sorted(files)]
        # before the branch is made, so that one that is cut off leaves none
        api.preupload_lfs_files(**repo, additions=added, create_pr=target.create_pr)
        if revision and not target.create_pr and not revision.startswith("refs/"):
            api.create_branch(**repo, branch=revision, exist_ok=True)
        there = api.list_repo_files(**repo, revision=revision) if is_old else []
        gone = [name for name in there if name not in files and is_old and is_old(name)]
        way.committing = True
        done = api.create_commit(
            **repo,
            operations=[*added, *(CommitOperationDelete(name) for name in gone)],
            commit_message=message,
            revision=revision,
            create_pr=target.create_pr,
        )
    return str(done.pr_url) if target.create_pr else address


@dataclass
class Way:
    """How far a push has come: whether the commit has been sent."""

    committing: bool = False


@contextmanager
def refusals(repo_id: str) -> Iterator[Way]:
    """Turn whatever goes wrong on the way to the Hub into one `ExportError` that never tells the token."""
    way = Way()
    try:
        yield way
    except Exception as error:  # each hub version has its own HTTP library and errors
        told = _without_token(str(error)) or type(error).__name__
        # no `from error`: an error of the HTTP library may quote a header, and a traceback shows it
        outcome = _UNKNOWN if way.committing and _status(error) in _UNANSWERED else _SAFE
        raise ExportError(f"cannot push to {repo_id!r}: {told}. To do: {_advice(error)}. {outcome}") from None


def _status(error: Exception) -> int:
    """Return the status of the Hub's answer; 0: there was none."""
    return int(getattr(getattr(error, "response", None), "status_code", 0) or 0)


def _advice(error: Exception) -> str:
    response, status = getattr(error, "response", None), _status(error)
    if status >= 500:
        return _OUTAGE
    wait = response.headers.get("Retry-After") if response is not None else None
    return _ADVICE.get(status, _OTHER).format(wait=f"{wait} seconds" if wait else "some minutes")


def _without_token(text: str) -> str:
    from huggingface_hub import get_token

    token = get_token()
    return text.replace(token, "[token]") if token else text
