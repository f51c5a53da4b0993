"""The same queue in a shell: one line a row, for a connection that shows no page."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from typing import TextIO

from textlabel.corpus.check import NOTHING
from textlabel.errors import AuditError
from textlabel.review.queue import SKIP, UNSURE, Conflict, Filter, Question, Queue

#: what is typed for what is meant; anything else is a label, its number, or a part of its name
COMMANDS = {"s": SKIP, "?": UNSURE}
HELP = (
    "type a number or a label; Enter accepts the model's label, if it is shown\n"
    "s skip, ? unsure, u undo, why, +TEXT a note with the next answer, /TEXT only rows with it (/ all),\n"
    "q quit; "
    "where a class bears such a name, a colon before it: :s"
)


def review(queue: Queue, reviewer: str, lines: Iterator[str], out: TextIO, guidelines: str = "") -> int:
    """Ask rows until there are none, or the reviewer quits; return how many were answered.

    Parameters
    ----------
    lines : what is typed, line by line.
    """
    session = _Session(queue, reviewer, out)
    session.say(*filter(None, (guidelines, HELP)))
    place = queue.next(-1, reviewer, session.chosen)
    while place is not None:
        question = queue.question(place, reviewer)
        session.ask(question)
        line = next(lines, None)
        if line is None or session.command(line.strip()) == "q":
            break
        place = session.heard(question, session.command(line.strip()))
    facts = queue.facts(reviewer)
    session.say(f"{session.done} answered now, {facts['answered']} of {facts['total']} in all")
    return session.done


class _Session:
    """What is between two lines: filter, note, and how many were answered."""

    def __init__(self, queue: Queue, reviewer: str, out: TextIO) -> None:
        self.queue, self.reviewer, self.out = queue, reviewer, out
        self.chosen, self.note, self.done = Filter(), "", 0
        facts = queue.facts(reviewer)
        self.classes, self.kind = facts["classes"], facts["kind"]
        #: whether a number means the class of that place, and not one of that name
        self.numbers = not any(name.isdigit() for name in self.classes)

    def command(self, line: str) -> str:
        """Return a line without the colon that tells a command from a class of the same name."""
        if line.startswith(":") and line not in self.classes:
            return line[1:]
        return f" {line}" if line in self.classes else line  # a class is no command

    def say(self, *texts: str) -> None:
        for text in texts:
            print(text, file=self.out, flush=True)

    def ask(self, question: Question) -> None:
        facts = self.queue.facts(self.reviewer)
        self.say(
            "",
            f"[{facts['answered'] + 1} of {facts['total']}] {visible(question.id)}",
            visible(question.text),
        )
        labels = "  ".join(f"{i} {name}" if self.numbers else name for i, name in enumerate(self.classes, 1))
        if question.suggestion is not None:
            sure = "" if question.confidence is None else f" {question.confidence:.2f}"
            self.say(f"model: {_word(question.suggestion)}{sure}")
        self.say(labels or "a number")
        print("> ", end="", file=self.out, flush=True)

    def heard(self, question: Question, line: str) -> int | None:
        """Do what was typed and return the place to ask next."""
        here = question.place
        special: dict[str, Callable[[], int | None]] = {
            "/": lambda: self._filter(line[1:]),
            "+": lambda: self._keep(line[1:], here),
        }
        if line[:1] in special:
            return special[line[:1]]()
        if line == "u":
            found = self.queue.undo(self.reviewer)
            self.say("nothing to undo" if found is None else "taken back")
            return here if found is None else found
        if line == "why":
            self._why(question)
            return here
        word = self._meant(line, question)
        if word is None:
            self.say(HELP)
            return here
        try:
            self.queue.answer(here, word, self.reviewer, self.note, question.version)
        except (AuditError, Conflict) as error:
            self.say(str(error))
            return (
                here if isinstance(error, AuditError) else self.queue.next(here, self.reviewer, self.chosen)
            )
        self.done, self.note = self.done + 1, ""
        return self.queue.next(here, self.reviewer, self.chosen)

    def _why(self, question: Question) -> None:
        told = self.queue.why(question.place)
        if told is None:
            self.say("nothing tells why: give --model, and no audit")
            return
        most = sorted(told["words"], key=lambda word: -abs(word[2]))[:5]
        words = ", ".join(f"{question.text[start:end]} {score:+.2f}" for start, end, score in most)
        self.say(*map(visible, filter(None, (words and f"words: {words}", *told["lines"]))))

    def _filter(self, search: str) -> int | None:
        self.chosen = Filter(search=search.strip())
        place = self.queue.next(-1, self.reviewer, self.chosen)
        if place is None and search:
            self.say("no such row")
            self.chosen = Filter()
            place = self.queue.next(-1, self.reviewer, self.chosen)
        return place

    def _keep(self, note: str, here: int) -> int:
        self.note = note.strip()
        return here

    def _meant(self, line: str, question: Question) -> str | None:
        """Return the label that a line means; None: none."""
        if not line:
            return None if question.suggestion is None else _word(question.suggestion)
        if line in COMMANDS:
            return COMMANDS[line]
        if self.kind == "score":
            return line
        parts = [self._one(part.strip()) for part in line.replace(",", "|").split("|")]
        if any(part is None for part in parts) or (len(parts) > 1 and self.kind == "single"):
            return None
        return "|".join(filter(None, parts))

    def _one(self, typed: str) -> str | None:
        """Return the class that a number or the beginning of a name means, if it is one."""
        if self.numbers and typed.isdigit() and 0 < int(typed) <= len(self.classes):
            return str(self.classes[int(typed) - 1])
        folded = typed.casefold()
        exact = [name for name in self.classes if name.casefold() == folded]
        begins = exact or [name for name in self.classes if folded and name.casefold().startswith(folded)]
        return begins[0] if len(begins) == 1 else None


def visible(text: str) -> str:
    """Return a text without what a terminal would obey: control characters are shown as such.

    Examples
    --------
    >>> visible("good\\x1b[2Jfilm")
    'good\\\\x1b[2Jfilm'
    """
    kept = ("\n", "\t")
    return "".join(
        letter if letter in kept or unicodedata.category(letter) != "Cc" else f"\\x{ord(letter):02x}"
        for letter in text
    )


def _word(label: object) -> str:
    if isinstance(label, list):
        return "|".join(map(str, label)) or NOTHING
    return str(label)
