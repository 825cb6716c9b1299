#!/usr/bin/env python3
"""Reads CTest's verbose log, prints what failed and how, what was skipped and why, and the totals."""
import collections
import re
import sys

LINE = re.compile(r"^\d+: (.*)$")
SANITIZER = re.compile(r"(Address|Leak|Thread|UndefinedBehavior)Sanitizer\b|: runtime error: ")
MOST_LINES = 60  # of one failure


class Program:
    def __init__(self, name: str):
        self.name = name
        self.outcome = ""
        self.end = collections.deque(maxlen=20)  # its last lines
        self.reports = []  # what a sanitizer said

    def add(self, line: str) -> None:
        self.end.append(line)
        if (self.reports or SANITIZER.search(line)) and len(self.reports) < MOST_LINES:
            self.reports.append(line)

    def print_failure(self, told: bool) -> None:
        print(f"  FAILED  {self.name}: {self.outcome}")
        for line in self.reports or ([] if told else self.end):
            print(f"            {line}")


def main(path: str) -> int:
    skipped, failed, reason = [], {}, []
    passed_tests = 0
    test_lines = []
    programs = []
    running = Program("")
    for raw in open(path, encoding="utf-8", errors="replace"):
        match = LINE.match(raw.rstrip("\n"))
        line = match.group(1) if match else ""
        if match:
            running.add(line)
        elif found := re.match(r"\s*\d+/\d+ Test\s+#\d+: (\S+) \.+\s*(.*)$", raw):
            running.name, running.outcome = found.group(1), found.group(2).strip()
            programs.append(running)
            running = Program("")
        # In a verbose log the outcome stands on a line of its own, after the test's output.
        elif programs and not programs[-1].outcome and re.match(r"\s*(Passed|\*\*\*\w+)", raw):
            programs[-1].outcome = raw.strip()
        if re.match(r"\[ RUN      \]", line):
            reason, test_lines = [], []
        elif re.match(r"\[       OK \]", line):
            passed_tests += 1
        elif found := re.match(r"\[  SKIPPED \] (\S+) \(", line):
            skipped.append((found.group(1), " ".join(reason)))
        elif found := re.match(r"\[  FAILED  \] (\S+?),? .*\(\d+ ms\)", line):
            failed[found.group(1)] = test_lines[:MOST_LINES]
        elif found := re.match(r"SKIPPED: (\S+): (.*)", line):  # scripts say it this way
            skipped.append((found.group(1), found.group(2)))
        elif line and not line.startswith("[") and not re.search(r": (Skipped|Failure)$", line):
            reason = (reason + [line.strip()])[-2:]
        if match:
            test_lines.append(line)
    good = sum("Passed" in program.outcome for program in programs)
    not_run = sum("***Skipped" in program.outcome for program in programs)  # it said why itself
    for program in programs:
        if "Passed" not in program.outcome and "***Skipped" not in program.outcome:
            program.print_failure(any("[  FAILED  ]" in line for line in program.end))
    for name in sorted(failed):
        print(f"  FAILED  {name}")
        for line in failed[name][1:]:
            print(f"            {line}")
    all_well = not failed and good + not_run == len(programs)
    print(f"{good} of {len(programs)} test programs passed, {not_run} skipped; {passed_tests} single tests "
          f"passed, {len(failed)} failed, {len(skipped)} skipped")
    if skipped:
        print("skipped:")
        for name, why in skipped:
            print(f"  {name}: {why}")
    if not all_well:
        print(f"everything that was printed: {path}")
    return 0 if all_well else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
