"""The report itself: what is compared, in which order, and what the numbers promise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textlabel.errors import CorpusError, RecipeError
from textlabel.labeler import DEFAULT_BACKBONE
from textlabel.recipe import Recipe
from textlabel.transfer.corpora import Corpora, read_corpora
from textlabel.transfer.parts import parts_of, refuse_parts
from textlabel.transfer.variants import FROZEN, SOURCE_ONLY, WITHOUT, Maker, Variant
from textlabel.transfer.verdicts import slices_of, table_of
from textlabel.types import Summary

#: slices of the gold rows at most: more are rows, not slices
MOST_SLICES = 50

WITH_GOLD = (
    "Gold rows only score what is learned from the source: they train, calibrate and choose nothing. "
    "Only `target only` learns from them, each row judged by a model of other folds.",
    "Accuracies have 95 % Clopper-Pearson intervals, each by itself. Differences are paired and exact, and "
    "all intervals of one table (variants, slices or parts) hold together with 95 % (Bonferroni), if gold "
    "rows were drawn at random from the target. For `target only`, whose models learned from these rows, "
    "they are approximate.",
)
ALWAYS = "Estimates without labels promise nothing: their spread is that of several methods."


@dataclass(frozen=True)
class Transfer:
    """Lay ways from labels of a source to labels of a target side by side, and say where transfer hurts.

    Accuracies on gold rows have 95 % Clopper-Pearson intervals, each by itself. Differences to the source
    alone are paired and exact (`textlabel.trust.paired`); the intervals of all differences of one table hold
    together with probability 95 % or more (Bonferroni), if the gold rows were drawn at random from the
    target. A verdict is made of these. For `target only`, whose models learned from other gold rows, they are
    approximate.

    Parameters
    ----------
    source : labeled rows: a csv, tsv, jsonl or parquet file, a folder or glob of them, a saved dataset, or a
        Hub dataset id.
    unlabeled : texts of the target; labels in it are not read.
    gold : labeled rows of the target, drawn at random, which score and never train, calibrate or choose what
        is learned from the source. They may be among the target's texts. Those whose text is in the source
        are left out.
    recipes : that read the target's texts, each a variant: shipped names (`textlabel recipes`) or paths of
        TOML files. shot and tent go on from the model of the source alone.
    backbone : registered name (`textlabel backbones`), local folder, or Hub id.
    class_shares : share of each class in the target, if you know them, as positive=.6,negative=.4 or
        "labeled": a variant more, the first recipe's model corrected for them.
    by : column of the gold rows: errors, and rows accepted, for each of its values.
    source_by : column of the source: what each of its values is worth, with a head of it alone and one of all
        others; 12 at most.
    text_column : column that holds the text, in all of them; several are joined.
    label_column : column that holds the label, in source and gold.
    budget : time in which recipe auto may try recipes that train the backbone; 0: none of them.
    cache : look features up in the feature cache (`textlabel cache`), and keep them there.
    on_bad_row : fail stops at the first unusable row of any corpus, skip leaves such rows out.
    seed : decides folds, order, dropout and new weights.
    """

    source: Any
    unlabeled: Any
    gold: Any = ""
    recipes: tuple[str, ...] = ("auto",)
    backbone: str | Path = DEFAULT_BACKBONE
    class_shares: str = ""
    by: str = ""
    source_by: str = ""
    text_column: tuple[str, ...] = ("text",)
    label_column: str = "label"
    budget: str = "60s"
    cache: bool = True
    on_bad_row: str = "fail"
    seed: int = 0

    def run(self) -> Summary:
        """Return the tables and what they promise, JSON-ready.

        Raises
        ------
        RecipeError : options that do not go together, or a recipe that reads no texts of the target.
        CorpusError : rows that cannot be used, labels of gold that are no classes of the source, or no such
            column.
        """
        from textlabel.engine.shared_features import SharedFeatures

        self._check()
        corpora = self._corpora()
        features = SharedFeatures(self.cache)
        with features.kept():
            maker = Maker(corpora, self.backbone, self.budget, self.seed, features)
            variants = self._variants(maker)
            parts = parts_of(maker, variants[0]) if corpora.parts else []
        told = self._counts(corpora) | {"variants": table_of(variants)}
        if self.by and corpora.gold is not None:
            told["slices"] = slices_of(variants, corpora.gold.slices)
        if parts:
            told["parts"] = parts
        return told | {"promises": [*(WITH_GOLD if corpora.gold else ()), ALWAYS]}

    def _check(self) -> None:
        """Refuse what makes no sense before a row is read."""
        if self.by and not self.gold:
            raise RecipeError(f"by = {self.by!r} tells gold rows apart, and there are none: give gold")
        if self.source_by and self.source_by == self.label_column:
            raise RecipeError(
                f"source_by = {self.source_by!r} is the column of the labels; expected one that tells parts "
                "of the source apart, each with rows of several classes"
            )
        if twice := {name for name in self.recipes if self.recipes.count(name) > 1}:
            raise RecipeError(f"recipes: {min(twice)!r} is there twice; expected each once")
        for name in self.recipes:
            _refuse_recipe(Recipe.load(name), name)

    def _corpora(self) -> Corpora:
        """Return the corpora, where all of them can be used."""
        from textlabel.trust.stated_shares import read_shares

        found = read_corpora(
            self.source,
            self.unlabeled,
            self.gold or None,
            source_by=self.source_by,
            by=self.by,
            label_column=self.label_column,
            reading={"text_column": self.text_column, "on_bad_row": self.on_bad_row},
        )
        if self.class_shares:
            read_shares(self.class_shares, found.classes, found.shares)
        if self.source_by:
            refuse_parts(found.parts, self.source_by)
        slices = len(set(found.gold.slices)) if found.gold else 0
        if slices > MOST_SLICES:
            raise CorpusError(
                f"by = {self.by!r}: {slices} different values in the gold rows; expected {MOST_SLICES} or "
                "fewer, a column that tells slices and not rows apart"
            )
        return found

    def _variants(self, maker: Maker) -> list[Variant]:
        """Return the variants, the source alone first."""
        found = [maker.source_only(), maker.no_transfer()]
        found += [maker.adapted(name) for name in self.recipes]
        if self.class_shares:
            found.append(maker.of_shares((*self.recipes, SOURCE_ONLY)[0], self.class_shares))
        if maker.corpora.gold is not None:
            found.append(maker.target_only())
        return found

    def _counts(self, corpora: Corpora) -> Summary:
        gold = corpora.gold
        counts: Summary = {
            "source_rows": len(corpora.source),
            "target_rows": len(corpora.target),
            "gold_rows": len(gold.rows) if gold else 0,
            "gold_rows_left_out": gold.left_out if gold else 0,
        }
        return counts | {"classes": list(corpora.classes), "backbone": str(self.backbone), "seed": self.seed}


def _refuse_recipe(recipe: Recipe, name: str) -> None:
    if name in (FROZEN, WITHOUT) or not recipe.reads_unlabeled:
        raise RecipeError(
            f"recipes: {name!r} reads no texts of the target, and {SOURCE_ONLY} and TF-IDF are compared "
            "anyway; expected recipes that do, such as auto, dann or shot"
        )
    if "single" not in recipe.kinds or recipe.reads_tasks:
        raise RecipeError(f"recipes: {name!r} does not learn one class a row, which this report compares")
