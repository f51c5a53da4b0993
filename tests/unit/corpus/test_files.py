"""Each kind of damaged file is told by file, row and column, or its bad rows are left out."""

import csv
from pathlib import Path

import pytest

from textlabel.corpus.load import load_corpus, load_with_rejects
from textlabel.errors import CorpusError

WAY_OUT = ". Mend the row, or leave such rows out with on_bad_row='skip'"

#: file name, its bytes, and the message after the file's path
BAD_ROWS = {
    "too few fields": (
        "a.csv",
        b"text,label\nfine,good\nfine\n",
        ", row 3, column 'label': is missing: the header has 2 columns, this row 1" + WAY_OUT,
    ),
    "too many fields": (
        "a.csv",
        b"text,label\nfine, really,good\n",
        ", row 2, column 'label': is followed by more fields: the header has 2 columns, this row 3; "
        "put a text that holds the separator in quotes" + WAY_OUT,
    ),
    "row after a quoted newline and a blank line": (
        "a.csv",
        b'text,label\r\n"two\r\nlines",good\r\n\r\nfine\r\n',
        ", row 5, column 'label': is missing: the header has 2 columns, this row 1" + WAY_OUT,
    ),
    "old Mac line ends": (
        "a.tsv",
        b"text\tlabel\rfine\tgood\rfine\r",
        ", row 3, column 'label': is missing: the header has 2 columns, this row 1" + WAY_OUT,
    ),
    "Latin-1": (
        "a.csv",
        'label,text\ngood,fine\ngood,"a\ncafé"\n'.encode("latin-1"),
        ", row 3, column 'text': is not UTF-8: byte 0xe9 at offset 32 of the file; save the file as UTF-8"
        + WAY_OUT,
    ),
    "Latin-1 after a byte order mark and UTF-8": (
        "a.csv",
        b"\xef\xbb\xbftext\n\xc3\xa9\n\xe9\n",
        ", row 3, column 'text': is not UTF-8: byte 0xe9 at offset 11 of the file; save the file as UTF-8"
        + WAY_OUT,
    ),
    "NUL byte": (
        "a.csv",
        b"text,label\nfi\0ne,good\n",
        ", row 2, column 'text': holds a NUL byte at offset 13 of the file; save the file as UTF-8 text"
        + WAY_OUT,
    ),
    "empty text": ("a.csv", b"text,label\n,good\n", ", row 2, column 'text': the text is empty" + WAY_OUT),
    "blank text": (
        "a.csv",
        "text,label\n\u00a0\t,good\n".encode(),
        ", row 2, column 'text': the text is empty" + WAY_OUT,
    ),
    "missing label": (
        "a.csv",
        b"text,label\nfine,\n",
        ", row 2, column 'label': the label is empty" + WAY_OUT,
    ),
    "not JSON": (
        "a.jsonl",
        b'{"text": "fine", "label": "good"}\n\n{"text": "fi\n',
        ", row 3: expected one JSON object, got text that is not JSON: "
        "Unterminated string starting at: line 1 column 10 (char 9)" + WAY_OUT,
    ),
    "JSON array": (
        "a.json",
        b'["text", "label"]\n',
        ", row 1: expected one JSON object, got a list" + WAY_OUT,
    ),
    "Latin-1 in jsonl": (
        "a.jsonl",
        b'{"text": "fine", "label": "good"}\n{"text": "\xe9", "label": "good"}\n',
        ", row 2: is not UTF-8: byte 0xe9 at offset 44 of the file; save the file as UTF-8" + WAY_OUT,
    ),
    "text missing": (
        "a.jsonl",
        b'{"text": "fine", "label": "good"}\n{"label": "good"}\n',
        ", row 2, column 'text': the text is missing" + WAY_OUT,
    ),
    "text is a number": (
        "a.jsonl",
        b'{"text": "fine", "label": "good"}\n{"text": 5, "label": "good"}\n',
        ", row 2, column 'text': expected a string, got 5" + WAY_OUT,
    ),
    "text is a long list": (
        "a.jsonl",
        b'{"text": [' + b'"word", ' * 20 + b'"end"], "label": "good"}\n',
        ", row 1, column 'text': expected a string, got a list" + WAY_OUT,
    ),
    "label of another type": (
        "a.jsonl",
        b'{"text": "fine", "label": "good"}\n{"text": "bad", "label": 0}\n',
        ", row 2, column 'label': expected a string, got 0" + WAY_OUT,
    ),
    "half a surrogate pair": (
        "a.jsonl",
        b'{"text": "\\ud800", "label": "good"}\n',
        ", row 1, column 'text': holds half of a surrogate pair, which is not a character" + WAY_OUT,
    ),
    "huge number": (
        "a.jsonl",
        b'{"text": "fine", "label": "a", "n": 1}\n{"text": "b", "label": "a", "n": 123456789012345678901}\n',
        ", row 2, column 'n': holds a value that Arrow cannot store: "
        "Python int too large to convert to C long" + WAY_OUT,
    ),
}


def write(folder: Path, name: str, content: bytes) -> Path:
    (folder / name).write_bytes(content)
    return folder / name


@pytest.mark.parametrize("case", BAD_ROWS)
def test_bad_row_is_named(case: str, tmp_path: Path) -> None:
    name, content, message = BAD_ROWS[case]
    path = write(tmp_path, name, content)
    with pytest.raises(CorpusError) as caught:
        load_corpus(path, label_column="label" if b"label" in content else None)
    assert str(caught.value) == f"{path}{message}"


