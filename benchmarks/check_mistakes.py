#!/usr/bin/env python3
"""How often `sightline models check` is right: models with a classic mistake in their description, and without one.

    python3 benchmarks/check_mistakes.py --models FOLDER --pictures NAME=PLACE,... --faces NAME=PLACE,... [--harm FOLDER]

Each model is checked on each set of pictures (--faces: sets for face models; a place is a folder, file or glob), as it is
described rightly and with one mistake at a time. A mistake in a file itself (a sigmoid applied twice) is made by adding the
operator to the ONNX file. Said is what the warnings propose:

  right    to undo the mistake (of the means: any that are within a tenth of the right ones)
  other    something else, though there is a mistake
  missed   nothing
  false    something, though nothing is wrong
  refused  the file: it is not opened, and a sentence says what is wrong with it

--harm FOLDER: COCO-format pictures; how many points of mAP the mistake costs there, by `sightline eval`. A mistake that costs
nothing cannot be seen, nor need it be. --json FILE keeps every figure; with --from FILE,... they are printed again. Needs onnx
(benchmarks/peers/requirements.txt).
"""
import argparse
import collections
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

FACES = ("ultraface", "yunet")
MODELS = ("yolox_nano_kazuhito", "nanodet_m_416", "nanodet_320", "picodet_s_320", "fastestdet_352", "yolo_fastestv2_352",
          "ultraface_rfb_320", "ultraface_slim_320", "ultraface_rfb_640", "yunet_n_320", "yunet_n_640")
RESIZES = ("stretch", "letterbox_top_left", "letterbox_center")
ONE = "[1, 1, 1]"
UNIT = "[0.00392157, 0.00392157, 0.00392157]"
ZERO = "[0, 0, 0]"


def run(command, environment):
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def described(arguments, environment, name):
    """The input's keys of a package's model.yaml, as words."""
    lines = (Path(environment["SIGHTLINE_MODELS"]) / name / "model.yaml").read_text().splitlines()
    keys, inside = {}, False
    for line in lines:
        if line and not line.startswith(" "):
            inside = line.startswith("input:")
        elif inside and ":" in line:
            key, value = line.strip().split(":", 1)
            keys[key] = value.strip()
    return keys


def mistakes_of(keys):
    """(kind, what is set, the line that undoes it)."""
    yield "none", [], ""
    right = keys["channels"]
    yield "colours swapped", ["input.channels=" + ("rgb" if right == "bgr" else "bgr")], f"input.channels: {right}"
    mean, scale = numbers(keys["mean"]), numbers(keys["scale"])
    plain = not any(mean) and max(scale) == min(scale)
    if plain and scale[0] == 1:
        yield "/255 too much", ["input.scale=" + UNIT], "input.scale"
    else:
        yield "no /255, no means", ["input.mean=" + ZERO, "input.scale=" + ONE], "input.scale"
    if not plain:
        yield "/255 instead of means", ["input.mean=" + ZERO, "input.scale=" + UNIT], "input.scale"
    for way in RESIZES:
        if way == keys["resize"]:
            continue
        kind = {"stretch": "stretched"}.get(way, "letterboxed")
        if keys["resize"] != "stretch" and way != "stretch":
            kind = "the other letterbox"
        yield kind, ["input.resize=" + way], f"input.resize: {keys['resize']}"
    for way in ("nearest", "area"):
        yield f"interpolation {way}", ["input.interpolation=" + way], f"input.interpolation: {keys['interpolation']}"


def numbers(words):
    return [float(w) for w in words.strip("[]").split(",")]


def with_second_sigmoid(source, target):
    """The model with a sigmoid behind what it gives as scores; False where it has no such output."""
    import onnx
    from onnx import helper, numpy_helper

    import numpy as np

    model = onnx.load(source)
    graph = model.graph
    last = {o.name: [d.dim_value for d in o.type.tensor_type.shape.dim] for o in graph.output}
    done = False

    def renamed(name):
        for node in graph.node:
            node.output[:] = [name + "_once" if o == name else o for o in node.output]
            node.input[:] = [name + "_once" if i == name else i for i in node.input]

    for name, shape in last.items():
        first = None  # numbers of a row that are no scores
        if len(last) == 1 and len(shape) == 3:
            first = 4  # YOLOX: box, objectness, classes
        elif "cls" in name or "obj" in name or (len(shape) in (2, 3) and shape[-1] in (2, 80)):
            first = 0
        if first is None:
            continue
        renamed(name)
        if first == 0:
            graph.node.append(helper.make_node("Sigmoid", [name + "_once"], [name]))
        else:
            for part, start, end in (("box", 0, first), ("rest", first, shape[-1])):
                cut = [("start", [start]), ("end", [end]), ("axis", [2])]
                for what, value in cut:
                    graph.initializer.append(numpy_helper.from_array(np.array(value, np.int64), f"{part}_{what}"))
                graph.node.append(helper.make_node("Slice", [name + "_once", *(f"{part}_{what}" for what, _ in cut)], [part]))
            graph.node.extend([helper.make_node("Sigmoid", ["rest"], ["rest_twice"]),
                               helper.make_node("Concat", ["box", "rest_twice"], [name], axis=2)])
        done = True
    if done:
        onnx.save(model, target)
    return done


def undone(warnings, undo, keys):
    """Whether a warning proposes the right description; of means and scales within a tenth."""
    for warning in warnings:
        if undo == "sigmoid":
            if "a sigmoid is applied" in warning:
                return True
        elif undo == "input.scale":
            if "input.scale: " not in warning:
                continue
            proposed = numbers(warning.split("input.scale: ")[1].split("]")[0])
            if all(abs(a / b - 1) < 0.1 for a, b in zip(proposed, numbers(keys["scale"]))):
                return True
        elif undo and undo in warning:
            return True
    return False


