"""How far the people who labeled agree: in all, by class, by pair of them, and where they differ."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from textlabel.errors import AuditError
from textlabel.trust.agreement import Kind, agreement, disagreement, limits

UNNAMED = "(unnamed)"
ALPHA = 0.05


@dataclass(frozen=True)
class Answered:
    """What reviewers said.

    Parameters
    ----------
    ids, texts : of the n texts.
    reviewers : r names.
    table : (n, r) class (several: joined by ``|``) or number; None where a reviewer did not decide.
    kind : single, multi or score.
    """

    ids: list[str]
    texts: list[str]
    reviewers: list[str]
    table: npt.NDArray[Any]
    kind: str


@dataclass(frozen=True)
class ReviewerAgreement:
    """Tell how far reviewers agree.

    Parameters
    ----------
    source : folder that `annotate` wrote, with answers imported; with `tool`, a file that it exported.
    tool : label_studio, argilla, doccano or prodigy.
    kind : of a tool's answers: single, multi or score; by default what they look like. Some tools hold scores
        as text, which look like classes.
    text_column, label_column : what the tool's project calls text and label.
    out : file for the texts on which reviewers differ, .csv or .jsonl, the most divided first; none is
        replaced.
    seed : decides the bootstrap of the intervals.
    """

    source: str
    tool: str = ""
    out: str = ""
    seed: int = 0
    kind: str = ""
    text_column: str = "text"
    label_column: str = "label"

    def run(self) -> dict[str, Any]:
        """Write the list, if one is wanted, and return what there is to tell.

        Intervals are of 95 %: bootstrap over texts for alpha and for percent agreement of all, exact
        (Clopper and Pearson) for percent agreement of a pair. A value that is not defined is None: alpha is
        not where all answers are the same.

        Raises
        ------
        AuditError : fewer than two reviewers.
        ExportError : the file is not the tool's, or the list cannot be written.
        """
        from textlabel.audit.draws import check_sheet, write_sheet

        if self.out:
            check_sheet(Path(self.out))
        said = self.answered()
        if len(said.reviewers) < 2:
            raise AuditError(
                f"{self.source}: answers of {said.reviewers or 'nobody'}; expected two reviewers or more "
                "(import each person's answers with --reviewer NAME)"
            )
        kind: Kind = "interval" if said.kind == "score" else "nominal"
        codes = _codes(said.table, kind)
        apart = disagreement(codes, kind)
        differ = [i for i in np.argsort(-np.nan_to_num(apart), kind="stable").tolist() if apart[i] > 0]
        if self.out:
            columns = ["id", "text", "disagreement", *said.reviewers]
            write_sheet(Path(self.out), [_listed(said, i, apart[i]) for i in differ], columns)
        whole = agreement(codes, kind)
        return {
            "texts": whole.answered,
            "by_several": whole.rows,
            "differ": len(differ),
            **({"tied": whole.tied} if kind == "nominal" else {}),
            **self._told(codes, kind),
            "classes": self._classes(said) if kind == "nominal" else [],
            "pairs": self._pairs(said.reviewers, codes, kind),
            "out": self.out or None,
        }

    def answered(self) -> Answered:
        """Return what reviewers said; an error as of `run`."""
        if not self.tool:
            return _of_folder(self.source)
        columns = {"text_column": self.text_column, "label_column": self.label_column}
        return _of_file(self.source, self.tool, kind=self.kind, **columns)

    def _told(self, codes: npt.NDArray[Any], kind: Kind) -> dict[str, Any]:
        found, around = agreement(codes, kind), limits(codes, kind, 1 - ALPHA, seed=self.seed)
        return {
            "same": _number(found.same),
            "same_limits": [_number(limit) for limit in around.same],
            "alpha": _number(found.alpha),
            "alpha_limits": [_number(limit) for limit in around.alpha],
        }

    def _classes(self, said: Answered) -> list[dict[str, Any]]:
        """Return agreement on each class against all others, the class that they agree least on first."""
        split = (lambda word: word.split("|")) if said.kind == "multi" else (lambda word: [word])
        sets = [[None if word is None else set(split(word)) for word in row] for row in said.table]
        names = sorted({name for row in sets for held in row if held for name in held})
        found = []
        for name in names:
            codes = np.array([[-1 if held is None else int(name in held) for held in row] for row in sets])
            told = self._told(codes, "nominal")
            found.append({"class": name, "answers": int((codes == 1).sum()), **told})
        return sorted(found, key=lambda one: math.inf if one["alpha"] is None else one["alpha"])

    def _pairs(self, names: list[str], codes: npt.NDArray[Any], kind: Kind) -> list[dict[str, Any]]:
        """Return agreement of each two reviewers who answered a text in common, the least first."""
        from textlabel.trust.exact import binomial_limits

        found = []
        for i, j in combinations(range(len(names)), 2):
            two = codes[:, [i, j]]
            told = agreement(two, kind)
            if not told.rows:
                continue
            low, high = binomial_limits(round(told.same * told.rows), told.rows, ALPHA)
            around = limits(two, kind, 1 - ALPHA, seed=self.seed)
            pair = {"reviewers": [names[i], names[j]], "texts": told.rows, "same": _number(told.same)}
            pair["same_limits"] = [_number(float(low)), _number(float(high))]
            pair["alpha"] = _number(told.alpha)
            pair["alpha_limits"] = [_number(limit) for limit in around.alpha]
            found.append(pair)
        return sorted(found, key=lambda one: one["same"])


def _of_folder(folder: str) -> Answered:
    """Return the answers in a folder of annotations."""
    from textlabel.audit.answers import every_answer
    from textlabel.audit.seal import open_sealed

    sealed = open_sealed(folder)
    gold = every_answer(sealed)
    rows = sealed.rows.select(gold.table_rows)
    names = [name or UNNAMED for name in gold.reviewers]
    if sealed.names:
        words = np.array([*sealed.names, None], dtype=object)
        table = words[gold.table]  # -1, no answer, is the last
    else:
        table = gold.table.astype(object)
        table[np.isnan(gold.table)] = None
    kind = "multi" if sealed.several else "single" if sealed.names else "score"
    return Answered(rows["id"][:], rows["text"][:], names, table, kind)


def _of_file(path: str, tool: str, **reading: str) -> Answered:
    """Return the answers in a file that a labeling tool exported."""
    from textlabel.exchange import FromTool

    step = FromTool(path, tool, **reading)
    texts, kind = step.given()
    names = list(dict.fromkeys(one.reviewer for given in texts for one in given if one.labels is not None))
    place = {name: i for i, name in enumerate(names)}
    table = np.full((len(texts), len(names)), None, dtype=object)
    for row, given in enumerate(texts):
        for one in given:
            word = step.word(one, kind)
            if word is not None:
                table[row, place[one.reviewer]] = float(word) if kind == "score" else word
    ids = [str(given[0].keys.get("id", row)) for row, given in enumerate(texts)]
    named = [name or UNNAMED for name in names]
    return Answered(ids, [given[0].text for given in texts], named, table, kind)


def _codes(table: npt.NDArray[Any], kind: Kind) -> npt.NDArray[Any]:
    """Return answers as `textlabel.trust.agreement` takes them."""
    if kind == "interval":
        return np.where(table == None, np.nan, table).astype(np.float64)  # noqa: E711 - by element
    numbers: dict[Any, int] = {}
    codes = [
        [-1 if word is None else numbers.setdefault(word, len(numbers)) for word in row] for row in table
    ]
    return np.array(codes, dtype=np.int64).reshape(table.shape)


def _listed(said: Answered, row: int, apart: float) -> dict[str, Any]:
    answers = dict(zip(said.reviewers, said.table[row].tolist(), strict=True))
    return {"id": said.ids[row], "text": said.texts[row], "disagreement": _number(apart), **answers}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(float(value), 4)
