"""Detectors as their own projects run them: picture in, boxes out.

Each open_FAMILY(checkout, model, confidence) gives a function from a BGR picture to rows of x1, y1, x2, y2 (pixels of the
picture), score, class. Preprocessing, decoding and suppression are the project's own functions, imported from its checkout
as the golden scripts (tools/golden) import them; ONNX Runtime runs the model. Import one family a process: the projects
have modules of the same names.
"""
import sys
import warnings
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools" / "golden"))
import golden_files as gf  # noqa: E402
import reference_imports  # noqa: E402

warnings.filterwarnings("ignore", message=".*meshgrid.*")


def opened(model):
    """The session, the input's name, its width and height."""
    session = gf.open_session(model)
    entry = session.get_inputs()[0]
    return session, entry.name, entry.shape[3], entry.shape[2]


def classes_and_distances(outputs):
    """Class scores and distributions [1, cells, n] of a GFL head, both from the finest grid on."""
    rows = [o.reshape(1, *o.shape[-2:]) for o in outputs]
    by_cells = sorted(rows, key=lambda o: -o.shape[1])
    return [o for o in by_cells if o.shape[2] != 32], [o for o in by_cells if o.shape[2] == 32]


def open_yolox(checkout, model, confidence, every_class=False):
    """preproc, demo_postprocess and nms; the best class of a box, as in its evaluator (yolox/utils/boxes.py)."""
    utils, augment = reference_imports.load_yolox(checkout)
    session, name, width, height = opened(model)
    iou = 0.65  # yolox/exp/yolox_base.py

    def detect(picture):
        tensor, ratio = augment.preproc(picture, (height, width))
        found = utils.demo_postprocess(session.run(None, {name: tensor[None]})[0], (height, width), p6=False)[0]
        boxes, scores = found[:, :4], found[:, 4:5] * found[:, 5:]
        corners = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1) / ratio
        if every_class:  # its ONNX demo: a box counts for every class above the threshold
            kept = utils.multiclass_nms(corners, scores, nms_thr=iou, score_thr=confidence, class_agnostic=False)
            return [] if kept is None else kept
        best, top = scores.argmax(1), scores.max(1)
        rows = []
        for class_id in np.unique(best[top > confidence]):
            chosen = np.flatnonzero((best == class_id) & (top > confidence))
            rows += [[*corners[at], top[at], class_id] for at in chosen[utils.nms(corners[chosen], top[chosen], iou)]]
        return rows

    return detect


def open_yolox_demo(checkout, model, confidence):
    return open_yolox(checkout, model, confidence, every_class=True)


def open_nanodet(checkout, model, confidence):
    """warp.get_resize_matrix and NanoDetHead.post_process, whose thresholds are fixed at 0.05 and 0.6."""
    import torch

    import family_small as small

    assert confidence == 0.05
    heads, warp, color = small.load_nanodet(checkout)
    session, name, width, height = opened(model)
    head = small.nanodet_head(heads, 80, [8, 16, 32], False)

    def detect(picture):
        h, w = picture.shape[:2]
        tensor, matrix = small.nanodet_tensor(warp, color, picture[..., ::-1], width, height)
        scores, distances = classes_and_distances(session.run(None, {name: tensor.astype(np.float32)}))
        # The export applies the sigmoid, post_process does it again: through the logit and back.
        raw = torch.cat([torch.logit(torch.from_numpy(np.concatenate(scores, 1))),
                         torch.from_numpy(np.concatenate(distances, 1))], 2)
        meta = {"img": np.zeros((1, 3, height, width)), "warp_matrix": [matrix],
                "img_info": {"height": [h], "width": [w], "id": [0]}}
        return [[*row, label] for label, rows in head.post_process(raw, meta)[0].items() for row in rows]

    return detect


