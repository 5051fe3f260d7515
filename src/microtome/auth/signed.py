"""Signed URLs and tokens: HMAC-SHA256 over the path and query as sent.

Three kinds of credentials, all with an expiry ``exp`` in unix seconds, valid while ``now <= exp``:

``sig``  for exactly one path and query: ``HMAC(secret, path + "?" + canonical query)``.
``vt``   a viewer token for everything of one slide: ``HMAC(secret, "viewer:" + id + ":" + exp)``.
``ct``   a catalogue token for listing and for every slide: ``HMAC(secret, "catalogue:" + exp)``.

The canonical query holds all decoded pairs but the credentials, ``exp`` included, sorted bytewise and joined without
encoding them again.
"""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import quote, unquote_to_bytes

from microtome.auth.base import PUBLIC, Claim, Grant
from microtome.errors import InvalidRequest, Unauthenticated

MIN_SECRET_BYTES = 16
TOKEN_SECONDS = 3600
_MAX_EXPIRY = (1 << 64) - 1
_NUMBER = re.compile(r"\+?[0-9]+")
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})*")
_CREDENTIALS = {"sig", "vt", "ct"}
Pairs = Sequence[tuple[str, str]]


def parse_query(query: bytes) -> list[tuple[str, str]]:
    """The pairs of a query string as a form decodes them (WHATWG URL §5.1): ``+`` is a space, bad UTF-8 is U+FFFD."""
    pairs: list[tuple[str, str]] = []
    for piece in query.split(b"&"):
        if piece:
            name, _, value = piece.partition(b"=")
            pairs.append((_form_decoded(name), _form_decoded(value)))
    return pairs


def _form_decoded(raw: bytes) -> str:
    return unquote_to_bytes(raw.replace(b"+", b" ")).decode("utf-8", "replace")


def message(path: bytes, pairs: Iterable[tuple[str, str]], expiry: int) -> bytes:
    """The bytes a ``sig`` is made of."""
    signed = [(name.encode(), value.encode()) for name, value in pairs if name not in _CREDENTIALS and name != "exp"]
    signed.append((b"exp", str(expiry).encode()))
    return path + b"?" + b"&".join(name + b"=" + value for name, value in sorted(signed))


def signature(secret: str, path: str, params: Pairs, expiry: int) -> str:
    """The ``sig`` of a path as sent on the wire, in lower-case hexadecimal."""
    return _mac(secret, message(path.encode(), params, expiry)).hex()


def viewer_token(secret: str, slide_id: str, expiry: int) -> str:
    """The ``vt`` of a slide; the id is decoded."""
    return _mac(secret, f"viewer:{slide_id}:{expiry}".encode()).hex()


def catalogue_token(secret: str, expiry: int) -> str:
    """The ``ct``."""
    return _mac(secret, f"catalogue:{expiry}".encode()).hex()


def _mac(secret: str, text: bytes) -> bytes:
    return hmac.new(secret.encode(), text, sha256).digest()


@dataclass(frozen=True, slots=True)
class SignedUrl:
    """A signed path: ``url`` is relative or absolute, with values percent-encoded."""

    url: str
    signature: str
    expiry: int


def sign_url(secret: str, path: str, *, expiry: int, params: Pairs = (), base_url: str = "") -> SignedUrl:
    """Sign ``path`` (taken verbatim) and ``params`` (decoded); what is written into the URL is encoded."""
    digest = signature(secret, path, params, expiry)
    query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in params)
    url = f"{base_url.rstrip('/')}{path}?{query}{'&' if query else ''}exp={expiry}&sig={digest}"
    return SignedUrl(url, digest, expiry)


def check_secret(secret: str) -> str:
    """Raise InvalidRequest(parameter="auth_secret") for a secret that is too short to be one."""
    if len(secret.encode()) < MIN_SECRET_BYTES:
        raise InvalidRequest(
            f"A secret for signatures must have at least {MIN_SECRET_BYTES} bytes; make one with: openssl rand -hex 32",
            parameter="auth_secret",
        )
    return secret


class SignedUrls:
    """Accepts signed URLs and tokens made with any of ``secrets``; makes tokens with the first.

    Several secrets allow rotation: put the new one first, remove the old one when its URLs have expired. Raises
    InvalidRequest(parameter="auth_secret") without a secret, or for a short one.
    """

    enabled = True

    def __init__(self, secrets: Sequence[str], *, now: Callable[[], float] = time.time) -> None:
        if not secrets:
            raise InvalidRequest("Authentication needs a secret (--auth-secret)", parameter="auth_secret")
        self._secrets = [check_secret(secret) for secret in secrets]
        self._now = now

    def slide_query(self, slide_id: str, grant: Grant = PUBLIC) -> str:
        """A viewer token for one slide, valid for an hour, or as long as the token that asked for it."""
        expiry = self._expiry_of(grant)
        return f"vt={viewer_token(self._secrets[0], slide_id, expiry)}&exp={expiry}"

    def catalogue_query(self, grant: Grant = PUBLIC) -> str:
        """A catalogue token, valid for an hour, or as long as the token that asked for it."""
        expiry = self._expiry_of(grant)
        return f"ct={catalogue_token(self._secrets[0], expiry)}&exp={expiry}"

    def _expiry_of(self, grant: Grant) -> int:
        # A page that is loaded again and again must not keep its visitor in for ever.
        if grant.by_token and grant.expires is not None:
            return int(grant.expires)
        return int(self._now()) + TOKEN_SECONDS

    def authorise(self, claim: Claim) -> Grant:
        """Check in the order that callers rely on: form, presence, expiry, then the signature in constant time."""
        pairs = parse_query(claim.query)
        found = _single(pairs)
        expiry = _expiry(found.get("exp"))
        viewer, catalogue, signed = found.get("vt"), found.get("ct"), found.get("sig")
        if viewer is not None and claim.slide_id is not None:
            given, expected = viewer, [viewer_token(s, claim.slide_id, expiry) for s in self._secrets]
        elif catalogue is not None and signed is None:
            given, expected = catalogue, [catalogue_token(s, expiry) for s in self._secrets]
        elif signed is not None:
            text = message(claim.path, pairs, expiry)
            given, expected = signed, [_mac(s, text).hex() for s in self._secrets]
        else:
            raise Unauthenticated("The URL is not signed: parameter sig is missing", reason="missing_signature")
        if self._now() // 1 > expiry:
            raise Unauthenticated(
                "The signature of this URL has expired; ask for a new one", reason="signature_expired"
            )
        if not _HEX.fullmatch(given):
            raise Unauthenticated("The signature is not hexadecimal", reason="invalid_signature_format")
        matches = [hmac.compare_digest(bytes.fromhex(given), bytes.fromhex(each)) for each in expected]
        if not any(matches):
            raise Unauthenticated("The signature does not fit this URL", reason="invalid_signature")
        return Grant(expires=float(expiry), private=True, by_token=given is not signed)


def _single(pairs: Pairs) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in _CREDENTIALS or name == "exp":
            if name in found:
                reason = "invalid_expiry_format" if name == "exp" else "invalid_signature_format"
                raise Unauthenticated(f"Parameter {name} is given twice", reason=reason)
            found[name] = value
            if name == "exp":
                _expiry(value)
    return found


def _expiry(text: str | None) -> int:
    if text is None:
        raise Unauthenticated("The URL is not signed: parameter exp is missing", reason="missing_expiry")
    if not _NUMBER.fullmatch(text) or len(text) > 40 or int(text) > _MAX_EXPIRY:
        raise Unauthenticated("Parameter exp is no unix time in seconds", reason="invalid_expiry_format")
    return int(text)
