"""`textlabel scan`, and the refusal to publish."""

import json

import pytest
from datasets import Dataset, load_dataset
from typer.testing import CliRunner

from textlabel.cli.app import app
from textlabel.errors import CorpusError, ExportError
from textlabel.scanning import Scan, refuse_personal_data, scan, without_personal_data

ROWS = [
    {"text": "write to jane.doe@example.org", "note": "+44 20 7946 0958", "stars": 5},
    {"text": "nothing at all", "note": None, "stars": 1},
    {"text": "john@example.org and jane.doe@example.org", "note": "", "stars": 3},
]


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def test_rows_are_counted_once_a_kind_and_examples_are_masked():
    told = scan(Dataset.from_list(ROWS))
    assert told["rows"] == 3
    assert told["rows_with_any"] == 2
    assert told["rows_with"] == {"email": 2, "iban": 0, "card": 0, "ip": 0, "phone": 1}
    shown = json.dumps(told["examples"])
    assert "jane" not in shown
    assert "7946" not in shown
    assert len(told["examples"]["email"]) == 2


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_a_redacted_corpus_has_all_else(corpus, tmp_path, ending):
    out = tmp_path / f"clean.{ending}"
    told = Scan(str(corpus), redact=str(out)).run()
    assert told["redacted"] == str(out)
    kind = "json" if ending == "jsonl" else ending
    clean = load_dataset(kind, data_files=str(out), split="train", cache_dir=str(tmp_path / "cache"))
    assert clean["text"][:] == ["write to [EMAIL]", "nothing at all", "[EMAIL] and [EMAIL]"]
    assert clean["note"][0] == "[PHONE]"
    assert clean["stars"][:] == [5, 1, 3]
    assert scan(clean)["rows_with_any"] == 0


def test_ids_are_not_touched():
    rows = Dataset.from_list([{"id": "a@b.org", "text": "c@d.org"}])
    assert without_personal_data(rows)[0] == {"id": "a@b.org", "text": "[EMAIL]"}


def test_nothing_is_replaced_and_endings_are_checked(corpus, tmp_path):
    for out in (corpus, tmp_path / "clean.xlsx"):
        with pytest.raises(ExportError, match=r"--redact|ends in"):
            Scan(str(corpus), redact=str(out)).run()
    assert not list(tmp_path.glob(".*"))


def test_publishing_is_refused_above_a_share():
    rows = Dataset.from_list(ROWS)
    with pytest.raises(ExportError, match=r"2 of 3 rows.*email in 2, phone in 1.*user/name") as told:
        refuse_personal_data(rows, 0.0, "user/name")
    assert "jane" not in str(told.value)
    refuse_personal_data(rows, 0.67, "user/name")
    refuse_personal_data(rows.select([1]), 0.0, "user/name")
    with pytest.raises(CorpusError, match="between 0 and 1"):
        refuse_personal_data(rows, 2.0, "user/name")


def test_the_command(corpus):
    done = CliRunner().invoke(app, ["scan", str(corpus)])
    assert done.exit_code == 0, done.stderr
    assert "2 of 3 rows" in done.stdout
    told = json.loads(CliRunner().invoke(app, ["scan", str(corpus), "--json"]).stdout)
    assert told["rows_with"]["email"] == 2
