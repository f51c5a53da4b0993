"""The error tree: every failure that a user can mend is one of these.

    TextlabelError
    ├── CorpusError        a file, row or column of the input is not usable
    ├── RecipeError        a recipe or job file asks for something that makes no sense
    ├── PluginError        an unknown, duplicate or shadowing plugin
    ├── BackboneError      weights cannot be found, fetched, verified or loaded
    ├── BundleError        a saved classifier is missing, damaged or of another version
    ├── TrainingError      a fit cannot start, or diverged
    ├── AuditError         an audit, its answers or a certificate do not hold what they should
    ├── ClusterError       a cluster cannot be reached, or a node of it cannot do its part
    └── ExportError        a result cannot be written or published

Each message says what was expected, what came, and what to do. The command line prints the
message alone; ``--debug`` adds the traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TextlabelError(Exception):
    """Base of every error that textlabel raises on purpose."""


class CorpusError(TextlabelError):
    """A file, row or column of the input is not usable."""


class RecipeError(TextlabelError):
    """A recipe or job file asks for something that makes no sense."""


class PluginError(TextlabelError):
    """A plugin is unknown, defined twice, or shadows a built-in."""


class BackboneError(TextlabelError):
    """Backbone weights cannot be found, fetched, verified or loaded."""


class BundleError(TextlabelError):
    """A saved classifier is missing, damaged, or of another version."""


class TrainingError(TextlabelError):
    """A fit cannot start, or its loss is no longer a number."""


class AuditError(TextlabelError):
    """An audit, its answers or a certificate do not hold what they should."""


class ClusterError(TextlabelError):
    """A cluster cannot be reached, or a node of it cannot do its part."""


class ExportError(TextlabelError):
    """A result cannot be written or published."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a hint naming the known word closest to ``word``, or all known words.

    Examples
    --------
    >>> nearest("epoch", ["epochs", "seed"])
    "did you mean 'epochs'?"
    >>> nearest("zzz", ["a", "b"])
    'known: a, b'
    """
    options = sorted(known)
    close = difflib.get_close_matches(word, options, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(options)}"
