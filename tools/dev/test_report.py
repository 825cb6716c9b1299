#!/usr/bin/env python3
"""Reads CTest's verbose log, prints what failed, what was skipped and why, and the totals."""
import re
import sys

LINE = re.compile(r"^\d+: (.*)$")


def main(path: str) -> int:
    skipped, failed, reason = [], [], []
    passed_tests = 0
    programs = []
    for raw in open(path, encoding="utf-8", errors="replace"):
        summary = re.match(r"\s*\d+/\d+ Test\s+#\d+: (\S+) \.+\s*(.*)$", raw)
        if summary:
            programs.append([summary.group(1), summary.group(2).strip()])
        # In a verbose log the outcome stands on a line of its own, after the test's output.
        elif programs and not programs[-1][1] and re.match(r"\s*(Passed|\*\*\*\w+)", raw):
            programs[-1][1] = raw.strip()
        match = LINE.match(raw.rstrip("\n"))
        line = match.group(1) if match else ""
        if re.match(r"\[ RUN      \]", line):
            reason = []
        elif re.match(r"\[       OK \]", line):
            passed_tests += 1
        elif found := re.match(r"\[  SKIPPED \] (\S+) \(", line):
            skipped.append((found.group(1), " ".join(reason)))
        elif found := re.match(r"\[  FAILED  \] (\S+?),? .*\(\d+ ms\)", line):
            failed.append(found.group(1))
        elif found := re.match(r"SKIPPED: (\S+): (.*)", line):  # scripts say it this way
            skipped.append((found.group(1), found.group(2)))
        elif line and not line.startswith("[") and not re.search(r": (Skipped|Failure)$", line):
            reason = (reason + [line.strip()])[-2:]
    for name, outcome in programs:
        if "Passed" not in outcome:
            print(f"  FAILED  {name}: {outcome}")
    for name in sorted(set(failed)):
        print(f"  FAILED  {name}")
    good = sum("Passed" in outcome for _, outcome in programs)
    print(f"{good} of {len(programs)} test programs passed; {passed_tests} single tests passed, "
          f"{len(set(failed))} failed, {len(skipped)} skipped")
    if skipped:
        print("skipped:")
        for name, why in skipped:
            print(f"  {name}: {why}")
    if failed or good != len(programs):
        print(f"everything that was printed: {path}")
    return 1 if failed or good != len(programs) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
