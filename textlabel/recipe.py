"""Recipes: a method is a list of stages, read from TOML or built in Python.

A stage is three independent choices, what trains (``tune``), what it minimizes (``objective``) and
on which rows (``rows``), plus the numbers of the training loop. Everything is checked when it is
parsed: unknown keys, unknown plugins, values out of range and pairs that make no sense are refused
before a model is loaded, and each refusal says why.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from textlabel import registry
from textlabel.errors import RecipeError, nearest
from textlabel.resources import resource

#: the parts of a classifier that a tune may train and an objective may need
PARTS = frozenset({"body", "head"})
#: which rows a stage may read
ROWS = ("labeled", "unlabeled", "both", "tasks")
#: of what a head is a map
FEATURES = ("backbone", "ngrams")


@dataclass(frozen=True)
class Training:
    """The numbers of the gradient loop; ignored by closed-form heads.

    Parameters
    ----------
    epochs : passes over the stage's rows.
    min_steps : steps taken at least, by more epochs where each has few: an epoch of a stage that reads rows
        of two domains is one pass over the labeled ones.
    batch_size : rows a step, over all processes together.
    micro_batch_tokens : padded tokens in one forward pass of one process, where rows need not meet each
        other (gradients are added up); 0: what suits the device. Changes speed and memory, not the result.
    mixed_precision : "auto" (bfloat16 where the hardware multiplies it, unless the launcher says
        otherwise) or "no". Weights, the head and the loss are float32 in both.
    learning_rate : peak rate of the topmost trained layer.
    head_learning_rate : peak rate of the head, or an objective's own heads; 0: that of ``learning_rate``.
    layer_decay : factor in (0, 1] per layer downwards (ULMFiT, Howard & Ruder 2018, arXiv 1801.06146).
    unfreeze : "all" layers that the tune trains from the start, or "gradual": the topmost in the first epoch,
        and one more in each that follows (ULMFiT, too). Needs more epochs than the backbone has layers, or
        the lowest never train.
    weight_decay : decoupled decay, not applied to biases and norms.
    warmup : share of the steps with a rising rate, in [0, 1); it then falls linearly to 0.
    optimizer : "adamw" or "sgd" (momentum 0.9).
    max_grad_norm : global gradient norm is clipped to this.
    dropout : probability set on every dropout layer of the body while training; -1: the backbone's own.
    patience : epochs without a better validation loss before stopping; 0: never stop early.
    """

    epochs: int = 5
    min_steps: int = 0
    batch_size: int = 16
    micro_batch_tokens: int = 0
    mixed_precision: str = "auto"
    learning_rate: float = 2e-4
    head_learning_rate: float = 0.0
    layer_decay: float = 1.0
    unfreeze: str = "all"
    weight_decay: float = 0.01
    warmup: float = 0.1
    optimizer: str = "adamw"
    max_grad_norm: float = 1.0
    dropout: float = -1.0
    patience: int = 0

    def __post_init__(self) -> None:
        limits = {
            "epochs": self.epochs >= 1,
            "min_steps": self.min_steps >= 0,
            "batch_size": self.batch_size >= 1,
            "micro_batch_tokens": self.micro_batch_tokens >= 0,
            "mixed_precision": self.mixed_precision in ("auto", "no"),
            "learning_rate": self.learning_rate > 0,
            "head_learning_rate": self.head_learning_rate >= 0,
            "layer_decay": 0 < self.layer_decay <= 1,
            "unfreeze": self.unfreeze in ("all", "gradual"),
            "weight_decay": self.weight_decay >= 0,
            "warmup": 0 <= self.warmup < 1,
            "optimizer": self.optimizer in ("adamw", "sgd"),
            "max_grad_norm": self.max_grad_norm > 0,
            "dropout": self.dropout == -1 or 0 <= self.dropout < 1,
            "patience": self.patience >= 0,
        }
        for name, good in limits.items():
            if not good:
                raise RecipeError(
                    f"{name} = {getattr(self, name)!r} is out of range; see `textlabel recipes --keys`"
                )


@dataclass(frozen=True)
class Plugin:
    """One chosen plugin with its options, and its weight where several objectives are summed."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    weight: float = 1.0


