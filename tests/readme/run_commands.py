#!/usr/bin/env python3
"""Runs every command block of the documents that is marked to be run, and compares what it prints.

A block that begins with ```console runs: lines after "$ " are commands (bash, in an empty folder with
`sightline` on the PATH, `clip.avi` a real clip and `people.jpg` a picture of it); the lines below each
are its expected output, in which "..." stands for anything. Blocks of other kinds are only shown.
Usage: run_commands.py SIGHTLINE
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
CLIPS = ["/usr/share/doc/opencv-doc/examples/data/vtest.avi",
         *map(str, ROOT.glob(".cache/packages/**/vtest.avi"))]


def blocks(text):
    for body in re.findall(r"```console\n(.*?)```", text, re.S):
        steps = []
        for line in body.splitlines():
            if line.startswith("$ "):
                steps.append([line[2:], []])
            elif steps and steps[-1][0].endswith("\\"):
                steps[-1][0] = steps[-1][0][:-1] + line
            elif steps:
                steps[-1][1].append(line)
        yield steps


def matches(expected, printed):
    pattern = "\n".join(re.escape(line.rstrip()).replace(r"\.\.\.", ".*?") for line in expected)
    return re.search(r"(?m)^" + pattern + r"$", printed.replace("\r", ""), re.S) is not None


def main():
    program = pathlib.Path(sys.argv[1]).resolve()
    clip = next((c for c in CLIPS if os.path.exists(c)), None)
    if clip is None:
        print("SKIPPED: readme_commands: the clip vtest.avi (package opencv-doc) is not here")
        return 0
    failed = ran = 0
    for path in sorted([ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*/README.md")]):
        for steps in blocks(path.read_text(encoding="utf-8")):
            with tempfile.TemporaryDirectory() as folder:
                os.symlink(clip, f"{folder}/clip.avi")
                subprocess.run(["ffmpeg", "-v", "error", "-ss", "20", "-i", clip, "-frames:v", "1",
                                "-q:v", "2", f"{folder}/people.jpg"], check=True)
                for example in ROOT.glob("examples/*/*.yaml"):
                    os.symlink(example, f"{folder}/{example.name}")
                environment = dict(os.environ, PATH=f"{program.parent}:{os.environ['PATH']}",
                                   SIGHTLINE_MODELS=f"{folder}/models", LC_ALL="C.UTF-8")
                for command, expected in steps:
                    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=folder,
                                          env=environment, capture_output=True, text=True, timeout=600)
                    ran += 1
                    printed = done.stdout + done.stderr
                    if done.returncode != 0 or not matches(expected, printed):
                        failed += 1
                        print(f"{path.name}: $ {command}\n--- expected\n" + "\n".join(expected) +
                              f"\n--- printed (exit {done.returncode})\n{printed}", file=sys.stderr)
    print(f"{ran} commands of the documents ran, {failed} printed something else")
    return 1 if failed or ran == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
