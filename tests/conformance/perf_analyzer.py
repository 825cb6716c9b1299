#!/usr/bin/env python3
"""Triton's perf_analyzer against `sightline serve`: HTTP, gRPC and streams. Skipped where Debian's libb64-0d is missing, which it needs.

Usage: perf_analyzer.py MODELS SIGHTLINE...
"""
import os
import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import client_environment  # noqa: E402

client_environment.enter("requirements_perf_analyzer.txt", "nvidia.cuda_runtime", "SIGHTLINE_PERF_ANALYZER_PYTHON")

import nvidia.cuda_runtime  # noqa: E402

from checks import check, exit_code  # noqa: E402
from served import PATIENCE_S, Served  # noqa: E402

MODELS = pathlib.Path(sys.argv[1])
PROGRAM = sys.argv[2:]
ANALYZER = pathlib.Path(sys.prefix) / "bin" / "perf_analyzer"
LIBRARIES = pathlib.Path(nvidia.cuda_runtime.__path__[0]) / "lib"
REQUESTS = 400
AT_ONCE = 4  # at most


def analyzed(*words):
    # As many requests as are asked for: what a busy machine does to their times does not matter here.
    command = [ANALYZER, *map(str, words), "--request-count", str(REQUESTS)]
    return subprocess.run(command, capture_output=True, text=True, timeout=4 * PATIENCE_S,
                          env={**os.environ, "LD_LIBRARY_PATH": str(LIBRARIES)})


def main():
    can_run = subprocess.run([ANALYZER, "--help"], capture_output=True, text=True, env={**os.environ, "LD_LIBRARY_PATH": str(LIBRARIES)})
    if "cannot open shared object file" in can_run.stderr:
        print(f"SKIPPED: conformance_perf_analyzer: {can_run.stderr.strip()}")
        return 77
    with Served(PROGRAM, "--shared-memory", "--model", MODELS / "add_sub.onnx") as server:
        http, grpc = server.address["HTTP"], server.address["gRPC"]
        for name, words in [("HTTP", ["-u", http]), ("HTTP, 4 at once", ["-u", http, "--concurrency-range", AT_ONCE]),
                            ("HTTP, batches of 8", ["-u", http, "-b", "8"]),
                            ("HTTP, shared memory", ["-u", http, "--shared-memory", "system"]),
                            ("gRPC", ["-i", "grpc", "-u", grpc, "--concurrency-range", AT_ONCE]),
                            ("gRPC, shared memory", ["-i", "grpc", "-u", grpc, "--shared-memory", "system"]),
                            ("gRPC, streams", ["-i", "grpc", "-u", grpc, "--streaming", "--concurrency-range", "2"])]:
            done = analyzed("-m", "add_sub", *words)
            counts = [int(n) for n in re.findall(r"(?:Request count|Successful request count): (\d+)", done.stdout)]
            # The server's count is the difference of two looks at its statistics, beside which requests begin and end.
            good = (done.returncode == 0 and len(counts) == 2 and max(counts) >= REQUESTS and min(counts) >= REQUESTS - AT_ONCE
                    and "Inferences/Second" in done.stdout)
            check(good, f"{name}: {counts}" + ("" if good else f" {done.returncode} {done.stdout[-800:]} {done.stderr[-400:]}"))
    return exit_code()


if __name__ == "__main__":
    sys.exit(main())
