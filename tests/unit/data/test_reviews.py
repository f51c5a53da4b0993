"""The shipped reviews are what SOURCE.md says, and rebuild.py makes them from the archive."""

import hashlib
import importlib.util
import io
import json
import os
import re
import sys
import tarfile
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

DATA = Path(__file__).parents[3] / "data"
FILES = ("movie", "product")
ARCHIVE = os.environ.get("TEXTLABEL_VADER_SDIST")


@pytest.fixture(scope="module")
def rebuild() -> ModuleType:
    spec = importlib.util.spec_from_file_location("data_rebuild", DATA / "rebuild.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows_of(name: str) -> list[dict]:
    lines = (DATA / "reviews" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("name", FILES)
def test_counts_are_those_of_source_md(name: str) -> None:
    rows = rows_of(name)
    labels = Counter(row["label"] for row in rows)
    scores = [row["score"] for row in rows]
    signs = (sum(s > 0 for s in scores), sum(s < 0 for s in scores), sum(s == 0 for s in scores))
    expected = (len(rows), labels["positive"], labels["neutral"], labels["negative"], *signs)
    line = next(
        li for li in (DATA / "SOURCE.md").read_text().splitlines() if li.startswith(f"| `reviews/{name}")
    )
    assert tuple(map(int, re.findall(r"\| (\d+)(?= \|)", line))) == expected


@pytest.mark.parametrize("name", FILES)
def test_bytes_are_those_of_source_md(name: str) -> None:
    content = (DATA / "reviews" / f"{name}.jsonl").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    assert f"| `reviews/{name}.jsonl` | {len(content)} | {digest} |" in (DATA / "SOURCE.md").read_text()


def test_rows_are_clean_and_distinct(rebuild: ModuleType) -> None:
    rows = rows_of("movie") + rows_of("product")
    assert len({row["id"] for row in rows}) == len(rows)
    assert len({rebuild.key(row["text"]) for row in rows}) == len(rows)
    assert all(list(row) == ["id", "text", "label", "score"] for row in rows)
    assert all(rebuild.clean(row["text"]) == row["text"] for row in rows)
    assert all(rebuild.label_of(row["score"]) == row["label"] for row in rows)
    assert all(-4 <= row["score"] <= 4 for row in rows)


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("at &amp;#38; t", "at & t"),
        ("a \t b\u00a0 c ", "a b c"),
        ("cafe\u0301", "caf\u00e9"),
        (
            "write to (joe.bloggs@mail.example.org), or 49.99 @ shop.com",
            "write to ([email]), or 49.99 @ shop.com",
        ),
    ],
)
def test_clean(rebuild: ModuleType, raw: str, cleaned: str) -> None:
    assert rebuild.clean(raw) == cleaned


@pytest.mark.parametrize(
    ("score", "label"),
    [(0.5, "positive"), (0.4999, "neutral"), (0.0, "neutral"), (-0.4999, "neutral"), (-0.5, "negative")],
)
def test_label_of(rebuild: ModuleType, score: float, label: str) -> None:
    assert rebuild.label_of(score) == label


def test_text_that_was_decoded_wrongly_is_refused(rebuild: ModuleType) -> None:
    with pytest.raises(UnicodeDecodeError):
        list(rebuild.parse("1\t0.5\tcafé".encode("latin-1"), "movie"))
    with pytest.raises(ValueError, match="decoded wrongly before, at character 9"):
        list(rebuild.parse("1\t0.5\tcafé".encode().decode("latin-1").encode(), "movie"))


def tiny_archive(rebuild: ModuleType, movie: str, product: str) -> bytes:
    """Return an archive within an archive, laid out as the real one."""

    def tar(members: dict[str, bytes]) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w:gz") as archive:
            for name, content in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        return out.getvalue()

    texts = {rebuild.MEMBERS["movie"]: movie.encode(), rebuild.MEMBERS["product"]: product.encode()}
    return tar({rebuild.NESTED: tar(texts)})


def test_rebuild_of_a_tiny_archive(rebuild: ModuleType) -> None:
    movie = "1\t2.26666666667\tA  fine caf\u00e9\r\n2\t-0.5\t'Bad!'\r\n3\t1\tbad"
    product = "\ufeff1_1\t0\tBAD.\r\n1_2\t0.1\t...\r\n1_3\t-0.15\tA &amp; B"
    members = rebuild.read_members(tiny_archive(rebuild, movie, product))
    assert rebuild.rebuild(members) == {
        "movie.jsonl": (
            '{"id": "movie-1", "text": "A fine café", "label": "positive", "score": 2.2667}\n'
            '{"id": "movie-2", "text": "\'Bad!\'", "label": "negative", "score": -0.5}\n'
        ).encode(),
        "product.jsonl": b'{"id": "product-1_3", "text": "A & B", "label": "neutral", "score": -0.15}\n',
    }


def run(rebuild: ModuleType, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["rebuild.py", *arguments])
    return rebuild.main()


def test_main_writes_then_checks(
    rebuild: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = tmp_path / "sdist.tar.gz"
    archive.write_bytes(tiny_archive(rebuild, "1\t1\tgood", "1_1\t-1\tbroken"))
    monkeypatch.setattr(rebuild, "REVIEWS", tmp_path / "reviews")
    with pytest.raises(SystemExit, match="expected sha256 5d7c06e0"):
        run(rebuild, monkeypatch, str(archive))
    assert not (tmp_path / "reviews").exists()
    monkeypatch.setattr(rebuild, "SHA256", hashlib.sha256(archive.read_bytes()).hexdigest())
    assert run(rebuild, monkeypatch, str(archive), "--check") == 1
    assert run(rebuild, monkeypatch, str(archive)) == 0
    assert run(rebuild, monkeypatch, str(archive), "--check") == 0
    (tmp_path / "reviews" / "movie.jsonl").write_text("changed")
    capsys.readouterr()
    assert run(rebuild, monkeypatch, str(archive), "--check") == 1
    assert re.search(r"movie\.jsonl: 1 rows, .*DIFFERENT", capsys.readouterr().out)


@pytest.mark.slow
@pytest.mark.skipif(ARCHIVE is None, reason="TEXTLABEL_VADER_SDIST does not name the source distribution")
def test_rebuild_from_the_real_archive(rebuild: ModuleType) -> None:
    archive = Path(ARCHIVE or "").read_bytes()
    for name, content in rebuild.rebuild(rebuild.read_members(archive)).items():
        assert (DATA / "reviews" / name).read_bytes() == content
