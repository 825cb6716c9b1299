"""Labelled pictures of simulated streets, in Pascal VOC's layout, made by the program and ffmpeg.

    python3 tests/integration/street_pictures.py SIGHTLINE FOLDER [SCENES [FIRST_SEED]]

Each scene gives ten pictures, two and a half seconds apart. What is hardly seen is marked difficult: nobody needs to
find it. Seeds are none of those that models/street was trained on (tools/train).
"""
import pathlib
import random
import subprocess
import sys
import tempfile

NAME_OF_CLASS = {1: "person", 2: "person", 4: "bicycle", 3: "car"}  # docs/simulated_cameras.md
PICTURES_A_SCENE = 10
VISIBLE = 0.25  # as models/street was trained
FIRST_SEED = 70_000


def scene_url(seed):
    draw = random.Random(seed)
    return (f"sim://street?people={draw.choice((4, 8, 16, 30))}&bicycles={draw.choice((1, 3))}&cars={draw.choice((1, 3))}"
            f"&night={draw.choice((0, 0, 0.3, 0.8))}&seed={seed}&fps=0.4&pace=none&duration=25s")


def annotation(name, boxes):
    objects = "".join(
        f"<object><name>{kind}</name><difficult>{int(difficult)}</difficult><bndbox><xmin>{x + 1}</xmin><ymin>{y + 1}</ymin>"
        f"<xmax>{x + w}</xmax><ymax>{y + h}</ymax></bndbox></object>" for kind, difficult, x, y, w, h in boxes)
    return (f"<annotation><filename>{name}</filename><size><width>640</width><height>360</height><depth>3</depth></size>"
            f"{objects}</annotation>")


def write_scene(program, folder, seed):
    with tempfile.TemporaryDirectory() as scratch:
        clip, truth = pathlib.Path(scratch, "clip.y4m"), pathlib.Path(scratch, "truth")
        for command in (["render", scene_url(seed), "--out", clip], ["truth", scene_url(seed), "--out", truth]):
            subprocess.run([program, "sim", *map(str, command)], check=True, stdout=subprocess.DEVNULL)
        pictures = folder / "JPEGImages"
        subprocess.run(["ffmpeg", "-v", "error", "-i", str(clip), "-vsync", "passthrough", "-start_number", "1",
                        str(pictures / f"{seed}_%02d.png")], check=True)
        boxes = {n: [] for n in range(1, PICTURES_A_SCENE + 1)}
        for line in (truth / "gt" / "gt.txt").read_text().splitlines():
            frame, _, x, y, w, h, _, kind, visible = line.split(",")
            x, y, w, h = map(float, (x, y, w, h))
            if w < 1 or h < 1:
                continue  # Pascal VOC's corners are pixels, so that nothing is narrower than one
            boxes[int(frame)].append((NAME_OF_CLASS[int(kind)], float(visible) < VISIBLE or w < 4 or h < 8, x, y, w, h))
        for n, in_frame in boxes.items():
            name = f"{seed}_{n:02d}"
            if (pictures / f"{name}.png").exists():
                (folder / "Annotations" / f"{name}.xml").write_text(annotation(f"{name}.png", in_frame))


def write_street_pictures(program, folder, scenes, first_seed=FIRST_SEED):
    folder = pathlib.Path(folder)
    for part in ("JPEGImages", "Annotations"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for seed in range(first_seed, first_seed + scenes):
        write_scene(program, folder, seed)
    return len(list((folder / "Annotations").iterdir()))


if __name__ == "__main__":
    count = write_street_pictures(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 20,
                                  int(sys.argv[4]) if len(sys.argv) > 4 else FIRST_SEED)
    print(f"{count} pictures in {sys.argv[2]}")
