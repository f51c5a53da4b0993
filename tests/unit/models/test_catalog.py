"""The list of backbones is consistent in itself, and says what to do about a wrong name."""

from __future__ import annotations

import hashlib
import re

import pytest

from textlabel.errors import BackboneError
from textlabel.models import catalog
from textlabel.models.catalog import WEIGHTS, Carrier, Hub, Wheel

ENTRIES = catalog.entries()
each_entry = pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
SHA256 = re.compile(r"[0-9a-f]{64}")


def test_the_promised_backbones_are_there() -> None:
    assert set(ENTRIES) >= {
        "all-MiniLM-L6-v2",
        "all-mpnet-base-v2",
        "bge-small-en-v1.5-int8",
        "paraphrase-MiniLM-L3-v2",
        "potion-base-8M",
    }


@each_entry
def test_names_and_files_are_plain_file_names(entry: catalog.Entry) -> None:
    for name in (entry.name, *entry.hashes):
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name)


@each_entry
def test_everything_is_pinned(entry: catalog.Entry) -> None:
    assert entry.sources
    assert all(SHA256.fullmatch(value) for value in entry.hashes.values())
    for source in entry.sources:
        if isinstance(source, Hub):
            assert re.fullmatch(r"[0-9a-f]{40}", source.revision)
        else:
            assert all("==" in wheel.pin and SHA256.fullmatch(wheel.sha256) for wheel in source.wheels)


@each_entry
def test_parts_are_listed_in_the_order_in_which_they_are_joined(entry: catalog.Entry) -> None:
    for source in entry.sources:
        if isinstance(source, Carrier):
            pins = [wheel.pin for wheel in source.wheels]
            assert pins == sorted(pins)
            assert len(pins) == (len(source.nested) or 1)


@each_entry
def test_a_borrowed_file_is_the_lenders(entry: catalog.Entry) -> None:
    for file, lender in entry.borrows.items():
        assert entry.hashes[file] == ENTRIES[lender].hashes[file]
        assert file in ENTRIES[lender].sourced


@each_entry
def test_a_configuration_written_here_has_its_hash(entry: catalog.Entry) -> None:
    if entry.config:
        assert hashlib.sha256(entry.config_text().encode()).hexdigest() == entry.files["config.json"]
        assert "config.json" not in entry.sourced


@each_entry
def test_kinds_have_the_files_that_their_loaders_read(entry: catalog.Entry) -> None:
    assert "tokenizer.json" in entry.hashes
    assert ("config.json" in entry.hashes) == (entry.kind == "transformer")
    assert (entry.layers == 0) == (entry.kind == "static")


@pytest.mark.parametrize("name", ["all-minilm-l6-v2", "all-MiniLM-L6-v2/", "all-MiniLM-L6", ""])
def test_only_the_exact_name_will_do(name: str) -> None:
    with pytest.raises(BackboneError, match="no registered backbone is called"):
        catalog.entry(name)


def test_a_wrong_name_is_told_the_nearest() -> None:
    with pytest.raises(BackboneError, match="did you mean 'potion-base-8M'"):
        catalog.entry("potion-base8M")


def test_members_and_labels() -> None:
    wheels = (Wheel("a-1==1", "0" * 64), Wheel("a-2==1", "1" * 64))
    source = Carrier(wheels, folder="deep/er", weights="m.onnx")
    assert source.member(WEIGHTS) == "deep/er/m.onnx"
    assert source.member("config.json") == "deep/er/config.json"
    assert Carrier(wheels).member("config.json") == "config.json"
    assert source.label == "package a-1==1 and 1 more parts"
    assert Carrier(wheels[:1]).label == "package a-1==1"
    assert Hub("owner/name", "0123456789").label == "Hub owner/name@01234567"
