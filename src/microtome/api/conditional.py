"""Conditional requests, RFC 9110 §13.1.2."""

from __future__ import annotations

import re

from starlette.types import Scope

_TAG = re.compile(rb'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")')


def asked(scope: Scope) -> bytes | None:
    """If-None-Match of a request; several are one list (RFC 9110 §5.3). None when there is none."""
    found = [value for name, value in scope["headers"] if name == b"if-none-match"]
    return b",".join(found) if found else None


def matches(if_none_match: bytes | None, etag: bytes) -> bool:
    """Whether If-None-Match names ``etag`` (quoted), compared weakly; ``*`` names every one."""
    if if_none_match is None:
        return False
    return if_none_match.strip() == b"*" or etag in _TAG.findall(if_none_match)
