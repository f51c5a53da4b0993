"""The Hugging Face Hub: rows as Parquet, with card and provenance record; or a classifier's folder."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from textlabel.errors import ExportError
from textlabel.export._folder import CARD, RECORD
from textlabel.export._push import Files, Target, send
from textlabel.report.cards import dataset_card
from textlabel.scanning import refuse_personal_data

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

NAME = "hub"

#: bytes of rows in memory that a Parquet file is given
SHARD = 500_000_000
#: the files of rows that an earlier push left
_ROWS = re.compile(r"data/.+-\d{5}-of-\d{5}\.parquet")


def write(dataset: Dataset, path: Path, record: dict[str, Any]) -> Path:
    """Refuse: the Hub is no folder. `push` is the way there."""
    raise ExportError(
        "format 'hub' writes no folder: call textlabel.export.hub.push(dataset, 'user/name', record)"
    )


def push(
    dataset: Dataset | DatasetDict,
    repo_id: str,
    record: Mapping[str, Any],
    *,
    private: bool = True,
    revision: str | None = None,
    create_pr: bool = False,
    personal_data: float = 0.0,
) -> str:
    """Return the address of the dataset repository, or pull request, that now has rows, card and record.

    All is one commit, which takes the place of the rows of an earlier push.

    Parameters
    ----------
    dataset : the rows, which become the split train; or a `DatasetDict` of splits.
    repo_id : ``user/name``; made if it does not exist, but not for a pull request.
    private : only for a repository that is made now.
    revision : branch to push to (made if it does not exist), or to open the pull request against.
    create_pr : open a pull request instead of changing the branch.
    personal_data : share of the rows that may seem to hold personal data (`textlabel.scanning`).

    Raises
    ------
    ExportError : more rows seem to hold personal data; the Hub refused or could not be reached.
    """
    target = Target(repo_id, "dataset", private, revision or "", create_pr)
    with TemporaryDirectory() as folder:
        files = files_of_rows(dataset, record, Path(folder), personal_data, repo_id)
        return send(files, target, "Annotations by textlabel", is_rows)


def push_folder(
    folder: Path,
    repo_id: str,
    private: bool = True,
    revision: str | None = None,
    create_pr: bool = False,
) -> str:
    """Return the address of the model repository, or of the pull request, that now has a classifier's folder.

    Raises
    ------
    ExportError : the Hub refused or could not be reached.
    """
    target = Target(repo_id, "model", private, revision or "", create_pr)
    return send(files_below(folder), target, "Classifier by textlabel")


def is_rows(name: str) -> bool:
    """Return whether a file of a repository holds rows that `push` wrote.

    Examples
    --------
    >>> is_rows("data/train-00000-of-00001.parquet"), is_rows("thesis.parquet")
    (True, False)
    """
    return bool(_ROWS.fullmatch(name))


def files_below(folder: Path) -> dict[str, bytes | Path]:
    """Return the files of a folder by their path in it; hidden ones are left out."""
    names = {path: path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()}
    return {
        name.as_posix(): path
        for path, name in names.items()
        if not any(part.startswith(".") for part in name.parts)
    }


def files_of_rows(
    dataset: Dataset | DatasetDict,
    record: Mapping[str, Any],
    folder: Path,
    personal_data: float,
    where: str,
) -> Files:
    """Return Parquet files (written to ``folder``), card and record of rows that go to ``where``.

    Raises
    ------
    ExportError : more than the share ``personal_data`` of a split's rows seem to hold personal data.
    """
    splits = dict(dataset) if isinstance(dataset, dict) else {"train": dataset}
    files: dict[str, bytes | Path] = {}
    for split, rows in splits.items():
        refuse_personal_data(rows, personal_data, where)
        shards = max(1, min(len(rows), 1 + rows.data.nbytes // SHARD))  # none is empty, but of no rows
        for number in range(shards):
            name = f"data/{split}-{number:05d}-of-{shards:05d}.parquet"
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            part = rows.shard(shards, number, contiguous=True) if shards > 1 else rows
            part.to_parquet(path)
            files[name] = path
    full = {**record, "rows": sum(len(rows) for rows in splits.values())}
    files[CARD] = _card_of_splits(splits, full).encode()
    files[RECORD] = (json.dumps(full, indent=2, ensure_ascii=False) + "\n").encode()
    return files


def _card_of_splits(splits: Mapping[str, Dataset], record: Mapping[str, Any]) -> str:
    """Return the card, its head telling `datasets` types, splits and files."""
    from datasets import DatasetInfo, SplitDict, SplitInfo
    from datasets.info import DatasetInfosDict
    from huggingface_hub import DatasetCard

    first = next(iter(splits.values()))
    sizes = SplitDict()
    for split, rows in splits.items():
        sizes[split] = SplitInfo(split, num_bytes=rows.data.nbytes, num_examples=len(rows))
    card = DatasetCard(
        dataset_card(record, [{"split": split, "path": f"data/{split}-*"} for split in splits])
    )
    told = DatasetInfo(features=first.features, splits=sizes)
    DatasetInfosDict({"default": told}).to_dataset_card_data(card.data)
    return str(card)
