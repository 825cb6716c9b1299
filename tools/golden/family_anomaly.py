#!/usr/bin/env python3
"""Golden results of anomaly detection: Gaussian per position (PaDiM) and reconstruction error of an autoencoder.

Neither has one exporter that everybody uses, so these follow the definitions: the distance is SciPy's, the enlarging
torch's, the blur SciPy's.
"""

import numpy as np
import scipy
import torch
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import mahalanobis

import family_writer as fw
import golden_files as gf

SOURCES = [(77, 50), (60, 91), (130, 130), (41, 64)]
DEPTH = 6
IMAGENET = {"mean": [123.675, 116.28, 103.53], "scale": [1 / (255 * s) for s in (0.229, 0.224, 0.225)]}


def tensor(seed, wh, width, height):
    import cv2

    image = cv2.resize(fw.picture(seed, *wh), (width, height), interpolation=cv2.INTER_LINEAR).astype(np.float64)
    value = (image - IMAGENET["mean"]) * IMAGENET["scale"]
    return value.transpose(2, 0, 1)[None].astype(np.float32)


class Features(torch.nn.Module):
    """Two levels, the second enlarged to the first and stacked on it, as PaDiM does with a backbone's levels."""

    def __init__(self):
        super().__init__()

        def block(a, b):
            return torch.nn.Sequential(torch.nn.Conv2d(a, b, 3, 2, 1), torch.nn.BatchNorm2d(b), torch.nn.ReLU())

        self.first = torch.nn.Sequential(block(3, 8), block(8, DEPTH // 2))
        self.second = block(DEPTH // 2, DEPTH // 2)

    def forward(self, x):
        first = self.first(x)
        second = torch.nn.functional.interpolate(self.second(first), scale_factor=2.0, mode="nearest")
        return torch.cat([first, second], 1)


class Autoencoder(torch.nn.Module):
    def __init__(self):
        super().__init__()
        nn = torch.nn
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 12, 3, 2, 1), nn.BatchNorm2d(12),
            nn.ReLU(), nn.ConvTranspose2d(12, 8, 4, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.ConvTranspose2d(8, 3, 4, 2, 1))

    def forward(self, x):
        return self.layers(x)


def common(name, what, output, dims):
    return {
        "family": name, "task": "anomaly", "reference": {"package": "scipy", "version": scipy.__version__, "what": what},
        "versions": gf.versions("torch", "scipy", "opencv-python-headless", "onnx", "onnxruntime"), "metadata": {},
        "input": {"name": "input", "layout": "nchw", "dtype": "float32", "batch_open": True},
        "recipe": dict({"channels": "rgb", "resize": "stretch", "rounding": "nearest", "interpolation": "bilinear",
                        "pad": None}, **IMAGENET),
        "outputs": [{"name": output, "dims": dims}], "batch_1_equal": True,
    }


def start(model, output, width, height, given):
    axes = {"input": {0: "batch"}, output: {0: "batch"}}
    session, _ = fw.export(model, (torch.zeros(1, 3, height, width),), ["input"], [output], axes)
    return fw.run_batch(lambda x: session.run(None, {"input": x}), given)[0], session


def padim():
    golden = fw.Golden("padim")
    torch.manual_seed(1)
    model = Features().eval()
    cases = []
    for width, height in [(32, 32), (48, 32), (32, 64)]:
        train = [tensor(5000 + i, (60, 60), width, height) for i in range(40)]
        if not cases:
            fw.calibrate(model, torch.from_numpy(np.concatenate(train)))
        given = [tensor(i + 20, wh, width, height) for i, wh in enumerate(SOURCES)]
        raw, session = start(model, "features", width, height, given)
        seen = session.run(None, {"input": np.concatenate(train)})[0]
        n, depth, rows, columns = seen.shape
        flat = seen.reshape(n, depth, rows * columns).astype(np.float64)
        mean = flat.mean(0).astype(np.float32)
        inverse = np.stack([np.linalg.inv(np.cov(flat[:, :, p], rowvar=False) + 0.01 * np.eye(depth))
                            for p in range(rows * columns)]).astype(np.float32)
        entries = []
        for i, wh in enumerate(SOURCES):
            row = raw[i].reshape(depth, -1)
            distance = np.array([mahalanobis(row[:, p].astype(np.float64), mean[:, p].astype(np.float64),
                                             inverse[p].astype(np.float64)) for p in range(rows * columns)])
            distance = distance.reshape(rows, columns)
            large = torch.nn.functional.interpolate(torch.from_numpy(distance)[None, None], size=(height, width),
                                                    mode="bilinear", align_corners=False)[0, 0].numpy()
            blurred = gaussian_filter(large, sigma=4)
            entries.append({"source_wh": list(wh), "results": [{
                "score": round(float(blurred.max()), 5), "distance": golden.raw("distance", distance),
                "map": golden.raw("map", blurred)}]})
        scores = [e["results"][0]["score"] for e in entries]
        if np.min(np.abs(np.diff(sorted(scores)))) < 1e-2:
            gf.refuse(f"padim: scores {scores}")
        cases.append({"input_wh": [width, height], "raw": [golden.raw("features", raw)],
                      "mean": golden.raw("mean", mean), "inverse_covariance": golden.raw("inverse_covariance", inverse),
                      "entries": entries})
    head = common("padim", "spatial.distance.mahalanobis, torch interpolate, ndimage.gaussian_filter", "features",
                  ["batch", "depth", "rows", "columns"])
    head["score_rule"] = (
        "mean is [depth, positions], inverse_covariance [positions, depth, depth], positions row-major. distance = sqrt((x - "
        "mean)^T inverse (x - mean)) at every position; enlarged to the input bilinearly (half-pixel centres); Gaussian "
        "blur, sigma 4, cut at 4 sigma (radius 16), mirrored borders with the edge pixel repeated; score = largest value")
    golden.write(dict(head, cases=cases))


def autoencoder():
    golden = fw.Golden("autoencoder")
    torch.manual_seed(2)
    model = Autoencoder().eval()
    warm = torch.from_numpy(np.concatenate([tensor(5000 + i, (60, 60), 32, 32) for i in range(16)]))
    fw.calibrate(model, warm)
    optimiser = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(60):  # a little learning, so that the errors are not those of a random network
        optimiser.zero_grad()
        ((model(warm) - warm) ** 2).mean().backward()
        optimiser.step()
    cases = []
    for width, height in [(24, 24), (32, 16), (16, 32)]:
        given = [tensor(i + 20, wh, width, height) for i, wh in enumerate(SOURCES)]
        raw, _ = start(model, "output", width, height, given)
        entries = []
        for i, wh in enumerate(SOURCES):
            error = ((raw[i].astype(np.float64) - given[i][0]) ** 2).mean(0)
            entries.append({"source_wh": list(wh), "results": [{
                "score": round(float(error.mean()), 7), "largest": round(float(error.max()), 6),
                "map": golden.raw("map", error)}]})
        cases.append({"input_wh": [width, height], "raw": [golden.raw("output", raw)],
                      "input_tensor": golden.raw("input", np.concatenate(given)), "entries": entries})
    head = common("autoencoder", "plain definition; the network is made here", "output",
                  ["batch", "channels", "height", "width"])
    head["score_rule"] = ("map = mean over the channels of (output - input)^2, both normalised; score = mean of the map; "
                          "largest = its largest value")
    golden.write(dict(head, cases=cases))


torch.set_num_threads(1)
padim()
autoencoder()
