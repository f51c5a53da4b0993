"""The facade: fit, annotate, evaluate, save, publish. It delegates and holds no logic."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import finalize

from textlabel.corpus.remote import fetch, is_url
from textlabel.corpus.scratch import Scratch
from textlabel.errors import BundleError
from textlabel.fitted import Fitted, Source
from textlabel.models.backend_fit import REFERENCE
from textlabel.recipe import Recipe
from textlabel.trust.scope import DEFAULT_OFF_MAP
from textlabel.trust.set_rule import DEFAULT_ALPHA, DEFAULT_SETS, SetPlan
from textlabel.types import COLUMNS, Predictions

if TYPE_CHECKING:
    from datasets import Dataset

    from textlabel.engine.cluster import Cluster
    from textlabel.engine.run import Task
    from textlabel.engine.shared_features import SharedFeatures
    from textlabel.models.backbone import Backbone
    from textlabel.models.bundle import Bundle
    from textlabel.trust.estimates import Estimate
    from textlabel.trust.label_shift import LabelShift, Refused

log = logging.getLogger("textlabel")

#: chosen by recipes/benchmarks/backbones.py; its table is in README
DEFAULT_BACKBONE = "bge-small-en-v1.5-int8"


class Labeler(Fitted):
    """Adapt a backbone to a few labels, then label a corpus with calibrated confidence.

    Parameters
    ----------
    backbone : registered name (`textlabel backbones`), local folder, or Hub id; or two to four of them, as
        in "all-MiniLM-L6-v2+potion-base-8M", whose features lie side by side (`textlabel.models.joint`).
    recipe : shipped name (`textlabel recipes`), path of a TOML file, or `Recipe`.
    seed : decides folds, order, dropout and new weights.
    backend : what runs the forward pass: torch, another that `optimize` kept, or auto, the fastest of those
        that runs here.
    cascade : whether the student that `optimize` trained answers the texts that it is sure of.
    calibration : "auto", "holdout", "folds=K" or "none": which rows, unseen in training, calibrate.
    calibrator : plugin (`textlabel plugins calibrator`), or "auto": the simplest that those rows do
        not speak against.
    off_map : score that tells how far off the map a text is (`textlabel plugins off_map`).
    keep_reference : keep the features of all training rows in the model, as the score "knn" needs.
    sets : prediction sets by "lac", "aps", "raps" or "class" (`textlabel.trust.set_rule`); scores have an
        interval instead.
    set_alpha : share of the sets that may miss the true label.
    threshold : where rows may carry several classes, from which probability on: "half", or "f1", for each
        class that which maximizes the F1 that its calibrated probabilities let expect.
    noisy_labels : what to do with training rows whose label is likely wrong (`textlabel check-labels`):
        "keep" them, "prune" them, or give them "soft" labels, which are what other rows say of them.
    weigh_rows : how labeled rows are weighed toward the texts of ``unlabeled``, by recipe "head": "none",
        "density_ratio" or "kmm" (`textlabel.trust.row_weights`).
    cache : where features of texts are kept for the next model on the same body: True, the user's cache
        folder (`textlabel cache`), False, nowhere, or a folder; or what several models share.
    pooling, normalize, max_length : how features are read; None: as the backbone says of itself. Pooling is
        "mean", "cls", "max" or "best": labeled rows choose one.
    layers : how many layers give features, counted from the top, laid side by side; None: the last one alone,
        or what recipe "auto" finds best.
    descriptions : {class: what it is, in words}, for recipes that read the names of classes, as "auto" does;
        None: the names say it.
    ordered : the classes, the lowest first, where they are steps of a scale; None: they are not.
    label_tree : a tree over the classes, such as {"card": ["lost", "stolen"], "other": []}: inner nodes have
        names of their own, and rows of `fit` may be labeled with one.
    budget : time in which recipe "auto" may try recipes that train the backbone, in seconds or as "10m"; 0:
        none of them. What is tried within a time depends on the machine.
    on_long : what is done with longer texts: "truncate" (None) reads their first max_length tokens, "window"
        all of them in windows that overlap, "fail" refuses them.
    window_pooling : how windows become one row: "mean" (None), "weighted" by their tokens, or "max".

    Examples
    --------
    >>> from textlabel import Labeler
    >>> labeler = Labeler(backbone="all-MiniLM-L6-v2", recipe="head", seed=0)
    >>> labeler.fit("reviews.csv").annotate("unlabeled.csv").save_to_disk("out")  # doctest: +SKIP
    """

    def __init__(
        self,
        backbone: str | Path = DEFAULT_BACKBONE,
        recipe: str | Path | Recipe = "head",
        *,
        seed: int = 0,
        backend: str = REFERENCE,
        cascade: bool = False,
        calibration: str = "auto",
        calibrator: str = "auto",
        off_map: str = DEFAULT_OFF_MAP,
        keep_reference: bool = False,
        sets: str = DEFAULT_SETS,
        set_alpha: float = DEFAULT_ALPHA,
        threshold: str = "half",
        noisy_labels: str = "keep",
        weigh_rows: str = "none",
        cache: bool | str | Path | SharedFeatures = True,
        pooling: str | None = None,
        normalize: bool | None = None,
        max_length: int | None = None,
        on_long: str | None = None,
        window_pooling: str | None = None,
        layers: int | None = None,
        descriptions: Mapping[str, str] | None = None,
        ordered: Sequence[str] | None = None,
        label_tree: Mapping[str, Any] | None = None,
        budget: str | float = "60s",
    ) -> None:
        self.backbone = backbone
        self._recipe: Recipe | dict[str, Any] = Recipe.load(recipe)
        super().__init__(backend, cascade, cache, seed)
        self.calibration = calibration
        self.calibrator = calibrator
        self.off_map = off_map
        self.keep_reference = keep_reference
        self.sets = SetPlan(sets, set_alpha)
        self.threshold = threshold
        self.noisy_labels = noisy_labels
        self.weigh_rows = weigh_rows
        self.descriptions = descriptions
        self.ordered = ordered
        self.label_tree = label_tree
        self.budget = budget
        self._best_pooling = pooling == "best"
        self._reading = {
            "pooling": None if self._best_pooling else pooling,
            "normalize": normalize,
            "max_length": max_length,
            "on_long": on_long,
            "window_pooling": window_pooling,
            "layers": layers,
        }

    @property
    def recipe(self) -> Recipe:
        """How it adapts; of a loaded labeler, how it once did."""
        if isinstance(self._recipe, dict):
            self._recipe = Recipe.from_dict(self._recipe, where="the recipe in the model")
        return self._recipe

    def fit(
        self,
        train: Source | None,
        unlabeled: Source | None = None,
        validation: Source | None = None,
        *,
        text_column: str | Sequence[str] = "text",
        label_column: str = "label",
        classes: Sequence[str] | None = None,
        checkpoint: str | Path | None = None,
        on_bad_row: str = "fail",
        reject_file: str | Path | None = None,
        **loading: Any,
    ) -> Labeler:
        """Adapt to labeled rows and return this labeler.

        Parameters
        ----------
        train : labeled rows: path, glob, Hub id, Dataset or list of dicts. None: there are none, and the
            names of the classes are all that is known of them (`textlabel.engine.label_names`): confidence is
            then not calibrated.
        unlabeled : rows of the target domain without labels, for recipes that read them, and without labeled
            rows.
        classes : the names of the classes, which every labeled row must have one of; needed without labeled
            rows, unless ``descriptions`` name them.
        validation : labeled rows for early stopping; never trained on.
        checkpoint : folder in which a killed fit resumes when it is repeated.
        on_bad_row : "fail" stops at the first unusable row, "skip" leaves such rows out.
        reject_file : with "skip", one JSON object for each row left out, of all three sources.
        loading : further options of `textlabel.load_corpus` for the labeled rows.

        Raises
        ------
        CorpusError, RecipeError, BackboneError, TrainingError
        """
        from textlabel.engine import tracking
        from textlabel.engine.adapt import adapt
        from textlabel.engine.auto import seconds_of
        from textlabel.engine.backend_choice import backend_to_fit
        from textlabel.engine.scope import ScopePlan
        from textlabel.engine.shared_features import store_of
        from textlabel.engine.task import load_task
        from textlabel.report.record import complete_record

        task, from_audits = load_task(
            train,
            unlabeled,
            validation,
            next(kind for kind in ("score", "multi", "single") if kind in self.recipe.kinds),
            text_column=text_column,
            label_column=label_column,
            on_bad_row=on_bad_row,
            reject_file=reject_file,
            descriptions=self.descriptions,
            classes=classes,
            ordered=self.ordered or (),
            label_tree=self.label_tree,
            **loading,
        )
        if train is None:
            return self._fit_names(task)
        tracking.note(recipe=self.recipe.name, backbone=self.backbone, seed=self.seed, rows=len(task.texts))
        bundle = adapt(
            self._loaded_backbone(),
            task,
            self.recipe,
            self.seed,
            calibration=self.calibration,
            calibrator=self.calibrator,
            scope=ScopePlan(self.off_map, self.keep_reference),
            sets=self.sets,
            threshold=self.threshold,
            noisy_labels=self.noisy_labels,
            weigh_rows=self.weigh_rows,
            budget=seconds_of(self.budget),
            fixed_layers=self._reading["layers"] is not None,
            best_pooling=self._best_pooling,
            backend=backend_to_fit(self.backend),
            cache=store_of(self.cache),
            checkpoint=None if checkpoint is None else Path(checkpoint),
        )
        bundle.record = complete_record(bundle)
        bundle.record["labels"]["audit"] = from_audits
        tracking.log(tracking.numbers({"calibrator": bundle.record["calibrator"]}))
        self._bundle, self._predictor = bundle, None
        return self

    def _loaded_backbone(self) -> Backbone:
        from textlabel.models.backbone import load_backbone
        from textlabel.models.ngrams import without_ngrams

        if self.recipe.features == "backbone":
            return load_backbone(self.backbone, **self._reading)
        none, usual = without_ngrams(), (None, "truncate", "mean")
        said = self.backbone != DEFAULT_BACKBONE or any(v not in usual for v in self._reading.values())
        if said and self.backbone != none.name:  # that of a loaded model
            log.warning("recipe %r reads no backbone: what was said of one is ignored", self.recipe.name)
        return none

    def _fit_names(self, task: Task) -> Labeler:
        """Learn what the names of the classes say, where no row has a label."""
        from textlabel.engine.backend_choice import backend_to_fit
        from textlabel.engine.label_names import adapt_to_names, refuse_what_needs_labels
        from textlabel.engine.shared_features import store_of
        from textlabel.report.record import complete_record

        refuse_what_needs_labels(
            {
                f"recipe {self.recipe.name!r}": self.recipe.name not in ("head", "auto"),
                f"threshold = {self.threshold!r}": self.threshold != "half",
                "validation": task.validation is not None,
                f"calibration = {self.calibration!r}": self.calibration not in ("auto", "none"),
                f"calibrator = {self.calibrator!r}": self.calibrator not in ("auto", "none"),
                f"noisy_labels = {self.noisy_labels!r}": self.noisy_labels != "keep",
                f"weigh_rows = {self.weigh_rows!r}": self.weigh_rows != "none",
                "keep_reference": self.keep_reference,
                "pooling = 'best'": self._best_pooling,
            }
        )
        bundle = adapt_to_names(
            self._loaded_backbone(),
            task.schema,
            task.unlabeled,
            self.seed,
            off_map=self.off_map,
            sets=self.sets,
            backend=backend_to_fit(self.backend),
            cache=store_of(self.cache),
        )
        bundle.record = complete_record(bundle)
        self._bundle, self._predictor = bundle, None
        return self

    def adapt(
        self,
        unlabeled: Source,
        recipe: str | Path | Recipe = "shot",
        *,
        seed: int = 0,
        text_column: str | Sequence[str] = "text",
        checkpoint: str | Path | None = None,
        **loading: Any,
    ) -> Labeler:
        """Return a labeler that goes on from this one by texts without labels alone; this one stays.

        Nothing but the model is needed of where it was fitted. Its head stays, its body moves. Confidence is
        not calibrated any more, and no row is accepted unless ``min_confidence`` is given; more of what is
        not kept: `textlabel.engine.source_free`.

        Parameters
        ----------
        unlabeled : texts of the target domain: path, glob, Hub id, Dataset or list of dicts.
        recipe : shipped name (shot, tent), path of a TOML file, or `Recipe`, whose stages read unlabeled rows
            alone under a head that stays.
        seed : decides order, dropout and new weights.
        checkpoint : folder in which a killed adaptation resumes when it is repeated.
        loading : further options of `textlabel.load_corpus`.

        Raises
        ------
        CorpusError, RecipeError, TrainingError
        """
        from textlabel.corpus.load import load_corpus
        from textlabel.engine.backend_choice import backend_to_fit
        from textlabel.engine.source_free import adapt_to_texts, refuse_model
        from textlabel.report.record import complete_record

        chosen = Recipe.load(recipe)
        refuse_model(self.bundle, chosen)
        bundle = adapt_to_texts(
            self.bundle,
            list(load_corpus(unlabeled, text_column=text_column, **loading)["text"]),
            chosen,
            seed,
            backend=backend_to_fit(self.backend),
            checkpoint=None if checkpoint is None else Path(checkpoint),
        )
        bundle.record = complete_record(bundle)
        return self._holding(bundle, backend=self.backend, cascade=False, cache=self.cache)

    def fit_sources(
        self,
        sources: Mapping[str, Source],
        target: Source,
        unlabeled: Source | None = None,
        *,
        nearest: float = 1.0,
        text_column: str | Sequence[str] = "text",
        label_column: str = "label",
        **loading: Any,
    ) -> Labeler:
        """Adapt to several labeled sources and a few labeled rows of the target, and return this labeler.

        All bear the same classes. Which of all rows in one pile, a pool of heads, the best source and the
        target rows alone is taken, the target rows decide out of fold (`textlabel.engine.source_pool`). Of
        this labeler's settings backbone, seed, backend and cache count.

        Parameters
        ----------
        sources : {name: labeled rows}.
        target : a few labeled rows of the target.
        unlabeled : texts of the target, which tell what is near; without them ``target`` does.
        nearest : share of each source's rows that is used, those nearest to the target's texts.
        text_column, label_column, loading : as `fit`, for all of them.

        Raises
        ------
        CorpusError, BackboneError
        """
        from textlabel.engine.backend_choice import backend_to_fit
        from textlabel.engine.shared_features import store_of
        from textlabel.engine.source_pool import combine_sources
        from textlabel.engine.task import load_task
        from textlabel.report.record import complete_record

        def read(source: Source, unlabeled: Source | None = None) -> Task:
            return load_task(
                source,
                unlabeled,
                None,
                "single",
                text_column=text_column,
                label_column=label_column,
                **loading,
            )[0]

        bundle = combine_sources(
            self._loaded_backbone(),
            {name: read(source) for name, source in sources.items()},
            read(target, unlabeled),
            self.seed,
            nearest=nearest,
            backend=backend_to_fit(self.backend),
            cache=store_of(self.cache),
        )
        bundle.record = complete_record(bundle)
        self._bundle, self._predictor = bundle, None
        return self

    def map_labels(
        self,
        target: Source | None,
        mode: str = "leep",
        *,
        stated: Mapping[str, str | None] | None = None,
        label_tree: Mapping[str, Any] | None = None,
        seed: int = 0,
        text_column: str | Sequence[str] = "text",
        label_column: str = "label",
        **loading: Any,
    ) -> Labeler:
        """Return a labeler of another label set: a map of classes behind this one's head; this one stays.

        Parameters
        ----------
        target : a few rows labeled with the other label set, which this model did not learn from (of those it
            is too sure, and so would the map be), by which the map is learned, judged out of fold
            and calibrated (`textlabel.engine.label_map`). None: ``stated`` is the map.
        mode : "leep", a source class is a mixture of target classes, "many_to_one", the likeliest of them, or
            "one_to_one", one that no other source class becomes.
        stated : {source class: target class, node of the tree, or None for no counterpart}.
        label_tree : with ``stated``, a tree over the target classes, as `Labeler` takes it.
        seed : decides folds.
        loading : further options of `textlabel.load_corpus`.

        Raises
        ------
        CorpusError, RecipeError
        """
        from textlabel.engine import label_map
        from textlabel.engine.backend_choice import backend_to_fit
        from textlabel.engine.task import load_task
        from textlabel.report.record import complete_record

        label_map.refuse_both(target is not None, stated is not None, label_tree is not None)
        if stated is not None:
            schema = label_map.stated_schema(stated, label_tree)
            bundle = label_map.map_as_stated(self.bundle, stated, schema, seed)
        else:
            task, _ = load_task(
                target,
                None,
                None,
                "single",
                text_column=text_column,
                label_column=label_column,
                **loading,
            )
            backend = backend_to_fit(self.backend)
            bundle = label_map.map_to_rows(self.bundle, task, mode, seed, backend)
        bundle.record = complete_record(bundle)
        return self._holding(bundle, backend=self.backend, cascade=False, cache=self.cache)

    def annotate(
        self,
        corpus: Source,
        *,
        text_column: str | Sequence[str] = "text",
        min_confidence: float | None = None,
        out_of_scope_rate: float = 0.0,
        back_off: float | None = None,
        gold: Source | None = None,
        label_column: str = "label",
        label_separator: str | None = None,
        predictions: Predictions | None = None,
        correct_label_shift: bool | LabelShift | Refused = False,
        class_shares: str | Mapping[str, float] | None = None,
        order_by: str = "confidence",
        checkpoint: str | Path | None = None,
        cluster: Cluster | None = None,
        **loading: Any,
    ) -> Dataset:
        """Return the corpus with label, confidence and the rest of the exported row, in input order.

        Parameters
        ----------
        corpus : path, glob, Hub id, Dataset or list of dicts; every other column is carried through.
        min_confidence : rows at least this sure are "accepted", the others are for "review". None: 0.9, and
            of a model that learned from no label, no row is accepted.
        out_of_scope_rate : share of rows in scope that may be called "out_of_scope"; 0: no row is.
        back_off : probability that the columns ``node`` and ``node_confidence`` are to reach: of the deepest
            node of the label tree that does, or of none. The label stays. None: no such columns.
        gold : rows that people labeled already, such as those of `fit`: where the corpus has the same text,
            their label stands and ``source`` is "human".
        label_column, label_separator : column of gold that holds the label, and what parts several classes in
            it.
        predictions : what `predict` returned for this corpus, so that it need not run again.
        correct_label_shift : estimate the class shares of this corpus and correct probabilities and labels
            for them, or warn why not; or what `label_shift` or `stated_shares` returned for this corpus. What
            it does to prediction sets is told in `textlabel.engine.annotate.annotate`.
        class_shares : share of each class among rows in scope of this corpus, if somebody knows them, by
            name, or "labeled": as among the labeled rows. Probabilities are corrected until their means are
            these shares, and labels follow (`textlabel.trust.stated_shares`).
        order_by : where it is a confidence score that asks the model (ensemble, mutual_information, knn), the
            rows get a column of that name, by which `export` seals their order if it is told so again.
        checkpoint, cluster : as `predict`.
        loading : further options of `textlabel.load_corpus`.
        """
        from textlabel.corpus.load import load_corpus
        from textlabel.engine.annotate import annotate, check_back_off
        from textlabel.engine.gold import with_gold
        from textlabel.engine.order import order_column

        check_back_off(back_off, self.schema)
        known = None
        if gold is not None:
            known = load_corpus(
                gold,
                text_column=text_column,
                label_column=label_column,
                label_kind=self.schema.kind,
                label_separator=label_separator,
                classes=self.schema.labels or None,
            )
        rows = load_corpus(corpus, text_column=text_column, **loading)
        if correct_label_shift is True:
            self.bundle.measured("a correction for class shares")
        self.check_shares(class_shares, bool(correct_label_shift))
        score = order_column(order_by, [*COLUMNS, *rows.column_names], self.bundle)
        reads = score is not None or (correct_label_shift is True and bool(self.bundle.members))
        made = predictions or self._predict(rows, checkpoint, reads, cluster)
        shift = None if isinstance(correct_label_shift, bool) else correct_label_shift
        if correct_label_shift is True:
            shift = self.label_shift(made, out_of_scope_rate)
        elif class_shares is not None:
            shift = self.stated_shares(made, class_shares, out_of_scope_rate)
        labeled = annotate(rows, made, self.bundle, min_confidence, out_of_scope_rate, shift, score, back_off)
        return labeled if known is None else with_gold(labeled, known)

    def export(
        self,
        rows: Dataset,
        folder: str | Path,
        form: str = "dataset",
        estimate: Estimate | None = None,
        label_shift: LabelShift | Refused | None = None,
        decided_by: Mapping[str, Any] | None = None,
        **sealing: Any,
    ) -> Path:
        """Write annotated rows, sealed, with their provenance record and card, and return the folder.

        Only sealed annotations can be audited and certified (`textlabel.audit`).

        Parameters
        ----------
        rows : what `annotate` returned.
        form : dataset, parquet, jsonl or csv.
        estimate : of the share of right labels, for the record.
        label_shift : what the rows were corrected for, or why not, for the record.
        decided_by : settings of `annotate` that decided the rows, for the record.
        sealing : ``order_by`` and ``rejected`` of `textlabel.audit.seal.seal`.

        Raises
        ------
        ExportError : the folder is a URL, or cannot be written.

        Rows do not remember how `annotate` made them: give ``label_shift``, ``decided_by`` and ``order_by``
        here again, or the record is silent about the first two and the rows are sealed by confidence. The
        command `textlabel annotate` does so by itself.
        """
        from textlabel import registry
        from textlabel.audit.seal import seal
        from textlabel.errors import ExportError

        if is_url(folder):
            raise ExportError(
                f"{folder} is a URL, and this writes a folder: give one, and `textlabel push` sends it to "
                "the Hub; the command `textlabel annotate --out URL` writes to a store"
            )
        known = self.record(len(rows), estimate, label_shift, decided_by)
        record = {**known, "seal": seal(rows, **sealing)}
        path: Path = registry.load("export", form).write(rows, Path(folder), record)
        return path

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        backend: str = REFERENCE,
        cascade: bool = False,
        cache: bool | str | Path | SharedFeatures = True,
    ) -> Labeler:
        """Return a labeler from a folder that `save` wrote; it gives the same labels."""
        from textlabel.models.bundle import Bundle

        return cls._holding(Bundle.load(folder), backend=backend, cascade=cascade, cache=cache)

    @classmethod
    def of_bundle(cls, bundle: Bundle, *, cache: bool | str | Path | SharedFeatures = True) -> Labeler:
        """Return a labeler around a classifier that was fitted elsewhere, such as on rules."""
        return cls._holding(bundle, backend=REFERENCE, cascade=False, cache=cache)

    @classmethod
    def _holding(
        cls, bundle: Bundle, *, backend: str, cascade: bool, cache: bool | str | Path | SharedFeatures
    ) -> Labeler:
        """Return a labeler that has learned already, with the settings that it was fitted with."""
        info, schema = bundle.classifier.info, bundle.classifier.schema
        labeler = cls(
            info.name,
            seed=bundle.record["seed"],
            backend=backend,
            cascade=cascade,
            off_map=bundle.scope.off_map,
            keep_reference=bundle.scope.known.reference is not None,
            sets=DEFAULT_SETS if bundle.sets.kind in ("interval", "off") else bundle.sets.kind,
            set_alpha=bundle.sets.alpha,
            threshold=bundle.record.get("threshold", "half"),
            cache=cache,
            **info.reading,
            ordered=schema.names if schema.ordered else None,
            label_tree=schema.tree.nested if schema.tree else None,
        )
        # read when somebody fits again: its plugins may be absent. What knew names alone begins with the head
        if bundle.record["labels"].get("train") != 0:
            labeler._recipe = bundle.record["recipe"]
        labeler._bundle = bundle
        return labeler

    @classmethod
    def from_pretrained(
        cls,
        ref: str | Path,
        *,
        revision: str | None = None,
        backend: str = REFERENCE,
        cascade: bool = False,
        cache: bool | str | Path | SharedFeatures = True,
    ) -> Labeler:
        """Return a labeler from a local folder, a URL that fsspec knows, or a Hub repository."""
        if is_url(ref):
            scratch = Scratch()
            fetch(str(ref), scratch.folder / "model", BundleError)
            labeler = cls.load(scratch.folder / "model", backend=backend, cascade=cascade, cache=cache)
            finalize(labeler.bundle, scratch.remove)  # it reads from there
            return labeler
        if Path(ref).is_dir():
            return cls.load(ref, backend=backend, cascade=cascade, cache=cache)
        from textlabel.models.backbone import download

        if str(ref).count("/") != 1 or str(ref).startswith((".", "~", "/")):
            raise BundleError(
                f"{ref}: no such folder; expected one that `textlabel fit --out` wrote, or a Hub id"
            )
        return cls.load(download(str(ref), revision), backend=backend, cascade=cascade, cache=cache)
