"""The step that begins to ask rows of a corpus."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textlabel.ask import DEFAULT_STRATEGY, load_strategy
from textlabel.audit.store import append, write_json
from textlabel.errors import CorpusError, ExportError, RecipeError, nearest
from textlabel.labeler import DEFAULT_BACKBONE

#: files of a loop's folder
SETTINGS, CORPUS, LABELED, ANSWERS = "loop.json", "corpus", "labeled.jsonl", "answers.jsonl"


@dataclass(frozen=True)
class Start:
    """Begin to ask rows of a corpus.

    Parameters
    ----------
    corpus : rows that may be asked: a csv, tsv, jsonl or parquet file, a folder or glob of them, a saved
        dataset, or a Hub dataset id. Each text is asked once, whatever its case and blanks.
    out : folder for the loop; it must not be there yet.
    classes : their names; by default those of ``labeled``.
    labeled : rows that are labeled already.
    exclude_audit : folder of annotations whose audited rows are never asked.
    strategy : plugin (`textlabel plugins strategy`), or skactiveml:NAME for one of scikit-activeml.
    backbone : whose features tell rows apart: registered name (`textlabel backbones`), local folder, or Hub
        id.
    budget : labels that may be asked in all; 0: as many as there are rows.
    text_column, label_column : columns of corpus and labeled.
    seed : decides everything random.
    cache : look features up in the feature cache (`textlabel cache`), and keep them there.
    """

    corpus: str
    out: str
    classes: tuple[str, ...] = ()
    labeled: str = ""
    exclude_audit: str = ""
    strategy: str = DEFAULT_STRATEGY
    backbone: str = DEFAULT_BACKBONE
    budget: int = 0
    text_column: tuple[str, ...] = ("text",)
    label_column: str = "label"
    seed: int = 0
    cache: bool = True

    def run(self) -> dict[str, Any]:
        """Write the folder, and return how many rows may be asked.

        Raises
        ------
        ExportError : the folder is there already.
        CorpusError : fewer than two classes, or no row that may be asked.
        RecipeError : an unknown strategy, or a negative budget.
        """
        from textlabel.corpus.dedup import text_key
        from textlabel.corpus.load import load_corpus

        folder = Path(self.out)
        if folder.exists():
            raise ExportError(f"{folder} is there already: choose another --out, or go on with what is there")
        load_strategy(self.strategy)
        if self.budget < 0:
            raise RecipeError(f"budget = {self.budget}: expected a number of labels, or 0 for no limit")
        known = self._known()
        names = self.classes or tuple(sorted({row["label"] for row in known}))
        if len(names) < 2 or len(set(names)) < len(names):
            raise CorpusError(f"expected two different classes or more (--classes a,b), got {list(names)}")
        if strange := sorted({row["label"] for row in known} - set(names)):
            raise CorpusError(f"{self.labeled}: label {strange[0]!r}: {nearest(strange[0], names)}")
        rows = load_corpus(self.corpus, text_column=self.text_column)
        taken = {text_key(row["text"]) for row in known} | set(map(text_key, self._audited()))
        first: dict[str, int] = {}
        for number, text in enumerate(rows["text"][:]):
            if (key := text_key(text)) not in taken:
                first.setdefault(key, number)
        if not first:
            raise CorpusError(f"{self.corpus}: no row is left to ask: all are labeled, or of the audit")
        part = folder.with_name(f".{folder.name}.part")
        shutil.rmtree(part, ignore_errors=True)  # of one that was killed
        rows.select(list(first.values())).select_columns(["id", "text"]).save_to_disk(str(part / CORPUS))
        append(part / LABELED, known)
        settings = {name: getattr(self, name) for name in ("strategy", "backbone", "budget", "seed", "cache")}
        write_json(part / SETTINGS, {"format": 1, "classes": list(names), **settings})
        part.replace(folder)
        return {"loop": str(folder), "rows": len(first), "labeled": len(known), "classes": list(names)}

    def _known(self) -> list[dict[str, str]]:
        if not self.labeled:
            return []
        from textlabel.corpus.load import load_corpus

        rows = load_corpus(
            self.labeled, text_column=self.text_column, label_column=self.label_column, label_kind="single"
        )
        return [{"text": row["text"], "label": str(row["label"])} for row in rows]

    def _audited(self) -> set[str]:
        """Return the texts that an audit drew."""
        if not self.exclude_audit:
            return set()
        from textlabel.audit.answers import asked_rows
        from textlabel.audit.seal import open_sealed

        sealed = open_sealed(self.exclude_audit)
        return set(sealed.rows.select(asked_rows(sealed).tolist())["text"][:])
