"""The ONNX reader: exact on what exporters write, a clear error on everything else."""

from __future__ import annotations

import hashlib
import json
import random
import struct
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from textlabel.errors import BackboneError
from textlabel.models.onnx_weights import bert_state, write_safetensors

FLOAT, UINT8, INT8, INT64 = 1, 2, 3, 7
QUERY = "encoder.layer.0.attention.self.query"
WORDS = "embeddings.word_embeddings.weight"


def varint(value: int) -> bytes:
    out = bytearray()
    value &= (1 << 64) - 1
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, value: int | bytes | str) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def tensor(name: str, dims: list[int], kind: int, data: bytes, more: bytes = b"") -> bytes:
    message = b"".join(field(1, d) for d in dims) + field(2, kind) + field(8, name) + data + more
    return field(5, message)


def floats(name: str, array: np.ndarray) -> bytes:
    return tensor(name, list(array.shape), FLOAT, field(9, array.astype("<f4").tobytes()))


def node(op: str, name: str, *inputs: str) -> bytes:
    return field(1, b"".join(field(1, i) for i in inputs) + field(3, name) + field(4, op))


def model(*parts: bytes) -> bytes:
    return field(1, 8) + field(2, "pytorch") + field(7, b"".join(parts))


def words(rows: int = 4) -> np.ndarray:
    return np.arange(rows * 3, dtype=np.float32).reshape(rows, 3)


def test_float_weights_are_named_and_transposed() -> None:
    matrix = np.arange(6, dtype=np.float32).reshape(3, 2)
    state = bert_state(
        model(
            floats(f"model.0.auto_model.{WORDS}", words()),
            floats(f"model.0.auto_model.{QUERY}.bias", np.ones(2)),
            floats("onnx::MatMul_470", matrix),
            floats("onnx::Shape_422", np.ones(1)),
            node(
                "MatMul",
                f"/model/model.0/auto_model/{QUERY.replace('.', '/')}/MatMul",
                "x",
                "onnx::MatMul_470",
            ),
            node("MatMul", "/encoder/layer.0/attention/self/MatMul", "x", "y"),
            node("Relu", "/encoder/layer.0/act/Relu", "x"),
        )
    )
    assert list(state) == [WORDS, f"{QUERY}.bias", f"{QUERY}.weight"]
    np.testing.assert_array_equal(state[f"{QUERY}.weight"], matrix.T)
    np.testing.assert_array_equal(state[WORDS], words())
    assert all(a.dtype == np.float32 and a.flags.c_contiguous for a in state.values())


def test_eight_bit_weights_are_dequantized_by_hand() -> None:
    def quantized(base: str, dims: list[int], kind: int, raw: bytes, zero: int, scale: float) -> bytes:
        return (
            tensor(f"{base}_quantized", dims, kind, field(9, raw))
            + tensor(f"{base}_zero_point", [], kind, field(5, varint(zero)))
            + tensor(f"{base}_scale", [], FLOAT, field(4, struct.pack("<f", scale)))
        )

    state = bert_state(
        model(
            quantized(WORDS, [2, 2], UINT8, bytes([0, 128, 129, 255]), 128, 0.5),
            quantized("onnx::MatMul_1", [1, 3], INT8, struct.pack("3b", -128, -3, 127), -3, 0.25),
            node(
                "MatMulInteger",
                f"/{QUERY.replace('.', '/')}/MatMul_quant",
                "x",
                "onnx::MatMul_1_quantized",
                "z",
            ),
        )
    )
    np.testing.assert_array_equal(state[WORDS], [[-64.0, 0.0], [0.5, 63.5]])
    np.testing.assert_array_equal(state[f"{QUERY}.weight"], [[-31.25], [0.0], [32.5]])
    assert set(state) == {WORDS, f"{QUERY}.weight"}


def test_every_way_of_storing_numbers_reads_the_same() -> None:
    array = words(2)
    packed_dims = field(1, varint(2) + varint(3)) + field(2, FLOAT) + field(8, WORDS)
    unpacked = b"".join(varint(4 << 3 | 5) + struct.pack("<f", x) for x in array.ravel())
    for message in (
        floats(WORDS, array),
        field(5, packed_dims + field(4, array.tobytes())),
        field(5, packed_dims + unpacked),
        tensor(WORDS, [2, 3], FLOAT, field(9, array.tobytes()), varint(50 << 3 | 1) + bytes(8)),
    ):
        np.testing.assert_array_equal(bert_state(model(message))[WORDS], array)


