"""The one table from errors to answers of the family ``wsi_v3``: ``{"detail": text}`` and a status.

Where the original answers 500 to what is the request's or the file's fault, this table has the status that says so.
"""

from __future__ import annotations

import json

from starlette.responses import Response

from microtome.api.errors import incident
from microtome.errors import (
    Busy,
    Conflict,
    CorruptData,
    Forbidden,
    InvalidRequest,
    LimitExceeded,
    MicrotomeError,
    NotAcceptable,
    NotFound,
    StorageUnavailable,
    Unauthenticated,
    UnsupportedFormat,
)

_PARAMETERS = {"level": 422, "z": 422, "t": 422, "tile": 404, "profile": 412}
_STATUS: dict[type[MicrotomeError], int] = {
    NotFound: 404,
    InvalidRequest: 400,
    NotAcceptable: 400,
    LimitExceeded: 422,
    UnsupportedFormat: 415,
    CorruptData: 415,
    Conflict: 503,
    Unauthenticated: 401,
    Forbidden: 403,
    StorageUnavailable: 503,
    Busy: 503,
}


class NotProvided(MicrotomeError):
    """What kind of slide this is has no such picture: a region of a vector set, for example."""


def status_of(error: MicrotomeError) -> int:
    """The status of an error."""
    match error:
        case NotProvided():
            return 501
        case InvalidRequest(parameter=parameter):
            return _PARAMETERS.get(parameter, 400)
        case StorageUnavailable(timed_out=True):
            return 504
        case StorageUnavailable(permanent=True) | StorageUnavailable(unreachable=True):
            return 502
        case _:
            return next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), 500)


def answer(error: MicrotomeError) -> Response:
    """The answer to an error."""
    status = status_of(error)
    headers: dict[str, str] = {}
    if isinstance(error, Unauthenticated):
        headers["www-authenticate"] = error.challenge or "Bearer"
    if status == 503:
        headers["retry-after"] = str(error.retry_after if isinstance(error, Busy) else 1)
    return detail(error.message, status, headers)


def internal(error: Exception) -> Response:
    """The answer to a mistake of ours: an incident number that stands in the log beside the traceback."""
    return detail(incident(error), 500)


def detail(text: object, status: int, headers: dict[str, str] | None = None) -> Response:
    """``{"detail": ...}``, which nobody keeps."""
    body = json.dumps({"detail": text}, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    return Response(body, status, {"cache-control": "no-store", **(headers or {})}, media_type="application/json")
