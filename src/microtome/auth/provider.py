"""What an OpenID Connect provider says of itself: issuer, algorithms, keys. Kept while it is down."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, cast

import httpx
import jwt
from jwt.types import JWKDict

from microtome.auth.policy import refused
from microtome.caching import Flights
from microtome.telemetry import logger

MAX_ANSWER = 1 << 20
"""Longest answer of a provider, in bytes."""
MAX_KEYS = 256
MIN_RSA_BITS = 2048
_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_ALGORITHMS = {
    ("RSA", None): _RSA,
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA", "Ed25519"),
    ("OKP", "Ed448"): ("EdDSA", "Ed448"),
}
"""Kind of key -> the signatures it may make: public keys only (RFC 7518 §3.1, RFC 8037 §3.1, RFC 9864 §2.2)."""
ALLOWED = frozenset(name for names in _ALGORITHMS.values() for name in names)
"""Every algorithm that is ever accepted. Neither ``none`` nor HMAC, whatever a provider advertises."""
_PUBLIC_MEMBERS = ("kty", "crv", "n", "e", "x", "y")


class ProviderFailed(Exception):
    """The provider cannot be asked, or answers nonsense. Stays in this room."""


@dataclass(frozen=True, slots=True)
class Key:
    """A public key of the provider and the algorithms it may be used with. Equal when it was published the same."""

    kid: str | None
    algorithms: tuple[str, ...]
    members: tuple[tuple[str, str], ...]
    public: Any = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Facts:
    """A provider at one moment. ``algorithms``: what it advertises and we accept."""

    issuer: str
    algorithms: frozenset[str]
    keys: tuple[Key, ...]
    userinfo_endpoint: str = ""

    def key(self, kid: str | None, algorithm: str) -> Key | None:
        """The key ``kid`` for this algorithm, or None.

        A token without ``kid`` needs that a single key fits (OpenID Connect Core §10.1).
        """
        fitting = [each for each in self.keys if algorithm in each.algorithms and kid in (None, each.kid)]
        return fitting[0] if fitting and (kid is not None or len(fitting) == 1) else None


class Provider:
    """The facts of one provider, refreshed.

    ``interval``: facts older than so many s are fetched again by the next request. ``pause``: at least so many s
    between two fetches for an unknown key, and after a fetch that failed. ``timeout``: longest time in s for one
    answer. While the provider fails, the last good facts hold and are asked for in the background. Only one fetch runs
    at a time, however many wait for it.
    """

    def __init__(
        self,
        url: str,
        client: httpx.AsyncClient,
        *,
        rewrite: str = "",
        interval: float = 300,
        pause: float = 10,
        timeout: float = 8,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url.rstrip("/")
        self._rewrite = rewrite.rstrip("/")
        self._client = client
        self._interval = interval
        self._pause = pause
        self._timeout = timeout
        self._clock = clock
        self._facts: Facts | None = None
        self._fetched = 0.0
        self._failed: float | None = None
        self._asked_for_key: float | None = None
        self._flights: Flights[str, None] = Flights()
        self._background: asyncio.Task[None] | None = None

    async def facts(self) -> Facts:
        """What is known; fetched first when it is old. Raises Unauthenticated when the provider was never reached."""
        now = self._clock()
        fresh = self._facts is not None and now - self._fetched < self._interval
        if not fresh and (self._failed is None or now - self._failed >= self._pause):
            if self._facts is None or self._failed is None:
                await self._fetch()
            elif self._background is None or self._background.done():
                # It failed before and may take long to fail again: nobody waits while there are good keys.
                self._background = asyncio.create_task(self._fetch())
        return self._known()

    async def facts_for_unknown_key(self) -> Facts:
        """What is known after asking again, at most once in ``pause`` s: keys may have been changed."""
        now = self._clock()
        if self._flights or self._asked_for_key is None or now - self._asked_for_key >= self._pause:
            if not self._flights:
                self._asked_for_key = now
            await self._fetch()
        return self._known()

    def _known(self) -> Facts:
        if self._facts is None:
            raise refused("Auth not initialized on server.", "provider_unavailable", error="")
        return self._facts

    async def aclose(self) -> None:
        """End the fetch in the background."""
        if self._background is not None:
            self._background.cancel()
            await asyncio.gather(self._background, return_exceptions=True)

    async def _fetch(self) -> None:
        await self._flights.run("facts", self._load)

    async def _load(self) -> None:
        try:
            found = await self._ask()
        except ProviderFailed as error:
            self._failed = self._clock()
            kept = "no login is possible" if self._facts is None else "the last good keys stay in use"
            logger.warning("The OpenID Connect provider failed, %s: %s", kept, error)
            return
        self._fetched = self._clock()
        self._failed = None
        if found != self._facts:  # the same facts stay the same object: what was checked by them stays checked
            self._facts = found

    async def _ask(self) -> Facts:
        address = f"{self._url}/.well-known/openid-configuration"
        described = await fetch_json(self._client, address, within=self._timeout)
        issuer = described.get("issuer")
        advertised = described.get("id_token_signing_alg_values_supported")
        jwks_uri = described.get("jwks_uri")
        if not isinstance(issuer, str) or not issuer or not isinstance(jwks_uri, str):
            raise ProviderFailed("its description has no issuer or no jwks_uri")
        if not isinstance(advertised, list):
            raise ProviderFailed("its description has no id_token_signing_alg_values_supported")
        names = frozenset(name for name in cast("list[object]", advertised) if isinstance(name, str))
        if "EdDSA" in names:  # the older name for both curves (RFC 9864 §2.2)
            names |= {"Ed25519", "Ed448"}
        published = await fetch_json(self._client, self._reachable(jwks_uri), within=self._timeout)
        keys = read_keys(published)
        if not keys:
            raise ProviderFailed("it publishes no key that can be used")
        userinfo = described.get("userinfo_endpoint")
        return Facts(issuer, names & ALLOWED, keys, self._reachable(userinfo) if isinstance(userinfo, str) else "")

    def _reachable(self, address: str) -> str:
        if self._rewrite and address.startswith(self._rewrite):
            return self._url + address[len(self._rewrite) :]
        return address


def read_keys(published: Mapping[str, object]) -> tuple[Key, ...]:
    """The usable keys of a JWK Set (RFC 7517 §5): those of unknown kind, other use or wrong form are passed over."""
    listed = published.get("keys")
    entries = cast("list[object]", listed)[:MAX_KEYS] if isinstance(listed, list) else []
    keys = (_read_key(cast("Mapping[str, object]", entry)) for entry in entries if isinstance(entry, dict))
    return tuple(key for key in keys if key is not None)


def _read_key(entry: Mapping[str, object]) -> Key | None:
    kty, crv, kid, algorithm = entry.get("kty"), entry.get("crv"), entry.get("kid"), entry.get("alg")
    if not isinstance(kty, str) or not isinstance(kid, str | None) or not isinstance(crv, str | None):
        return None
    algorithms = _ALGORITHMS.get((kty, None if kty == "RSA" else crv), ())
    if algorithm is not None and algorithm not in algorithms:
        return None
    if isinstance(algorithm, str) and kty != "OKP":  # the names of a curve of EdDSA all mean the same signature
        algorithms = (algorithm,)
    operations = entry.get("key_ops")
    if not algorithms or entry.get("use", "sig") != "sig":
        return None
    if operations is not None and not (isinstance(operations, list) and "verify" in operations):
        return None
    # Only public members: a provider that publishes its private key by mistake does not make us hold it.
    members = {name: entry[name] for name in _PUBLIC_MEMBERS if name in entry}
    if not all(isinstance(value, str) for value in members.values()):
        return None
    texts = cast("JWKDict", members)
    try:
        public = jwt.PyJWK(texts, "EdDSA" if kty == "OKP" else algorithms[0]).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    if kty == "RSA" and public.key_size < MIN_RSA_BITS:
        return None
    return Key(kid, algorithms, tuple(sorted(texts.items())), public)


def open_client(transport: httpx.AsyncBaseTransport | None = None) -> httpx.AsyncClient:
    """A client for providers: connections are kept, redirects are not followed, cookies are refused.

    What a provider sets when one principal is looked up must not be sent along with another.
    """
    jar = CookieJar(policy=DefaultCookiePolicy(allowed_domains=[]))
    limits = httpx.Limits(max_connections=20, max_keepalive_connections=5)
    return httpx.AsyncClient(transport=transport, cookies=jar, limits=limits, follow_redirects=False)


async def fetch_json(client: httpx.AsyncClient, url: str, *, within: float, token: str = "") -> Mapping[str, object]:
    """The JSON object at ``url``, in ``within`` s for everything and MAX_ANSWER bytes. Raises ProviderFailed."""
    headers = {"accept": "application/json", "accept-encoding": "identity"}
    if token:
        headers["authorization"] = f"Bearer {token}"
    body = bytearray()
    try:
        async with asyncio.timeout(within), client.stream("GET", url, headers=headers, timeout=within) as answer:
            if answer.status_code != 200:
                raise ProviderFailed(f"status {answer.status_code}")
            if answer.headers.get("content-encoding", "identity").lower() != "identity":
                raise ProviderFailed("a compressed answer although none was asked for")
            async for chunk in answer.aiter_raw():
                body += chunk
                if len(body) > MAX_ANSWER:
                    raise ProviderFailed(f"an answer of more than {MAX_ANSWER} bytes")
        found: object = json.loads(body)
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, ValueError, RecursionError) as error:
        raise ProviderFailed(f"no usable answer ({type(error).__name__})") from error
    if not isinstance(found, dict):
        raise ProviderFailed("an answer that is no JSON object")
    return cast("Mapping[str, object]", found)
