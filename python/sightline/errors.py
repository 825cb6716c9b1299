"""What can go wrong, with the server's own sentence."""
from __future__ import annotations

import json
from typing import Optional


class SightlineError(Exception):
    """status: of HTTP; None where there was no answer. retry_after_s: when the server wants to be asked again."""

    def __init__(self, message: str, status: Optional[int] = None, retry_after_s: Optional[float] = None):
        super().__init__(message)
        self.message = message
        self.status = status
        self.retry_after_s = retry_after_s


class Refused(SightlineError):
    """The request is wrong: shapes, types, sizes, names, no picture."""


class NotAllowed(SightlineError):
    """The key is missing, unknown or of too small a role."""


class NotFound(SightlineError):
    """No such model, version or route."""


class Busy(SightlineError):
    """Not now: a limit, a full queue, a model that is not loaded. Asking again later may help."""


class ServerFailed(SightlineError):
    """The server or the model failed."""


class ConnectionFailed(SightlineError):
    """There was no answer: nobody listens, the connection broke, or it took too long."""


def error_of(status: int, body: bytes, retry_after: Optional[str]) -> SightlineError:
    """The exception for an answer of 4xx or 5xx."""
    try:
        message = str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        message = body[:200].decode("utf-8", "replace") or f"HTTP status {status}"
    try:
        wait_s = max(0.0, float(retry_after)) if retry_after is not None else None
    except ValueError:
        wait_s = None  # a date: not for us to wait for
    if status in (401, 403):
        kind: type[SightlineError] = NotAllowed
    elif status == 404:
        kind = NotFound
    elif status in (429, 503):
        kind = Busy
    else:
        kind = ServerFailed if status >= 500 else Refused
    return kind(message, status, wait_s)
