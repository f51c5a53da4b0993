"""Every kind of source gives the same rows; what is not a source is named."""

import csv
import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest

from textlabel.corpus.load import load_corpus
from textlabel.errors import CorpusError

ROWS = [
    {"id": "r1", "text": 'Fine, "really" fine.\nTwo lines.', "label": "good", "topic": "caf\u00e9"},
    {"id": "r2", "text": "No tab\there", "label": "bad", "topic": ""},
    {"id": "r3", "text": "\u4e2d\u6587 \U0001f600", "label": "good", "topic": "x;y|z"},
]


def write_csv(
    path: Path, rows: list[dict[str, Any]] = ROWS, delimiter: str = ",", encoding: str = "utf-8"
) -> str:
    opener = gzip.open if path.suffix.lower() == ".gz" else open
    with opener(path, "wt", newline="", encoding=encoding) as stream:
        writer = csv.DictWriter(stream, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


def write_jsonl(path: Path, rows: list[dict[str, Any]] = ROWS, ensure_ascii: bool = False) -> str:
    opener = gzip.open if path.suffix.lower() == ".gz" else open
    with opener(path, "wt", encoding="utf-8") as stream:
        stream.writelines(json.dumps(row, ensure_ascii=ensure_ascii) + "\n" for row in rows)
    return str(path)


def write_parquet(path: Path) -> str:
    datasets.Dataset.from_list(ROWS).to_parquet(str(path))
    return str(path)


def write_folder(path: Path) -> str:
    (path / "more").mkdir(parents=True)
    write_jsonl(path / "more" / "part-1.jsonl", ROWS[1:2])
    write_jsonl(path / "more" / "part-2.jsonl.gz", ROWS[2:])
    write_csv(path / "a.csv", ROWS[:1])
    (path / "README.md").write_text("not data")
    (path / ".hidden.csv").write_text("not data")
    return str(path)


def write_glob(path: Path) -> str:
    path.mkdir()
    write_jsonl(path / "b-2.jsonl", ROWS[1:])
    write_jsonl(path / "b-1.jsonl", ROWS[:1])
    write_jsonl(path / "c.jsonl", ROWS[:1])
    return f"{path}/b-*.jsonl"


def save_dataset(path: Path) -> str:
    datasets.Dataset.from_list(ROWS).save_to_disk(str(path))
    return str(path)


def save_dict(path: Path) -> str:
    datasets.DatasetDict(train=datasets.Dataset.from_list(ROWS)).save_to_disk(str(path))
    return str(path)


def shuffled(_: Path) -> datasets.Dataset:
    return datasets.Dataset.from_list([*reversed(ROWS), ROWS[0]]).select([2, 1, 0]).with_format("numpy")


SOURCES: dict[str, Callable[[Path], Any]] = {
    "rows.csv": write_csv,
    "rows.csv.gz": write_csv,
    "bom.csv": lambda path: write_csv(path, encoding="utf-8-sig"),
    "rows.TSV": lambda path: write_csv(path, delimiter="\t"),
    "rows.jsonl": write_jsonl,
    "rows.json": lambda path: write_jsonl(path, ensure_ascii=True),
    "ROWS.JSONL.GZ": write_jsonl,
    "rows.parquet": write_parquet,
    "folder": write_folder,
    "glob": write_glob,
    "saved dataset": save_dataset,
    "saved dict of one split": save_dict,
    "Path": lambda path: Path(write_jsonl(path.with_suffix(".jsonl"))),
    "list": lambda _: ROWS,
    "Dataset": lambda _: datasets.Dataset.from_list(ROWS),
    "Dataset with indices and a format": shuffled,
    "DatasetDict": lambda _: datasets.DatasetDict(only=datasets.Dataset.from_list(ROWS)),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_every_source_gives_the_same_rows(kind: str, tmp_path: Path) -> None:
    corpus = load_corpus(SOURCES[kind](tmp_path / kind), label_column="label")
    assert corpus.to_list() == ROWS
    assert {feature.dtype for feature in corpus.features.values()} == {"string"}
    assert corpus.format["type"] is None


def test_made_ids_are_positions_whatever_the_source(tmp_path: Path) -> None:
    rows = [{name: value for name, value in row.items() if name != "id"} for row in ROWS]
    folder = tmp_path / "folder"
    folder.mkdir()
    write_jsonl(folder / "2.jsonl", rows[2:])
    write_csv(folder / "1.csv", rows[:2])
    for source in (rows, datasets.Dataset.from_list(rows), write_csv(tmp_path / "a.csv", rows), folder):
        assert load_corpus(source)["id"][:] == ["0", "1", "2"]


def test_a_split_of_a_saved_dict_is_picked(tmp_path: Path) -> None:
    parts = {"train": datasets.Dataset.from_list(ROWS[:2]), "test": datasets.Dataset.from_list(ROWS[2:])}
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "d"))
    assert load_corpus(tmp_path / "d", split="test")["id"][:] == ["r3"]
    with pytest.raises(
        CorpusError, match=r"d: expected a split of it, got None: choose one of \['train', 'test'\]"
    ):
        load_corpus(tmp_path / "d")
    with pytest.raises(CorpusError, match=r"got 'tset': did you mean 'test'\?"):
        load_corpus(tmp_path / "d", split="tset")


