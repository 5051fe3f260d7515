"""The authorisation seam: what a request brings, and what it may therefore do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Claim:
    """What a request asks for and brings, in the raw bytes of the request line.

    ``path`` and ``query`` are exactly as sent, percent-encoding preserved: signatures cover bytes, not what a framework
    made of them, and never the Host header. ``slide_id`` is the decoded id when the path names a slide, else None.
    """

    path: bytes
    query: bytes
    slide_id: str | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """Allowed. ``expires``: unix time in s after which it is not, None for ever. ``private``: for this caller only.

    ``by_token``: it was a token that allowed it. What is made of it must not outlive it.
    """

    expires: float | None = None
    private: bool = False
    by_token: bool = False


PUBLIC = Grant()


class Authenticator(Protocol):
    """Decides on requests. Raises Unauthenticated with a ``reason`` that is stable."""

    enabled: bool

    def authorise(self, claim: Claim) -> Grant:
        """May this request have what it asks for?"""
        ...

    def slide_query(self, slide_id: str, grant: Grant = PUBLIC) -> str:
        """Query parameters that let a page ask for everything of one slide; empty when none are needed."""
        ...

    def catalogue_query(self, grant: Grant = PUBLIC) -> str:
        """Query parameters that let a page list and open everything; empty when none are needed."""
        ...
