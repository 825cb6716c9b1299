"""Imports the reference implementations from checkouts named on the command line.

Nothing of a reference is copied here. What its files import but do not use in the parts that run (torch, caffe2, a
package's __init__ with training code) is replaced by stub modules made below, at run time; each stub says so.
"""

import ast
import importlib
import importlib.util
import subprocess
import sys
import types
from pathlib import Path

import numpy as np


def commit_of(path):
    """The commit of a checkout, from the file COMMIT beside it or from git; 'unknown' where neither says."""
    path = Path(path)
    if (path / "COMMIT").is_file():
        return (path / "COMMIT").read_text().strip()
    done = subprocess.run(["git", "-C", str(path), "rev-parse", "HEAD"], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def _stub_module(name, **attributes):
    module = types.ModuleType(name)
    module.__dict__.update(attributes)
    sys.modules[name] = module
    return module


def _stub_package(name, folder):
    """A package whose submodules are found in `folder`, but whose own __init__.py is not run."""
    if not Path(folder).is_dir():
        sys.exit(f"{folder}: no such folder, so the reference cannot be imported from there")
    return _stub_module(name, __path__=[str(folder)])


def _stub_torch():
    """Stands in for torch: generate_priors needs tensor() and clamp(); the rest is imported and not called."""

    def clamp(array, low, high, out):
        np.clip(array, low, high, out=out)

    functional = types.ModuleType("torch.nn.functional")
    nn = types.ModuleType("torch.nn")
    nn.functional = functional
    torch = _stub_module(
        "torch", Tensor=np.ndarray, tensor=lambda v: np.array(v, dtype=np.float32), clamp=clamp, nn=nn
    )
    sys.modules["torch.nn"] = nn
    sys.modules["torch.nn.functional"] = functional
    return torch


def load_bytetrack(path):
    """Returns ByteTrack's module yolox.tracker.byte_tracker (BYTETracker, STrack)."""
    _stub_torch()
    if not hasattr(np, "float"):
        np.float = float  # the reference was written for NumPy before 1.24, where np.float was Python's float
    _stub_package("yolox", Path(path) / "yolox")
    _stub_package("yolox.tracker", Path(path) / "yolox" / "tracker")
    return importlib.import_module("yolox.tracker.byte_tracker")


def load_yolox(path):
    """Returns YOLOX's modules (yolox.utils.demo_utils, yolox.data.data_augment)."""
    _stub_package("yolox", Path(path) / "yolox")
    utils = _stub_package("yolox.utils", Path(path) / "yolox" / "utils")
    utils.xyxy2cxcywh = None  # imported by data_augment for training only; preproc() does not use it
    _stub_package("yolox.data", Path(path) / "yolox" / "data")
    return importlib.import_module("yolox.utils.demo_utils"), importlib.import_module("yolox.data.data_augment")


def load_fastestdet(path):
    """Returns FastestDet's example/onnx-runtime/runtime.py as a module."""
    file = Path(path) / "example" / "onnx-runtime" / "runtime.py"
    spec = importlib.util.spec_from_file_location("fastestdet_runtime", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load_fastestdet_evaluation(path):
    """Returns FastestDet's utils/tool.py, what its eval.py decodes by; wants torch and torchvision."""
    file = Path(path) / "utils" / "tool.py"
    spec = importlib.util.spec_from_file_location("fastestdet_tool", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load_ultraface(path):
    """Returns (predict, box_utils_numpy, fd_config) of Ultra-Light-Fast-Generic-Face-Detector-1MB.

    run_video_face_detect_onnx.py opens a video as it is imported, so only its function predict() is compiled, from
    its own text.
    """
    _stub_torch()
    sys.path.insert(0, str(path))
    _stub_package("vision.utils", Path(path) / "vision" / "utils")  # its __init__ imports training helpers
    box_utils = importlib.import_module("vision.utils.box_utils_numpy")
    config = importlib.import_module("vision.ssd.config.fd_config")
    file = Path(path) / "run_video_face_detect_onnx.py"
    tree = ast.parse(file.read_text())
    tree.body = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "predict"]
    namespace = {"np": np, "box_utils": box_utils}
    exec(compile(tree, str(file), "exec"), namespace)
    return namespace["predict"], box_utils, config
