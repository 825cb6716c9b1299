"""Requests to a server, and what they answer."""
from __future__ import annotations

import collections
import http.client
import json
import os
import ssl
import time
import urllib.parse
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Deque, Dict, List, Mapping, Optional, Sequence, Type, Union

from .errors import Busy, ConnectionFailed, ServerFailed, error_of
from .tensors import Array, infer_answer, infer_body

Picture = Union[bytes, str, "os.PathLike[str]"]
TASKS = ("detect", "classify", "segment", "pose", "embed")
MOST_IDLE = 16
FIRST_WAIT_S = 0.1


@dataclass(frozen=True)
class TensorMetadata:
    name: str
    datatype: str
    shape: List[int]


@dataclass(frozen=True)
class ModelMetadata:
    name: str
    versions: List[str]
    platform: str
    inputs: List[TensorMetadata]
    outputs: List[TensorMetadata]


@dataclass(frozen=True)
class ModelState:
    """state: READY, LOADING, UNLOADING, UNAVAILABLE; reason: why not READY."""
    name: str
    version: str
    state: str
    reason: str


@dataclass(frozen=True)
class PictureAnswer:
    """What a model found in a picture. width, height: of the picture, in pixels; boxes are in these.

    detections: class_id, class, confidence, box_xyxy_px, ... of each object. members: the whole answer, with what the model
    says of the picture as a whole (classes, an embedding, ...).
    """
    model: str
    version: str
    width: int
    height: int
    detections: List[Dict[str, Any]]
    members: Dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes

    def json(self) -> Dict[str, Any]:
        try:
            found = json.loads(self.body)
        except ValueError as error:
            raise ServerFailed(f"the server's answer is no JSON: {error}", self.status) from error
        if not isinstance(found, dict):
            raise ServerFailed("the server's answer is no JSON object", self.status)
        return found


def part_of(text: str) -> str:
    return urllib.parse.quote(text, safe="")


