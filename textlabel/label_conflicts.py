"""Labels that contradict each other: one text, or nearly one, and different labels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from textlabel.errors import RecipeError

if TYPE_CHECKING:
    from datasets import Dataset

    from textlabel.corpus.check import OnBadRow
    from textlabel.types import LabelKind

#: of the list
COLUMNS = ("group", "kind", "similarity", "id", "text", "label")
SAME, NEAR = "same text", "near duplicate"


@dataclass(frozen=True)
class Conflict:
    """Rows whose texts are the same, or near, and whose labels differ.

    Parameters
    ----------
    kind : "same text" (but for case and white space), or "near duplicate".
    similarity : Jaccard index of the texts' character 5-grams; 1 for the same text.
    rows : row numbers, ascending.
    """

    kind: str
    similarity: float
    rows: tuple[int, ...]


def conflicts(texts: Sequence[str], labels: Sequence[Hashable], at_least: float = 0.8) -> list[Conflict]:
    """Return where labels contradict each other: same texts first, then pairs of near ones, nearest first.

    Two near texts are listed if they have no label in common, with all rows that have these texts.

    Examples
    --------
    >>> conflicts(["Fine", "ok", "fine"], ["good", "good", "bad"])
    [Conflict(kind='same text', similarity=1.0, rows=(0, 2))]
    """
    from textlabel.corpus.dedup import contradictions, groups
    from textlabel.corpus.near import near_pairs

    if not 0 < at_least <= 1:
        raise RecipeError(f"near = {at_least}: expected a share of 5-grams in (0, 1], such as 0.8")
    rows: defaultdict[int, list[int]] = defaultdict(list)
    for row, group in enumerate(groups(texts).tolist()):
        rows[group].append(row)
    said = {group: {labels[row] for row in found} for group, found in rows.items()}
    firsts = [texts[rows[group][0]] for group in range(len(rows))]
    pairs = near_pairs(firsts, at_least, lambda i, j: said[i].isdisjoint(said[j]))
    same = [Conflict(SAME, 1.0, found) for found in contradictions(texts, labels)]
    return same + [Conflict(NEAR, near, tuple(sorted(rows[i] + rows[j]))) for i, j, near in pairs]


@dataclass(frozen=True)
class Conflicts:
    """List the rows whose labels contradict each other.

    Parameters
    ----------
    labeled : labeled rows: a csv, tsv, jsonl or parquet file, a folder or glob of them, a saved dataset, or a
        Hub dataset id; in Python a `datasets.Dataset`, too.
    out : file for the list, .csv or .jsonl; none is replaced.
    near : how near two texts are to be compared, as the share of their character 5-grams that both have.
    label_kind : single (one class a row) or multi (several, joined by | in files).
    text_column : column that holds the text; several are joined.
    label_column : column that holds the label.
    id_column : column that names the row; by default `id` if there is one, else its position.
    on_bad_row : fail stops at the first unusable row, skip leaves such rows out.
    """

    labeled: str | Dataset
    out: str
    near: float = 0.8
    label_kind: str = "single"
    text_column: tuple[str, ...] = ("text",)
    label_column: str = "label"
    id_column: str = ""
    on_bad_row: str = "fail"

    def run(self) -> dict[str, Any]:
        """Write the list and return what there is to tell.

        Raises
        ------
        RecipeError : scores, or ``near`` is no share.
        ExportError : the list cannot be written there.
        CorpusError : rows that cannot be used.
        """
        from textlabel.audit.draws import check_sheet, write_sheet
        from textlabel.audit.subsets import as_word
        from textlabel.corpus.load import load_corpus

        if self.label_kind == "score":
            raise RecipeError("label_kind = 'score': scores differ by degrees; expected 'single' or 'multi'")
        check_sheet(Path(self.out))
        rows = load_corpus(
            self.labeled,
            text_column=self.text_column,
            label_column=self.label_column,
            label_kind=cast("LabelKind", self.label_kind),  # checked there
            label_separator="|" if self.label_kind == "multi" else None,
            id_column=self.id_column or None,
            on_bad_row=cast("OnBadRow", self.on_bad_row),
        )
        ids, texts, labels = rows["id"][:], rows["text"][:], rows["label"][:]
        if self.label_kind == "multi":
            labels = [as_word(sorted(names)) for names in labels]
        found = conflicts(texts, labels, self.near)
        listed = [
            {
                "group": number,
                "kind": one.kind,
                "similarity": one.similarity,
                "id": ids[row],
                "text": texts[row],
                "label": labels[row],
            }
            for number, one in enumerate(found, 1)
            for row in one.rows
        ]
        write_sheet(Path(self.out), listed, COLUMNS)
        same = [one for one in found if one.kind == SAME]
        return {
            "rows": len(rows),
            "contradictions": len(same),
            "near_duplicates": len(found) - len(same),
            "rows_listed": len({row for one in found for row in one.rows}),
            "out": self.out,
        }
