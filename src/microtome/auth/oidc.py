"""Bearer tokens of an OpenID Connect provider: JSON Web Tokens (RFC 7519), checked as RFC 8725 advises.

The signature is checked by PyJWT, with an algorithm that the provider advertises, the key allows and ``ALLOWED``
holds. The claims are checked here, against one clock and one leeway.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from types import MappingProxyType
from typing import Any, cast
from urllib.parse import urlsplit

import httpx
import jwt
from jwt.algorithms import OKPAlgorithm

from microtome.auth.policy import Principal, bearer_token, refused
from microtome.auth.provider import Facts, Key, Provider
from microtome.caching import Cache
from microtome.errors import InvalidRequest

_KEPT_BYTES = 8 << 20
_WEIGHT = 4
"""A kept token with its parsed claims takes about so many bytes for each of its characters."""
_TYPES = {"", "jwt", "at+jwt", "application/jwt", "application/at+jwt"}
"""``typ`` of tokens that give access (RFC 9068 §2.1); logout tokens and the like are signed by the same keys."""


@dataclass(frozen=True, slots=True)
class OidcOptions:
    """Which provider, and what its tokens must say. Times in s.

    ``idp_url``: where ``/.well-known/openid-configuration`` is found. ``audience``: must be among the ``aud`` of a
    token. ``rewrite_url``: when the provider describes itself with URLs that begin so, that part is replaced by
    ``idp_url`` (a provider that is reached by another name from inside). ``refresh_interval``: age at which keys are
    fetched again. ``leeway``: how far clocks may be apart. ``acr``: the authentication context a token must have;
    empty, any. ``retry_pause``: least time between two fetches for unknown keys, and after a failure.
    """

    idp_url: str
    audience: str
    rewrite_url: str = ""
    refresh_interval: float = 300
    leeway: float = 10
    acr: str = ""
    timeout: float = 8
    retry_pause: float = 10

    def check(self) -> OidcOptions:
        """Raise InvalidRequest(parameter=...) for a provider or an audience that is missing or cannot be."""
        parts = urlsplit(self.idp_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidRequest(
                "Logins need the URL of an OpenID Connect provider, https://... (WS_IDP_URL)", parameter="idp_url"
            )
        if not self.audience:
            raise InvalidRequest("Logins need the audience tokens are made for (WS_AUDIENCE)", parameter="audience")
        return self


class OidcPolicy:
    """Every valid token of one provider sees every slide."""

    enabled = True

    def __init__(
        self,
        options: OidcOptions,
        client: httpx.AsyncClient,
        *,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = options.check()
        self.client = client
        self._now = now
        self.provider = Provider(
            options.idp_url,
            client,
            rewrite=options.rewrite_url,
            interval=options.refresh_interval,
            pause=options.retry_pause,
            timeout=options.timeout,
            clock=clock,
        )
        self._signatures = jwt.PyJWS()
        for name in {"Ed25519", "Ed448"}.difference(self._signatures.get_algorithms()):
            # RFC 9864 names the curve where RFC 8037 said EdDSA.
            self._signatures.register_algorithm(name, OKPAlgorithm())
        self._checked: Cache[bytes, _Checked] = Cache(_KEPT_BYTES, weigh=lambda kept: kept.weight)

    async def authenticate(self, headers: Mapping[str, str]) -> Principal:
        """Whose token it is. Raises Unauthenticated."""
        token = bearer_token(headers)
        digest = sha256(token.encode()).digest()
        facts = await self.provider.facts()
        kept = self._checked.get(digest)
        if kept is None or kept.facts is not facts:  # keys changed: nothing that was checked by the old ones counts
            facts, claims = await self._verified(token, facts)
            kept = _Checked(facts, claims, _WEIGHT * len(token))
            self._checked.put(digest, kept)
        expires = check_claims(kept.claims, kept.facts.issuer, self._options, self._now())
        subject = cast("str", kept.claims.get("sub", ""))
        return Principal(subject, kept.facts.issuer, expires, token, kept.claims)

    async def allows(self, principal: Principal, slide_id: str) -> bool:
        """Always."""
        return True

    async def visible(self, principal: Principal, ids: Iterable[str]) -> list[str]:
        """All."""
        return list(ids)

    async def aclose(self) -> None:
        """End connections and work in the background."""
        await self.provider.aclose()
        await self.client.aclose()

    async def _verified(self, token: str, facts: Facts) -> tuple[Facts, Mapping[str, object]]:
        try:
            header = self._signatures.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise refused("Error decoding Token.", "invalid_token") from error
        if str(header.get("typ") or "").lower() not in _TYPES:
            raise refused("Invalid Token.", "invalid_token")
        algorithm, kid = header.get("alg"), header.get("kid")
        facts, key = await self._key(facts, kid, algorithm)
        try:
            payload = self._signatures.decode(token, key.public, algorithms=[cast("str", algorithm)])
            claims: object = json.loads(payload)
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            raise refused("Error decoding Token.", "invalid_token") from error
        if not isinstance(claims, dict):
            raise refused("Error decoding Token.", "invalid_token")
        return facts, MappingProxyType(cast("dict[str, object]", claims))

    async def _key(self, facts: Facts, kid: str | None, algorithm: Any) -> tuple[Facts, Key]:
        if algorithm not in facts.algorithms:
            raise refused("Algorithm required for token decoding not found.", "unknown_algorithm")
        key = facts.key(kid, algorithm)
        if key is None:
            facts = await self.provider.facts_for_unknown_key()
            key = facts.key(kid, algorithm) if algorithm in facts.algorithms else None
        if key is None:
            raise refused("Public key required for token decoding not found.", "unknown_key")
        return facts, key


@dataclass(frozen=True, slots=True)
class _Checked:
    facts: Facts
    claims: Mapping[str, object]
    weight: int


def check_claims(claims: Mapping[str, object], issuer: str, options: OidcOptions, now: float) -> float:
    """Check what a token says (RFC 7519 §4.1) at ``now``, unix time in s, and give its ``exp``.

    Raises Unauthenticated.
    """
    expires = _time(claims, "exp")
    if expires is None:
        raise refused("Invalid Token.", "invalid_token")
    if expires <= now - options.leeway:
        raise refused("Access Token expired.", "token_expired")
    for name in ("nbf", "iat"):
        since = _time(claims, name)
        if since is not None and since > now + options.leeway:
            raise refused("Invalid Token.", "invalid_token")
    if claims.get("iss") != issuer or not isinstance(claims.get("sub", ""), str):
        raise refused("Invalid Token.", "invalid_token")
    audience = claims.get("aud")
    audiences = cast("list[object]", audience) if isinstance(audience, list) else [audience]
    if options.audience not in audiences:
        raise refused("API access denied.", "wrong_audience")
    if options.acr and claims.get("acr") != options.acr:
        # RFC 9470 §3: the caller can log in again, the stronger way.
        raise refused(
            "Authentication requires valid ACR.",
            "insufficient_acr",
            error="insufficient_user_authentication",
            acr_values=options.acr,
        )
    return expires


def _time(claims: Mapping[str, object], name: str) -> float | None:
    """A NumericDate (RFC 7519 §2) in s; None when there is none."""
    value = claims.get(name)
    if value is None:
        return None
    try:
        seconds = float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan
    except OverflowError:
        seconds = math.inf
    if not math.isfinite(seconds):
        raise refused("Invalid Token.", "invalid_token")
    return seconds