def fails(source: Any, **options: Any) -> str:
    with pytest.raises(CorpusError) as caught:
        load_corpus(source, **options)
    return str(caught.value)


def test_split_and_config_of_what_has_none(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv")
    assert (
        fails(path, split="train") == f"{path}: has no split 'train'; leave it out, or name the file you mean"
    )
    assert "has no config 'en'" in fails(path, config="en")
    assert fails(ROWS, split="train").startswith("a list of rows: has no split 'train'")
    assert "has no split 'train'" in fails(datasets.Dataset.from_list(ROWS), split="train")
    assert "has no config 'en'" in fails(save_dataset(tmp_path / "saved"), config="en")


def test_a_path_that_does_not_exist(tmp_path: Path) -> None:
    write_csv(tmp_path / "reviews.csv")
    assert fails(tmp_path / "review.csv").endswith("no such file or folder; did you mean 'reviews.csv'?")
    assert fails(tmp_path / "x" / "y.csv").endswith("x is not a folder with files")


def test_a_hub_id_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    message = fails("somebody/no-such-data")
    assert message.startswith(
        "somebody/no-such-data: no such file or folder, and not a Hub dataset that can be reached ("
    )
    assert message.endswith("; check the path, or the id, network and login")
    assert "\n" not in message


def test_folders_and_globs_without_data(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("x")
    assert "no data file here; expected one or more of .jsonl.gz" in fails(tmp_path)
    assert "no data file here" in fails(f"{tmp_path}/*.csv")
    assert "unknown kind of file" in fails(tmp_path / "notes.md")


def test_a_folder_names_the_file_at_fault(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl")
    (tmp_path / "b.jsonl").write_text('{"id": "r4", "text": "fine"}\n{"id": "r5", "text": " "}\n')
    assert fails(tmp_path).startswith(f"{tmp_path / 'b.jsonl'}, row 2, column 'text': the text is empty")
    (tmp_path / "b.jsonl").write_text("")
    assert fails(tmp_path) == f"{tmp_path / 'b.jsonl'}: there are no rows; expected at least one"


def test_files_whose_columns_do_not_fit_together(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", [{"text": "one", "stars": 1}])
    datasets.Dataset.from_list([{"text": "two", "stars": "2"}]).to_parquet(str(tmp_path / "b.parquet"))
    assert "the rows do not fit together" in fails(tmp_path)
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    write_jsonl(tmp_path / "a.jsonl", [{"text": "one", "stars": 1}])
    write_jsonl(tmp_path / "b.jsonl", [{"text": "two", "more": 2.5}, {"text": "three", "stars": 3}])
    corpus = load_corpus(tmp_path)
    assert corpus["stars"][:] == [1, None, 3]
    assert corpus["more"][:] == [None, 2.5, None]


def test_damaged_folders_and_files(tmp_path: Path) -> None:
    save_dataset(tmp_path / "saved")
    (tmp_path / "saved" / "dataset_info.json").unlink()
    assert "cannot be read as a saved dataset" in fails(tmp_path / "saved")
    (tmp_path / "a.parquet").write_bytes(b"PAR1 not really")
    assert "a.parquet: cannot be read as parquet" in fails(tmp_path / "a.parquet")
    write_csv(tmp_path / "a.csv.gz")
    cut = (tmp_path / "a.csv.gz").read_bytes()[:-12]
    (tmp_path / "a.csv.gz").write_bytes(cut)
    assert "a.csv.gz: cannot be read" in fails(tmp_path / "a.csv.gz")


def test_what_is_not_a_source() -> None:
    assert fails([]) == "list of rows: there are no rows; expected at least one"
    assert fails(datasets.Dataset.from_list([])).endswith("there are no rows; expected at least one")
    assert fails(5).startswith("cannot load a corpus from a int; expected a path, a glob")
    assert "cannot load a corpus from a list_iterator" in fails(iter(ROWS))
    assert fails(["a text"]).startswith("list of rows, row 1: expected a dict of columns, got a str")
    assert fails([{"text": "a", 1: "b"}]).startswith(
        "list of rows, row 1: expected column names that are strings"
    )
