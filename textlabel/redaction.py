"""The step scan: personal data in a corpus of any kind, and the corpus without them."""

from __future__ import annotations

import csv
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textlabel.corpus.remote import is_url
from textlabel.errors import ExportError
from textlabel.scanning import scan, without_personal_data

if TYPE_CHECKING:
    from datasets import Dataset

    from textlabel.models.names import People


@dataclass(frozen=True)
class Scan:
    """Look for personal data in a corpus.

    Parameters
    ----------
    corpus : a csv, tsv, jsonl or parquet file, a folder or glob of them, a saved dataset such as an annotated
        one, or a Hub dataset id.
    redact : file (.csv, .jsonl or .parquet) for the corpus with [EMAIL], [PHONE] and so on in place of what
        was found; none is replaced. Empty: none is written.
    names : token-classification model, a folder or Hub id, that marks names of people, such as one with
        labels B-PER and I-PER; they are [NAME] in the redacted corpus. How many it finds is up to that
        model. Empty: names are not looked for.
    """

    corpus: str
    redact: str = ""
    names: str = ""

    def run(self) -> dict[str, Any]:
        """Return counts of rows and masked examples by kind; write the redacted corpus if it is asked for.

        Raises
        ------
        CorpusError : the corpus cannot be read.
        ExportError : the redacted corpus cannot be written there.
        BackboneError : the model of names cannot be had, or marks none.
        """
        if self.redact:
            _check_out(Path(self.redact))
        people = self._people()
        rows = as_they_are(self.corpus)
        told = scan(rows, people)
        if self.redact:
            _write(without_personal_data(rows, people), Path(self.redact))
        return {**told, "redacted": self.redact or None}

    def _people(self) -> People | None:
        if not self.names:
            return None
        from textlabel.models.names import People

        return People(self.names)


def as_they_are(corpus: str) -> Dataset:
    """Return rows with their own columns: they need no text, no label and no id of their own to be looked at.

    Raises
    ------
    CorpusError : the corpus cannot be read.
    """
    from datasets import Dataset, Features

    from textlabel.corpus.check import Rejects
    from textlabel.corpus.sources import read_source
    from textlabel.export._folder import RECORD
    from textlabel.export._read import read_annotations

    if not is_url(corpus) and (Path(corpus).expanduser() / RECORD).is_file():
        return read_annotations(corpus)
    rows = read_source(corpus, None, None, {}, Rejects("fail"))
    return Dataset(rows.table, fingerprint=uuid.uuid4().hex).cast(Features(rows.features))


def _check_out(path: Path) -> None:
    if path.suffix.lower() not in _WRITE:
        raise ExportError(f"{path}: expected a file that ends in {', '.join(_WRITE)}")
    if path.exists():
        raise ExportError(f"{path} is there already: choose another --redact")


def _write(rows: Dataset, path: Path) -> None:
    """Write rows as files hold them: classes by name, lists in a csv as JSON."""
    from textlabel.export._text import plain

    convert = {name: plain(feature, name) for name, feature in rows.features.items()}
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = ({name: convert[name](row[name]) for name in convert} for row in rows)
        _WRITE[path.suffix.lower()](lines, list(convert), part)
        part.replace(path)
    except OSError as error:
        raise ExportError(f"{path}: cannot be written ({error})") from None


def _write_csv(rows: Iterator[dict[str, Any]], names: list[str], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        for row in rows:
            held = (row[name] for name in names)
            writer.writerow(
                [json.dumps(v, ensure_ascii=False) if isinstance(v, list | dict) else v for v in held]
            )


def _write_jsonl(rows: Iterator[dict[str, Any]], names: list[str], path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _write_parquet(rows: Iterator[dict[str, Any]], names: list[str], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(list(rows)), path)


#: how a redacted corpus may end
_WRITE = {".csv": _write_csv, ".jsonl": _write_jsonl, ".parquet": _write_parquet}
