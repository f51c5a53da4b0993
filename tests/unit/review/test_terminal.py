"""The twin for a shell."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest
from labeled_folder import drawn, labeled
from typer.testing import CliRunner

from textlabel.audit.answers import audit_answers
from textlabel.audit.seal import open_sealed
from textlabel.audit.store import LOG, read_lines
from textlabel.cli.app import app
from textlabel.explaining import teller
from textlabel.review.folder_queue import FolderQueue
from textlabel.review.queue import Question
from textlabel.review.terminal import review


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return drawn(labeled(tmp_path_factory.mktemp("review")), 8)


@pytest.fixture
def folder(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "labeled"))


def typed(folder, *lines, mode="audit", reviewer="Ann"):
    out = io.StringIO()
    done = review(FolderQueue(folder, mode), reviewer, iter([f"{line}\n" for line in lines]), out)
    return done, out.getvalue()


def test_numbers_names_and_beginnings_are_labels(folder):
    done, _ = typed(folder, "1", "positive", "POS", "neg", "?", "s", "q")
    assert done == 6
    said = [line["label"] for line in read_lines(folder / "audit" / LOG)]
    assert said == ["negative", "positive", "positive", "negative", None, None]


def test_what_means_nothing_is_asked_again(folder):
    done, out = typed(folder, "", "9", "p|n", "x", "2", "q")
    assert done == 1
    assert out.count("type a number or a label") == 5
    assert "model:" not in out


def test_undo_notes_and_search(folder):
    done, out = typed(folder, "1", "u", "+a note", "2", "/no such text", "2", "q")
    assert done == 3
    assert "taken back" in out
    assert "no such row" in out
    lines = read_lines(folder / "audit" / LOG)
    assert [line["state"] for line in lines] == ["answered", "withdrawn", "answered", "answered"]
    assert lines[2]["note"] == "a note"
    assert lines[3]["note"] is None


def test_enter_accepts_what_the_model_says_where_it_is_shown(folder):
    queue = FolderQueue(folder, "all")
    wanted = queue.question(0, "").suggestion
    typed(folder, "", "q", mode="all")
    assert read_lines(folder / "audit" / LOG)[0]["label"] == wanted


def test_the_end_of_input_and_of_the_rows_end_it(folder):
    assert typed(folder)[0] == 0
    done, out = typed(folder, *["1"] * 20)
    assert done == 8
    assert "8 answered now, 8 of 8 in all" in out
    assert audit_answers(open_sealed(folder)).decided.sum() == 8


def test_the_command(folder):
    command = ["review", str(folder), "--audit", "--terminal", "--reviewer", "Ann", "--json"]
    done = CliRunner().invoke(app, command, input="1\n2\nq\n")
    assert done.exit_code == 0, done.stderr
    assert '"left": 6' in done.stdout
    done = CliRunner().invoke(app, ["review", str(folder), "--audit", "--all"])
    assert done.exit_code == 1
    assert "leave out --all" in done.stderr
    CliRunner().invoke(
        app, ["review", str(folder), "--audit", "--terminal", "--reviewer", "Ben"], input="2\n"
    )
    done = CliRunner().invoke(app, ["review", str(folder), "--audit", "--disagreements"])
    assert "Ann: negative, Ben: positive" in done.stdout


class Asked:
    """A queue of one row, with classes of one's own."""

    def __init__(self, classes, text="a text"):
        self.classes, self.text, self.said = classes, text, []

    def facts(self, reviewer):
        return {"classes": self.classes, "kind": "single", "answered": len(self.said), "total": 9}

    def next(self, after, reviewer, chosen, step=1):
        return 0

    def question(self, place, reviewer):
        return Question(0, "r0", self.text, None, None, {}, None, 0)

    def answer(self, place, word, reviewer, note, version):
        self.said.append(word)

    def undo(self, reviewer):
        self.said.append("undone")


@pytest.mark.parametrize(
    ("classes", "lines", "said"),
    [
        (["0", "1"], ["1", "0"], ["1", "0"]),
        (["b", "a"], ["1", "2", "a"], ["b", "a", "a"]),
        (["s", "u", "q"], ["s", "u", "q", ":s", ":u"], ["s", "u", "q", "?skip", "undone"]),
    ],
)
def test_the_name_of_a_class_is_that_class(classes, lines, said):
    queue = Asked(classes)
    review(queue, "Ann", iter([f"{line}\n" for line in lines]), io.StringIO())
    assert queue.said == said


def test_a_text_cannot_command_the_terminal():
    out = io.StringIO()
    review(Asked(["a", "b"], "\x1b]52;c;YQ==\x07\x1b[2J\x1b[Hmodel: a 0.99\nline"), "Ann", iter([]), out)
    assert "\x1b" not in out.getvalue()
    assert "\x07" not in out.getvalue()
    assert r"\x1b[2J\x1b[Hmodel: a 0.99" in out.getvalue()


def test_why_is_told_outside_audits(folder, made):
    out = io.StringIO()
    queue = FolderQueue(folder, "all", teller(str(made.parent / "model")))
    assert review(queue, "Ann", iter(["why\n", "1\n", "q\n"]), out) == 1
    assert "> words: " in out.getvalue()
    _, told = typed(folder, "why", "q")
    assert "nothing tells why" in told
    assert "words: " not in told
