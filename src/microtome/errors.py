"""The whole error vocabulary of microtome: one tree, no HTTP.

Every error carries fields, not just a sentence, so that an API family can choose its own wire code. A message says
what was wrong, where, and what to do. It never holds a secret, a server path or a bucket name: identify things by the
id the client used. Keep the cause with ``raise ... from``. Status numbers live only in ``microtome.api``.

    MicrotomeError
    ├── NotFound            the thing asked for does not exist (or may not be seen)
    ├── InvalidRequest      the request contradicts itself or the slide
    ├── NotAcceptable       no representation the client accepts
    ├── LimitExceeded       larger than this server is configured to handle
    ├── UnsupportedFormat   a valid file that microtome cannot read
    ├── CorruptData         a file that breaks the rules of its own format
    ├── Conflict            the stored object changed under the request
    ├── Unauthenticated     no, wrong or expired credentials
    ├── Forbidden           known, and not allowed
    ├── StorageUnavailable  the store failed or did not answer in time
    └── Busy                the server is at its configured limit; try again
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast


class MicrotomeError(Exception):
    """Base of every error microtome raises on purpose."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class NotFound(MicrotomeError):
    """The named thing does not exist. ``what`` is its kind ("slide", "associated image"), ``name`` the client's id.

    ``message`` replaces the sentence made of the two, where an interface documents another one.
    """

    def __init__(self, what: str, name: str, message: str | None = None) -> None:
        super().__init__(message or f"{what[:1].upper()}{what[1:]} not found: {name}")
        self.what = what
        self.name = name


class InvalidRequest(MicrotomeError):
    """The request cannot be right. ``parameter`` names the culprit in the core's words ("level", "tile", "quality")."""

    def __init__(self, message: str, *, parameter: str) -> None:
        super().__init__(message)
        self.parameter = parameter


class NotAcceptable(MicrotomeError):
    """None of the representations the client accepts can be produced; ``available`` lists media types that can."""

    def __init__(self, message: str, *, available: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.available = available


class LimitExceeded(MicrotomeError):
    """Over a configured limit. ``limit`` is the name of the setting or constant, ``value`` what was asked."""

    def __init__(self, message: str, *, limit: str, value: int | None = None) -> None:
        super().__init__(message)
        self.limit = limit
        self.value = value


class UnsupportedFormat(MicrotomeError):
    """A well-formed file with a feature microtome does not read; ``feature`` names it ("compression 34933")."""

    def __init__(self, message: str, *, feature: str = "") -> None:
        super().__init__(message)
        self.feature = feature


class CorruptData(MicrotomeError):
    """The file breaks its own format at byte ``offset`` (None when the fault has no single place)."""

    def __init__(self, message: str, *, offset: int | None = None) -> None:
        super().__init__(message if offset is None else f"{message} (at byte {offset})")
        self.offset = offset


class Conflict(MicrotomeError):
    """The stored object is not the one that was opened (its ETag changed); reopen and try again."""


class Unauthenticated(MicrotomeError):
    """Credentials are missing, malformed, wrong or expired; ``reason`` is the stable code of which.

    ``challenge`` says how to come with better ones (the value of WWW-Authenticate, RFC 9110 §11.6.1); empty when the
    kind of credentials has none.
    """

    def __init__(self, message: str, *, reason: str, challenge: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.challenge = challenge


class Forbidden(MicrotomeError):
    """The caller is known and may not do this."""


class StorageUnavailable(MicrotomeError):
    """The store failed. ``timed_out``: it did not answer in time. ``unreachable``: no connection could be kept.

    ``permanent``: asking again cannot help (access denied, no such bucket).
    """

    def __init__(
        self, message: str, *, timed_out: bool = False, unreachable: bool = False, permanent: bool = False
    ) -> None:
        super().__init__(message)
        self.timed_out = timed_out
        self.unreachable = unreachable
        self.permanent = permanent


class Busy(MicrotomeError):
    """The server is at a configured limit; ``retry_after`` is a hint in seconds."""

    def __init__(self, message: str, *, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


def as_message(error: MicrotomeError) -> dict[str, Any]:
    """An error as plain values, for another process."""
    fields = {k: v for k, v in vars(error).items() if k != "message" and isinstance(v, str | int | bool | None)}
    return {"error": type(error).__name__, "message": error.message, "fields": fields}


def from_message(message: Mapping[str, Any]) -> MicrotomeError:
    """The error that ``as_message`` wrote; CorruptData for one that is not known. The other side is not trusted."""
    text, fields = str(message.get("message", ""))[:2000], cast("Mapping[str, Any]", message.get("fields") or {})
    match message.get("error"):
        case "NotFound":
            return NotFound(str(fields.get("what")), str(fields.get("name")), text)
        case "InvalidRequest":
            return InvalidRequest(text, parameter=str(fields.get("parameter")))
        case "LimitExceeded":
            value = fields.get("value")
            return LimitExceeded(text, limit=str(fields.get("limit")), value=value if isinstance(value, int) else None)
        case "UnsupportedFormat":
            return UnsupportedFormat(text, feature=str(fields.get("feature")))
        case "Conflict":
            return Conflict(text)
        case "Forbidden":
            return Forbidden(text)
        case "StorageUnavailable":
            return StorageUnavailable(
                text,
                timed_out=bool(fields.get("timed_out")),
                unreachable=bool(fields.get("unreachable")),
                permanent=bool(fields.get("permanent")),
            )
        case "Busy":
            return Busy(text)
        case _:
            return CorruptData(text)
