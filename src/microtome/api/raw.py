"""Requests by their raw bytes: routes matched on the undecoded path, strict numbers, single query parameters.

A slide id is one segment of the raw path and is decoded once, so ``%2F`` is part of an id and ``/`` is not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.routing import Match
from starlette.types import Scope

from microtome.auth.signed import parse_query

_NUMBER = re.compile(r"\+?[0-9]+")
U8, U32, U64 = (1 << 8) - 1, (1 << 32) - 1, (1 << 64) - 1


class BadText(Exception):
    """A path or query that cannot be read; answered 400 as plain text."""


class RawRoute(APIRoute):
    """A route of FastAPI that matches the raw path. Path parameters arrive decoded, as text."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As Starlette's, on the bytes of the request line."""
        if scope["type"] != "http":
            return Match.NONE, {}
        found = self.path_regex.match(raw_path(scope).decode("latin-1"))
        if found is None:
            return Match.NONE, {}
        child: dict[str, Any] = {
            "endpoint": self.endpoint,
            "path_params": dict(found.groupdict()),
            "route": self,
        }
        return (Match.FULL if scope["method"] in (self.methods or ()) else Match.PARTIAL), child


def raw_path(scope: Scope) -> bytes:
    """The path of the request line without the root path of a proxy."""
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    root: str = scope.get("root_path", "")
    return path.removeprefix(root.encode()) if root else path


def segment(request: Request, name: str) -> str:
    """A path parameter, decoded once. Raises BadText when it is not UTF-8."""
    try:
        return unquote_to_bytes(request.path_params[name].encode("latin-1")).decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadText(f"Invalid URL: `{name}` is not UTF-8") from error


def whole_number(text: str, name: str, largest: int) -> int:
    """Digits with an optional ``+``, at most ``largest``. Raises BadText."""
    if not _NUMBER.fullmatch(text) or len(text) > 30 or int(text) > largest:
        raise BadText(f"`{name}` must be a whole number from 0 to {largest}, not {text[:40]!r}")
    return int(text)


@dataclass(frozen=True, slots=True)
class Query:
    """The parameters of a query string, each at most once."""

    values: dict[str, str]

    @classmethod
    def of(cls, raw: bytes, known: frozenset[str]) -> Query:
        """Read those that are ``known``, others are ignored. Raises BadText when one stands twice."""
        values: dict[str, str] = {}
        for name, value in parse_query(raw):
            if name in known:
                if name in values:
                    raise BadText(f"The query parameter `{name}` is given twice")
                values[name] = value
        return cls(values)

    def text(self, name: str) -> str | None:
        """A value, None when it is missing."""
        return self.values.get(name)

    def number(self, name: str, largest: int) -> int | None:
        """A whole number, None when it is missing. Raises BadText."""
        value = self.values.get(name)
        return None if value is None else whole_number(value, name, largest)
