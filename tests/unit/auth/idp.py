"""A small OpenID Connect provider inside of the test: answers through httpx's transport, counts, and breaks on wish."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from functools import cache
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from microtome.auth.oidc import OidcOptions, OidcPolicy
from microtome.auth.policy import Principal
from microtome.auth.provider import open_client

URL = "https://idp.example/realm"
AUDIENCE = "slides"
NOW = 1_800_000_000.0


@cache
def private_key(kind: str, number: int = 0) -> Any:
    """A private key of ``kind``; the same number gives the same key."""
    match kind:
        case "RSA":
            return rsa.generate_private_key(65537, 2048)
        case "RSA-1024":
            return rsa.generate_private_key(65537, 1024)
        case "P-256":
            return ec.generate_private_key(ec.SECP256R1())
        case "P-384":
            return ec.generate_private_key(ec.SECP384R1())
        case "P-521":
            return ec.generate_private_key(ec.SECP521R1())
        case "secp256k1":
            return ec.generate_private_key(ec.SECP256K1())
        case "Ed448":
            return ed448.Ed448PrivateKey.generate()
        case _:
            return ed25519.Ed25519PrivateKey.generate()


def jwk(key: Any, kid: str | None, **more: Any) -> dict[str, Any]:
    """The public part of a key as a provider publishes it."""
    writer = {"RSAP": RSAAlgorithm, "Ecdh": ECAlgorithm}.get(
        "RSAP" if isinstance(key, rsa.RSAPrivateKey) else "Ecdh" if isinstance(key, ec.EllipticCurvePrivateKey) else "",
        OKPAlgorithm,
    )
    found = dict(writer.to_jwk(key.public_key(), as_dict=True))
    found.pop("key_ops", None)
    return found | ({} if kid is None else {"kid": kid}) | more


class Clock:
    """Time that a test moves."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def streamed(body: Any, headers: Mapping[str, str] | None = None) -> httpx.Response:
    """A successful answer that is read from the connection."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return httpx.Response(200, headers=headers, stream=httpx.ByteStream(data))


class Idp:
    """The provider. ``answers`` replaces a path's answer: a status, bytes, or an exception to raise."""

    def __init__(self) -> None:
        self.keys = [jwk(private_key("RSA"), "one")]
        self.described: dict[str, Any] = {
            "issuer": URL,
            "jwks_uri": f"{URL}/keys",
            "userinfo_endpoint": f"{URL}/userinfo",
            "id_token_signing_alg_values_supported": [
                "RS256",
                "PS256",
                "ES256",
                "ES384",
                "ES512",
                "EdDSA",
                "HS256",
                "none",
            ],
        }
        self.users: dict[str, Any] = {}
        self.asked: Counter[str] = Counter()
        self.answers: dict[str, int | bytes | Exception] = {}
        self.gate: asyncio.Event | None = None
        self.requests: list[httpx.Request] = []

    async def answer(self, request: httpx.Request) -> httpx.Response:
        """What the provider says."""
        name = request.url.path.rsplit("/", 1)[1]
        self.asked[name] += 1
        self.requests.append(request)
        if self.gate is not None:
            await self.gate.wait()
        replaced = self.answers.get(name)
        if isinstance(replaced, Exception):
            raise replaced
        if isinstance(replaced, int):
            return httpx.Response(replaced, headers={"location": f"{URL}/elsewhere"})
        if isinstance(replaced, bytes):
            return streamed(replaced)
        match name:
            case "openid-configuration":
                return streamed(self.described)
            case "keys":
                return streamed({"keys": self.keys})
            case "userinfo":
                token = request.headers["authorization"].removeprefix("Bearer ")
                subject = jwt.decode(token, options={"verify_signature": False})["sub"]
                told = {"sub": subject} | self.users.get(subject, {})
                return streamed(told, {"set-cookie": f"session={subject}; Path=/"})
            case _:
                return httpx.Response(404)

    @property
    def transport(self) -> httpx.MockTransport:
        """What a client talks through."""
        return httpx.MockTransport(self.answer)

    def policy(self, clock: Clock | None = None, now: Clock | None = None, **options: Any) -> OidcPolicy:
        """A policy that trusts this provider."""
        return OidcPolicy(
            OidcOptions(URL, AUDIENCE, **options),
            open_client(self.transport),
            now=now or Clock(NOW),
            clock=clock or Clock(),
        )


def token(
    key: Any = None,
    algorithm: str = "RS256",
    kid: str | None = "one",
    header: Mapping[str, Any] | None = None,
    **claims: Any,
) -> str:
    """A token, valid unless said otherwise; a claim that is None is left out."""
    said = {"iss": URL, "aud": AUDIENCE, "sub": "anna", "exp": NOW + 600, "iat": NOW, **claims}
    said = {name: value for name, value in said.items() if value is not None}
    head = {**({} if kid is None else {"kid": kid}), **(header or {})}
    signing = jwt.PyJWS()
    for name in ("Ed25519", "Ed448"):
        signing.register_algorithm(name, OKPAlgorithm())
    return signing.encode(json.dumps(said).encode(), key or private_key("RSA"), algorithm, head)


async def enter(policy: Any, text: str) -> Principal:
    """Log in with a token."""
    found = await policy.authenticate({"authorization": f"Bearer {text}"})
    assert isinstance(found, Principal)
    return found
