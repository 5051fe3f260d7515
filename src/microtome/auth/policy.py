"""Who is it, and which slides may they see: the seam for logins with an identity of their own.

``auth.base`` decides on the bytes of one URL; here a request brings a token, the token names a principal, and a policy
says which slides are theirs. No framework: headers come in as a mapping, errors of ``microtome.errors`` go out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from microtome.auth.base import PUBLIC, Grant
from microtome.errors import Unauthenticated

MAX_TOKEN = 16_384
"""Longest bearer token in characters; real ones with many roles have about 4000."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who proved who they are.

    ``subject`` and ``issuer`` are the ``sub`` and ``iss`` of their token; ``subject`` may be empty. ``expires`` is the
    unix time in s at which the proof ends. ``payload`` holds what is known of them besides, for a token its claims.
    Two principals are equal only when they came with the same token: what is kept for one never serves another.
    """

    subject: str = ""
    issuer: str = ""
    expires: float | None = None
    token: str = field(default="", repr=False)
    payload: object = field(default=None, repr=False, compare=False)
    private: bool = True

    @property
    def grant(self) -> Grant:
        """What may be kept of an answer to this principal."""
        return Grant(expires=self.expires, private=True, by_token=True) if self.private else PUBLIC


ANYBODY = Principal(private=False)
"""Everyone, where nobody needs to log in."""


class AccessPolicy(Protocol):
    """Decides who a caller is and what they may see. Belongs to one event loop.

    ``enabled``: a login is needed at all.
    """

    enabled: bool

    async def authenticate(self, headers: Mapping[str, str]) -> Principal:
        """The principal of a request. Names of ``headers`` are in lower case, or their case does not matter.

        Raises Unauthenticated with a stable ``reason`` and a ``challenge``, or Forbidden.
        """
        ...

    async def allows(self, principal: Principal, slide_id: str) -> bool:
        """May they see this slide, or case? A slide they may not see does not exist for them.

        Raises Unauthenticated when what the token entitles to cannot be found out.
        """
        ...

    async def visible(self, principal: Principal, ids: Iterable[str]) -> list[str]:
        """Those of ``ids`` they may see, in the same order. Raises what ``allows`` raises."""
        ...

    async def aclose(self) -> None:
        """End connections and work in the background."""
        ...


class OpenPolicy:
    """No checks: everybody may see everything."""

    enabled = False

    async def authenticate(self, headers: Mapping[str, str]) -> Principal:
        """Anybody."""
        return ANYBODY

    async def allows(self, principal: Principal, slide_id: str) -> bool:
        """Always."""
        return True

    async def visible(self, principal: Principal, ids: Iterable[str]) -> list[str]:
        """All."""
        return list(ids)

    async def aclose(self) -> None:
        """Nothing to end."""


class ClosedPolicy:
    """Nobody said how to log in, so nobody may see anything."""

    enabled = True

    async def authenticate(self, headers: Mapping[str, str]) -> Principal:
        """Never: raises Unauthenticated(reason="not_configured")."""
        raise refused("Integration not configured", "not_configured", error="")

    async def allows(self, principal: Principal, slide_id: str) -> bool:
        """Never."""
        return False

    async def visible(self, principal: Principal, ids: Iterable[str]) -> list[str]:
        """Nothing."""
        return []

    async def aclose(self) -> None:
        """Nothing to end."""


def bearer_token(headers: Mapping[str, str]) -> str:
    """The token of ``Authorization: Bearer <token>`` (RFC 6750 §2.1); the word ``Bearer`` may be missing.

    Raises Unauthenticated(reason="missing_token") when there is none, and reason="invalid_token" for one that is too
    long or is not made of the characters of a token.
    """
    value = headers.get("authorization", "").strip()
    scheme, _, rest = value.partition(" ")
    token = rest.strip() if scheme.lower() == "bearer" else value
    if not token:
        raise refused("Not authenticated", "missing_token", error="")
    if len(token) > MAX_TOKEN or not token.isascii() or " " in token:
        raise refused("Error decoding Token.", "invalid_token")
    return token


def refused(message: str, reason: str, *, error: str = "invalid_token", **more: str) -> Unauthenticated:
    """An Unauthenticated with the challenge of RFC 6750 §3; ``error`` is left out for who brought no token at all."""
    found = {"realm": "microtome"}
    if error:
        found |= {"error": error, "error_description": message, **more}
    pairs = ", ".join(f'{name}="{_quoted(text)}"' for name, text in found.items())
    return Unauthenticated(message, reason=reason, challenge=f"Bearer {pairs}")


def _quoted(text: str) -> str:
    printable = "".join(letter for letter in text if " " <= letter <= "~")
    return printable.replace("\\", "\\\\").replace('"', '\\"')
