"""The one table from errors to answers of the compatible API: ``{"success": false, "message": "Server error: ..."}``.

The original says 500 to everything. So do we for what the scene refuses; who may not ask at all, too large a body and a
scene that is away have numbers of their own, which its clients take for failures just the same.
"""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from microtome.api.slicer.context import JSON, encoded
from microtome.errors import (
    Busy,
    Forbidden,
    LimitExceeded,
    MicrotomeError,
    StorageUnavailable,
    Unauthenticated,
    UnsupportedFormat,
)

_STATUS: tuple[tuple[type[MicrotomeError], int], ...] = (
    (Forbidden, 403),
    (LimitExceeded, 413),
    (Busy, 503),
    (StorageUnavailable, 503),
)


def failed(message: str, status: int = 500) -> Response:
    """The shape of the original."""
    body = encoded({"success": False, "message": f"Server error: {message}"})
    return Response(body, status, headers={"content-type": JSON, "cache-control": "no-cache"})


async def refused(error: MicrotomeError) -> Response:
    """The answer to an error on purpose."""
    match error:
        case Unauthenticated(reason=reason):
            response = failed(error.message, 400 if reason.endswith("_format") else 401)
            response.headers["www-authenticate"] = error.challenge or "Bearer"
        case UnsupportedFormat(feature="scene"):
            response = failed(error.message, 503)
        case _:
            response = failed(error.message, next((status for kind, status in _STATUS if isinstance(error, kind)), 500))
    if response.status_code == 503 and not isinstance(error, UnsupportedFormat):
        response.headers["retry-after"] = str(error.retry_after if isinstance(error, Busy) else 1)
    return response


async def of_http(_: Request, error: Exception) -> Response:
    """Paths and methods there are not."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class
    response = failed(error.detail, error.status_code)
    response.headers.update(error.headers or {})
    return response
