"""Writing of golden files: provenance, checksums, number formats, and the refusal to store an empty result."""

import hashlib
import importlib.metadata
import json
import platform
import sys
from pathlib import Path


def sha256_of_file(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def sha256_of_array(array):
    """SHA-256 of the array's bytes in C order, little-endian."""
    return hashlib.sha256(array.tobytes(order="C")).hexdigest()


def versions(*packages):
    found = {"python": platform.python_version()}
    for package in packages:
        found[package] = importlib.metadata.version(package)
    return found


def round_all(values, digits):
    return [round(float(v), digits) for v in values]


def open_session(model):
    """One thread, so that the order of additions does not depend on the machine's cores; only errors are logged."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def refuse(why):
    sys.exit(f"refused, nothing written: {why}")


def _compact(value, depth):
    """JSON with one line per element down to `depth` and everything deeper on its parent's line."""
    if depth == 0 or not isinstance(value, (dict, list)) or not any(
        isinstance(v, (dict, list)) for v in (value.values() if isinstance(value, dict) else value)
    ):
        return json.dumps(value, separators=(",", ":"))
    if isinstance(value, dict):
        items = [json.dumps(k) + ":" + _compact(v, depth - 1) for k, v in value.items()]
        return "{\n" + ",\n".join(items) + "\n}"
    return "[\n" + ",\n".join(_compact(v, depth - 1) for v in value) + "\n]"


def write_json(path, value, depth, limit_bytes):
    text = _compact(value, depth) + "\n"
    write_text(path, text, limit_bytes)


def write_text(path, text, limit_bytes):
    if len(text) > limit_bytes:
        refuse(f"{path} would have {len(text)} bytes, more than {limit_bytes}")
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)
    print(f"{path}: {len(text)} bytes")
