"""`textlabel push`: a model, annotations or a sheet to the Hugging Face Hub."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from textlabel.cli.keys import meanings
from textlabel.cli.output import say, say_json, table
from textlabel.publishing import Push

_HELP = meanings(Push)


def push(
    source: Annotated[str, typer.Argument(metavar="DIR|SHEET", help=_HELP["source"])],
    repo: Annotated[str, typer.Argument(metavar="REPO", help=_HELP["repo"])],
    private: Annotated[bool, typer.Option("--private/--public", help=_HELP["private"])] = True,
    revision: Annotated[str, typer.Option(metavar="BRANCH", help=_HELP["revision"])] = "",
    create_pr: Annotated[bool, typer.Option("--create-pr", help=_HELP["create_pr"])] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help=_HELP["dry_run"])] = False,
    about: Annotated[str, typer.Option(metavar="FILE", help=_HELP["about"])] = "",
    evaluation: Annotated[str, typer.Option(metavar="FILE", help=_HELP["evaluation"])] = "",
    allow_personal_data: Annotated[
        float, typer.Option(metavar="SHARE", help=_HELP["allow_personal_data"])
    ] = Push.allow_personal_data,
    as_json: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False,
) -> None:
    """Publish a model, annotations or a sheet on the Hugging Face Hub.

    \b
    Example:
      textlabel push labeled user/reviews --dry-run
      textlabel push labeled user/reviews --create-pr

    All goes in one commit at the end. Where the connection breaks nothing is half published, and the same
    command sends only what the Hub has not got yet. The token is that of `hf auth login`, or HF_TOKEN.
    """
    told = Push(
        source,
        repo,
        private=private,
        revision=revision,
        create_pr=create_pr,
        dry_run=dry_run,
        about=about,
        evaluation=evaluation,
        allow_personal_data=allow_personal_data,
    ).run()
    say_json(told) if as_json else say(render(told))


def render(told: dict[str, Any]) -> str:
    """Return what was or would be pushed, for people."""
    done = "would go" if told["dry_run"] else "went"
    new = f"{'private' if told['private'] else 'public'} where it is made now"
    by = "as a pull request against" if told["create_pr"] else "to"
    first = (
        f"{len(told['files'])} files ({told['bytes']:,} bytes) {done} to the {told['kind']} repository "
        f"{told['repo']} ({new}), {by} {told['revision']}"
    )
    files = table([("file", "bytes"), *((one["path"], f"{one['bytes']:,}") for one in told["files"])])
    return "\n\n".join([first, files, *([told["url"]] if told["url"] else [])])
