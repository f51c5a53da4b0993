from importlib import metadata

import pytest

from textlabel import registry
from textlabel.errors import PluginError


@pytest.fixture(autouse=True)
def _fresh_cache():
    registry.plugins.cache_clear()
    yield
    registry.plugins.cache_clear()


@pytest.mark.parametrize("kind", sorted(registry.KINDS))
def test_every_plugin_carries_its_own_name(kind):
    assert registry.plugins(kind)
    for name in registry.plugins(kind):
        assert name == registry.load(kind, name).NAME


def test_unknown_kind_and_name_are_named():
    with pytest.raises(PluginError, match="unknown plugin kind 'tunes': did you mean 'tune'"):
        registry.plugins("tunes")
    with pytest.raises(PluginError, match="unknown objective 'crossentropy'"):
        registry.load("objective", "crossentropy")


def _entry_points(monkeypatch, name, value):
    point = metadata.EntryPoint(name, value, "textlabel.tune")
    monkeypatch.setattr(
        registry.metadata, "entry_points", lambda group: [point] if group == "textlabel.tune" else []
    )


def test_somebody_elses_plugin_is_found_by_entry_point(monkeypatch):
    _entry_points(monkeypatch, "mine", "their_package.mine")
    assert registry.plugins("tune")["mine"] == "their_package.mine"


def test_a_builtin_cannot_be_shadowed(monkeypatch):
    _entry_points(monkeypatch, "lora", "their_package.lora")
    with pytest.raises(
        PluginError, match=r"'lora' is defined twice: textlabel\.tune\.lora and their_package\.lora"
    ):
        registry.plugins("tune")


def test_a_file_must_name_itself(monkeypatch):
    _entry_points(monkeypatch, "mine", "textlabel.tune.full")
    with pytest.raises(PluginError, match=r"must define NAME = 'mine'; it has 'full'"):
        registry.load("tune", "mine")
