"""Conditional requests, RFC 9110 §13.1.2."""

from __future__ import annotations

import re

_TAG = re.compile(rb'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")')


def matches(if_none_match: bytes | None, etag: bytes) -> bool:
    """Whether If-None-Match names ``etag`` (quoted), compared weakly; ``*`` names every one."""
    if if_none_match is None:
        return False
    return if_none_match.strip() == b"*" or etag in _TAG.findall(if_none_match)
