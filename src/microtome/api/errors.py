"""The one table from errors to answers of the family ``streamer``: status, wire code, and what must not be told."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass

from starlette.responses import Response

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
from microtome.telemetry import logger


@dataclass(frozen=True, slots=True)
class Wire:
    """Status, wire code, and whether to try again."""

    status: int
    code: str
    retry: bool = False


_PARAMETERS = {
    "level": Wire(400, "invalid_level"),
    "tile": Wire(400, "tile_out_of_bounds"),
    "quality": Wire(400, "invalid_quality"),
    "cursor": Wire(400, "invalid_cursor"),
}
_TABLE: dict[type[MicrotomeError], Wire] = {
    NotFound: Wire(404, "not_found"),
    InvalidRequest: Wire(400, "invalid_request"),
    NotAcceptable: Wire(406, "not_acceptable"),
    LimitExceeded: Wire(413, "limit_exceeded"),
    UnsupportedFormat: Wire(415, "unsupported_format"),
    CorruptData: Wire(415, "unsupported_format"),
    Conflict: Wire(503, "storage_error", retry=True),
    Unauthenticated: Wire(401, "unauthenticated"),
    Forbidden: Wire(403, "forbidden"),
    StorageUnavailable: Wire(503, "storage_error", retry=True),
    Busy: Wire(503, "busy", retry=True),
}
_BROKEN_TILE = Wire(500, "decode_error")
_INTERNAL = Wire(500, "internal_error")


class BrokenTile(MicrotomeError):
    """A tile is corrupt although its slide is not."""


def wire(error: MicrotomeError) -> Wire:
    """Status and code of an error."""
    match error:
        case BrokenTile():
            return _BROKEN_TILE
        case InvalidRequest(parameter=parameter) if parameter in _PARAMETERS:
            return _PARAMETERS[parameter]
        case Unauthenticated(reason=reason):
            return Wire(400 if reason.endswith("_format") else 401, reason)
        case StorageUnavailable(unreachable=True):
            return Wire(502, "connection_error")
        case StorageUnavailable(timed_out=True):
            return Wire(504, "connection_error", retry=True)
        case StorageUnavailable(permanent=True):
            return Wire(502, "storage_error")
        case _:
            kinds = type(error).__mro__
            return next((_TABLE[kind] for kind in kinds if kind in _TABLE), _INTERNAL)


def answer(error: MicrotomeError) -> Response:
    """The answer to an error: ``{"error", "message", "status"}``."""
    found = wire(error)
    response = _json(found, error.message)
    if found.retry:
        response.headers["retry-after"] = str(error.retry_after if isinstance(error, Busy) else 1)
    return response


def internal(error: Exception) -> Response:
    """The answer to a mistake of ours: an incident number that stands in the log beside the traceback."""
    return _json(_INTERNAL, incident(error))


def refusal(status: int, code: str, message: str) -> Response:
    """The answer to what no error class stands for: a method a path does not have, a service there is not."""
    return _json(Wire(status, code), message)


def incident(error: Exception) -> str:
    """Log a mistake of ours with its traceback, under a number; what a client is told of it."""
    number = secrets.token_hex(6)
    logger.error("incident %s", number, exc_info=error)
    return f"Something went wrong in the server. It is logged as incident {number}"


def _json(found: Wire, message: str) -> Response:
    body = json.dumps(
        {"error": found.code, "message": message, "status": found.status}, ensure_ascii=False, separators=(",", ":")
    )
    return Response(
        body.encode("utf-8", "replace"),
        found.status,
        media_type="application/json",
        headers={"cache-control": "no-store"},
    )
