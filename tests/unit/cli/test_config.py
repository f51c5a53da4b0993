"""`--config`: options of commands from a file."""

from __future__ import annotations

import pytest
from commands import run, told

ROWS = "text,stars\ngood film,pos\nbad film,neg\ngood film,neg\n"


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(ROWS)
    return path


def written(tmp_path, text):
    path = tmp_path / "team.toml"
    path.write_text(text)
    return path


def test_options_come_from_the_file(tmp_path, rows):
    config = written(tmp_path, f'[conflicts]\nlabel-column = "stars"\nout = "{tmp_path}/found.csv"\n')
    asked = told("conflicts", rows, "--label-column", "stars", "--out", tmp_path / "other.csv")
    for line in (
        ("--config", config, "conflicts", rows),
        ("conflicts", rows, "--config", config),
        ("conflicts", f"--config={config}", rows),
    ):
        (tmp_path / "found.csv").unlink(missing_ok=True)
        assert told(*line) | {"out": asked["out"]} == asked


def test_the_line_comes_first(tmp_path, rows):
    config = written(tmp_path, f'[conflicts]\nlabel_column = "nonsense"\nout = "{tmp_path}/found.csv"\n')
    assert "nonsense" in run("conflicts", rows, "--config", config, code=1).stderr
    assert told("conflicts", rows, "--label-column", "stars", "--config", config)["rows"] == 3


def test_a_list_a_flag_and_a_command_of_a_group(tmp_path, rows):
    keys = f'label-column = "stars"\ntext-column = ["text"]\njson = true\nout = "{tmp_path}/found.csv"'
    config = written(tmp_path, f"[conflicts]\n{keys}\n")
    assert run("conflicts", rows, "--config", config).stdout.startswith("{")
    config = written(tmp_path, '[audit.draw]\nsize = "many"\n')
    assert (
        "'--size': Input should be a valid integer"
        in run("audit", "draw", rows.parent, "--config", config, code=2).stderr
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[conflict]\n", "team.toml: conflict is no command: did you mean 'conflicts'?"),
        ("conflicts = 3\n", "team.toml: conflicts = 3: expected a table, [conflicts], of its options"),
        (
            "[conflicts]\nlabel-colum = 1\n",
            "[conflicts]: label-colum is no option: did you mean 'label-column'?",
        ),
        ("[conflicts\n", "not a TOML file"),
    ],
)
def test_mistakes_are_told(tmp_path, rows, text, message):
    assert message in run("conflicts", rows, "--config", written(tmp_path, text), code=1).stderr


def test_mistakes_within_a_group_are_told(tmp_path):
    for text, message in (
        ("[audit.drew]\nsize = 3\n", "[audit]: drew is no option: did you mean 'draw'?"),
        ("[audit.draw]\nsizes = 3\n", "[audit.draw]: sizes is no option: did you mean 'size'?"),
    ):
        config = written(tmp_path, text)
        assert message in run("audit", "draw", tmp_path, "--config", config, code=1).stderr


def test_a_missing_file_is_told(tmp_path):
    missing = tmp_path / "none.toml"
    assert f"{missing}: no such file" in run("recipes", "--config", missing, code=1).stderr


def test_another_word_is_the_configuration_of_a_dataset(tmp_path, rows):
    told = run("clusters", rows, "--out", tmp_path / "found.csv", "--config", "v2", code=1).stderr
    assert "has no config 'v2'" in told
