"""Tensors as the binary data of the Open Inference Protocol, little-endian."""
from __future__ import annotations

import json
import struct
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np
import numpy.typing as npt

from .errors import ServerFailed

Array = npt.NDArray[Any]

DTYPES: Dict[str, str] = {"BOOL": "?", "UINT8": "u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8", "INT8": "i1", "INT16": "<i2",
                          "INT32": "<i4", "INT64": "<i8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8"}
DATATYPES = {np.dtype(dtype): datatype for datatype, dtype in DTYPES.items()}


def encode(array: Array) -> Tuple[str, bytes]:
    """Its datatype and bytes. ValueError for types that the protocol does not have."""
    if array.dtype.kind in "OSU":
        parts: List[bytes] = []
        for element in array.ravel():
            text = element if isinstance(element, bytes) else str(element).encode()
            parts += (struct.pack("<I", len(text)), text)
        return "BYTES", b"".join(parts)
    datatype = DATATYPES.get(array.dtype.newbyteorder("<"))
    if datatype is None:
        raise ValueError(f"arrays of {array.dtype} cannot be sent: {', '.join(DTYPES)} and strings can")
    return datatype, np.ascontiguousarray(array, DTYPES[datatype]).tobytes()


def decode(datatype: str, shape: Sequence[int], raw: memoryview) -> Array:
    if datatype == "BYTES":
        elements: List[bytes] = []
        at = 0
        while at < len(raw):
            (length,) = struct.unpack_from("<I", raw, at)
            elements.append(bytes(raw[at + 4:at + 4 + length]))
            at += 4 + length
        found = np.empty(len(elements), dtype=object)
        found[:] = elements
        return found.reshape(shape)
    if datatype == "BF16":
        halves = np.frombuffer(raw, "<u2").astype(np.uint32) << 16
        return halves.view(np.float32).reshape(shape)
    return np.frombuffer(raw, DTYPES[datatype]).reshape(shape)


def infer_body(inputs: Mapping[str, Any], outputs: Optional[Sequence[str]], parameters: Optional[Mapping[str, Any]],
               request_id: str) -> Tuple[List[bytes], int]:
    """The body in parts, and how long its JSON is."""
    described: List[Dict[str, Any]] = []
    parts: List[bytes] = []
    for name, given in inputs.items():
        array = np.asarray(given)
        datatype, raw = encode(array)
        described.append({"name": name, "datatype": datatype, "shape": list(array.shape),
                          "parameters": {"binary_data_size": len(raw)}})
        parts.append(raw)
    request: Dict[str, Any] = {"inputs": described, "parameters": {**(parameters or {}), "binary_data_output": True}}
    if outputs is not None:
        request["outputs"] = [{"name": name, "parameters": {"binary_data": True}} for name in outputs]
    if request_id:
        request["id"] = request_id
    head = json.dumps(request).encode()
    return [head, *parts], len(head)


def infer_answer(body: bytes, json_length: Optional[str]) -> Dict[str, Array]:
    """The tensors of an answer. ServerFailed when it is none."""
    try:
        length = len(body) if json_length is None else int(json_length)
        answer = json.loads(body[:length])
        rest, at = memoryview(body), length
        arrays: Dict[str, Array] = {}
        for output in answer["outputs"]:
            size: Union[int, None] = output.get("parameters", {}).get("binary_data_size")
            if size is None:
                kind = object if output["datatype"] == "BYTES" else DTYPES[output["datatype"]]
                arrays[output["name"]] = np.array(output["data"], kind).reshape(output["shape"])
                continue
            if at + size > len(body):
                raise ValueError("the tensors are cut short")
            arrays[output["name"]] = decode(output["datatype"], output["shape"], rest[at:at + size])
            at += size
        return arrays
    except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise ServerFailed(f"the server's answer cannot be read: {error}") from error
