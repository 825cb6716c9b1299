"""JPEG in, faces out, as Python servers do it: OpenCV decodes, ONNX Runtime infers, NumPy and OpenCV do the rest.

All servers of this folder call detect() and answer with what it gives. One thread each for OpenCV and ONNX Runtime.
The model: Ultra-Light 320 (deltas over priors), its weights no graph inputs (../mend_inputs.py); FACES_MODEL names it.
"""
import os

import cv2
import numpy as np
import onnxruntime as ort

SCORE, IOU = 0.7, 0.3


class Faces:
    def __init__(self, model=None):
        cv2.setNumThreads(1)
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self.session = ort.InferenceSession(model or os.environ["FACES_MODEL"], options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name
        _, _, self.h, self.w = self.session.get_inputs()[0].shape
        priors = []
        for stride, sides in ((8, (10, 16, 24)), (16, (32, 48)), (32, (64, 96)), (64, (128, 192, 256))):
            cols, rows = -(-self.w // stride), -(-self.h // stride)
            for y in range(rows):
                for x in range(cols):
                    priors += [((x + 0.5) / cols, (y + 0.5) / rows, s / self.w, s / self.h) for s in sides]
        self.priors = np.clip(np.array(priors, np.float32), 0, 1)

    def detect(self, jpeg):
        """{"width", "height", "faces": [{"box": [x1, y1, x2, y2], "score"}]}, boxes in pixels, the best face first."""
        picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        if picture is None:
            raise ValueError("no picture")
        height, width = picture.shape[:2]
        tensor = cv2.dnn.blobFromImage(picture, 1 / 128, (self.w, self.h), (127, 127, 127), swapRB=True)
        scores, deltas = self.session.run(None, {self.input: tensor})
        scores, deltas = scores[0, :, 1], deltas[0]
        keep = scores > SCORE
        scores, deltas, priors = scores[keep], deltas[keep], self.priors[keep]
        centre = deltas[:, :2] * 0.1 * priors[:, 2:] + priors[:, :2]
        size = np.exp(deltas[:, 2:] * 0.2) * priors[:, 2:]
        pixels = np.array([width, height], np.float32)
        corner, size = (centre - size / 2) * pixels, size * pixels
        kept = cv2.dnn.NMSBoxes(np.concatenate([corner, size], axis=1).tolist(), scores.tolist(), SCORE, IOU)
        boxes = np.clip(np.concatenate([corner, corner + size], axis=1), 0, [width, height, width, height])
        return {"width": width, "height": height,
                "faces": [{"box": [round(v, 2) for v in boxes[i].tolist()], "score": round(float(scores[i]), 4)}
                          for i in np.asarray(kept).ravel()]}
