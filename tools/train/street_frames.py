"""Pictures of simulated streets with their truth, made by the program itself.

A split is a list of scenes (sim:// URLs with seeds of its own); each gives some pictures, seconds apart, so that no two
show the same moment. Pictures come as they are (.y4m, no codec in between) and are prepared as the engine prepares them
for the YOLOX family: BGR, bilinear, letterboxed to the top left, padded with 114.
"""
import pathlib
import random
import subprocess
import tempfile

import cv2
import numpy as np

WIDTH, HEIGHT = 448, 256  # of the model's input; 640x360 fits into 448x252
PAD = 114
CLASSES = ("person", "bicycle", "car")
CLASS_OF_MOT = {1: 0, 2: 0, 4: 1, 3: 2}  # docs/simulated_cameras.md

# What is found must be seen: an object counts when at least this part of its outline in the picture is visible. Of
# one that shows less, nothing is asked: neither finding it nor not finding it is wrong.
VISIBLE = 0.25
# Nor of slivers at the picture's edge, px of the model's input.
LEAST_WIDTH, LEAST_HEIGHT = 4, 8

# First seeds of the splits; a scene's seed is that plus its number. The tests (tests/integration) take seeds from 9000.
FIRST_SEED = {"train": 1000, "val": 5000, "test": 9000}
# Drawn from for training and validation.
PEOPLE = (2, 4, 7, 11, 16, 24, 33, 45, 65)
BICYCLES = (0, 1, 3, 4, 6)
CARS = (0, 1, 3, 4)
NIGHT = (0, 0, 0, 0.2, 0.45, 0.75, 0.9, 1)
SHAKE = (0, 0, 2, 6)
SIZES = ("640x360",) * 6 + ("1280x720", "854x480", "480x270", "768x576", "400x300")
SECONDS_APART = 2.5


def scenes(split, count):
    """URLs without fps and duration: the same for the same split and number, whatever `count`."""
    urls = []
    for i in range(count):
        seed = FIRST_SEED[split] + i
        rng = random.Random(seed)
        urls.append(f"sim://street?people={rng.choice(PEOPLE)}&bicycles={rng.choice(BICYCLES)}&cars={rng.choice(CARS)}"
                    f"&night={rng.choice(NIGHT)}&shake={rng.choice(SHAKE)}&size={rng.choice(SIZES)}&seed={seed}")
    return urls


def read_y4m(path):
    """BGR pictures of a .y4m as `sightline sim render` writes it."""
    with open(path, "rb") as file:
        fields = file.readline().split()
        assert fields[0] == b"YUV4MPEG2" and b"C420" in fields, fields
        width = next(int(f[1:]) for f in fields if f[:1] == b"W")
        height = next(int(f[1:]) for f in fields if f[:1] == b"H")
        assert width % 2 == 0 and height % 2 == 0, "the training sizes are even"
        while file.readline() == b"FRAME\n":
            planes = np.frombuffer(file.read(width * height * 3 // 2), np.uint8)
            yield cv2.cvtColor(planes.reshape(height * 3 // 2, width), cv2.COLOR_YUV2BGR_I420)


def letterbox(bgr):
    """The model's input picture, and the factor from the picture's px to its px."""
    height, width = bgr.shape[:2]
    ratio = min(WIDTH / width, HEIGHT / height)
    to = (int(width * ratio), int(height * ratio))
    boxed = np.full((HEIGHT, WIDTH, 3), PAD, np.uint8)
    boxed[:to[1], :to[0]] = cv2.resize(bgr, to, interpolation=cv2.INTER_LINEAR)
    return boxed, ratio


def read_truth(folder, frames):
    """Per frame an array of rows x1, y1, x2, y2, class, visible, id; px of the picture."""
    rows = [[] for _ in range(frames)]
    for line in (pathlib.Path(folder) / "gt" / "gt.txt").read_text().splitlines():
        frame, number, x, y, w, h, _, kind, visible = line.split(",")
        x, y, w, h = float(x), float(y), float(w), float(h)
        rows[int(frame) - 1].append((x, y, x + w, y + h, CLASS_OF_MOT[int(kind)], float(visible), int(number)))
    return [np.array(r, np.float32).reshape(-1, 7) for r in rows]


def render(sightline, url, pictures, seconds_apart=SECONDS_APART):
    """(BGR pictures, truth rows) of one scene."""
    url = f"{url}&fps={1 / seconds_apart:g}"
    length = f"{(pictures - 0.5) * seconds_apart:.3f}s"
    with tempfile.TemporaryDirectory() as folder:
        clip = f"{folder}/clip.y4m"
        for arguments in (["render", url, "--out", clip], ["truth", url, "--out", folder]):
            subprocess.run([sightline, "sim", *arguments, "--for", length], check=True, stdout=subprocess.DEVNULL)
        frames = list(read_y4m(clip))
        return frames, read_truth(folder, len(frames))


def labels_of(rows, ratio):
    """Truth rows in px of the model's input; the last column becomes 1 where the object counts, else 0."""
    labels = rows.copy()
    labels[:, :4] *= ratio
    size = labels[:, 2:4] - labels[:, :2]
    labels[:, 6] = ((rows[:, 5] >= VISIBLE) & (size[:, 0] >= LEAST_WIDTH) & (size[:, 1] >= LEAST_HEIGHT))
    return labels


def load(sightline, split, count, pictures, cache):
    """(uint8 [N, HEIGHT, WIDTH, 3], list of N label arrays); kept under `cache`, made when it is not there."""
    cache = pathlib.Path(cache)
    cache.mkdir(parents=True, exist_ok=True)
    name = f"{split}-{count}x{pictures}-{WIDTH}x{HEIGHT}"
    at, truth = cache / f"{name}.npy", cache / f"{name}.npz"
    if not truth.exists():
        images = np.lib.format.open_memmap(at, "w+", np.uint8, (count * pictures, HEIGHT, WIDTH, 3))
        rows = []
        for i, url in enumerate(scenes(split, count)):
            frames, truths = render(sightline, url, pictures)
            assert len(frames) == pictures, (url, len(frames))
            for frame, objects in zip(frames, truths):
                images[len(rows)], ratio = letterbox(frame)
                rows.append(labels_of(objects, ratio))
            if i % 20 == 0:
                print(f"{split}: scene {i} of {count}", flush=True)
        images.flush()
        starts = np.cumsum([0] + [len(r) for r in rows])
        np.savez(truth, rows=np.concatenate(rows), starts=starts)
    stored = np.load(truth)
    rows, starts = stored["rows"], stored["starts"]  # each look into `stored` reads the file again
    return np.load(at, mmap_mode="r"), [rows[a:b] for a, b in zip(starts, starts[1:])]
