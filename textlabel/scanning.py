"""What looks like personal data in a corpus that is to be published: counts, masked examples, redaction."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textlabel.corpus.personal_data import KINDS, Found, find, masked, redacted
from textlabel.errors import CorpusError, ExportError

if TYPE_CHECKING:
    from datasets import Dataset

    from textlabel.models.names import People

#: masked examples of each kind that are told
EXAMPLES = 3
#: how a redacted corpus may end
ENDINGS = (".csv", ".jsonl", ".parquet")
#: rows looked at in one go
ROWS = 10_000


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
    text_column : column that holds the text; several are joined. Other columns of text are looked at, too.
    """

    corpus: str
    redact: str = ""
    names: str = ""
    text_column: tuple[str, ...] = ("text",)

    def run(self) -> dict[str, Any]:
        """Return counts of rows and masked examples by kind; write the redacted corpus if it is asked for.

        Raises
        ------
        ExportError : the redacted corpus cannot be written there.
        BackboneError : the model of names cannot be had, or marks none.
        """
        from textlabel.corpus.load import load_corpus

        if self.redact:
            _check_out(Path(self.redact))
        people = self._people()
        rows = load_corpus(self.corpus, text_column=self.text_column)
        told = scan(rows, people)
        if self.redact:
            _write(without_personal_data(rows, people), Path(self.redact))
        return {**told, "redacted": self.redact or None}

    def _people(self) -> People | None:
        if not self.names:
            return None
        from textlabel.models.names import People

        return People(self.names)


def scan(rows: Dataset, people: People | None = None) -> dict[str, Any]:
    """Return in how many rows of a dataset each kind of personal data is found, with masked examples.

    ``rows``, ``rows_with_any``, ``rows_with``: {kind: rows}, ``examples``: {kind: masked}. With ``people``
    (`textlabel.models.names.People`) ``name`` is a kind, too.
    """
    kinds_ = (*KINDS, *(("name",) if people else ()))
    counts, examples, any_ = dict.fromkeys(kinds_, 0), {kind: dict[str, None]() for kind in kinds_}, 0
    for texts in _by_row(rows, people):
        kinds = set()
        for text, found in texts:
            for one in found:
                kinds.add(one.kind)
                if len(examples[one.kind]) < EXAMPLES:
                    examples[one.kind][masked(text[one.start : one.end])] = None
        any_ += bool(kinds)
        for kind in kinds:
            counts[kind] += 1
    return {
        "rows": len(rows),
        "rows_with_any": any_,
        "rows_with": counts,
        "examples": {kind: list(found) for kind, found in examples.items() if found},
    }


def without_personal_data(rows: Dataset, people: People | None = None) -> Dataset:
    """Return a dataset with its columns of text redacted, but for ``id``; with ``people`` names, too."""
    names = text_columns(rows)

    def change(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return {name: _redacted(batch[name], people) for name in names}

    if not names:
        return rows
    # a name of its own, for what is made with a model cannot be named by its content
    return rows.map(change, batched=True, batch_size=ROWS, new_fingerprint=uuid.uuid4().hex)


def _redacted(values: Sequence[str | None], people: People | None) -> list[str | None]:
    there = [value for value in values if value]
    clean = iter([redacted(text, found) for text, found in zip(there, _find(there, people), strict=True)])
    return [next(clean) if value else value for value in values]


def _find(texts: Sequence[str], people: People | None) -> list[list[Found]]:
    """Return what is found in each text; where a name overlaps with something of another kind that stays."""
    known = [find(text) for text in texts]
    if people is None:
        return known
    return [
        [*first, *(one for one in more if all(one.end <= o.start or o.end <= one.start for o in first))]
        for first, more in zip(known, people.find(texts), strict=True)
    ]


def text_columns(rows: Dataset) -> list[str]:
    """Return the columns of text in which personal data are looked for: all but ``id``."""
    kinds = {name: getattr(feature, "dtype", "") for name, feature in rows.features.items()}
    return [name for name, kind in kinds.items() if kind in ("string", "large_string") and name != "id"]


def _by_row(rows: Dataset, people: People | None = None) -> Iterator[Sequence[tuple[str, list[Found]]]]:
    """Yield the texts of each row, with what is found in them."""
    names = text_columns(rows)
    for batch in rows.select_columns(names).iter(batch_size=ROWS) if names else ():
        texts = [[value for value in values if value] for values in zip(*batch.values(), strict=True)]
        found = iter(_find([text for row in texts for text in row], people))
        for row in texts:
            yield [(text, next(found)) for text in row]


def refuse_personal_data(rows: Dataset, share: float, where: str) -> None:
    """Raise an `ExportError` where more than ``share`` of the rows seem to hold personal data.

    Raises
    ------
    CorpusError : ``share`` is no share.
    """
    if not 0 <= share <= 1:
        raise CorpusError(f"the share of rows that may hold personal data is between 0 and 1, got {share}")
    if share == 1:
        return
    told = scan(rows)
    if told["rows_with_any"] <= share * len(rows):
        return
    kinds = ", ".join(f"{kind} in {count}" for kind, count in told["rows_with"].items() if count)
    shown = ", ".join(example for found in told["examples"].values() for example in found)
    raise ExportError(
        f"{told['rows_with_any']} of {len(rows)} rows seem to hold personal data ({kinds}; such as {shown}), "
        f"so nothing was sent to {where}: look with `textlabel scan`, take them out with its --redact, or "
        "allow them (--allow-personal-data SHARE)"
    )


def _check_out(path: Path) -> None:
    if path.suffix.lower() not in ENDINGS:
        raise ExportError(f"{path}: expected a file that ends in {', '.join(ENDINGS)}")
    if path.exists():
        raise ExportError(f"{path} is there already: choose another --redact")


def _write(rows: Dataset, path: Path) -> None:
    write = {".csv": rows.to_csv, ".jsonl": rows.to_json, ".parquet": rows.to_parquet}[path.suffix.lower()]
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(str(part), **({"force_ascii": False} if path.suffix.lower() == ".jsonl" else {}))
        part.replace(path)
    except OSError as error:
        raise ExportError(f"{path}: cannot be written ({error})") from None