@pytest.mark.parametrize("case", BAD_ROWS)
def test_bad_row_is_left_out(case: str, tmp_path: Path) -> None:
    name, content, message = BAD_ROWS[case]
    end = {".csv": b"sound,good\n", ".tsv": b"sound\tgood\r"}.get(
        Path(name).suffix, b'\n{"text": "sound", "label": "good"}\n'
    )
    if b"label,text" in content:
        end = b"good,sound\n"
    path = write(tmp_path, name, content + (end if b"label" in content else b"sound\n"))
    corpus, rejects = load_with_rejects(path, label_column="label" if b"label" in content else None)
    assert corpus["text"][-1] == "sound"
    assert [str(reject) + WAY_OUT for reject in rejects] == [f"{path}{message}"]


BAD_FILES = {
    "empty": ("a.csv", b"", ": the file is empty; expected a header row and rows of data"),
    "byte order mark only": (
        "a.csv",
        b"\xef\xbb\xbf",
        ": the file is empty; expected a header row and rows of data",
    ),
    "empty jsonl": ("a.jsonl", b"\n\n", ": there are no rows; expected at least one"),
    "header only": ("a.csv", b"text,label\n", ": there are no rows; expected at least one"),
    "column twice": (
        "a.csv",
        b"text,label,text\nfine,good,fine\n",
        ", row 1, column 'text': two columns have this name; rename one of them",
    ),
    "another separator": (
        "a.csv",
        b"text;label\nfine;good\n",
        ", row 1, column 'text;label': the header is one column and holds ';'; expected ',' between columns "
        "(.csv: comma, .tsv: tab): save the file so, or rename it",
    ),
    "UTF-16": (
        "a.csv",
        "text\nfine\n".encode("utf-16"),
        ", row 1: the header is not UTF-8: byte 0xff at offset 0 of the file; save the file as UTF-8",
    ),
    "open quote": (
        "a.csv",
        b'text,label\n"fine,good\nbad,bad\n',
        ", row 2: the quotes of this row do not match: unexpected end of data (read up to line 3); "
        "a quote within a quoted field is written twice",
    ),
    "text after a quote": (
        "a.csv",
        b'text,label\nfine,good\n"fine" really,good\n',
        ", row 3: the quotes of this row do not match: ',' expected after '\"' (read up to line 3); "
        "a quote within a quoted field is written twice",
    ),
}


@pytest.mark.parametrize("mode", ["fail", "skip"])
@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_file_is_named_whatever_is_done_with_bad_rows(case: str, mode: str, tmp_path: Path) -> None:
    name, content, message = BAD_FILES[case]
    path = write(tmp_path, name, content)
    with pytest.raises(CorpusError) as caught:
        load_corpus(path, on_bad_row=mode)
    assert str(caught.value) in {f"{path}{message}", f"{path}{message.replace('0xff', '0xfe')}"}


def test_quotes_within_an_unquoted_field_and_long_fields_are_fine(tmp_path: Path) -> None:
    long = "word " * 40_000
    path = write(tmp_path, "a.csv", f'text,n\na 5" screen,1\n"{long}",2\n'.encode())
    limit = csv.field_size_limit()
    assert load_corpus(path)["text"][:] == ['a 5" screen', long]
    assert csv.field_size_limit() == limit


def test_csv_columns_stay_strings(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", b"text,zip,when,flag\nfine,00501,2020-01-01,true\nbad,NA,,\n")
    assert load_corpus(path).remove_columns("id").to_list() == [
        {"text": "fine", "zip": "00501", "when": "2020-01-01", "flag": "true"},
        {"text": "bad", "zip": "NA", "when": "", "flag": ""},
    ]


def test_json_values_keep_their_types(tmp_path: Path) -> None:
    lines = b'{"text": "a", "n": 1, "d": "2020-01-01", "o": {"x": 1}, "l": [1, 2]}\n'
    lines += b'{"text": "b", "n": 2.5, "late": true}\n'
    corpus = load_corpus(write(tmp_path, "a.jsonl", lines))
    assert corpus.remove_columns(["id", "text"]).to_list() == [
        {"n": 1.0, "d": "2020-01-01", "o": {"x": 1}, "l": [1, 2], "late": None},
        {"n": 2.5, "d": None, "o": None, "l": None, "late": True},
    ]


def test_lines_separated_otherwise_than_by_a_newline_are_one_line(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", '{"text": "a\u2028b\u0085c"}\n{"text": ""}\n'.encode())
    with pytest.raises(CorpusError, match="row 2, column 'text': the text is empty"):
        load_corpus(path)


def test_types_that_change_from_chunk_to_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("textlabel.corpus.records.CHUNK", 2)
    lines = (
        b'{"text": "a", "n": null}\n' * 3 + b'{"text": "b", "n": 1}\n' * 3 + b'{"text": "c", "n": 2.5}\n' * 2
    )
    path = write(tmp_path, "a.jsonl", lines)
    assert load_corpus(path)["n"][:] == [None, None, None, 1, 1, 1, 2.5, 2.5]
    path.write_bytes(lines + b'{"text": "d", "n": "many"}\n')
    with pytest.raises(CorpusError, match=r"a.jsonl, row 9, column 'n': expected a number, got 'many'"):
        load_corpus(path)
    corpus, rejects = load_with_rejects(path)
    assert (len(corpus), corpus["id"][-1], len(rejects)) == (8, "7", 1)


def test_values_that_mix_within_one_kind(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", b'{"text": "a", "l": [1]}\n{"text": "b", "l": ["x"]}\n')
    with pytest.raises(CorpusError, match=r"a.jsonl, column 'l': .*give every row a value of the same type"):
        load_corpus(path)