def open_picodet(checkout, model, confidence):
    """deploy/python: preprocess and PicoDetPostProcess, with the IoU of configs/picodet."""
    import family_small as small

    post, preprocess = small.load_picodet(checkout)
    session, name, width, height = opened(model)

    def detect(picture):
        h, w = picture.shape[:2]
        tensor = preprocess(picture[..., ::-1], width, height)
        scores, distances = classes_and_distances(session.run(None, {name: tensor[None].astype(np.float32)}))
        rows, _ = post.PicoDetPostProcess([height, width], [[height, width]], [[height / h, width / w]],
                                          score_threshold=confidence, nms_threshold=0.6)(scores, distances)
        return [[*row[2:], row[1], row[0]] for row in rows if len(row) == 6]

    return detect


def open_fastestdet(checkout, model, confidence):
    """utils/tool.handle_preds, as eval.py calls it: NMS by class at 0.45."""
    import torch

    import fastestdet_heads as heads

    tool = reference_imports.load_fastestdet_evaluation(checkout)
    session, name, _, _ = opened(model)

    def detect(picture):
        h, w = picture.shape[:2]
        raw = session.run(None, {name: heads.make_tensor(None, picture, "linear")})[0]
        rows = tool.handle_preds(torch.from_numpy(raw), "cpu", confidence)[0].numpy().reshape(-1, 6)
        return rows * np.array([w, h, w, h, 1, 1])

    return detect


def open_fastestdet_demo(checkout, model, confidence):
    """example/onnx-runtime: INTER_AREA, one NMS over all classes at 0.45; its cut to whole pixels left out."""
    import fastestdet_heads as heads

    reference = reference_imports.load_fastestdet(checkout)
    session, name, _, _ = opened(model)

    def detect(picture):
        raw = session.run(None, {name: heads.make_tensor(reference, picture, "area")})[0]
        found, _ = heads.detect(reference, raw, picture.shape[1], picture.shape[0], confidence)
        return [[*d["box_xyxy_px"], d["score"], d["class_id"]] for d in found]

    return detect


def open_yolo_fastestv2(checkout, model, confidence):
    """utils.handel_preds and non_max_suppression, as evaluation.py calls them: NMS by class at 0.4."""
    import torch

    import family_small as small

    _, utils = small.load_fastestv2(checkout)
    session, name, width, height = opened(model)
    config = small.fastestv2_config(width, height)

    def detect(picture):
        h, w = picture.shape[:2]
        tensor = small.fastestv2_tensor(picture[..., ::-1], width, height)
        decoded = utils.handel_preds([torch.from_numpy(m) for m in session.run(None, {name: tensor})], config, "cpu")
        found = utils.non_max_suppression(decoded, conf_thres=confidence, iou_thres=0.4)[0].numpy()
        return found * np.array([w / width, h / height, w / width, h / height, 1, 1])

    return detect


def open_ultraface(checkout, model, confidence):
    """run_video_face_detect_onnx.predict; its cut to whole pixels left out."""
    import ultraface_heads as heads

    predict, box_utils, config = reference_imports.load_ultraface(checkout)
    session, name, width, height = opened(model)
    config.define_img_size(width)
    decoded = width == 640  # of the published files, those of 640 decode boxes themselves

    def detect(picture):
        scores, boxes = session.run(["scores", "boxes"], {name: heads.make_tensor(picture, width, height)})
        found = heads.detect(predict, box_utils, config, scores, boxes, decoded, picture.shape[1], picture.shape[0],
                             confidence)
        return [[*d["box_xyxy_px"], d["score"], 0] for d in found]

    return detect


def open_yunet(_, model, confidence, side=None):
    """OpenCV's FaceDetectorYN, OpenCV running the model; the picture stretched to the model's input."""
    _, _, width, height = opened(model)
    if not isinstance(width, int):
        width = height = side or 640
    detector = cv2.FaceDetectorYN.create(str(model), "", (width, height), confidence, 0.3, 5000)

    def detect(picture):
        h, w = picture.shape[:2]
        found = detector.detect(cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR))[1]
        scale = np.array([w / width, h / height] * 2)
        return [] if found is None else [[*(np.array([f[0], f[1], f[0] + f[2], f[1] + f[3]]) * scale), f[14], 0]
                                         for f in found]

    return detect
