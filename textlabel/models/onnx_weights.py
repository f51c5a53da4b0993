"""Weights of a BERT that was published as an ONNX graph, read without the onnx package.

An ONNX file is one protobuf message. Only four of its field kinds matter here, so a reader of the
wire format fits on a page: a field is a key ``(number << 3) | wire type`` and a value, and a value is
a varint, 4 or 8 bytes, or a length and that many bytes, which may be a message again.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from textlabel.errors import BackboneError

FloatTensor = npt.NDArray[np.float32]
Tensors = dict[str, npt.NDArray[Any]]

# Field numbers of onnx.proto.
_MODEL_GRAPH = 7
_GRAPH_NODE, _GRAPH_INITIALIZER = 1, 5
_NODE_INPUT, _NODE_NAME, _NODE_OP = 1, 3, 4
_DIMS, _DATA_TYPE, _FLOATS, _INT32S, _NAME, _RAW, _LOCATION = 1, 2, 4, 5, 8, 9, 14
_DTYPES = {1: "<f4", 2: "u1", 3: "i1"}

_PARAMETER = re.compile(r"(?:^|\.)((?:embeddings|encoder|pooler)\..+\.(?:weight|bias))$")
_LINEAR = re.compile(r"(?:^|\.)((?:embeddings|encoder|pooler)\..+)\.MatMul(?:_quant)?$")


def bert_state(onnx: bytes) -> dict[str, FloatTensor]:
    """Return the weights of an ONNX BERT under the keys of Hugging Face's ``BertModel``.

    Exporters keep the names of embeddings, biases and norms but rename the matrix of a linear layer
    to ``onnx::MatMul_123`` and transpose it; the node that consumes it still carries the layer's path.
    8-bit weights (onnxruntime's dynamic quantization) become ``(q - zero_point) * scale`` in float32.
    A pooler that the graph does not compute is absent.

    Raises
    ------
    BackboneError : truncated or foreign bytes, weights kept in another file, or no BERT in the graph.
    """
    graph = _group(_bytes(_group(memoryview(onnx)), _MODEL_GRAPH))
    weights = _dequantized(dict(_tensors(graph)))
    state = {found[1]: array for name, array in weights.items() if (found := _PARAMETER.search(name))}
    for path, weight in _linear_layers(graph):
        if weight in weights:
            state[f"{path}.weight"] = weights[weight].T
    if "embeddings.word_embeddings.weight" not in state:
        raise BackboneError(
            "this ONNX graph holds no BERT: expected embeddings.word_embeddings.weight among its "
            f"{len(weights)} weights; only BERT encoders can be converted"
        )
    return {key: np.ascontiguousarray(array, dtype=np.float32) for key, array in sorted(state.items())}


def write_safetensors(state: Mapping[str, FloatTensor], target: Path) -> None:
    """Write float32 tensors as a safetensors file whose bytes depend on nothing but ``state``.

    The catalog pins the sha256 of this file, so its layout must not follow a library's version:
    keys sorted, no gaps, metadata ``{"format": "pt"}``, header padded with spaces to 8 bytes.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for key in sorted(state):
        start, end = end, end + state[key].size * 4
        header[key] = {"dtype": "F32", "shape": list(state[key].shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with target.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for key in sorted(state):
            file.write(state[key].astype("<f4").tobytes())


def _linear_layers(graph: Mapping[int, list[int | memoryview]]) -> Iterator[tuple[str, str]]:
    """Yield ``(layer path, name of its matrix)`` for every node that multiplies by a stored matrix."""
    for message in _messages(graph, _GRAPH_NODE):
        node = _group(message)
        inputs = [_text(name) for name in _messages(node, _NODE_INPUT)]
        layer = _LINEAR.search(_text(_bytes(node, _NODE_NAME)).replace("/", "."))
        if layer and len(inputs) > 1 and _text(_bytes(node, _NODE_OP)) in ("MatMul", "MatMulInteger"):
            yield layer[1], inputs[1].removesuffix("_quantized")


def _dequantized(tensors: Tensors) -> dict[str, FloatTensor]:
    """Return every float weight: those stored as such, and those stored as 8-bit integers."""
    weights = {name: array for name, array in tensors.items() if array.dtype == np.float32}
    for name, array in tensors.items():
        base = name.removesuffix("_quantized")
        if base == name:
            continue
        terms = [tensors[key] for part in ("_zero_point", "_scale") if (key := base + part) in tensors]
        # One pair a tensor, or one a column: anything else could broadcast to any size.
        if len(terms) < 2 or any(term.size != 1 and term.shape != array.shape[-1:] for term in terms):
            raise BackboneError(
                f"damaged ONNX file: {name} needs {base}_zero_point and {base}_scale, "
                "of one number or one a column"
            )
        zero, scale = (term.astype(np.float32) for term in terms)
        weights[base] = (array.astype(np.float32) - zero) * scale
    return weights


def _tensors(graph: Mapping[int, list[int | memoryview]]) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """Yield ``(name, read-only array)`` of each initializer that is float32, int8 or uint8."""
    for message in _messages(graph, _GRAPH_INITIALIZER):
        tensor = _group(message)
        name = _text(_bytes(tensor, _NAME))
        dtype = _DTYPES.get(next(_integers(tensor, _DATA_TYPE), 0))
        if dtype is None:
            continue
        if any(_integers(tensor, _LOCATION)):
            raise BackboneError(f"{name} lies in another file; expected an ONNX file that holds its weights")
        data = _bytes(tensor, _RAW) or _bytes(tensor, _FLOATS)
        data = data or memoryview(bytes(value & 0xFF for value in _integers(tensor, _INT32S)))
        dims = tuple(_integers(tensor, _DIMS))
        try:
            yield name, np.frombuffer(data, dtype).reshape(dims)
        except (ValueError, OverflowError) as error:
            raise BackboneError(f"damaged ONNX file: {name} of shape {dims} has {len(data)} bytes") from error


# The wire format. A value never outlives the bytes that were read: lengths are checked against what
# is left before they are used, every step consumes at least one byte, and nothing recurses.


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield ``(field number, value)``: an int for a varint, a slice of ``message`` for all else."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        wire = key & 7
        if wire == 0:
            value, at = _varint(message, at)
            yield key >> 3, value
            continue
        if wire == 2:
            size, at = _varint(message, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise BackboneError(f"not an ONNX file: unknown wire type {wire} at byte {at}")
        if size > len(message) - at:
            raise BackboneError(f"truncated ONNX file: {size} bytes announced, {len(message) - at} left")
        yield key >> 3, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Return the base-128 integer that starts at ``at``, and the position after it."""
    value = 0
    for shift, byte in enumerate(message[at : at + 10]):
        value |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            return value, at + shift + 1
    raise BackboneError(f"truncated ONNX file: the integer at byte {at} does not end")


def _group(message: memoryview) -> Mapping[int, list[int | memoryview]]:
    """Return the values of a message by field number."""
    found: defaultdict[int, list[int | memoryview]] = defaultdict(list)
    for number, value in _fields(message):
        found[number].append(value)
    return found


def _messages(fields: Mapping[int, list[int | memoryview]], number: int) -> list[memoryview]:
    """Return the values of one field that are bytes, text or messages."""
    return [value for value in fields.get(number, []) if isinstance(value, memoryview)]


def _bytes(fields: Mapping[int, list[int | memoryview]], number: int) -> memoryview:
    """Return one field's bytes; protobuf lets a writer split them, so the parts are joined."""
    parts = _messages(fields, number)
    return parts[0] if len(parts) == 1 else memoryview(b"".join(parts))


def _integers(fields: Mapping[int, list[int | memoryview]], number: int) -> Iterator[int]:
    """Yield one field's integers, whether the writer packed them or not."""
    for value in fields.get(number, []):
        if isinstance(value, int):
            yield value
            continue
        at = 0
        while at < len(value):
            integer, at = _varint(value, at)
            yield integer


def _text(value: memoryview) -> str:
    return str(value, "utf-8", "replace")
