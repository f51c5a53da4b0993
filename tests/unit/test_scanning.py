"""`textlabel scan`, and the refusal to publish."""

import csv
import json

import pytest
from datasets import Dataset, load_dataset
from labeled_folder import labeled
from name_marker import write_marker
from typer.testing import CliRunner

from textlabel import Labeler
from textlabel.cli.app import app
from textlabel.errors import CorpusError, ExportError
from textlabel.models.names import People
from textlabel.redaction import Scan
from textlabel.scanning import refuse_personal_data, scan, without_personal_data

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


@pytest.fixture(scope="module")
def marker(tmp_path_factory):
    return write_marker(tmp_path_factory.mktemp("scan") / "marker")


def test_names_are_found_masked_and_taken_out_with_a_model(marker, tmp_path):
    rows = [
        {"id": "a", "text": "the screen wrote to jane.doe@example.org", "note": "plot"},
        {"id": "b", "text": "nothing at all", "note": None},
    ]
    corpus, out = tmp_path / "rows.jsonl", tmp_path / "clean.jsonl"
    corpus.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["scan", str(corpus), "--names", str(marker), "--redact", str(out), "--json"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["rows_with"] == {"email": 1, "iban": 0, "card": 0, "ip": 0, "phone": 0, "name": 1}
    assert told["examples"]["name"] == ["******", "****"]
    clean = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(row["text"], row["note"]) for row in clean] == [
        ("the [NAME] wrote to [EMAIL]", "[NAME]"),
        ("nothing at all", None),
    ]
    assert "name" not in scan(Dataset.from_list(rows))["rows_with"]  # only where it is asked for


def test_a_name_in_an_address_stays_an_address(marker):
    rows = Dataset.from_list([{"text": "plot@example.org and plot"}])
    assert without_personal_data(rows, People(marker))["text"][0] == "[EMAIL] and [NAME]"


def test_a_model_that_is_not_there_is_said(corpus, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    done = CliRunner().invoke(app, ["scan", str(corpus), "--names", "./nowhere"])
    assert done.exit_code == 1
    assert "nowhere" in done.stderr


def test_all_columns_are_looked_at_ids_numbers_and_what_is_nested():
    row = {
        "id": "jane.doe@example.org",
        "text": "nothing",
        "author": {"email": "bob@example.org", "age": 31},
        "cc": ["eve@example.org", "x"],
        "phone": 13800138000,
        "card": 4111111111111111,
        "score": 0.5,
    }
    rows = Dataset.from_list([row])
    told = scan(rows)
    assert told["rows_with"] == {"email": 1, "iban": 0, "card": 1, "ip": 0, "phone": 1}
    assert told["ids"] == 1
    with pytest.raises(ExportError, match="Ids of 1 rows hold some: rename them"):
        refuse_personal_data(rows, 0.0, "there")
    clean = without_personal_data(rows)[0]
    assert clean["author"] == {"email": "[EMAIL]", "age": 31}
    assert clean["cc"] == ["[EMAIL]", "x"]
    assert (clean["phone"], clean["card"], clean["id"]) == (None, None, row["id"])


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_a_labeled_corpus_keeps_its_columns_and_can_be_fitted(tmp_path, kind, ending):
    rows = [{"nr": "007", "review": "call 07700900123", "label": "negative", "stars": 2}]
    rows += [{"nr": "7", "review": "", "label": "positive", "stars": 5}] * 2  # blank, and an id twice
    place = tmp_path / f"rows.{kind}"
    {"csv": Dataset.to_csv, "jsonl": Dataset.to_json, "parquet": Dataset.to_parquet}[kind](
        Dataset.from_list(rows), str(place)
    )
    out = tmp_path / f"clean.{ending}"
    Scan(str(place), redact=str(out)).run()
    read = load_dataset(
        "json" if ending == "jsonl" else ending, data_files=str(out), split="train", cache_dir=str(tmp_path)
    )
    assert read.column_names == list(rows[0])
    assert read["review"][0] == "call [PHONE]"
    assert read["label"][:] == ["negative", "positive", "positive"]
    if kind != "csv" and ending != "csv":
        assert read["stars"][:] == [2, 5, 5]
        assert read["nr"][0] == "007"


@pytest.mark.parametrize("kind", ["dataset", "parquet", "jsonl", "csv", "label_studio"])
def test_annotations_of_each_format_are_redacted_with_the_names_of_their_classes(tmp_path, kind):
    folder = labeled(tmp_path, 20, format=kind)
    out = tmp_path / "clean.csv"
    Scan(str(folder), redact=str(out)).run()
    with out.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["label"] for row in rows} <= {"negative", "positive"}
    assert sum(json.loads(rows[0]["probabilities"])) == pytest.approx(1, abs=1e-3)
    assert Labeler(str(tmp_path / "static"), cache=False).fit(str(out)).schema.names
