"""The step review: people answer rows of an annotated corpus, on a page of this machine or in a shell."""

from __future__ import annotations

import logging
import sys
import webbrowser
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textlabel.asking.start import SETTINGS
from textlabel.errors import AuditError

if TYPE_CHECKING:
    from textlabel.review.queue import Queue
    from textlabel.review.server import ReviewServer

log = logging.getLogger("textlabel")


@dataclass(frozen=True)
class Review:
    """Answer rows of an annotated corpus, or of a loop.

    Parameters
    ----------
    annotations : folder that `annotate` wrote; or that of `textlabel loop start`, whose rounds are asked one
        after the other.
    audit : the rows that `textlabel audit draw` drew, without anything that the model said of them.
    every : all rows that no audit holds, the least sure first; without it and without audit those that must
        be labeled before `textlabel finish`.
    reviewer : who answers; the page asks if it is empty.
    guidelines : text file that is shown beside the rows.
    model : folder that `fit` wrote; words that moved its labels, and what would have changed them, are then
        shown on demand.
    neighbors : labeled rows, such as those of `fit`; with a model, those nearest to a text are shown, too.
    rules : files of rules (TOML, or Python, which is run); with a model, those that fire are shown, too.
    count : rows of a round, of a loop.
    port : of the page; 0: any that is free.
    browser : open it.
    """

    annotations: str
    audit: bool = False
    every: bool = False
    reviewer: str = ""
    guidelines: str = ""
    model: str = ""
    neighbors: str = ""
    rules: tuple[str, ...] = ()
    count: int = 20
    port: int = 0
    browser: bool = True

    def queue(self) -> Queue:
        """Return what is to be asked.

        Raises
        ------
        AuditError : both audit and all rows are wanted, or something else of a loop than its rounds; no such
            rows.
        CorpusError : no row of a loop is left.
        """
        from textlabel.review.folder_queue import FolderQueue

        if (Path(self.annotations) / SETTINGS).is_file():
            return self._of_loop()
        if self.audit and self.every:
            raise AuditError("an audit holds the rows that were drawn: leave out --all, or --audit")
        mode = "audit" if self.audit else "all" if self.every else "todo"
        if not self.model:
            if self.neighbors or self.rules:
                raise AuditError("rows near and rules are shown beside what a model says: give --model, too")
            return FolderQueue(self.annotations, mode)
        from textlabel.explaining import teller

        tell = teller(self.model, self.neighbors, self.rules, annotations=self.annotations)
        return FolderQueue(self.annotations, mode, tell)

    def _of_loop(self) -> Queue:
        from textlabel.asking.queue import loop_queue

        if self.audit or self.every or self.model:
            raise AuditError(f"{self.annotations} is a loop: leave out --audit, --all and --model")
        return loop_queue(self.annotations, self.count)

    def server(self) -> ReviewServer:
        """Return the page's server, not started yet; an `AuditError` for a port that is taken."""
        from textlabel.review.server import ReviewServer

        try:
            return ReviewServer(self.queue(), self.port, self.reviewer, self._guidelines())
        except OSError as error:
            raise AuditError(f"port {self.port} cannot be used ({error}): leave --port out") from None

    def serve(self, server: ReviewServer) -> dict[str, Any]:
        """Serve the page until Ctrl-C, and return how many rows have an answer."""
        if self.browser:
            webbrowser.open(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            pass
        finally:
            server.server_close()
        return self._told(server.queue)

    def in_terminal(self) -> dict[str, Any]:
        """Ask in this shell, and return how many rows have an answer."""
        from textlabel.review.terminal import review

        queue = self.queue()
        review(queue, self.reviewer, iter(sys.stdin.readline, ""), sys.stderr, self._guidelines())
        return self._told(queue)

    def disagreements(self) -> list[dict[str, Any]]:
        """Return rows of which reviewers say different things."""
        return self.queue().disagreements()

    def _told(self, queue: Any) -> dict[str, Any]:
        facts = queue.facts(self.reviewer)
        return {name: facts[name] for name in ("total", "left")}

    def _guidelines(self) -> str:
        if not self.guidelines:
            return ""
        try:
            return Path(self.guidelines).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise AuditError(f"{self.guidelines}: the guidelines cannot be read ({error})") from None
