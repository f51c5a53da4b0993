"""The Hugging Face Hub: rows as Parquet, with card and provenance record; or a classifier's folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textlabel.errors import ExportError
from textlabel.export._folder import CARD, RECORD
from textlabel.report.cards import dataset_card
from textlabel.scanning import refuse_personal_data

if TYPE_CHECKING:
    from datasets import Dataset

NAME = "hub"


def write(dataset: Dataset, path: Path, record: dict[str, Any]) -> Path:
    """Refuse: the Hub is no folder. `push` is the way there."""
    raise ExportError(
        "format 'hub' writes no folder: call textlabel.export.hub.push(dataset, 'user/name', record)"
    )


def push(
    dataset: Dataset,
    repo_id: str,
    record: Mapping[str, Any],
    *,
    private: bool = True,
    revision: str | None = None,
    personal_data: float = 0.0,
) -> str:
    """Return the address of the dataset repository that now holds the rows, card and record.

    Parameters
    ----------
    repo_id : ``user/name``; made if it does not exist.
    private : only for a repository that is made now.
    revision : branch to push to; made if it does not exist.
    personal_data : share of the rows that may seem to hold personal data (`textlabel.scanning`).

    Raises
    ------
    ExportError : more rows seem to hold personal data; the Hub refused or could not be reached.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    refuse_personal_data(dataset, personal_data, repo_id)
    full = {**record, "rows": len(dataset)}
    files = {CARD: dataset_card(full), RECORD: json.dumps(full, indent=2, ensure_ascii=False) + "\n"}
    api = HfApi()
    with _refusals(repo_id):
        url = api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True)
        if revision:
            api.create_branch(url.repo_id, repo_type="dataset", branch=revision, exist_ok=True)
        # the card goes first: push_to_hub then adds types and data files to its head
        api.create_commit(
            url.repo_id,
            [CommitOperationAdd(name, text.encode()) for name, text in files.items()],
            commit_message="Card and provenance record by textlabel",
            repo_type="dataset",
            revision=revision,
        )
        dataset.push_to_hub(url.repo_id, revision=revision, commit_message="Rows by textlabel")
    return str(url)


def push_folder(folder: Path, repo_id: str, private: bool = True, revision: str | None = None) -> str:
    """Return the address of the model repository that now holds a saved classifier's folder.

    Raises
    ------
    ExportError : the Hub refused or could not be reached.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    with _refusals(repo_id):
        url = api.create_repo(repo_id, repo_type="model", private=private, exist_ok=True)
        if revision:
            api.create_branch(url.repo_id, repo_type="model", branch=revision, exist_ok=True)
        api.upload_folder(
            repo_id=url.repo_id,
            folder_path=folder,
            revision=revision,
            commit_message="Classifier by textlabel",
        )
    return str(url)


@contextmanager
def _refusals(repo_id: str) -> Iterator[None]:
    """Turn whatever goes wrong on the way to the Hub into one `ExportError`."""
    try:
        yield
    except Exception as error:  # each hub version has its own HTTP library and errors
        raise ExportError(
            f"cannot push to {repo_id!r}: {error}. Check the name (user/name), the network, and that "
            "`hf auth login` has a token that may write"
        ) from error