class Client:
    """Asks one server. May be used by several threads; close() ends its idle connections.

    Calls raise SightlineError, and ValueError for what cannot be sent at all. 429 and 503 are tried again up to `retries`
    times, where the server's Retry-After is no longer than longest_wait_s.
    """

    def __init__(self, url: str = "http://localhost:8000", key: Optional[str] = None, *, timeout_s: float = 60.0, retries: int = 3,
                 longest_wait_s: float = 10.0, tls: Optional[ssl.SSLContext] = None):
        parts = urllib.parse.urlsplit(url if "://" in url else "http://" + url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url}: not http://HOST:PORT or https://HOST:PORT")
        self._host, self._port = parts.hostname, parts.port
        self._prefix = parts.path.rstrip("/")
        self._tls = (tls or ssl.create_default_context()) if parts.scheme == "https" else None
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._timeout_s, self._retries, self._longest_wait_s = timeout_s, retries, longest_wait_s
        self._idle: Deque[http.client.HTTPConnection] = collections.deque()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]) -> None:
        self.close()

    def close(self) -> None:
        while True:
            try:
                self._idle.pop().close()
            except IndexError:
                return

    def live(self) -> bool:
        """Whether a server answers there."""
        return self._yes("/v2/health/live")

    def ready(self, model: Optional[str] = None, version: str = "") -> bool:
        """Whether the server, or a model, takes requests."""
        return self._yes("/v2/health/ready" if model is None else self._model(model, version) + "/ready")

    def models(self) -> List[ModelState]:
        answer = self._request("POST", "/v2/repository/index", [b"{}"], {"Content-Type": "application/json"})
        try:
            return [ModelState(str(m["name"]), str(m.get("version", "")), str(m.get("state", "")), str(m.get("reason", "")))
                    for m in json.loads(answer.body)]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ServerFailed(f"the server's answer cannot be read: {error}") from error

    def metadata(self, model: str, version: str = "") -> ModelMetadata:
        about = self._request("GET", self._model(model, version)).json()
        try:
            inputs, outputs = ([TensorMetadata(t["name"], t["datatype"], list(t["shape"])) for t in about[side]]
                               for side in ("inputs", "outputs"))
            return ModelMetadata(about["name"], list(about["versions"]), about["platform"], inputs, outputs)
        except (KeyError, TypeError) as error:
            raise ServerFailed(f"the server's answer cannot be read: {error}") from error

    def load(self, model: str) -> None:
        self._request("POST", f"/v2/repository/models/{part_of(model)}/load", [b"{}"], {"Content-Type": "application/json"})

    def unload(self, model: str) -> None:
        self._request("POST", f"/v2/repository/models/{part_of(model)}/unload", [b"{}"], {"Content-Type": "application/json"})

    def infer(self, model: str, inputs: Mapping[str, Any], *, outputs: Optional[Sequence[str]] = None, version: str = "",
              parameters: Optional[Mapping[str, Any]] = None, request_id: str = "") -> Dict[str, Array]:
        """Tensors in, tensors out, by name. Arrays have the model's types: nothing is converted. Those that come are
        read-only. outputs: these alone; parameters: priority, timeout (us), ..."""
        body, json_length = infer_body(inputs, outputs, parameters, request_id)
        answer = self._request("POST", self._model(model, version) + "/infer", body, {
            "Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(json_length)})
        return infer_answer(answer.body, answer.headers.get("inference-header-content-length"))

    def detect(self, model: str, picture: Picture, **options: Any) -> PictureAnswer:
        """Objects and their boxes. options: confidence (0 to 1), max_results, classes (names or numbers), version."""
        return self._picture("detect", model, picture, **options)

    def classify(self, model: str, picture: Picture, **options: Any) -> PictureAnswer:
        return self._picture("classify", model, picture, **options)

    def segment(self, model: str, picture: Picture, **options: Any) -> PictureAnswer:
        return self._picture("segment", model, picture, **options)

    def pose(self, model: str, picture: Picture, **options: Any) -> PictureAnswer:
        return self._picture("pose", model, picture, **options)

    def embed(self, model: str, picture: Picture, **options: Any) -> PictureAnswer:
        return self._picture("embed", model, picture, **options)

    def drawn(self, task: str, model: str, picture: Picture, *, type: str = "image/jpeg", **options: Any) -> bytes:
        """The picture with the results drawn into it, as a file of that type (image/jpeg or image/png)."""
        answer = self._post_picture(task, model, picture, type, **options)
        if answer.headers.get("content-type") != type:
            raise ServerFailed(f"the server answered with {answer.headers.get('content-type')}, not {type}", answer.status)
        return answer.body

    def _picture(self, task: str, model: str, picture: Picture, **options: Any) -> PictureAnswer:
        about = self._post_picture(task, model, picture, "application/json", **options).json()
        try:
            return PictureAnswer(about["model"], about["version"], about["width"], about["height"], about["detections"], about)
        except KeyError as error:
            raise ServerFailed(f"the server's answer has no {error}") from error

    def _post_picture(self, task: str, model: str, picture: Picture, accept: str, *, confidence: Optional[float] = None,
                      max_results: Optional[int] = None, classes: Optional[Sequence[Union[str, int]]] = None,
                      version: str = "") -> Answer:
        if task not in TASKS:
            raise ValueError(f"{task}: the tasks are {', '.join(TASKS)}")
        if isinstance(picture, bytes):
            body = picture
        else:
            with open(picture, "rb") as file:
                body = file.read()
        asked: Dict[str, str] = {}
        if confidence is not None:
            asked["confidence"] = str(confidence)
        if max_results is not None:
            asked["max"] = str(max_results)
        if classes is not None:
            asked["classes"] = ",".join(map(str, classes))
        path = f"/v1/{task}/{part_of(model)}" + (f"/versions/{part_of(version)}" if version else "")
        if asked:
            path += "?" + urllib.parse.urlencode(asked)
        return self._request("POST", path, [body], {"Content-Type": "application/octet-stream", "Accept": accept})

    @staticmethod
    def _model(model: str, version: str) -> str:
        return f"/v2/models/{part_of(model)}" + (f"/versions/{part_of(version)}" if version else "")

    def _yes(self, path: str) -> bool:
        try:
            return self._once("GET", path, [], {}).status == 200
        except ConnectionFailed:
            return False

    def _request(self, method: str, path: str, body: Sequence[bytes] = (), headers: Optional[Mapping[str, str]] = None) -> Answer:
        wait_s = FIRST_WAIT_S
        for left in range(self._retries, -1, -1):
            answer = self._once(method, path, body, headers or {})
            if answer.status < 300:
                return answer
            error = error_of(answer.status, answer.body, answer.headers.get("retry-after"))
            if not isinstance(error, Busy) or left == 0:
                raise error
            if error.retry_after_s is not None and error.retry_after_s > self._longest_wait_s:
                raise error
            time.sleep(min(wait_s if error.retry_after_s is None else error.retry_after_s, self._longest_wait_s))
            wait_s *= 2
        raise AssertionError("not reached")

    def _once(self, method: str, path: str, body: Sequence[bytes], headers: Mapping[str, str]) -> Answer:
        while True:
            try:
                connection, used_before = self._idle.pop(), True
            except IndexError:
                connection, used_before = self._connection(), False
            try:
                return self._ask(connection, method, path, body, headers)
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError) as error:
                connection.close()
                if not used_before:
                    raise ConnectionFailed(f"{self._where()}: the connection ended without an answer: {error}") from error
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                raise ConnectionFailed(f"{self._where()}: {error or type(error).__name__}") from error
            except BaseException:
                connection.close()
                raise

    def _ask(self, connection: http.client.HTTPConnection, method: str, path: str, body: Sequence[bytes],
             headers: Mapping[str, str]) -> Answer:
        connection.putrequest(method, self._prefix + path, skip_accept_encoding=True)
        for name, value in {**self._headers, **headers}.items():
            connection.putheader(name, value)
        if body or method != "GET":
            connection.putheader("Content-Length", str(sum(map(len, body))))
        refused_early: Optional[OSError] = None
        connection.endheaders()
        try:
            for part in body:
                connection.send(part)
        except (ConnectionResetError, BrokenPipeError) as error:
            refused_early = error  # what the server said before it closed may still be there
        try:
            response = connection.getresponse()
            answer = Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
        except (OSError, http.client.HTTPException):
            if refused_early is not None:
                raise refused_early from None
            raise
        if response.will_close or refused_early is not None or len(self._idle) >= MOST_IDLE:
            connection.close()
        else:
            self._idle.append(connection)
        return answer

    def _connection(self) -> http.client.HTTPConnection:
        if self._tls is not None:
            return http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout_s, context=self._tls)
        return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)

    def _where(self) -> str:
        return f"{self._host}:{self._port or (443 if self._tls is not None else 80)}"


