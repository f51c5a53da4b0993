"""Plugins: one file, one plugin, its name in the file.

A plugin of kind ``tune`` is a module ``textlabel/tune/NAME.py``, or an entry point of the group
``textlabel.tune`` in somebody's own package. Only the file asked for is imported; listing reads
names from the folder and from package metadata without importing anything.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType

from textlabel.errors import PluginError, nearest

#: kind -> the package that holds its built-in plugins
KINDS: dict[str, str] = {
    "tune": "textlabel.tune",
    "objective": "textlabel.objective",
    "augment": "textlabel.augment",
    "attribution": "textlabel.attribution",
    "backend": "textlabel.engine.backends",
    "calibrator": "textlabel.trust.calibrators",
    "score": "textlabel.trust.scores",
    "off_map": "textlabel.trust.off_map",
    "certificate": "textlabel.trust.certificates",
    "export": "textlabel.export",
    "strategy": "textlabel.ask.strategies",
    "stopping": "textlabel.ask.stopping",
    "label_model": "textlabel.rules.models",
}


def _builtin(kind: str) -> dict[str, str]:
    folder = Path(__file__).parent.joinpath(*KINDS[kind].split(".")[1:])
    found = (m.name for m in pkgutil.iter_modules([str(folder)]))
    return {name: f"{KINDS[kind]}.{name}" for name in found if not name.startswith("_")}


@cache
def plugins(kind: str) -> dict[str, str]:
    """Return ``{plugin name: module path}`` of one kind, importing none of them.

    Raises
    ------
    PluginError : unknown kind, two plugins of one name, or a built-in shadowed.

    Examples
    --------
    >>> plugins("tune")["head"]
    'textlabel.tune.head'
    """
    if kind not in KINDS:
        raise PluginError(f"unknown plugin kind {kind!r}: {nearest(kind, KINDS)}")
    names = _builtin(kind)
    for point in metadata.entry_points(group=f"textlabel.{kind}"):
        if point.name in names and names[point.name] != point.value:
            raise PluginError(
                f"{kind} plugin {point.name!r} is defined twice: {names[point.name]} and "
                f"{point.value}; rename or uninstall one of them"
            )
        names[point.name] = point.value
    return dict(sorted(names.items()))


def load(kind: str, name: str) -> ModuleType:
    """Return the module of one plugin, imported now.

    Raises
    ------
    PluginError : no such plugin, or its file names itself differently.
    """
    known = plugins(kind)
    if name not in known:
        raise PluginError(f"unknown {kind} {name!r}: {nearest(name, known)}")
    module = importlib.import_module(known[name])
    if getattr(module, "NAME", None) != name:
        found = getattr(module, "NAME", None)
        raise PluginError(f"{known[name]} must define NAME = {name!r}; it has {found!r}")
    return module
