"""What takes the place of identifiers: the same for the same, and nothing leads back without the key (RFC 2104)."""

from __future__ import annotations

import hmac
from base64 import b32encode
from datetime import timedelta
from functools import lru_cache

from microtome.errors import InvalidRequest

SHORTEST_KEY = 32
"""Bytes of a key; fewer could be found by trying."""
_DAY = 86_400
_NEAREST_DAYS, _DAYS = 365, 3650


class Pseudonyms:
    """Made with a key that nobody sees. Two keys have nothing in common. Raises InvalidRequest for a short key."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()
        if len(self._key) < SHORTEST_KEY:
            raise InvalidRequest(
                f"The key of the de-identification needs at least {SHORTEST_KEY} bytes;"
                " `openssl rand -hex 32` makes one",
                parameter="dicom_deidentify_key",
            )
        self.uid = lru_cache(maxsize=1 << 16)(self._uid)
        self.text = lru_cache(maxsize=1 << 12)(self._text)

    def _uid(self, real: str) -> str:
        """The UID in place of ``real``, of 128 bits below 2.25 (PS3.5 §B.2)."""
        return f"2.25.{int.from_bytes(self._digest('uid', real)[:16])}"

    def _text(self, kind: str, real: str) -> str:
        """16 letters and digits in place of a value; ``kind`` keeps equal values of different meaning apart."""
        return b32encode(self._digest(kind, real)[:10]).decode()

    def offset(self, patient: str) -> timedelta:
        """How far the moments of a patient are moved into the past: a year to eleven, and part of a day."""
        digest = self._digest("offset", patient)
        days = _NEAREST_DAYS + int.from_bytes(digest[:8]) % _DAYS
        return timedelta(days=days, seconds=1 + int.from_bytes(digest[8:16]) % (_DAY - 1))

    def name(self, what: str) -> str:
        """32 hexadecimal digits for something made with this key."""
        return self._digest("name", what)[:16].hex()

    def _digest(self, kind: str, text: str) -> bytes:
        return hmac.digest(self._key, f"{kind}\0{text}".encode("utf-8", "surrogatepass"), "sha256")
