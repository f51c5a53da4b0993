"""No labels anywhere: texts of a corpus in groups, which a person can name, edit and train with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from textlabel.errors import CorpusError, ExportError, RecipeError
from textlabel.labeler import DEFAULT_BACKBONE
from textlabel.progress import bar
from textlabel.trust.cluster_terms import cluster_terms
from textlabel.trust.clusters import (
    LEAST_ROWS,
    ROWS_A_CLUSTER,
    Space,
    Stability,
    central,
    different,
    k_means,
    most_stable,
    nearest_center,
    numbers_to_try,
    stability,
)
from textlabel.types import FloatArray, IntArray, LabelSchema, Summary

if TYPE_CHECKING:
    from datasets import Dataset

    from textlabel.corpus.check import OnBadRow

Encode = Callable[[Sequence[str]], FloatArray]

#: clusters that are tried at most where their number is not given
MOST = 30
#: different texts, drawn at random, that clusters are made of; all rows are then assigned to them
ROWS = 10_000
#: of the file
COLUMNS = ("id", "text", "cluster", "name", "distance", "central")
#: terms that name a cluster, and what is between them
NAMING, BETWEEN = 3, "/"
#: texts of a cluster that are shown
SHOWN = 2


@dataclass(frozen=True)
class Group:
    """One cluster.

    Parameters
    ----------
    cluster : its number, from 1, the largest first.
    name : the nearest of the names that were proposed, else its first terms.
    rows, share : how many rows it has, and which share of all.
    terms : what its texts have and others lack, the most telling first.
    nearest : the nearest of the names that were proposed; empty where none were.
    score : mean probability of that name over its texts, in [0, 1], as `textlabel.engine.label_names` has it:
        not calibrated; None where no names were proposed.
    texts : the two different texts that are nearest to its center.
    """

    cluster: int
    name: str
    rows: int
    share: float
    terms: tuple[str, ...]
    nearest: str
    score: float | None
    texts: tuple[str, ...]


@dataclass(frozen=True)
class Grouping:
    """All clusters, and which of them each row is in.

    Parameters
    ----------
    groups : the clusters.
    number : (n,) the cluster of each row, from 1.
    distance : (n,) from the cluster's center, of texts' features of unit length: within [0, 2].
    central : (n,) whether a row is in the nearer half of its cluster.
    tried : how stable each number of clusters is; empty where the number was given.
    """

    groups: tuple[Group, ...]
    number: npt.NDArray[np.int64]
    distance: npt.NDArray[np.float64]
    central: npt.NDArray[np.bool_]
    tried: tuple[Stability, ...]


@dataclass(frozen=True)
class TextClusters:
    """Group the texts of a corpus where there is no label yet.

    Parameters
    ----------
    corpus : texts: a csv, tsv, jsonl or parquet file, a folder or glob of them, a saved dataset, or a Hub
        dataset id.
    out : file for all rows with their cluster, .csv, .jsonl or .parquet; none is replaced.
    clusters : how many; 0: the most that random halves of the texts agree on.
    max_clusters : where that decides, the most that are tried.
    names : labels that a person thinks of, two or more: each cluster is told the nearest.
    backbone : whose features are compared: registered name (`textlabel backbones`), local folder, or Hub id.
    text_column : column that holds the text; several are joined.
    id_column : column that names the row; by default `id` if there is one, else its position.
    split : split of a Hub dataset or of a saved `DatasetDict`.
    config : configuration of a Hub dataset.
    seed : decides starts, halves and the rows that are looked at.
    cache : look features up in the feature cache (`textlabel cache`), and keep them there.
    on_bad_row : fail stops at the first unusable row, skip leaves such rows out.
    reject_file : with skip, JSON lines of the rows left out.
    """

    corpus: str
    out: str = ""
    clusters: int = 0
    max_clusters: int = MOST
    names: tuple[str, ...] = ()
    backbone: str = DEFAULT_BACKBONE
    text_column: tuple[str, ...] = ("text",)
    id_column: str = ""
    split: str = ""
    config: str = ""
    seed: int = 0
    cache: bool = True
    on_bad_row: str = "fail"
    reject_file: str = ""

    def run(self) -> Summary:
        """Write the rows, if there is a file to write, and return what there is to tell.

        Raises
        ------
        RecipeError : fewer than two clusters wanted, or names that are none.
        ExportError : the file cannot be written there.
        CorpusError : rows that cannot be used, or fewer different texts than two a cluster.
        """
        self._check()
        rows = self._rows()
        found = self.group(rows["text"][:])
        told: Summary = {"rows": len(rows), "clusters": len(found.groups), **_choice(found)}
        told["groups"] = [_told(one) for one in found.groups]
        told["features"] = self.backbone
        if self.out:
            _write(Path(self.out), rows, found)
            told["out"] = self.out
        return told

    def group(self, texts: Sequence[str]) -> Grouping:
        """Return the clusters of texts.

        Raises
        ------
        CorpusError : fewer different texts than two a cluster.
        """
        from textlabel.corpus.dedup import groups

        # a text that is there a hundred times must not be a cluster for that
        once = np.unique(groups(texts), return_index=True)[1]
        self._require_texts(len(once))
        kept = np.sort(np.random.default_rng(self.seed).permutation(once)[:ROWS])
        encode = _encoder(self.backbone, self.cache)
        features = encode(texts)
        space = Space.of(features[kept])
        known = space.rows(features[kept])
        tried = () if self.clusters else tuple(self._tried(known))
        count = self.clusters or most_stable(tried).clusters
        number, distance = nearest_center(space.rows(features), k_means(known, count, self.seed))
        number = _largest_first(number, count)
        terms = cluster_terms([texts[i] for i in kept], number[kept], count)
        scores = self._scores(encode, features[kept], number[kept], count) if self.names else None
        told = _groups(texts, number, distance, terms, self.names, scores)
        return Grouping(told, number + 1, distance, central(number, distance), tried)

    def _check(self) -> None:
        """Refuse what makes no sense before a text is read."""
        if self.clusters < 0 or self.clusters == 1:
            raise RecipeError(
                f"clusters = {self.clusters}: expected 2 or more, or 0 for as many as are stable"
            )
        if self.max_clusters < 2:
            raise RecipeError(f"max_clusters = {self.max_clusters}: expected 2 or more")
        if blank := [name for name in self.names if not name.strip()]:
            raise RecipeError(f"names: {blank[0]!r} is no name; expected words, such as refund, card lost")
        if len(self.names) == 1:
            raise RecipeError(
                f"names: only {self.names[0]!r}; expected two or more to choose the nearest from"
            )
        if twice := [name for name, count in Counter(self.names).items() if count > 1]:
            raise RecipeError(f"names: {twice[0]!r} is there twice; expected different names")
        if self.out:
            _check_out(self.out)

    def _require_texts(self, different_texts: int) -> None:
        if different_texts < 2 * self.clusters:
            raise CorpusError(
                f"{self.corpus}: {different_texts} different texts; expected {2 * self.clusters} or more for "
                f"{self.clusters} clusters"
            )
        if not self.clusters and different_texts < LEAST_ROWS:
            raise CorpusError(
                f"{self.corpus}: {different_texts} different texts; expected {LEAST_ROWS} or more to see how "
                "many clusters there are: give more texts, or the number of clusters"
            )

    def _tried(self, rows: npt.NDArray[np.float64]) -> list[Stability]:
        """Return how stable numbers of clusters are, as many as the rows allow."""
        most = min(self.max_clusters, len(different(rows)) // ROWS_A_CLUSTER)
        with bar("halve rows", "split") as update:
            return stability(rows, numbers_to_try(max(most, 2)), self.seed, progress=update)

    def _scores(self, encode: Encode, features: FloatArray, number: IntArray, count: int) -> FloatArray:
        """Return the mean probability of each proposed name (k, names) over the texts of each cluster."""
        from textlabel.engine.label_names import head_of_names
        from textlabel.models.class_names import by_template, sentences
        from textlabel.trust.calibration import softmax

        read = encode(sentences(LabelSchema("single", self.names).in_words()))
        head = head_of_names(by_template(read), features)
        of = np.eye(count)[number]
        return np.asarray(of.T @ softmax(head(features)) / np.maximum(of.sum(axis=0), 1)[:, None])

    def _rows(self) -> Dataset:
        from textlabel.corpus.load import load_corpus

        return load_corpus(
            self.corpus,
            text_column=self.text_column,
            id_column=self.id_column or None,
            split=self.split or None,
            config=self.config or None,
            on_bad_row=cast("OnBadRow", self.on_bad_row),  # checked there
            reject_file=self.reject_file or None,
        )


def _encoder(backbone: str, cache: bool) -> Encode:
    from textlabel.engine.feature_cache import cache_folder
    from textlabel.engine.predict import predict
    from textlabel.models.backbone import load_backbone
    from textlabel.models.classifier import Classifier

    classifier = Classifier(load_backbone(backbone), LabelSchema("score")).eval()

    def encode(texts: Sequence[str]) -> FloatArray:
        with bar("encode rows") as update:
            return predict(classifier, texts, cache=cache_folder(cache), progress=update)[1]

    return encode


def _largest_first(number: IntArray, count: int) -> npt.NDArray[np.int64]:
    """Return the clusters (n,) numbered by their size."""
    rank = np.empty(count, dtype=np.int64)
    rank[np.argsort(-np.bincount(number, minlength=count), kind="stable")] = np.arange(count)
    return rank[number]


def _groups(
    texts: Sequence[str],
    number: IntArray,
    distance: FloatArray,
    terms: Sequence[Sequence[str]],
    names: Sequence[str],
    scores: FloatArray | None,
) -> tuple[Group, ...]:
    """Return what there is to tell of each cluster, the first being 0 in ``number``."""
    found: list[Group] = []
    for i, own in enumerate(terms):
        rows = np.flatnonzero(number == i)
        nearest = "" if scores is None else names[int(scores[i].argmax())]
        name = nearest or BETWEEN.join(own[:NAMING]) or f"cluster {i + 1}"
        if not nearest and name in {one.name for one in found}:
            name = f"{name} {i + 1}"  # two labels of one name would be one
        in_order = (texts[row] for row in rows[np.argsort(distance[rows], kind="stable")])
        shown = tuple(dict.fromkeys(in_order))[:SHOWN]
        score = None if scores is None else float(scores[i].max())
        found.append(Group(i + 1, name, len(rows), len(rows) / len(texts), tuple(own), nearest, score, shown))
    return tuple(found)


def _told(one: Group) -> Summary:
    """Return a cluster as JSON; what needs proposed names is left out where there are none."""
    told = asdict(one) | {"share": round(one.share, 4), "terms": list(one.terms), "texts": list(one.texts)}
    if one.score is None:
        del told["nearest"], told["score"]
    else:
        told["score"] = round(one.score, 4)
    return told


def _choice(found: Grouping) -> Summary:
    """Return how the number of clusters came about; nothing where it was given."""
    if not found.tried:
        return {}
    tried = [
        {"clusters": one.clusters}
        | {key: round(getattr(one, key), 4) for key in ("agreement", "without", "gain", "standard_error")}
        for one in found.tried
    ]
    return {"verdict": most_stable(found.tried).verdict, "stability": tried}


def _check_out(out: str) -> None:
    """Raise an `ExportError` if rows cannot be written there."""
    from textlabel.audit.draws import check_sheet
    from textlabel.corpus.remote import is_url, shown

    if is_url(out):
        raise ExportError(f"{shown(out)} is a URL; expected a path on this machine: copy it there afterwards")
    path = Path(out)
    if path.suffix.lower() not in (".csv", ".jsonl", ".parquet"):
        raise ExportError(f"{path}: expected a file that ends in .csv, .jsonl or .parquet")
    if path.suffix.lower() != ".parquet":
        check_sheet(path)
    elif path.exists():
        raise ExportError(f"{path} is there already, perhaps edited: choose another --out")


def _write(path: Path, rows: Dataset, found: Grouping) -> None:
    """Write each row with its cluster, in the order of the corpus."""
    from textlabel.audit.draws import write_sheet

    names = [one.name for one in found.groups]
    columns = (
        rows["id"][:],
        rows["text"][:],
        found.number.tolist(),
        [names[number - 1] for number in found.number.tolist()],
        found.distance.round(4).tolist(),
        found.central.tolist(),
    )
    if path.suffix.lower() == ".parquet":
        _write_parquet(path, dict(zip(COLUMNS, columns, strict=True)))
    else:
        lines = [dict(zip(COLUMNS, row, strict=True)) for row in zip(*columns, strict=True)]
        write_sheet(path, lines, COLUMNS)


def _write_parquet(path: Path, columns: dict[str, list[Any]]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(pa.table(columns), path)
    except OSError as error:
        raise ExportError(f"{path}: cannot be written ({error})") from None