def verdict(mistake, warnings, undo, keys):
    if mistake == "none":
        return "false" if warnings else "right"
    if not warnings:
        return "missed"
    return "right" if undone(warnings, undo, keys) else "other"


def accuracy(arguments, environment, model, sets):
    """mAP of the package with these lines; None where it cannot be measured."""
    name = "with_mistake"
    added = run([arguments.sightline, "models", "add", str(model), "--name", name, "--replace",
                 *(w for s in sets for w in ("--set", s))], environment)
    if added.returncode != 0:
        return None
    done = run([arguments.sightline, "eval", "--model", name, "--images", str(arguments.harm), "--format", "coco", "--json"],
               environment)
    if done.returncode != 0:
        return None
    report = json.loads(done.stdout)
    return report.get("boxes", report)["map"]


def checked(arguments, environment, model, sets, places, limit):
    """The report of `models check`; of a model that it refuses, the sentence."""
    done = run([arguments.sightline, "models", "check", str(model), *places, "--json", "--no-pictures", "--limit", str(limit),
                *(w for s in sets for w in ("--set", s))], environment)
    if not done.stdout:
        return {"warnings": [done.stderr.strip()], "readings": [], "described": {"results": 0}, "refused": True}
    return json.loads(done.stdout)


def measure(arguments, environment, scratch):
    results = []
    for model in MODELS:
        file = arguments.models / f"{model}.onnx"
        if arguments.only and not any(model.startswith(o) for o in arguments.only.split(",")):
            continue
        faces = model.startswith(FACES)
        run([arguments.sightline, "models", "add", str(file), "--name", "right", "--replace"], environment)
        keys = described(arguments, environment, "right")
        trials = [(kind, file, sets, undo) for kind, sets, undo in mistakes_of(keys)]
        twice = scratch / f"{model}_twice.onnx"
        if with_second_sigmoid(file, twice):
            trials.append(("sigmoid twice", twice, [], "sigmoid"))
        best = None
        for kind, path, sets, undo in trials:
            loss = None
            if arguments.harm and not faces:
                reached = accuracy(arguments, environment, path, sets)
                best = reached if kind == "none" else best
                loss = None if reached is None or best is None else 100 * (best - reached)
            for pictures, folder in (arguments.faces if faces else arguments.pictures):
                report = checked(arguments, environment, path, sets, folder,
                                 arguments.face_limit if faces else arguments.limit)
                better = [r for r in report["readings"] if r["better"]]
                result = {"model": model, "mistake": kind, "set": sets, "pictures": pictures, "map_points_lost": loss,
                          "verdict": "refused" if "refused" in report else verdict(kind, report["warnings"], undo, keys), "warnings": report["warnings"],
                          "better": [[r["lines"], r["gain"], r["certainty"]] for r in better],
                          "readings": [[r["lines"], r["gain"], r["certainty"]] for r in report["readings"]],
                          "results": report["described"]["results"]}
                results.append(result)
                print(f"{model} {kind} {pictures}: {result['verdict']}"
                      f"{'' if loss is None else f', {loss:.1f} points'} {report['warnings']}", file=sys.stderr, flush=True)
        if arguments.json:
            arguments.json.write_text(json.dumps(results, indent=1))  # what is done is done
    return results


def table(results):
    """By mistake: how many verdicts of each kind; and of those mistakes that cost 2 points of mAP and more."""
    yield "| mistake | checks | right | other | missed | refused | points of mAP | missed or other, of 2 points and more |"
    yield "|" + "---|" * 8
    for kind in dict.fromkeys(r["mistake"] for r in results):
        rows = [r for r in results if r["mistake"] == kind]
        count = collections.Counter(r["verdict"] for r in rows)
        if kind == "none":
            yield f"| none | {len(rows)} | {count['right']} without a warning | {count['false']} false | | {count['refused']} | | |"
            continue
        losses = [r["map_points_lost"] for r in rows if r["map_points_lost"] is not None]
        dear = [r for r in rows if (r["map_points_lost"] or 0) >= 2]
        wrong = sum(r["verdict"] in ("missed", "other") for r in dear)
        yield (f"| {kind} | {len(rows)} | {count['right']} | {count['other']} | {count['missed']} | {count['refused']} | "
               f"{f'{min(losses):.1f} to {max(losses):.1f}' if losses else ''} | {f'{wrong} of {len(dear)}' if dear else ''} |")


def named_places(words):
    name, _, places = words.partition("=")
    if not places:
        raise argparse.ArgumentTypeError("NAME=PLACE,... is expected")
    return name, places.split(",")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sightline", default="build/bin/sightline")
    parser.add_argument("--models", type=Path, help="folder with the ONNX files")
    parser.add_argument("--only", help="models that begin so, with commas between")
    parser.add_argument("--pictures", type=named_places, action="append", default=[])
    parser.add_argument("--faces", type=named_places, action="append", default=[])
    parser.add_argument("--limit", type=int, default=24, help="pictures of a set, evenly chosen")
    parser.add_argument("--face-limit", type=int, default=48, help="the same for face models")
    parser.add_argument("--harm", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--from", dest="source", help="files of --json, with commas between")
    arguments = parser.parse_args()
    if arguments.source:
        results = [r for file in arguments.source.split(",") for r in json.loads(Path(file).read_text())]
    else:
        with tempfile.TemporaryDirectory() as scratch:
            environment = {**os.environ, "SIGHTLINE_MODELS": str(Path(scratch) / "models")}
            results = measure(arguments, environment, Path(scratch))
    print("\n".join(table(results)))


if __name__ == "__main__":
    main()