@dataclass(frozen=True)
class Stage:
    """What trains, what it minimizes, on which rows, and how long.

    Parameters
    ----------
    tune : what trains: the name of a plugin, or a table with ``name`` and its options.
    objective : what is minimized: a name, a table with ``name``, options and ``weight``, or a list of
        them, which are summed.
    rows : which rows it reads: labeled, unlabeled or both; or those of several tasks (`train-backbone`).
    augment : changed copies of the labeled rows that it also trains on: a name, a table with ``name`` and its
        options, or a list of them.
    training : the numbers of the gradient loop.

    Examples
    --------
    >>> Stage.of(tune="lora", objective="cross_entropy", epochs=3).training.epochs
    3
    """

    tune: Plugin
    objective: tuple[Plugin, ...]
    rows: str = "labeled"
    training: Training = field(default_factory=Training)
    augment: tuple[Plugin, ...] = ()

    def __post_init__(self) -> None:
        if self.rows not in ROWS:
            raise RecipeError(f"rows = {self.rows!r}: {nearest(self.rows, ROWS)}")
        if not self.objective:
            raise RecipeError("a stage needs at least one objective")
        tune = registry.load("tune", self.tune.name)
        options = options_of("tune", self.tune)
        read: frozenset[str] = tune.roles(options) if hasattr(tune, "roles") else frozenset()
        for chosen in self.objective:
            objective = registry.load("objective", chosen.name)
            options_of("objective", chosen)
            if not hasattr(objective, "Objective") and (self.tune.name != "head" or len(self.objective) > 1):
                raise RecipeError(
                    f"objective {chosen.name!r} is solved in closed form, on features that stay as they are: "
                    "expected tune = 'head' and no other objective beside it"
                )
            for part in sorted(objective.NEEDS_PARTS - tune.PARTS):
                raise RecipeError(
                    f"objective {chosen.name!r} trains the {part}, but tune {self.tune.name!r} "
                    f"trains only the {' and '.join(sorted(tune.PARTS))}; choose another tune"
                )
            self._refuse_twice(chosen.name, getattr(objective, "INCLUDES", frozenset()))
            read |= objective.ROLES
        self._check_frozen()
        if self.rows != (expected := _rows_of(read)):
            raise RecipeError(f"rows = {self.rows!r}, but the stage reads rows = {expected!r}")
        for change in self.augment:
            options_of("augment", change)
        if self.augment and "labeled" not in read:
            raise RecipeError("augment changes labeled rows, and its objectives read none; leave it out")
        if self.training.patience and not self.trains_head:
            raise RecipeError(
                f"patience = {self.training.patience} looks at what the head says, and none of its "
                "objectives trains the head; leave patience out"
            )

    def _refuse_twice(self, name: str, included: frozenset[str]) -> None:
        """Raise a `RecipeError` if an objective stands beside one that its loss holds already."""
        for other in (other.name for other in self.objective if other.name in included):
            raise RecipeError(
                f"objective {name!r} holds {other!r} already, which would count twice: leave {other!r} out"
            )

    def _check_frozen(self) -> None:
        """Raise a `RecipeError` where one objective trains what another keeps as it is."""
        for chosen in self.objective:
            needs: frozenset[str] = registry.load("objective", chosen.name).NEEDS_PARTS
            for part in sorted(needs & self.frozen):
                raise RecipeError(
                    f"objective {chosen.name!r} trains the {part}, and another objective of the stage keeps "
                    "it as it is: give each a stage of its own"
                )

    @classmethod
    def of(
        cls, tune: Any, objective: Any, rows: str = "labeled", augment: Any = (), **training: Any
    ) -> Stage:
        """Return a stage from plain values: names, tables with a ``name``, or lists of them."""
        loop = build(Training, training, "stage")
        return cls(_plugin(tune), _plugins(objective), rows, loop, _plugins(augment))

    @property
    def trains_head(self) -> bool:
        """Whether what the stage minimizes depends on the head."""
        return any("head" in registry.load("objective", chosen.name).NEEDS_PARTS for chosen in self.objective)

    @property
    def frozen(self) -> frozenset[str]:
        """Parts that stay as they are, whatever the tune would train."""
        none: frozenset[str] = frozenset()
        modules = [registry.load("objective", chosen.name) for chosen in self.objective]
        return none.union(*(getattr(module, "FREEZES", none) for module in modules))

    @property
    def kinds(self) -> frozenset[str]:
        """Label kinds that every objective of the stage can learn from."""
        kinds = [registry.load("objective", chosen.name).LABEL_KINDS for chosen in self.objective]
        return frozenset.intersection(*kinds)


