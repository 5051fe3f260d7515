"""Which strings may name an object.

A key is a relative path with ``/`` between its segments. One rule for every store, so that a key that is harmless in
a bucket cannot leave the root of a folder.
"""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote

from microtome.errors import NotFound

MAX_KEY_BYTES = 1024
"""The longest key S3 knows, in bytes of UTF-8."""

_DRIVE = re.compile(r"[A-Za-z]:")
_ROUNDS = 4  # a key encoded more often than this is no honest key


def check_key(key: str) -> str:
    """The key itself when it may name an object; NotFound otherwise, so that a prober learns nothing.

    Refused are: empty or absolute keys, keys of more than 1024 bytes, empty segments, ``.`` and ``..``, backslashes,
    control characters, drive letters, what is not UTF-8, and everything that becomes one of these when percent
    encoding is undone once more (the web layer has undone it once).
    """
    if not is_key(key):
        raise NotFound("slide", key)
    return key


def is_key(key: str) -> bool:
    """Whether ``key`` may name an object."""
    return _harmless(key) and "//" not in key and not key.endswith("/") and _harmless_when_decoded(key)


def is_prefix(prefix: str) -> bool:
    """Whether any key can start with ``prefix``."""
    return len(prefix) < MAX_KEY_BYTES and is_key(prefix + "x")


def _harmless(key: str) -> bool:
    try:
        length = len(key.encode())
    except UnicodeEncodeError:
        return False
    if not 0 < length <= MAX_KEY_BYTES or key.startswith("/") or _DRIVE.match(key):
        return False
    if "\\" in key or any(unicodedata.category(character) == "Cc" for character in key):
        return False
    return not any(segment in {".", ".."} for segment in key.split("/"))


def _harmless_when_decoded(key: str) -> bool:
    for _ in range(_ROUNDS):
        if "%" not in key:
            return True
        decoded = unquote(key)
        if decoded == key:
            return True
        if not _harmless(decoded):
            return False
        key = decoded
    return False
