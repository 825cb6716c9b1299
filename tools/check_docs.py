#!/usr/bin/env python3
"""Fails when the documents name what does not exist: files, links, ./dev verbs, sightline commands.

Usage: tools/check_docs.py [PATH_OF_SIGHTLINE]
With the program's path, every `sightline COMMAND` and `--option` in the documents is looked up in its
--help. Paths in backquotes count when they contain a slash and start with a folder of the repository.
"""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOP = {p.name for p in ROOT.iterdir() if p.is_dir() and not p.name.startswith(".")}
# Folders that building and running make.
MADE = {"build", "out"}


def documents():
    yield from sorted(p for p in ROOT.rglob("*.md")
                      if not any(part.startswith((".", "build")) or part == "out"
                                 for part in p.relative_to(ROOT).parts[:-1]))


def check_paths(path, text):
    for match in re.finditer(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        target = match.group(1)
        if re.match(r"[a-z]+:", target):
            continue
        if not (path.parent / target).exists():
            yield f"link to {target}, which does not exist"
    for match in re.finditer(r"`([\w./*-]+)`", text):
        target = match.group(1)
        first = target.split("/")[0]
        if "/" not in target or first not in TOP or first in MADE:
            continue
        if not list(ROOT.glob(target.rstrip("/"))):
            yield f"`{target}`, which does not exist"


def check_verbs(text):
    main = (ROOT / "tools/dev/main.sh").read_text(encoding="utf-8")
    verbs = set(re.findall(r"^  ([a-z|-]+)\)", main.split("case $verb in")[1], re.M))
    verbs = {v for group in verbs for v in group.split("|")}
    for match in re.finditer(r"\./dev ([a-z]+)", text):
        if match.group(1) not in verbs:
            yield f"`./dev {match.group(1)}`, which is no verb"


def check_commands(text, help_of):
    for block in re.findall(r"`{3}.*?`{3}|`[^`]+`", text, re.S):
        for line in block.replace("\\\n", " ").splitlines():
            match = re.search(r"(?:^|[\s`/])sightline ([a-z]+)( .*)?$", line.strip("`"))
            if not match:
                continue
            command, rest = match.group(1), match.group(2) or ""
            words = [command] + ([w for w in rest.split()[:1] if re.fullmatch("[a-z]+", w)])
            text_of = help_of([command])
            # A word behind it may be a command of its own: `models add`, `keys create`.
            if text_of is not None and len(words) > 1 and re.search(rf"^  {words[1]}\b", text_of, re.M):
                text_of = help_of(words)
            if text_of is None:
                yield f"`sightline {command}`, which is no command"
                continue
            for option in re.findall(r"(?<!\S)(--[a-z][a-z-]*)", rest.split(" # ")[0].split("|")[0]):
                if option not in text_of:
                    yield f"`sightline {command}` with {option}, which it does not have"


def main() -> int:
    program = pathlib.Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else None
    cache = {}

    def help_of(words):
        key = tuple(words)
        if key not in cache:
            done = subprocess.run([program, *words, "--help"], capture_output=True, text=True)
            cache[key] = done.stdout if done.returncode == 0 else None
        return cache[key]

    wrong = 0
    for path in documents():
        text = path.read_text(encoding="utf-8")
        found = list(check_paths(path, text)) + list(check_verbs(text))
        if program:
            found += list(check_commands(text, help_of))
        for line in found:
            print(f"{path.relative_to(ROOT)}: {line}", file=sys.stderr)
        wrong += len(found)
    print(f"documents: {wrong} things that do not exist")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
