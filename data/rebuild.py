"""Rebuild ``data/reviews/*.jsonl`` byte for byte from the source distribution of vaderSentiment 3.3.2.

    python data/rebuild.py vaderSentiment-3.3.2.tar.gz            # write the files
    python data/rebuild.py vaderSentiment-3.3.2.tar.gz --check    # compare them; exit 1 on a difference

The archive is read in memory and nothing in it is run. `SOURCE.md` says what it is, under which
licence, and where to get it.
"""

from __future__ import annotations

import argparse
import hashlib
import html
import io
import json
import re
import sys
import tarfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SHA256 = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
NESTED = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
#: our file name -> the member of the nested archive it is made from
MEMBERS = {
    "movie": "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt",
    "product": "hutto_ICWSM_2014/amazonReviewSnippets_GroundTruth.txt",
}
REVIEWS = Path(__file__).parent / "reviews"

EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
#: U+FFFD, or UTF-8 that was once read as Latin-1 or Windows-1252 and saved again
MOJIBAKE = re.compile("\N{REPLACEMENT CHARACTER}|[\u00c2\u00c3][\u0080-\u00bf]|\u00e2(?:\u20ac|\u0080)")


class Snippet(NamedTuple):
    """One row of the written files; the fields are the keys, in their order."""

    id: str
    text: str
    label: str
    score: float


def clean(text: str) -> str:
    """Return ``text`` with entities decoded, e-mail addresses masked, NFC, white space folded.

    >>> clean(" plug &amp; play,  write to a.b@c.com ")
    'plug & play, write to [email]'
    """
    while (decoded := html.unescape(text)) != text:  # the source has some that were encoded twice
        text = decoded
    return " ".join(EMAIL.sub("[email]", unicodedata.normalize("NFC", text)).split())


def key(text: str) -> str:
    """Return what two repeats share: the letters and digits of ``text``, case folded.

    >>> key("Buyer beware!") == key("...  buyer BEWARE")
    True
    """
    return "".join(c for c in text.casefold() if c.isalnum())


def label_of(score: float) -> str:
    """Return positive from a mean rating of 0.5 upward, negative from -0.5 downward, else neutral."""
    if abs(score) < 0.5:
        return "neutral"
    return "positive" if score > 0 else "negative"


def parse(raw: bytes, name: str) -> Iterator[Snippet]:
    """Yield the cleaned rows of one file of ``id TAB mean rating TAB text`` lines.

    Raises
    ------
    ValueError : a line that is not UTF-8, was decoded wrongly before, or lacks a field.
    """
    text = raw.decode("utf-8-sig")
    if damage := MOJIBAKE.search(text):
        raise ValueError(f"{name}: text that was decoded wrongly before, at character {damage.start()}")
    for line in text.splitlines():
        row, rating, snippet = line.split("\t")
        score = round(float(rating), 4)
        yield Snippet(f"{name}-{row}", clean(snippet), label_of(score), score)


def distinct(snippets: Iterator[Snippet], seen: set[str]) -> Iterator[Snippet]:
    """Yield the snippets that hold a letter or digit and whose key is not in ``seen``, adding it."""
    for snippet in snippets:
        if (found := key(snippet.text)) and found not in seen:
            seen.add(found)
            yield snippet


def read_members(archive: bytes) -> dict[str, bytes]:
    """Return the bytes of the two rating files, read from the archive within the archive."""

    def read(tar: tarfile.TarFile, member: str) -> bytes:
        file = tar.extractfile(member)
        assert file is not None, f"{member} is not a regular file"
        return file.read()

    with tarfile.open(fileobj=io.BytesIO(archive)) as outer:
        inner = read(outer, NESTED)
    with tarfile.open(fileobj=io.BytesIO(inner)) as nested:
        return {name: read(nested, member) for name, member in MEMBERS.items()}


def rebuild(members: dict[str, bytes]) -> dict[str, bytes]:
    """Return the content of each file of ``reviews/``; a repeat keeps its first place, movies first."""
    seen: set[str] = set()
    files = {}
    for name, raw in members.items():
        rows = distinct(parse(raw, name), seen)
        lines = [json.dumps(row._asdict(), ensure_ascii=False) + "\n" for row in rows]
        files[f"{name}.jsonl"] = "".join(lines).encode()
    return files


def main() -> int:
    """Write or check the files; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("archive", type=Path, help="vaderSentiment-3.3.2.tar.gz")
    parser.add_argument("--check", action="store_true", help="compare with the files here, write nothing")
    arguments = parser.parse_args()
    archive = arguments.archive.read_bytes()
    found = hashlib.sha256(archive).hexdigest()
    if found != SHA256:
        sys.exit(
            f"{arguments.archive}: expected sha256 {SHA256}, got {found}; fetch it again (see SOURCE.md)"
        )
    files = rebuild(read_members(archive))
    if not arguments.check:
        REVIEWS.mkdir(exist_ok=True)
        for name, content in files.items():
            (REVIEWS / name).write_bytes(content)
    different = [
        n for n, c in files.items() if not (REVIEWS / n).is_file() or (REVIEWS / n).read_bytes() != c
    ]
    for name, content in files.items():
        state = "DIFFERENT" if name in different else "same"
        rows = len(content.splitlines())
        print(f"{name}: {rows} rows, sha256 {hashlib.sha256(content).hexdigest()}, {state}")
    return bool(different)


if __name__ == "__main__":
    sys.exit(main())
