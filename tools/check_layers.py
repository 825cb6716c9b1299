#!/usr/bin/env python3
"""Holds the includes of src/ to the layers of src/README.md; fails on the first forbidden one.

A module may include itself and the modules listed for it, nothing else: never a sideways or upward
include. Headers of heavy libraries stay inside the folders that adapt them.
Usage: tools/check_layers.py [SRC_FOLDER]
"""
import pathlib
import re
import sys

# module: modules it may include. The order is the way of a frame; keep it equal to src/README.md.
ALLOWED = {
    "base": [],
    "types": ["base"],
    "net": ["base"],
    "media": ["base", "types"],
    "vision": ["base", "types"],
    "infer": ["base", "types"],
    "detect": ["base", "types", "vision", "infer"],
    "track": ["base", "types", "vision"],
    "events": ["base", "types", "vision"],
    "evaluate": ["base", "types", "vision"],
    "store": ["base", "types"],
    "sim": ["base", "types", "media", "vision"],
    "remote": ["base", "types", "net", "media", "vision"],
    "pipeline": ["base", "types", "net", "media", "vision", "infer", "detect", "track", "events",
                 "store", "remote"],
    "observe": ["base", "types", "vision", "store"],
    "serve": ["base", "types", "net", "media", "vision", "infer", "detect", "track", "events",
              "evaluate", "store", "sim", "remote", "pipeline", "observe"],
    "cli": ["base", "types", "net", "media", "vision", "infer", "detect", "track", "events",
            "evaluate", "store", "sim", "remote", "pipeline", "observe", "serve"],
}
# header prefix: the only modules whose headers may show it.
ADAPTED = {
    "opencv2/": [],
    "libav": [],
    "libsw": [],
    "onnxruntime": [],
    "onnx/": [],
    "openvino/": [],
    "torch/": [],
    "yaml-cpp/": [],
    "sqlite3.h": [],
    "simdjson.h": [],
    "zlib.h": [],
    "grpc": [],
    "google/protobuf": [],
    "boost/": [],
    "curl/": [],
    "hiredis/": [],
    "CLI/": ["cli"],
}
FORBIDDEN_NAMES = {"util", "utils", "common", "misc", "helper", "helpers", "manager"}
INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]')


def violations(source: pathlib.Path):
    for path in sorted(source.rglob("*")):
        parts = path.relative_to(source).parts
        if FORBIDDEN_NAMES & {pathlib.Path(p).stem.lower() for p in parts}:
            yield f"{path}: a name that says nothing; call it by what it does"
        if path.suffix not in (".h", ".cc"):
            continue
        module = parts[0]
        if module not in ALLOWED:
            yield f"{path}: module {module} is not in the table of {sys.argv[0]}"
            continue
        is_test = path.stem.endswith("_test") or path.stem.startswith("test_")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            target = match.group(2)
            other = target.split("/")[0]
            if match.group(1) == '"' and "/" in target and other in ALLOWED:
                if other != module and other not in ALLOWED[module]:
                    yield f"{path}:{number}: {module} may not include {other} ({target})"
            if path.suffix == ".h" and not is_test and not path.stem.endswith("_internal"):
                for prefix, where in ADAPTED.items():
                    if target.startswith(prefix) and module not in where:
                        yield (f"{path}:{number}: {target} belongs in a .cc file or a header named "
                               "*_internal.h of the module that adapts it")


def main() -> int:
    root = pathlib.Path(__file__).resolve().parent.parent
    source = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else root / "src"
    found = list(violations(source))
    for line in found:
        print(line, file=sys.stderr)
    print(f"layers: {len(found)} violations")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