def test_an_integer_buffer_is_no_weight() -> None:
    ids = tensor("embeddings.position_ids.weight", [1], INT64, field(9, bytes(8)))
    assert set(bert_state(model(floats(WORDS, words()), ids))) == {WORDS}


@pytest.mark.parametrize(
    ("hostile", "message"),
    [
        (b"", "holds no BERT"),
        (b"\x80" * 30, "does not end"),
        (b"\x3a\xff\xff\xff\xff\x0f", "announced"),
        (field(7, b"\x2a\x05\x01"), "announced"),
        (b"\x3d\x00", "announced"),
        (b"<html>not a model</html>", "ONNX file"),
        (varint(7 << 3 | 3), "unknown wire type 3"),
        (field(7, 1), "holds no BERT"),
        (model(floats("classifier.weight", words())), "holds no BERT"),
        (model(tensor(WORDS, [1 << 40, 1 << 40], FLOAT, field(9, bytes(8)))), "damaged ONNX file"),
        (model(tensor(WORDS, [0, 1 << 63], FLOAT, b"")), "damaged ONNX file"),
        (model(tensor(WORDS, [-1, 2], FLOAT, field(9, bytes(8)))), "damaged ONNX file"),
        (model(tensor(WORDS, [1], FLOAT, field(9, bytes(3)))), "damaged ONNX file"),
        (model(tensor(WORDS, [1] * 70, FLOAT, field(9, bytes(4)))), "damaged ONNX file"),
        (model(tensor(WORDS, [1], FLOAT, field(9, 7))), "damaged ONNX file"),
        (model(tensor(WORDS, [1], FLOAT, field(14, 1))), "lies in another file"),
        (model(tensor(f"{WORDS}_quantized", [1], INT8, field(9, b"x"))), "needs .*_zero_point and .*_scale"),
        (
            model(
                tensor(f"{WORDS}_quantized", [2, 2], INT8, field(9, b"abcd")),
                tensor(f"{WORDS}_zero_point", [3], INT8, field(9, b"abc")),
                floats(f"{WORDS}_scale", np.ones(3)),
            ),
            "one a column",
        ),
        (  # would broadcast to 9 TB
            model(
                tensor(f"{WORDS}_quantized", [1_500_000, 1], INT8, field(9, bytes(1_500_000))),
                tensor(f"{WORDS}_zero_point", [1_500_000], INT8, field(9, bytes(1_500_000))),
                floats(f"{WORDS}_scale", np.ones(1)),
            ),
            "one a column",
        ),
    ],
)
def test_hostile_bytes_are_an_error(hostile: bytes, message: str) -> None:
    with pytest.raises(BackboneError, match=message):
        bert_state(hostile)


def test_no_prefix_and_no_flipped_byte_does_more_than_fail() -> None:
    good = model(floats(WORDS, words()), node("MatMul", "/encoder/x/MatMul", "x", "y"))
    choose = random.Random(0)
    cut = [good[:n] for n in range(len(good))]
    flipped = [bytes([*good[:i], choose.randrange(256), *good[i + 1 :]]) for i in range(len(good))]
    for damaged in cut + flipped:
        try:
            assert WORDS in bert_state(damaged)
        except BackboneError:
            continue


def test_the_file_has_fixed_bytes_and_is_safetensors(tmp_path: Path) -> None:
    state = {
        "b": np.ones((2, 1), np.float32),
        "a": np.zeros(3, np.float32),
        "e": np.zeros((0, 2), np.float32),
    }
    for name, items in (("x", state.items()), ("y", reversed(state.items()))):
        write_safetensors(dict(items), tmp_path / name)
    data = (tmp_path / "x").read_bytes()
    assert data == (tmp_path / "y").read_bytes()
    # A change of these bytes would change the sha256 of every converted backbone.
    assert (
        hashlib.sha256(data).hexdigest() == "719ecafa178c3aaa07e0c1603a046f467ec5dfa3140dcc9c158800dcea32b9b0"
    )
    size = int.from_bytes(data[:8], "little")
    assert size % 8 == 0
    assert json.loads(data[8 : 8 + size])["__metadata__"] == {"format": "pt"}
    loaded = load_file(tmp_path / "x")
    assert loaded.keys() == state.keys()
    for key, array in state.items():
        np.testing.assert_array_equal(loaded[key], array)