@dataclass(frozen=True)
class Recipe:
    """A named list of stages: a whole adaptation method.

    Examples
    --------
    >>> Recipe.load("head").stages[0].tune.name
    'head'
    """

    name: str
    stages: tuple[Stage, ...]
    description: str = ""
    #: recipes that are tried after these stages, in order of cost, where labels speak for them
    alternatives: tuple[str, ...] = ()
    #: of what the head is a map: what the "backbone" says, or "ngrams" of the labeled texts, without it
    features: str = "backbone"

    def __post_init__(self) -> None:
        if not self.stages:
            raise RecipeError(f"recipe {self.name!r} has no [[stage]]; expected at least one")
        self._check_features()
        if not self.kinds:
            raise RecipeError(f"recipe {self.name!r}: its stages learn from different kinds of labels")
        if len({stage.rows == "tasks" for stage in self.stages}) > 1:
            raise RecipeError(f"recipe {self.name!r}: all stages read rows of tasks, or none may")
        begins_anew = not self.reads_tasks and not self.source_free
        if begins_anew and not any(stage.trains_head for stage in self.stages):
            raise RecipeError(f"recipe {self.name!r}: no stage trains the head")
        self._check_order()
        if self.alternatives and (len(self.stages) > 1 or self.stages[0].tune.name != "head"):
            raise RecipeError(
                f"recipe {self.name!r} has alternatives: expected one stage with tune = 'head' beside them, "
                "which is tried first"
            )
        for other in map(Recipe.load, self.alternatives):
            if other.alternatives:
                raise RecipeError(f"recipe {self.name!r}: {other.name!r} has alternatives of its own")
        if self.alternatives and "single" not in self.kinds:
            raise RecipeError(
                f"recipe {self.name!r} has alternatives, which are for one class a row, not for scores"
            )

    def _check_order(self) -> None:
        before = [chosen.name for stage in self.stages[:-1] for chosen in stage.objective]
        for name in (name for name in before if getattr(registry.load("objective", name), "FINAL", False)):
            raise RecipeError(
                f"recipe {self.name!r}: nothing trains the head of {name!r} further; expected it in the last "
                "stage"
            )

    def _check_features(self) -> None:
        if self.features not in FEATURES:
            raise RecipeError(f"features = {self.features!r}: {nearest(self.features, FEATURES)}")
        if self.features == "ngrams" and [
            (stage.tune, stage.objective, stage.rows, stage.augment) for stage in self.stages
        ] != [(Plugin("head"), (Plugin("cross_entropy"),), "labeled", ())]:
            raise RecipeError(
                "features = 'ngrams' have a head of their own: expected one stage with tune = 'head' and "
                "objective = 'cross_entropy', without options, on labeled rows"
            )

    @property
    def kinds(self) -> frozenset[str]:
        """Label kinds that every stage can learn from."""
        return frozenset.intersection(*(stage.kinds for stage in self.stages))

    @property
    def reads_unlabeled(self) -> bool:
        """Whether any stage reads texts without labels."""
        return any(stage.rows in ("unlabeled", "both") for stage in self.stages)

    @property
    def reads_tasks(self) -> bool:
        """Whether it trains a backbone on several labeled tasks, not a classifier."""
        return any(stage.rows == "tasks" for stage in self.stages)

    @property
    def keeps_rows(self) -> bool:
        """Whether its head is made of the features of the labeled rows."""
        last = (registry.load("objective", chosen.name) for chosen in self.stages[-1].objective)
        return any(getattr(module, "KEEPS_ROWS", False) for module in last)

    @property
    def source_free(self) -> bool:
        """Whether it goes on from a trained head, by texts without labels alone (`textlabel adapt`)."""
        reads_no_label = all(stage.rows == "unlabeled" for stage in self.stages)
        return reads_no_label and any("head" in stage.frozen for stage in self.stages)

    @property
    def trains_body(self) -> bool:
        """Whether features depend on the labels (otherwise they can be cached)."""
        return self.features == "ngrams" or any(
            "body" in registry.load("tune", stage.tune.name).PARTS for stage in self.stages
        )

    @classmethod
    def load(cls, source: str | Path | Recipe) -> Recipe:
        """Return a recipe by shipped name, by path of a TOML file, or as given.

        Raises
        ------
        RecipeError : no such recipe, not TOML, or anything in it that makes no sense.
        """
        if isinstance(source, Recipe):
            return source
        path = Path(source)
        if path.suffix != ".toml":
            known = shipped()
            if str(source) not in known:
                raise RecipeError(
                    f"unknown recipe {str(source)!r}: {nearest(str(source), known)}; "
                    "or give a path ending in .toml"
                )
            path = known[str(source)]
        return cls.from_dict(read_toml(path), where=str(path))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], where: str = "recipe") -> Recipe:
        """Return a recipe from parsed TOML or JSON; ``where`` names its origin in errors."""
        unknown_keys(data, {"name", "description", "alternatives", "features", "stage"}, where)
        if not isinstance(data.get("stage", []), list):
            raise RecipeError(f"{where}: expected [[stage]], a list of stages, not [stage]")
        try:
            stages = tuple(Stage.of(**_stage_keys(table, where)) for table in data.get("stage", ()))
            name, description = str(data.get("name", Path(where).stem)), str(data.get("description", ""))
            alternatives = tuple(map(str, data.get("alternatives", ())))
            return cls(name, stages, description, alternatives, str(data.get("features", "backbone")))
        except RecipeError as error:
            raise RecipeError(f"{where}: {error}") from None

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` reads, every default written out."""
        return {
            "name": self.name,
            "description": self.description,
            "alternatives": list(self.alternatives),
            "features": self.features,
            "stage": [
                {
                    "tune": {"name": s.tune.name, **s.tune.options},
                    "objective": [{"name": o.name, "weight": o.weight, **o.options} for o in s.objective],
                    "rows": s.rows,
                    "augment": [{"name": a.name, **a.options} for a in s.augment],
                    **asdict(s.training),
                }
                for s in self.stages
            ],
        }


def shipped() -> dict[str, Path]:
    """Return ``{name: path}`` of the recipes that come with textlabel."""
    return {path.stem: path for path in sorted(resource("recipes").glob("*.toml"))}


def read_toml(path: Path) -> dict[str, Any]:
    """Return the parsed file; a missing or malformed one is a `RecipeError` naming file and line."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: not a TOML file: {error}") from None


def options_of(kind: str, chosen: Plugin) -> Any:
    """Return the plugin's own frozen ``Options`` built from the recipe; unknown keys are refused."""
    return build(registry.load(kind, chosen.name).Options, chosen.options, f"{kind} {chosen.name!r}")


def build(cls: type[Any], values: Mapping[str, Any], where: str) -> Any:
    """Return dataclass ``cls`` from a table, with unknown keys and wrong types named.

    Examples
    --------
    >>> build(Training, {"epoch": 3}, "stage")
    Traceback (most recent call last):
    textlabel.errors.RecipeError: stage: unknown key 'epoch': did you mean 'epochs'?
    """
    assert is_dataclass(cls)
    known = {f.name: f for f in fields(cls)}
    unknown_keys(values, known, where)
    checked: dict[str, Any] = {}
    for key, value in values.items():
        default = known[key].default
        checked[key] = _typed(value, default, f"{where}: {key}") if default is not MISSING else value
    return cls(**checked)


def unknown_keys(values: Mapping[str, Any], known: Mapping[str, Any] | set[str], where: str) -> None:
    """Raise a `RecipeError` naming the nearest known key if ``values`` has one that is not known."""
    for key in values:
        if key not in known:
            raise RecipeError(f"{where}: unknown key {key!r}: {nearest(key, known)}")


def _typed(value: Any, default: Any, where: str) -> Any:
    """Return ``value`` in the type of ``default``: TOML's integers are floats where one is expected."""
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(default, tuple) and isinstance(value, list):
        return tuple(value)
    if default is not None and type(value) is not type(default):
        raise RecipeError(f"{where} = {value!r}: expected {type(default).__name__}, like {default!r}")
    return value


def _rows_of(roles: frozenset[str]) -> str:
    """Return what a stage that reads these roles calls its rows."""
    if "tasks" in roles and len(roles) > 1:
        raise RecipeError("a stage that reads rows of tasks cannot read others, too")
    return "both" if len(roles) == 2 else "".join(roles)


def _plugin(value: Any) -> Plugin:
    if isinstance(value, Plugin):
        return value
    if isinstance(value, str):
        return Plugin(value)
    if isinstance(value, Mapping) and isinstance(value.get("name"), str):
        rest = {k: v for k, v in value.items() if k not in ("name", "weight")}
        weight = value.get("weight", 1.0)
        if isinstance(weight, int | float) and weight > 0:
            return Plugin(value["name"], rest, float(weight))
        raise RecipeError(f"{value['name']}: weight = {weight!r}; expected a positive number")
    raise RecipeError(f"expected a plugin name or a table with a name, got {value!r}")


def _plugins(value: Any) -> tuple[Plugin, ...]:
    return tuple(map(_plugin, value if isinstance(value, list | tuple) else [value]))


def _stage_keys(table: Mapping[str, Any], where: str) -> dict[str, Any]:
    known: Sequence[str] = ["tune", "objective", "rows", "augment", *(f.name for f in fields(Training))]
    unknown_keys(table, set(known), f"{where}: [[stage]]")
    if missing := {"tune", "objective"} - set(table):
        raise RecipeError(f"[[stage]] has no {max(missing)!r}")
    return dict(table)
