"""Client of `sightline serve`: tensors and pictures in, answers out.

>>> with Client("http://localhost:8000") as client:
...     outputs = client.infer("add_sub", {"INPUT0": a, "INPUT1": b})
...     faces = client.detect("faces", "people.jpg").detections
"""
from .client import Client, ModelMetadata, ModelState, PictureAnswer, TensorMetadata
from .errors import Busy, ConnectionFailed, NotAllowed, NotFound, Refused, ServerFailed, SightlineError

__all__ = ["Busy", "Client", "ConnectionFailed", "ModelMetadata", "ModelState", "NotAllowed", "NotFound", "PictureAnswer",
           "Refused", "ServerFailed", "SightlineError", "TensorMetadata"]
