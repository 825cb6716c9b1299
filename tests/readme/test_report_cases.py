#!/usr/bin/env python3
"""What tools/dev/test_report.py makes of a log of CTest: what fails the run, and what does not."""
import pathlib
import subprocess
import sys
import tempfile

REPORT = pathlib.Path(__file__).resolve().parents[2] / "tools/dev/test_report.py"
PASSED = """1: [ RUN      ] A.B
1: [       OK ] A.B (0 ms)
1/2 Test #1: good_test ...............................   Passed    0.01 sec
"""
SKIPPED = """2: SKIPPED: odd_test: no grpcurl
2/2 Test #2: odd_test ................................***Skipped   0.15 sec
"""
FAILED = """2: [ RUN      ] C.D
2: x.cc:1: Failure
2: [  FAILED  ] C.D (0 ms)
2/2 Test #2: bad_test ................................***Failed    0.01 sec
"""
# A verbose log says the outcome on a line of its own.
KILLED = """2: half a line
2/2 Test #2: dead_test ...............................
***Exception: SegFault  0.02 sec
"""
LATE = "2/2 Test #2: slow_test ...............................***Timeout 9.00 sec\n"

CASES = [
    ("all passed", PASSED, 0, "1 of 1 test programs passed, 0 skipped; 1 single tests passed, 0 failed"),
    ("one skipped itself", PASSED + SKIPPED, 0, "odd_test: no grpcurl"),
    ("one failed", PASSED + FAILED, 1, "FAILED  C.D"),
    ("one died", PASSED + KILLED, 1, "FAILED  dead_test: ***Exception"),
    ("one was too slow", PASSED + LATE, 1, "FAILED  slow_test: ***Timeout"),
]


def main() -> int:
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, log, code, says in CASES:
            path = pathlib.Path(folder) / "test.log"
            path.write_text(log)
            ran = subprocess.run([sys.executable, REPORT, path], capture_output=True, text=True)
            if ran.returncode != code or says not in ran.stdout:
                wrong += 1
                print(f"{name}: exit {ran.returncode}, not {code}, or no {says!r} in:\n{ran.stdout}{ran.stderr}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
