"""Which commands there are, where each lives, and when it is imported: not before it is called."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand

from textlabel.cli.group import Commands, Several

#: heading of `textlabel --help` -> command -> (its function or group in `textlabel.cli`, what it is for)
COMMANDS: dict[str, dict[str, tuple[str, str]]] = {
    "Begin": {
        "demo": ("demo:demo", "label real product reviews, in minutes"),
        "run": ("run:run", "fit, annotate and evaluate as one TOML file says"),
        "recipes": ("listing:recipes", "list the shipped recipes, print one, or explain every key"),
        "plugins": ("listing:plugins", "list the plugins of each kind"),
        "backbones": ("backbones:app", "list, fetch and check the backbones that have a name"),
        "cache": ("cache:app", "the kept features of texts: list, clear"),
    },
    "Look at the corpus": {
        "gap": ("gap:gap", "how far apart two corpora are, without labels"),
        "clusters": ("clusters:clusters", "group texts where there is no label yet"),
        "check-labels": ("check_labels:check_labels", "given labels that are likely wrong"),
        "conflicts": ("conflicts:conflicts", "equal or nearly equal texts with different labels"),
        "choose-backbone": ("choose:backbone", "which backbone to take for labeled rows"),
        "choose-source": ("choose:source", "which labeled corpus to learn from"),
        "rules": ("rules:app", "label by keywords, patterns, word lists and functions"),
    },
    "Learn": {
        "fit": ("fit:fit", "a few labels in, a calibrated model out"),
        "adapt": ("adapt:adapt", "let a model go on to texts of a new domain"),
        "fit-sources": ("fit_sources:fit_sources", "one model of several labeled sources"),
        "map-labels": ("map_labels:map_labels", "from the labels of one model to those of another set"),
        "transfer": ("transfer:transfer", "does a source help here? every variant side by side"),
        "train-backbone": ("train_backbone:train_backbone", "a starting point from several labeled tasks"),
        "extend-vocabulary": ("extend_vocabulary:extend_vocabulary", "tokens for the words of a domain"),
        "optimize": ("optimize:optimize", "the fastest form of a model that says the same"),
    },
    "Label": {
        "annotate": ("annotate:annotate", "label a corpus, with calibrated confidence"),
        "evaluate": ("evaluate:evaluate", "compare annotated rows with gold labels"),
        "why": ("why:why", "which words gave a text its label"),
    },
    "Trust": {
        "plan": ("certify:plan", "what an audit of each size would certify"),
        "audit": ("audit:app", "rows drawn at random, for people to check"),
        "certify": ("certify:certify", "certify labels with the answers of an audit"),
        "shares": ("certify:shares", "share of right labels, and of each class"),
    },
    "People": {
        "review": ("review:review", "a page to answer rows on, one key a label"),
        "todo": ("certify:todo", "the sheet of rows that people must still label"),
        "answers": ("audit:answers", "take in what people answered on that sheet"),
        "loop": ("loop:app", "ask the rows that it pays to label, round after round"),
        "simulate": ("simulate:simulate", "which rows would it have paid to ask?"),
        "agreement": ("agreement:agreement", "how far reviewers agree"),
    },
    "Hand over": {
        "finish": ("certify:finish", "the finished corpus, people's labels in place"),
        "report": ("report:report", "one page about an annotated corpus, for a reviewer"),
        "scan": ("scan:scan", "personal data in a corpus, before you publish it"),
        "push": ("push:push", "to the Hugging Face Hub: a model, an annotated corpus, a sheet"),
        "convert": ("convert:convert", "to and from Label Studio, Argilla, doccano, Prodigy"),
        "taxonomy": ("taxonomy:taxonomy", "rename, merge, split and drop classes"),
        "diff": ("diff:diff", "what differs between two versions of a corpus"),
    },
}


class Loaded(Mapping[str, Any]):
    """The commands by name; one is imported when it is looked up.

    Forty commands, each with options that are read from docstrings, take a second to import: too long for
    `--help`, for a Tab key, and for the one command that was called.
    """

    def __init__(self) -> None:
        self._places = {name: place for group in COMMANDS.values() for name, (place, _) in group.items()}
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            self._loaded[name] = _load(name, self._places[name])
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


class All(Commands):
    """The commands of `COMMANDS`; help and the Tab key are answered without importing one."""

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        self.commands: Mapping[str, Any] = Loaded()  # type: ignore[assignment] # typer only reads it

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names, in the order of the path from corpus to export."""
        return list(self.commands)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write a section for each part of the path."""
        width = max(map(len, self.commands))
        for heading, group in COMMANDS.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(width), purpose) for name, (_, purpose) in group.items()])

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Return the commands, and the options of the group, that begin so."""
        purposes = {name: told for group in COMMANDS.values() for name, (_, told) in group.items()}
        self.commands = {name: TyperCommand(name, short_help=told) for name, told in purposes.items()}
        return super().shell_complete(ctx, incomplete)  # the process ends with the answer


def _load(name: str, place: str) -> Any:
    """Return the command as typer makes it of a function or of a group."""
    module, _, attribute = place.partition(":")
    found = getattr(import_module(f"textlabel.cli.{module}"), attribute)
    if not isinstance(found, typer.Typer):
        alone = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)
        alone.command(name, cls=Several)(found)
        found = alone
    command = typer.main.get_command(found)
    command.name = name
    return command
